"""Prepared virtual faces as training batches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mfim_bench.errors import UsageError
from mfim_bench.faces.templates import CropTemplate, crop, crop_matrix
from mfim_bench.networks.face3d_fit import HeadFit
from mfim_bench.networks.rotations import rotation_of
from mfim_protocols.judges import augment
from mfim_protocols.virtual_faces.head import HeadModel
from mfim_protocols.virtual_faces.landmarks import front_weights
from mfim_protocols.virtual_faces.shards import Images, Shards

F32 = NDArray[np.float32]
TIGHT = 0.5
"""Scatter of the crops of `Cropper.tight`, as a share of a detector's: about that of sought ones (on training people,
scale off by 5 % in half of the cases and 14 % in a tenth, place by 1 % and 3 %).
"""
COLUMNS = ("shape", "expression", "pose", "points5", "dense")


@dataclass(frozen=True)
class Faces:
    """N virtual faces with their truth, maybe a share of the identities of the shards they come from.

    Attributes:
        images: each element (S, S, 3) uint8; decoded when asked for, so any number of them fits in memory.
        number: (N,) of the identity, as the renderer drew it: the same in every set of shards.
        shape: (N, 80), expression (N, 52), pose (N, 3) radians (of the head model, see `face_pose`), points5 (N, 5, 2)
            and dense (N, K, 2) px of the image.
    """

    images: Images | Sequence[NDArray[np.uint8]]
    number: NDArray[np.int64]
    shape: F32
    expression: F32
    pose: F32
    points5: F32
    dense: F32

    def __len__(self) -> int:
        return len(self.number)

    @property
    def identity(self) -> NDArray[np.int64]:
        """(N,) identities counted from 0 without gaps."""
        return np.unique(self.number, return_inverse=True)[1].astype(np.int64)

    @property
    def identities(self) -> int:
        return len(np.unique(self.number))

    def take(self, wanted: NDArray[np.bool_]) -> Faces:
        """The faces where ``wanted`` (N,) is true."""
        index = np.flatnonzero(wanted)
        rows = (getattr(self, name)[index] for name in COLUMNS)
        images = self.images.take(index) if isinstance(self.images, Images) else [self.images[int(i)] for i in index]
        return Faces(images, self.number[index], *rows)

    @cached_property
    def face_pose(self) -> F32:
        """(N, 3) yaw, pitch, roll in radians of the aligned faces: what judges learn (see `HeadFit.aligned`)."""
        fit = head_fit()
        parts = []
        for k in range(0, len(self), 1000):
            shape, expression, pose = (
                torch.from_numpy(a[k : k + 1000]) for a in (self.shape, self.expression, self.pose)
            )
            parts.append(fit.aligned(rotation_of(pose), shape, expression).angles.numpy())
        return np.concatenate(parts)

    def hold_out(self, share: float) -> tuple[Faces, Faces]:
        """(the rest, about ``share`` of the identities): by a hash of their numbers, so the same ones in a grown
        set.
        """
        dice = (self.number.astype(np.uint64) * np.uint64(2654435761) % np.uint64(1 << 32)).astype(np.float64) / (
            1 << 32
        )
        rest, held = self.take(dice >= share), self.take(dice < share)
        if len(rest) < 2 or len(held) < 2:
            raise UsageError(f"{self.identities} identities are too few to hold some out of training")
        return rest, held


def head_fit(faces: Faces | None = None) -> HeadFit:
    """The head model at the dense vertices, with the spread of ``faces`` as the prior."""
    head = HeadModel.load()

    def tensor(values: NDArray[Any]) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32))

    actions = len(head.expression_basis)
    expression = np.zeros((2, actions), np.float32) if faces is None else faces.expression
    fit = HeadFit(
        tensor(head.mean[head.dense]),
        tensor(head.shape_basis[:, head.dense]),
        tensor(head.expression_basis[:, head.dense]),
        tensor(expression.mean(0)),
        tensor(np.cov(expression.T)),
        tensor(front_weights(head.mean.astype(np.float64), head.triangles, head.part)[head.dense]),
    )
    fit.points5.copy_(tensor(five_of_dense(head)))
    if faces is not None:
        fit.shape_deviation.copy_(tensor(faces.shape.std(0)))
    return fit


def five_of_dense(head: HeadModel, ridge: float = 10.0) -> NDArray[np.float64]:
    """(5, K) weights that turn the dense vertices into the five points, whatever the head; rows sum to 1.

    Least squares over the mean and the bases (mm at coefficients of 1); ``ridge`` (mm) keeps weights small, for the
    dense landmarks will have errors of their own.
    """
    heads = np.concatenate([head.mean[None], head.shape_basis, head.expression_basis]).astype(np.float64)
    dense = heads[:, head.dense].transpose(0, 2, 1).reshape(-1, len(head.dense))
    wanted = heads[:, head.points5].mean(2).transpose(0, 2, 1).reshape(-1, 5)
    count = dense.shape[1]
    design = np.vstack([dense, np.full((1, count), 1e3), ridge * np.eye(count)])
    target = np.vstack([wanted, np.full((1, 5), 1e3), np.zeros((count, 5))])
    return np.asarray(np.linalg.lstsq(design, target, rcond=None)[0].T)


def load(folders: Sequence[Path], fold: str = "0/1") -> Faces:
    """Open folders of shards as one set; ``fold`` = ``"K/N"`` keeps identities whose number leaves K when divided by N.

    Raises:
        UsageError: a folder is missing or empty, or the fold is malformed.
    """
    which, _, of = fold.partition("/")
    if not (which.isdigit() and of.isdigit() and int(which) < int(of)):
        raise UsageError(f"fold {fold!r}: give K/N with K < N, e.g. 0/2")
    images, numbers, parts = [], [], []
    for folder in folders:
        try:
            shards = Shards.open(folder)
        except FileNotFoundError as error:
            raise UsageError(str(error)) from error
        images.append(shards.images)
        numbers.append(np.asarray(shards.identity, np.int64))
        parts.append([np.asarray(getattr(shards, name), np.float32) for name in COLUMNS])
    columns = [np.concatenate(column) for column in zip(*parts, strict=True)]
    faces = Faces(Images.join(images), np.concatenate(numbers), *columns)
    faces = faces if int(of) == 1 else faces.take(faces.number % int(of) == int(which))
    if len(faces) < 16:
        raise UsageError(f"{len(faces)} faces are too few to train on or to measure with")
    return faces


@dataclass(frozen=True)
class Cropper:
    """Cuts (and in training damages) crops.

    Attributes:
        template: of `mfim_bench.faces.templates`.
        size: side in pixels.
        zoom: on the template's side.
        strength: of `augment.degrade`; 0 = none.
        turn: radians of random turn (deviation), in training.
        scatter: factor on a detector's errors, see `augment.detected`.
        tight: share of training crops that scatter by `TIGHT` of that only, as sought ones do.
    """

    template: CropTemplate
    size: int
    zoom: float
    strength: float = 1.0
    turn: float = 0.0
    scatter: float = 1.0
    tight: float = 0.0

    def cut(
        self, faces: Faces, index: int, rng: np.random.Generator, train: bool, worn: bool = False
    ) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
        """One crop and its (2, 3) matrix. In validation only a detector's errors remain."""
        image = np.asarray(faces.images[index])
        matrix = crop_matrix(faces.points5[index], self.template, self.size, zoom=self.zoom)
        scatter = self.scatter * (TIGHT if train and rng.random() < self.tight else 1.0)
        matrix = augment.detected(matrix, self.size, rng, scatter, self.turn if train else 0.0)
        face = crop(image, matrix, self.size)
        if train and self.strength:
            face = augment.degrade(face, rng, self.strength)
        return (augment.worn(face) if worn else face), matrix
