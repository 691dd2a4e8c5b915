"""``mfim-bench ablation``: variants of a method, each with its training runs, in one table."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mfim_bench.cli.run import (
    AllowOption,
    BatchOption,
    DataOption,
    DeviceOption,
    LimitOption,
    MeasuresOption,
    OutOption,
    ProtocolOption,
    ReferencesOption,
    SeedOption,
    SplitOption,
    WorkersOption,
    listed,
)
from mfim_bench.errors import UsageError
from mfim_bench.plugins import Registry, nearest, registry

if TYPE_CHECKING:
    from mfim_bench.bench import Record

_LABELLED = re.compile(r"([A-Za-z0-9._-]+)=(.+)")


def ablation(
    methods: Annotated[
        list[str],
        typer.Argument(
            metavar="[VARIANT=]METHOD…",
            help="Each as for `run --method`, one a training run; a * in the file's name stands for all that fit,"
            " like 'mfim:work/*.safetensors'. Runs of one VARIANT are averaged; a file may know its own.",
        ),
    ],
    baseline: Annotated[
        str, typer.Option("--baseline", help="The variant that the others are compared with; the first when left out.")
    ] = "",
    protocol: ProtocolOption = "virtual-faces",
    split: SplitOption = None,
    data: DataOption = None,
    measures: MeasuresOption = "",
    limit: LimitOption = None,
    references: ReferencesOption = True,
    device: DeviceOption = "auto",
    batch_size: BatchOption = 8,
    seed: SeedOption = 0,
    out: OutOption = Path("runs"),
    workers: WorkersOption = None,
    allow_failed: AllowOption = 0.0,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="As Markdown.")] = False,
) -> None:
    """Run every variant's training runs and print their means, and their paired differences from the baseline.

    Each is a run as `run` makes it: recorded, continued and answered from the record. Exit code 1 = more pairs of one
    failed than --allow-failed lets pass.
    """
    from mfim_bench.bench import RunSettings

    if as_json and markdown:
        raise UsageError("give --json or --markdown, not both")
    known = registry()
    known.protocol(protocol)
    groups = _groups(methods, known)
    baseline = baseline or next(iter(groups))
    if baseline not in groups:
        raise UsageError(f"--baseline: no variant is called {baseline!r}{nearest(baseline, groups)}")

    from mfim_bench.bench import run as run_bench
    from mfim_bench.report.ablation import ablation as tabulated

    records: dict[str, list[Record]] = {}
    beside: dict[str, Record] = {}
    for variant, texts in groups.items():
        for text in texts:
            settings = RunSettings(
                method=text, protocol=protocol, split=split, data=data, measures=listed(measures), limit=limit,
                references=references, device=device, batch_size=batch_size, seed=seed, out=out, workers=workers,
            )  # fmt: skip
            record, *others = run_bench(settings, known)
            records.setdefault(variant, []).append(record)
            beside |= {other.method: other for other in others}
    found = tabulated(records, baseline, list(beside.values()))
    if as_json:
        typer.echo(json.dumps(found.as_json(), indent=2))
    else:
        typer.echo(found.text("github" if markdown else "simple"))
    bad = [r for runs in records.values() for r in runs if r.summary["failed"] > allow_failed * r.summary["pairs"]]
    for record in bad:
        failed, pairs = record.summary["failed"], record.summary["pairs"]
        typer.echo(f"mfim-bench: {record.method}: {failed} of {pairs} pairs failed, see {record.folder}", err=True)
    if bad:
        raise typer.Exit(1)


def _groups(texts: list[str], known: Registry) -> dict[str, list[str]]:
    """Variant → what names its training runs, in the order given."""
    groups: dict[str, list[str]] = {}
    seen = set()
    for text in texts:
        match = _LABELLED.fullmatch(text)
        for method in _expanded(match[2] if match else text):
            spec = known.method(method)
            if spec in seen:
                raise UsageError(f"{method} is given twice")
            seen.add(spec)
            groups.setdefault(match[1] if match else spec.variant or spec.name, []).append(method)
    return groups


def _expanded(text: str) -> list[str]:
    prefix, _, pattern = text.partition(":")
    if "*" not in pattern or prefix == "cmd":
        return [text]
    path = Path(pattern).expanduser()
    found = sorted(path.parent.glob(path.name))
    if not found:
        raise UsageError(f"no file fits {pattern}")
    return [f"{prefix}:{file}" for file in found]


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command()(ablation)
