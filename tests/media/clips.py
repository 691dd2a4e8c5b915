"""Small videos with sound, made by PyAV."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

MILLISECOND = Fraction(1, 1000)


def make(
    path: Path,
    frames: Sequence[np.ndarray],
    *,
    times: Sequence[int] | None = None,
    base: Fraction = MILLISECOND,
    codec: str = "libx264",
    form: str = "yuv420p",
    tags: dict[str, int] | None = None,
    sound: str | None = None,
    seconds: float = 1.0,
    tone: Callable[[np.ndarray], np.ndarray] = lambda t: 8000 * np.sin(2 * np.pi * 440 * t),
    options: dict[str, str] | None = None,
    before: Callable[[Any], None] = lambda stream: None,
) -> None:
    """Write frames at ``times`` (in units of ``base``; 25 a second by default), and ``tone`` as mono sound."""
    with av.open(str(path), "w", options=options or {}) as output:
        shown = list(times or (round(number / (25 * base)) for number in range(len(frames))))
        shown.append(2 * shown[-1] - shown[-2] if len(shown) > 1 else shown[-1] + 1)
        stream: Any = output.add_stream(codec, rate=1 / ((shown[-1] - shown[-2]) * base))
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt, stream.codec_context.time_base = form, base
        for name, value in (tags or {}).items():
            setattr(stream.codec_context, name, value)
        before(stream)
        audio: Any = output.add_stream(sound, rate=48000, layout="mono") if sound else None
        for number, image in enumerate(frames):
            drawn = av.VideoFrame.from_ndarray(image, format="rgb24")
            for name, value in (tags or {}).items():
                setattr(drawn, name, value)
            frame = drawn.reformat(format=form)
            frame.pts, frame.time_base, frame.duration = shown[number], base, shown[number + 1] - shown[number]
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
        if audio is not None:
            for first in range(0, round(48000 * seconds), 960):
                wave = tone(np.arange(first, first + 960) / 48000).astype(np.int16)[None]
                heard = av.AudioFrame.from_ndarray(wave, format="s16", layout="mono")
                heard.sample_rate, heard.pts, heard.time_base = 48000, first, Fraction(1, 48000)
                output.mux(audio.encode(heard))
            output.mux(audio.encode(None))


def packets(path: Path, kind: str) -> tuple[list[bytes], Fraction | None]:
    """The bytes of each packet of the first stream of a kind, and when the first plays, seconds."""
    with av.open(str(path)) as container:
        found = [packet for packet in container.demux(container.streams.best(kind)) if packet.size]
        first = found[0]
        return [bytes(packet) for packet in found], None if first.pts is None else first.pts * first.time_base


def times_of(path: Path) -> list[float]:
    """When each frame is shown, seconds."""
    with av.open(str(path)) as container:
        return [float(frame.time) for frame in container.decode(video=0)]


def heard(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """The sound: time of each sample in seconds, and its value, first channel."""
    time, value = [], []
    with av.open(str(path)) as container:
        for frame in container.decode(audio=0):
            samples = frame.to_ndarray().astype(np.float64)
            wave = samples[0] if frame.format.is_planar else samples.reshape(-1, len(frame.layout.channels))[:, 0]
            time.append(float(frame.time) + np.arange(len(wave)) / frame.sample_rate)
            zero, one = {"u8": (128, 128), "s16": (0, 32768), "flt": (0, 1)}[frame.format.name.removesuffix("p")]
            value.append((wave - zero) / one)
    return np.concatenate(time), np.concatenate(value)
