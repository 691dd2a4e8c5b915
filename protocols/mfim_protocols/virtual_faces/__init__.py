"""Virtual faces."""
