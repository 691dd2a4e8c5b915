"""The page without a browser: its parts, its data, its pictures, and that names stay text."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from made_records import IDENTITY, Make, N
from page_records import HOSTILE, MEASURES, write_big, write_hostile, write_rows

from mfim_bench.cli import run_command
from mfim_bench.errors import UsageError
from mfim_bench.media.images import read_image
from mfim_bench.report import pictures
from mfim_bench.report.page import write_page
from mfim_bench.report.pictures import Pictures


class Read(HTMLParser):
    """Elements of a page with their attributes, and the text of each kind of element."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, list[str]] = {}
        self._open: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._open.append(tag)
        self.texts.setdefault(tag, []).append("")

    def handle_data(self, data: str) -> None:
        if self._open:
            self.texts[self._open[-1]][-1] += data

    def handle_endtag(self, tag: str) -> None:
        while self._open and self._open.pop() != tag:
            pass

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def rows(self) -> dict[str, list]:  # type: ignore[type-arg]
        return json.loads(self.texts["script"][0])  # type: ignore[no-any-return]


def test_the_page_holds_all_it_needs(make: Make) -> None:
    records = [make("a", 0.4, 2.0, failed=2), make("b", 0.3, 3.0, seed=1)]
    page = write_page(records[0].folder / "report.html", records)
    html = page.read_text()
    read = Read(html)
    assert not re.search(r"""(src|href)=["']?(https?:)?//""", html)
    assert len(read.of("script")) == 2
    assert len(read.of("svg")) == 4  # intervals and distribution of two measures
    assert all(svg["role"] == "img" and "a" in str(svg["aria-label"]) for svg in read.of("svg"))
    assert len(read.of("caption")) == len(read.of("table"))
    ids = [attributes["id"] for _, attributes in read.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert {str(a["href"])[1:] for a in read.of("a")} <= set(ids)
    assert "no face found" in read.texts["td"]
    rows = read.rows
    assert len(rows["addresses"]) == 5  # each picture once, however many pairs show it
    assert all(address.startswith("data:image/webp;base64,") for address in rows["addresses"])
    a = rows["runs"][0]
    assert [rows["texts"][k] for k in a["reason"] if k >= 0] == ["no face found"] * 2
    assert a["values"][0][:2] == [None, None]
    assert a["values"][0][2:] == [round(row[IDENTITY], 5) for row in records[0].rows[2:]]


def test_what_repeats_a_run_is_told(tmp_path: Path) -> None:
    record = write_rows(tmp_path, "it's", ["1", "2", "3"], people=["a", "b"])
    html = write_page(tmp_path / "page.html", [record]).read_text()
    read = Read(html)
    assert """mfim-bench run --method 'it'"'"'s'""" in read.texts["code"]
    told = " ".join(read.texts["dd"] + read.texts["code"] + read.texts["pre"])
    for fact in ("c0ffee", "ab" * 32, "cd" * 32, "ef" * 32, "torch 9.9", "data", "cpu, float32", "f0"):
        assert fact in told, fact
    shown = next(text for text in read.texts["pre"] if text.startswith("{"))
    assert json.loads(shown) == record.manifest["inputs"]
    assert str(tmp_path) not in html, "the page names no place of this machine"


def test_names_stay_text(tmp_path: Path) -> None:
    records = write_hostile(tmp_path)
    read = Read(write_page(tmp_path / "page.html", records).read_text())
    assert len(read.of("script")) == 2
    assert read.of("img") == []
    assert all(not name.startswith("on") for _, attributes in read.elements for name in attributes)
    rows = read.rows
    assert [run["name"] for run in rows["runs"]] == list(HOSTILE[:2])
    assert set(rows["people"]) == set(HOSTILE)
    assert rows["pairs"] == [row["pair"] for row in records[0].rows]
    heads = " ".join(text for text in read.texts["th"])
    assert HOSTILE[0] in heads
    policy = next(
        meta["content"] for meta in read.of("meta") if "content" in meta and "script-src" in str(meta["content"])
    )
    assert "'unsafe-inline'" not in str(policy).partition("script-src")[2].partition(";")[0]
    script = Path(pictures.__file__).parent / "templates" / "report.js"
    assert not re.search(r"</script|<!--|innerHTML|outerHTML|insertAdjacent|document\.write|eval\(", script.read_text())


def test_pictures_fit_the_budget_and_the_most_interesting_come_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = write_rows(tmp_path, "a", [str(i) for i in range(300)], people=["a", "b", "c"], pictures=300)
    whole = Read(write_page(tmp_path / "whole.html", [record]).read_text()).rows
    assert None not in whole["runs"][0]["swap"]
    budget = sum(map(len, whole["addresses"])) // 3
    monkeypatch.setattr("mfim_bench.report.pictures.BUDGET", budget)
    html = write_page(tmp_path / "page.html", [record]).read_text()
    rows = Read(html).rows
    size = sum(map(len, rows["addresses"]))
    assert budget - 2000 < size <= budget
    assert "pictures did not fit" in html
    first = rows["runs"][0]["values"][0]
    assert rows["runs"][0]["swap"][first.index(max(first))] is not None
    assert rows["runs"][0]["swap"][first.index(min(first))] is not None
    assert None in rows["runs"][0]["swap"]


def test_all_pictures_lie_beside_the_page(tmp_path: Path) -> None:
    record = write_rows(tmp_path, "a", [str(i) for i in range(20)], people=["a", "b", "c"], pictures=20)
    folder = tmp_path / "out"
    for pairs in (20, 3):
        arguments = ["report", str(record.folder), "-o", str(folder / "my page #1.html"), "--all-pictures"]
        assert run_command(arguments) == 0
        html = (folder / "my page #1.html").read_text()
        addresses = Read(html).rows["addresses"]
        assert addresses[0].startswith("my%20page%20%231-pictures/")
        names = {address.rpartition("/")[2] for address in addresses}
        files = {file.name for file in (folder / "my page #1-pictures").iterdir()}
        assert names == files, "those of an earlier page are gone"
        assert len(files) == pairs
        record = write_rows(tmp_path, "b", ["1", "2", "3"], people=["a", "b"], pictures=3)
    assert max(read_image(folder / "my page #1-pictures" / name).shape for name in files) <= (pictures.SIDE,) * 3


def test_missing_pictures_are_no_error(tmp_path: Path) -> None:
    record = write_rows(tmp_path, "a", ["1", "2", "3"], people=["a", "b"], pictures=0)
    rows = Read(write_page(tmp_path / "page.html", [record]).read_text()).rows
    assert rows["runs"][0]["swap"] == [None] * 3
    assert rows["addresses"] == []
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot write"):
        write_page(tmp_path / "file" / "page.html", [record])
    with pytest.raises(UsageError, match="cannot write"):
        Pictures(tmp_path / "file" / "page.html", beside=True)


def test_runs_of_other_pairs_share_a_page(make: Make, tmp_path: Path) -> None:
    long = make("a", 0.4, 2.0)
    short = make("b", 0.3, 3.0, seed=1, failed=1)
    short = type(short)(
        short.folder, {**short.manifest, "pairs": short.manifest["pairs"][:9]}, short.rows[:9], short.summary
    )
    rows = Read(write_page(tmp_path / "page.html", [short, long]).read_text()).rows
    assert len(rows["pairs"]) == N
    assert rows["runs"][0]["reason"] == [0] + [-1] * 8 + [None] * (N - 9)
    assert rows["runs"][1]["reason"] == [-1] * N


def test_plots_count_the_pairs_of_the_table(make: Make, tmp_path: Path) -> None:
    records = [make("a", 0.4, 2.0, failed=30), make("b", 0.3, 3.0, seed=1)]
    every, common = (
        [str(svg["aria-label"]) for svg in Read(write_page(tmp_path / "p.html", records, flag).read_text()).of("svg")]
        for flag in (False, True)
    )
    assert every[1] != common[1]
    assert every[1].split("; b ")[0] == common[1].split("; b ")[0], "a's own pairs are the common ones"


def test_ten_thousand_pairs_stay_small(tmp_path: Path) -> None:
    page = write_page(tmp_path / "page.html", [write_big(tmp_path)])
    assert page.stat().st_size < 1_500_000 + pictures.BUDGET
    rows = Read(page.read_text()).rows
    assert len(rows["pairs"]) == 10_000
    assert len(rows["runs"][0]["values"]) == len(MEASURES)
    assert sum(k >= 0 for k in rows["runs"][0]["reason"]) == 200
