"""``mfim-bench bench model``. Imports nothing heavy."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mfim_bench.cli_groups import group

if TYPE_CHECKING:
    from mfim.speed.measure import Row

KINDS = ("forward", "swap", "step")


def register(app: typer.Typer) -> None:
    """Add the command."""
    group(app, "bench").command("model")(model)


def model(
    what: Annotated[
        list[str] | None, typer.Option(help="forward, swap or step; may be given again; default: all three.")
    ] = None,
    size: Annotated[
        list[int] | None,
        typer.Option(help="Side in pixels; may be given again; default: 64 to 1024, and to 256 for step."),
    ] = None,
    batch: Annotated[int, typer.Option(help="Rows of a training step.", min=2)] = 2,
    repeats: Annotated[int, typer.Option(help="Timed turns of each; the table has their median.", min=1)] = 5,
    rosinality: Annotated[
        Path | None, typer.Option(help="A checkout of rosinality/stylegan2-pytorch to compare with.")
    ] = None,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    threads: Annotated[int | None, typer.Option(help="CPU threads; default: torch's.", min=1)] = None,
    markdown: Annotated[bool, typer.Option(help="Print the table as Markdown.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON: every time in seconds.")] = False,
) -> None:
    """Time generator, swap and training step, beside rosinality's StyleGAN2 and the machine's matrix product.

    Exit code 1 when the two generators' images differ.
    """
    from mfim_bench.errors import UsageError

    if unknown := set(what or ()) - set(KINDS):
        raise UsageError(f"unknown --what {min(unknown)!r}: {', '.join(KINDS)}")
    if wrong := [side for side in size or () if side not in (64, 128, 256, 512, 1024)]:
        raise UsageError(f"--size {wrong[0]}: 64, 128, 256, 512 or 1024")
    import torch

    from mfim.speed import measure, table
    from mfim.speed.rosinality import WHERE, load

    if device not in ("cpu", "cuda"):
        raise UsageError(f"unknown device {device!r}: cpu or cuda")
    if device == "cuda" and not torch.cuda.is_available():
        raise UsageError("torch sees no CUDA device")
    if threads is not None:
        torch.set_num_threads(threads)
    # float32 as it is named, for both.
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    where = torch.device(device)
    theirs = None if rosinality is None else load(rosinality, where)
    report = table.Report.begin(where)
    rows: list[Row] = []
    for kind in what or KINDS:
        for side in size or (64, 128, 256, *(() if kind == "step" else (512, 1024))):
            if kind == "forward":
                rows.append(measure.forward(side, where, repeats, theirs))
            elif kind == "swap":
                rows.append(measure.swap(side, where, repeats))
            else:
                rows.append(measure.step(side, batch, where, repeats, theirs))
            typer.echo(f"{kind} at {side} px: {rows[-1].ours.median:.3g} s", err=True)
    report.end()
    typer.echo(report.json(rows) if as_json else report.text(rows, markdown=markdown))
    if theirs is None and not as_json:
        typer.echo(f"\nNot compared: --rosinality names no checkout of {WHERE}.")
    if any(row.difference is not None and not row.difference <= measure.TOLERANCE for row in rows):
        typer.echo(f"The images differ by more than {measure.TOLERANCE:g}: the times do not compare.", err=True)
        raise typer.Exit(1)
