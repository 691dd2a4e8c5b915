"""A stranger's plugin for mfim-bench."""
