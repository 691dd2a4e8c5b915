"""The training loop of all small networks here: cosine schedule over wall-clock minutes, EMA, checkpoints that
resume.
"""

from __future__ import annotations

import copy
import json
import math
import sys
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mfim_bench import weights
from mfim_bench.errors import UsageError
from mfim_protocols.judges.data import Faces

Batch = dict[str, Tensor]
CHECKPOINT_EVERY = 60.0


@dataclass(frozen=True)
class Settings:
    """Of one training run.

    Attributes:
        out: file of weights to write; the checkpoint lies beside it until the run is done.
        minutes: of wall-clock time in all, over every resume.
        steps: stop after so many steps, whatever the time; None = the time decides.
        start: file of weights of the same network to begin from; None = untrained.
        seed, batch, rate (peak learning rate), decay (weight decay), device, threads (None = leave as they are).
        loaders: threads that cut the coming batches; 0 = between the steps, best where the CPU also trains.
    """

    out: Path
    minutes: float
    steps: int | None = None
    seed: int = 0
    batch: int = 64
    rate: float = 1.5e-3
    decay: float = 0.02
    device: str = "cpu"
    threads: int | None = 1
    start: Path | None = None
    loaders: int = 0

    @property
    def checkpoint(self) -> Path:
        return self.out.with_name(self.out.name + ".checkpoint")


@dataclass
class Outcome:
    """The averaged network, steps and seconds spent, mean losses of the first five steps and of about the last twenty.

    Tasks may add terms on the way; then the two do not compare.
    """

    network: nn.Module
    steps: int
    seconds: float
    first_loss: float
    last_loss: float


def average(ema: nn.Module, model: nn.Module, step: int) -> None:
    """Exponential moving average of the weights; its memory grows with the run, to 500 steps. Statistics are copied."""
    keep = min(0.998, (1 + step) / (10 + step))
    with torch.no_grad():
        torch._foreach_lerp_(list(ema.parameters()), list(model.parameters()), 1 - keep)
        for kept, now in zip(ema.buffers(), model.buffers(), strict=True):
            kept.copy_(now)


def rate_at(progress: float) -> float:
    """Share of the peak learning rate: up within the first 3 %, then a cosine down to 1 %."""
    return min(progress / 0.03 + 1e-3, 1.0) * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(progress, 1.0))))


