"""Measure face-identity-swap methods so that two people get the same number."""

__version__ = "0.1.0"
