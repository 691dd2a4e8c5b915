"""Prepared training data: rendered once, read by any number of trainings without renderer or head model.

A folder of parts, each ``part-NNNN.npz`` of labels with a ``part-NNNN.npy`` beside it that holds the images as JPEG
(quality 95, colours at full resolution), one after another, to be memory-mapped; and ``meta.json``. Coded so, 100,000
images fit on a stick. Parts are written whole, by atomic rename; a folder being filled can already be read.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from mfim_protocols.virtual_faces.geometry import Portrait

LABELS = ("identity", "shape", "expression", "pose", "points5", "points68", "dense")
ONTO = "onto"
"""A label that only parts with true swaps have."""
QUALITY = 95
CODING = [cv2.IMWRITE_JPEG_QUALITY, QUALITY, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]


class Images:
    """N coded images (S, S, 3) uint8 RGB over several memory-mapped parts, decoded when asked for.

    Index with an int for one image, with a slice or an integer array for a stack of images of one size.
    """

    def __init__(self, parts: Sequence[NDArray[np.uint8]], place: NDArray[np.int64]) -> None:
        """``place`` (N, 3): part, first byte, byte after the last."""
        self._parts, self._place = list(parts), place

    @staticmethod
    def join(groups: Sequence[Images]) -> Images:
        """One sequence of all."""
        parts: list[NDArray[np.uint8]] = []
        places = []
        for group in groups:
            places.append(group._place + np.array([len(parts), 0, 0]))
            parts += group._parts
        return Images(parts, np.concatenate(places))

    def take(self, index: NDArray[np.int64]) -> Images:
        """The images of these numbers, not decoded."""
        return Images(self._parts, self._place[index])

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, S, S, 3), by the first image."""
        return (len(self), *self[0].shape)

    def __len__(self) -> int:
        return len(self._place)

    def __getitem__(self, index: Any) -> NDArray[np.uint8]:
        if not isinstance(index, int | np.integer):
            return np.stack([self[int(k)] for k in np.arange(len(self))[index]])
        part, start, end = self._place[index]
        image = cv2.imdecode(self._parts[part][start:end], cv2.IMREAD_COLOR_RGB)
        return np.asarray(image, np.uint8)


@dataclass(frozen=True)
class Shards:
    """Rendered faces with their truth.

    Attributes:
        images: N of (S, S, 3) uint8 sRGB.
        identity: (N,) int64. shape: (N, 80) whitened. expression: (N, 52) in [0, 1].
        pose: (N, 3) yaw, pitch, roll in rad.
        points5, points68, dense: (N, K, 2) float32 pixels of the stored image.
        onto: (N,) int64, for a true swap the number of the image onto which it was swapped, else -1.
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
    onto: NDArray[np.int64]
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
        parts, places = [], []
        labels: dict[str, list[NDArray[Any]]] = {k: [] for k in (*LABELS, ONTO)}
        before = 0
        for number, name in enumerate(names):
            parts.append(np.load(name.with_suffix(".npy"), mmap_mode="r"))
            with np.load(name.with_suffix(".npz")) as data:
                ends = data["ends"]
                places.append(np.stack([np.full_like(ends, number), np.r_[0, ends[:-1]], ends], 1))
                for key in LABELS:
                    labels[key].append(data[key])
                onto = data[ONTO] if ONTO in data else np.full(len(ends), -1, np.int64)
                labels[ONTO].append(np.where(onto < 0, -1, onto + before))
                before += len(ends)
        meta = json.loads((folder / "meta.json").read_text())
        images = Images(parts, np.concatenate(places))
        return Shards(images, meta=meta, **{k: np.concatenate(v) for k, v in labels.items()})


def write_part(
    folder: Path, number: int, images: Sequence[NDArray[np.uint8]], labels: Mapping[str, NDArray[Any]]
) -> None:
    """Write one part; the labels last, so that a part without them is not read."""
    coded = [cv2.imencode(".jpg", cv2.cvtColor(i, cv2.COLOR_RGB2BGR), CODING)[1].reshape(-1) for i in images]
    arrays: dict[str, Any] = {**labels, "ends": np.cumsum([len(c) for c in coded], dtype=np.int64)}
    for suffix in (".npy", ".npz"):
        path = folder / f"part-{number:04d}{suffix}"
        temporary = path.with_name(path.name + ".tmp")
        with temporary.open("wb") as file:
            if suffix == ".npy":
                np.save(file, np.concatenate(coded))
            else:
                np.savez(file, **arrays)
        temporary.replace(path)


def scene_of(identity: int, k: int) -> int:
    """The seed of an identity's scene number ``k``."""
    return identity * 1000 + k


