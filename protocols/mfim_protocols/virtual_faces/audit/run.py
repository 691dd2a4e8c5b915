"""From a command to figures: choose measures, render, look, reckon. What was made is kept and not made again."""

from __future__ import annotations

import functools
import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from mfim_bench import weights
from mfim_bench.bench import fingerprint
from mfim_bench.bench.cache import FeatureCache
from mfim_bench.bench.eyes import Eyes
from mfim_bench.bench.parts import write_json
from mfim_bench.bench.progress import Progress
from mfim_bench.bench.runner import resolve_device
from mfim_bench.errors import UsageError
from mfim_bench.measure import MeasureSpec
from mfim_bench.plugins import registry
from mfim_protocols.virtual_faces import dataset
from mfim_protocols.virtual_faces.audit import factors, figures, pictures
from mfim_protocols.virtual_faces.audit.looks import Looks

WITHOUT_JUDGE = ("error-inside@l1",)
"""Measures of pixels: the path alone. Outside the face the swaps of a path do not differ."""


@dataclass(frozen=True)
class Audit:
    """Figures of every measure, and where pictures are."""

    folder: Path
    people: int
    seed: int
    measures: dict[str, figures.Figures]
    reasons: dict[str, int]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "people": self.people,
            "seed": self.seed,
            "pictures": self.people * (len(pictures.names()) + 1),
            "not_measured": self.reasons,
            "measures": {name: asdict(found) for name, found in self.measures.items()},
        }


def chosen(names: Sequence[str]) -> list[MeasureSpec]:
    """The measures of these names; without names, all that the audit knows and whose weights are here.

    Raises:
        UsageError: unknown, not of a pair's swap, of a family the audit knows no factors for, or its weights are
            missing.
    """
    known = registry()

    def lacking(spec: MeasureSpec) -> str:
        needed = spec.judge.weights if spec.judge else ()
        return next((why for name in needed if (why := weights.problem(known.weights.named(name)))), "")

    def unfit(spec: MeasureSpec) -> str:
        if spec.judge is None:
            return "" if spec.name in WITHOUT_JUDGE else "it compares pixels, which the audit has no factor for"
        if spec.over != "pair" or spec.compares not in ("source", "target"):
            return "the audit is of measures that compare a swap with its source or target"
        if spec.family not in factors.SUBJECTS:
            return f"the audit knows what should move {', '.join(factors.SUBJECTS)}, not {spec.family}"
        return ""

    if not names:
        return [spec for spec in known.measures.values() if not unfit(spec) and not lacking(spec)]
    specs = list({spec.name: spec for spec in map(known.measure, names)}.values())
    for spec in specs:
        if why := unfit(spec) or lacking(spec):
            raise UsageError(f"measure {spec.name}: {why}")
    return specs


@functools.cache
def renderer_hash() -> str:
    """Of everything that a picture depends on beside its seed and number."""
    home = Path(dataset.__file__).parent
    drawing = ("background", "geometry", "hair", "head", "landmarks", "props", "record", "render", "shading")
    files = [*(home / f"{name}.py" for name in (*drawing, "audit/factors", "audit/pictures")), home / "head.npz"]
    code = {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}
    return fingerprint.digest({"code": code, "warp": metadata.version("warp-lang")})


def run(measures: Sequence[MeasureSpec], people: int, seed: int, out: Path, workers: int | None = None) -> Audit:
    """Audit some measures; repeating a call that was cut off goes on where it stopped.

    Args:
        measures: as `chosen` gives them.
        people: how many.
        seed: which.
        out: folder of all audits; pictures are shared by those of one seed and renderer.
        workers: processes that render, and threads that look; None = as many as there are cores, at most 4.

    Raises:
        UsageError: too many people or too high a seed, fewer than 2, or a folder that cannot be written.
    """
    from mfim_protocols.virtual_faces.commands import in_parallel

    if people < 2:
        raise UsageError(f"--people must be at least 2, not {people}: one person has no interval")
    factors.pair(people - 1, seed)
    folder = out / f"seed-{seed}-{renderer_hash()[:16]}"
    workers = workers or min(4, os.cpu_count() or 1)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"cannot write the folder {folder}: {error.strerror}") from error
    numbers = range(people)
    todo = [k for k in numbers if not all(pictures.file_of(folder, k, name).exists() for name in pictures.names())]
    if todo:
        with Progress("audit: render people", len(todo)) as progress:
            calls = [(folder, (k,), seed) for k in todo]
            in_parallel(pictures.render, calls, min(workers, len(todo)), lambda: progress.advance(1))
    device, device_name = resolve_device("cpu")
    judges = list({m.judge.name: m.judge for m in measures if m.judge}.values())
    cache = FeatureCache(out / "features.sqlite")
    try:
        eyes = Eyes(judges, device, device_name, cache, workers)
        try:
            looks = Looks(folder, numbers, seed, measures, eyes)
        finally:
            eyes.close()
    finally:
        cache.close()
    found = {measure.name: figures.of(measure, looks.distances(measure)) for measure in measures}
    made = Audit(folder, people, seed, found, dict(sorted(looks.reasons.items())))
    write_json(folder / "audit.json", made.as_dict())
    return made


def load(path: Path) -> dict[str, Any]:
    """What `Audit.as_dict` wrote."""
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found
