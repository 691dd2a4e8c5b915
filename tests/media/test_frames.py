"""Chosen frames of real encoded videos: every frame shows its own number, so a frame too early or too late is seen."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from clips import make
from numpy.typing import NDArray

from mfim_bench.errors import RowError
from mfim_bench.media.frames import even_frames, frames_at, random_frames, stepped_frames
from mfim_bench.media.video import read_frames

BITS, CELL = 6, 32
COUNT = 40


def numbered(number: int) -> NDArray[np.uint8]:
    """A frame that shows its number as black and white squares, uint8 RGB (64, 192, 3)."""
    squares = [255 * (number >> bit & 1) for bit in range(BITS)]
    image = np.repeat(np.repeat(np.array(squares, np.uint8)[None], CELL * 2, 0), CELL, 1)
    return np.ascontiguousarray(np.repeat(image[..., None], 3, 2))


def number_in(image: NDArray[np.uint8]) -> int:
    """What `numbered` wrote."""
    cells = image[CELL // 2, CELL // 2 :: CELL, 1]
    return sum(1 << bit for bit in range(BITS) if cells[bit] > 127)


def film(
    path: Path, codec: str = "libx264", count: int = COUNT, uneven: bool = False, front: bool = False, **options: str
) -> Path:
    """Encode ``count`` numbered frames; ``front`` puts an mp4's index before its frames."""
    with av.open(str(path), "w", options={"movflags": "faststart"} if front else {}) as container:
        stream = container.add_stream(codec, rate=25, options=options)
        stream.width, stream.height, stream.pix_fmt = BITS * CELL, 2 * CELL, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 100)
        for number in range(count):
            frame = av.VideoFrame.from_ndarray(numbered(number), format="rgb24")
            frame.pts, frame.time_base = 4 * number + (number % 3 if uneven else 0), Fraction(1, 100)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


FILMS = {
    "b-frames": {"name": "a.mp4", "bf": "3", "g": "12"},
    "one key frame": {"name": "a.mp4", "g": "1000"},
    "matroska": {"name": "a.mkv", "bf": "2"},
    "uneven times": {"name": "a.mp4", "uneven": True, "bf": "2"},
    "mpeg4 in avi": {"name": "a.avi", "codec": "mpeg4"},
    "vp9 in webm": {"name": "a.webm", "codec": "libvpx-vp9"},
    "hevc with b-frames": {"name": "a.mp4", "codec": "libx265", "x265-params": "log-level=none:bframes=3"},
    "h264 in a transport stream": {"name": "a.ts", "bf": "3", "g": "12"},
    "mpeg2 with b-frames": {"name": "a.mpg", "codec": "mpeg2video", "bf": "2"},
    "lossless": {"name": "a.mkv", "codec": "ffv1"},
}


@pytest.mark.parametrize("kind", FILMS)
def test_a_frame_is_the_one_of_its_number(kind: str, tmp_path: Path) -> None:
    options = dict(FILMS[kind])
    path = film(tmp_path / str(options.pop("name")), **options)  # type: ignore[arg-type]
    wanted = [0, 1, 11, 12, 13, 25, COUNT - 1]
    found = list(frames_at(path, [25, *wanted]))  # in any order, twice or once
    assert [number for number, _ in found] == wanted
    assert [number_in(image) for _, image in found] == wanted


def test_they_are_the_frames_that_a_whole_reading_gives(tmp_path: Path) -> None:
    path = film(tmp_path / "a.mp4")
    whole = list(read_frames(path))
    for number, image in frames_at(path, range(0, COUNT, 7)):
        np.testing.assert_array_equal(image, whole[number])


def test_decoding_ends_with_the_last_frame_wanted(tmp_path: Path) -> None:
    path = film(tmp_path / "a.mp4", g="5")
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) * 3 // 4])  # its index lies at the end and is gone
    with pytest.raises(RowError, match=r"a\.mp4"):
        list(frames_at(path, [3]))
    path = film(tmp_path / "b.mkv", g="5")
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) * 3 // 4])  # readable until then
    assert [number for number, _ in frames_at(path, [3, 7])] == [3, 7]
    reading = frames_at(path, [3, COUNT - 1])
    assert number_in(next(reading)[1]) == 3
    with pytest.raises(RowError, match=r"b\.mkv"):
        next(reading)


