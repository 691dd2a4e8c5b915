"""The protocol virtual-faces-mixing: what is mixed, its files, and how they are made again."""

from __future__ import annotations

import dataclasses
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mfim_bench.cli import run_command
from mfim_bench.errors import UsageError
from mfim_bench.plugins import load_protocol, registry
from mfim_protocols.virtual_faces import dataset, mixing
from mfim_protocols.virtual_faces.geometry import true_mix, true_swap
from mfim_protocols.virtual_faces.render import render

LOCAL = {"brow", "brow_colour", "iris", "iris_size", "freckles", "stubble", "skin_seed"}


def test_the_files_are_complete_and_the_published_ones(tmp_path: Path) -> None:
    protocol = load_protocol(registry().protocol("virtual-faces-mixing"), None, "test")
    assert list(protocol.problems()) == []
    assert protocol.content_hash() == mixing.PUBLISHED["test"] != ""
    shutil.copytree(dataset.home("test", None), tmp_path / "test")
    opened = mixing.load(tmp_path, "test")
    assert opened.content_hash() == mixing.PUBLISHED["test"]
    pair = opened.pairs()[0]
    assert pair.truth is not None
    Image.new("RGB", (256, 256)).save(pair.truth)
    assert opened.content_hash() != mixing.PUBLISHED["test"]
    pair.truth.unlink()
    assert opened.problems() == [f"missing mixing/truth/{pair.id}.webp"]


@pytest.mark.parametrize("split", ["test", "validation"])
def test_each_pair_joins_three_people_of_its_split(split: str) -> None:
    found = mixing.triples(split)
    assert len(found) == mixing.SPLITS[split].pairs
    assert all(len({frame[:4] for frame in triple}) == 3 for triple in found)
    for role in zip(*found, strict=True):
        assert set(Counter(role).values()) == {1}
    known = {frame for pair in dataset.pair_list(split) for frame in pair}
    assert {frame for triple in found for frame in triple} <= known


def test_pairs_name_their_parts() -> None:
    pair = mixing.load(None, "test").pairs()[0]
    coarse, fine = pair.parts
    assert (coarse.name, fine.name, coarse.frame) == ("global", "local", pair.source)
    assert pair.part("local") is fine
    assert pair.part("eyes") is None
    assert pair.id == f"{pair.target.id}-{coarse.frame.id}-{fine.frame.id}"


def test_what_each_source_gives() -> None:
    shape, detail, target = (dataset.record("test", name) for name in mixing.triples("test")[0])
    mixed, swapped = true_mix(shape, detail, target), true_swap(shape, target)
    assert np.array_equal(mixed.neutral, swapped.neutral)
    assert mixed.scene == target.scene
    for field in dataclasses.fields(mixed.identity):
        giver = detail if field.name in LOCAL else shape if field.name == "shape" else target
        assert getattr(mixed.identity, field.name) == getattr(giver.identity, field.name), field.name
    assert true_mix(shape, shape, target).identity.brow == swapped.identity.brow


def test_shipped_mixes_are_what_the_renderer_draws_and_the_local_region_is_where_the_local_source_shows() -> None:
    pair = mixing.load(None, "test").pairs()[0]
    shape, detail = (dataset.record("test", part.frame.id) for part in pair.parts)
    target = dataset.record("test", pair.target.id)
    assert pair.truth is not None
    assert pair.region is not None
    assert pair.parts[1].region is not None
    shipped = np.asarray(Image.open(pair.truth).convert("RGB")).astype(float)
    again = render(true_mix(shape, detail, target), dataset.SIZE, dataset.SAMPLES).image
    assert np.abs(shipped - again).mean() < 3, "8-bit units; WebP and the last bit of another machine"
    face, local = (np.asarray(Image.open(path)) for path in (pair.region, pair.parts[1].region))
    assert set(np.unique(local)) == {0, 255}
    assert 0.02 < (local > 0).sum() / (face > 127).sum() < 0.6
    assert not (local[face == 0]).any()
    other = render(true_mix(shape, shape, target), dataset.SIZE, dataset.SAMPLES).image
    change = np.abs(again.astype(float) - other).mean(-1)
    outside = change[(local == 0) & (face > 0)]
    assert np.quantile(outside, 0.999) <= 255 * mixing.CHANGE + 1
    assert change[local > 0].mean() > 4 * outside.mean()


def test_every_local_region_holds_something() -> None:
    for pair in mixing.load(None, "test").pairs():
        assert pair.region is not None
        assert pair.parts[1].region is not None
        face, local = (np.asarray(Image.open(path)) for path in (pair.region, pair.parts[1].region))
        assert (local > 0).sum() > 0.03 * (face > 127).sum(), pair.id


def test_it_says_what_to_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UsageError, match="no split 'dev'"):
        mixing.load(None, "dev")
    with pytest.raises(UsageError, match="data render-mixing --split validation --data"):
        mixing.load(tmp_path, "validation")
    for arguments, message in (
        (["--split", "dev"], "no split 'dev'"),
        (["--split", "test"], "ships with the package"),
        (["--data", str(tmp_path)], "make them with `mfim-bench data render --split validation --data"),
    ):
        assert run_command(["data", "render-mixing", *arguments]) == 2
        assert message in " ".join(capsys.readouterr().err.split())


def test_the_command_renders_what_is_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(dataset.home("test", None), tmp_path / "test")
    pair = mixing.load(tmp_path, "test").pairs()[-1]
    shipped = mixing.load(None, "test").pairs()[-1]
    for mine in (pair.truth, pair.region, pair.parts[1].region):
        assert mine is not None
        mine.unlink()
    assert run_command(["data", "render-mixing", "--split", "test", "--data", str(tmp_path), "--workers", "1"]) == 0
    assert mixing.load(tmp_path, "test").content_hash() in capsys.readouterr().out
    for mine, theirs in ((pair.truth, shipped.truth), (pair.parts[1].region, shipped.parts[1].region)):
        assert mine is not None
        assert theirs is not None
        a, b = (np.asarray(Image.open(path).convert("RGB")).astype(float) for path in (mine, theirs))
        assert np.abs(a - b).mean() < 3
