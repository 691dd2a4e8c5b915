"""Stage one: mapping network and generator as a GAN, non-saturating loss with lazy R1 and style mixing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import Module
from torch.nn import functional as F
from torch.optim import Adam

from mfim.augment import augment
from mfim.config import Config
from mfim.data import Faces, Sampler
from mfim.discriminator import GROUP, Discriminator, r1_penalty
from mfim.draws import Draws
from mfim.generator import Mapping, Synthesis
from mfim.training.run import FORMAT, Ema, Means, Run, accelerator, autocast, compile_networks, picture, save
from mfim.training.spread import Spread

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
    passes: int = 1,
    compiled: bool = False,
) -> Path:
    """Train or go on; returns the checkpoint.

    Args:
        config: of the training.
        faces: training crops.
        out: folder.
        steps, minutes, resume: see `mfim.training.run.Run`.
        device: "auto" or "cpu".
        passes: over which a process spreads its rows of a step, to need less memory.
        compiled: with ``torch.compile``.

    Raises:
        UsageError: the batch does not divide; see also `Run.start` and `compile_networks`.
    """
    setup = config.gan
    host = accelerator(device)
    spread = Spread.of(host, setup.batch, GROUP, passes, "gan.batch")
    run = Run("gan", config, out, steps, minutes, host)
    mapping, synthesis, discriminator = build(config)
    for network in (mapping, synthesis, discriminator):
        network.to(host.device)
    mapping_ema = Ema(mapping, setup.ema_half_life, setup.batch)
    synthesis_ema = Ema(synthesis, setup.ema_half_life, setup.batch)
    generator_optimiser, discriminator_optimiser = optimisers(config, mapping, synthesis, discriminator)
    parts: dict[str, Any] = {
        "mapping": mapping,
        "synthesis": synthesis,
        "discriminator": discriminator,
        "mapping_ema": mapping_ema.module,
        "synthesis_ema": synthesis_ema.module,
        "generator_optimiser": generator_optimiser,
        "discriminator_optimiser": discriminator_optimiser,
    }
    step = 0
    state = run.start(resume)
    if state is not None:
        step = int(state["step"])
        for name, part in parts.items():
            part.load_state_dict(state[name])
    means = Means(host, state["means"] if state else None)
    if compiled:
        compile_networks(host.device, synthesis, discriminator)

    def keep() -> None:
        sums = means.collect()
        if run.main:
            about = {"format": FORMAT, "step": step, "model": config.model.model_dump_json(), "means": sums}
            save(run.checkpoint, about | {name: part.state_dict() for name, part in parts.items()})

    def logits(images: Tensor, draws: Draws) -> Tensor:
        with autocast(host.device, config.precision):
            result: Tensor = discriminator(augment(images, setup.augment, draws))
        return result

    sampler = Sampler(faces.identity, config.seed)
    saved = step
    while not run.done(step):
        index = sampler.images(step, setup.batch)
        draws = [Draws((config.seed, 2, step), rows, host.device) for rows in spread.passes]
        whole = np.random.default_rng((config.seed, 3, step))
        mixed = whole.random() < setup.style_mixing
        place = int(whole.integers(1, len(synthesis.codes))) if mixed else None

        discriminator.requires_grad_(False)
        fakes = []
        for drawn in draws:
            z, other = drawn.normal(2, config.model.z_size).unbind(1)
            with autocast(host.device, config.precision):
                fake = synthesis(mapping(z, other if mixed else None, place), noise=synthesis.noise(drawn))
            generator_loss = F.softplus(-logits(fake, drawn))
            torch.autograd.backward(generator_loss.mean())
            means.add({"generator": generator_loss})
            fakes.append(fake.detach())
        spread.step(generator_optimiser)

        discriminator.requires_grad_(True)
        for rows, fake, drawn in zip(spread.passes, fakes, draws, strict=True):
            real = faces.batch(index[rows]).to(host.device)
            on_fake, on_real = logits(fake, drawn), logits(real, drawn)
            losses = F.softplus(on_fake) + F.softplus(-on_real)
            loss = losses.mean()
            means.add({"discriminator": losses, "logit_real": on_real, "logit_fake": on_fake})
            if step % setup.r1_interval == 0:
                penalty = r1_penalty(discriminator, augment(real, setup.augment, drawn))
                loss = loss + penalty * (0.5 * setup.r1_gamma * setup.r1_interval)
                means.add({"r1": penalty})
            torch.autograd.backward(loss)
        spread.step(discriminator_optimiser)

        step += 1
        mapping_ema.update(mapping, step)
        synthesis_ema.update(synthesis, step)
        if run.due(step, LOG_EVERY):
            run.log(step, means.take())
        if run.main and run.due(step, config.picture_every):
            picture(out / f"gan-{step:06d}.png", sample(mapping_ema.module, synthesis_ema.module, 48, config.seed))
        if run.due(step, config.checkpoint_every):
            keep()
            saved = step
    if saved != step or not run.checkpoint.exists():
        keep()
    run.end()
    return run.checkpoint


@torch.no_grad()
def sample(mapping: Mapping, synthesis: Synthesis, count: int, seed: int) -> list[Tensor]:
    """Images of fixed latents, in eight columns of (count / 8, 3, S, S)."""
    draws = Draws((seed, 4), range(count), next(mapping.parameters()).device)
    images: Tensor = synthesis(mapping(draws.normal(mapping.z_size)), noise=synthesis.noise(draws))
    return list(images.view(8, count // 8, *images.shape[1:]))
