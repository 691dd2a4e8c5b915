"""A golden baseline: the distances of one run, in a small file that says how they were made."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from mfim_bench.errors import UsageError

if TYPE_CHECKING:
    from mfim_bench.bench.record import Record

Row: TypeAlias = dict[str, Any]

SCHEMA = 1
DIGITS = 9
"""Significant digits that a distance keeps: more than float32 judges have."""
_IDENTITIES = ("pair", "source_identity", "target_identity", "other_identities")


@dataclass(frozen=True)
class Baseline:
    """What a test's run is held against; also the form that the new run takes to be held.

    Attributes:
        test: file and name of the test it belongs to.
        made: how: command, date, platform, versions, batch size, seed.
        method: name, version, and sha256 of each weights file.
        protocol: name, version, split, and ``content``, the hash of its images.
        pairs: their count and the hash of the list.
        device: kind of device: ``cpu`` or ``cuda``.
        measures: name → version (of measure and judge), weights of the judge, unit, digits, direction.
        rows: one a pair, in the protocol's order: pair, its identities, each distance, and the reason where it failed.
    """

    test: str
    made: Mapping[str, Any]
    method: Mapping[str, Any]
    protocol: Mapping[str, Any]
    pairs: Mapping[str, Any]
    device: str
    measures: Mapping[str, Mapping[str, Any]]
    rows: Sequence[Row]

    @classmethod
    def of(cls, record: Record, test: str, made: Mapping[str, Any]) -> Baseline:
        """A finished run in this form. Measures of the set of swaps (FID) have no rows and are left out."""
        inputs = record.manifest["inputs"]
        columns = [*_IDENTITIES, *record.measures, "reason"]
        measures = {}
        for name, entry in record.measures.items():
            kept = {key: entry[key] for key in ("version", "unit", "digits", "lower_is_better")}
            judge = inputs["judges"].get(entry["judge"], {"weights": {}})
            measures[name] = kept | {"weights": judge["weights"]}
        return cls(
            test=test,
            made={**made, **{key: inputs[key] for key in ("batch_size", "seed")}},
            method={key: inputs["method"][key] for key in ("name", "version", "weights")},
            protocol={key: inputs["protocol"][key] for key in ("name", "version", "split", "content")},
            pairs=inputs["pairs"],
            device=inputs["device"].split(" ")[0],
            measures=measures,
            rows=[{name: _rounded(row[name]) for name in columns} for row in record.rows],
        )

    @classmethod
    def read(cls, path: Path) -> Baseline:
        """Read a file that `write` wrote.

        Raises:
            UsageError: it cannot be read, or is of another schema.
        """
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            schema = found.pop("schema")
            if schema != SCHEMA:
                raise ValueError(f"it is of schema {schema}, this version reads {SCHEMA}")
            columns = found.pop("columns")
            found["rows"] = [dict(zip(columns, row, strict=True)) for row in found["rows"]]
            return cls(**{field.name: found[field.name] for field in fields(cls)})
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise UsageError(f"the baseline {path.name} cannot be read ({type(error).__name__}: {error})") from error

    def write(self, path: Path, fresh: bool = False) -> None:
        """Write the file, one pair a line, so that a version control system shows what changed.

        Raises:
            FileExistsError: it should be ``fresh``, and another process has written one meanwhile.
        """
        from mfim_bench.bench.parts import write_atomic

        head = {"schema": SCHEMA} | {key: value for key, value in asdict(self).items() if key != "rows"}
        head["columns"] = list(self.rows[0])
        rows = ",\n".join("  " + json.dumps(list(row.values()), ensure_ascii=False) for row in self.rows)
        text = json.dumps(head, indent=1, ensure_ascii=False).removesuffix("\n}")
        path.parent.mkdir(parents=True, exist_ok=True)
        if fresh:
            path.touch(exist_ok=False)
        write_atomic(path, f'{text},\n "rows": [\n{rows}\n ]\n}}\n'.encode())

    def scored(self) -> dict[str, Row]:
        """pair id → row, of the scored pairs."""
        return {row["pair"]: row for row in self.rows if row["reason"] is None}

    def same_numbers(self, other: Baseline) -> bool:
        """Whether the other differs in nothing but how it was made."""
        return all(getattr(self, f.name) == getattr(other, f.name) for f in fields(self) if f.name != "made")

    def mismatches(self, now: Baseline) -> list[str]:
        """Why the numbers of a run cannot be held against this; empty when they can."""
        found = []

        def same(what: str, old: object, new: object) -> None:
            if old != new:
                found.append(f"{what}: {old} in the baseline, {new} now")

        def listed(names: Mapping[str, object]) -> str:
            return ", ".join(names)

        same("test", self.test, now.test)
        same("method", self.method["name"], now.method["name"])
        for key, what in {"name": "protocol", "version": "protocol's version", "split": "split"}.items():
            same(what, self.protocol[key], now.protocol[key])
        same("images (content hash)", self.protocol["content"][:12], now.protocol["content"][:12])
        old, new = (f"{side.pairs['count']} pairs, hash {side.pairs['hash'][:12]}" for side in (self, now))
        same("pair list", old, new)
        same("device", self.device, now.device)
        if self.measures.keys() != now.measures.keys():
            same("measures", listed(self.measures), listed(now.measures))
        for name in self.measures.keys() & now.measures.keys():
            same(f"version of {name}", self.measures[name]["version"], now.measures[name]["version"])
            if self.measures[name]["weights"] != now.measures[name]["weights"]:
                found.append(f"{name}: the weights of its judge are others now")
        return found


def _rounded(value: object) -> object:
    return float(f"{value:.{DIGITS}g}") if isinstance(value, float) else value
