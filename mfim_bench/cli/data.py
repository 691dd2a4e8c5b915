"""``mfim-bench data``: is my copy of a data set complete, and what is missing."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from mfim_bench.errors import UsageError
from mfim_bench.plugins import load_protocol, registry
from mfim_bench.protocol import CheckedProtocol, DataCheck

app = typer.Typer(help="Data sets: check.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Data sets."""


@app.command()
def check(
    protocol: Annotated[str, typer.Argument(help="Name of a protocol.")],
    data: Annotated[Path | None, typer.Option("--data", help="Folder of the data set.")] = None,
    split: Annotated[str | None, typer.Option("--split", help="Default: all splits.")] = None,
    deep: Annotated[bool, typer.Option("--deep", help="Open and decode every file; may take hours.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON, on stdout.")] = False,
) -> None:
    """Say what is there, what is missing or broken, and what is not recognised. Exit code 1 when something is bad.

    Without --deep only names, sizes and the headers of videos are looked at.
    """
    spec = registry().protocol(protocol)
    found: dict[str, dict[str, Any]] = {}
    refused: dict[str, str] = {}
    for part in [split] if split else spec.splits:
        try:
            opened = load_protocol(spec, data, part)
        except UsageError as error:
            refused[part] = str(error)
            continue
        if isinstance(opened, CheckedProtocol):
            look, hashed = opened.check(deep), deep  # the hash reads every byte of a data set
        else:
            look, hashed = DataCheck(problems=tuple(opened.problems())), True
        found[part] = {**asdict(look), "pairs": len(opened.pairs())}
        if hashed and not look.problems:
            found[part]["content_hash"] = opened.content_hash()
    if not found:  # nothing to look at: one reason is enough
        raise UsageError(next(iter(refused.values())))
    if as_json:
        typer.echo(json.dumps(found | {part: {"problems": [why]} for part, why in refused.items()}, indent=2))
    else:
        for part, why in refused.items():
            typer.echo(f"{spec.name} {part}: {why}")
        for part, entry in found.items():
            _tell(f"{spec.name} {part}", entry)
    if refused or any(entry["problems"] for entry in found.values()):
        raise typer.Exit(1)


def _tell(name: str, look: dict[str, Any]) -> None:
    for line in look["present"]:
        typer.echo(f"{name}: {line}")
    for line in look["problems"]:
        typer.echo(f"{name}: {line}")
    for line in look["unrecognised"]:
        typer.echo(f"{name}: not recognised: {line}")
    if not look["problems"]:
        more = f"content hash {look['content_hash']}" if "content_hash" in look else "no file was decoded (--deep does)"
        typer.echo(f"{name}: complete, {look['pairs']} pairs, {more}")


def register(parent: typer.Typer) -> None:
    """Add the verb."""
    parent.add_typer(app, name="data")
