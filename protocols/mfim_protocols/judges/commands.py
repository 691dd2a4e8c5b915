"""``mfim-bench train judge-…``; call `register` from the plugin's ``mfim_bench_commands`` hook. Imports nothing
heavy.
"""

from __future__ import annotations

from collections.abc import Callable
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
Loaders = Annotated[int, typer.Option("--loaders", help="Threads that cut the coming batches; 0 = between the steps.")]


Data = Annotated[
    Path | None, typer.Option("--data", help="Where the held-out renders are kept; default: the user's cache.")
]
Weights = Annotated[Path | None, typer.Option("--weights", help="A file of weights in place of those that ship.")]
Workers = Annotated[int, typer.Option(min=1, help="Processes that render, about 1 GB of memory each.")]
Figures = Annotated[Path | None, typer.Option("--out", help="Also write the figures to this file (.json).")]


def register(app: typer.Typer) -> None:
    """Add the commands to the groups ``train`` and ``judges``."""
    _register_measuring(group(app, "judges"))
    train = group(app, "train")

    @train.command("judge-face3d")
    def face3d(
        shards: Shards, val: Val, out: Out, minutes: Minutes = 20.0, seed: Seed = 1, steps: Steps = None,
        fold: Fold = "0/1", batch_size: BatchSize = 64, device: Device = "cpu", threads: Threads = 1,
        start: Start = None, loaders: Loaders = 0,
    ) -> None:  # fmt: skip
        """The open 3DMM judge (shape, expression, pose), on virtual faces."""
        from mfim_protocols.judges import face3d, loop

        settings = loop.Settings(
            out, minutes, steps, seed, batch_size, device=device, threads=threads or None, start=start, loaders=loaders
        )
        loop.report(face3d.train(shards, val, fold, settings))

    @train.command("judge-hopenet")
    def hopenet(
        shards: Shards, val: Val, out: Out, minutes: Minutes = 20.0, seed: Seed = 2, steps: Steps = None,
        fold: Fold = "0/1", batch_size: BatchSize = 64, device: Device = "cpu", threads: Threads = 1,
        start: Start = None, loaders: Loaders = 0,
    ) -> None:  # fmt: skip
        """The open HopeNet (head pose in degrees), on virtual faces."""
        from mfim_protocols.judges import hopenet, loop

        settings = loop.Settings(
            out, minutes, steps, seed, batch_size, device=device, threads=threads or None, start=start, loaders=loaders
        )
        loop.report(hopenet.train(shards, val, fold, settings))

    @train.command("judge-recogniser")
    def recogniser(
        shards: Shards, val: Val, out: Out, minutes: Minutes = 20.0, seed: Seed = 3, steps: Steps = None,
        fold: Fold = "0/1", batch_size: BatchSize = 128, device: Device = "cpu", threads: Threads = 1,
        start: Start = None, loaders: Loaders = 0,
    ) -> None:  # fmt: skip
        """The open recogniser (identity), on virtual faces."""
        from mfim_protocols.judges import loop, recogniser

        settings = loop.Settings(
            out, minutes, steps, seed, batch_size, device=device, threads=threads or None, start=start, loaders=loaders
        )
        loop.report(recogniser.train(shards, val, fold, settings))


def _register_measuring(judges: typer.Typer) -> None:
    @judges.command("measure")
    def measure(
        name: Annotated[str, typer.Argument(help="face3d, hopenet or recogniser.")],
        data: Data = None, weights: Weights = None, out: Figures = None, workers: Workers = 2,
        check: Annotated[bool, typer.Option("--check", help="Exit with 1 where the card says otherwise.")] = False,
    ) -> None:  # fmt: skip
        """Measure a judge from nothing: render 200 people no training has seen, 5 times each; about 15 minutes."""
        from mfim_protocols.judges import cards, measure

        figures = measure.measure(name, measure.open_judge(name, weights), data, workers)
        if name == "face3d":
            figures["ceiling"] = measure.ceiling(data)
        _finish(name, measure.rounded(figures), out, cards.markdown, check)

    @judges.command("floors")
    def floors(
        data: Data = None, out: Figures = None,
        check: Annotated[bool, typer.Option("--check", help="Exit with 1 where the card says otherwise.")] = False,
    ) -> None:  # fmt: skip
        """What light, background, hair and camera alone do to each measure, beside random pairs; a few minutes."""
        from mfim_protocols.judges import cards, measure

        _finish("floors", measure.rounded(measure.floors(data)), out, cards.markdown, check)

    @judges.command("card")
    def card(name: Annotated[str, typer.Argument(help="face3d, hopenet, recogniser or floors.")]) -> None:
        """The table of a card, as Markdown."""
        from mfim_protocols.judges import cards

        typer.echo(cards.markdown(name, cards.load(name)))

    @judges.command("overlay")
    def overlay(
        photos: Annotated[list[Path], typer.Argument(help="Photographs; the largest face of each is fitted.")],
        out: Annotated[Path, typer.Option(help="PNG to write.")] = Path("overlay.png"),
        weights: Weights = None,
    ) -> None:
        """Draw the fitted vertices over photographs, with the angles of both open judges."""
        from mfim_protocols.judges import overlay

        for line in overlay.draw(photos, out, weights):
            typer.echo(line)
        typer.echo(str(out))


def _finish(
    name: str,
    figures: dict[str, dict[str, float]],
    out: Path | None,
    markdown: Callable[[str, dict[str, dict[str, float]]], str],
    check: bool,
) -> None:
    import json

    from mfim_protocols.judges import cards, measure

    typer.echo(markdown(name, figures))
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps(figures, indent=1) + "\n")
    if check:
        wrong = measure.differences(figures, cards.load(name))
        for line in wrong:
            typer.echo(line, err=True)
        typer.echo(f"{len(wrong)} figures differ from the card" if wrong else "every figure agrees with the card")
        if wrong:
            raise typer.Exit(1)
