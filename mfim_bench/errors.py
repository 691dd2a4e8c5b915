"""Errors with a meaning for the command line."""

from __future__ import annotations


class UsageError(Exception):
    """Wrong use: printed as one line, exit code 2."""


class RowError(Exception):
    """One pair could not be swapped or scored; its message becomes the row's reason, the run goes on."""
