"""What the audit of judges found, as it ships: ``audit.json``, written by ``mfim-bench audit`` (docs/audit.md)."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from mfim_bench.measure import MeasureSpec
from mfim_bench.plugins import registry

PAGE = "docs/audit.md"
FAILS = "✗"
"""Marks a measure that fails its audit, in every table."""
FILE = Path(__file__).with_name("audit.json")


@functools.cache
def shipped() -> dict[str, Any]:
    """The audit that ships: people, seed and, by measure, figures."""
    found: dict[str, Any] = json.loads(FILE.read_text(encoding="utf-8"))
    return found


def audited(measure: MeasureSpec) -> MeasureSpec:
    """The measure with its verdict and its card; as it is when this version of it was not audited."""
    figures = shipped()["measures"].get(measure.name)
    judge = f"{measure.judge.name} {measure.judge.version}" if measure.judge else ""
    if figures is None or (figures["version"], figures["judge"]) != (measure.version, judge):
        return measure
    return replace(measure, audit=figures["verdict"], card=f"{PAGE}#{measure.name.replace('@', '')}")


def verdicts(columns: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Name → verdict, of those columns of a table whose measure was audited in the version that they were run with."""
    found = {}
    for name, column in columns.items():
        spec = registry().measures.get(name)
        if (
            spec
            and spec.audit
            and column["version"] == "/".join([spec.version, *([spec.judge.version] if spec.judge else [])])
        ):
            found[name] = spec.audit
    return found


def legend(found: Mapping[str, str]) -> list[str]:
    """What the audit says of a table's measures, in lines below it."""
    lines = [f"{FAILS} fails its audit: leaks as much as it responds, or does not rank better swaps first"]
    lines = lines if "fails" in found.values() else []
    if found:
        said = {verdict: [name for name in found if found[name] == verdict] for verdict in ("passes", "weak", "fails")}
        words = "; ".join(f"{verdict}: {', '.join(names)}" for verdict, names in said.items() if names)
        lines.append(f"audit of judges ({PAGE}): {words}")
    return lines
