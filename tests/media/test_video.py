"""Video: what is written is read back, frame by frame."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from mfim_bench.errors import RowError, UsageError
from mfim_bench.media.video import VideoWriter, read_frames, video_info


def _clip(path: Path, count: int = 5, size: tuple[int, int] = (48, 64)) -> list[np.ndarray]:
    y, x = np.mgrid[: size[0], : size[1]]
    frames = [np.stack([4 * x, 5 * y, np.full_like(x, 40 * i)], -1).clip(0, 255).astype(np.uint8) for i in range(count)]
    with VideoWriter(path, rate=Fraction(30000, 1001), crf=4, metadata={"comment": "swapped"}) as writer:
        for frame in frames:
            writer.write(frame)
    return frames


def test_round_trip(tmp_path: Path) -> None:
    frames = _clip(tmp_path / "a.mp4")
    info = video_info(tmp_path / "a.mp4")
    assert (info.width, info.height, info.rate, info.frames) == (64, 48, Fraction(30000, 1001), 5)
    back = list(read_frames(tmp_path / "a.mp4"))
    assert len(back) == 5
    for frame, read in zip(frames, back, strict=True):  # H.264 halves the chroma: near, not equal; red stays first
        assert np.abs(frame.astype(int) - read).mean() < 3
    assert [p.name for p in tmp_path.iterdir()] == ["a.mp4"]


def test_odd_sizes_grow_by_one(tmp_path: Path) -> None:
    _clip(tmp_path / "a.mp4", 2, (47, 63))
    assert next(read_frames(tmp_path / "a.mp4")).shape == (48, 64, 3)


def test_broken_files_become_reasons(tmp_path: Path) -> None:
    (tmp_path / "empty.mp4").write_bytes(b"")
    (tmp_path / "text.mp4").write_text("no video")
    for name, reason in {"empty.mp4": "not a video", "text.mp4": "not a video", "gone.mp4": "missing"}.items():
        with pytest.raises(RowError, match=reason):
            list(read_frames(tmp_path / name))
    _clip(tmp_path / "a.mp4")
    with pytest.raises(RowError, match="too large"):
        list(read_frames(tmp_path / "a.mp4", max_pixels=100))
    with pytest.raises(UsageError, match="cannot write"):
        VideoWriter(tmp_path / "nowhere" / "a.mp4")


def test_an_interrupted_video_leaves_nothing(tmp_path: Path) -> None:
    def interrupted() -> None:
        with VideoWriter(tmp_path / "a.mp4") as writer:
            writer.write(np.zeros((16, 16, 3), np.uint8))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        interrupted()
    assert list(tmp_path.iterdir()) == []
