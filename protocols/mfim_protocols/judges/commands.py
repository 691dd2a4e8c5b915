"""``mfim-bench train judge-…``; call `register` from the plugin's ``mfim_bench_commands`` hook. Imports nothing
heavy.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mfim_bench.cli_groups import group

Shards = Annotated[list[Path], typer.Option("--shards", help="Folder of prepared training faces; may be repeated.")]
Val = Annotated[
    list[Path], typer.Option("--val", help="Folder of prepared faces of other identities; may be repeated.")
]
Out = Annotated[Path, typer.Option("--out", help="File of weights to write (.safetensors).")]
Minutes = Annotated[float, typer.Option("--minutes", help="Wall-clock minutes in all; repeat the command to continue.")]
Seed = Annotated[int, typer.Option("--seed")]
Steps = Annotated[int | None, typer.Option("--steps", help="Stop after so many steps.")]
Fold = Annotated[str, typer.Option("--fold", help="K/N: only identities whose number leaves K when divided by N.")]
BatchSize = Annotated[int, typer.Option("--batch-size")]
Start = Annotated[Path | None, typer.Option("--start", help="File of weights of the same network to begin from.")]
Device = Annotated[str, typer.Option("--device")]
Threads = Annotated[int, typer.Option("--threads", help="CPU threads; 0 = as torch decides.")]


def register(app: typer.Typer) -> None:
    """Add the commands to the ``train`` group."""
    train = group(app, "train")

    @train.command("judge-face3d")
    def face3d(
        shards: Shards, val: Val, out: Out, minutes: Minutes = 20.0, seed: Seed = 1, steps: Steps = None,
        fold: Fold = "0/1", batch_size: BatchSize = 64, device: Device = "cpu", threads: Threads = 1,
        start: Start = None,
    ) -> None:  # fmt: skip
        """The open 3DMM judge (shape, expression, pose), on virtual faces."""
        from mfim_protocols.judges import face3d, loop

        settings = loop.Settings(
            out, minutes, steps, seed, batch_size, device=device, threads=threads or None, start=start
        )
        loop.report(face3d.train(shards, val, fold, settings))

    @train.command("judge-hopenet")
    def hopenet(
        shards: Shards, val: Val, out: Out, minutes: Minutes = 20.0, seed: Seed = 2, steps: Steps = None,
        fold: Fold = "0/1", batch_size: BatchSize = 64, device: Device = "cpu", threads: Threads = 1,
        start: Start = None,
    ) -> None:  # fmt: skip
        """The open HopeNet (head pose in degrees), on virtual faces."""
        from mfim_protocols.judges import hopenet, loop

        settings = loop.Settings(
            out, minutes, steps, seed, batch_size, device=device, threads=threads or None, start=start
        )
        loop.report(hopenet.train(shards, val, fold, settings))
