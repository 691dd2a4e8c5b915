"""The hooks a plugin may implement. Each returns light specs; nothing heavy is imported to list them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pluggy

from mfim_bench.measure import MeasureSpec
from mfim_bench.method import MethodSpec
from mfim_bench.protocol import ProtocolSpec
from mfim_bench.weights import WeightsSpec

if TYPE_CHECKING:
    import typer

PROJECT = "mfim_bench"
hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def mfim_bench_methods() -> Sequence[MethodSpec]:  # type: ignore[empty-body]
    """The methods this plugin brings."""


@hookspec
def mfim_bench_protocols() -> Sequence[ProtocolSpec]:  # type: ignore[empty-body]
    """The protocols this plugin brings."""


@hookspec
def mfim_bench_measures() -> Sequence[MeasureSpec]:  # type: ignore[empty-body]
    """The measures this plugin brings, each with its judge."""


@hookspec
def mfim_bench_weights() -> Sequence[WeightsSpec]:  # type: ignore[empty-body]
    """Entries of the weights catalogue this plugin brings."""


@hookspec
def mfim_bench_commands(app: typer.Typer) -> None:
    """Add commands to the command line, e.g. ``@app.command()`` functions or ``app.add_typer(...)``."""
