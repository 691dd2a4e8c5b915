"""What is said beside a table: measures and runs that it leaves out, and runs that were not measured alike."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from made_records import IDENTITY, POSE, Make

from mfim_bench.bench.parts import score_schema, write_part
from mfim_bench.bench.record import Record
from mfim_bench.bench.summary import summarise
from mfim_bench.cli import run_command


def edit(record: Record, change: Callable[[dict[str, Any]], object]) -> str:
    """The run's folder, its manifest changed on disk."""
    path = record.folder / "manifest.json"
    manifest = json.loads(path.read_text())
    change(manifest)
    path.write_text(json.dumps(manifest))
    return str(record.folder)


def without_pose(manifest: dict[str, Any]) -> None:
    for measures in (manifest["measures"], manifest["inputs"]["measures"]):
        measures[:] = [measure for measure in measures if measure["name"] != POSE]


def shorten(record: Record, pairs: int) -> None:
    """As a run with ``--limit`` leaves it."""
    kept = list(record.rows[:pairs])
    write_part(record.folder / "parts" / "score-000000.parquet", kept, score_schema([IDENTITY, POSE]))
    edit(record, lambda manifest: manifest.update(pairs=manifest["pairs"][:pairs]))
    (record.folder / "summary.json").write_text(json.dumps(summarise(record.manifest, kept)))


def as_method(name: str, started: str) -> Callable[[dict[str, Any]], object]:
    def change(manifest: dict[str, Any]) -> None:
        manifest["started"] = started
        manifest["inputs"]["method"]["name"] = name

    return change


def judged(manifest: dict[str, Any], **changes: Any) -> None:
    libraries = {"python": "3.11", "torch": "2.10.0"}
    judge = {
        "name": "net", "factory": "judges.net:judge", "weights": {}, "code": {"mfim_bench": "1", "judges.net": "1"},
        "libraries": libraries, "device": "cpu",
    }  # fmt: skip
    manifest["inputs"] |= {"libraries": libraries, "judges": {"net": judge | changes}}


