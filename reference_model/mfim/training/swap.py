"""Stage two: the encoder against the generator by the seven-term objective, the generator frozen or fine-tuned."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from mfim.augment import view
from mfim.checkpoints.conversion import load_body
from mfim.config import Config
from mfim.data import Faces, Sampler
from mfim.discriminator import Discriminator, r1_penalty
from mfim.draws import Draws
from mfim.export import load, metadata
from mfim.losses import (
    adversarial_loss,
    discriminator_loss,
    focus_weights,
    identity_loss,
    norm_loss,
    pixel_distance,
    recon_weights,
)
from mfim.model import MFIM
from mfim.norm import GroupedBatchNorm
from mfim.supervision import Supervision
from mfim.training.gan import LOG_EVERY, build
from mfim.training.guard import Guard, Validation
from mfim.training.run import (
    FORMAT,
    Ema,
    Means,
    Run,
    accelerator,
    autocast,
    compile_networks,
    learning_rate,
    picture,
    read,
    save,
)
from mfim.training.spread import Spread
from mfim_bench.errors import UsageError

MAPS = ("style_maps", "map_dividers")
"""What may differ between a checkpoint and the model that begins from it."""


def start(config: Config, first: Path, body: Path | None = None) -> tuple[MFIM, Discriminator]:
    """The networks of stage two, begun from stage one's averaged generator, its mean codes and its discriminator, or
    from what another stage two has learned (see `transfer`): its checkpoint, or its exported weights, which hold no
    discriminator, so that one begins from nothing (see ``swap.critic_first``).

    Args:
        config: of the training.
        first: the checkpoint or weights.
        body: IR-SE50 or pSp's encoder, for the body of a new encoder.

    Raises:
        UsageError: no checkpoint or weights there, or of other sizes; a body for an encoder that is trained already.
    """
    exported = first.suffix == ".safetensors"
    learned: dict[str, Tensor] | None
    if exported:
        before, learned = json.loads(metadata(first)["model"]), load(first, torch.device("cpu")).state_dict()
    else:
        state = read(first)
        if "synthesis_ema" not in state and "mfim_ema" not in state:
            raise UsageError(f"{first} is a checkpoint of neither stage")
        before, learned = json.loads(state["model"]), state.get("mfim_ema")
    now = json.loads(config.model.model_dump_json())
    if any(before[size] != now[size] for size in now if size not in MAPS):
        raise UsageError(f"{first} was made with other model sizes than configuration {config.name}")
    mapping, _, discriminator = build(config)
    torch.manual_seed(config.seed + 1)
    model = MFIM(config.model)
    if not exported:
        discriminator.load_state_dict(state["discriminator"])
    if learned is not None:
        if body is not None:
            raise UsageError(f"the encoder in {first} is trained already: --encoder-body is for a new one")
        transfer(model, learned)
    else:
        if body is not None:
            load_body(model.encoder.body, body)
        mapping.load_state_dict(state["mapping_ema"])
        model.synthesis.load_state_dict(state["synthesis_ema"])
        model.encoder.start_from(mapping.mean_codes())
    return model, discriminator


def transfer(model: MFIM, learned: dict[str, Tensor]) -> None:
    """Load the weights of a model with fewer or equal style maps; blocks that only ``model`` has stay as they are.

    Pyramid levels are counted from the coarse end, since finer style maps put a level before the others.

    Raises:
        UsageError: ``learned`` has style maps that ``model`` lacks, so something learned would be lost.
    """
    own = model.state_dict()
    prefix = "encoder.pyramid.lateral."

    def levels(names: Iterable[str]) -> int:
        return 1 + max(int(n.removeprefix(prefix).split(".")[0]) for n in names if n.startswith(prefix))

    shift = levels(own) - levels(learned)
    for name, value in learned.items():
        if name.startswith(prefix):
            level, _, rest = name.removeprefix(prefix).partition(".")
            name = f"{prefix}{int(level) + shift}.{rest}"
        if name not in own:
            raise UsageError("a training can begin from a model with fewer style maps, not with more")
        own[name].copy_(value)


def parameter_groups(model: MFIM, config: Config) -> list[dict[str, Any]]:
    """What the optimiser trains, with each group's full rate under ``full``."""
    setup = config.swap
    strengths = [p for n, p in model.synthesis.named_parameters() if n.endswith("map_strength") and p.requires_grad]
    inner = [p for n, p in model.synthesis.named_parameters() if not n.endswith("strength") and p.requires_grad]
    encoder = [p for p in model.encoder.parameters() if p.requires_grad]
    groups = [{"params": [*encoder, *strengths], "lr": setup.learning_rate, "full": setup.learning_rate}]
    if setup.generator == "finetune":
        groups.append({"params": inner, "lr": setup.generator_rate, "full": setup.generator_rate})
    else:
        for parameter in inner:
            parameter.requires_grad_(False)
    return groups


