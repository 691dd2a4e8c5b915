"""What tests in a browser share."""

from __future__ import annotations

from collections.abc import Callable

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

Open = Callable[..., Page]


def violations(page: Page) -> list[tuple[str, list[str]]]:
    """What axe-core finds: the rule, and some of the elements that break it."""
    found = Axe().run(page).response
    assert len(found["passes"]) > 10, "axe looked"
    return [(one["id"], [node["html"] for node in one["nodes"]][:3]) for one in found["violations"]]
