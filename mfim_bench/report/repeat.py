"""All that is needed to repeat a run: its command, versions and hashes, read from the record."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mfim_bench.bench.record import Record


@dataclass(frozen=True, slots=True)
class Repeat:
    """Of one run.

    Attributes:
        method: its name.
        fingerprint: of all inputs.
        command: for a shell; empty where the record has none.
        facts: heading → value.
        judges: measure, its version, its judge, and the sha256 of each file of weights.
        libraries: name → version.
        code: package → sha256 of its sources.
        inputs: all that was hashed, as JSON.
    """

    method: str
    fingerprint: str
    command: str
    facts: Mapping[str, str]
    judges: list[tuple[str, str, str, str]]
    libraries: Mapping[str, str]
    code: Mapping[str, str]
    inputs: str


def repeat(record: Record) -> Repeat:
    manifest, inputs = record.manifest, record.manifest["inputs"]
    method, protocol, environment = inputs["method"], inputs["protocol"], manifest["environment"]
    command = environment.get("command")
    facts: dict[str, Any] = {
        "method": f"{method['name']}, version {method['version']}",
        "what it is": manifest.get("summary"),
        "weights": _hashes(method.get("weights", {})),
        "licence": manifest.get("licence"),
        "citation": manifest.get("citation"),
        "protocol": f"{protocol['name']}, version {protocol.get('version', '–')}, split {protocol['split']}",
        "data": protocol["content"],
        "pairs": f"{len(record.rows)}, list {inputs['pairs']['hash']}",
        "limit": manifest.get("limit"),
        "device": f"{inputs['device']}, {inputs.get('dtype', 'float32')}",
        "batch size": inputs["batch_size"],
        "seed": inputs.get("seed"),
        "git commit": environment.get("git_commit"),
        "threads": environment.get("threads"),
        "started": manifest.get("started"),
    }
    return Repeat(
        record.method,
        str(manifest["fingerprint"]),
        shlex.join(["mfim-bench", *command]) if command else "",
        {head: str(value) for head, value in facts.items() if value not in (None, "")},
        [_judge(measure, inputs.get("judges", {})) for measure in manifest["measures"]],
        inputs.get("libraries", {}),
        inputs.get("code", {}),
        json.dumps(inputs, indent=1, ensure_ascii=False),
    )


def _judge(measure: Mapping[str, Any], judges: Mapping[str, Any]) -> tuple[str, str, str, str]:
    name = measure["judge"]
    weights = judges.get(name, {}).get("weights", {})
    return measure["name"], measure["version"], name or "none: pixels", _hashes(weights)


def _hashes(weights: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {value}" for name, value in weights.items())
