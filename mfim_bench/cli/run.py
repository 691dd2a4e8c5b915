"""``mfim-bench run`` and ``score``: swap, measure, and print one table."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from mfim_bench.bench import RunSettings

ProtocolOption = Annotated[str, typer.Option("--protocol", "-p", help="Name of a protocol; see `list protocols`.")]
SplitOption = Annotated[str | None, typer.Option("--split", help="Of the protocol; its first when left out.")]
DataOption = Annotated[Path | None, typer.Option("--data", help="Folder of the data set, where one is needed.")]
MeasuresOption = Annotated[
    str, typer.Option("--measures", help="Names joined by commas; the protocol's when left out.")
]
LimitOption = Annotated[int | None, typer.Option("--limit", help="The first N pairs of the fixed shuffled order.")]
ReferencesOption = Annotated[
    bool, typer.Option("--references/--no-references", help="Score the protocol's references too.")
]
DeviceOption = Annotated[str, typer.Option("--device", help="auto, cpu, cuda or cuda:N.")]
BatchOption = Annotated[int, typer.Option("--batch-size", help="Pairs a call of the method.")]
SeedOption = Annotated[int, typer.Option("--seed", help="Set before every batch of the method.")]
OutOption = Annotated[Path, typer.Option("--out", help="Root folder of runs.")]
WorkersOption = Annotated[int | None, typer.Option("--workers", help="Threads that detect and judge.", min=1)]
SkipOption = Annotated[
    bool, typer.Option("--skip-missing", help="Leave out measures whose weights are not here, and say so.")
]
AllowOption = Annotated[
    float, typer.Option("--allow-failed", help="Share of pairs that may fail (0 to 1).", min=0, max=1)
]
JsonOption = Annotated[bool, typer.Option("--json", help="The summaries as JSON, on stdout.")]


def run(
    method: Annotated[
        str, typer.Option("--method", "-m", help="NAME, NAME@SIZE, NAME:FILE, file.py:function, cmd:… or dir:PATH.")
    ],
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
    skip_missing: SkipOption = False,
    allow_failed: AllowOption = 0.0,
    as_json: JsonOption = False,
) -> None:
    """Swap and measure a method under a protocol. Repeat the command to continue it, or to read its record.

    Exit code 1 = more pairs failed than --allow-failed lets pass.
    """
    from mfim_bench.bench import RunSettings

    settings = RunSettings(
        method=method,
        protocol=protocol,
        split=split,
        data=data,
        measures=listed(measures),
        limit=limit,
        references=references,
        device=device,
        batch_size=batch_size,
        seed=seed,
        out=out,
        workers=workers,
        skip_missing=skip_missing,
    )
    _run(settings, allow_failed, as_json)


def score(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Images made elsewhere, named <pair id>.<ext>.")],
    protocol: ProtocolOption,
    split: SplitOption = None,
    data: DataOption = None,
    measures: MeasuresOption = "",
    limit: LimitOption = None,
    references: ReferencesOption = True,
    device: DeviceOption = "auto",
    seed: SeedOption = 0,
    out: OutOption = Path("runs"),
    workers: WorkersOption = None,
    skip_missing: SkipOption = False,
    allow_failed: AllowOption = 0.0,
    as_json: JsonOption = False,
) -> None:
    """Measure images made elsewhere. The same as `run --method dir:DIR`."""
    from mfim_bench.bench import RunSettings

    settings = RunSettings(
        method=f"dir:{folder}",
        protocol=protocol,
        split=split,
        data=data,
        measures=listed(measures),
        limit=limit,
        references=references,
        device=device,
        seed=seed,
        out=out,
        workers=workers,
        skip_missing=skip_missing,
    )
    _run(settings, allow_failed, as_json)


def listed(text: str) -> tuple[str, ...]:
    """Names joined by commas."""
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _run(settings: RunSettings, allow_failed: float, as_json: bool) -> None:
    from mfim_bench.plugins import registry

    known = registry()
    # Unknown names are told before torch is imported.
    known.method(settings.method)
    known.protocol(settings.protocol)
    for name in settings.measures:
        known.measure(name)
    from mfim_bench.bench import run as run_bench
    from mfim_bench.report.page import write_page
    from mfim_bench.report.table import build, standings, standings_text

    records = run_bench(settings, known)
    main = records[0]
    page = write_page(main.folder / "report.html", records)
    if as_json:
        typer.echo(json.dumps([dict(record.summary) for record in records], indent=2))
    else:
        typer.echo(build(records).text())
        if found := standings(main, records[1:]):
            typer.echo(f"\nWhere {main.method} stands\n{standings_text(found)}")
        for reason, count in main.summary["reasons"].items():
            typer.echo(f"{count} failed: {reason}")
        typer.echo(f"\nrecord: {main.folder}\npage:   {page}")
    share = main.summary["failed"] / main.summary["pairs"]
    if share > allow_failed:
        typer.echo(
            f"mfim-bench: {main.summary['failed']} of {main.summary['pairs']} pairs failed ({share:.1%}), "
            f"more than --allow-failed {allow_failed:g}",
            err=True,
        )
        raise typer.Exit(1)


def register(app: typer.Typer) -> None:
    """Add the verbs."""
    app.command()(run)
    app.command()(score)
