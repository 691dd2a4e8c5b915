"""Methods made of a Python file, of a command, or of a folder of results; see `mfim_bench.adhoc` for their names."""
