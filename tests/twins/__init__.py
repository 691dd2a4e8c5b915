"""Miniature data sets in the exact layouts of the real ones, made from virtual faces."""
