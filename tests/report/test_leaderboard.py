"""The leaderboard: ranks only what statistics separate, and refuses what cannot be compared."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from made_records import IDENTITY, POSE, Make, N

from mfim_bench.bench.record import Record
from mfim_bench.cli import run_command
from mfim_bench.errors import UsageError
from mfim_bench.report.leaderboard import leaderboard


def changed(record: Record, **inputs: Any) -> Record:
    return replace(record, manifest={**record.manifest, "inputs": {**record.manifest["inputs"], **inputs}})


def versioned(record: Record, name: str, version: str) -> Record:
    measures = [{**m, "version": version} if m["name"] == name else m for m in record.manifest["measures"]]
    return replace(record, manifest={**record.manifest, "measures": measures})


def test_ranks_are_intervals_where_nothing_separates(make: Make) -> None:
    """b and c differ by a tenth of the pairs' spread; a and d stand apart on both sides."""
    records = [
        make("d", 0.5, 2.0, seed=3), make("c", 0.351, 2.0, seed=2), make("b", 0.35, 2.0, seed=1),
        make("a", 0.2, 2.0), make("copy", 0.0, 0.0, reference=True),
    ]  # fmt: skip
    found = leaderboard(records)
    ranks = {method: found.ranks[method, IDENTITY].text for method in "abcd"}
    assert ranks == {"a": "1", "b": "2–3", "c": "2–3", "d": "4"}
    assert {found.ranks[method, POSE].text for method in "abcd"} == {"1–4"}
    assert ("copy", IDENTITY) not in found.ranks
    assert [line.record.method for line in found.table.lines] == ["a", "b", "c", "d", "copy"]
    sheet = found.sheets()[0]
    assert "(2–3)" in sheet.cells[1][1]
    assert f"all scored the same {N} pairs" in sheet.legend
    assert not any("▲" in cell for row in sheet.cells for cell in row)


def test_higher_is_better_turns_ranks_round(make: Make) -> None:
    records = []
    for record in (make("a", 0.2, 2.0), make("b", 0.4, 2.0, seed=1)):
        measures = [{**m, "lower_is_better": False} for m in record.manifest["measures"]]
        records.append(replace(record, manifest={**record.manifest, "measures": measures}))
    found = leaderboard(records)
    assert (found.ranks["a", IDENTITY].text, found.ranks["b", IDENTITY].text) == ("2", "1")
    assert [line.record.method for line in found.table.lines] == ["b", "a"]


def test_a_self_judged_method_has_no_rank(make: Make) -> None:
    records = make("a", 0.1, 2.0, self_judged=True), make("b", 0.3, 2.0, seed=1), make("c", 0.4, 2.0, seed=2)
    found = leaderboard(records)
    assert ("a", IDENTITY) not in found.ranks
    assert (found.ranks["b", IDENTITY].text, found.ranks["c", IDENTITY].text) == ("1", "2")
    assert [line.record.method for line in found.table.lines] == ["b", "c", "a"]


def test_other_scored_pairs_are_shown_and_not_ranked(make: Make) -> None:
    records = [make("a", 0.2, 2.0, failed=3), make("b", 0.4, 2.0, seed=1)]
    found = leaderboard(records)
    assert not found.ranks
    assert found.overlap["a", "b"] == N - 3
    shown = found.sheets()
    assert shown[1].cells == [["1 a", str(N - 3), str(N - 3)], ["2 b", str(N - 3), str(N)]]
    assert "not ranked" in "\n".join(shown[0].legend)
    common = leaderboard(records, common=True)
    assert common.ranks["a", IDENTITY].text == "1"
    assert common.overlap["a", "b"] == N - 3


