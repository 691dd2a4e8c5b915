"""Groups of commands that several plugins add to, e.g. ``mfim-bench train …``."""

from __future__ import annotations

import typer

HELP = {
    "train": "Train a network.",
    "judges": "Measure the open judges again, and look at what they see.",
    "bench": "Measure speed.",
}


def group(app: typer.Typer, name: str) -> typer.Typer:
    """The sub-application ``name`` of ``app``: the one some plugin already added, else a new one.

    Args:
        app: the application handed to the hook ``mfim_bench_commands``.
        name: of the group, e.g. ``"train"``.
    """
    for known in app.registered_groups:
        if known.name == name and isinstance(known.typer_instance, typer.Typer):
            return known.typer_instance
    added = typer.Typer(no_args_is_help=True, help=HELP.get(name))
    app.add_typer(added, name=name)
    return added
