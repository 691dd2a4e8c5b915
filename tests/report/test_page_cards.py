"""The cards of the measures in the page, in a real Chromium: heads lead to them, whatever a measure is called."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from browsing import Open, violations
from page_records import HOSTILE, write_rows
from playwright.sync_api import Page, expect

from mfim_bench import audited
from mfim_bench.bench.record import Record
from mfim_bench.plugins import registry

pytestmark = pytest.mark.browser
NAMES = [name for name, figures in audited.shipped()["measures"].items() if figures["shares"]][:4]
IDS = [f"pair-{i}" for i in range(60)]
PEOPLE = ["ann", "bob", "cleo", "dan", "eve"]


@pytest.fixture
def records(tmp_path: Path) -> list[Record]:
    """A run whose measures are all audited but the last."""
    return [write_rows(tmp_path, "a", IDS, people=PEOPLE, measures=[*NAMES, "mine@own"])]


def heads(page: Page) -> list[str]:
    """Measures whose heads in the summary lead to their cards."""
    return page.locator("section[aria-labelledby=summary] thead a").all_text_contents()


def focused(page: Page) -> str:
    return str(page.evaluate("document.activeElement.textContent"))


def test_a_head_leads_to_the_card_by_mouse_and_keyboard(show: Open, records: list[Record]) -> None:
    page = show(records)
    assert page.evaluate("document.activeElement === document.body"), "a page that opens takes no focus"
    assert [text.split()[0] for text in heads(page)] == [name.split("@")[0] for name in NAMES], "mine@own has no card"
    for k, act in enumerate(("click", "Enter") * (len(NAMES) // 2)):
        link = page.locator("section[aria-labelledby=summary] thead a").nth(k)
        if act == "click":
            link.click()
        else:
            link.focus()
            page.keyboard.press(act)
        assert focused(page) == NAMES[k]
        card = page.get_by_role("heading", name=NAMES[k], exact=True)
        expect(card).to_be_in_viewport(ratio=1)
        assert card.locator("..").evaluate("e => getComputedStyle(e).backgroundColor") == "rgb(244, 246, 248)", "marked"
        told = card.locator("..").locator("p, li").all_text_contents()
        assert told == audited.sentences(audited.shipped()["measures"][NAMES[k]])
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.closest('section').getAttribute('aria-labelledby')") != "summary", (
        "the keyboard goes on from the card"
    )
    page.reload()
    expect(page.get_by_role("heading", name=NAMES[k], exact=True)).to_be_in_viewport()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_in_the_cards(show: Open, records: list[Record], scheme: str) -> None:
    page = show(records)
    page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    page.locator("section[aria-labelledby=summary] thead a").last.click()
    assert violations(page) == []
    page.set_viewport_size({"width": 360, "height": 700})
    assert page.evaluate("document.documentElement.scrollWidth") <= 360


def test_dark_pages_print_dark_on_white(show: Open, records: list[Record]) -> None:
    page = show(records)
    page.get_by_label("Colours").select_option("dark")
    page.emulate_media(media="print")
    assert page.evaluate("getComputedStyle(document.body).color") == "rgb(27, 31, 35)"
    expect(page.get_by_role("heading", name=NAMES[0], exact=True)).to_be_visible()
    expect(page.locator("#filter")).to_be_hidden()


def test_measures_of_hostile_names_have_cards_that_links_reach(
    show: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A plugin names its measures as it likes: what breaks an id, an address or the page stays text."""
    odd = ["two words", "a\tb", "100%41", "'\"&<b>", "#x", "card-0", "", "é/ü", *HOSTILE]
    names = [f"m{k}@{text}" for k, text in enumerate(odd)] + ["%20@x", " @ "]
    figures = audited.shipped()["measures"][NAMES[0]]
    spec = registry().measures[NAMES[0]]
    for name in names:
        monkeypatch.setitem(registry().measures, name, replace(spec, name=name))
    monkeypatch.setattr(audited, "shipped", lambda: {"measures": dict.fromkeys(names, figures)})
    page = show([write_rows(tmp_path, "a", IDS, people=PEOPLE, measures=names)])
    links = page.locator("section[aria-labelledby=summary] thead a")
    assert links.count() == len(names)
    for k, name in enumerate(names):
        links.nth(k).press("Enter")
        assert focused(page) == name
    assert page.evaluate("window.hacked") is None
    assert page.evaluate("document.scripts.length") == 2
    assert page.evaluate("[...document.querySelectorAll('[id]')].every(e => !/\\s/.test(e.id))")