def test_measures_that_one_run_lacks_are_named(make: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = [str(make("made/a/1", 0.2, 2.0).folder), edit(make("made/b/1", 0.4, 2.0, seed=1), without_pose)]
    told = f"left out, not measured by all: {POSE} (some are missing in made/b/1)\n"
    leaderboard = ["leaderboard", "--protocol", "made", "--out", str(tmp_path / "runs")]
    for command in (
        leaderboard, [*leaderboard, "--common"], ["compare", *runs], ["report", *runs],
        ["table", *runs, "--form", "mfim-1"],
    ):  # fmt: skip
        assert run_command(command) == 0
        out, err = capsys.readouterr()
        assert err == told, command
        assert "not measured by all" not in out
    assert run_command([*leaderboard, "--common", "--sort", "pose"]) == 2


def test_a_fuller_older_run_is_named(make: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A smoke run, or one of fewer measures, takes the place of the one that was meant."""
    base = ["leaderboard", "--protocol", "made", "--out", str(tmp_path / "runs"), "-f", "json"]
    full = edit(make("made/m/1", 0.2, 2.0), as_method("m", "2021"))
    edit(make("made/m/0", 0.2, 2.0), as_method("m", "2020"))
    assert run_command(base) == 0
    assert capsys.readouterr().err == "", "an older run that holds nothing more is no loss"
    smoke = make("made/m/2", 0.2, 2.0)
    shorten(smoke, 8)
    edit(smoke, as_method("m", "2022"))
    assert run_command(base) == 0
    out, err = capsys.readouterr()
    assert {(fact["run"], fact["scored"]) for fact in json.loads(out)} == {("made/m/2", 8)}
    assert err == f"older run of m with 60 pairs, 2 measures left out (the newest: 8, 2): {full}\n"
    edit(smoke, as_method("m", "2019"))
    edit(edit_of := make("made/m/3", 0.2, 2.0), without_pose)
    edit(edit_of, as_method("m", "2023"))
    assert run_command(base) == 0
    assert capsys.readouterr().err == f"older run of m with 60 pairs, 2 measures left out (the newest: 60, 1): {full}\n"


def test_what_differs_in_the_measuring_is_told(make: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a, b = make("made/a/1", 0.2, 2.0), make("made/b/1", 0.4, 2.0, seed=1)
    runs = [edit(a, judged), edit(b, judged)]
    commands = (
        ["compare", *runs], ["report", *runs], ["table", *runs, "--form", "mfim-1"],
        ["leaderboard", "--protocol", "made", "--out", str(tmp_path / "runs")],
    )  # fmt: skip
    before = []
    for command in commands:
        assert run_command(command) == 0
        out, err = capsys.readouterr()
        assert err == ""
        before.append(out)
    changes = {
        "device": "cuda", "libraries": {"torch": "2.11.0"}, "factory": "judges.net:other",
        "code": {"mfim_bench": "1", "judges.net": "2"},
    }  # fmt: skip
    edit(b, lambda manifest: judged(manifest, **changes))
    told = "torch 2.10.0 / 2.11.0; device cpu / cuda; code of judges; factory of judge net"
    for command, shown in zip(commands, before, strict=True):
        assert run_command(command) == 0
        out, err = capsys.readouterr()
        assert err == f"the runs differ in: {told}\n", command
        assert out == shown


def test_code_of_distances_counts_and_of_methods_does_not(make: Make, capsys: pytest.CaptureFixture[str]) -> None:
    a, b = make("a", 0.2, 2.0), make("b", 0.4, 2.0, seed=1)
    folders = [str(a.folder), edit(b, lambda manifest: manifest["inputs"]["code"].update({"swapper.method": "1"}))]
    assert run_command(["compare", *folders]) == 0
    assert capsys.readouterr().err == ""
    edit(b, lambda manifest: manifest["inputs"]["code"].update({"mfim_bench.measures.distances": "2"}))
    assert run_command(["compare", *folders]) == 0
    assert capsys.readouterr().err == "the runs differ in: code of mfim_bench\n"


def test_another_distance_is_another_measure(make: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def cosine(manifest: dict[str, Any]) -> None:
        manifest["inputs"]["measures"][1]["distance"] = "mfim_bench.measures.distances:cosine"

    runs = [str(make("made/a/1", 0.2, 2.0).folder), edit(make("made/b/1", 0.4, 2.0, seed=1), cosine)]
    for command in (["compare", *runs], ["report", *runs], ["table", *runs, "--form", "mfim-1"]):
        assert run_command(command) == 2
        assert f"used different distances of {POSE}" in capsys.readouterr().err
    leaderboard = ["leaderboard", "--protocol", "made", "--out", str(tmp_path / "runs")]
    assert run_command(leaderboard) == 2
    assert f"{POSE} was measured in different versions" in capsys.readouterr().err
    assert run_command([*leaderboard, "--common"]) == 0
    assert f"left out, measured in different versions: {POSE}" in capsys.readouterr().out


def test_one_pair_shows_no_numbers_that_are_none(make: Make, capsys: pytest.CaptureFixture[str]) -> None:
    records = make("a", 0.2, 2.0), make("b", 0.4, 2.0, seed=1)
    for record in records:
        shorten(record, 1)
    runs = [str(record.folder) for record in records]
    for style in ("text", "latex", "markdown"):
        assert run_command(["compare", *runs, "--bootstrap", "20", "-f", style]) == 0
        out = capsys.readouterr().out
        assert "nan" not in out
        assert "too narrow" not in out, "there is no interval to be too narrow"
        assert out.count("not defined: the pairs are fewer than two") == 1
        assert ("[\\textendash{}, \\textendash{}]" if style == "latex" else "[–, –]") in out
    assert run_command(["report", *runs]) == 0
    assert "too narrow" not in capsys.readouterr().out


@pytest.mark.parametrize("rule", ["", " "])
def test_an_empty_rule_is_refused(make: Make, capsys: pytest.CaptureFixture[str], rule: str) -> None:
    """As a variable of the shell that is not set leaves it."""
    runs = [str(make("a", 0.2, 2.0).folder), str(make("b", 0.4, 2.0, seed=1).folder)]
    assert run_command(["compare", *runs, "--fail-if", rule]) == 2
    out, err = capsys.readouterr()
    assert (out, err[:26]) == ("", "mfim-bench: cannot read ''")
