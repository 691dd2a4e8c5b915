"""``mfim-bench data``: is my copy of a data set complete, and what is missing."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mfim_bench.plugins import load_protocol, registry

app = typer.Typer(help="Data sets: check.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Data sets."""


@app.command()
def check(
    protocol: Annotated[str, typer.Argument(help="Name of a protocol.")],
    data: Annotated[Path | None, typer.Option("--data", help="Folder of the data set.")] = None,
    split: Annotated[str | None, typer.Option("--split", help="Default: all splits.")] = None,
) -> None:
    """Say what is missing or broken. Exit code 1 when something is."""
    spec = registry().protocol(protocol)
    bad = False
    for part in [split] if split else spec.splits:
        opened = load_protocol(spec, data, part)
        problems = list(opened.problems())
        bad |= bool(problems)
        for line in problems:
            typer.echo(f"{spec.name} {part}: {line}")
        if not problems:
            pairs = len(opened.pairs())
            typer.echo(f"{spec.name} {part}: complete, {pairs} pairs, content hash {opened.content_hash()}")
    if bad:
        raise typer.Exit(1)


def register(parent: typer.Typer) -> None:
    """Add the verb."""
    parent.add_typer(app, name="data")
