"""Runs in the form of the paper's tables, and published figures beside measured ones."""

from __future__ import annotations

import csv
import io
import json
import math
from pathlib import Path

import pytest
from made_records import IDENTITY, Make

from mfim_bench.bench.record import Record
from mfim_bench.cli import run_command
from mfim_bench.errors import UsageError
from mfim_bench.report.forms import FORMS, form
from mfim_bench.report.published import tables
from mfim_bench.report.table import build

KEPT = Path(__file__).parents[2] / "docs" / "ablations"


def kept(name: str) -> Record:
    return Record.load(next(KEPT.glob(f"{name}/*/manifest.json")).parent)


def test_table_1_has_a_row_for_every_method_named(make: Make) -> None:
    records = [make("MegaFS", 0.3, 2.0), make("mfim", 0.2, 1.0, seed=1), make("mine", 0.4, 2.0, seed=2)]
    sheet = form("mfim-1", [("", record) for record in records])
    shown = {row[0]: row for row in sheet.cells}
    assert list(shown) == [*FORMS["mfim-1"].rows.values(), "mine"]
    assert shown["MegaFS"][1:3] == ["MegaFS", build(records).lines[0].cells[IDENTITY].text.removesuffix(" ▲")]
    assert shown["SimSwap"][1:4] == ["no run given", "–", "–"]
    assert shown["mine"][1] == "beside the form"
    heads = [head.split("\n")[0] for head in sheet.heads]
    assert heads == ["", "run", "identity ↓", "shape", "expression", "pose ↓‡", "pose-hn", "scored", "failed"]
    legend = "\n".join(sheet.legend)
    assert "shape: cannot be filled" in legend
    assert "the form is of faceforensics++; these runs are of made" in legend
    assert "the paper's own numbers are not known" in legend


def test_a_label_names_the_row(make: Make) -> None:
    record = make("other-code", 0.3, 2.0)
    assert form("mfim-2", [("hififace", record)]).cells[3][1] == "other-code"
    with pytest.raises(UsageError, match="has no row 'x'; it has deepfakes, faceshifter"):
        form("mfim-2", [("x", record)])
    with pytest.raises(UsageError, match="no form is called 'mfim-5'"):
        form("mfim-5", [("", record)])


def test_table_3_averages_training_runs() -> None:
    names = [f"mfim-{v}-{seed}" for v in ("neither", "no-maps", "no-3dmm", "full") for seed in (0, 1)]
    sheet = form("mfim-3", [("", kept(name)) for name in [*names, "truth"]])
    assert [row[:2] for row in sheet.cells] == [
        *([shown, "mean of 2 trainings"] for shown in FORMS["mfim-3"].rows.values()), ["truth", "beside the form"],
    ]  # fmt: skip
    assert sheet.cells[3][2] == "0.612 ± 0.009"  # as docs/ablations.md has it
    assert [head.split("\n")[0] for head in sheet.heads[2:-2]] == [
        "identity ↓✗", "shape ↓‡✗", "expression ↓‡✗", "pose ↓‡", "pose-hn ↓‡",
    ]  # fmt: skip


def test_table_4_knows_mixes_by_their_names(make: Make) -> None:
    runs = [make("mfim@local", 0.3, 2.0), make("mfim", 0.35, 2.0, seed=1), make("mfim@global", 0.4, 2.0, seed=2)]
    sheet = form("mfim-4", [("", record) for record in runs])
    assert [row[1] for row in sheet.cells] == ["mfim", "mfim@global", "mfim@local"]
    assert sheet.heads[2].startswith("identity, global source ↓")
    assert sheet.heads[3] == "identity, local source\nnot measured"


def test_the_commands(make: Make, capsys: pytest.CaptureFixture[str]) -> None:
    run = str(make("simswap", 0.3, 2.0).folder)
    assert run_command(["table", f"megafs={run}", "--form", "mfim-1", "--published", "ff-latentswap"]) == 0
    out = capsys.readouterr().out
    assert out.index("In the form of MFIM's Table 1") < out.index("PUBLISHED, not measured here") < out.index("93.36")
    assert run_command(["table", run, "--form", "mfim-1", "-f", "csv", "--published", "ff-latentswap"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert {row["kind"] for row in rows} == {"form", "published"}
    assert all(not row["mean"] for row in rows if row["kind"] == "published")
    assert run_command(["published", "ff-latentswaps"]) == 2
    assert "did you mean ff-latentswap" in capsys.readouterr().err
    assert run_command(["published"]) == 0
    assert all(name in capsys.readouterr().out for name in [next(iter(tables()))])
    assert run_command(["published", "ff-latentswap", "-f", "json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert len(facts) == 8 * 3
    assert [f["value"] for f in facts if f["method"] == "HifiFace"] == [98.48, None, 7.89]


def test_published_tables_are_whole() -> None:
    assert list(tables()) == ["ff-latentswap", "ff-alphaface", "casia-normal", "ffhq-dreamid"]
    for table in tables().values():
        assert table.source
        for method, values in table.rows:
            assert len(values) == len(table.columns), (table.name, method)
        assert all(column[-1] in "↓↑" for column in table.columns)
    assert math.isnan(dict(tables()["ff-latentswap"].rows)["HifiFace"][1])
    assert [len(table.rows) for table in tables().values()] == [8, 7, 12, 6]
