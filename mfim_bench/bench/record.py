"""A finished run, read from its folder."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mfim_bench.bench.fingerprint import READABLE
from mfim_bench.bench.parts import Row, read_parts
from mfim_bench.errors import UsageError


@dataclass(frozen=True)
class Record:
    """One method's run.

    Attributes:
        folder: where it lies.
        manifest: ``inputs`` (hashed to the fingerprint) and what describes them: measures, pairs, environment.
        rows: one a pair, in the protocol's order: pair, source_identity, target_identity, other_identities (of further
            sources), each measure's distance (None in a failed row), reason (None in a scored one), note.
        summary: see `mfim_bench.bench.summary.summarise`.
    """

    folder: Path
    manifest: Mapping[str, Any]
    rows: Sequence[Row]
    summary: Mapping[str, Any]

    @property
    def method(self) -> str:
        return str(self.manifest["inputs"]["method"]["name"])

    @property
    def protocol(self) -> str:
        return str(self.manifest["inputs"]["protocol"]["name"])

    @property
    def reference(self) -> bool:
        """Whether the method is one of the protocol's references, which are read against and not ranked."""
        return bool(self.manifest["reference"])

    @property
    def measures(self) -> Mapping[str, Mapping[str, Any]]:
        """name → unit, digits, direction, version, judge, marks; in the order asked for. Those that rows have."""
        return {m["name"]: m for m in self.manifest["measures"] if m.get("over") != "set"}

    @property
    def sets(self) -> Mapping[str, Mapping[str, Any]]:
        """As `measures`, of those that are one number a run; the numbers stand in ``summary["whole"]``."""
        return {m["name"]: m for m in self.manifest["measures"] if m.get("over") == "set"}

    @property
    def data_hash(self) -> str:
        """Names the exact images: runs with different ones cannot be compared."""
        return str(self.manifest["inputs"]["protocol"]["content"])

    def scored(self) -> dict[str, Row]:
        """pair id → row, of the scored pairs."""
        return {row["pair"]: row for row in self.rows if row["reason"] is None}

    @classmethod
    def load(cls, folder: Path) -> Record:
        """Read a run folder.

        Raises:
            UsageError: it is none, of another schema, damaged, or not finished.
        """
        try:
            manifest = json.loads((folder / "manifest.json").read_bytes())
        except FileNotFoundError as error:
            raise UsageError(f"{folder} is not a run: it has no manifest.json") from error
        except (OSError, ValueError) as error:
            raise UsageError(f"{folder}/manifest.json cannot be read: {error}") from error
        if not isinstance(manifest, dict) or manifest.get("schema") not in READABLE:
            raise UsageError(f"{folder} was written by another version of mfim-bench; run it again")
        if manifest.get("status") != "complete":
            raise UsageError(f"{folder} is not finished; repeat the command that started it")
        try:
            rows = read_parts(folder / "parts", "whole") or read_parts(folder / "parts", "score")
            summary = json.loads((folder / "summary.json").read_bytes())
        except (OSError, ValueError) as error:
            raise UsageError(f"{folder} is damaged ({error}); delete it and run again") from error
        order = {pair["id"]: index for index, pair in enumerate(manifest["pairs"])}
        if {row["pair"] for row in rows} != order.keys() or len(rows) != len(order):
            raise UsageError(f"{folder} is damaged (its parts do not hold each pair once); delete it and run again")
        rows = [{"other_identities": [], **row} for row in rows]  # schema 1 knew one source a pair
        return cls(folder, manifest, sorted(rows, key=lambda row: order[row["pair"]]), summary)


def identities(rows: Sequence[Row]) -> list[list[str]]:
    """The roles of rows for `mfim_bench.statistics`: sources, targets, further sources.

    A pair with fewer sources than another repeats its own, which counts once.
    """
    roles = [[row["source_identity"] for row in rows], [row["target_identity"] for row in rows]]
    for k in range(max((len(row["other_identities"]) for row in rows), default=0)):
        roles.append([[*row["other_identities"], *[row["source_identity"]] * (k + 1)][k] for row in rows])
    return roles
