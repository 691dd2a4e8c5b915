"""The sound of a video carried over to another file, packet by packet."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from fractions import Fraction
from io import BytesIO
from pathlib import Path
from typing import Any

import av
import av.error

from mfim_bench.errors import RowError

AAC_RATES = (96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350)
AAC_BITS = 96_000
"""Bits per second and channel where sound must be encoded again [own choice]."""
LAYOUTS = {1: "mono", 2: "stereo", 6: "5.1", 8: "7.1"}
"""Of sound that is encoded again, by its channels; any other number becomes stereo."""


class Sound:
    """Copies every audio stream of a file into an open output; timestamps stay those of the file.

    A stream whose codec the output's container cannot hold is encoded again as AAC; one that cannot be decoded either
    is left out. `notes` says so. The file is opened a second time for this, so that pictures and sound can be read at
    their own pace: only packets up to the last written picture are in memory.
    """

    def __init__(self, path: Path, output: Any) -> None:
        """
        Args:
            path: a file with any number of audio streams, none included.
            output: an `av` output container that has not begun to write.
        """
        self.notes: list[str] = []
        self._path, self._output = path, output
        self._input: Any = av.open(str(path))
        self._routes: dict[int, _Copy | _Encode] = {}
        for number, stream in enumerate(self._input.streams.audio, 1):
            codec = stream.codec_context.name if stream.codec_context else None
            if codec is None:
                self.notes.append(f"sound stream {number} is left out: its codec is unknown")
            elif _holds(stream, output):
                self._routes[stream.index] = _Copy(stream, output)
            else:
                self._routes[stream.index] = _Encode(stream, output)
                self.notes.append(
                    f"sound stream {number} is encoded again as AAC: {output.format.name} holds no {codec}"
                )
        self._packets = self._read()
        self._ahead: Any = None

    def copy(self, until: Fraction | None) -> None:
        """Write all sound before ``until`` (seconds on the file's clock), or all that is left.

        Raises:
            RowError: the file is broken.
        """
        while (packet := self._ahead or next(self._packets, None)) is not None:
            self._ahead = packet
            if until is not None and packet.dts is not None and packet.dts * packet.time_base >= until:
                return
            self._ahead = None
            for made in self._routes[packet.stream.index].packets(packet):
                self._output.mux(made)

    def close(self) -> None:
        self._input.close()

    def _read(self) -> Iterator[Any]:
        streams = [stream for stream in self._input.streams.audio if stream.index in self._routes]
        if not streams:
            return
        try:
            yield from self._input.demux(streams)
        except av.error.FFmpegError as error:
            raise RowError(f"broken or truncated sound: {self._path.name} ({error})") from None


def _holds(stream: Any, output: Any) -> bool:
    """Whether the output's container takes this stream as it is: asked of its muxer, since its list is too long."""
    try:
        with av.open(BytesIO(), mode="w", format=output.format.name) as trial:
            trial.add_stream_from_template(stream)
            trial.start_encoding()
    except (av.error.FFmpegError, ValueError):
        return False
    return True


class _Copy:
    def __init__(self, stream: Any, output: Any) -> None:
        self._out = output.add_stream_from_template(stream)
        _describe(self._out, stream)

    def packets(self, packet: Any) -> Iterator[Any]:
        if packet.size:  # the last one of a stream is an empty one
            packet.stream = self._out
            yield packet


class _Encode:
    def __init__(self, stream: Any, output: Any) -> None:
        context = stream.codec_context
        rate = context.sample_rate if context.sample_rate in AAC_RATES else 48000
        layout = LAYOUTS.get(context.layout.nb_channels, "stereo")
        self._out = output.add_stream("aac", rate=rate, layout=layout)
        self._out.codec_context.bit_rate = AAC_BITS * self._out.codec_context.layout.nb_channels
        _describe(self._out, stream)

    def packets(self, packet: Any) -> Iterator[Any]:
        frames: list[Any] = []
        with suppress(av.error.InvalidDataError):  # a player, too, skips a packet that makes no sound
            frames = packet.decode()
        for frame in frames:
            yield from self._out.encode(frame)
        if not packet.size:
            yield from self._out.encode(None)


def _describe(stream: Any, like: Any) -> None:
    """Language, title, and which stream a player takes."""
    stream.metadata.update(like.metadata)
    stream.disposition = like.disposition
