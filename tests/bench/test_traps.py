"""Traps of the field that a harness can fall into, each on real pixels; see also test_run.py and test_films.py."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mfim_bench.bench import RunSettings, run
from mfim_bench.bench.cache import FeatureCache
from mfim_bench.bench.eyes import Eyes
from mfim_bench.bench.runner import resolve_device
from mfim_bench.media.images import read_image, write_image
from mfim_bench.plugins import Registry

RED = """
SIZE = 160
TEMPLATE = "none"


def swap(source, target):
    return target[:, :1].expand(-1, 3, -1, -1)
"""


def test_methods_get_red_first_in_0_to_1(settings: RunSettings, registry: Registry, tmp_path: Path) -> None:
    """BGR for RGB, [-1, 1] or 0..255 for [0, 1], normalised values: each would change the grey that stands for red."""
    (tmp_path / "red.py").write_text(RED)
    method = f"{tmp_path / 'red.py'}:swap"
    record = run(replace(settings, method=method, limit=3, references=False), registry)[0]
    for pair in record.manifest["pairs"]:
        target = read_image(pair["target_path"])
        swapped = read_image(record.folder / "images" / f"{pair['id']}.png")
        assert np.abs(target[..., 0].astype(int) - target[..., 2]).mean() > 5  # a portrait is not grey
        np.testing.assert_array_equal(swapped, np.repeat(target[..., :1], 3, 2))


def test_features_are_known_by_content_not_by_name(registry: Registry, site: Path, tmp_path: Path) -> None:
    """Two folders with a file of one name, and a file that is overwritten: three images, three descriptions."""
    measure = registry.measure("tiny-source")
    assert measure.judge is not None
    device, name = resolve_device("cpu")
    cache = FeatureCache(tmp_path / "features.sqlite")
    eyes = Eyes([measure.judge], device, name, cache, workers=1)
    seen = []
    for folder, shown in (("a", "plain"), ("b", "mirror"), ("a", "tall"), ("c", "plain")):
        path = tmp_path / folder / "face.png"
        path.parent.mkdir(exist_ok=True)
        write_image(path, read_image(site / "tiny_images" / f"{shown}.png"))
        seen.append(eyes.features(path, [measure.judge.name], "swap")[measure.judge.name]["points"])
    eyes.close()
    cache.close()
    plain, mirror, tall, again = seen
    assert np.abs(plain - mirror).max() > 0.01
    assert np.abs(plain - tall).max() > 0.01
    np.testing.assert_array_equal(plain, again)


def test_rows_stay_with_their_pairs_in_any_order_of_work(settings: RunSettings, registry: Registry) -> None:
    """Files and rows in the order of a folder or of threads would give a pair another's distance."""
    record = run(replace(settings, limit=20, references=False, workers=3), registry)[0]
    few = replace(settings, limit=20, references=False, workers=1, batch_size=3, out=settings.out / "other")
    other = run(few, registry)[0]
    order = [pair["id"] for pair in record.manifest["pairs"]]
    assert order != sorted(order)
    assert [row["pair"] for row in record.rows] == order
    for mine, theirs in zip(record.rows, other.rows, strict=True):
        assert mine["pair"] == theirs["pair"]
        assert mine["tiny-target@points"] == pytest.approx(theirs["tiny-target@points"], abs=1e-5)
