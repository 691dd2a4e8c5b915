"""What the audit of judges found, as it ships: ``audit.json``, written by ``mfim-bench audit`` (docs/audit.md)."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from mfim_bench.measure import MeasureSpec
from mfim_bench.plugins import registry

PAGE = "docs/audit.md"
FAILS = "✗"
"""Marks a measure that fails its audit, in the tables of runs."""
LOCAL = "-local"
"""Ends the names of measures that compare with a local source."""
FILE = Path(__file__).with_name("audit.json")


@functools.cache
def shipped() -> dict[str, Any]:
    """The audit that ships: people, seed and, by measure, figures."""
    found: dict[str, Any] = json.loads(FILE.read_text(encoding="utf-8"))
    return found


def audited(measure: MeasureSpec) -> MeasureSpec:
    """The measure with its verdict and its card; as it is when this version of it was not audited.

    A measure of the local source is that of the global one: the same judge and formula, against another picture.
    """
    name = measure.name.removesuffix(LOCAL) if measure.compares == "local" else measure.name
    figures = shipped()["measures"].get(name)
    if figures is None or figures["version"] != measure.full_version:
        return measure
    return replace(measure, audit=figures["verdict"], card=f"{PAGE}#{name.replace('@', '')}")


def verdicts(columns: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Name → verdict, of those columns of a table whose measure was audited in the version that they were run with."""
    specs = {name: registry().measures.get(name) for name in columns}
    return {
        name: spec.audit
        for name, spec in specs.items()
        if spec and spec.audit and spec.full_version == columns[name]["version"]
    }


def number(value: Sequence[float | None], digits: int = 2) -> str:
    """An estimate with half its interval's width; a dash where it is not defined."""
    estimate, low, high = value
    if estimate is None:
        return "–"
    return f"{estimate:.{digits}f}" + ("" if low is None or high is None else f" ± {(high - low) / 2:.{digits}f}")


def sentences(m: Mapping[str, Any]) -> list[str]:
    """The card of a measure, from its figures in an audit: the verdict first."""
    because = f": {'; '.join(m['reasons'])}" if m["reasons"] else ""
    judge = f", judge {m['judge']}" if m["judge"] else ""
    missing = f" ({m['missing']} more could not be measured)" if m["missing"] else ""
    found = [f"{m['verdict'].capitalize()}{because}. Version {m['version']}{judge}; {m['people']} people{missing}."]
    if m["shares"]:

        def named(factors: Sequence[str]) -> str:
            return ", ".join(f"{factor} {number(m['shares'][factor])}" for factor in factors)

        alone = f" ({named(m['wanted'])} alone)" if len(m["wanted"]) > 1 else ""
        others = [factor for factor in m["shares"] if factor not in m["wanted"]]
        most = sorted(others, key=lambda factor: -(m["shares"][factor][0] or 0))[:4]
        found += [
            f"Responds to {', '.join(m['wanted'])}: {number(m['response'])}{alone}.",
            f"Leaks of all else together: {number(m['leak'])}; most alone: {named(most)}.",
            f"Floor {number(m['floor'], 3)} {m['unit']}, another face {number(m['independent'], 3)} {m['unit']}.",
            f"Rank correlation with the true distance: {number(m['rank'])}.",
        ]
    truth = "" if m["true_path"][0] is None else f"; the true distances: {number(m['true_path'])}"
    return [*found, f"Better swaps first, along the path: {number(m['path'])}{truth}."]


def cards(columns: Mapping[str, Mapping[str, Any]]) -> dict[str, list[str]]:
    """Name → `sentences`, of those columns of a table that `verdicts` knows."""
    return {name: sentences(shipped()["measures"][name.removesuffix(LOCAL)]) for name in verdicts(columns)}


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
