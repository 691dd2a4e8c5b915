"""Frames of videos as image files: each video is decoded once, whatever the number of pairs, methods and runs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path

from mfim_bench.bench.parts import write_atomic
from mfim_bench.errors import RowError
from mfim_bench.media.frames import frames_at
from mfim_bench.media.hashes import file_hash
from mfim_bench.media.images import write_image
from mfim_bench.media.video import Interrupted
from mfim_bench.protocol import Frame

LEVEL = 1
"""Of the PNG files' compression: higher ones take longer than the decoding and save a tenth."""


class FrameStore:
    """Decoded frames under a folder, by the content of their video: ``<hash>/<number>.png``.

    A frame that cannot be had leaves ``<number>.txt`` with the reason, so that a broken video is decoded once too;
    where the system failed rather than the file, the reason is kept for this process alone.
    Everything here can be deleted; it is made again when it is needed.

    Args:
        folder: of these frames; another one for other decoders, see `mfim_bench.bench.fingerprint.frames_key`.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._interrupted: dict[Path, str] = {}

    def file(self, frame: Frame) -> Path:
        """The image file of a frame: its own, or the stored one of a video's.

        Raises:
            RowError: the video is missing, or the frame could not be decoded (the reason), or was not fetched.
        """
        if frame.index is None:
            return frame.path
        place = self.place(frame)
        if place.is_file():
            return place
        if place in self._interrupted:
            raise RowError(self._interrupted[place])
        try:
            reason = place.with_suffix(".txt").read_text(encoding="utf-8")
        except OSError:
            reason = f"{frame.path.name}: frame {frame.index} was not fetched"
        raise RowError(reason)

    def place(self, frame: Frame) -> Path:
        """Where a frame's image file is, or would be.

        Raises:
            RowError: the video is missing or cannot be read.
        """
        if frame.index is None:
            return frame.path
        return self.folder / file_hash(frame.path)[:32] / f"{frame.index:06d}.png"

    def missing(self, frames: Iterable[Frame]) -> dict[Path, list[Frame]]:
        """The frames that are still to be decoded, by video. Videos that are not there are left out."""
        todo: dict[Path, dict[int, Frame]] = defaultdict(dict)
        for frame in frames:
            if frame.index is None:
                continue
            try:
                place = self.place(frame)
            except RowError:
                continue  # `file` says why, in the row
            if not (place.is_file() or place.with_suffix(".txt").is_file() or place in self._interrupted):
                todo[frame.path][frame.index] = frame
        return {path: list(found.values()) for path, found in todo.items()}

    def fetch(self, video: Path, frames: Iterable[Frame]) -> None:
        """Decode the frames of one video in one pass."""
        places: Mapping[int, Path] = {f.index: self.place(f) for f in frames if f.index is not None}
        next(iter(places.values())).parent.mkdir(parents=True, exist_ok=True)
        left = dict(places)
        try:
            for index, image in frames_at(video, places):
                write_image(left.pop(index), image, level=LEVEL)
        except Interrupted as error:
            self._interrupted.update(dict.fromkeys(left.values(), str(error)))
        except RowError as error:
            for place in left.values():
                write_atomic(place.with_suffix(".txt"), str(error).encode())
