"""Protocols of mfim-bench."""
