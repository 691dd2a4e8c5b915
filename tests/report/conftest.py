"""Records written with known numbers, and the Chromium that looks at their page."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from browsing import Open
from made_records import Make, write_record
from playwright.sync_api import Browser, Page, expect, sync_playwright

from mfim_bench.bench.record import Record
from mfim_bench.report.page import write_page

CHROMIUMS = ("chromium", "chromium-browser", "google-chrome")
QUIET = ("--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-sync")
"""Containers run tests as root, where Chromium's sandbox refuses to start."""
left_out: list[str] = []
expect.set_options(timeout=60_000)


@pytest.fixture
def make(tmp_path: Path) -> Make:
    return partial(write_record, tmp_path)


def chromium() -> str | None:
    """Path of the Chromium to test in; one that is named and missing is an error when it is started."""
    return os.environ.get("MFIM_BENCH_CHROMIUM") or next(filter(None, map(shutil.which, CHROMIUMS)), None)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=chromium(), args=QUIET)
        yield found
        found.close()


@pytest.fixture
def watched(browser: Browser) -> Iterator[Page]:
    """An empty page; nothing may be logged, raised, asked of a network or popped up on it."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    context.set_default_timeout(120_000)  # where other work takes the cores
    page = context.new_page()
    troubles: list[str] = []
    page.on("console", lambda message: troubles.append(message.text))
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.on("dialog", lambda dialog: (troubles.append(dialog.message), dialog.dismiss())[0])
    page.on("request", lambda asked: None if asked.url.startswith(("file:", "data:")) else troubles.append(asked.url))
    yield page
    context.close()
    assert troubles == []


@pytest.fixture
def show(watched: Page, tmp_path: Path) -> Open:
    """Open the page of records."""

    def open_page(records: list[Record], **options: bool) -> Page:
        watched.goto(write_page(tmp_path / "page.html", records, **options).as_uri())
        return watched

    return open_page


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if chromium():
        return
    needing = [item for item in items if item.get_closest_marker("browser")]
    left_out.extend(item.nodeid for item in needing)
    config.hook.pytest_deselected(items=needing)
    items[:] = [item for item in items if item not in needing]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if left_out:
        terminalreporter.write_line(
            f"{len(left_out)} browser tests left out: no Chromium on PATH, and MFIM_BENCH_CHROMIUM names none"
        )
