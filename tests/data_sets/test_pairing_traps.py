"""Two traps of the field: files paired by an order nobody chose, and frames of one video taken for independent."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mfim_bench.plugins import load_protocol, registry
from mfim_bench.protocol import Pair
from mfim_bench.statistics import mean_interval


class Backwards:
    """`os.scandir` of a file system that lists the last file first."""

    def __init__(self, entries: Any) -> None:
        self._entries = entries

    def __enter__(self) -> Iterator[os.DirEntry[str]]:
        return iter(sorted(self._entries, key=lambda entry: entry.name, reverse=True))

    def __exit__(self, *_: object) -> None:
        self._entries.close()

    def __iter__(self) -> Iterator[os.DirEntry[str]]:
        return self.__enter__()


def rows(name: str, data: Path, split: str | None = None) -> list[Pair]:
    return list(load_protocol(registry().protocol(name), data, split).pairs())


SETS = [
    ("faceforensics++", "faceforensics", "all"),
    ("faceforensics++@simswap", "faceforensics", "all"),
    ("celeba-hq", "celeba_hq", None),
    ("ffhq-1000", "ffhq", None),
    ("casia-cross-attribute", "casia", None),
]


@pytest.mark.parametrize(("name", "folder", "split"), SETS)
def test_pairs_do_not_depend_on_the_order_of_a_folder(
    name: str, folder: str, split: str | None, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = request.getfixturevalue(folder)
    before = rows(name, data, split)
    scandir, listdir = os.scandir, os.listdir
    monkeypatch.setattr(os, "scandir", lambda *a: Backwards(scandir(*a)))
    monkeypatch.setattr(os, "listdir", lambda *a: sorted(listdir(*a), reverse=True))
    deepest = rows(name, data, split)[0].target.path.parent
    names = [path.name for path in deepest.iterdir()]
    assert names == sorted(names, reverse=True), "the patch holds"
    assert rows(name, data, split) == before


def test_file_names_pair_when_no_split_file_does(own_faceforensics: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for path in own_faceforensics.glob("*.json"):
        path.unlink()
    before = rows("faceforensics++", own_faceforensics, "all")
    scandir, listdir = os.scandir, os.listdir
    monkeypatch.setattr(os, "scandir", lambda *a: Backwards(scandir(*a)))
    monkeypatch.setattr(os, "listdir", lambda *a: sorted(listdir(*a), reverse=True))
    assert rows("faceforensics++", own_faceforensics, "all") == before


@pytest.mark.parametrize(("name", "folder", "split"), [SETS[0], SETS[1], SETS[4]])
def test_frames_of_one_video_are_never_independent(
    name: str, folder: str, split: str | None, request: pytest.FixtureRequest
) -> None:
    """Where the distance belongs to the video, ten frames of it are no ten samples: the interval says so."""
    pairs = rows(name, request.getfixturevalue(folder), split)
    shown = {frame.identity for pair in pairs for frame in (pair.source, pair.target)}
    assert len(shown) <= len(pairs) / 3
    effect = {who: float(value) for who, value in zip(sorted(shown), np.linspace(-1, 1, len(shown)), strict=True)}
    noise = np.random.default_rng(0).normal(0, 0.01, len(pairs))
    values = np.array([effect[pair.target.identity] for pair in pairs]) + noise
    honest = mean_interval(values, [p.source.identity for p in pairs], [p.target.identity for p in pairs])
    naive = mean_interval(values, [f"{p.id}-source" for p in pairs], [f"{p.id}-target" for p in pairs])
    assert honest.half_width > 1.3 * naive.half_width
