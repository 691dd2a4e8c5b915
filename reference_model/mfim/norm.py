"""Batch norm over groups of rows, whose result does not depend on how a batch is spread over processes and passes."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class GroupedBatchNorm(nn.BatchNorm2d):
    """In training, B = n x group rows are normalised as n groups: rows b, b + n, b + 2n, ... are one.

    Running statistics wait for `settle`, which moves them once by the mean over all groups seen since.

    Attributes:
        group: rows of a group; None = all of the batch.
        shown: (3, channels) float32: sums over groups of the mean, of the unbiased variance, and of 1.
    """

    shown: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.group: int | None = None
        self.register_buffer("shown", torch.zeros(3, channels), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return super().forward(x)
        count = 1 if self.group is None else x.shape[0] // self.group
        if self.group is not None and count * self.group != x.shape[0]:
            raise ValueError(f"{x.shape[0]} rows are no whole groups of {self.group}")
        if count == 1:
            return self._one(x)
        made = torch.stack([self._one(x[k::count]) for k in range(count)], 1).flatten(0, 1)
        channels_last = x.is_contiguous(memory_format=torch.channels_last)
        return made.contiguous(memory_format=torch.channels_last) if channels_last else made

    def _one(self, x: Tensor) -> Tensor:
        """One group; a momentum of 1 leaves its own statistics."""
        mean, variance, one = torch.ones_like(self.shown).unbind(0)
        made = F.batch_norm(x, mean, variance, self.weight, self.bias, True, 1.0, self.eps)
        with torch.no_grad():
            self.shown += torch.stack([mean, variance, one])
        return made

    @torch.no_grad()
    def settle(self) -> None:
        """Move the running statistics by `momentum`, as one batch norm of one batch would."""
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        assert self.momentum is not None
        mean, variance, groups = self.shown.unbind(0)
        if not groups[0]:
            return
        self.running_mean.lerp_(mean / groups, self.momentum)
        self.running_var.lerp_(variance / groups, self.momentum)
        self.num_batches_tracked += 1
        self.shown.zero_()
