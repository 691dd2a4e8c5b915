"""Rendered people and true swaps for the twins, and real video files of them.

People are drawn from seeds that no split and no training uses. Each is rendered once a process; a clip moves the
picture a little from frame to frame, since what a twin must have is its layout, not its acting.
"""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from functools import cache
from pathlib import Path

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from mfim_protocols.virtual_faces import record
from mfim_protocols.virtual_faces.geometry import portrait, true_swap
from mfim_protocols.virtual_faces.render import render

RGB = NDArray[np.uint8]
SIZE = 160
FIRST = 500_000
"""Of the seeds."""


def _record(person: int, scene: int) -> record.Record:
    return record.draw(FIRST + person, (FIRST + person) * 1000 + scene)


@cache
def face(person: int, scene: int = 0) -> RGB:
    """A person, uint8 RGB (SIZE, SIZE, 3)."""
    return render(portrait(_record(person, scene)), SIZE, 1).image


@cache
def swapped(target: int, source: int, scene: int = 0) -> RGB:
    """The target's picture with the source's face: the true swap."""
    return render(true_swap(_record(source, scene), _record(target, scene)), SIZE, 1).image


def noise(seed: int) -> RGB:
    """A picture without a face."""
    return np.random.default_rng(seed).integers(0, 255, (SIZE, SIZE, 3), dtype=np.uint8)


def moved(image: RGB, number: int) -> RGB:
    """Frame ``number`` of a hand-held clip of a still."""
    angle, zoom = 2 * np.sin(number), 1 + 0.01 * (number % 4)
    matrix = cv2.getRotationMatrix2D((SIZE / 2, SIZE / 2), float(angle), zoom)
    matrix[:, 2] += (number % 3 - 1, number % 2)
    return np.asarray(cv2.warpAffine(image, matrix, (SIZE, SIZE), borderMode=cv2.BORDER_REFLECT), np.uint8)


def write_video(path: Path, frames: Iterable[RGB], crf: int) -> None:
    """H.264 in mp4 as the owner's compress.py makes it: libx264 at a constant rate factor, 4:2:0, 25 a second."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as output:
        stream = output.add_stream("libx264", rate=Fraction(25), options={"crf": str(crf)})
        stream.width, stream.height, stream.pix_fmt = SIZE, SIZE, "yuv420p"
        for image in frames:
            output.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        output.mux(stream.encode(None))
