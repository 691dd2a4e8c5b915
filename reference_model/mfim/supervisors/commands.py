"""``mfim-bench train supervisor-…``; call `register` from the plugin's ``mfim_bench_commands`` hook. Imports nothing
heavy.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Annotated

import typer

from mfim_bench.cli_groups import group
from mfim_bench.errors import UsageError

Shards = Annotated[list[Path], typer.Option("--shards", help="Folder of prepared training faces; may be repeated.")]
Val = Annotated[list[Path], typer.Option("--val", help="Folder of prepared faces of other people; may be repeated.")]
Out = Annotated[Path, typer.Option("--out", help="File of weights to write (.safetensors).")]
Minutes = Annotated[float, typer.Option("--minutes", help="Wall-clock minutes in all; repeat the command to continue.")]
Seed = Annotated[int, typer.Option("--seed")]
Steps = Annotated[int | None, typer.Option("--steps", help="Stop after so many steps.")]
Fold = Annotated[str, typer.Option("--fold", help="K/N: only identities whose number leaves K when divided by N.")]
BatchSize = Annotated[int, typer.Option("--batch-size")]
Start = Annotated[Path | None, typer.Option("--start", help="File of weights of the same network to begin from.")]
Device = Annotated[str, typer.Option("--device")]
Threads = Annotated[int, typer.Option("--threads", help="CPU threads; 0 = as torch decides.")]
Loaders = Annotated[int, typer.Option("--loaders", help="Threads that cut the coming batches; 0 = between the steps.")]


def register(app: typer.Typer) -> None:
    """Add the commands to the groups ``train`` and ``judges``."""
    commands = group(app, "train")

    @group(app, "judges").command("correlate")
    def correlate(
        supervisor: Annotated[Path, typer.Argument(help="File of a 3DMM supervisor's weights.")],
        data: Annotated[
            Path | None, typer.Option("--data", help="Where the held-out renders are kept; default: the user's cache.")
        ] = None,
    ) -> None:
        """Errors of the open judges and of the supervisor that trains methods, and how they correlate."""
        need_protocols()
        from tabulate import tabulate

        from mfim.supervisors.correlate import correlate as run

        figures = run(supervisor, data)
        head = ["", "judge's error", "supervisor's error", "correlation of errors", "of their sizes"]
        units = {"shape": "shape, mm", "expression": "expression, mm", "pose": "angles, °", "pose-hn": "hopenet's, °"}
        rows = [[units[name], *row.values()] for name, row in figures.items()]
        typer.echo(tabulate(rows, head, tablefmt="github", floatfmt=".2f"))

    @commands.command("supervisor-r")
    def recogniser(
        shards: Shards, val: Val, out: Out, minutes: Minutes = 20.0, seed: Seed = 11, steps: Steps = None,
        fold: Fold = "0/1", batch_size: BatchSize = 64, device: Device = "cpu", threads: Threads = 1,
        start: Start = None, loaders: Loaders = 0,
        radius: Annotated[
            float, typer.Option(help="RMS, in [0, 1], of the perturbations that R learns to bear; 0 = none.")
        ] = 0.0,
    ) -> None:  # fmt: skip
        """R, the recogniser that training uses, on virtual people."""
        need_protocols()
        from mfim.supervisors import train
        from mfim_protocols.judges import loop

        settings = loop.Settings(
            out, minutes, steps, seed, batch_size, device=device, threads=threads or None, start=start, loaders=loaders
        )
        loop.report(train.train_recogniser(shards, val, fold, settings, radius))

    @commands.command("supervisor-face3d")
    def face3d(
        shards: Shards, val: Val, out: Out, minutes: Minutes = 20.0, seed: Seed = 12, steps: Steps = None,
        fold: Fold = "0/1", batch_size: BatchSize = 64, device: Device = "cpu", threads: Threads = 1,
        start: Start = None, loaders: Loaders = 0,
    ) -> None:  # fmt: skip
        """The 3DMM network that training uses, on virtual people."""
        need_protocols()
        from mfim.supervisors import train
        from mfim_protocols.judges import loop

        settings = loop.Settings(
            out, minutes, steps, seed, batch_size, device=device, threads=threads or None, start=start, loaders=loaders
        )
        loop.report(train.train_face3d(shards, val, fold, settings))


def need_protocols() -> None:
    """Training data are mfim-bench-protocols' virtual faces."""
    if importlib.util.find_spec("mfim_protocols") is None:
        raise UsageError("training a supervisor needs the distribution mfim-bench-protocols")
