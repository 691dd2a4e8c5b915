"""The page in a real Chromium, opened from a file: what its script does, and that nothing else runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from browsing import Meter, Open, violations
from made_records import Make
from page_records import HOSTILE, MEASURES, write_big, write_hostile, write_rows
from playwright.sync_api import Browser, Locator, Page, expect

from mfim_bench.bench.record import Record
from mfim_bench.report.page import write_page

pytestmark = pytest.mark.browser


@pytest.fixture
def records(tmp_path: Path) -> list[Record]:
    ids = [f"pair-{i}" for i in range(60)]
    people = ["ann", "bob", "cleo", "dan", "eve"]
    a = write_rows(tmp_path, "a", ids, people=people, fail_every=20, reasons=["no face", "too dark"])
    return [a, write_rows(tmp_path, "copy", ids, people=people, reference=True, seed=1)]


def shown(page: Page, sheet: str = "grid") -> list[str]:
    return [text.split("\n")[0] for text in page.locator(f"#{sheet} tbody th").all_inner_texts()]


def status(page: Page, sheet: str = "grid") -> Locator:
    return page.locator(f"#{sheet} [role=status]")


def worst_first(record: Record, name: str) -> list[str]:
    scored = sorted(record.scored().values(), key=lambda row: -round(row[name], 5))
    return [row["pair"] for row in scored] + [row["pair"] for row in record.rows if row["reason"] is not None]


def test_sorting(show: Open, records: list[Record]) -> None:
    page = show(records)
    assert shown(page) == worst_first(records[0], MEASURES[0])[:25]
    head = page.locator("#grid th", has_text="pose")
    assert head.get_attribute("aria-sort") == "none"
    head.get_by_role("button").click()
    assert head.get_attribute("aria-sort") == "descending"
    assert page.locator("#grid th[aria-sort=descending], #grid th[aria-sort=ascending]").count() == 1
    worst = worst_first(records[0], MEASURES[1])
    assert shown(page) == worst[:25]
    head.get_by_role("button").click()
    assert head.get_attribute("aria-sort") == "ascending"
    assert shown(page) == worst[:57][::-1][:25]
    page.locator("#grid").get_by_role("button", name="Last").click()
    assert shown(page)[-3:] == ["pair-0", "pair-20", "pair-40"], "failed pairs stand last in either direction"
    page.locator("#grid th").first.get_by_role("button").click()
    assert shown(page) == [f"pair-{i}" for i in range(25)], "numbers in names count as numbers"


def test_paging(show: Open, records: list[Record]) -> None:
    page = show(records)
    grid = page.locator("#grid")
    expect(status(page)).to_have_text("1–25 of 60 pairs")
    expect(grid.get_by_role("button", name="Previous")).to_be_disabled()
    seen = shown(page)
    for count in (25, 10):
        grid.get_by_role("button", name="Next").click()
        seen += shown(page)
        assert len(shown(page)) == count
    assert sorted(seen) == sorted(row["pair"] for row in records[0].rows)
    expect(status(page)).to_have_text("51–60 of 60 pairs")
    expect(grid.get_by_role("button", name="Next")).to_be_disabled()
    assert page.evaluate("document.activeElement.textContent") == "First", "the keyboard's place is not lost"
    grid.get_by_label("A page holds").select_option("10")
    expect(status(page)).to_have_text("51–60 of 60 pairs")
    grid.get_by_label("A page holds").select_option("100")
    assert len(shown(page)) == 60


def test_filters(show: Open, records: list[Record]) -> None:
    page = show(records)
    filters = page.get_by_role("search", name="Filter pairs")
    filters.get_by_label("Find").fill("PAIR-1")
    expect(status(page)).to_have_text("1–11 of 11 pairs, filtered from 60")
    filters.get_by_label("Find").fill("too dark")
    assert shown(page) == ["pair-20"]
    assert "failed: too dark" in page.locator("#grid tbody tr").inner_text()
    filters.get_by_role("button", name="Reset").click()
    expect(status(page)).to_have_text("1–25 of 60 pairs")
    filters.get_by_label("Show").select_option("failed")
    assert shown(page) == ["pair-0", "pair-20", "pair-40"]
    filters.get_by_label("Show").select_option("scored")
    filters.get_by_label("Identity").fill("bob")
    rows = [row for row in records[0].scored().values() if "bob" in (row["source_identity"], row["target_identity"])]
    expect(status(page)).to_contain_text(f" of {len(rows)} pairs")
    filters.get_by_role("button", name="Reset").click()
    expect(status(page)).to_have_text("1–25 of 60 pairs")
    filters.get_by_label("Measure to filter by").select_option(label=f"{MEASURES[2]} (1)")
    filters.get_by_label("from").fill("0.3")
    filters.get_by_label("to", exact=True).fill("0.5")
    inside = [row for row in records[0].scored().values() if 0.3 <= round(row[MEASURES[2]], 5) <= 0.5]
    assert 0 < len(inside) < 57
    expect(status(page)).to_contain_text(f" of {len(inside)} pairs")
    filters.get_by_label("from").fill("99")
    expect(status(page)).to_have_text("no pairs fit the filter")
    filters.get_by_role("button", name="Reset").click()
    filters.get_by_label("Run").select_option("copy (reference)")
    assert shown(page) == worst_first(records[1], MEASURES[0])[:25]


def test_identities(show: Open, records: list[Record]) -> None:
    page = show(records)
    cells = [row.split("\t") for row in page.locator("#people tbody tr").all_inner_texts()]
    rows = [row for row in records[0].scored().values() if row["source_identity"] == "cleo"]
    cleo = next(cell for cell in cells if cell[0] == "cleo")
    assert cleo[1:3] == ["12", "0"]
    assert float(cleo[3]) == pytest.approx(sum(row[MEASURES[0]] for row in rows) / len(rows), abs=6e-4)
    means = [float(cell[3]) for cell in cells]
    assert means == sorted(means, reverse=True)
    assert {cell[0]: cell[2] for cell in cells}["ann"] == "3", "every failed pair is ann's"
    page.get_by_label("Role").select_option("target")
    assert shown(page, "people") != [cell[0] for cell in cells]
    page.get_by_role("button", name="Show the pairs of cleo").click()
    assert page.locator("#person").input_value() == "cleo"
    assert page.evaluate("document.activeElement.id") == "pairs"
    expect(status(page)).to_contain_text("filtered from 60")


def test_failures_lead_to_their_pairs(show: Open, records: list[Record]) -> None:
    page = show(records)
    page.get_by_label("Run").select_option("copy (reference)")
    page.get_by_role("button", name="Show the pairs of a that failed: no face").click()
    assert shown(page) == ["pair-0", "pair-40"]
    expect(page.get_by_label("Run")).to_have_value("0")


def test_one_pair_beside_all_runs_by_keyboard(show: Open, records: list[Record]) -> None:
    page = show(records)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the results"
    assert page.evaluate("document.activeElement.getBoundingClientRect().left") >= 0
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    for _ in range(60):
        page.keyboard.press("Tab")
        outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert outline != "none", page.evaluate("document.activeElement.outerHTML")
        if page.evaluate("document.activeElement.matches('#grid tbody button')"):
            break
    first, second = shown(page)[:2]
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog", name=f"Pair {first}")
    expect(dialog).to_be_visible()
    assert dialog.locator("tbody tr").all_inner_texts()[1].split("\t")[0] == "copy"
    assert dialog.get_by_role("img").count() == 5  # source, target, truth and two swaps
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("dialog", name=f"Pair {second}")).to_be_visible()
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    expect(dialog).to_be_visible()
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    assert page.evaluate("document.activeElement.textContent") == first
    page.locator("#grid thead th").first.get_by_role("button").focus()
    page.keyboard.press("Space")
    assert page.locator("#grid thead th").first.get_attribute("aria-sort") == "ascending"


def test_light_and_dark(show: Open, records: list[Record]) -> None:
    page = show(records)

    def colours() -> tuple[str, str]:
        paper, ink = (page.evaluate(f"getComputedStyle(document.body).{name}") for name in ("backgroundColor", "color"))
        return paper, ink

    page.emulate_media(color_scheme="light")
    light = colours()
    page.emulate_media(color_scheme="dark")
    dark = colours()
    assert light == ("rgb(255, 255, 255)", "rgb(27, 31, 35)")
    assert dark == ("rgb(20, 23, 26)", "rgb(230, 233, 236)")
    line = page.locator("figure svg text").first
    assert line.evaluate("e => getComputedStyle(e).fill") == dark[1], "plots follow"
    page.get_by_label("Colours").select_option("light")
    assert colours() == light
    page.reload()
    assert colours() == light, "the choice is kept"
    page.get_by_label("Colours").select_option("as the system")
    assert colours() == dark


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(show: Open, records: list[Record], scheme: str) -> None:
    page = show(records)
    page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    assert page.evaluate("document.querySelectorAll('table').length === document.querySelectorAll('caption').length")

    assert violations(page) == []
    page.locator("#grid tbody button").first.click()
    assert violations(page) == [], "under the dialog"


def test_hostile_names_do_not_run(show: Open, tmp_path: Path) -> None:
    page = show(write_hostile(tmp_path))
    assert set(page.locator("#person, #who").evaluate_all("inputs => inputs.map(i => i.value)")) == {""}
    assert page.locator("#grid tbody tr").count() == 15
    assert set(page.locator("#people tbody th").all_text_contents()) == set(HOSTILE)
    for line in page.locator("section[aria-labelledby=failures] tbody tr").all():
        line.get_by_role("button").click()
        expect(status(page)).to_contain_text("filtered from 15")
        told = page.locator("#grid tbody td.text").all_text_contents()
        assert f"failed: {line.locator('td.text').text_content()}" in told
    filters = page.get_by_role("search")
    filters.get_by_label("Show").select_option("all pairs")
    filters.get_by_label("Find").fill("")
    page.locator("#grid tbody button").first.click()
    expect(page.get_by_role("dialog")).to_be_visible()
    assert page.locator("#pair tbody th").all_text_contents() == list(HOSTILE[:2])
    page.locator("#pair-body button").first.click()
    filters.get_by_label("Run").select_option("1")
    assert page.evaluate("window.hacked") is None
    assert page.evaluate("document.scripts.length") == 2
    assert page.locator("img:not(.picture)").count() == 0


def test_injected_markup_would_not_run_either(browser: Browser, make: Make, tmp_path: Path) -> None:
    """The policy in the page's head is the second wall: a script that gets into the file is not run."""
    html = write_page(tmp_path / "page.html", [make("a", 0.4, 2.0)]).read_text()
    attack = "<script>window.hacked=1</script><img src=x onerror='window.hacked=1'><img src='http://127.0.0.1:9/x.png'>"
    (tmp_path / "page.html").write_text(html.replace("<h1>", attack + "<h1>"))
    page = browser.new_page()
    refused: list[str] = []
    page.on("console", lambda message: refused.append(message.text))
    page.goto((tmp_path / "page.html").as_uri())
    assert page.locator("#grid tbody tr").count() == 25
    assert page.evaluate("window.hacked") is None
    assert sum("Content Security Policy" in text for text in refused) == 3
    page.close()


