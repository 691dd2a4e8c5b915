"""Video files as streams of uint8 RGB frames, by PyAV."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any

import av
import av.error
import numpy as np
from numpy.typing import NDArray

from mfim_bench.errors import RowError, UsageError
from mfim_bench.media.images import MAX_PIXELS


@dataclass(frozen=True, slots=True)
class VideoInfo:
    """What a file says of its first video stream.

    Attributes:
        width: of a stored frame, pixels (before rotation).
        height: of a stored frame, pixels.
        rate: frames per second.
        frames: as the container states it; 0 when it does not.
    """

    width: int
    height: int
    rate: Fraction
    frames: int


def video_info(path: Path | str) -> VideoInfo:
    """Read the header of a video.

    Raises:
        RowError: missing, empty or not a video.
    """
    with _open(Path(path)) as container:
        stream = container.streams.video[0]
        return VideoInfo(stream.width, stream.height, Fraction(stream.average_rate or 25), stream.frames)


def read_frames(path: Path | str, max_pixels: int = MAX_PIXELS) -> Iterator[NDArray[np.uint8]]:
    """Yield the frames of the first video stream in presentation order, uint8 (H, W, 3) RGB, rotated as displayed.

    Raises:
        RowError: missing, empty, not a video, frames over ``max_pixels``, or broken on the way (frames before the
            break are yielded first).
    """
    path = Path(path)
    with _open(path) as container:
        stream = container.streams.video[0]
        if stream.width * stream.height > max_pixels:
            raise RowError(f"video too large: {path.name} ({stream.width}x{stream.height}, limit {max_pixels} pixels)")
        try:
            for frame in container.decode(stream):
                array = frame.to_ndarray(format="rgb24")
                turns = round(getattr(frame, "rotation", 0) / 90) % 4  # counter-clockwise degrees
                yield np.ascontiguousarray(np.rot90(array, turns))
        except av.error.FFmpegError as error:
            raise RowError(f"broken or truncated video: {path.name} ({error})") from None


def _open(path: Path) -> Any:
    try:
        container = av.open(str(path))
    except FileNotFoundError:
        raise RowError(f"missing file: {path.name}") from None
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise RowError(f"not a video: {path.name} ({error})") from None
    if not container.streams.video:
        container.close()
        raise RowError(f"no video stream: {path.name}")
    return container


class VideoWriter:
    """Write frames as H.264 (yuv420p); a context manager. The file appears under its name when it is complete.

    Odd widths and heights grow by one repeated column or row, because yuv420p halves both.
    """

    def __init__(
        self, path: Path | str, rate: Fraction | int = 25, crf: int = 12, metadata: Mapping[str, str] | None = None
    ) -> None:
        """
        Args:
            path: the file; its suffix chooses the container (.mp4, .mkv, .mov).
            rate: frames per second.
            crf: constant rate factor of libx264, 0 (lossless) to 51.
            metadata: tags of the container, e.g. ``{"comment": …}``.

        Raises:
            UsageError: the folder cannot be written or the suffix is unknown.
        """
        self.path = Path(path)
        self._partial = self.path.with_name(f".{self.path.stem}.part{self.path.suffix}")
        self._rate, self._crf = Fraction(rate), crf
        self._stream: Any = None
        if not self.path.parent.is_dir():  # PyAV opens the file with the first frame: say it now
            raise UsageError(f"cannot write {self.path}: no such folder")
        try:
            self._container: Any = av.open(str(self._partial), mode="w")
        except (av.error.FFmpegError, OSError, ValueError) as error:
            raise UsageError(f"cannot write {self.path}: {error}") from None
        self._container.metadata.update(metadata or {})

    def __enter__(self) -> VideoWriter:
        return self

    def write(self, frame: NDArray[np.uint8]) -> None:
        """Append a frame, uint8 (H, W, 3) RGB; all of one size."""
        frame = np.pad(frame, ((0, frame.shape[0] % 2), (0, frame.shape[1] % 2), (0, 0)), mode="edge")
        if self._stream is None:
            self._stream = self._container.add_stream("libx264", rate=self._rate, options={"crf": str(self._crf)})
            self._stream.height, self._stream.width = frame.shape[:2]
            self._stream.pix_fmt = "yuv420p"
        if frame.shape[:2] != (self._stream.height, self._stream.width):
            raise ValueError(f"frame of {frame.shape[:2]} in a video of {self._stream.height, self._stream.width}")
        picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
        self._container.mux(self._stream.encode(picture))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._stream is not None and kind is None:
            self._container.mux(self._stream.encode(None))
        self._container.close()
        if kind is None and self._stream is not None:
            self._partial.replace(self.path)
        else:
            self._partial.unlink(missing_ok=True)
