"""Two public-domain photographs (NASA's of Eileen Collins, the US Navy's of Grace Hopper) through the whole path."""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from matplotlib import cbook
from numpy.typing import NDArray
from skimage import data

from mfim_bench.bench import Record
from mfim_bench.cli import run_command
from mfim_bench.media.images import read_image, write_image

sys.path.insert(0, str(Path(__file__).parents[1] / "media"))
from clips import make

MEASURES = "identity,shape,expression,pose,pose-hn"


@pytest.fixture(scope="module")
def collins() -> NDArray[np.uint8]:
    return np.ascontiguousarray(data.astronaut()[:400, 50:400])


@pytest.fixture(scope="module")
def hopper() -> NDArray[np.uint8]:
    with cbook.get_sample_data("grace_hopper.jpg") as file:
        return read_image(Path(file.name))


def records(out: Path) -> dict[str, Record]:
    found = [Record.load(manifest.parent) for manifest in out.glob("*/*/*/manifest.json")]
    return {record.method: record for record in found}


def held_by_hand(image: NDArray[np.uint8], frames: int) -> list[NDArray[np.uint8]]:
    """A camera that trembles, turns and comes nearer, 320 x 240 px."""
    random = np.random.default_rng(7)
    height, width = image.shape[:2]
    shown = []
    for number in range(frames):
        matrix = cv2.getRotationMatrix2D((width / 2, height * 0.4), 3 * np.sin(number / 5), 0.6 + number / 150)
        matrix[:, 2] += np.array([160 - width / 2, 110 - height * 0.4]) + random.normal(0, 1.5, 2)
        shown.append(np.asarray(cv2.warpAffine(image, matrix, (320, 240), borderMode=cv2.BORDER_REFLECT), np.uint8))
    return shown


def test_photographs(collins: NDArray[np.uint8], hopper: NDArray[np.uint8], tmp_path: Path) -> None:
    for name, photograph in (("collins", collins), ("hopper", hopper)):
        write_image(tmp_path / f"{name}.png", photograph)
    (tmp_path / "pairs.csv").write_text("source,target\ncollins.png,hopper.png\nhopper.png,collins.png\n")
    for method in ("mfim", "poisson"):
        arguments = ["run", "--method", method, "--protocol", "folder", "--data", str(tmp_path), "--measures", MEASURES]
        assert run_command([*arguments, "--out", str(tmp_path / "runs")]) == 0
    found = records(tmp_path / "runs")
    assert found.keys() >= {"mfim", "poisson", "target-copy", "source-copy"}
    means = {
        (method, name.partition("@")[0]): entry["mean"]
        for method, record in found.items()
        for name, entry in record.summary["measures"].items()
    }
    assert all(record.summary["failed"] == 0 for record in found.values())
    assert means["target-copy", "identity"] > 0.6  # dlib's own bound for two people
    assert means["poisson", "identity"] < 0.55
    assert means["mfim", "identity"] < means["target-copy", "identity"] < means["target-copy@64", "identity"]
    assert means["source-copy", "identity"] < 1e-3
    for family in ("expression", "pose", "pose-hn"):
        assert means["target-copy", family] < 1e-3
        assert means["mfim", family] < means["source-copy", family]


def test_videos_of_photographs(collins: NDArray[np.uint8], hopper: NDArray[np.uint8], tmp_path: Path) -> None:
    videos = tmp_path / "original_sequences/youtube/c23/videos"
    videos.mkdir(parents=True)
    for name, photograph in (("000", collins), ("001", hopper)):
        make(videos / f"{name}.mp4", held_by_hand(photograph, 30))
    (tmp_path / "test.json").write_text('[["000", "001"]]')
    arguments = ["run", "--method", "poisson", "--protocol", "faceforensics++", "--data", str(tmp_path)]
    # With the default measures: retrieval finds the source's person although some sources are nobody's target.
    assert run_command([*arguments, "--limit", "6", "--out", str(tmp_path / "runs")]) == 0
    found = records(tmp_path / "runs")
    assert {method: (len(r.rows), r.summary["failed"]) for method, r in found.items() if not r.reference} == {
        "poisson": (6, 0)
    }
    identity = {method: record.summary["measures"]["identity@dlib-l2"]["mean"] for method, record in found.items()}
    assert identity["poisson"] < 0.55 < 0.6 < identity["target-copy"]
