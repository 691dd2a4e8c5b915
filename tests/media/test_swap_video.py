"""``mfim-bench swap`` on a video, end to end: sound, count of frames without a face, interruption, memory."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from clips import make, packets, times_of

from mfim_bench.cli import run_command
from mfim_bench.media.images import read_image, write_image
from mfim_bench.media.video import read_frames
from mfim_protocols.virtual_faces.dataset import home

SOURCE, TARGET = (home("test", None) / "frames" / f"{name}.webp" for name in ("p000f0", "p012f0"))


def _scene(number: int, size: tuple[int, int] = (240, 320), face: bool = True) -> np.ndarray:
    """A face moved about before a background."""
    y, x = np.mgrid[: size[0], : size[1]]
    frame = np.stack([60 + x // 4, 90 + y // 4, 120 + (x + y) // 8], axis=-1).astype(np.uint8)
    if face:
        side = size[0] - 40
        left = round((size[1] - side) * (0.5 + 0.45 * np.sin(number / 30)))
        top = round(20 + 18 * np.cos(number / 17))
        frame[top : top + side, left : left + side] = cv2.resize(read_image(TARGET), (side, side))
    return frame


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("videos")
    frames = [_scene(number, face=number not in (3, 4)) for number in range(7)]
    make(folder / "v.mp4", frames, times=[0, 40, 100, 120, 300, 340, 400], sound="aac", seconds=0.5)
    (folder / "m.py").write_text(
        "SIZE = 64\ndef invert(s, t):\n    return 1 - t\ndef mix(s, t):\n    return (s + t) / 2\n"
    )
    return folder


def _arguments(work: Path, method: str, target: Path, output: Path, source: Path = SOURCE) -> list[str]:
    return ["swap", "-m", f"{work}/m.py:{method}", "-s", str(source), "-t", str(target), "-o", str(output)]


def test_a_video_keeps_sound_times_and_all_but_the_face(
    work: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(_arguments(work, "invert", work / "v.mp4", tmp_path / "o.mp4")) == 0
    error = capsys.readouterr().err
    assert error == "note: 2 of 7 frames are kept as they were: target: no face found (2)\n"
    assert packets(tmp_path / "o.mp4", "audio")[0] == packets(work / "v.mp4", "audio")[0]
    assert times_of(tmp_path / "o.mp4") == pytest.approx(times_of(work / "v.mp4"))
    before, after = (np.stack(list(read_frames(path))).astype(int) for path in (work / "v.mp4", tmp_path / "o.mp4"))
    change = np.abs(after - before).max(axis=3)
    swapped = [0, 1, 2, 5, 6]
    assert change[[3, 4]].mean() < 1
    assert change[[3, 4]].max() < 16
    assert (change[swapped].max(axis=(1, 2)) > 100).all()
    outside = np.concatenate([change[swapped][:, :, :20], change[swapped][:, :, -40:]], axis=2)
    assert outside.mean() < 1
    assert outside.max() < 16


def test_a_frame_sized_swap_of_another_size_is_fitted(work: Path, tmp_path: Path) -> None:
    arguments = [
        "swap",
        "-m",
        "source-copy",
        "-s",
        str(SOURCE),
        "-t",
        str(work / "v.mp4"),
        "-o",
        str(tmp_path / "o.mkv"),
    ]
    assert run_command(arguments) == 0
    assert next(read_frames(tmp_path / "o.mkv")).shape == (240, 320, 3)


def test_a_source_without_a_face_is_told_at_once(
    work: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_image(tmp_path / "grey.png", np.full((120, 120, 3), 127, np.uint8))
    assert run_command(_arguments(work, "mix", work / "v.mp4", tmp_path / "o.mp4", tmp_path / "grey.png")) == 2
    assert capsys.readouterr().err == "mfim-bench: source: no face found\n"
    assert [path.name for path in tmp_path.iterdir()] == ["grey.png"]


def test_a_truncated_video_is_one_line_and_leaves_nothing(
    work: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make(tmp_path / "whole.mkv", [_scene(number) for number in range(100)], sound="aac", seconds=4)
    (tmp_path / "cut.mkv").write_bytes(
        (tmp_path / "whole.mkv").read_bytes()[: (tmp_path / "whole.mkv").stat().st_size // 6]
    )
    assert run_command(_arguments(work, "mix", tmp_path / "cut.mkv", tmp_path / "o.mp4")) == 2
    error = capsys.readouterr().err
    assert "target: " in error
    assert "truncated" in error
    assert error.count("\n") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cut.mkv", "whole.mkv"]


def test_ctrl_c_leaves_no_partial_file(work: Path, tmp_path: Path) -> None:
    make(tmp_path / "long.mp4", [_scene(number) for number in range(200)], sound="aac", seconds=8)
    output = tmp_path / "out"
    output.mkdir()
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    command = [
        sys.executable,
        "-m",
        "mfim_bench.cli",
        *_arguments(work, "mix", tmp_path / "long.mp4", output / "o.mp4"),
    ]
    environment = os.environ | {"TMPDIR": str(temporary)}
    # Under a shell's background job Ctrl-C is ignored, and a child inherits that.
    process = subprocess.Popen(
        command,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    try:
        until = time.monotonic() + 120
        while time.monotonic() < until and process.poll() is None and not list(output.iterdir()):
            time.sleep(0.05)
        assert [path.name for path in output.iterdir()] == [".o.part.mp4"], "it was not writing yet"
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130
    assert error == "mfim-bench: interrupted\n"
    assert list(output.iterdir()) == []
    assert list(temporary.glob("mfim-bench-*")) == []  # torch leaves a folder of its own there


_CHILD = """
import json, resource, sys, time
from mfim_bench.cli import run_command
start = time.monotonic()
code = run_command(sys.argv[1:])
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(json.dumps({"code": code, "seconds": time.monotonic() - start, "MiB": peak}))
"""


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_memory_does_not_grow_with_the_length(work: Path, tmp_path: Path) -> None:
    """Peak resident memory of 60 s is that of 10 s, but for a tenth."""
    used = {}
    for seconds in (10, 60):
        target, output = tmp_path / f"{seconds}.mp4", tmp_path / f"o{seconds}.mp4"
        make(target, [_scene(number) for number in range(25 * seconds)], sound="aac", seconds=seconds)
        command = [sys.executable, "-c", _CHILD, *_arguments(work, "mix", target, output)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        used[seconds] = json.loads(done.stdout)
        assert used[seconds]["code"] == 0, done.stderr
        assert len(times_of(output)) == 25 * seconds
    print(used)
    assert used[60]["MiB"] < 1.1 * used[10]["MiB"] + 20
