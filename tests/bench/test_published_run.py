"""A file of published layout on its way: refused, added, run with, changed; retrieval in the table."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from mfim_bench import weights
from mfim_bench.bench import RunSettings, run
from mfim_bench.errors import UsageError
from mfim_bench.plugins import Registry
from mfim_bench.report.table import build

sys.path.append(str(Path(__file__).parents[1] / "networks"))
import published_twins as twins

MINE = ("identity@sphere20-casia", "retrieval@sphere20-casia-top1", "retrieval@dlib-top1", "tiny-source@points")


def test_from_an_absent_file_to_a_table(
    registry: Registry, settings: RunSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(weights.CACHE_VARIABLE, str(tmp_path / "cache"))
    settings = replace(settings, method="source-copy", measures=MINE, limit=4, references=False)
    with pytest.raises(UsageError, match=r"get ACC99.28.pth from https://github.com/MuggleWang/CosFace_pytorch"):
        run(settings, registry)
    state = twins.fill(twins.sphere20(6))
    file = tmp_path / "mine.pth"
    torch.save({name: value for name, value in state.items() if name != "fc.bias"}, file)
    with pytest.raises(UsageError, match=r"mine.pth: 1 missing: fc.bias$"):
        weights.add("cosface-sphere20", file)
    torch.save({f"module.{name}": value for name, value in state.items()}, file)
    added = weights.add("cosface-sphere20", file)
    assert len(added.golden) == weights.GOLDEN
    source, target = (run(replace(settings, method=f"{m}-copy"), registry)[0] for m in ("source", "target"))
    for record in (source, target):
        assert record.summary["failed"] == 0
        assert record.manifest["inputs"]["judges"]["sphere20-casia"]["weights"] == {"cosface-sphere20": added.sha256}
        assert all(abs(row[MINE[0]]) <= 1 for row in record.rows)
        assert {row[name] for row in record.rows for name in MINE[1:3]} <= {0.0, 1.0}
    # The source's own frame is in the gallery, and the target's is of somebody else.
    assert [row["retrieval@dlib-top1"] for row in source.rows] == [1.0] * 4
    assert [row["retrieval@dlib-top1"] for row in target.rows] == [0.0] * 4
    table = build([source, target]).text()
    assert "retrieval@dlib-top1" in table
    assert "higher is better" in table
    added.path.write_bytes(added.path.read_bytes() + b"\0")
    with pytest.raises(UsageError, match="has changed since it was added"):
        run(replace(settings, limit=3), registry)
    record = run(replace(settings, limit=3, skip_missing=True), registry)[0]
    assert list(record.summary["skipped"]) == list(MINE[:2])


def test_the_published_3dmm_and_hopenet_in_a_table(
    registry: Registry, settings: RunSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(weights.CACHE_VARIABLE, str(tmp_path / "cache"))
    torch.save(twins.fill(twins.hopenet()), tmp_path / "hopenet.pkl")
    torch.save({"net_recon": twins.fill(twins.deep3d())}, tmp_path / "epoch_20.pth")
    for name, file in (("hopenet-robust-alpha1", "hopenet.pkl"), ("deep3d", "epoch_20.pth")):
        weights.add(name, tmp_path / file)
    names = ("shape@deep3d", "expression@deep3d", "pose@deep3d-radians", "pose-hn@hopenet-published-degrees")
    settings = replace(settings, measures=names, limit=3, references=False)
    source, target = (run(replace(settings, method=f"{m}-copy"), registry)[0] for m in ("source", "target"))
    for name in names:
        same, other = (target, source) if name != names[0] else (source, target)
        assert [row[name] for row in same.rows] == [0.0] * 3
        assert all(row[name] > 0 for row in other.rows)
    table = build([source, target]).text()
    assert all(name.partition("@")[2] in table for name in names)
