"""``mfim-bench audit``: what does each measure measure? Imports nothing heavy."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class Form(StrEnum):
    """How figures are printed."""

    text = "text"
    json = "json"
    markdown = "markdown"


def audit(
    measures: Annotated[
        str, typer.Option("--measures", help="Names joined by commas; all whose judges are here when left out.")
    ] = "",
    people: Annotated[int, typer.Option("--people", help="How many virtual people, with as many donors.")] = 40,
    seed: Annotated[int, typer.Option("--seed", help="Which people: 0 to 34.")] = 0,
    out: Annotated[Path, typer.Option("--out", help="Folder for pictures, features and reports.")] = Path("audits"),
    workers: Annotated[int | None, typer.Option(min=1, help="Processes; default: the cores, at most 4.")] = None,
    form: Annotated[Form, typer.Option("--format", help="What to print.")] = Form.text,
    as_json: Annotated[bool, typer.Option("--json", help="The same as --format json.")] = False,
) -> None:
    """Measure the measures: on virtual faces, change one factor at a time and see which distances move."""
    import json

    from mfim_protocols.virtual_faces.audit import report, run

    names = [name.strip() for name in measures.split(",") if name.strip()]
    made = run.run(run.chosen(names), people, seed, out, workers)
    summary = made.as_dict()
    files = report.write(made.folder, summary)
    if as_json or form is Form.json:
        typer.echo(json.dumps(summary, indent=1))
    elif form is Form.markdown:
        typer.echo(report.markdown(summary))
    else:
        typer.echo("\n".join([report.text(summary), "", *map(str, files)]))


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("audit")(audit)
