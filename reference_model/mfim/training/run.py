"""What both stages share: accelerate, checkpoints by atomic rename, exact resume, the logs, the clock, EMA."""

from __future__ import annotations

import copy
import json
import os
import shutil
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import torch
from accelerate import Accelerator
from accelerate.utils import InitProcessGroupKwargs, broadcast_object_list
from torch import Tensor, nn

from mfim.config import Config
from mfim_bench.errors import UsageError

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

T = TypeVar("T")
M = TypeVar("M", bound=nn.Module)
FORMAT = 2
"""Of checkpoints. 1: averaged by a decay a step, drawn by process, without means."""
PATIENCE = timedelta(hours=12)
"""How long processes wait for one that cuts crops or fills the supervisors' table."""


def accelerator(device: str = "auto") -> Accelerator:
    """The process's accelerator. Autocast is entered by hand, since R1 and the codes must stay in float32."""
    waits = InitProcessGroupKwargs(timeout=PATIENCE)
    return Accelerator(cpu=device == "cpu", mixed_precision="no", kwargs_handlers=[waits])


def compile_networks(device: torch.device, *networks: nn.Module) -> None:
    """Let ``torch.compile`` make a network's calls faster; its weights and their names stay as they are.

    Raises:
        UsageError: there is no compiler.
    """
    if device.type == "cpu":
        wanted = os.environ.get("CXX", "g++")
        if shutil.which(wanted) is None:
            raise UsageError(f"--compile needs a C++ compiler, and there is no {wanted} (or set CXX)")
    elif not torch.utils._triton.has_triton():
        raise UsageError("--compile needs triton on a GPU: install the package triton")
    for network in networks:
        network.compile()


