"""Pages of odd runs, and keyboards where they get lost, in a real Chromium."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from browsing import Open, violations
from page_records import write_rows
from playwright.sync_api import expect

pytestmark = pytest.mark.browser
PEOPLE = ["ann", "bob", "cleo"]


@pytest.mark.parametrize(
    "odd",
    [
        pytest.param({"ids": []}, id="empty"),
        pytest.param({"ids": ["x"]}, id="one"),
        pytest.param({"ids": ["x", "y", "z"], "fail_every": 1}, id="all-failed"),
        pytest.param({"ids": ["x", "y", "z"], "measures": []}, id="no-measure-of-pairs"),
    ],
)
def test_odd_runs_work(show: Open, tmp_path: Path, odd: dict[str, Any]) -> None:
    page = show([write_rows(tmp_path, "a", people=PEOPLE, **odd)])
    count = len(odd["ids"])
    status = page.locator("#grid [role=status]")
    expect(status).to_have_text(f"1–{count} of {count} pairs" if count else "no pairs fit the filter")
    for head in page.locator("#grid thead button, #people thead button").all():
        head.click()
        head.click()
    filters = page.get_by_role("search")
    if "measures" in odd:
        expect(filters.get_by_label("from")).to_be_hidden()
    else:
        filters.get_by_label("from").fill("0")
    filters.get_by_label("Show").select_option("failed")
    failed = count if "fail_every" in odd else 0
    filters.get_by_role("button", name="Reset").click()
    expect(status).to_have_text(f"1–{count} of {count} pairs" if count else "no pairs fit the filter")
    for row in page.locator("#grid tbody button").all():
        row.click()
        expect(page.get_by_role("dialog")).to_be_visible()
        assert page.get_by_role("dialog").get_by_text("failed:").count() == min(failed, 1)
        page.keyboard.press("Escape")
    assert violations(page) == []


def test_the_reason_of_a_failure_leads_to_no_other(show: Open, tmp_path: Path) -> None:
    """Also where one reason is a part of another, or of a pair's name."""
    ids = [f"no face {i}" for i in range(12)]
    page = show([write_rows(tmp_path, "a", ids, people=PEOPLE, fail_every=1, reasons=["no face", "no face found"])])
    page.get_by_role("button", name="failed: no face", exact=False).first.click()
    expect(page.locator("#grid [role=status]")).to_have_text("1–6 of 6 pairs, filtered from 12")


def test_the_keyboard_keeps_its_place_in_the_dialog(show: Open, tmp_path: Path) -> None:
    ids = [str(i) for i in range(3)]
    page = show([write_rows(tmp_path, "a", ids, people=PEOPLE)])
    page.locator("#grid thead button").first.click()
    page.locator("#grid tbody button").first.click()

    def at() -> str:
        return str(page.locator("#pair-name").text_content())

    def inside() -> bool:
        return bool(page.evaluate("document.getElementById('pair').contains(document.activeElement)"))

    page.locator("#pair-body button").first.focus()
    page.keyboard.press("ArrowRight")
    assert (at(), inside()) == ("Pair 1", True), "what had the focus is gone"
    page.keyboard.press("ArrowRight")
    assert at() == "Pair 2"
    page.keyboard.press("ArrowLeft")
    page.locator("#next").press("Enter")
    assert (at(), inside()) == ("Pair 2", True)
    page.keyboard.press("ArrowLeft")
    assert at() == "Pair 1", "the button for the next is off at the last"
    page.keyboard.press("Alt+ArrowLeft")
    assert at() == "Pair 1", "the browser's own keys are its own"


def test_arrow_keys_scroll_a_wide_table_of_distances(show: Open, tmp_path: Path) -> None:
    names = [f"family-{k}@{'variant-of-some-length' * 2}" for k in range(5)]
    page = show([write_rows(tmp_path, "a", ["0", "1"], people=PEOPLE, measures=names)])
    page.set_viewport_size({"width": 800, "height": 700})
    page.locator("#grid tbody button").first.click()
    name = page.locator("#pair-name").text_content()
    region = page.get_by_role("dialog").get_by_role("region", name="Distances")
    region.focus()
    page.keyboard.press("ArrowRight")
    page.wait_for_timeout(500)  # it scrolls smoothly
    assert region.evaluate("e => e.scrollLeft") > 0
    assert page.locator("#pair-name").text_content() == name


def test_names_written_from_the_right_leave_the_rest_in_place(show: Open, tmp_path: Path) -> None:
    """Also where a name turns the direction and does not turn it back."""
    name = "\u202eمبادلة"
    record = write_rows(tmp_path, name, ["0", "1"], people=[name, "ann"], reference=True)
    page = show([record])
    head = page.locator("section[aria-labelledby=summary] tbody th").first
    left = head.evaluate(
        "e => [e.querySelector('bdi'), e.querySelector('small')].map(x => x.getBoundingClientRect().left)"
    )
    assert left[0] < left[1], "the word after it stands after it"
    assert head.text_content() == f"{name} reference"