@pytest.mark.parametrize(("name", "noticed"), [("a.mp4", 60), ("a.mkv", 32)])
def test_what_comes_before_a_break_has_its_number(name: str, noticed: int, tmp_path: Path) -> None:
    """Wherever a film with B-frames is cut: a decoder that is emptied there shows a later frame for a lost one.

    Matroska holds no list of its frames: a cut within its last second goes unnoticed, see `frames_at`.
    """
    path = film(tmp_path / name, count=60, bf="3", g="12", front=True)
    whole = path.read_bytes()
    with av.open(str(path)) as container:
        places = [packet.pos for packet in container.demux(video=0) if packet.size]
    counts = []
    for cut in places[6:noticed]:
        path.write_bytes(whole[: cut + 1])
        shown: list[int] = []
        reading = (number_in(image) for _, image in frames_at(path, range(60)))
        with pytest.raises(RowError, match=name):
            shown.extend(reading)
        assert shown == list(range(len(shown)))
        counts.append(len(shown))
    assert counts == sorted(counts)
    assert counts[-1] > noticed - 10


def test_rotation_and_range(tmp_path: Path) -> None:
    """Frames as a player shows them: turned as the file says, full-range grey not stretched."""
    grey = np.full((48, 64, 3), 60, np.uint8)
    grey[:, :8] = 250  # left
    make(tmp_path / "turned.mp4", [grey] * 3, before=lambda stream: stream.set_display_rotation(90))
    [(_, image)] = frames_at(tmp_path / "turned.mp4", [1])
    assert image.shape == (64, 48, 3)
    bright = image.mean((1, 2))
    assert bright[60:].mean() > 200 > bright[:50].mean()  # counterclockwise: left comes down
    tags = {"colorspace": 1, "color_range": 2, "color_trc": 1, "color_primaries": 1}
    make(tmp_path / "full.mp4", [grey] * 3, tags=tags)
    [(_, image)] = frames_at(tmp_path / "full.mp4", [2])
    assert abs(float(image[:, 32:].mean()) - 60) < 2


def test_a_frame_that_is_not_there_is_named(tmp_path: Path) -> None:
    path = film(tmp_path / "a.mp4", count=5)
    with pytest.raises(RowError, match=r"a\.mp4 has 5 frames, no frame 5"):
        list(frames_at(path, [4, 5]))
    with pytest.raises(RowError, match=r"missing file: b\.mp4"):
        list(frames_at(tmp_path / "b.mp4", [0]))
    with pytest.raises(ValueError, match="counted from 0"):
        list(frames_at(path, [-1]))
    assert list(frames_at(path, [])) == []


def test_the_usual_choices() -> None:
    assert even_frames(100, 10) == [5, 15, 25, 35, 45, 55, 65, 75, 85, 95]
    assert even_frames(3, 10) == [0, 1, 2]
    assert len(set(even_frames(11, 10))) == 10
    assert stepped_frames(95, 10) == [0, 10, 20, 30, 40, 50, 60, 70, 80, 90]
    assert stepped_frames(25, 10) == [0, 3, 6, 9, 12, 15, 18, 21, 24, 2]  # ten rows, as ReliableSwap's dataloader
    assert stepped_frames(7, 10) == [0, 1, 2, 3, 4, 5, 6, 0, 1, 2]
    assert stepped_frames(0, 10) == []
    chosen = random_frames(300, 10, "012")
    assert chosen == random_frames(300, 10, "012") != random_frames(300, 10, "013")
    assert chosen == sorted(set(chosen))
    assert len(chosen) == 10
    assert random_frames(4, 10, "x") == [0, 1, 2, 3]
