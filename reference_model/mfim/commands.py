"""``mfim-bench train mfim``: both stages, the exchange probe, and the export of weights."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mfim_bench.cli_groups import group

if TYPE_CHECKING:
    from mfim.config import Config
    from mfim.data import Faces

ConfigOption = Annotated[str, typer.Option(help="A bundled configuration, or a path ending in .toml.")]
StageOption = Annotated[str, typer.Option(help="gan (the generator alone), then swap (the encoder against it).")]
ShardsOption = Annotated[list[Path] | None, typer.Option(help="Folder of training shards; may be given again.")]
ValidationOption = Annotated[
    list[Path] | None, typer.Option(help="Folder of validation shards; none = the last identities are held out.")
]
OutOption = Annotated[Path | None, typer.Option(help="Folder of checkpoints, log, pictures and cached crops.")]
FirstOption = Annotated[
    Path | None,
    typer.Option(
        "--from",
        help="Begin from stage one's checkpoint (default: OUT/gan.pt), another stage two's, or its export.",
    ),
]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", help="Override a value, e.g. swap.weights.id=10; may be given again.")
]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group(app, "train").command("mfim")(train)


def train(
    config: ConfigOption = "virtual-64",
    stage: StageOption = "swap",
    shards: ShardsOption = None,
    validation: ValidationOption = None,
    out: OutOption = None,
    first: FirstOption = None,
    resume: Annotated[bool, typer.Option(help="Go on from OUT's checkpoint.")] = False,
    steps: Annotated[
        int | None, typer.Option(help="Stop at this step; the schedule stays the configuration's.")
    ] = None,
    minutes: Annotated[float | None, typer.Option(help="Stop after this long, with a checkpoint.")] = None,
    device: Annotated[str, typer.Option(help="auto or cpu.")] = "auto",
    threads: Annotated[int | None, typer.Option(help="CPU threads; default: torch's.")] = None,
    override: SetOption = None,
    probe: Annotated[
        str | None, typer.Option(help="exchange: measure what exchanging source codes changes; trains nothing.")
    ] = None,
    export: Annotated[
        Path | None, typer.Option(help="Write OUT/swap.pt's averaged weights here as safetensors; trains nothing.")
    ] = None,
) -> None:
    """Train MFIM: stage one (gan), then stage two (swap)."""
    from mfim import config as configs
    from mfim_bench.errors import UsageError

    settings = configs.load(config, override or ())
    if out is None:
        raise UsageError("--out is needed: the folder of checkpoints")
    if stage not in ("gan", "swap"):
        raise UsageError(f"unknown stage {stage!r}: gan or swap")
    if export is not None:
        from mfim.export import export_checkpoint

        typer.echo(export_checkpoint(out / "swap.pt", settings, export))
        return
    if not shards:
        raise UsageError("--shards is needed: the folder of training data")
    import torch

    if threads is not None:
        torch.set_num_threads(threads)
    training, held_out = _faces(settings, shards, validation or [], out)
    if probe is not None:
        if probe != "exchange":
            raise UsageError(f"unknown probe {probe!r}: exchange")
        from mfim.probe import exchange

        exchange(settings, held_out, out, stage, first or out / "gan.pt", device)
    elif stage == "gan":
        from mfim.training import gan

        gan.train(settings, training, out, steps=steps, minutes=minutes, resume=resume, device=device)
    else:
        from mfim.training import swap

        swap.train(
            settings, training, held_out, out, first or out / "gan.pt", steps=steps, minutes=minutes, resume=resume,
            device=device,
        )  # fmt: skip


def _faces(settings: Config, shards: list[Path], validation: list[Path], out: Path) -> tuple[Faces, Faces]:
    from mfim.data import prepare

    size = settings.model.size
    faces = prepare(shards, size, out / "cache")
    if validation:
        return faces, prepare(validation, size, out / "cache")
    return faces.split()
