"""Video files as streams of frames, by PyAV: read, and written again with other pixels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any

import av
import av.error

from mfim_bench.errors import RowError, UsageError
from mfim_bench.media.images import MAX_PIXELS, RGB
from mfim_bench.media.pictures import Picture, from_rgb
from mfim_bench.media.sound import Sound

CRF = 12
"""Constant rate factor of libx264: errors the eye does not see, at three to five times the size of its default 23."""
MISSING = Fraction(1)
"""Seconds that may lack at the end of a file, measured against what its header states."""
_STATES_DURATION = ("mov", "matroska")  # in others FFmpeg guesses it


@dataclass(frozen=True, slots=True)
class VideoInfo:
    """What a file says of its first video stream.

    Attributes:
        width: of a stored frame, pixels (before rotation).
        height: of a stored frame, pixels.
        rate: frames per second, the mean where it varies.
        frames: as the container states it, or its duration times the rate; 0 when it states neither.
    """

    width: int
    height: int
    rate: Fraction
    frames: int


class Interrupted(RowError):
    """The system failed, not the file: another try may succeed."""


def video_info(path: Path | str) -> VideoInfo:
    """Read the header of a video.

    Raises:
        RowError: missing, empty or not a video.
    """
    with _open(Path(path)) as container:
        stream = _pictures_of(container)
        rate = Fraction(stream.average_rate or 25)
        frames = stream.frames or round((container.duration or 0) / av.time_base * rate)
        return VideoInfo(stream.width, stream.height, rate, max(frames, 0))


def read_frames(path: Path | str, max_pixels: int = MAX_PIXELS) -> Iterator[RGB]:
    """The frames of `read_pictures`, uint8 (H, W, 3) RGB, rotated as displayed."""
    return (picture.rgb for picture in read_pictures(path, max_pixels))


def read_pictures(path: Path | str, max_pixels: int = MAX_PIXELS) -> Iterator[Picture]:
    """Yield the frames of the first video stream in presentation order.

    Raises:
        RowError: missing, empty, not a video, frames over ``max_pixels``; or broken, truncated, or of another size on
            the way. Frames before that are yielded first, as far as their order is sure: what the decoder still holds
            back at a break may stand behind a lost frame, and is dropped.
    """
    path = Path(path)
    with _open(path) as container:
        stream = _pictures_of(container)
        if stream.width * stream.height > max_pixels:
            raise RowError(f"video too large: {path.name} ({stream.width}x{stream.height}, limit {max_pixels} pixels)")
        # Several threads a frame, never several frames: how many come out before a break would depend on the cores.
        stream.thread_type = "SLICE"
        end, first, size = Fraction(0), None, None
        try:
            for packet in container.demux():
                if packet.is_corrupt:
                    raise RowError(f"broken or truncated video: {path.name} (a packet is damaged)")
                if packet.pts is not None:
                    end = max(end, (packet.pts + (packet.duration or 0)) * packet.time_base)
                if packet.stream.index != stream.index:
                    continue
                if not packet.size:  # the end, where the decoder hands out what it holds back
                    _check_end(container, path, end)
                for frame in packet.decode():
                    size = size or (frame.width, frame.height)
                    if size != (frame.width, frame.height):
                        raise RowError(f"{path.name} changes its size from {size} to {(frame.width, frame.height)}")
                    if container.format.name == "avi":  # holds no presentation times, and FFmpeg's guesses go back
                        first = frame.dts if first is None else first
                        frame.pts = None if frame.dts is None else frame.dts - (first or 0)
                    yield Picture.of(frame, stream.sample_aspect_ratio)
        except av.error.FFmpegError as error:
            raise _broken(path, "broken or truncated video", error) from None


def _broken(path: Path, what: str, error: Exception) -> RowError:
    """The error to raise: `Interrupted` where the system failed and not the file."""
    return (Interrupted if isinstance(error, OSError) else RowError)(f"{what}: {path.name} ({error})")


def _check_end(container: Any, path: Path, end: Fraction) -> None:
    """Raise `RowError` where the packets end much before the time that the header states, in seconds."""
    stated = Fraction((container.start_time or 0) + (container.duration or 0), av.time_base)
    if container.format.name.startswith(_STATES_DURATION) and end < stated - MISSING:
        raise RowError(f"truncated video: {path.name} (it ends at {float(end):.1f} of {float(stated):.1f} s)")


def _open(path: Path) -> Any:
    try:
        container = av.open(str(path))
    except FileNotFoundError:
        raise RowError(f"missing file: {path.name}") from None
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise _broken(path, "not a video", error) from None
    if _pictures_of(container) is None:
        container.close()
        raise RowError(f"no video stream: {path.name}")
    return container


def _pictures_of(container: Any) -> Any:
    """The video stream a player shows, rather than a cover picture; None if there is none that can be decoded."""
    stream = container.streams.best("video")
    return stream if stream is not None and stream.codec_context is not None else None


class VideoWriter:
    """Write frames as H.264; a context manager. The file appears under its name when it is complete.

    The first frame decides the layout: that of the video it comes from (chroma, depth, colour tags, rotation, pixel
    shape; see `Picture.with_pixels`), or 8-bit 4:2:0. Where chroma is halved, odd widths and heights grow by one
    repeated column or row. Memory does not depend on the length.
    """

    def __init__(
        self,
        path: Path | str,
        rate: Fraction | int = 25,
        crf: int = CRF,
        metadata: Mapping[str, str] | None = None,
        sound: Path | None = None,
    ) -> None:
        """
        Args:
            path: the file; its suffix chooses the container (.mp4, .mkv, .mov).
            rate: frames per second, for frames that bring no time of their own, and as a hint to the encoder.
            crf: constant rate factor of libx264, 0 (lossless) to 51.
            metadata: tags of the container, e.g. ``{"comment": …}``.
            sound: a file whose audio streams are carried over (see `Sound`).

        Raises:
            UsageError: the folder cannot be written or the suffix is unknown.
        """
        self.path = Path(path)
        self.notes: list[str] = []
        """What the reader of the file should know; complete when the first frame is written."""
        self._partial = self.path.with_name(f".{self.path.stem}.part{self.path.suffix}")
        self._rate, self._crf, self._sound_of = Fraction(rate), crf, sound
        self._stream: Any = None
        self._sound: Sound | None = None
        self._last: int | None = None  # time stamp, in the encoder's time base
        self._durations: dict[int, int] = {}  # of the frames inside the encoder, which does not hand them on
        if not self.path.parent.is_dir():  # PyAV opens the file with the first frame: say it now
            raise UsageError(f"cannot write {self.path}: no such folder")
        try:
            self._container: Any = av.open(str(self._partial), mode="w")
        except (av.error.FFmpegError, OSError, ValueError) as error:
            raise UsageError(f"cannot write {self.path}: {error}") from None
        self._container.metadata.update(metadata or {})

    def __enter__(self) -> VideoWriter:
        return self

    def write(self, image: RGB, picture: Picture | None = None) -> None:
        """Append a frame.

        Args:
            image: uint8 (H, W, 3) RGB; all of one size.
            picture: the frame of a video that ``image`` stands for. Its time stamp is kept, and so are its samples
                where ``image`` equals it.

        Raises:
            ValueError: the size differs from the first frame's, or from the picture's.
            RowError: the sound is broken.
        """
        frame = (picture or from_rgb(image)).with_pixels(image)
        if self._stream is None:
            self._start(frame, picture)
        if (frame.width, frame.height) != (self._stream.width, self._stream.height):
            raise ValueError(f"frame of {image.shape[:2]} in a video of {self._stream.height, self._stream.width}")
        if frame.format.name != self._stream.pix_fmt:
            frame = frame.reformat(format=self._stream.pix_fmt)
        self._time(frame, picture)
        self._mux(self._stream.encode(frame))

    def _start(self, frame: Any, picture: Picture | None) -> None:
        # Without B-frames the last frame shown is the last one stored, whose duration mp4 can tell.
        options = {"crf": str(self._crf), "bf": "0"}
        stream = self._container.add_stream("libx264", rate=self._rate, options=options)
        stream.width, stream.height, stream.pix_fmt = frame.width, frame.height, frame.format.name
        context = stream.codec_context
        context.colorspace, context.color_range = frame.colorspace, frame.color_range
        context.color_trc, context.color_primaries = frame.color_trc, frame.color_primaries
        context.time_base = picture.frame.time_base if picture else 1 / self._rate
        if picture is not None:
            stream.set_display_matrix(picture.matrix)
            if picture.aspect:
                context.sample_aspect_ratio = picture.aspect
        self._stream = stream
        if self._sound_of is not None:
            self._sound = Sound(self._sound_of, self._container)
            self.notes += self._sound.notes

    def _time(self, frame: Any, picture: Picture | None) -> None:
        """Set the time stamp: the picture's, or the next in the rate where it has none or goes back."""
        base = frame.time_base = self._stream.codec_context.time_base
        step = max(round(1 / self._rate / base), 1)
        old = picture.frame if picture else frame
        following = 0 if self._last is None else self._last + step
        frame.pts = following if old.pts is None else round(old.pts * (old.time_base / base))
        if self._last is not None and frame.pts <= self._last:
            frame.pts = self._last + 1
        self._durations[frame.pts] = round(old.duration * (old.time_base / base)) if picture and old.duration else step
        self._last = frame.pts

    def _mux(self, packets: list[Any]) -> None:
        for packet in packets:
            packet.duration = self._durations.pop(packet.pts)
            if self._sound is not None:  # the sound that plays before the picture lies before it
                self._sound.copy(packet.dts * packet.time_base)
            self._container.mux(packet)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        complete = False
        try:
            if kind is None and self._stream is not None:
                self._mux(self._stream.encode(None))
                if self._sound is not None:
                    self._sound.copy(None)
                self._container.close()
                complete = True
        finally:
            if self._sound is not None:
                self._sound.close()
            if complete:
                self._partial.replace(self.path)
            else:
                with suppress(av.error.FFmpegError, OSError):  # the trailer of a file that is thrown away
                    self._container.close()
                self._partial.unlink(missing_ok=True)
