"""The detector's last searches: faces in dim, flat light."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import numpy as np
import pytest

from mfim_bench.faces import detect
from mfim_bench.media.images import read_image

FRAMES = Path(str(resources.files("mfim_protocols"))) / "virtual_faces" / "test" / "frames"


def test_raised_contrast_finds_faces_in_dim_light(monkeypatch: pytest.MonkeyPatch) -> None:
    detector = detect.Detector()
    frames = [read_image(path) for path in sorted(FRAMES.iterdir())[::25]]
    dim = [np.rint(frame * 0.1 + 10).astype(np.uint8) for frame in frames]
    found = detector.detect(dim)
    plain = tuple(search for search in detect.LAST_SEARCHES if not search.equalised)
    monkeypatch.setattr(detect, "LAST_SEARCHES", plain)
    without = detector.detect(dim)
    bright = detector.detect(frames)
    # What is found without them is found the same.
    for before, after in zip(without, found, strict=True):
        assert before is None or (after is not None and np.array_equal(before.points, after.points))
    assert sum(face is not None for face in found) >= sum(face is not None for face in without) + 3
    for face, true in zip(found, bright, strict=True):
        if face is not None and true is not None:
            eyes = float(np.linalg.norm(true.points[0] - true.points[1]))
            assert np.linalg.norm(face.points - true.points, axis=1).mean() < 0.5 * eyes
