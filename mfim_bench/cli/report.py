"""``mfim-bench report``, ``compare`` and ``leaderboard``: read records that exist."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mfim_bench.errors import UsageError

if TYPE_CHECKING:
    from mfim_bench.bench import Record

CommonOption = Annotated[bool, typer.Option("--common", help="Count only the pairs that every run scored.")]


def report(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN…", help="Run folders; the first is the method's own.")],
    common: CommonOption = False,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Page to write; report.html of the first run.")
    ] = None,
    all_pictures: Annotated[
        bool,
        typer.Option("--all-pictures", help="Thumbnails of every pair, in a folder beside the page, not within it."),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="The summaries as JSON.")] = False,
) -> None:
    """Print one table of several runs and write its page."""
    from mfim_bench.bench.record import Record
    from mfim_bench.report.page import write_page
    from mfim_bench.report.table import build, standings, standings_text

    records = [Record.load(folder) for folder in runs]
    page = write_page(output or runs[0] / "report.html", records, common, all_pictures)
    if as_json:
        typer.echo(json.dumps([dict(record.summary) for record in records], indent=2))
        return
    typer.echo(build(records, common).text())
    for record in records:
        if not record.reference and (found := standings(record, records)):
            typer.echo(f"\nWhere {record.method} stands\n{standings_text(found)}")
    typer.echo(f"\npage: {page}")


def grid(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN…", help="Run folders on the same images.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="PNG to write.")] = Path("grid.png"),
    pairs: Annotated[int, typer.Option(min=1, help="Rows.")] = 6,
    side: Annotated[int, typer.Option(min=16, max=1024, help="Side of each picture, pixels.")] = 160,
) -> None:
    """Draw source, target, each run's swap and the truth side by side."""
    from mfim_bench.bench.record import Record
    from mfim_bench.report.grid import write_grid

    typer.echo(str(write_grid(output, [Record.load(folder) for folder in runs], pairs, side)))


def compare(
    a: Annotated[Path, typer.Argument(help="Run folder of method A.")],
    b: Annotated[Path, typer.Argument(help="Run folder of method B.")],
    fail_if: Annotated[
        str, typer.Option("--fail-if", help="Exit 1 when true, like 'identity.low > 0 or pose.p < 0.01 and pose > 0'.")
    ] = "",
    as_json: Annotated[bool, typer.Option("--json", help="The differences as JSON.")] = False,
) -> None:
    """Paired differences A − B over the pairs that both scored, with intervals and Holm-corrected p-values."""
    from mfim_bench.bench.record import Record
    from mfim_bench.bench.summary import finite
    from mfim_bench.report import compare as comparison

    first, second = Record.load(a), Record.load(b)
    differences = comparison.compare(first, second)
    failed = comparison.holds(fail_if, differences) if fail_if else False
    if as_json:
        found = [
            {"measure": d.measure, "n": d.interval.n, **{key: finite(value) for key, value in d.fields.items()}}
            for d in differences
        ]
        typer.echo(json.dumps(found, indent=2))
        for name, why in comparison.left_out(first, second).items():
            typer.echo(f"not compared: {name} ({why})", err=True)
    else:
        typer.echo(comparison.text(first, second, differences))
    if failed:
        typer.echo(f"mfim-bench: {fail_if} holds", err=True)
        raise typer.Exit(1)


def leaderboard(
    protocol: Annotated[str, typer.Option("--protocol", "-p", help="Name of the protocol.")] = "virtual-faces",
    split: Annotated[str, typer.Option("--split", help="Of the protocol.")] = "test",
    out: Annotated[Path, typer.Option("--out", help="Root folder of runs.")] = Path("runs"),
    common: CommonOption = False,
) -> None:
    """One table of the finished runs of a protocol: each method's newest, on the pair list that most methods ran."""
    from mfim_bench.report.table import build

    typer.echo(build(_newest(out / protocol, split), common).text())


def _newest(folder: Path, split: str) -> list[Record]:
    from mfim_bench.bench.record import Record

    groups: dict[tuple[str, str], dict[str, Record]] = {}
    for manifest in sorted(folder.glob("*/*/manifest.json")):
        try:
            record = Record.load(manifest.parent)
        except UsageError as error:  # an unfinished run is no reason to show nothing
            typer.echo(f"left out: {error}", err=True)
            continue
        inputs = record.manifest["inputs"]
        if inputs["protocol"]["split"] != split:
            continue
        group = groups.setdefault((record.data_hash, inputs["pairs"]["hash"]), {})
        known = group.get(record.method)
        if known is None or known.manifest["started"] < record.manifest["started"]:
            group[record.method] = record
    if not groups:
        raise UsageError(f"there is no finished run of split {split} under {folder}")
    best = max(groups.values(), key=lambda group: (len(group), len(next(iter(group.values())).rows)))
    return sorted(best.values(), key=lambda record: (record.reference, record.method))


def register(app: typer.Typer) -> None:
    """Add the verbs."""
    app.command()(report)
    app.command()(grid)
    app.command()(compare)
    app.command()(leaderboard)
