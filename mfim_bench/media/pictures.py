"""A decoded video frame as RGB, and back: what nobody changed keeps its stored values bit for bit."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from mfim_bench.media.images import RGB

BT709, LIMITED, FULL = 1, 1, 2
"""Of FFmpeg's AVCOL_SPC and AVCOL_RANGE."""
_CHROMA = {(2, 2): "yuv420p", (2, 1): "yuv422p", (1, 1): "yuv444p"}


@dataclass(frozen=True, slots=True)
class Picture:
    """One frame of a video.

    Attributes:
        frame: as decoded (`av.VideoFrame`): planes, time stamp, colour tags.
        rgb: uint8 (H, W, 3), upright as a player shows it.
        turns: quarter turns counter-clockwise from the stored frame to the upright one.
        aspect: width of a stored pixel over its height; None or 0 where the file does not say.
    """

    frame: Any
    rgb: RGB
    turns: int = 0
    aspect: Fraction | None = None

    @classmethod
    def of(cls, frame: Any, aspect: Fraction | None = None) -> Picture:
        """The picture of a decoded frame, converted by the matrix and the range that its tags name."""
        turns = round(frame.rotation / 90) % 4
        return cls(frame, np.ascontiguousarray(np.rot90(frame.to_ndarray(format="rgb24"), turns)), turns, aspect)

    @property
    def matrix(self) -> list[int] | None:
        """The display matrix, nine fixed-point numbers, or None."""
        for data in self.frame.side_data:
            if data.type.name == "DISPLAYMATRIX":
                return [int(value) for value in np.frombuffer(bytes(data), np.int32)]
        return None

    def with_pixels(self, image: RGB) -> Any:
        """The frame as an encoder takes it, with ``image`` in place of what it showed.

        Planes, chroma subsampling and depth (8 or 10 bits) are the frame's own where H.264 knows them. Only samples
        under pixels that differ from `rgb` are converted from ``image``; all others are copied, so neither rounding
        nor chroma filtering touches them. Where chroma is halved, an odd side grows by one repeated column or row.

        Args:
            image: uint8 (H, W, 3), shaped as `rgb`.

        Returns:
            A new `av.VideoFrame` with the same colour tags, not turned; it has no time stamp yet.

        Raises:
            ValueError: the shape differs.
        """
        if image.shape != self.rgb.shape:
            raise ValueError(f"frame of {image.shape[:2]} in a video of {self.rgb.shape[:2]}")
        old = _planar(self.frame)
        drawn = av.VideoFrame.from_ndarray(np.ascontiguousarray(np.rot90(image, -self.turns)), format="rgb24")
        _tag(drawn, old)
        planes = zip(_planes(old), _planes(drawn.reformat(format=_name(old))), strict=True)
        changed = np.rot90((image != self.rgb).any(axis=2), -self.turns)
        whole = [np.where(_shrink(changed, stored.shape), new, stored) for stored, new in planes]
        sides = zip(whole[0].shape, whole[1].shape, strict=True)
        high, wide = (2 * chroma if chroma < luma else luma for luma, chroma in sides)
        grown = ((0, high - whole[0].shape[0]), (0, wide - whole[0].shape[1]))
        whole[0] = np.pad(whole[0], grown, mode="edge")
        result = av.VideoFrame(wide, high, _name(old))
        for plane, values in zip(_planes(result), whole, strict=True):
            plane[:] = values
        _tag(result, old)
        return result


def from_rgb(image: RGB) -> Picture:
    """A picture of no video: 8 bits, 4:2:0, BT.709 in limited range, and tagged so."""
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
    return Picture(frame, image)


def _planar(frame: Any) -> Any:
    """The frame itself if its planes can be encoded, else converted to the nearest layout that can."""
    name = frame.format.name.replace("yuvj", "yuv")  # the same planes in full range
    if name in {text + deep for text in _CHROMA.values() for deep in ("", "10le")}:
        return frame
    colours = [part for part in frame.format.components if not part.is_alpha]
    deep = "10le" if max(part.bits for part in colours) > 8 else ""
    if frame.format.is_rgb:  # halved chroma, which every player shows
        return frame.reformat(format="yuv420p" + deep, dst_colorspace=BT709, dst_color_range=LIMITED)
    halved = (2 // frame.format.chroma_width(2), 2 // frame.format.chroma_height(2)) if len(colours) > 2 else (2, 2)
    return frame.reformat(format=_CHROMA.get(halved, "yuv444p") + deep)


def _name(frame: Any) -> str:
    return str(frame.format.name).replace("yuvj", "yuv")


def _tag(frame: Any, like: Any) -> None:
    """Give a frame the colour tags of another."""
    frame.colorspace, frame.color_trc, frame.color_primaries = like.colorspace, like.color_trc, like.color_primaries
    frame.color_range = FULL if like.format.name.startswith("yuvj") else like.color_range


def _planes(frame: Any) -> list[NDArray[Any]]:
    """Views of a planar frame's samples, (H, W) each."""
    kind = np.dtype("<u2") if _name(frame).endswith("10le") else np.dtype(np.uint8)
    return [
        np.frombuffer(plane, kind).reshape(plane.height, plane.line_size // kind.itemsize)[:, : plane.width]
        for plane in frame.planes
    ]


def _shrink(changed: NDArray[np.bool_], shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Of a plane's samples, which stand for a changed pixel."""
    high, wide = (-(-full // part) for full, part in zip(changed.shape, shape, strict=True))
    padded = np.pad(changed, ((0, high * shape[0] - changed.shape[0]), (0, wide * shape[1] - changed.shape[1])))
    return np.asarray(padded.reshape(shape[0], high, shape[1], wide).any(axis=(1, 3)))
