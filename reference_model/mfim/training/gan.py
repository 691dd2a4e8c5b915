"""Stage one: mapping network and generator as a GAN, non-saturating loss with lazy R1 and style mixing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import Module
from torch.nn import functional as F
from torch.optim import Adam

from mfim.augment import augment
from mfim.config import Config
from mfim.data import Faces, Sampler
from mfim.discriminator import Discriminator, r1_penalty
from mfim.generator import Mapping, Synthesis
from mfim.training.run import Ema, Means, Run, accelerator, autocast, picture, save

LOG_EVERY = 50


def build(config: Config) -> tuple[Mapping, Synthesis, Discriminator]:
    """The three networks of the stage, freshly initialised from the configuration's seed."""
    size = config.model
    torch.manual_seed(config.seed)
    synthesis = Synthesis(size.size, size.channel_base, size.channel_limit)
    synthesis.use(noise=True)
    mapping = Mapping(synthesis.codes, size.z_size, size.w_size, size.mapping_layers)
    return mapping, synthesis, Discriminator(size.size, size.discriminator_base, size.channel_limit)


def optimisers(config: Config, mapping: Module, synthesis: Module, discriminator: Module) -> tuple[Adam, Adam]:
    """Of the generator with its mapping network, and of the discriminator."""
    setup = config.gan
    generator = [*mapping.parameters(), *synthesis.parameters()]
    return (
        Adam(generator, lr=setup.learning_rate, betas=setup.betas),
        Adam(discriminator.parameters(), lr=setup.discriminator_rate, betas=setup.betas),
    )


def train(
    config: Config,
    faces: Faces,
    out: Path,
    *,
    steps: int | None = None,
    minutes: float | None = None,
    resume: bool = False,
    device: str = "auto",
) -> Path:
    """Train or go on; returns the checkpoint.

    Args:
        config: of the training.
        faces: training crops.
        out: folder.
        steps, minutes, resume: see `mfim.training.run.Run`.
        device: "auto" or "cpu".
    """
    setup = config.gan
    host = accelerator(device)
    run = Run("gan", config, out, steps, minutes, host.is_main_process)
    mapping, synthesis, discriminator = build(config)
    generator_optimiser, discriminator_optimiser = optimisers(config, mapping, synthesis, discriminator)
    prepared = host.prepare(mapping, synthesis, discriminator, generator_optimiser, discriminator_optimiser)
    mapping, synthesis, discriminator, generator_optimiser, discriminator_optimiser = prepared
    plain = [host.unwrap_model(network) for network in (mapping, synthesis, discriminator)]
    averages = [Ema(plain[0], setup.ema), Ema(plain[1], setup.ema)]

    step = 0
    state = run.start(resume)
    if state is not None:
        step = int(state["step"])
        for network, name in zip(plain, ("mapping", "synthesis", "discriminator"), strict=True):
            network.load_state_dict(state[name])
        averages[0].module.load_state_dict(state["mapping_ema"])
        averages[1].module.load_state_dict(state["synthesis_ema"])
        generator_optimiser.load_state_dict(state["generator_optimiser"])
        discriminator_optimiser.load_state_dict(state["discriminator_optimiser"])

    def snapshot() -> dict[str, Any]:
        return {
            "step": step,
            "model": config.model.model_dump_json(),
            "mapping": plain[0].state_dict(),
            "synthesis": plain[1].state_dict(),
            "discriminator": plain[2].state_dict(),
            "mapping_ema": averages[0].module.state_dict(),
            "synthesis_ema": averages[1].module.state_dict(),
            "generator_optimiser": generator_optimiser.state_dict(),
            "discriminator_optimiser": discriminator_optimiser.state_dict(),
        }

    def logits(images: Tensor, random: torch.Generator) -> Tensor:
        with autocast(host.device, config.precision):
            result: Tensor = discriminator(augment(images, setup.augment, random))
        return result

    sampler = Sampler(faces.identity, config.seed, host.process_index)
    means = Means()
    saved = step
    while not run.done(step):
        random = sampler.torch_generator(step, 0)
        real = faces.batch(sampler.images(step, setup.batch)).to(host.device)
        z = torch.randn(2, setup.batch, config.model.z_size, generator=random).to(host.device)
        mixed = bool(torch.rand((), generator=random) < setup.style_mixing)
        place = int(torch.randint(1, len(plain[1].codes), (), generator=random)) if mixed else None

        plain[2].requires_grad_(False)
        with autocast(host.device, config.precision):
            fake = synthesis(mapping(z[0], z[1] if mixed else None, place), noise=random)
        generator_loss = F.softplus(-logits(fake, random)).mean()
        host.backward(generator_loss)
        generator_optimiser.step()
        generator_optimiser.zero_grad()

        plain[2].requires_grad_(True)
        on_fake, on_real = logits(fake.detach(), random), logits(real, random)
        loss = F.softplus(on_fake).mean() + F.softplus(-on_real).mean()
        means.add({"generator": generator_loss.detach(), "discriminator": loss.detach()})
        means.add({"logit_real": on_real.detach().mean(), "logit_fake": on_fake.detach().mean()})
        if step % setup.r1_interval == 0:
            penalty = r1_penalty(discriminator, augment(real[: setup.r1_rows], setup.augment, random))
            loss = loss + penalty * (0.5 * setup.r1_gamma * setup.r1_interval)
            means.add({"r1": penalty.detach()})
        host.backward(loss)
        discriminator_optimiser.step()
        discriminator_optimiser.zero_grad()

        step += 1
        for average, network in zip(averages, plain, strict=False):
            average.update(network, step)
        if run.due(step, LOG_EVERY):
            run.log(step, means.take())
        if run.main and run.due(step, config.picture_every):
            picture(out / f"gan-{step:06d}.png", sample(averages[0].module, averages[1].module, 48, config.seed))
        if run.main and run.due(step, config.checkpoint_every):
            save(run.checkpoint, snapshot())
            saved = step
    if run.main and (saved != step or not run.checkpoint.exists()):
        save(run.checkpoint, snapshot())
    host.wait_for_everyone()
    return run.checkpoint


@torch.no_grad()
def sample(mapping: torch.nn.Module, synthesis: torch.nn.Module, count: int, seed: int) -> list[Tensor]:
    """Images of fixed latents, in eight columns of (count / 8, 3, S, S)."""
    z_size = int(mapping.z_size)  # type: ignore[arg-type]
    random = torch.Generator().manual_seed(seed)
    z = torch.randn(count, z_size, generator=random)
    z = z.to(next(mapping.parameters()).device)
    images: Tensor = synthesis(mapping(z), noise=random)
    return list(images.view(8, count // 8, *images.shape[1:]))
