"""What tests in a browser share."""

from __future__ import annotations

from collections.abc import Callable

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

Open = Callable[..., Page]


class Meter:
    """Of a page: processor time of its own thread, which other work on the machine does not change, and memory."""

    def __init__(self, page: Page) -> None:
        self._session = page.context.new_cdp_session(page)
        self._session.send("Performance.enable", {"timeDomain": "threadTicks"})

    def _clock(self) -> float:
        metrics = self._session.send("Performance.getMetrics")["metrics"]
        return float(next(one["value"] for one in metrics if one["name"] == "TaskDuration"))

    def took(self, act: Callable[[], object]) -> float:
        """Seconds that ``act`` cost."""
        before = self._clock()
        act()
        return self._clock() - before

    def heap(self) -> float:
        """Bytes that the script holds."""
        self._session.send("HeapProfiler.collectGarbage")
        return float(self._session.send("Runtime.getHeapUsage")["usedSize"])


def violations(page: Page) -> list[tuple[str, list[str]]]:
    """What axe-core finds: the rule, and some of the elements that break it."""
    found = Axe().run(page).response
    assert len(found["passes"]) > 10, "axe looked"
    return [(one["id"], [node["html"] for node in one["nodes"]][:3]) for one in found["violations"]]