def train(
    model: nn.Module,
    batch: Callable[[np.random.Generator, int], Batch],
    loss: Callable[[nn.Module, Batch, float], Tensor],
    settings: Settings,
) -> Outcome:
    """Train; continue from the checkpoint if there is one.

    Args:
        model: trained in place, bf16 autocast, channels_last.
        batch: (random generator, size) -> tensors on the CPU.
        loss: (model, batch, progress 0…1) -> scalar.
    """
    if settings.threads:
        torch.set_num_threads(settings.threads)
    device = torch.device(settings.device)
    torch.manual_seed(settings.seed)
    model.to(device, memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    ema = copy.deepcopy(model)
    matrices = [p for p in model.parameters() if p.ndim > 1]
    others = [p for p in model.parameters() if p.ndim <= 1]
    optimiser = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": settings.decay}, {"params": others, "weight_decay": 0.0}],
        lr=settings.rate,
        fused=True,
    )
    step, spent, first, last = 0, 0.0, math.nan, math.nan
    if settings.checkpoint.is_file():
        state = torch.load(settings.checkpoint, map_location=device, weights_only=True)
        model.load_state_dict(state["model"])
        ema.load_state_dict(state["ema"])
        optimiser.load_state_dict(state["optimiser"])
        step, spent, first, last = state["step"], state["spent"], state["first"], state["last"]
        print(f"resumed at step {step}, {spent / 60:.1f} min", file=sys.stderr, flush=True)

    def drawn(number: int) -> Batch:
        return batch(np.random.default_rng([settings.seed, number]), settings.batch)

    # Batches are drawn by the step's number, so a run that was cut off sees what it would have seen.
    pool = ThreadPoolExecutor(settings.loaders) if settings.loaders else None
    coming = deque(pool.submit(drawn, step + k) for k in range(2 * settings.loaders)) if pool else None

    def next_batch() -> Batch:
        if pool is None or coming is None:
            return drawn(step)
        coming.append(pool.submit(drawn, step + len(coming)))
        return coming.popleft().result()

    def save() -> None:
        settings.checkpoint.parent.mkdir(parents=True, exist_ok=True)
        part = settings.checkpoint.with_name(settings.checkpoint.name + ".part")
        torch.save(
            {
                "model": model.state_dict(),
                "ema": ema.state_dict(),
                "optimiser": optimiser.state_dict(),
                "step": step,
                "spent": spent,
                "first": first,
                "last": last,
            },
            part,
        )
        part.replace(settings.checkpoint)

    saved = told = time.monotonic()
    while True:
        progress = spent / (60 * settings.minutes) if settings.minutes else 1.0
        if settings.steps is not None:
            progress = max(progress if settings.minutes else 0.0, step / settings.steps)
        if progress >= 1:
            break
        begun = time.monotonic()
        for group in optimiser.param_groups:
            group["lr"] = settings.rate * rate_at(progress)
        data = {k: v.to(device, non_blocking=True) for k, v in next_batch().items()}
        value = loss(model, data, progress)
        optimiser.zero_grad(set_to_none=True)
        value.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimiser.step()
        step += 1
        average(ema, model, step)
        # The first steps stand for the start; then a running mean.
        now = float(value.detach())
        first = now if math.isnan(first) else (first * (step - 1) + now) / step if step <= 5 else first
        last = now if math.isnan(last) else 0.95 * last + 0.05 * now
        if not math.isfinite(now):
            raise FloatingPointError(f"the loss is {now} at step {step}")
        clock = time.monotonic()
        spent += clock - begun
        if clock - told > 20:
            told = clock
            speed = step * settings.batch / spent
            print(
                f"{spent / 60:5.1f} min  step {step}  loss {last:.4f}  {speed:.0f} img/s", file=sys.stderr, flush=True
            )
        if clock - saved > CHECKPOINT_EVERY:
            saved = clock
            save()
    if pool is not None:
        pool.shutdown(cancel_futures=True)
    save()
    return Outcome(ema.eval(), step, spent, first, last)


def begin(network: nn.Module, start: Path | None) -> None:
    """Take what was learned from the file ``start``: the whole backbone, other layers where their sizes are ours.

    A fit's priors come from the training faces, not from the file.

    Raises:
        UsageError: no such file, or it holds another backbone.
    """
    if start is None:
        return
    if not start.is_file():
        raise UsageError(f"no file {start} to start from")
    ours = {k: v for k, v in network.state_dict().items() if "fit." not in k}
    theirs = {k: v for k, v in weights.load(start).items() if "fit." not in k}
    taken, left = {}, []
    for name, value in ours.items():
        other = theirs.get(name)
        if other is not None and other.shape == value.shape:
            taken[name] = other
        elif "backbone" in name or not theirs:
            raise UsageError(f"{start} holds another network: {name} is missing or of other sizes")
        else:
            left.append(name)
    network.load_state_dict(taken, strict=False)
    if left:
        print(f"not in {start.name}, or of other sizes: {', '.join(left)}", file=sys.stderr)


def autocast(device: torch.device) -> torch.autocast:
    """bf16 where the processor has instructions for it: twice the speed; where they are missing it can be ten times
    slower.
    """
    fast = device.type != "cpu" or torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()
    return torch.autocast(device.type, torch.bfloat16, enabled=fast)


def images_of(crops: list[NDArray[np.uint8]]) -> Tensor:
    """List of (S, S, 3) uint8 -> (B, 3, S, S) float32 in [0, 1], channels_last in memory."""
    return torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2).float().div_(255)


def summary(faces: Faces, fold: str, settings: Settings, outcome: Outcome) -> dict[str, object]:
    """What every file says about its run."""
    return {
        "trained_on": {"images": len(faces), "identities": faces.identities, "fold": fold, "seed": settings.seed},
        "run": {"minutes": round(outcome.seconds / 60, 2), "steps": outcome.steps, "batch": settings.batch},
        "loss": {"first": round(outcome.first_loss, 4), "last": round(outcome.last_loss, 4)},
    }


def report(figures: dict[str, object]) -> None:
    """The figures of a run as JSON on stdout."""
    print(json.dumps(figures, indent=2), flush=True)
