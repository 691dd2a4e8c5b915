"""``mfim-bench weights``: what the catalogue holds, where the files are, whether they are whole."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from mfim_bench import weights
from mfim_bench.cli.listing import table
from mfim_bench.errors import UsageError
from mfim_bench.plugins import registry

app = typer.Typer(help="The weights catalogue: list, path, verify, add.", no_args_is_help=True)


@app.command("list")
def list_(as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False) -> None:
    """List the catalogue and say what is here; hashes are not checked."""
    rows: list[dict[str, Any]] = []
    for name, spec in sorted(registry().weights.items()):
        try:
            file = weights.locate(spec)
        except UsageError:
            file = None
        here = file is not None and file.is_file()
        size = f"{file.stat().st_size / 1e6:.1f} MB" if file is not None and here else ""
        state = "present" if here else "absent"
        rows.append(
            {"name": name, "size": size, "state": state, "licence": spec.licence, "sha256": spec.sha256}
            | {"path": str(file or ""), "summary": spec.summary, "layout": spec.layout, "from": spec.url}
        )
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
    else:
        typer.echo(table(rows, ("name", "state", "size", "licence", "summary", "from")))
        typer.echo("Absent ones: get the file from its owner's page, then: mfim-bench weights add NAME FILE")


@app.command("path")
def path_(name: Annotated[str, typer.Argument(help="Entry of the catalogue.")]) -> None:
    """Print where a file is, its hash checked."""
    typer.echo(weights.path(name))


@app.command()
def verify(
    names: Annotated[list[str] | None, typer.Argument(help="Entries; none = all that are here.")] = None,
) -> None:
    """Check sha256 of files. Exit code 1 when one is wrong, or a named one is missing."""
    catalogue = registry().weights
    bad = False
    for name in names or sorted(catalogue):
        spec = catalogue.named(name)
        if not names and not spec.package and not weights.locate(spec).is_file():
            typer.echo(f"absent  {name}")
            continue
        trouble = weights.problem(spec)
        bad |= bool(trouble)
        if trouble:
            typer.echo(f"BAD     {trouble}")
        else:
            file = weights.locate(spec)
            known = spec.sha256 or weights.recorded(file)
            typer.echo(f"{'ok' if known else 'no hash known':7} {name}  {weights.sha256(file)}")
    if bad:
        raise typer.Exit(1)


@app.command()
def add(
    name: Annotated[str, typer.Argument(help="Entry of the catalogue.")],
    file: Annotated[Path, typer.Argument(help="Your copy of the file.")],
) -> None:
    """Copy a file of yours into the cache, once its hash, layout and golden output are checked."""
    added = weights.add(name, file)
    typer.echo(f"added  {name}: {added.path}")
    typer.echo(f"sha256 {added.sha256}")
    if added.golden:
        known = "agrees with the catalogue" if registry().weights[name].golden else "none is known to compare with"
        numbers = " ".join(f"{number:.4f}" for number in added.golden)
        typer.echo(f"golden {numbers}  hash {weights.golden_hash(added.golden)}  ({known})")


def register(parent: typer.Typer) -> None:
    """Add the verbs."""
    parent.add_typer(app, name="weights")