HOSTS = 10_000_000
"""Seeds of the people who lend their heads to `portraits` with ``swapped``; nobody else is drawn from these."""


@dataclass(frozen=True, slots=True)
class Drawn:
    """A portrait to render: the number of whom it shows, and whether it is the portrait before it, truly swapped."""

    identity: int
    shown: Portrait
    swap: bool = False


def portraits(
    identities: range, per_identity: int, wide: bool = False, swapped: bool = False, hosts: bool = False
) -> Iterator[Drawn]:
    """Every image of some identities, each in a scene of its own.

    ``swapped`` puts every second face on the head of somebody seen nowhere else, as the protocol's true swap does: a
    recogniser that learns from these looks at what a face swap moves, not at skin, skull or ears. ``hosts`` puts that
    somebody's own portrait, in the same scene, before each: the target of the true swap.
    """
    from mfim_protocols.virtual_faces import geometry, record
    from mfim_protocols.virtual_faces import wide as wide_scenes

    for identity in identities:
        for k in range(per_identity):
            scene = scene_of(identity, k)
            if (swapped or hosts) and k % 2:
                host = record.draw(HOSTS + scene, scene)
                if hosts:
                    yield Drawn(HOSTS + scene, geometry.portrait(host))
                yield Drawn(identity, geometry.true_swap(record.draw(identity, scene), host), swap=hosts)
            elif wide:
                yield Drawn(identity, wide_scenes.draw(identity, scene))
            else:
                yield Drawn(identity, geometry.portrait(record.draw(identity, scene)))


def render_part(folder: Path, number: int, drawn: Iterable[Drawn], size: int, samples: int) -> None:
    """Render one part."""
    from mfim_protocols.virtual_faces import render

    images, rows, onto = [], [], []
    for place, one in enumerate(drawn):
        picture = render.render(one.shown, size, samples)
        images.append(picture.image)
        onto.append(place - 1 if one.swap else -1)
        person, scene = one.shown.identity, one.shown.scene
        rows.append(
            (one.identity, person.shape, scene.expression, scene.pose, picture.points5, picture.points68, picture.dense)
        )
    columns = list(zip(*rows, strict=True))
    labels = {
        key: np.array(column, np.int64 if key == "identity" else np.float32)
        for key, column in zip(LABELS, columns, strict=True)
    }
    if max(onto) >= 0:
        labels[ONTO] = np.array(onto, np.int64)
    write_part(folder, number, images, labels)


def render_shards(
    folder: Path,
    first: int,
    identities: int,
    per_identity: int,
    size: int = 128,
    samples: int = 2,
    part: int = 25,
    wide: bool = False,
    swapped: bool = False,
    hosts: bool = False,
    worker: int = 0,
    workers: int = 1,
    progress: Callable[[int], None] | None = None,
) -> None:
    """Fill a folder with parts of ``part`` identities each; parts already there are kept, so a cut-off call goes on."""
    folder.mkdir(parents=True, exist_ok=True)
    meta = {
        "first": first,
        "identities": identities,
        "per_identity": per_identity,
        "size": size,
        "samples": samples,
        "part": part,
        "wide": wide,
    }
    meta |= {name: True for name, chosen in (("swapped", swapped), ("hosts", hosts)) if chosen}
    note = folder / "meta.json"
    if note.exists() and json.loads(note.read_text()) != meta:
        raise ValueError(f"{folder} holds shards made with other settings: {note.read_text().strip()}")
    if not note.exists():  # whole or not at all: another worker may be reading it
        own = folder / f"meta.json.{os.getpid()}-{worker}"
        own.write_text(json.dumps(meta) + "\n")
        own.replace(note)
    for number, start in enumerate(range(first, first + identities, part)):
        if number % workers != worker or (folder / f"part-{number:04d}.npz").exists():
            continue
        people = range(start, min(start + part, first + identities))
        render_part(folder, number, portraits(people, per_identity, wide, swapped, hosts), size, samples)
        if progress is not None:
            progress(number)
