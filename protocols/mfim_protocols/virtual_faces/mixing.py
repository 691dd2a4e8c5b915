"""The protocol ``virtual-faces-mixing``: two sources share an identity, on frames of virtual-faces.

A pair joins three people: the *global* source gives the face's geometry, the *local* source brows, irises and the
detail of the skin (`geometry.true_mix` says exactly what), the target all else. The frames are those of the split of
the same name of `dataset`; only the true mixes and two masks a pair are files of this protocol.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from mfim_bench.errors import UsageError
from mfim_bench.protocol import Pair, Part
from mfim_protocols.virtual_faces import dataset

CHANGE = 0.03
"""A pixel is of the local region when the local source's looks change its colour by more (mean over R, G, B), …"""
MARGIN = 3
"""… or when it lies within so many pixels of one that is; both `[own choice]`."""


@dataclass(frozen=True)
class Draw:
    """How many pairs, and the seed they are drawn with."""

    pairs: int
    seed: int


SPLITS = {"test": Draw(100, 2028), "validation": Draw(40, 2029)}
# sha256 over the files (see `content_hash`); a changed file is a changed protocol.
PUBLISHED = {"test": "15c9f323e750500a97bcf5bf3850f8a53eae605f5d5383d974babb350ec937ad"}


def triples(split: str) -> list[tuple[str, str, str]]:
    """(global, local, target) frames of all pairs, in the protocol's fixed order, which is a shuffled one.

    Three different people each; a frame has each role at most once.
    """
    made, draw = dataset.SPLITS[split], SPLITS[split]
    frames = [f"p{i:03d}f{k}" for i in range(made.identities) for k in range(made.frames)]
    rng = np.random.default_rng(draw.seed)
    while True:
        roles = [rng.permutation(len(frames))[: draw.pairs] for _ in range(3)]
        found = [(frames[a], frames[b], frames[c]) for a, b, c in zip(*roles, strict=True)]
        if all(len({name[:4] for name in triple}) == 3 for triple in found):
            return found


class VirtualFacesMixing:
    """The protocol with its files at hand; see `mfim_bench.protocol.Protocol`."""

    def __init__(self, folder: Path, split: str) -> None:
        self.folder, self.split = folder, split
        self._frames = dataset.VirtualFaces(folder, split)
        self._triples = triples(split)

    def pairs(self) -> Sequence[Pair]:
        pairs = []
        for coarse, fine, target in self._triples:
            name = f"{target}-{coarse}-{fine}"
            parts = (
                Part("global", self._frames.frame(coarse)),
                Part("local", self._frames.frame(fine), self._file("local", name, "png")),
            )
            pairs.append(
                Pair(
                    id=name,
                    source=parts[0].frame,
                    target=self._frames.frame(target),
                    truth=self._file("truth", name, "webp"),
                    region=self._file("region", name, "png"),
                    parts=parts,
                )
            )
        return pairs

    def _file(self, kind: str, name: str, suffix: str) -> Path:
        return self.folder / "mixing" / kind / f"{name}.{suffix}"

    def _files(self) -> list[Path]:
        found: set[Path] = set()
        for pair in self.pairs():
            files = [pair.target.path, pair.truth, pair.region]
            files += [path for part in pair.parts for path in (part.frame.path, part.region)]
            found.update(path for path in files if path is not None)
        return sorted(found)

    def content_hash(self) -> str:
        """sha256 over the triples and every file's name and bytes, in sorted order."""
        digest = hashlib.sha256(json.dumps(self._triples).encode())
        for path in self._files():
            digest.update(path.relative_to(self.folder).as_posix().encode())
            digest.update(hashlib.sha256(path.read_bytes()).digest())
        return digest.hexdigest()

    def problems(self) -> Sequence[str]:
        missing = [path.relative_to(self.folder).as_posix() for path in self._files() if not path.is_file()]
        if missing:
            more = f" and {len(missing) - 5} more" if len(missing) > 5 else ""
            return [f"missing {', '.join(missing[:5])}{more}"]
        published = PUBLISHED.get(self.split)
        if published and self.folder == dataset.home(self.split, None) and self.content_hash() != published:
            return [f"the files' hash {self.content_hash()} is not the published {published}"]
        return []


def load(data: Path | None, split: str) -> VirtualFacesMixing:
    """Open a split (the protocol's factory).

    Raises:
        UsageError: its files are not there.
    """
    if split not in SPLITS:
        raise UsageError(f"virtual-faces-mixing has no split {split!r}; choose from {', '.join(SPLITS)}")
    protocol = VirtualFacesMixing(dataset.home(split, data), split)
    if not (protocol.folder / "mixing").is_dir():
        where = f" --data {data}" if data is not None else ""
        raise UsageError(
            f"the {split} split of virtual-faces-mixing is not in {protocol.folder}; make it with "
            f"`mfim-bench data render-mixing --split {split}{where}`"
        )
    return protocol


def around(shows: NDArray[np.bool_], face: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The local region, 255 or 0: where the local source shows, with a margin, within the face."""
    disk = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * MARGIN + 1, 2 * MARGIN + 1))
    grown = cv2.dilate(shows.astype(np.uint8), disk)
    return np.where((grown > 0) & (face > 0), 255, 0).astype(np.uint8)


def render_split(
    split: str, folder: Path, worker: int = 0, workers: int = 1, progress: Callable[[], None] | None = None
) -> None:
    """Render a split's true mixes and masks into a folder that holds its frames; files already there are kept."""
    from PIL.Image import fromarray

    from mfim_protocols.virtual_faces import geometry, render

    made = VirtualFacesMixing(folder, split)
    for kind in ("truth", "region", "local"):
        (folder / "mixing" / kind).mkdir(parents=True, exist_ok=True)
    for pair in list(made.pairs())[worker::workers]:
        coarse, fine = (dataset.record(split, part.frame.id) for part in pair.parts)
        target, (_, local) = dataset.record(split, pair.target.id), pair.parts
        assert pair.truth is not None
        assert pair.region is not None
        assert local.region is not None
        if not pair.truth.exists():
            mixed = render.render(geometry.true_mix(coarse, fine, target), dataset.SIZE, dataset.SAMPLES)
            # The same picture, were the global source the local one too: where the two differ, the local source shows.
            alone = render.render(geometry.true_mix(coarse, coarse, target), dataset.SIZE, dataset.SAMPLES)
            change = np.abs(mixed.image.astype(np.float64) - alone.image).mean(-1) / 255
            shows = around((change > CHANGE) & (mixed.region > 0), mixed.region)
            dataset.save(fromarray(mixed.region), pair.region, format="PNG", optimize=True)
            dataset.save(fromarray(shows), local.region, format="PNG", optimize=True)
            dataset.save(fromarray(mixed.image), pair.truth, format="WEBP", quality=dataset.QUALITY, method=6)
        if progress is not None:
            progress()
