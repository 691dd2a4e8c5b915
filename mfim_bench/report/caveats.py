"""What stands beside a table of several runs: measures it had to leave out, and what differs in how they were measured.

These are notes for whoever made the runs, not part of a table: a judge's code changes with every edit, most of which
move no number, and only a new run can tell.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mfim_bench.bench.record import Record


def caveats(records: Sequence[Record]) -> list[str]:
    """One line about the measures that not all runs have, one about code, libraries and devices; none where alike."""
    return [*_left_out(records), *_differing(records)]


def _left_out(records: Sequence[Record]) -> list[str]:
    found = [record.measures.keys() | record.sets.keys() for record in records]
    names = dict.fromkeys(measure["name"] for record in records for measure in record.manifest["measures"])
    missing = [name for name in names if not all(name in measures for measures in found)]
    if not missing:
        return []
    lacking = [r.method for r, measures in zip(records, found, strict=True) if not measures.issuperset(missing)]
    return [f"left out, not measured by all: {', '.join(missing)} (some are missing in {', '.join(lacking)})"]


def _differing(records: Sequence[Record]) -> list[str]:
    versions: dict[str, dict[str, None]] = {}
    sources: dict[str, set[str]] = {}
    for record in records:
        inputs = record.manifest["inputs"]
        judges = inputs["judges"].values()
        for part in (inputs, *judges):
            for name, value in [*part["libraries"].items(), ("device", part["device"])]:
                versions.setdefault(name, {})[value] = None
        for judge in judges:
            sources.setdefault(f"factory of judge {judge['name']}", set()).add(judge["factory"])
        for module, code in _code(record, inputs):
            package = module if module.endswith(".py") else module.partition(".")[0]
            sources.setdefault(f"code of {package}", set()).add(code)
    said = [f"{name} {' / '.join(values)}" for name, values in versions.items() if len(values) > 1]
    said += sorted(name for name, values in sources.items() if len(values) > 1)
    return [f"the runs differ in: {'; '.join(said)}"] if said else []


def _code(record: Record, inputs: Any) -> list[tuple[str, str]]:
    """Module → hash of what measures; the method's own code is what is compared, and no caveat."""
    names = record.measures.keys() | record.sets.keys()
    modules = {m["distance"].rpartition(":")[0] for m in inputs["measures"] if m["name"] in names}
    found = [(module, inputs["code"][module]) for module in sorted({"mfim_bench", *modules})]
    return found + [item for judge in inputs["judges"].values() for item in judge["code"].items()]
