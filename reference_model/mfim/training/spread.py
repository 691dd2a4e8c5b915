"""A step's batch over processes and passes, such that one process in one pass would take the same step.

A pass is a forward and backward run over some rows whose gradients add up to the step's. Gradients are averaged once a
step by hand, not by DistributedDataParallel: passes, R1's double backward, compiled networks and blocks without a
gradient then need nothing special.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from accelerate import Accelerator
from numpy.typing import NDArray
from torch import Tensor, nn

from mfim.norm import GroupedBatchNorm
from mfim_bench.errors import UsageError

BUCKET = 2**24
"""Numbers that travel between processes together."""


def share(batch: int, group: int, processes: int, passes: int, name: str) -> int:
    """Rows of a pass.

    Raises:
        UsageError: they would be no whole groups.
    """
    parts = processes * passes
    if parts < 1 or batch % (parts * group):
        raise UsageError(
            f"{name} = {batch} cannot be spread: {processes} process(es) x {passes} pass(es) x whole groups of {group}"
            f" rows need a multiple of {max(parts, 1) * group}"
        )
    return batch // parts


@dataclass(frozen=True, slots=True)
class Spread:
    """Which rows of the batch this process takes, and how results come together.

    Attributes:
        host: the process's accelerator.
        passes: the rows of each pass; equally many in each, in each process.
    """

    host: Accelerator
    passes: list[NDArray[np.int64]]

    @classmethod
    def of(cls, host: Accelerator, batch: int, group: int, passes: int, name: str) -> Spread:
        """Spread ``batch`` rows so that groups stay whole.

        Networks with minibatch statistics take rows b, b + n, b + 2n, ... of B = n x group together; of those rows that
        a pass gets, they take the same ones together.

        Args:
            host: the process's accelerator.
            batch: rows of a step over all processes.
            group: rows whose statistics are taken together.
            passes: of a process and step.
            name: of the batch's key, for the message.

        Raises:
            UsageError: the batch does not divide.
        """
        processes = host.num_processes
        share(batch, group, processes, passes, name)
        rows = np.arange(batch).reshape(group, processes * passes, -1)
        return cls(host, [rows[:, k * processes + host.process_index].reshape(-1) for k in range(passes)])

    def average(self, tensors: Iterable[Tensor]) -> None:
        """Make tensors, alike in shape in every process, their means over the processes, in place."""
        if self.host.num_processes == 1:
            return
        bucket: list[Tensor] = []
        for tensor in (*tensors, None):
            if bucket and (tensor is None or sum(t.numel() for t in bucket) + tensor.numel() > BUCKET):
                mean = self.host.reduce(torch.cat([t.flatten() for t in bucket]), "mean")
                for whole, part in zip(bucket, mean.split([t.numel() for t in bucket]), strict=True):
                    whole.copy_(part.view(whole.shape))
                bucket = []
            if tensor is not None:
                bucket.append(tensor)

    def step(self, optimiser: torch.optim.Optimizer) -> None:
        """Take an optimiser's step by the gradients of all passes and processes, and forget these."""
        gradients = [p.grad for group in optimiser.param_groups for p in group["params"] if p.grad is not None]
        if len(self.passes) > 1:
            torch._foreach_div_(gradients, len(self.passes))
        self.average(gradients)
        optimiser.step()
        optimiser.zero_grad()

    @torch.no_grad()
    def settle(self, network: nn.Module) -> None:
        """Move the running statistics of a network's batch norms by what all groups of the step have shown."""
        norms = [m for m in network.modules() if isinstance(m, GroupedBatchNorm)]
        self.average([norm.shown for norm in norms])
        for norm in norms:
            norm.settle()
