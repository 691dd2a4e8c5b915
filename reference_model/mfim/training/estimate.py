"""What a training needs: memory counted on tensors that hold no data, time from a measured step.

Activations are what autograd keeps for the backward pass, each storage once, of the step's three phases: the
generator's or model's, the discriminator's, and R1's double backward. Not counted: workspaces of convolutions,
gradients of activations while they pass, what an allocator wastes, and the tables of the supervisors.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from tabulate import tabulate
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.autograd.graph import saved_tensors_hooks
from torch.nn import functional as F

from mfim.config import Config
from mfim.discriminator import GROUP, r1_penalty
from mfim.draws import CPU
from mfim.losses import pixel_distance
from mfim.model import MFIM
from mfim.supervision import Supervision
from mfim.training.gan import build
from mfim.training.run import autocast
from mfim.training.spread import BUCKET, share
from mfim.training.swap import parameter_groups
from mfim_bench.errors import UsageError

FLOAT = 4
"""Bytes of float32, in which weights, gradients and Adam's state are kept."""
ROOM = 1.25
"""Factor on the sum for what is not counted [own choice]."""


@dataclass
class Kept:
    """Counts the storages that autograd keeps, but for those of ``apart``: parameters and inputs, counted elsewhere."""

    apart: list[Tensor]
    storages: dict[int, torch.UntypedStorage] = field(default_factory=dict)

    def __call__(self, tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        self.storages[storage._cdata] = storage
        return tensor

    @property
    def bytes(self) -> int:
        """Of all of them."""
        others = {tensor.untyped_storage()._cdata for tensor in self.apart}
        return sum(storage.nbytes() for key, storage in self.storages.items() if key not in others)


def kept(work: Callable[[], object], networks: list[nn.Module]) -> int:
    """Bytes that autograd keeps while ``work`` runs."""
    counter = Kept([t for network in networks for t in (*network.parameters(), *network.buffers())])
    with saved_tensors_hooks(counter, lambda tensor: tensor):
        result = work()
    del result
    return counter.bytes


@dataclass(frozen=True, slots=True)
class Estimate:
    """Of one stage, a process.

    Attributes:
        rows: of a pass.
        weights: numbers of the trained networks: model (or mapping and generator), discriminator.
        trained: of these, numbers that the optimisers move.
        phases: bytes that autograd keeps in each phase.
    """

    rows: int
    weights: tuple[int, int]
    trained: tuple[int, int]
    phases: dict[str, int]

    def table(self, processes: int) -> list[tuple[str, int]]:
        """Lines of (what, bytes), the last two their largest sum and that with room."""
        lines = [
            ("weights", sum(self.weights) * FLOAT),
            ("averaged copy", self.weights[0] * FLOAT),
            ("Adam's averages", 2 * sum(self.trained) * FLOAT),
        ]
        if processes > 1:
            lines.append(("exchange between processes", 3 * BUCKET * FLOAT))
        always = sum(amount for _, amount in lines)
        peaks = []
        for name, amount in self.phases.items():
            gradients = self.trained[name != "model"] * FLOAT
            lines += [(f"{name}: gradients", gradients), (f"{name}: activations", amount)]
            peaks.append(always + gradients + amount)
        return [*lines, ("largest sum", max(peaks)), (f"x {ROOM}", int(ROOM * max(peaks)))]


def estimate(
    config: Config, stage: str, processes: int = 1, passes: int = 1, supervision: Supervision | None = None
) -> Estimate:
    """Count one stage.

    Args:
        config: of the training.
        stage: gan or swap.
        processes, passes: over which the batch is spread.
        supervision: the supervisors on the CPU; None = they are not counted.

    Raises:
        UsageError: the batch does not divide.
    """
    setup = config.gan if stage == "gan" else config.swap
    group = GROUP if stage == "gan" else config.swap.norm_rows
    rows = share(setup.batch, group, processes, passes, f"{stage}.batch")
    # Real weights of the supervisors may meet tensors without data.
    with FakeTensorMode(allow_non_fake_inputs=True):
        return _count(config, stage, rows, supervision)


def _count(config: Config, stage: str, rows: int, supervision: Supervision | None) -> Estimate:
    mapping, synthesis, discriminator = build(config)
    size = config.model.size
    real = torch.zeros(rows, 3, size, size)
    swapper = MFIM(config.model).train()
    parameter_groups(swapper, config)  # says what is trained
    model = nn.ModuleList([mapping, synthesis]) if stage == "gan" else swapper
    z = torch.zeros(rows, config.model.z_size)
    sides = {index: code.resolution for index, code in enumerate(synthesis.codes) if code.kind != "rgb"}
    noise = {index: torch.zeros(rows, 1, side, side) for index, side in sides.items()}
    apart: list[nn.Module] = [model, discriminator]
    if supervision is not None:
        apart += [supervision.recogniser, supervision.face3d]

    def draw() -> object:
        with autocast(CPU, config.precision):
            if stage == "gan":
                return discriminator(synthesis(mapping(z), noise=noise))
            swapped = swapper(real, real)
            judged = discriminator(swapped)
        if supervision is None:
            return judged, pixel_distance(swapped, real)
        seen, layers = supervision.look(swapped)
        return judged, seen, pixel_distance(swapped, real), supervision.distance(swapped, real, layers)

    def judge() -> object:
        with autocast(CPU, config.precision):
            return F.softplus(discriminator(real)), F.softplus(discriminator(real))

    discriminator.requires_grad_(False)
    phases = {"model": kept(draw, apart)}
    discriminator.requires_grad_(True)
    phases["discriminator"] = kept(judge, apart)
    phases["R1"] = phases["discriminator"] + kept(lambda: r1_penalty(discriminator, real), apart)
    numbers = [[p.numel() for p in n.parameters()] for n in (model, discriminator)]
    moved = [[p.numel() for p in n.parameters() if p.requires_grad] for n in (model, discriminator)]
    return Estimate(rows, (sum(numbers[0]), sum(numbers[1])), (sum(moved[0]), sum(moved[1])), phases)


def report(config: Config, stage: str, processes: int, passes: int, seconds: float | None) -> str:
    """The table that ``train mfim --estimate`` prints.

    Args:
        config, stage, processes, passes: see `estimate`.
        seconds: of a step, measured; None = no time is told.

    Raises:
        UsageError: the batch does not divide.
    """
    supervision, note = None, ""
    if stage == "swap":
        try:
            supervision = Supervision.load(config.swap, config.model.size, CPU, config.precision)
        except UsageError as error:
            note = f"\nSupervisors and perceptual distance are not counted: {error}"
    found = estimate(config, stage, processes, passes, supervision)
    setup = config.gan if stage == "gan" else config.swap
    model = "mapping network and generator" if stage == "gan" else "encoder and generator"
    head = (
        f"{config.name}, stage {stage}: {setup.batch} rows a step over {processes} process(es) x {passes} pass(es):"
        f" {found.rows} rows a pass\n{model} {found.weights[0] / 1e6:.1f} M numbers, discriminator"
        f" {found.weights[1] / 1e6:.1f} M\n"
    )
    lines = [(what, f"{amount / 2**30:.2f}") for what, amount in found.table(processes)]
    table = tabulate(lines, ["a process", "GiB"], disable_numparse=True, colalign=("left", "right"))
    if seconds is None:
        time = f"{setup.steps} steps; give --seconds-per-step for the time"
    else:
        hours = setup.steps * seconds / 3600
        time = f"{setup.steps} steps of {seconds:g} s: {hours:.1f} hours ({hours / 24:.1f} days)"
    return f"{head}\n{table}\n\n{time}{note}"
