"""Prepared virtual faces as training batches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mfim_bench.errors import UsageError
from mfim_bench.faces.templates import CropTemplate, crop, crop_matrix
from mfim_protocols.judges import augment

F32 = NDArray[np.float32]


@dataclass(frozen=True)
class Faces:
    """N virtual faces with their truth, maybe a share of the identities of the shards they come from.

    Attributes:
        images: each element (S, S, 3) uint8.
        identity: (N,) renumbered 0…count-1.
        shape: (N, 80), expression (N, 52), pose (N, 3) radians, points5 (N, 5, 2) and dense (N, K, 2) px of the image.
    """

    images: Sequence[NDArray[np.uint8]]
    identity: NDArray[np.int64]
    shape: F32
    expression: F32
    pose: F32
    points5: F32
    dense: F32

    def __len__(self) -> int:
        return len(self.identity)

    @property
    def identities(self) -> int:
        return int(self.identity.max()) + 1 if len(self) else 0

    def take(self, index: NDArray[np.int64]) -> Faces:
        """A part; images stay where they are."""
        kept = np.unique(self.identity[index], return_inverse=True)[1].astype(np.int64)
        rows = [np.asarray(getattr(self, n))[index] for n in ("shape", "expression", "pose", "points5", "dense")]
        return Faces([self.images[int(i)] for i in index], kept, *rows)

    def fold(self, which: int, of: int) -> Faces:
        """The identities whose number leaves ``which`` when divided by ``of``."""
        return self.take(np.flatnonzero(self.identity % of == which))

    def hold_out(self, share: float) -> tuple[Faces, Faces]:
        """(the rest, the last ``share`` of the identities)."""
        edge = int(self.identities * (1 - share))
        return self.take(np.flatnonzero(self.identity < edge)), self.take(np.flatnonzero(self.identity >= edge))


def load(folders: Sequence[Path], fold: str = "0/1") -> Faces:
    """Open folders of shards as one set; ``fold`` = ``"K/N"`` keeps every N-th identity, from the K-th.

    Raises:
        UsageError: a folder is missing or empty, or the fold is malformed.
    """
    from mfim_protocols.virtual_faces.shards import Shards

    images: list[NDArray[np.uint8]] = []
    identity, parts, first = [], [], 0
    for folder in folders:
        if not folder.is_dir():
            raise UsageError(f"{folder} is not a folder of shards")
        shards = Shards.open(folder)
        if not len(shards.identity):
            raise UsageError(f"{folder} holds no shards")
        numbers = np.unique(np.asarray(shards.identity), return_inverse=True)[1].astype(np.int64)
        identity.append(numbers + first)
        first += int(numbers.max()) + 1
        images += [shards.images[i] for i in range(len(numbers))]
        parts.append([np.asarray(getattr(shards, n), np.float32) for n in ("shape", "expression", "pose", "points5", "dense")])
    columns = [np.concatenate(column) for column in zip(*parts, strict=True)]
    faces = Faces(images, np.concatenate(identity), *columns)
    which, _, of = fold.partition("/")
    if not (which.isdigit() and of.isdigit() and int(which) < int(of)):
        raise UsageError(f"fold {fold!r}: give K/N with K < N, e.g. 0/2")
    return faces if int(of) == 1 else faces.fold(int(which), int(of))


@dataclass(frozen=True)
class Cropper:
    """Cuts (and in training damages) crops.

    Attributes:
        template: of `mfim_bench.faces.templates`.
        size: side in pixels.
        zoom: on the template's side.
        strength: of `augment.degrade`; 0 = none.
        turn: radians of random turn (deviation).
    """

    template: CropTemplate
    size: int
    zoom: float
    strength: float = 1.0
    turn: float = 0.0

    def cut(
        self, faces: Faces, index: int, rng: np.random.Generator, train: bool, worn: bool = False
    ) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
        """One crop and its (2, 3) matrix. In validation only a detector's noise on the points remains."""
        image = np.asarray(faces.images[index])
        points = augment.jitter_points(faces.points5[index], rng, 0.012 if train else 0.006)
        matrix = crop_matrix(points, self.template, self.size, zoom=self.zoom)
        if train:
            matrix = augment.jitter_matrix(matrix, self.size, rng, turn=self.turn)
        face = crop(image, matrix, self.size)
        if train and self.strength:
            face = augment.degrade(face, rng, self.strength)
        return (augment.worn(face) if worn else face), matrix
