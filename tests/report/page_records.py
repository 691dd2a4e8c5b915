"""Run folders for the page: any number of rows with known numbers, and names that attack it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from made_records import measure

from mfim_bench.bench.fingerprint import SCHEMA
from mfim_bench.bench.parts import score_schema, write_json, write_part
from mfim_bench.bench.record import Record
from mfim_bench.bench.summary import summarise
from mfim_bench.media.images import write_image
from mfim_bench.plugins import registry

MEASURES = ("identity@net-l2", "pose@net-degrees", "shape@mesh-mm")
HOSTILE = (
    "</script><script>window.hacked=1</script>",
    "\"><img src=x onerror='window.hacked=1'>",
    "<!--<script>window.hacked=1",
    "${window.hacked=1} {{ 7*7 }} $x^",
    "\u202egnp.exe\u2028';window.hacked=1//",
)
"""Texts that a page which trusts them would run or be broken by."""


@dataclass(frozen=True)
class Shown:
    """Image files of a pair."""

    source: Path
    target: Path
    truth: Path
    swap: Path


def write_rows(
    root: Path,
    method: str,
    ids: Sequence[str],
    *,
    people: Sequence[str],
    measures: Sequence[str] = MEASURES,
    means: Sequence[float] = (0.4,),
    reasons: Sequence[str] = ("no face found",),
    fail_every: int = 0,
    reference: bool = False,
    pictures: int = 4,
    shown: Sequence[Shown] | None = None,
    note: str | None = None,
    seed: int = 0,
) -> Record:
    """Write a run folder under ``root`` as the bench does, and load it.

    Args:
        root: of the run and its pictures.
        method: its name, whatever letters it holds.
        ids: of the pairs.
        people: who is met, by turns.
        measures: names; one that is registered has that version.
        means: of the distances: of all, or of each measure.
        reasons: by turns, of every ``fail_every``-th pair.
        fail_every: 0 = none failed.
        reference: whether it is one.
        pictures: how many different ones there are, of noise, shown by turns.
        shown: instead of those, what each pair shows.
        note: of every pair.
        seed: of the distances.
    """
    folder = root / "runs" / str(len(list(root.glob("runs/*"))))
    for name in ("parts", "images"):
        (folder / name).mkdir(parents=True)
    rng = np.random.default_rng(seed)
    shown = _noise(root, len(ids), pictures) if shown is None else shown
    values = rng.gamma(4.0, 0.25, (len(ids), len(measures))) * means
    rows: list[dict[str, Any]] = []
    for i, pair in enumerate(ids):
        reason = reasons[i // fail_every % len(reasons)] if fail_every and i % fail_every == 0 else None
        rows.append(
            {
                "pair": pair,
                "source_identity": people[i % len(people)],
                "target_identity": people[(i * 7 + 3) % len(people)],
                "other_identities": [],
                **{name: None if reason else float(values[i, m]) for m, name in enumerate(measures)},
                "reason": reason,
                "note": note,
            }
        )
        if reason is None and not (folder / "images" / f"{pair}.png").is_symlink():
            (folder / "images" / f"{pair}.png").symlink_to(shown[i].swap)
    manifest: dict[str, Any] = {
        "schema": SCHEMA, "status": "complete", "fingerprint": f"f{seed}", "reference": reference, "limit": len(ids),
        "measures": [_measure(name) for name in measures], "started": "2026-01-01T00:00:00+00:00",
        "pairs": [
            {"id": pair, "source": "s", "target": "t", "parts": [], "source_path": str(one.source),
             "target_path": str(one.target), "truth_path": str(one.truth)}
            for pair, one in zip(ids, shown, strict=True)
        ],
        "summary": f"made {method}", "licence": "CC0", "citation": method,
        "environment": {"git_commit": "c0ffee", "threads": 1, "command": ["run", "--method", method]},
        "inputs": {
            "method": {"name": method, "version": "1", "size": 0, "argument": "", "weights": {"net": "ab" * 32}},
            "judges": {"net": {"name": "net", "factory": "package:judge", "weights": {"net-file": "cd" * 32},
                               "code": {}, "libraries": {"torch": "9.9"}, "device": "cpu"}},
            "libraries": {"torch": "9.9"}, "code": {"package": "ef" * 32, "mfim_bench": "ef" * 32},
            "batch_size": 8, "device": "cpu", "dtype": "float32", "seed": 0,
            "protocol": {"name": "made", "version": "1", "split": "test", "content": "data"}, "pairs": {"hash": "x"},
            "measures": [{"name": name, "distance": "package:distance"} for name in measures],
        },
    }  # fmt: skip
    write_part(folder / "parts" / "score-000000.parquet", rows, score_schema(measures))
    write_json(folder / "summary.json", summarise(manifest, rows))
    write_json(folder / "manifest.json", manifest)
    return Record.load(folder)


def _noise(root: Path, pairs: int, pictures: int) -> list[Shown]:
    """Frames of noise by turns; where there are none, names of files that are not there."""
    frames = [root / f"frame-{k}.png" for k in range(max(1, pictures))]
    for k, frame in enumerate(frames[:pictures]):
        write_image(frame, np.random.default_rng(k).integers(0, 255, (24, 20, 3), dtype=np.uint8))
    turn = [frames[i % len(frames)] for i in range(pairs + 1)]
    return [Shown(turn[i], turn[i], turn[i], turn[i + 1]) for i in range(pairs)]


def _measure(name: str) -> dict[str, Any]:
    known = registry().measures.get(name)
    return measure(name, "target", False) | ({"version": known.full_version, "unit": known.unit} if known else {})


def write_hostile(root: Path) -> list[Record]:
    """Two runs in which every name is one of `HOSTILE`. A pair's id is a file's name, so those have no slash."""
    ids = [f"{i} {text}".replace("/", "∕") for i, text in enumerate(HOSTILE * 3)]
    return [
        write_rows(root, name, ids, people=HOSTILE, reasons=HOSTILE, fail_every=3, note=HOSTILE[0], seed=seed)
        for seed, name in enumerate(HOSTILE[:2])
    ]


def write_big(root: Path, pairs: int = 10_000, pictures: int = 64) -> Record:
    """Numbered pairs of 500 people, one in 50 failed."""
    people = [f"person-{k:03d}" for k in range(500)]
    ids = [f"{i:05d}" for i in range(pairs)]
    return write_rows(root, "big", ids, people=people, fail_every=50, pictures=pictures)
