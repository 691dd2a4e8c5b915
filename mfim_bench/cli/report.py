"""``mfim-bench report``, ``grid``, ``compare``, ``leaderboard``, ``table``: read records that exist; ``published``."""

from __future__ import annotations

import enum
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mfim_bench.errors import UsageError

if TYPE_CHECKING:
    from mfim_bench.bench import Record


class Format(enum.StrEnum):
    """How to print."""

    text = enum.auto()
    markdown = enum.auto()
    latex = enum.auto()
    csv = enum.auto()
    json = enum.auto()


FormatOption = Annotated[Format, typer.Option("--format", "-f", help="LaTeX is for booktabs.")]
JsonOption = Annotated[bool, typer.Option("--json", help="The same as --format json.")]
PublishedOption = Annotated[
    list[str] | None,
    typer.Option("--published", metavar="NAME", help="Also this published table, apart; see `published`. May repeat."),
]
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
    _tell(records)
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
    runs: Annotated[list[Path], typer.Argument(metavar="A B…", help="Run folders: A is compared with each other one.")],
    baseline: Annotated[
        str,
        typer.Option("--baseline", help="Compare each with this one instead: its folder, or its method's name."),
    ] = "",
    fail_if: Annotated[
        str | None,
        typer.Option(
            "--fail-if",
            help="Exit 1 when true of any: 'identity.low > 0 or pose.p < 0.01 and pose > 0', 'identity > +2%'.",
        ),
    ] = None,
    worst: Annotated[int, typer.Option(min=0, help="Also the pairs that differ most, so many a measure.")] = 0,
    pictures: Annotated[Path | None, typer.Option(help="PNG of these pairs to write (else 3 a measure).")] = None,
    side: Annotated[int, typer.Option(min=16, max=1024, help="Side of each picture, pixels.")] = 160,
    bootstrap: Annotated[int, typer.Option(min=0, metavar="N", help="Pigeonhole bootstrap of N draws as a check.")] = 0,
    seed: Annotated[int, typer.Option(help="Of the bootstrap.")] = 0,
    style: FormatOption = Format.text,
    as_json: JsonOption = False,
) -> None:
    """Paired differences A − B over the pairs that both scored, with intervals and Holm-corrected p-values."""
    from mfim_bench.bench.record import Record
    from mfim_bench.report import compare as comparison
    from mfim_bench.report.formats import render

    if len(runs) < 2:
        raise UsageError("compare needs two runs or more")
    if bootstrap == 1:
        raise UsageError("--bootstrap needs at least two draws")
    records = [Record.load(folder) for folder in runs]
    base = _chosen(baseline, runs, records) if baseline else None
    found = comparison.compare_all(comparison.couples(records, base), bootstrap, seed)
    held = [comparison.holds(fail_if, one.differences) for one in found] if fail_if is not None else []
    sheets = []
    for one in found:
        sheets += [comparison.sheet(one), *([comparison.worst_sheet(one, worst)] if worst else [])]
    style = Format.json if as_json else style
    typer.echo(render(sheets, style))
    _tell(*([one.a, one.b] for one in found))
    if style in ("json", "csv"):
        for one in found:
            for name, why in comparison.left_out(one.a, one.b).items():
                typer.echo(f"not compared: {name} ({why})", err=True)
    if pictures:
        typer.echo(f"pictures: {comparison.picture(pictures, found, worst or 3, side)}", err=True)
    if any(held):
        typer.echo(f"mfim-bench: {fail_if} holds", err=True)
        raise typer.Exit(1)


def _tell(*together: list[Record]) -> None:
    """What a reader must know of runs that were compared, each line once."""
    from mfim_bench.report.caveats import caveats

    for line in dict.fromkeys(line for records in together for line in caveats(records)):
        typer.echo(line, err=True)


def _chosen(text: str, runs: list[Path], records: list[Record]) -> Record:
    found = [r for folder, r in zip(runs, records, strict=True) if folder == Path(text) or r.method == text]
    if len(found) != 1:
        known = ", ".join(record.method for record in records)
        raise UsageError(f"--baseline: {text!r} names {len(found)} of the runs; they are of {known}")
    return found[0]