def test_pictures_beside_the_page_are_seen(show: Open, records: list[Record]) -> None:
    for beside in (False, True):
        page = show(records, beside=beside)
        page.wait_for_function("[...document.images].every(image => image.complete)")
        widths = page.evaluate("[...document.images].map(image => image.naturalWidth)")
        assert len(widths) == 25 * 4
        assert set(widths) == {20}


def test_what_needs_no_script(browser: Browser, records: list[Record], tmp_path: Path) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(write_page(tmp_path / "page.html", records).as_uri())
    for name in ("Summary", "Failures", "How to repeat"):
        expect(page.get_by_role("heading", name=name)).to_be_visible()
    expect(page.locator("noscript p")).to_be_visible()
    expect(page.locator("#filter")).to_be_hidden()
    assert page.get_by_role("button").count() == 0, "no control that does nothing"
    context.close()


def test_a_narrow_screen_scrolls_in_one_direction(show: Open, records: list[Record]) -> None:
    page = show(records)
    page.set_viewport_size({"width": 360, "height": 700})
    assert page.evaluate("document.documentElement.scrollWidth") <= 360


def test_ten_thousand_pairs(show: Open, tmp_path: Path) -> None:
    page = show([write_big(tmp_path)])
    meter = Meter(page)

    def script(action: str) -> Callable[[], object]:
        return lambda: page.evaluate(f"() => {{ {action}; return document.body.offsetHeight; }}")

    seconds = {
        "load": meter.took(page.reload),
        "sort": meter.took(script("document.querySelectorAll('#grid th button')[2].click()")),
        "page": meter.took(script("document.querySelectorAll('#grid .pager button')[2].click()")),
        "filter": meter.took(lambda: page.get_by_label("Find").first.fill("99")),
        "identities": meter.took(lambda: page.get_by_label("Role").select_option("both")),
    }
    expect(status(page)).to_contain_text("filtered from 10,000")
    heap = meter.heap()
    elements = page.evaluate("document.querySelectorAll('*').length")
    print({name: round(value, 3) for name, value in seconds.items()}, f"heap {heap / 1e6:.1f} MB, {elements} elements")
    assert seconds.pop("load") < 5
    assert max(seconds.values()) < 1
    assert heap < 60e6
    assert elements < 3000
