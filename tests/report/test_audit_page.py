"""The page that `mfim-bench audit` writes, in a real Chromium."""

from __future__ import annotations

from pathlib import Path

import pytest
from browsing import violations
from page_records import HOSTILE
from playwright.sync_api import Page

from mfim_bench import audited
from mfim_protocols.virtual_faces.audit import report

pytestmark = pytest.mark.browser


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_audit_that_ships_as_a_page(watched: Page, tmp_path: Path, scheme: str) -> None:
    report.page(tmp_path / "audit.html", audited.shipped())
    watched.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    watched.goto((tmp_path / "audit.html").as_uri())
    assert violations(watched) == []
    assert watched.evaluate("[...document.querySelectorAll('.wide')].every(e => e.scrollWidth <= e.clientWidth)"), (
        "the tables fit a window of 1280 pixels"
    )
    table = watched.get_by_role("region", name="Table of factors")
    head = table.get_by_role("columnheader").all_text_contents()
    for row, (name, m) in zip(
        table.locator("tbody tr").all(), report.with_judge(audited.shipped()).items(), strict=True
    ):
        assert row.get_by_role("rowheader").text_content() == name
        cells = row.locator("td")
        shown = dict(zip(head[1:], cells.all_text_contents(), strict=True))
        assert shown == {factor: f"{value[0]:z.2f}" for factor, value in m["shares"].items()}
        framed = cells.evaluate_all("all => all.map(e => e.classList.contains('wanted'))")
        assert [factor for factor, is_framed in zip(head[1:], framed, strict=True) if is_framed] == m["wanted"]
    watched.set_viewport_size({"width": 390, "height": 800})
    assert watched.evaluate("document.documentElement.scrollWidth") <= 390
    assert violations(watched) == []


def test_hostile_names_stay_text_in_the_audit(watched: Page, tmp_path: Path) -> None:
    shipped = audited.shipped()
    m = next(iter(report.with_judge(shipped).values()))
    nothing = {factor: [None, None, None] for factor in m["shares"]}
    unknown = {**m, "shares": nothing, "worst": None, "reasons": list(HOSTILE)}
    measures = {**dict.fromkeys(HOSTILE, unknown), "plain": m}
    hostile = {**shipped, "measures": measures, "not_measured": dict.fromkeys(HOSTILE, 3)}
    report.page(tmp_path / "audit.html", hostile)
    watched.goto((tmp_path / "audit.html").as_uri())
    names = watched.locator("tbody th").all_text_contents()
    assert names == [*measures, *measures]
    assert watched.locator("main li").all_text_contents()[-len(HOSTILE) :] == [
        f"3 pictures: {text}" for text in HOSTILE
    ]
    assert watched.evaluate("window.hacked") is None
    assert watched.locator("script, img").count() == 0
    assert violations(watched) == []
