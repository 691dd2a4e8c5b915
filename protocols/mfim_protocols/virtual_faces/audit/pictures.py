"""Pictures of an audit: rendered into files, kept, and damaged as pictures are."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from mfim_bench.faces.detect import Face
from mfim_bench.media.images import read_image
from mfim_protocols.judges import augment
from mfim_protocols.virtual_faces import dataset
from mfim_protocols.virtual_faces.audit import factors

if TYPE_CHECKING:
    from collections.abc import Iterable

Image = NDArray[np.uint8]

SAMPLES = 2
"""Rays a pixel along each side, as the judges' held-out faces have; the test split has 3, at twice the cost."""
BLUR, QUALITY, SIDE = (0.5, 2.0), (30, 96), (64, 192)
"""Deviation in pixels, JPEG's quality, side in pixels; drawn evenly, of a 256 px frame `[own choice]`."""


def names() -> list[str]:
    """Every picture of a person that has a file."""
    paths = [name for subject in factors.SUBJECTS.values() for name in subject.path]
    damages = [name for name in factors.DAMAGES if name != "crop"]
    return list(dict.fromkeys(["base", factors.TRUTH, *factors.variations(), *paths, *damages]))


def file_of(folder: Path, person: int, name: str) -> Path:
    return folder / f"p{person:03d}" / f"{name}.png"


def region_of(folder: Path, person: int) -> Path:
    """Where the face of the true swap is."""
    return folder / f"p{person:03d}" / "region.png"


def render(folder: Path, people: Iterable[int], seed: int) -> None:
    """Render every picture of some people; files already there are kept, so a cut-off call goes on."""
    from PIL.Image import fromarray

    from mfim_protocols.virtual_faces import render as renderer

    for person in people:
        file_of(folder, person, "base").parent.mkdir(parents=True, exist_ok=True)
        for name, drawn in factors.portraits(*factors.pair(person, seed)):
            path = file_of(folder, person, name)
            if path.exists():
                continue
            picture = renderer.render(drawn, dataset.SIZE, SAMPLES)
            if name == factors.TRUTH:
                dataset.save(fromarray(picture.region), region_of(folder, person), format="PNG")
            dataset.save(fromarray(picture.image), path, format="PNG", compress_level=1)
        for name in factors.DAMAGES:
            path = file_of(folder, person, name)
            if name != "crop" and not path.exists():
                again = read_image(file_of(folder, person, factors.AGAIN[0]))
                dataset.save(fromarray(damaged(again, name, rng_of(name, person, seed))), path, format="PNG")


def rng_of(name: str, person: int, seed: int) -> np.random.Generator:
    return np.random.default_rng([5, seed, person, factors.DAMAGES.index(name)])


def damaged(image: Image, name: str, rng: np.random.Generator) -> Image:
    """A picture blurred, through JPEG, or reduced and enlarged again, by a strength drawn anew."""
    if name == "blur":
        return np.asarray(cv2.GaussianBlur(image, (0, 0), float(rng.uniform(*BLUR))), np.uint8)
    if name == "jpeg":
        return augment.jpeg(image, int(rng.integers(*QUALITY)))
    side, size = int(rng.integers(*SIDE)), image.shape[0]
    small = cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(small, (size, size), interpolation=cv2.INTER_CUBIC), np.uint8)


def misplaced(face: Face, rng: np.random.Generator) -> Face:
    """A face as a detector that errs finds it: scaled about its middle and shifted, by what half of MTCNN's finds on
    wide frames are off (`augment.GOOD`).
    """
    spread, shift = augment.GOOD
    scale = float(np.exp(rng.normal(0, spread)))
    box = face.box.reshape(2, 2)
    centre, side = box.mean(0), float((box[1] - box[0]).max())
    move = rng.normal(0, shift, 2) * side

    def moved(points: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.asarray((points - centre) * scale + centre + move, np.float32)

    return replace(face, box=moved(box).reshape(-1), points=moved(face.points))
