"""``mfim-bench list``: what is installed."""

from __future__ import annotations

import dataclasses
import enum
import json
from typing import Annotated, Any

import typer

from mfim_bench.errors import UsageError
from mfim_bench.plugins import Catalogue, plugins, registry


class Kind(enum.StrEnum):
    """What can be listed."""

    methods = "methods"
    protocols = "protocols"
    measures = "measures"
    weights = "weights"
    plugins = "plugins"


_COLUMNS: dict[Kind, tuple[str, ...]] = {
    Kind.methods: ("name", "size", "template", "licence", "summary", "origin"),
    Kind.protocols: ("name", "default", "splits", "data_required", "licence", "summary", "origin"),
    Kind.measures: ("name", "compares", "unit", "default", "audit", "card", "summary", "origin"),
    Kind.weights: ("name", "where", "licence", "summary", "origin"),
    Kind.plugins: ("name", "hooks", "state", "origin"),
}


def list_(
    kind: Annotated[Kind, typer.Argument(help="What to list.")],
    as_json: Annotated[bool, typer.Option("--json", help="Everything known, as JSON.")] = False,
) -> None:
    """List what the installed plugins bring."""
    rows = plugin_rows() if kind is Kind.plugins else spec_rows(getattr(registry(), kind.value))
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
    else:
        typer.echo(table(rows, _COLUMNS[kind]) if rows else f"no {kind.value} are installed")


def spec_rows(catalogue: Catalogue[Any]) -> list[dict[str, Any]]:
    """One dict a spec, with its origin, sorted by name."""
    rows = []
    for name in sorted(catalogue):
        row = {**dataclasses.asdict(catalogue[name]), "origin": catalogue.origins[name]}
        if "package" in row:
            row["where"] = f"in {row['package'].partition(':')[0]}" if row["package"] else "to be added"
        rows.append(row)
    return rows


def plugin_rows() -> list[dict[str, Any]]:
    """Loaded and failed plugins. Works even when names collide, so that one can see who brings what."""
    source = plugins()
    try:
        registry()  # asks every hook, so that plugins that fail then are known too
    except UsageError as error:
        typer.echo(f"warning: {error}", err=True)
    failed = {(failure.name, failure.origin): failure.error for failure in source.failures}
    rows = [
        {
            "name": p.name,
            "hooks": list(p.hooks),
            "state": _state(failed.pop((p.name, p.origin), "")),
            "origin": p.origin,
        }
        for p in source.loaded
    ]
    rows += [{"name": n, "hooks": [], "state": _state(e), "origin": o} for (n, o), e in failed.items()]
    return rows


def _state(error: str) -> str:
    return f"failed: {error}" if error else "loaded"


def table(rows: list[dict[str, Any]], columns: tuple[str, ...]) -> str:
    """A plain table of some columns; sequences are joined by commas, the size 0 reads "any"."""
    from tabulate import tabulate

    def cell(column: str, value: Any) -> str:
        if isinstance(value, bool):
            return "yes" if value else ""
        if column == "size" and value == 0:
            return "any"
        return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)

    return tabulate(
        [[cell(c, row[c]) for c in columns] for row in rows], [c.replace("_", " ") for c in columns], "simple"
    )


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("list")(list_)