def test_mixed_runs_are_refused(make: Make) -> None:
    a, b, c = make("a", 0.2, 2.0), make("b", 0.4, 2.0, seed=1), make("c", 0.3, 2.0, seed=2)
    shorter = replace(changed(c, pairs={"hash": "y"}), rows=c.rows[:40])
    with pytest.raises(UsageError, match=r"different pair lists \(60 pairs: a, b; 40 pairs: c\); --common"):
        leaderboard([a, b, shorter])
    assert leaderboard([a, b, shorter], common=True).table.lines[0].scored == 40
    other = versioned(c, POSE, "2/1")
    with pytest.raises(UsageError, match=r"pose@net-degrees was measured in different versions \(a, b; c\)"):
        leaderboard([a, b, other])
    found = leaderboard([a, b, other], common=True)
    assert list(found.table.measures) == [IDENTITY]
    assert found.notes[0] == "left out, measured in different versions: pose@net-degrees"


def test_runs_in_another_order_are_paired_by_name(make: Make) -> None:
    a, b = make("a", 0.2, 2.0), make("b", 0.205, 2.0)  # the same noise: only pairing tells them apart
    turned = replace(changed(b, pairs={"hash": "y"}), rows=b.rows[::-1])
    ranks = leaderboard([a, turned], common=True).ranks
    assert (ranks["a", IDENTITY].text, ranks["b", IDENTITY].text) == ("1", "2")


def test_runs_on_other_images_are_left_out_at_most(make: Make) -> None:
    records = make("a", 0.2, 2.0), make("b", 0.4, 2.0, seed=1), make("c", 0.3, 2.0, content="other")
    with pytest.raises(UsageError, match="c measured other images"):
        leaderboard(records)
    found = leaderboard(records, common=True)
    assert [line.record.method for line in found.table.lines] == ["a", "b"]
    assert "left out, measured on other images: c" in found.notes


def test_sorting_by_another_measure(make: Make) -> None:
    records = make("a", 0.2, 3.0), make("b", 0.4, 2.0, seed=1)
    assert [line.record.method for line in leaderboard(records, sort="pose").table.lines] == ["b", "a"]
    with pytest.raises(UsageError, match="--sort: 'shape' names 0"):
        leaderboard(records, sort="shape")


def test_the_command_in_every_format(make: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make("made/a/1", 0.2, 2.0), make("made/b/1", 0.4, 2.0, seed=1)
    base = ["leaderboard", "--protocol", "made", "--out", str(tmp_path / "runs")]
    assert run_command(base) == 0
    assert "0.2" in capsys.readouterr().out
    assert run_command([*base, "-f", "json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert [(f["method"], f["measure"], f["rank_first"]) for f in facts[::2]] == [
        ("made/a/1", IDENTITY, 1), ("made/b/1", IDENTITY, 2),
    ]  # fmt: skip
    assert run_command([*base, "-f", "csv"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [float(row["mean"]) for row in rows] == [fact["mean"] for fact in facts]
    assert run_command([*base, "-f", "latex"]) == 0
    assert "\\toprule" in capsys.readouterr().out
    assert run_command([*base, "-f", "markdown"]) == 0
    assert capsys.readouterr().out.count("| made/") == 2
    assert run_command([*base, "--pairs", "7"]) == 2


def test_another_method_of_one_name_is_told(make: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """dir:one/results and dir:two/results are both dir-results; only the newer is shown, and not without a word."""
    for name, argument, started in (
        ("made/a/1", "one", "2020"),
        ("made/a/2", "two", "2021"),
        ("made/a/3", "two", "2022"),
    ):
        path = make(name, 0.2, 2.0).folder / "manifest.json"
        manifest = json.loads(path.read_text())
        manifest["inputs"]["method"] |= {"name": "dir-results", "argument": argument}
        path.write_text(json.dumps(manifest | {"started": started}))
    assert run_command(["leaderboard", "--protocol", "made", "--out", str(tmp_path / "runs"), "-f", "json"]) == 0
    out, err = capsys.readouterr()
    assert {fact["run"] for fact in json.loads(out)} == {"made/a/3"}
    assert err == f"left out: {tmp_path / 'runs' / 'made/a/1'}, for another method called dir-results is newer\n"