def leaderboard(
    protocol: Annotated[str, typer.Option("--protocol", "-p", help="Name of the protocol.")] = "virtual-faces",
    split: Annotated[str, typer.Option("--split", help="Of the protocol.")] = "test",
    out: Annotated[Path, typer.Option("--out", help="Root folder of runs.")] = Path("runs"),
    common: Annotated[
        bool,
        typer.Option("--common", help="Only the pairs that all scored; leaves out what can't be compared."),
    ] = False,
    pairs: Annotated[int | None, typer.Option(min=1, metavar="N", help="Only runs of N pairs.")] = None,
    sort: Annotated[str, typer.Option("--sort", metavar="MEASURE", help="Order by it; else by the first.")] = "",
    beside: PublishedOption = None,
    style: FormatOption = Format.text,
) -> None:
    """Rank the finished runs of a protocol, each method's newest, as far as statistics separate them."""
    from mfim_bench.report import leaderboard as board
    from mfim_bench.report import published as others
    from mfim_bench.report.formats import render

    found = board.leaderboard(_newest(out / protocol, split, pairs), common, sort)
    typer.echo(render([*found.sheets(), *others.sheets(beside or [])], style))
    _tell([line.record for line in found.table.lines])


def _newest(folder: Path, split: str, pairs: int | None) -> list[Record]:
    from mfim_bench.bench.record import Record

    found: dict[str, list[Record]] = {}
    for manifest in sorted(folder.glob("*/*/manifest.json")):
        try:
            record = Record.load(manifest.parent)
        except UsageError as error:  # an unfinished run is no reason to show nothing
            typer.echo(f"left out: {error}", err=True)
            continue
        if record.manifest["inputs"]["protocol"]["split"] != split or pairs not in (None, len(record.rows)):
            continue
        found.setdefault(record.method, []).append(record)
    if not found:
        raise UsageError(f"there is no finished run of split {split} under {folder}")
    return [_newest_of(sorted(runs, key=lambda one: str(one.manifest["started"]))) for runs in found.values()]


def _newest_of(runs: list[Record]) -> Record:
    """The last; of the others those that a reader may miss are named: another method's, and the most complete."""

    def size(run: Record) -> tuple[int, int]:
        return len(run.scored()), len(run.manifest["measures"])

    *older, newest = runs
    same = []
    for run in older:
        if run.manifest["inputs"]["method"].get("argument") == newest.manifest["inputs"]["method"].get("argument"):
            same.append(run)
        else:
            typer.echo(f"left out: {run.folder}, for another method called {newest.method} is newer", err=True)
    pairs, measures = size(newest)
    fuller = [run for run in same if size(run)[0] > pairs or size(run)[1] > measures]
    if fuller:
        most = max(reversed(fuller), key=size)
        typer.echo(
            f"older run of {most.method} with {size(most)[0]} pairs, {size(most)[1]} measures left out"
            f" (the newest: {pairs}, {measures}): {most.folder}",
            err=True,
        )
    return newest


def table(
    runs: Annotated[
        list[str],
        typer.Argument(metavar="[ROW=]RUN…", help="Run folders; the row is the method's own when left out."),
    ],
    form: Annotated[str, typer.Option("--form", help="mfim-1, mfim-2, mfim-3 or mfim-4.")],
    common: CommonOption = False,
    beside: PublishedOption = None,
    style: FormatOption = Format.text,
) -> None:
    """Print runs in the form of a table of the MFIM paper: 1 FaceForensics++, 2 CelebA-HQ, 3 ablation, 4 ID mixing."""
    from mfim_bench.bench.record import Record
    from mfim_bench.report import forms
    from mfim_bench.report import published as others
    from mfim_bench.report.formats import render

    labelled = []
    for text in runs:
        label, _, folder = text.rpartition("=") if not Path(text).exists() else ("", "", text)
        labelled.append((label, Record.load(Path(folder))))
    typer.echo(render([forms.form(form, labelled, common), *others.sheets(beside or [])], style))
    _tell([record for _, record in labelled])


def published(
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME…]", help="Tables to show; else the list.")] = None,
    style: FormatOption = Format.text,
) -> None:
    """List or show figures that others published, with their source; never ranked with measured ones."""
    from mfim_bench.report import published as others
    from mfim_bench.report.formats import render

    typer.echo(render(others.sheets(names) if names else [others.listing()], style))


def register(app: typer.Typer) -> None:
    """Add the verbs."""
    app.command()(report)
    app.command()(grid)
    app.command()(compare)
    app.command()(leaderboard)
    app.command()(table)
    app.command()(published)
