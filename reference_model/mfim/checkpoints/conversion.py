"""Moves public weights into our networks and our generator into rosinality's layout."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mfim.checkpoints import irse, stylegan2
from mfim.checkpoints.files import ENCODER, RECOGNISER, Network, open_checkpoint
from mfim.checkpoints.layout import Entry, convert, restore
from mfim.checkpoints.stylegan2 import ROSINALITY, Sizes
from mfim.config import Config, ModelConfig
from mfim.encoder import Body
from mfim.training.gan import build, optimisers
from mfim.training.run import FORMAT, read, save
from mfim_bench.errors import UsageError


def import_gan(file: Path, config: Config, out: Path) -> str:
    """Write a public StyleGAN2 as stage one's checkpoint ``OUT/gan.pt``, from which stage two, and stage one, go on.

    The averaged generator (``g_ema``, ``G_ema``, pSp's ``decoder``) is needed. The trained one and the discriminator
    are taken where the file has them, else the averaged one and a new discriminator stand there.

    Returns:
        What was read, in one line.

    Raises:
        UsageError: a file that is refused or does not fit, or OUT has a checkpoint already.
    """
    goal = out / "gan.pt"
    if goal.exists():
        raise UsageError(f"{goal} exists: give another --out")
    checkpoint = open_checkpoint(file)
    averaged = checkpoint.network("g_ema", "G_ema", "decoder")
    if averaged is None:
        raise UsageError(f"{file} holds no averaged generator (g_ema, G_ema or pSp's decoder)")
    trained = checkpoint.network("g", "G") or averaged
    critic = checkpoint.network("d", "D")

    mapping, synthesis, discriminator = build(config)
    networks = nn.ModuleDict({"mapping": mapping, "synthesis": synthesis})
    wanted = _generator_sizes(config.model)
    states = [
        convert(network.tensors, _checked(file, network, wanted, config.name), networks.state_dict())
        for network in (averaged, trained)
    ]
    if critic is not None:
        layout = _checked(file, critic, Sizes.discriminator(config.model), config.name)
        discriminator.load_state_dict(convert(critic.tensors, layout, discriminator.state_dict()))
    generator_optimiser, discriminator_optimiser = optimisers(config, mapping, synthesis, discriminator)
    content: dict[str, Any] = {
        "format": FORMAT,
        "step": 0,
        "means": {},
        "model": config.model.model_dump_json(),
        "imported": file.name,
    }
    for suffix, state in zip(("_ema", ""), states, strict=True):
        for part in ("mapping", "synthesis"):
            content[part + suffix] = {
                k.removeprefix(f"{part}."): v for k, v in state.items() if k.startswith(f"{part}.")
            }
    save(
        goal,
        content
        | {
            "discriminator": discriminator.state_dict(),
            "generator_optimiser": generator_optimiser.state_dict(),
            "discriminator_optimiser": discriminator_optimiser.state_dict(),
        },
    )
    also = f" and discriminator {critic.part}" if critic else "; it has no discriminator, so a new one begins"
    return f"{goal}: generator {averaged.part} of {file} ({averaged.sizes}){also}"


def export_gan(checkpoint: Path, config: Config, path: Path) -> str:
    """Write stage one's averaged generator and its discriminator in rosinality's layout, ``{"g_ema", "d",
    "latent_avg"}``. Noise images, which our generator lacks, are drawn from a fixed seed.

    Returns:
        One line: file, size, and with what arguments their class fits.

    Raises:
        UsageError: no such checkpoint, or one of stage two, which keeps no mapping network.
    """
    state = read(checkpoint)
    if "mapping_ema" not in state:
        raise UsageError(f"{checkpoint} is no checkpoint of stage one, so it has no mapping network to export")
    config = config.model_copy(update={"model": ModelConfig.model_validate_json(state["model"])})
    mapping, _, _ = build(config)
    mapping.load_state_dict(state["mapping_ema"])
    ours = {f"{part}.{k}": v for part in ("mapping", "synthesis") for k, v in state[f"{part}_ema"].items()}
    sizes, critic = _generator_sizes(config.model), Sizes.discriminator(config.model)
    random = torch.Generator().manual_seed(config.seed)

    def noise(entry: Entry) -> Tensor:
        return torch.randn(entry.shape, generator=random)

    content = {
        "g_ema": restore(ours, stylegan2.generator(ROSINALITY, sizes), noise),
        "d": restore(state["discriminator"], stylegan2.discriminator(ROSINALITY, critic), noise),
        "latent_avg": mapping.mean_latent(),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}-{os.getpid()}")
    torch.save(content, partial)
    partial.replace(path)
    factor = next((k for k in (1, 2) if sizes.same(Sizes(sizes.size, 16384 * k, 512, sizes.latent, sizes.layers))), 0)
    fits = f"channel_multiplier={factor}" if factor else f"channels {list(sizes.channels)}, not its own"
    return (
        f"{path}: {path.stat().st_size / 1e6:.2f} MB, for rosinality's Generator({sizes.size}, {sizes.latent},"
        f" {sizes.layers}) with {fits}"
    )


def load_body(body: Body, file: Path) -> None:
    """Fill an encoder's body from IR-SE50 or from pSp's encoder, strictly.

    Raises:
        UsageError: a file that is refused or does not fit, or a body of other sizes.
    """
    checkpoint = open_checkpoint(file)
    network = next((n for n in checkpoint.networks if n.role in (RECOGNISER, ENCODER)), None)
    if network is None:
        raise UsageError(f"{file} holds no IR-SE50 and no encoder of pSp, but {checkpoint.kind}")
    layout = _checked(file, network)
    own = body.state_dict()
    if {entry.name: entry.shape for entry in irse.body()} != {name: tuple(v.shape) for name, v in own.items()}:
        raise UsageError(f"{file} is an IR-SE50, but the configuration's body has other widths or units")
    body.load_state_dict(convert(network.tensors, [e for e in layout if e.ours in own], own))


def load_recogniser(file: Path, device: torch.device) -> irse.Recogniser:
    """IR-SE50 as the recogniser R: evaluation mode, without gradients of its weights.

    Raises:
        UsageError: a file that is refused, does not fit, or is no whole IR-SE50.
    """
    checkpoint = open_checkpoint(file)
    network = checkpoint.network("")
    if network is None:
        raise UsageError(f"{file} holds no IR-SE50, but {checkpoint.kind}")
    module = irse.Recogniser()
    own = module.network
    own.load_state_dict(convert(network.tensors, _checked(file, network), own.state_dict()))
    return module.eval().requires_grad_(False).to(device)


def _generator_sizes(config: ModelConfig) -> Sizes:
    if config.z_size != config.w_size:
        raise UsageError(f"the public layouts have z and w of one size, not {config.z_size} and {config.w_size}")
    return Sizes.generator(config)


def _checked(file: Path, network: Network, wanted: Sizes | None = None, name: str = "") -> list[Entry]:
    """The network's layout, once its tensors fit it.

    Raises:
        UsageError: they do not, or it is not of the sizes ``wanted`` by configuration ``name``.
    """
    label = f"{network.part} of {file}" if network.part else str(file)
    if wanted is not None:
        if network.sizes is None:
            raise UsageError(f"{label} is no {network.role} of StyleGAN2; {network.difference(wanted)}")
        if not network.sizes.same(wanted):
            raise UsageError(f"{label} is a {network.role} of {network.sizes}; configuration {name} has {wanted}")
    layout = network.layout(wanted)
    if difference := network.difference(wanted):
        raise UsageError(f"{label} does not fit its layout; {difference}")
    return layout
