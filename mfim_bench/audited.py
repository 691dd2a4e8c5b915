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
    if figures is None or figures["version"] != measure.full_version:
        return measure
    return replace(measure, audit=figures["verdict"], card=f"{PAGE}#{measure.name.replace('@', '')}")


def verdicts(columns: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Name → verdict, of those columns of a table whose measure was audited in the version that they were run with."""
    specs = {name: registry().measures.get(name) for name in columns}
    return {
        name: spec.audit
        for name, spec in specs.items()
        if spec and spec.audit and spec.full_version == columns[name]["version"]
    }


def legend(found: Mapping[str, str]) -> list[str]:
    """What the audit says of a table's measures, in lines below it."""
    if not found:
        return []
    said = {
        verdict: [name for name in found if found[name] == verdict]
        for verdict in ("passes", "weak", "fails", "undecided")
    }
    words = "; ".join(f"{verdict}: {', '.join(names)}" for verdict, names in said.items() if names)
    lines = [f"audit of judges ({PAGE}): {words}"]
    if said["fails"]:
        lines.append(f"{FAILS} fails its audit: leaks as much as it responds, or does not rank better swaps first")
    return lines
