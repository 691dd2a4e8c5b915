"""``mfim-bench bench scoring``: what the harness costs beside its networks."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

import typer

from mfim_bench.cli.run import (
    DataOption,
    DeviceOption,
    JsonOption,
    MeasuresOption,
    ProtocolOption,
    SplitOption,
    WorkersOption,
    listed,
)
from mfim_bench.cli_groups import group


def scoring(
    protocol: ProtocolOption = "virtual-faces",
    method: Annotated[str, typer.Option("--method", "-m", help="Whose swaps are scored.")] = "target-copy@128",
    split: SplitOption = "validation",
    data: DataOption = None,
    measures: MeasuresOption = "",
    limit: Annotated[int, typer.Option("--limit", help="Pairs.", min=1)] = 24,
    rounds: Annotated[int, typer.Option("--rounds", help="The median of so many counts.", min=1)] = 3,
    device: DeviceOption = "cpu",
    workers: WorkersOption = None,
    as_json: JsonOption = False,
) -> None:
    """Images a second through the whole scoring path, and through the forward passes of its networks alone.

    Everything is timed in one process, by turns, on the same images; the swaps are made first and not timed.
    """
    from mfim_bench.bench.settings import RunSettings
    from mfim_bench.bench.speed import scoring_speed
    from mfim_bench.plugins import registry

    settings = RunSettings(
        method, protocol, split=split, data=data, measures=listed(measures), limit=limit, device=device, workers=workers
    )
    speed = scoring_speed(settings, registry(), rounds)
    if as_json:
        typer.echo(json.dumps({**asdict(speed), "cost": speed.cost}, indent=2))
        return
    typer.echo(
        f"{speed.images} images, {speed.passes} forward passes, {speed.workers} threads, median of {rounds} rounds"
    )
    for name, seconds in (
        ("whole scoring path", speed.scoring),
        ("detector and judges, images in memory", speed.judging),
        ("forward passes, tensors in memory", speed.networks),
    ):
        typer.echo(f"{name:38} {speed.images / seconds:7.2f} images/s")
    typer.echo(f"beside its networks, scoring takes {100 * speed.cost:.1f} % more time")


def register(app: typer.Typer) -> None:
    """Add the verb."""
    group(app, "bench").command()(scoring)
