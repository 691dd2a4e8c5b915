"""What both stages share: accelerate, checkpoints by atomic rename, exact resume, the log, the clock, EMA."""

from __future__ import annotations

import copy
import json
import os
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedDataParallelKwargs
from torch import Tensor, nn

from mfim.config import Config
from mfim_bench.errors import UsageError


def accelerator(device: str = "auto") -> Accelerator:
    """The process's accelerator. Autocast is entered by hand, since R1 and the codes must stay in float32."""
    # Every buffer is either averaged apart (EMA) or a batch norm's, which may differ between processes.
    distributed = DistributedDataParallelKwargs(broadcast_buffers=False)
    return Accelerator(cpu=device == "cpu", mixed_precision="no", kwargs_handlers=[distributed])


def autocast(device: torch.device, precision: str) -> AbstractContextManager[Any]:
    """Low precision for forward passes where the configuration asks for it."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bfloat16")


class Ema:
    """An exponential moving average of a module's parameters and floating-point buffers.

    Args:
        module: copied; the copy is in evaluation mode and without gradients.
        decay: at full length; at step t the smaller (1 + t) / (10 + t) holds.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.module = copy.deepcopy(module).eval().requires_grad_(False)
        self.decay = decay

    @torch.no_grad()
    def update(self, module: nn.Module, step: int) -> None:
        decay = min(self.decay, (1 + step) / (10 + step))
        new = module.state_dict()
        for name, old in self.module.state_dict().items():
            if old.dtype.is_floating_point:
                old.lerp_(new[name], 1.0 - decay)
            else:
                old.copy_(new[name])


def save(path: Path, state: Mapping[str, Any]) -> None:
    """Write a checkpoint by atomic rename: a stop at any moment leaves the last whole one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}-{os.getpid()}")
    torch.save(dict(state), partial)
    partial.replace(path)


def read(path: Path) -> dict[str, Any]:
    """Read a checkpoint; tensors and plain values only.

    Raises:
        UsageError: there is none, or it is no checkpoint of ours.
    """
    if not path.is_file():
        raise UsageError(f"no checkpoint: {path}")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise UsageError(f"not a readable checkpoint: {path}") from error
    if not isinstance(state, dict) or "step" not in state:
        raise UsageError(f"not a checkpoint of mfim: {path}")
    return state


class Run:
    """One stage's loop: knows when to stop, save and draw.

    Args:
        stage: "gan" or "swap"; names the files.
        config: of the training.
        out: folder of checkpoints (``STAGE.pt``), log (``STAGE.jsonl``) and pictures.
        steps: stop at this step; None = the configuration's.
        minutes: stop after this long in this process; None = no limit.
        main: whether this process writes.
    """

    def __init__(
        self, stage: str, config: Config, out: Path, steps: int | None, minutes: float | None, main: bool
    ) -> None:
        self.stage, self.config, self.out, self.main = stage, config, out, main
        whole: int = getattr(config, stage).steps
        self.last = whole if steps is None else min(steps, whole)
        self._until = None if minutes is None else time.monotonic() + 60.0 * minutes
        self._mark = (time.monotonic(), 0)
        out.mkdir(parents=True, exist_ok=True)

    @property
    def checkpoint(self) -> Path:
        return self.out / f"{self.stage}.pt"

    def start(self, resume: bool) -> dict[str, Any] | None:
        """The state to go on from, or None for a fresh start.

        Raises:
            UsageError: a checkpoint exists and ``resume`` was not asked for, or it is of another configuration.
        """
        if not self.checkpoint.exists():
            return None
        if not resume:
            raise UsageError(f"{self.checkpoint} exists: give --resume to go on from it, or another --out")
        state = read(self.checkpoint)
        if state["model"] != self.config.model.model_dump_json():
            raise UsageError(f"{self.checkpoint} was made with other model sizes than configuration {self.config.name}")
        return state

    def done(self, step: int) -> bool:
        """Whether to stop before ``step``."""
        return step >= self.last or (self._until is not None and time.monotonic() >= self._until)

    def due(self, step: int, every: int) -> bool:
        """Whether something that happens every so many steps happens after ``step`` (counted from 1)."""
        return step % every == 0

    def log(self, step: int, values: Mapping[str, float | str]) -> None:
        """Append one line to the log and print it short."""
        if not self.main:
            return
        now = time.monotonic()
        rows = getattr(self.config, self.stage).batch * (step - self._mark[1])
        speed = rows / max(now - self._mark[0], 1e-9) if self._mark[1] else 0.0
        self._mark = (now, step)
        record = {"stage": self.stage, "step": step, "images_per_second": round(speed, 2)} | {
            k: round(v, 6) if isinstance(v, float) else v for k, v in values.items()
        }
        with (self.out / f"{self.stage}.jsonl").open("a") as file:
            file.write(json.dumps(record) + "\n")
        print(" ".join(f"{k}={v:.4g}" if isinstance(v, float) else f"{k}={v}" for k, v in record.items()), flush=True)


class Means:
    """Running means of what a stage reports, emptied on reading."""

    def __init__(self) -> None:
        self._sums: dict[str, list[float]] = {}

    def add(self, values: Mapping[str, Tensor | float]) -> None:
        for name, value in values.items():
            self._sums.setdefault(name, []).append(float(value))

    def take(self) -> dict[str, float]:
        means = {name: sum(values) / len(values) for name, values in self._sums.items()}
        self._sums.clear()
        return means


def picture(path: Path, columns: list[Tensor], rows: int = 8) -> None:
    """Write a grid, one column a tensor (B, 3, S, S) in [-1, 1], atomically; rows past a full line are left out."""
    from mfim_bench.media.images import write_image

    stacked = torch.stack([c[:rows].float().cpu() for c in columns], 1)
    across = max(1, 8 // len(columns))
    stacked = stacked[: len(stacked) // across * across]
    count, _, _, height, width = stacked.shape
    # (down, across, columns, 3, H, W) to (down, H, across, columns, W, 3)
    grid = stacked.view(count // across, across, len(columns), 3, height, width).permute(0, 4, 1, 2, 5, 3)
    pixels = grid.reshape(count // across * height, across * len(columns) * width, 3)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_image(path, ((pixels.clamp(-1, 1) + 1) * 127.5).round().byte().numpy(), {"Software": "mfim-bench train mfim"})


def learning_rate(step: int, steps: int, decay_from: float) -> float:
    """Factor on the rates: 1, then falling linearly to a tenth from ``decay_from`` of the stage on."""
    place = step / steps
    return 1.0 if place <= decay_from else 1.0 - 0.9 * (place - decay_from) / max(1.0 - decay_from, 1e-9)
