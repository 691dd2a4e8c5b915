"""Training data: face crops cut once from shards, kept as one memory-mapped file, drawn by step number.

A batch depends on (seed, step, process) alone, so a resumed training sees what an undisturbed one sees.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from mfim_bench.errors import UsageError
from mfim_bench.faces.templates import CropTemplate, crop, crop_matrix

POINT_JITTER = 0.02
"""Noise on the five points that place a crop, as a share of the eyes' distance `[own choice]`: detectors err."""


class Images(Protocol):
    """(N, H, W, 3) uint8, indexed by row."""

    @property
    def shape(self) -> tuple[int, ...]: ...
    def __getitem__(self, index: int) -> npt.NDArray[np.uint8]: ...


class ShardLike(Protocol):
    """What is read of `mfim_protocols.virtual_faces.shards.Shards`."""

    @property
    def images(self) -> Images: ...
    @property
    def identity(self) -> npt.NDArray[np.int64]: ...
    @property
    def points5(self) -> npt.NDArray[np.float32]: ...
    @property
    def onto(self) -> npt.NDArray[np.int64]: ...


@dataclass(frozen=True)
class Faces:
    """Crops of a data set.

    Attributes:
        images: (N, S, S, 3) uint8 RGB, possibly memory-mapped.
        identity: (N,) int64.
        key: hash of what the crops were made from.
        onto: (N,) int64, for a true swap the number of the image onto which it was swapped, else -1; None = no true
            swaps are known, as in any set of photographs.
    """

    images: npt.NDArray[np.uint8]
    identity: npt.NDArray[np.int64]
    key: str
    onto: npt.NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(self.identity)

    def batch(self, index: npt.NDArray[np.int64]) -> Tensor:
        """Images of variants: 2n is image n, 2n + 1 its mirror. Returns (B, 3, S, S) float32 in [-1, 1]."""
        rows = self.images[index // 2]
        mirrored = (index % 2).astype(bool)
        rows = np.where(mirrored[:, None, None, None], rows[:, :, ::-1], rows)
        return torch.from_numpy(np.ascontiguousarray(rows)).permute(0, 3, 1, 2).float() / 127.5 - 1.0

    def subset(self, keep: npt.NDArray[np.bool_], name: str) -> Faces:
        """The rows where ``keep`` (N,) is true; a true swap without its target is a picture like any other."""
        onto = self.onto
        if onto is not None:
            place = np.append(np.where(keep, np.cumsum(keep) - 1, -1), -1)  # the last is for -1
            onto = place[onto[keep]]
        return Faces(np.ascontiguousarray(self.images[keep]), self.identity[keep], f"{self.key}-{name}", onto)

    def split(self, share: float = 0.05) -> tuple[Faces, Faces]:
        """Hold out the last identities, at least two: (training, validation)."""
        people = np.unique(self.identity)
        if len(people) < 4:
            raise UsageError(f"at least 4 identities are needed to hold some out, got {len(people)}")
        held = np.isin(self.identity, people[-max(2, round(share * len(people))) :])
        return self.subset(~held, "train"), self.subset(held, "held")


def cut(shards: ShardLike, size: int, template: CropTemplate = "ffhq", seed: int = 0) -> npt.NDArray[np.uint8]:
    """Cut every image by its five points as the harness does, with slightly noisy points; (N, size, size, 3) uint8.

    A true swap is cut where its target is.
    """
    random = np.random.default_rng(seed)
    count, height, width, _ = shards.images.shape
    points = np.asarray(shards.points5, np.float64)
    apart = np.linalg.norm(points[:, 0] - points[:, 1], axis=1)
    noisy = points + random.normal(0.0, 1.0, points.shape) * (POINT_JITTER * apart)[:, None, None]
    where = np.where(shards.onto < 0, np.arange(count), shards.onto)
    out = np.empty((count, size, size, 3), np.uint8)
    for k in range(count):
        matrix = crop_matrix(noisy[where[k]], template, size, image_size=(width, height))
        out[k] = crop(np.asarray(shards.images[k]), matrix, size)
    return out


def prepare(directories: Sequence[Path], size: int, cache: Path) -> Faces:
    """Crops of shard directories, cut once and cached under ``cache``; identities of different directories stay apart.

    Raises:
        UsageError: a directory is missing or no shard.
    """
    for directory in directories:
        if not directory.is_dir():
            raise UsageError(f"no such folder of shards: {directory}")
    from mfim_protocols.virtual_faces.shards import Shards

    try:
        parts: list[ShardLike] = [Shards.open(directory) for directory in directories]
    except FileNotFoundError as error:
        raise UsageError(str(error)) from error
    facts = [
        [str(d.resolve()), list(p.images.shape), int(np.asarray(p.images[0]).astype(np.int64).sum())]
        for d, p in zip(directories, parts, strict=True)
    ]
    key = hashlib.sha256(json.dumps([facts, size, POINT_JITTER, "true swaps"]).encode()).hexdigest()[:16]
    path = cache / f"crops-{key}.npy"
    if not path.exists():
        save_array(path, np.concatenate([cut(part, size, seed=k) for k, part in enumerate(parts)]))
    offset, before = 0, 0
    identities, onto = [], []
    for part in parts:
        identity = np.asarray(part.identity, np.int64)
        identities.append(identity + offset)
        offset += int(identity.max()) + 1
        onto.append(np.where(part.onto < 0, -1, part.onto + before))
        before += len(identity)
    return Faces(np.load(path, mmap_mode="r"), np.concatenate(identities), key, np.concatenate(onto))


def save_array(path: Path, array: npt.NDArray[Any]) -> None:
    """Write an array by atomic rename."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.stem}-{os.getpid()}.npy")
    np.save(partial, array)
    partial.replace(path)


@dataclass(frozen=True, slots=True)
class Pairs:
    """Rows of a batch, (B,) variants each (see `Faces.batch`).

    Attributes:
        source, target: what is swapped with what.
        wanted: what the swap should look like: the true swap where it is known, else the target.
    """

    source: npt.NDArray[np.int64]
    target: npt.NDArray[np.int64]
    wanted: npt.NDArray[np.int64]


class Sampler:
    """Draws variants (see `Faces.batch`) by step number.

    Args:
        identity: (N,) of the data set.
        seed: of the training.
        process: rank in a distributed training.
        onto: (N,) of the data set, see `Faces`.
    """

    def __init__(
        self,
        identity: npt.NDArray[np.int64],
        seed: int,
        process: int = 0,
        onto: npt.NDArray[np.int64] | None = None,
    ) -> None:
        self.identity = identity
        self.onto = np.full(len(identity), -1, np.int64) if onto is None else onto
        self._true = np.flatnonzero(self.onto >= 0)
        self.seed = seed
        self.process = process
        order = np.argsort(identity, kind="stable")
        _, starts, counts = np.unique(identity[order], return_index=True, return_counts=True)
        self._order = order
        self._groups = {int(identity[order[s]]): (int(s), int(c)) for s, c in zip(starts, counts, strict=True)}
        several = np.flatnonzero(np.isin(identity, [who for who, (_, count) in self._groups.items() if count > 1]))
        self._again = several if len(several) else np.arange(len(identity))
        if len(self._groups) < 2:
            raise UsageError("at least two identities are needed")

    @property
    def knows_true_swaps(self) -> bool:
        """Whether `pairs` can give ``true`` rows."""
        return len(self._true) > 0

    def _random(self, step: int, purpose: int) -> np.random.Generator:
        return np.random.default_rng((self.seed, purpose, step, self.process))

    def images(self, step: int, batch: int) -> npt.NDArray[np.int64]:
        """Any images: (batch,) variants."""
        return self._random(step, 0).integers(0, 2 * len(self.identity), batch)

    def pairs(self, step: int, batch: int, same: int, true: int = 0) -> Pairs:
        """Sources and targets: ``same`` rows that share the identity, ``true`` rows whose true swap is known, and the
        rest, in which two people meet at random.

        A source of the same identity is another image; where no identity has two, it is the target itself.

        Raises:
            UsageError: ``true`` rows are asked of a data set without true swaps.
        """
        if true and not self.knows_true_swaps:
            raise UsageError(
                "no true swaps in these shards: make them with render-shards --hosts, or --set swap.true=0"
            )
        random = self._random(step, 1)
        target = random.integers(0, len(self.identity), batch)
        target[:same] = self._again[random.integers(0, len(self._again), same)]
        wanted = target.copy()
        if true:
            wanted[same : same + true] = self._true[random.integers(0, len(self._true), true)]
            target[same : same + true] = self.onto[wanted[same : same + true]]
        source = np.empty_like(target)
        for row, t in enumerate(target):
            if row < same + true:
                w = wanted[row]
                start, count = self._groups[int(self.identity[w])]
                others = self._order[start : start + count]
                others = others[others != w] if count > 1 else others
                source[row] = others[random.integers(0, len(others))]
            else:
                # Uniform over images of other identities: skip the run of the target's own in identity order.
                start, count = self._groups[int(self.identity[t])]
                place = random.integers(0, len(self.identity) - count)
                source[row] = self._order[place if place < start else place + count]
        flips = random.integers(0, 2, (2, batch))
        return Pairs(2 * source + flips[0], 2 * target + flips[1], 2 * wanted + flips[1])

    def torch_generator(self, step: int, purpose: int) -> torch.Generator:
        """Seeded by (seed, purpose, step, process): latents, noise, augmentation."""
        return torch.Generator().manual_seed(int(self._random(step, 2 + purpose).integers(0, 2**62)))
