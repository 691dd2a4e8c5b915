"""The protocol's frames, pairs and true swaps: files with a published hash, and the command that renders them again.

The test split ships inside the package, so that every machine scores the same pixels and needs no renderer. The
validation split is rendered on demand. Identities come from disjoint ranges of seeds: training 100,000-299,999,
validation 300,000-399,999, test from 1,000,000.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mfim_bench.errors import UsageError
from mfim_bench.protocol import Frame, Pair

if TYPE_CHECKING:
    from PIL.Image import Image

    from mfim_protocols.virtual_faces.record import Record

SIZE, SAMPLES, QUALITY = 256, 3, 93


@dataclass(frozen=True)
class Split:
    """Identities [first, first + identities), ``frames`` each; every frame is a target once and a source once."""

    first: int
    identities: int
    frames: int
    seed: int


SPLITS = {"test": Split(1_000_000, 150, 2, 2026), "validation": Split(300_000, 50, 2, 2027)}
# Frames drawn again in another scene, before any method was scored, because the detector found no face in them, in
# their true swap, or in either at 64 px: a method can't be asked to swap them.
REDRAWN = {
    "test": ("p027f0", "p031f0", "p037f0", "p071f1", "p107f0", "p109f1", "p142f1"),
    "validation": ("p019f0",),
}
# sha256 over the shipped files (see `content_hash`); a changed file is a changed protocol.
PUBLISHED = {"test": "d0fdc1031d59f38fbfcb78dcf843ec3add26fb3b5c99c433262850803b2437db"}


def record(split: str, frame: str) -> Record:
    """The record behind a frame id such as ``p012f1``."""
    from mfim_protocols.virtual_faces import record as records

    made = SPLITS[split]
    person, shot = int(frame[1:].partition("f")[0]), int(frame.partition("f")[2])
    scene = (made.first + person) * 1000 + 500 + shot + (10 if frame in REDRAWN[split] else 0)
    return records.draw(made.first + person, scene)


def pair_list(split: str) -> list[tuple[str, str]]:
    """(source frame, target frame) of all pairs in the protocol's fixed shuffled order."""
    made = SPLITS[split]
    frames = [f"p{i:03d}f{k}" for i in range(made.identities) for k in range(made.frames)]
    rng = np.random.default_rng(made.seed)
    while True:  # a permutation in which nobody is swapped with themselves
        sources = rng.permutation(len(frames))
        if all(frames[s][:4] != frames[t][:4] for t, s in enumerate(sources)):
            break
    order = rng.permutation(len(frames))
    return [(frames[sources[t]], frames[t]) for t in order]


def home(split: str, data: Path | None) -> Path:
    """Where a split's files are: the given folder, or inside the package (test), or the cache."""
    if data is not None:
        return data / split
    if split == "test":
        return Path(__file__).parent / "test"
    import platformdirs

    return Path(platformdirs.user_cache_dir("mfim-bench")) / "virtual-faces" / split


class VirtualFaces:
    """The protocol with its files at hand; see `mfim_bench.protocol.Protocol`."""

    def __init__(self, folder: Path, split: str) -> None:
        self.folder, self.split = folder, split
        self._pairs = pair_list(split)

    def frame(self, name: str) -> Frame:
        return Frame(name, self.folder / "frames" / f"{name}.webp", name.partition("f")[0])

    def pairs(self) -> Sequence[Pair]:
        return [
            Pair(
                id=f"{target}-{source}",
                source=self.frame(source),
                target=self.frame(target),
                truth=self.folder / "truth" / f"{target}-{source}.webp",
                region=self.folder / "region" / f"{target}-{source}.png",
            )
            for source, target in self._pairs
        ]

    def _files(self) -> list[Path]:
        pairs = self.pairs()
        paths = {p for q in pairs for p in (q.source.path, q.target.path, q.truth, q.region) if p is not None}
        return sorted(paths)

    def content_hash(self) -> str:
        """sha256 over the pair list and every file's name and bytes, in sorted order."""
        digest = hashlib.sha256(json.dumps(self._pairs).encode())
        for path in self._files():
            digest.update(f"{path.parent.name}/{path.name}".encode())
            digest.update(hashlib.sha256(path.read_bytes()).digest())
        return digest.hexdigest()

    def problems(self) -> Sequence[str]:
        missing = [p for p in self._files() if not p.is_file()]
        if missing:
            more = f" and {len(missing) - 5} more" if len(missing) > 5 else ""
            return [f"missing {', '.join(f'{p.parent.name}/{p.name}' for p in missing[:5])}{more}"]
        published = PUBLISHED.get(self.split)
        if published and self.folder == home(self.split, None) and self.content_hash() != published:
            return [f"the files' hash {self.content_hash()} is not the published {published}"]
        return []


def load(data: Path | None, split: str) -> VirtualFaces:
    """Open a split (the protocol's factory).

    Raises:
        UsageError: its files are not there, or not the published ones.
    """
    if split not in SPLITS:
        raise UsageError(f"virtual-faces has no split {split!r}; choose from {', '.join(SPLITS)}")
    protocol = VirtualFaces(home(split, data), split)
    if not protocol.folder.is_dir():
        where = f" --data {data}" if data is not None else ""
        raise UsageError(
            f"the {split} split of virtual-faces is not in {protocol.folder}; "
            f"make it with `mfim-bench data render --split {split}{where}`"
        )
    return protocol


def render_split(
    split: str, folder: Path, worker: int = 0, workers: int = 1, progress: Callable[[], None] | None = None
) -> None:
    """Render a split's frames, true swaps and regions into a folder; files already there are kept."""
    from PIL.Image import fromarray

    from mfim_protocols.virtual_faces import geometry, render

    jobs: list[tuple[str, str | None]] = [(target, None) for _, target in pair_list(split)]
    jobs += [(target, source) for source, target in pair_list(split)]
    for name in ("frames", "truth", "region"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for target, source in jobs[worker::workers]:
        name = target if source is None else f"{target}-{source}"
        picture_path = folder / ("frames" if source is None else "truth") / f"{name}.webp"
        if not picture_path.exists():
            ours = record(split, target)
            drawn = geometry.portrait(ours) if source is None else geometry.true_swap(record(split, source), ours)
            picture = render.render(drawn, SIZE, SAMPLES)
            if source is not None:
                save(fromarray(picture.region), folder / "region" / f"{name}.png", format="PNG", optimize=True)
            save(fromarray(picture.image), picture_path, format="WEBP", quality=QUALITY, method=6)
        if progress is not None:
            progress()


def save(image: Image, path: Path, **options: Any) -> None:
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=path.suffix)
    os.close(handle)
    temporary = Path(name)
    image.save(temporary, **options)
    temporary.chmod(0o644)
    temporary.replace(path)
