"""What the rows of a run say: per measure the mean with its interval, and how many pairs stand behind it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mfim_bench import statistics
from mfim_bench.bench.fingerprint import digest
from mfim_bench.bench.parts import Row
from mfim_bench.bench.record import identities


def finite(value: float) -> float | None:
    """JSON has no nan and no infinity."""
    return value if math.isfinite(value) else None


def summarise(
    manifest: Mapping[str, Any], rows: Sequence[Row], whole: Mapping[str, Mapping[str, Any]] | None = None
) -> dict[str, Any]:
    """The summary of a complete run; a function of the manifest's inputs and the rows alone, so without times.

    ``whole`` says of measures over a gallery or a set what they were compared with, and the value of the latter; see
    `mfim_bench.bench.whole`. A failed pair enters no mean; it is counted in ``failed`` and its reason in ``reasons``.
    """
    scored = [row for row in rows if row["reason"] is None]
    roles = identities(scored)
    measures: dict[str, Any] = {}
    for measure in manifest["measures"]:
        if measure.get("over") == "set":
            continue
        values = np.array([row[measure["name"]] for row in scored], dtype=np.float64)
        interval = statistics.mean_interval(values, *roles)
        quantiles = np.quantile(values, [0.0, 0.25, 0.5, 0.75, 1.0]) if len(values) else np.full(5, np.nan)
        measures[measure["name"]] = {
            "mean": finite(interval.estimate),
            "low": finite(interval.low),
            "high": finite(interval.high),
            "se": finite(interval.se),
            "sd": finite(float(values.std(ddof=1))) if len(values) > 1 else None,
            "quantiles": [finite(float(q)) for q in quantiles],
            "n_scored": len(scored),
            "n_failed": len(rows) - len(scored),
            **{key: measure[key] for key in ("unit", "lower_is_better", "version", "self_judged", "in_domain")},
        }
    inputs = manifest["inputs"]
    return {
        "schema": manifest["schema"],
        "fingerprint": manifest["fingerprint"],
        "protocol": inputs["protocol"],
        "method": {"name": inputs["method"]["name"], "version": inputs["method"]["version"]},
        "pairs": len(rows),
        "scored": len(scored),
        "failed": len(rows) - len(scored),
        "identities": len({who for role in roles for who in role}),
        "scored_pairs_hash": digest(sorted(row["pair"] for row in scored)),
        "reasons": dict(sorted(Counter(row["reason"] for row in rows if row["reason"] is not None).items())),
        "notes": dict(sorted(Counter(row["note"] for row in rows if row["note"] is not None).items())),
        "measures": measures,
        "whole": dict(whole or {}),
        "skipped": manifest.get("skipped", {}),
    }
