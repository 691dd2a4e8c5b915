"""Random numbers a row: what a row draws depends on the training's seed, the step and the row's number alone.

So it does not matter which process a row is on, or which rows go through the networks with it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from torch import Tensor

CPU = torch.device("cpu")


class Draws:
    """A source of random numbers for each row; every call goes on where the last one stopped.

    Args:
        key: whole numbers that say what is drawn: seed, purpose, step.
        rows: B numbers of rows in the whole batch.
        device: where the numbers are drawn. A CPU and a GPU draw different ones.
    """

    def __init__(self, key: Sequence[int], rows: Iterable[int], device: torch.device = CPU) -> None:
        self.device = device
        seeds = [np.random.SeedSequence((*key, int(row))).generate_state(1, np.uint64)[0] for row in rows]
        self._rows = [torch.Generator(device).manual_seed(int(seed >> np.uint64(1))) for seed in seeds]

    def __len__(self) -> int:
        return len(self._rows)

    def normal(self, *shape: int) -> Tensor:
        """(B, *shape) float32 of the standard normal distribution."""
        return torch.stack([torch.randn(shape, generator=row, device=self.device) for row in self._rows])

    def uniform(self, *shape: int) -> Tensor:
        """(B, *shape) float32 in [0, 1)."""
        return torch.stack([torch.rand(shape, generator=row, device=self.device) for row in self._rows])

    def integers(self, end: int, *shape: int) -> Tensor:
        """(B, *shape) int64 from 0 to ``end`` - 1."""
        return torch.stack([torch.randint(0, end, shape, generator=row, device=self.device) for row in self._rows])
