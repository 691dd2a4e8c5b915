"""The whole test of a plugin: it is sound, its method keeps the contract, and swaps no worse than it did."""

from mfim_bench.testing import MethodConformance, check_plugin


def test_plugin() -> None:
    check_plugin("stranger-swaps")


class TestOval(MethodConformance):
    method = "stranger-oval"


def test_oval_keeps_its_baseline(swap_regression) -> None:
    swap_regression.check("stranger-oval", protocol="virtual-faces", measures=("identity", "error-inside"), limit=12)