def train(
    config: Config,
    faces: Faces,
    held_out: Faces,
    out: Path,
    first: Path,
    *,
    steps: int | None = None,
    minutes: float | None = None,
    resume: bool = False,
    device: str = "auto",
    supervision: Supervision | None = None,
    body: Path | None = None,
    passes: int = 1,
    compiled: bool = False,
) -> Path:
    """Train or go on; returns the checkpoint.

    Args:
        config: of the training.
        faces, held_out: training and validation crops.
        out: folder.
        first: stage one's checkpoint, or another stage two's, or its exported weights; not read on resume.
        steps, minutes, resume: see `mfim.training.run.Run`.
        device: "auto" or "cpu".
        supervision: the supervisors; None = those the configuration names.
        body: see `start`; not read on resume.
        passes: over which a process spreads its rows of a step, to need less memory.
        compiled: with ``torch.compile``.

    Raises:
        UsageError: the batch does not divide; see also `Run.start` and `compile_networks`.
        mfim.training.guard.Collapsed: the model returns the target; the last checkpoint stays.
    """
    setup, weights = config.swap, config.swap.weights
    host = accelerator(device)
    spread = Spread.of(host, setup.batch, setup.norm_rows, passes, "swap.batch")
    run = Run("swap", config, out, steps, minutes, host)
    state = run.start(resume)
    if state is None:
        model, discriminator = start(config, first, body)
    else:
        model, discriminator = MFIM(config.model), build(config)[2]
    model.encoder.to(memory_format=torch.channels_last)
    for norm in (m for m in model.modules() if isinstance(m, GroupedBatchNorm)):
        norm.group = 2 * setup.norm_rows  # a row is a source and a target
    model, discriminator = model.to(host.device), discriminator.to(host.device)
    supervision = supervision or Supervision.load(setup, config.model.size, host.device, config.precision)
    optimiser: Optimizer = torch.optim.Adam(parameter_groups(model, config), betas=setup.betas)
    critic: Optimizer = torch.optim.Adam(discriminator.parameters(), lr=setup.discriminator_rate, betas=setup.betas)
    average = Ema(model, setup.ema_half_life, setup.batch)
    guard = Guard(setup.guard_from, setup.guard_progress, setup.guard_patience)
    parts: dict[str, Any] = {
        "mfim": model,
        "mfim_ema": average.module,
        "discriminator": discriminator,
        "optimiser": optimiser,
        "critic": critic,
    }
    step = 0
    if state is not None:
        step, guard.strikes = int(state["step"]), int(state["strikes"])
        for name, part in parts.items():
            part.load_state_dict(state[name])
    means = Means(host, state["means"] if state else None)
    if compiled:
        compile_networks(host.device, model, discriminator)

    with host.main_process_first():
        table = supervision.table(faces, out / "cache").to(host.device)
    validation = Validation.build(held_out, supervision)
    sampler = Sampler(faces.identity, config.seed, faces.onto)
    same = round(setup.same_identity * setup.batch)
    known = round((setup.same_identity + setup.true) * setup.batch)
    true = known - same

    def keep() -> None:
        sums = means.collect()
        if run.main:
            about = {
                "format": FORMAT,
                "step": step,
                "strikes": guard.strikes,
                "means": sums,
                "model": config.model.model_dump_json(),
                "config": config.model_dump_json(),
            }
            save(run.checkpoint, about | {name: part.state_dict() for name, part in parts.items()})

    def logits(images: Tensor) -> Tensor:
        with autocast(host.device, config.precision):
            result: Tensor = discriminator(images)
        return result

    def averaged(source: Tensor, target: Tensor) -> Tensor:
        made: Tensor = average.module(source, target)
        return made

    saved = step
    model.train()
    while not run.done(step):
        factor = learning_rate(step, setup.steps, setup.decay_from)
        for group in optimiser.param_groups:
            group["lr"] = group["full"] * factor
        for group in critic.param_groups:
            group["lr"] = setup.discriminator_rate * factor
        drawn = sampler.pairs(step, setup.batch, same, true)
        ramp = recon_weights(step, setup.batch, known, setup.recon_start, setup.recon_ramp)
        alone = step < setup.critic_first

        discriminator.requires_grad_(False)
        shown: list[tuple[Tensor, Tensor]] = []
        for rows in spread.passes:
            of, onto, goal = drawn.source[rows], drawn.target[rows], drawn.wanted[rows]
            source, target = faces.batch(of).to(host.device), faces.batch(onto).to(host.device)
            wanted = faces.batch(goal).to(host.device) if true else target
            with torch.set_grad_enabled(not alone), autocast(host.device, config.precision):
                swapped = model(source, target)
            shown.append((wanted, swapped.detach()))
            if alone:
                continue
            look = view(setup.views, Draws((config.seed, 2, step), rows)) if setup.views else torch.nn.Identity()
            viewed = look(swapped)
            seen, layers = supervision.look(viewed)
            seen_source = table.rows(torch.from_numpy(of).to(host.device))
            seen_target = table.rows(torch.from_numpy(onto).to(host.device))
            pixels, perceived = pixel_distance(swapped, wanted), supervision.distance(viewed, look(wanted), layers)
            weight = ramp[rows].to(host.device)
            focused = pixel_distance(swapped, wanted, focus_weights(wanted, target, setup.focus))
            terms = {
                "id": identity_loss(seen.embedding, seen_source.embedding),
                "recon": (weight * (focused + weights.lpips * perceived)).mean(),
                "adv": adversarial_loss(logits(swapped)),
                "shape": norm_loss(seen.shape, seen_source.shape),
                "pose": norm_loss(seen.pose, seen_target.pose),
                "exp": norm_loss(seen.expression, seen_target.expression),
            }
            whole = torch.stack([getattr(weights, name) * value for name, value in terms.items()]).sum()
            torch.autograd.backward(whole)
            kinds = {"same": rows < same, "true": (same <= rows) & (rows < known), "cross": known <= rows}
            means.add(terms | {"perceptual": perceived} | {f"l1_{kind}": pixels[mask] for kind, mask in kinds.items()})
        if not alone:
            spread.step(optimiser)
            means.add({"rate": torch.tensor(factor), "ramp": ramp[-1]})
        spread.settle(model)

        discriminator.requires_grad_(True)
        for wanted, swapped in shown:
            critic_loss = discriminator_loss(logits(wanted), logits(swapped))
            means.add({"discriminator": critic_loss})
            if step % setup.r1_interval == 0:
                penalty = r1_penalty(discriminator, wanted)
                critic_loss = critic_loss + penalty * (0.5 * weights.r1 * setup.r1_interval)
                means.add({"r1": penalty})
            torch.autograd.backward(critic_loss)
        spread.step(critic)

        step += 1
        average.update(model, step)
        if run.due(step, LOG_EVERY):
            run.log(step, means.take())
        if run.due(step, setup.validate_every) or step == run.last:
            values = run.first(validation.measure(averaged, supervision))
            run.log(step, {f"val_{name}": value for name, value in values.items()})
            guard.check(step, values)
        if run.main and run.due(step, config.picture_every):
            show = [x[:24].to(host.device) for x in (validation.source, validation.target)]
            with torch.no_grad():
                picture(out / f"swap-{step:06d}.png", [*show, averaged(*show)], rows=24)
        if run.due(step, config.checkpoint_every):
            keep()
            saved = step
    if saved != step or not run.checkpoint.exists():
        keep()
    run.end()
    return run.checkpoint
