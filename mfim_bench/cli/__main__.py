"""``python -m mfim_bench.cli``."""

from mfim_bench.cli import main

main()