def autocast(device: torch.device, precision: str) -> AbstractContextManager[Any]:
    """Low precision for forward passes where the configuration asks for it."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bfloat16")


class Ema(Generic[M]):
    """An exponential moving average of a module's parameters and floating-point buffers.

    Args:
        module: copied; the copy is in evaluation mode and without gradients.
        half_life: in images: how many later a value has half its weight. At the start a twentieth of the images seen,
            if that is less, as in StyleGAN2-ADA.
        batch: images a step.
    """

    def __init__(self, module: M, half_life: float, batch: int) -> None:
        self.module: M = copy.deepcopy(module).eval().requires_grad_(False)
        self.half_life, self.batch = half_life, batch

    @torch.no_grad()
    def update(self, module: nn.Module, step: int) -> None:
        """Take in the module as it is after ``step`` steps."""
        decay = 0.5 ** (self.batch / min(self.half_life, 0.05 * self.batch * step))
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
    with partial.open("wb") as file:
        torch.save(dict(state), file)
        file.flush()
        os.fsync(file.fileno())
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
        out: folder of checkpoints (``STAGE.pt``), logs (``STAGE.jsonl``, ``tensorboard/STAGE``) and pictures.
        steps: stop at this step; None = the configuration's.
        minutes: stop after this long; None = no limit.
        host: the process's accelerator.
    """

    def __init__(
        self, stage: str, config: Config, out: Path, steps: int | None, minutes: float | None, host: Accelerator
    ) -> None:
        self.stage, self.config, self.out, self.host = stage, config, out, host
        self.main: bool = host.is_main_process
        whole: int = getattr(config, stage).steps
        self.last = whole if steps is None else min(steps, whole)
        self._until = None if minutes is None else time.monotonic() + 60.0 * minutes
        self._mark = (time.monotonic(), 0)
        self._board: SummaryWriter | None = None
        out.mkdir(parents=True, exist_ok=True)

    @property
    def checkpoint(self) -> Path:
        return self.out / f"{self.stage}.pt"

    @property
    def _lines(self) -> Path:
        return self.out / f"{self.stage}.jsonl"

    def start(self, resume: bool) -> dict[str, Any] | None:
        """The state to go on from, or None for a fresh start. What was logged after that state is forgotten.

        Raises:
            UsageError: a checkpoint exists and ``resume`` was not asked for, or it is of another configuration or of
                an older version.
        """
        state = None
        if self.checkpoint.exists():
            if not resume:
                raise UsageError(f"{self.checkpoint} exists: give --resume to go on from it, or another --out")
            state = read(self.checkpoint)
            if state.get("format") != FORMAT:
                raise UsageError(f"{self.checkpoint} was made by another version, which only it can go on from")
            if state["model"] != self.config.model.model_dump_json():
                raise UsageError(
                    f"{self.checkpoint} was made with other model sizes than configuration {self.config.name}"
                )
        if self.main:
            self._begin_logs(int(state["step"]) if state else 0)
        self.host.wait_for_everyone()  # so that nobody saves before everybody has read
        return state

    def _begin_logs(self, step: int) -> None:
        for partial in self.out.glob(f".{self.stage}*"):  # files that a kill left half written
            partial.unlink()
        if self._lines.exists():
            kept = []
            for line in self._lines.read_text().splitlines(keepends=True):
                try:
                    if json.loads(line)["step"] <= step:
                        kept.append(line)
                except ValueError:  # cut off by a kill
                    break
            partial = self._lines.with_name(f".{self._lines.name}")
            partial.write_text("".join(kept))
            partial.replace(self._lines)
        from torch.utils.tensorboard import SummaryWriter  # only a training needs it

        self._board = SummaryWriter(self.out / "tensorboard" / self.stage, purge_step=step + 1)

    def first(self, value: T) -> T:
        """The main process's value, in every process: what they must agree on."""
        if self.host.num_processes == 1:
            return value
        values = [value]
        broadcast_object_list(values)
        return values[0]

    def done(self, step: int) -> bool:
        """Whether to stop before ``step``."""
        return step >= self.last or (self._until is not None and self.first(time.monotonic() >= self._until))

    def due(self, step: int, every: int) -> bool:
        """Whether something that happens every so many steps happens after ``step`` (counted from 1)."""
        return step % every == 0

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Append one line to the log, its values to TensorBoard's, and print it short."""
        if not self.main:
            return
        now = time.monotonic()
        rows = getattr(self.config, self.stage).batch * (step - self._mark[1])
        speed = rows / max(now - self._mark[0], 1e-9) if self._mark[1] else 0.0
        self._mark = (now, step)
        record = {"stage": self.stage, "step": step, "images_per_second": round(speed, 2)} | {
            name: round(value, 6) for name, value in values.items()
        }
        with self._lines.open("a") as file:
            file.write(json.dumps(record) + "\n")
        assert self._board is not None
        for name, value in values.items():
            self._board.add_scalar(f"{self.stage}/{name}", value, step)
        self._board.flush()
        print(" ".join(f"{k}={v:.4g}" if isinstance(v, float) else f"{k}={v}" for k, v in record.items()), flush=True)

    def end(self) -> None:
        """Wait for the other processes and close the logs."""
        if self._board is not None:
            self._board.close()
        self.host.wait_for_everyone()


class Means:
    """Means, over the rows of all processes, of what a stage reports; emptied on reading.

    Args:
        host: the process's accelerator.
        sums: of a checkpoint, see `collect`.
    """

    def __init__(self, host: Accelerator, sums: Mapping[str, tuple[float, float]] | None = None) -> None:
        self._host = host
        self._sums = dict(sums or {}) if host.is_main_process else {}

    def add(self, values: Mapping[str, Tensor]) -> None:
        """Each value a tensor of any shape, maybe empty; every process must add the same names."""
        for name, value in values.items():
            total, count = self._sums.get(name, (0.0, 0.0))
            self._sums[name] = total + float(value.detach().double().sum()), count + value.numel()

    def collect(self) -> dict[str, tuple[float, float]]:
        """Sum and count of each name over all processes. All must call it; the main process keeps them."""
        if self._host.num_processes > 1:
            names = broadcast_object_list([sorted(self._sums)])[0]
            # float32 is what every accelerator sums; float64 is not.
            pairs = torch.tensor([self._sums.get(name, (0.0, 0.0)) for name in names], device=self._host.device)
            pairs = self._host.reduce(pairs.view(-1, 2), "sum").tolist()
            kept = {name: (total, count) for name, (total, count) in zip(names, pairs, strict=True)}
            self._sums = kept if self._host.is_main_process else {}
            return kept
        return dict(self._sums)

    def take(self) -> dict[str, float]:
        """The means; all processes must call it."""
        sums = self.collect()
        self._sums = {}
        return {name: total / count for name, (total, count) in sums.items() if count}


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
