"""Prepared training data: rendered once, read by any number of trainings without renderer or head model. NumPy only.

A folder of parts, each ``part-NNNN.npz`` with a ``part-NNNN.npy`` of images beside it (so that images are
memory-mapped), and ``meta.json``. Parts are written whole, by atomic rename; a folder being filled can already be read.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

LABELS = ("identity", "shape", "expression", "pose", "points5", "points68", "dense")


class Images:
    """(N, S, S, 3) uint8 over several memory-mapped parts; index with an int, a slice or an integer array."""

    def __init__(self, parts: list[NDArray[np.uint8]]) -> None:
        self._parts = parts
        self._starts = np.cumsum([0] + [len(p) for p in parts])
        self.shape: tuple[int, ...] = (int(self._starts[-1]), *parts[0].shape[1:])

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: Any) -> NDArray[np.uint8]:
        if isinstance(index, int | np.integer):
            part = int(np.searchsorted(self._starts, index % len(self), "right")) - 1
            return np.asarray(self._parts[part][index % len(self) - self._starts[part]])
        wanted = np.arange(len(self))[index]
        out = np.empty((len(wanted), *self.shape[1:]), np.uint8)
        part = np.searchsorted(self._starts, wanted, "right") - 1
        for p in np.unique(part):
            rows = np.flatnonzero(part == p)
            out[rows] = self._parts[p][wanted[rows] - self._starts[p]]
        return out


@dataclass(frozen=True)
class Shards:
    """Rendered faces with their truth.

    Attributes:
        images: (N, S, S, 3) uint8 sRGB.
        identity: (N,) int64. shape: (N, 80) whitened. expression: (N, 52) in [0, 1].
        pose: (N, 3) yaw, pitch, roll in rad.
        points5, points68, dense: (N, K, 2) float32 pixels of the stored image.
        meta: renderer settings.
    """

    images: Images
    identity: NDArray[np.int64]
    shape: NDArray[np.float32]
    expression: NDArray[np.float32]
    pose: NDArray[np.float32]
    points5: NDArray[np.float32]
    points68: NDArray[np.float32]
    dense: NDArray[np.float32]
    meta: Mapping[str, Any]

    def __len__(self) -> int:
        return len(self.images)

    @staticmethod
    def open(folder: Path | str) -> Shards:
        """Read a folder of shards; FileNotFoundError with one clear line when there are none."""
        folder = Path(folder)
        names = sorted(p.with_suffix("") for p in folder.glob("part-*.npz") if p.with_suffix(".npy").exists())
        if not names:
            raise FileNotFoundError(f"no shards in {folder}: make some with `mfim-bench data render-shards`")
        images = Images([np.load(n.with_suffix(".npy"), mmap_mode="r") for n in names])
        labels: dict[str, list[NDArray[Any]]] = {k: [] for k in LABELS}
        for name in names:
            with np.load(name.with_suffix(".npz")) as data:
                for key in LABELS:
                    labels[key].append(data[key])
        meta = json.loads((folder / "meta.json").read_text())
        return Shards(images, meta=meta, **{k: np.concatenate(v) for k, v in labels.items()})


def write_part(folder: Path, number: int, images: NDArray[np.uint8], labels: Mapping[str, NDArray[Any]]) -> None:
    """Write one part; the labels last, so that a part without them is not read."""
    arrays: dict[str, Any] = dict(labels)
    for suffix in (".npy", ".npz"):
        path = folder / f"part-{number:04d}{suffix}"
        temporary = path.with_name(path.name + ".tmp")
        with temporary.open("wb") as file:
            if suffix == ".npy":
                np.save(file, images)
            else:
                np.savez(file, **arrays)
        temporary.replace(path)


def render_part(folder: Path, number: int, identities: range, per_identity: int, size: int, samples: int) -> None:
    """Render one part: every image of some identities, each in a scene of its own."""
    from mfim_protocols.virtual_faces import geometry, record, render

    images, rows = [], []
    for identity in identities:
        for k in range(per_identity):
            drawn = record.draw(identity, identity * 1000 + k)
            picture = render.render(geometry.portrait(drawn), size, samples)
            images.append(picture.image)
            rows.append(
                (
                    identity,
                    drawn.identity.shape,
                    drawn.scene.expression,
                    drawn.scene.pose,
                    picture.points5,
                    picture.points68,
                    picture.dense,
                )
            )
    columns = list(zip(*rows, strict=True))
    labels = {
        key: np.array(column, np.int64 if key == "identity" else np.float32)
        for key, column in zip(LABELS, columns, strict=True)
    }
    write_part(folder, number, np.stack(images), labels)


def render_shards(folder: Path, first: int, identities: int, per_identity: int, size: int = 128, samples: int = 2,
                  part: int = 25, worker: int = 0, workers: int = 1, progress: Any = None) -> None:  # fmt: skip
    """Fill a folder with parts of ``part`` identities each; parts already there are kept, so a cut-off call goes on."""
    folder.mkdir(parents=True, exist_ok=True)
    meta = {
        "first": first,
        "identities": identities,
        "per_identity": per_identity,
        "size": size,
        "samples": samples,
        "part": part,
    }
    note = folder / "meta.json"
    if note.exists() and json.loads(note.read_text()) != meta:
        raise ValueError(f"{folder} holds shards made with other settings: {note.read_text().strip()}")
    note.write_text(json.dumps(meta) + "\n")
    for number, start in enumerate(range(first, first + identities, part)):
        if number % workers != worker or (folder / f"part-{number:04d}.npz").exists():
            continue
        render_part(folder, number, range(start, min(start + part, first + identities)), per_identity, size, samples)
        if progress is not None:
            progress(number)
