"""Table, standings, comparison and page, from records written here with known numbers."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from made_records import IDENTITY, POSE, Make, N

from mfim_bench.bench.record import Record
from mfim_bench.errors import UsageError
from mfim_bench.media.images import read_image, write_image
from mfim_bench.report import compare as comparison
from mfim_bench.report.grid import HEAD, write_grid
from mfim_bench.report.page import write_page
from mfim_bench.report.table import BEST, SELF_JUDGED, build, standings, standings_text


def test_the_best_of_methods_scored_on_the_same_pairs_is_marked(make: Make) -> None:
    table = build([make("a", 0.4, 2.0), make("b", 0.3, 3.0, seed=1), make("copy", 0.1, 0.1, reference=True)])
    best = {line.record.method: [cell.best for cell in line.cells.values()] for line in table.lines}
    assert best == {"a": [False, True], "b": [True, False], "copy": [False, False]}
    text = table.text()
    assert text.count(BEST) == 3  # two values and the legend
    assert re.search(r"^a +0\.\d{3} ± 0\.\d{3} ", text, re.MULTILINE)
    assert "identity ↓" in text
    assert "‡ in-domain" in text


def test_other_scored_pairs_forbid_ranking(make: Make) -> None:
    records = [make("a", 0.4, 2.0, failed=3), make("b", 0.3, 3.0)]
    table = build(records)
    assert not table.ranked
    assert BEST not in table.text()
    assert "not ranked" in table.text()
    assert [(line.scored, line.failed) for line in table.lines] == [(N - 3, 3), (N, 0)]
    common = build(records, common=True)
    assert common.ranked
    assert [line.scored for line in common.lines] == [N - 3, N - 3]


def test_a_self_judged_value_is_marked_and_not_ranked(make: Make) -> None:
    table = build([make("a", 0.1, 1.0, self_judged=True), make("b", 0.3, 3.0), make("c", 0.35, 2.0)])
    cells = {line.record.method: line.cells[IDENTITY] for line in table.lines}
    assert SELF_JUDGED in cells["a"].text
    assert [name for name, cell in cells.items() if cell.best] == ["b"]
    assert "self-judged" in table.text()


def test_runs_on_other_images_are_refused(make: Make) -> None:
    with pytest.raises(UsageError, match="different images"):
        build([make("a", 0.4, 2.0), make("b", 0.3, 3.0, content="other data")])


def test_failed_pairs_enter_no_mean(make: Make) -> None:
    summary = make("a", 0.4, 2.0, failed=7).summary
    assert (summary["scored"], summary["failed"], summary["reasons"]) == (N - 7, 7, {"no face found": 7})
    assert summary["measures"][IDENTITY]["n_scored"] == N - 7
    assert summary["measures"][IDENTITY]["mean"] == pytest.approx(0.4, abs=0.01)


def test_a_run_where_all_failed(make: Make) -> None:
    record = make("a", 0.4, 2.0, failed=N)
    assert record.summary["measures"][IDENTITY]["mean"] is None
    assert "–" in build([record]).text()
    assert write_page(record.folder / "report.html", [record]).exists()


def test_standings_use_references_of_the_methods_own_size(make: Make) -> None:
    records = [
        make("m", 0.45, 1.0, size=64),
        make("target-copy", 0.9, 0.0, reference=True, seed=1),
        make("target-copy@64", 0.6, 0.1, reference=True, seed=2),
        make("truth@64", 0.3, 0.2, reference=True, seed=3),
        make("source-copy", 0.0, 4.0, reference=True, seed=4),
    ]
    found = {s.measure: s.interval for s in standings(records[0], records[1:])}
    assert found[IDENTITY].estimate == pytest.approx(0.5, abs=0.03)
    assert found[IDENTITY].low < 0.5 < found[IDENTITY].high
    assert found[POSE].estimate == pytest.approx(0.25, abs=0.01)
    assert "0 = target-copy@64, 1 = truth@64" in standings_text(standings(records[0], records))
    assert standings(records[0], records[:1]) == []
    # Two judges of one family are told apart.
    (first, *_) = standings(records[0], records)
    text = standings_text([first, replace(first, measure="identity@other-l2")])
    assert first.measure in text
    assert "identity@other-l2" in text
    assert first.measure not in standings_text([first])


def test_compare_and_its_expressions(make: Make) -> None:
    a, b = make("a", 0.4, 2.0, failed=2), make("b", 0.3, 2.0, seed=1, failed=1)
    found = comparison.compare(a, b)
    identity = found[0]
    assert identity.interval.n == N - 2
    assert identity.interval.estimate == pytest.approx(0.1, abs=0.01)
    assert identity.p < 1e-6
    assert identity.p >= identity.interval.p
    assert "+0.1" in comparison.text(a, b, found)
    for expression, truth in {
        "identity > 0.05": True,
        "identity.low <= 0": False,
        f"{IDENTITY}.p < 1e-3": True,
        "pose > 1 or identity.a >= .3": True,
        "pose > 1 and identity > 0 or identity.b > 5": False,
        "identity.difference > -1e2": True,
        "identity > +2%": True,
        "identity.low > 20 % and identity.high < 45%": True,
        "identity > 50%": False,
        "pose < -1e1 % or identity < 0%": False,
    }.items():
        assert comparison.holds(expression, found) is truth, expression


@pytest.mark.parametrize(
    "expression",
    [
        "",
        "identity",
        "identity == 0",
        "shape > 0",
        "identity.mean > 0",
        "__import__('os') > 0",
        "identity > 0 and",
        "identity.p > 2%",
        "identity > %",
    ],
)
def test_bad_expressions_are_refused(make: Make, expression: str) -> None:
    found = comparison.compare(make("a", 0.4, 2.0), make("b", 0.3, 2.0, seed=1))
    with pytest.raises(UsageError):
        comparison.holds(expression, found)


def test_a_damaged_run_is_one_clear_line(make: Make) -> None:
    record = make("a", 0.4, 2.0)
    next((record.folder / "parts").iterdir()).write_bytes(b"nonsense")
    with pytest.raises(UsageError, match="damaged"):
        Record.load(record.folder)
    (record.folder / "manifest.json").write_text("{")
    with pytest.raises(UsageError, match="cannot be read"):
        Record.load(record.folder)
    with pytest.raises(UsageError, match="is not a run"):
        Record.load(record.folder.parent)


def test_the_grid_shows_sources_targets_swaps_and_truths(make: Make, tmp_path: Path) -> None:
    records = [make("a", 0.4, 2.0), make("b", 0.3, 3.0, seed=1)]
    blue = np.zeros((20, 40, 3), np.uint8)
    blue[..., 2] = 255
    write_image(records[1].folder / "images" / "001.png", blue)
    picture = read_image(write_grid(tmp_path / "grid.png", records, pairs=3, side=32))
    assert picture.shape == (HEAD + 3 * 32, 5 * 32, 3)
    tile = picture[HEAD + 32 : HEAD + 64, 3 * 32 : 4 * 32]
    assert (tile[8:24] == [0, 0, 255]).all(), "fitted, not stretched"
    assert (tile[:8] == 128).all()
    missing = picture[HEAD : HEAD + 32, 2 * 32 : 3 * 32]
    assert (missing == 128).all(), "a pair without a picture is grey"
    with pytest.raises(UsageError, match="different images"):
        write_grid(tmp_path / "grid.png", [records[0], make("c", 0.3, 3.0, content="other")], 3, 32)
