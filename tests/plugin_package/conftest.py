"""These tests are the stranger's own: `tests/test_plugin_package.py` runs them where the package is installed."""

collect_ignore = ["tests"]
