"""The whole test of a plugin."""

from mfim_bench.testing import check_plugin


def test_plugin() -> None:
    check_plugin("stranger-swaps")
