"""``report.html``: one file that opens anywhere, also without a network: what `docs/report.md` shows."""

from __future__ import annotations

import base64
import hashlib
from collections import Counter
from collections.abc import Sequence
from importlib import metadata, resources
from pathlib import Path

from jinja2 import Environment, PackageLoader
from markupsafe import Markup

from mfim_bench import audited
from mfim_bench.bench.parts import write_atomic
from mfim_bench.bench.record import Record
from mfim_bench.errors import UsageError
from mfim_bench.report.pictures import Pictures
from mfim_bench.report.plots import plots
from mfim_bench.report.repeat import repeat
from mfim_bench.report.rows import rows_of
from mfim_bench.report.table import build, standings

MOST_REASONS = 50
"""Of a run, in the table of failures; the grid shows all."""


def write_page(path: Path, records: Sequence[Record], common: bool = False, beside: bool = False) -> Path:
    """Write the page of several runs.

    Args:
        path: of the page.
        records: the runs; the first is shown first.
        common: the table and the plots count only the pairs that all scored.
        beside: thumbnails of all pairs, in a folder beside the page, instead of as many as fit into it.

    Raises:
        UsageError: the runs cannot stand in one table, or the page's folder cannot be written.
    """
    table = build(records, common)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"cannot write the page {path}: {error.strerror}") from error
    pictures = Pictures(path, beside)
    rows = rows_of(records, table, pictures)
    cards = audited.cards(table.measures)
    # A measure's name may hold what no address can; its place may stand anywhere.
    places = {name: f"card-{k}" for k, name in enumerate(cards)}
    environment = Environment(loader=PackageLoader("mfim_bench.report"), autoescape=True, trim_blocks=True)
    templates = resources.files("mfim_bench.report") / "templates"
    script, style = (Markup((templates / f"report.{kind}").read_text("utf-8")) for kind in ("js", "css"))
    page = environment.get_template("report.html").render(
        table=table,
        heads=[
            (places.get(name), head.split("\n"))
            for name, head in zip(["", *table.measures, "", ""], table.headers(), strict=True)
        ],
        cards=[(places[name], name, lines) for name, lines in cards.items()],
        standings=[
            (record, found) for record in records if not record.reference and (found := standings(record, records))
        ],
        plots=plots(table, _counted(records, common)),
        failures=[(k, record, *_reasons(record)) for k, record in enumerate(records) if record.summary["failed"]],
        repeats=[repeat(record) for record in records],
        left_out=pictures.left_out,
        rows=rows,
        script=script,
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        style=style,
        version=metadata.version("mfim-bench"),
    )
    write_atomic(path, page.encode())
    return path


def _counted(records: Sequence[Record], common: bool) -> list[frozenset[str]]:
    """Of each run the pairs behind its line of the table."""
    scored = [frozenset(record.scored()) for record in records]
    return [frozenset.intersection(*scored)] * len(scored) if common else scored


def _reasons(record: Record) -> tuple[list[tuple[str, int]], int]:
    """The commonest reasons with their pairs, and how many more there are."""
    found = Counter(row["reason"] for row in record.rows if row["reason"] is not None).most_common()
    return found[:MOST_REASONS], len(found[MOST_REASONS:])
