"""``mfim-bench train mfim``: both stages, the exchange probe, import and export of weights; ``weights inspect``."""

from __future__ import annotations

import json
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
ImagesOption = Annotated[
    Path | None,
    typer.Option(help="Folder of aligned square images instead of shards, e.g. FFHQ's; nobody is in two of them."),
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
    group(app, "weights").command("inspect")(inspect)


def train(
    config: ConfigOption = "virtual-64",
    stage: StageOption = "swap",
    shards: ShardsOption = None,
    validation: ValidationOption = None,
    images: ImagesOption = None,
    out: OutOption = None,
    first: FirstOption = None,
    resume: Annotated[bool, typer.Option(help="Go on from OUT's checkpoint.")] = False,
    steps: Annotated[
        int | None, typer.Option(help="Stop at this step; the schedule stays the configuration's.")
    ] = None,
    minutes: Annotated[float | None, typer.Option(help="Stop after this long, with a checkpoint.")] = None,
    device: Annotated[str, typer.Option(help="auto or cpu.")] = "auto",
    threads: Annotated[int | None, typer.Option(help="CPU threads; default: torch's.")] = None,
    passes: Annotated[
        int, typer.Option(help="Gradient accumulation: spread a process's rows of a step over so many passes.")
    ] = 1,
    compiled: Annotated[bool, typer.Option("--compile", help="Run the networks through torch.compile.")] = False,
    override: SetOption = None,
    estimate: Annotated[
        bool, typer.Option(help="Print the memory and time that training needs; trains nothing.")
    ] = False,
    processes: Annotated[int, typer.Option(help="With --estimate: how many processes.")] = 1,
    seconds: Annotated[
        float | None, typer.Option("--seconds-per-step", help="With --estimate: as measured, for the time.")
    ] = None,
    probe: Annotated[
        str | None, typer.Option(help="exchange: measure what exchanging source codes changes; trains nothing.")
    ] = None,
    export: Annotated[
        Path | None,
        typer.Option(
            help="Write OUT/swap.pt's averaged weights here as safetensors; with --stage gan, OUT/gan.pt's generator"
            " and discriminator in rosinality's layout; trains nothing."
        ),
    ] = None,
    import_: Annotated[
        Path | None,
        typer.Option(
            "--import", help="Write a public StyleGAN2 (rosinality, NVlabs, pSp) as OUT/gan.pt; trains nothing."
        ),
    ] = None,
    encoder_body: Annotated[
        Path | None, typer.Option(help="Begin a new encoder's body from IR-SE50 or pSp's encoder; see also --import.")
    ] = None,
) -> None:
    """Train MFIM: stage one (gan), then stage two (swap)."""
    from mfim import config as configs
    from mfim_bench.errors import UsageError

    settings = configs.load(config, override or ())
    if stage not in ("gan", "swap"):
        raise UsageError(f"unknown stage {stage!r}: gan or swap")
    if estimate:
        from mfim.training.estimate import report

        typer.echo(report(settings, stage, processes, passes, seconds))
        return
    if out is None:
        raise UsageError("--out is needed: the folder of checkpoints")
    if import_ is not None and export is not None:
        raise UsageError("--import and --export are two commands: give one of them")
    if encoder_body is not None and stage != "swap":
        raise UsageError("--encoder-body begins stage two's encoder: give --stage swap")
    if encoder_body is not None and resume:
        raise UsageError("--encoder-body begins a new encoder, --resume goes on with a trained one: give one of them")
    if import_ is not None:
        from mfim.checkpoints.conversion import import_gan

        if stage != "gan":
            raise UsageError("--import writes a checkpoint of stage one: give --stage gan")
        typer.echo(import_gan(import_, settings, out))
        return
    if export is not None and stage == "gan":
        from mfim.checkpoints.conversion import export_gan

        typer.echo(export_gan(out / "gan.pt", settings, export))
        return
    if export is not None:
        from mfim.export import export_checkpoint

        typer.echo(export_checkpoint(out / "swap.pt", settings, export))
        return
    if (images is None) == (not shards):
        raise UsageError("--shards or --images is needed, one of them: the folder of training data")
    if images is not None and validation:
        raise UsageError("--validation is for --shards; of --images the last ones are held out")
    import torch

    if threads is not None:
        torch.set_num_threads(threads)
    training, held_out = _faces(settings, shards or [], validation or [], images, out, device)
    if probe is not None:
        if probe != "exchange":
            raise UsageError(f"unknown probe {probe!r}: exchange")
        from mfim.probe import exchange

        exchange(settings, held_out, out, stage, first or out / "gan.pt", device)
    elif stage == "gan":
        from mfim.training import gan

        gan.train(
            settings, training, out, steps=steps, minutes=minutes, resume=resume, device=device, passes=passes,
            compiled=compiled,
        )  # fmt: skip
    else:
        from mfim.training import swap

        swap.train(
            settings, training, held_out, out, first or out / "gan.pt", steps=steps, minutes=minutes, resume=resume,
            device=device, body=encoder_body, passes=passes, compiled=compiled,
        )  # fmt: skip


def inspect(
    file: Annotated[Path, typer.Argument(help="A public checkpoint: StyleGAN2, IR-SE50 or pSp.")],
    config: Annotated[
        str | None, typer.Option(help="Compare generator and discriminator with this configuration's sizes.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON, with every key.")] = False,
) -> None:
    """Say what a public checkpoint holds and how it differs from its layout. Exit code 1 when something does."""
    from mfim import config as configs
    from mfim.checkpoints.files import TITLES, inspection, open_checkpoint

    checkpoint = open_checkpoint(file)
    rows = inspection(checkpoint, configs.load(config).model if config else None)
    if as_json:
        found = {"file": str(file), "kind": checkpoint.kind, "networks": rows, "not read": checkpoint.rest}
        typer.echo(json.dumps(found, indent=2))
    else:
        typer.echo(f"{file}: {TITLES[checkpoint.kind]}")
        for row in rows:
            name = f"{row['part']} ({row['role']})" if row["part"] else row["role"]
            sizes = f", {row['sizes']}" if row["sizes"] else ""
            typer.echo(f"{name}: {row['keys']} keys, {row['numbers'] / 1e6:.2f} M numbers{sizes}: {row['state']}")
        for name, count in checkpoint.rest.items():
            typer.echo(f"{name}: {count} tensors, not read")
    if any(row["state"] != "complete" for row in rows):
        raise typer.Exit(1)


def _faces(
    settings: Config, shards: list[Path], validation: list[Path], images: Path | None, out: Path, device: str
) -> tuple[Faces, Faces]:
    from mfim.data import prepare
    from mfim.folders import open_folder
    from mfim.training.run import accelerator

    size = settings.model.size
    if images is not None:
        return open_folder(images, size).split()
    with accelerator(device).main_process_first():  # who cuts what the others find in the cache
        faces = prepare(shards, size, out / "cache")
        return (faces, prepare(validation, size, out / "cache")) if validation else faces.split()
