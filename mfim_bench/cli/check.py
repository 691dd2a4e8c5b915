"""``mfim-bench check``: does a method keep its contract."""

from __future__ import annotations

import dataclasses
import json
from typing import Annotated

import typer


def check(
    method: Annotated[
        str, typer.Option("--method", "-m", help="NAME, NAME@SIZE, NAME:FILE, file.py:function, cmd:… or dir:PATH.")
    ],
    device: Annotated[str, typer.Option("--device", help="auto, cpu, cuda or cuda:N.")] = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="The findings as JSON.")] = False,
) -> None:
    """Try a method on tiny inputs: shape, dtype, range, NaN, row independence, determinism. Exit code 1 = fails."""
    from mfim_bench.plugins import registry

    known = registry()
    spec = known.method(method)
    from mfim_bench.bench.runner import resolve_device
    from mfim_bench.check import check as ask

    findings = ask(spec, known, resolve_device(device)[0])
    failed = sum(finding.state == "FAIL" for finding in findings)
    if as_json:
        typer.echo(json.dumps([dataclasses.asdict(finding) for finding in findings], indent=2))
    else:
        typer.echo(f"{spec.name} {spec.version}")
        for finding in findings:
            typer.echo(f"  {finding.state:4}  {finding.question:16}  {finding.detail}")
        typer.echo(f"{failed} of {len(findings)} checks failed" if failed else "keeps the contract")
    if failed:
        raise typer.Exit(1)


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command()(check)
