"""What pytest loads wherever mfim-bench is installed: two options and a fixture. Importing it imports no torch."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from mfim_bench.testing.regression import NOTES, SwapRegression, own_folder


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("mfim-bench", "regression tests of face swaps")
    group.addoption(
        "--mfim-update-baseline",
        action="store_true",
        help="write the baselines of the tests that run, instead of holding methods against them",
    )
    group.addoption(
        "--mfim-out",
        metavar="DIR",
        help="for runs, and pictures of failures (DIR/failures); within pytest's cache when left out",
    )


@pytest.fixture(scope="session")
def _mfim_out(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Path]]:
    """The folder for everything, and the one within it for this process's runs."""
    config = request.config
    if given := config.getoption("mfim_out"):
        out = Path(config.invocation_params.dir, given)
    elif config.pluginmanager.has_plugin("cacheprovider"):
        out = config.cache.mkdir("mfim-bench")
    else:
        out = tmp_path_factory.mktemp("mfim-bench")
    with own_folder(out) as runs:
        yield out, runs


@pytest.fixture
def swap_regression(request: pytest.FixtureRequest, _mfim_out: tuple[Path, Path]) -> SwapRegression:
    """``swap_regression.check("my-swap", protocol="virtual-faces", limit=100)`` fails when the method got worse."""
    return SwapRegression(request, *_mfim_out)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    reports = [report for reports in terminalreporter.stats.values() for report in reports]
    notes = [
        f"{report.nodeid}: {text}"
        for report in reports
        if getattr(report, "when", None) == "call"
        for key, text in report.user_properties
        if key == NOTES
    ]
    if notes:
        terminalreporter.section("swap regression")
        for note in notes:
            terminalreporter.line(note)
