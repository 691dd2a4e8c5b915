"""Figures that others published, to be read beside measured ones and never ranked with them.

They stand in ``published.toml``, each table with its source.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from mfim_bench.errors import UsageError
from mfim_bench.plugins import nearest
from mfim_bench.report.formats import Fact, Sheet


@dataclass(frozen=True, slots=True)
class Published:
    """One published table.

    Attributes:
        name: to ask for it.
        title: data set and where it stands.
        source: who published it.
        protocol: of ours, on the same data; the figures are not comparable for that.
        columns: what was measured, with its direction.
        rows: method and its values, as they were printed; nan where none was.
    """

    name: str
    title: str
    source: str
    protocol: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, tuple[float, ...]], ...]

    def sheet(self) -> Sheet:
        """For every format, marked so that nobody takes it for measured."""
        cells = [[method, *("–" if math.isnan(v) else f"{v:g}" for v in values)] for method, values in self.rows]
        facts: list[Fact] = [
            {"kind": "published", "table": self.name, "source": self.source, "method": method, "measure": column}
            | {"value": value}
            for method, values in self.rows
            for column, value in zip(self.columns, values, strict=True)
        ]
        legend = [
            f"source: {self.source}",
            "comparable only inside this table, which has its own pairs, crops and judges; not ranked with measured",
        ]
        return Sheet(f"PUBLISHED, not measured here: {self.title}", ["published", *self.columns], cells, legend, facts)


@lru_cache
def tables() -> dict[str, Published]:
    """All published tables, by name."""
    text = Path(__file__).with_suffix(".toml").read_text(encoding="utf-8")
    return {
        entry["name"]: Published(
            entry["name"],
            entry["title"],
            entry["source"],
            entry["protocol"],
            tuple(entry["columns"]),
            tuple((row[0], tuple(float(value) for value in row[1:])) for row in entry["rows"]),
        )
        for entry in tomllib.loads(text)["table"]
    }


def sheets(names: Sequence[str]) -> list[Sheet]:
    """Those tables.

    Raises:
        UsageError: none is called so.
    """
    for name in names:
        if name not in tables():
            raise UsageError(f"no published table is called {name!r}{nearest(name, tables())}")
    return [tables()[name].sheet() for name in names]


def listing() -> Sheet:
    """Which there are."""
    rows = [[t.name, t.title, ", ".join(t.columns), str(len(t.rows)), t.source] for t in tables().values()]
    facts: list[Fact] = [
        {"kind": "table", "name": t.name, "title": t.title, "protocol": t.protocol, "columns": ", ".join(t.columns)}
        | {"methods": len(t.rows), "source": t.source}
        for t in tables().values()
    ]
    return Sheet("Published tables", ["name", "what", "columns", "methods", "source"], rows, (), facts)
