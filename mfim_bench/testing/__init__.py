"""For the tests of a method or a plugin; see ``docs/regression.md``. Importing it imports no torch."""

from mfim_bench.testing.asserts import check_method, check_plugin, check_run
from mfim_bench.testing.conformance import MethodConformance
from mfim_bench.testing.regression import SwapRegression

__all__ = ["MethodConformance", "SwapRegression", "check_method", "check_plugin", "check_run"]
