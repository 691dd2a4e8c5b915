"""``MethodConformance``: each broken promise fails its own test, and no other but what it keeps from being asked."""

from __future__ import annotations

import pytest
from test_check import METHODS

pytest_plugins = ["pytester"]

SUITES = """
from mfim_bench.testing import MethodConformance
"""
SUITE = """
class Test_{name}(MethodConformance):
    method = "methods.py:{name}"
"""
MORE = """
def one(s, t):
    if len(s) == 1: raise RuntimeError("wants a batch")
    return t.clone()
"""
BROKEN = {
    "mix": set(),
    "shape": {"shape", "range", "determinism", "one_pair_and_many", "batch_independence", "mixing"},
    "half": {"dtype"},
    "nan": {"range", "determinism", "one_pair_and_many", "batch_independence", "mixing"},
    "bytes_": {"range"},
    "over": {"range"},
    "batch": {"batch_independence"},
    "order": {"batch_independence"},
    "counts": {"determinism", "batch_independence"},
    "inplace": {"inputs_are_left_alone", "batch_independence"},  # the next call is given what it changed
    "one": {"one_pair_and_many"},
}
ALL = {"loads", "runs", "shape", "dtype", "range", "inputs_are_left_alone", "determinism", "one_pair_and_many",
       "batch_independence", "mixing"}  # fmt: skip


def test_each_breach_fails_its_test(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MFIM_BENCH_LOAD_PLUGINS", "")
    pytester.makepyfile(methods=METHODS + MORE)
    suites = SUITES + "".join(SUITE.format(name=name) for name in BROKEN)
    suites += "\nclass TestNobody(MethodConformance):\n    pass\n"
    suites += '\nclass TestTruth(MethodConformance):\n    method = "truth"\n'
    pytester.makepyfile(test_suites=suites)
    result = pytester.runpytest_inprocess("-p", "no:cacheprovider", "-rA", "--tb=short")
    lines = result.stdout.str().splitlines()
    failed = [line.split(" ")[1] for line in lines if line.startswith("FAILED")]
    for name, broken in BROKEN.items():
        mine = {test.partition("::test_")[2] for test in failed if f"::Test_{name}::" in test}
        assert mine == broken, name
    passed = {line.partition("::test_")[2] for line in lines if line.startswith("PASSED") and "::Test_mix::" in line}
    assert passed == ALL
    assert len([test for test in failed if "::TestNobody::" in test]) == len(ALL)
    assert [test for test in failed if "::TestTruth::" in test] == ["test_suites.py::TestTruth::test_runs"]
    result.stdout.fnmatch_lines(["*methods.py:inplace: inputs: swap changed its inputs in place*"])
    result.stdout.fnmatch_lines(["*methods.py:one: rows: *RuntimeError: wants a batch*"])
    result.stdout.fnmatch_lines(['*TestNobody names no method; write method = "my-swap"*'])
