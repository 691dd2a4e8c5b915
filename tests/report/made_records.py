"""Run folders with known numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mfim_bench.bench.fingerprint import SCHEMA
from mfim_bench.bench.parts import score_schema, write_json, write_part
from mfim_bench.bench.record import Record
from mfim_bench.bench.summary import summarise
from mfim_bench.media.images import write_image

IDENTITY, POSE = "identity@net-l2", "pose@net-degrees"
N = 60
Make = Callable[..., Record]


def measure(name: str, compares: str, self_judged: bool) -> dict[str, Any]:
    return {
        "name": name, "compares": compares, "unit": "1", "digits": 3, "lower_is_better": True, "summary": "",
        "version": "1/1", "judge": "net", "self_judged": self_judged, "in_domain": compares == "target",
    }  # fmt: skip


def write_record(
    root: Path,
    name: str,
    identity: float,
    pose: float,
    *,
    reference: bool = False,
    self_judged: bool = False,
    failed: int = 0,
    seed: int = 0,
    content: str = "data",
    size: int = 0,
) -> Record:
    """Write a run folder under ``root`` as the bench does, from given distances, and load it."""
    folder = root / "runs" / name
    (folder / "parts").mkdir(parents=True)
    (folder / "images").mkdir()
    rng = np.random.default_rng(seed)
    noise = rng.normal(0, 0.02, (N, 2))
    measures = [measure(IDENTITY, "source", self_judged), measure(POSE, "target", self_judged)]
    rows: list[dict[str, Any]] = []
    pairs = []
    for i in range(N):
        bad = i < failed
        rows.append(
            {
                "pair": f"{i:03d}",
                "source_identity": f"p{i % 20}",
                "target_identity": f"p{(i * 7 + 3) % 20}",
                "other_identities": [],
                IDENTITY: None if bad else identity + noise[i, 0],
                POSE: None if bad else max(0.0, pose + noise[i, 1]),
                "reason": "no face found" if bad else None,
                "note": "<b>note</b>" if i == N - 1 else None,
            }
        )
        picture = root / f"picture-{i % 5}.png"
        if not picture.exists():
            write_image(picture, rng.integers(0, 255, (64, 48, 3), dtype=np.uint8))
        paths = dict.fromkeys(("source_path", "target_path", "truth_path"), str(picture))
        pairs.append({"id": f"{i:03d}", "source": "s", "target": "t", **paths})
    manifest: Mapping[str, Any] = {
        "schema": SCHEMA, "status": "complete", "fingerprint": name, "reference": reference, "measures": measures,
        "pairs": pairs, "started": "2020", "summary": f"made {name}", "environment": {"git_commit": None},
        "inputs": {
            "method": {"name": name, "version": "1", "size": size, "argument": ""},
            "judges": {}, "batch_size": 8, "device": "cpu", "libraries": {"torch": "1"},
            "code": {"mfim_bench": "1", "mfim_bench.measures.distances": "1"},
            "measures": [{"name": m["name"], "distance": "mfim_bench.measures.distances:l2"} for m in measures],
            "protocol": {"name": "made", "split": "test", "content": content}, "pairs": {"hash": "x"},
        },
    }  # fmt: skip
    write_part(folder / "parts" / "score-000000.parquet", rows, score_schema([IDENTITY, POSE]))
    write_json(folder / "summary.json", summarise(manifest, rows))
    write_json(folder / "manifest.json", manifest)
    return Record.load(folder)
