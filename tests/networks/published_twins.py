"""Weights of any layout, random and the same everywhere: each tensor is a function of its key and shape alone."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable

import torch
from torch import Tensor


def tensor(name: str, shape: tuple[int, ...]) -> Tensor:
    """Values that keep a deep network's activations near one."""
    seed = int(hashlib.sha256(name.encode()).hexdigest()[:8], 16)
    random = torch.Generator().manual_seed(seed)
    if name.endswith("num_batches_tracked"):
        return torch.tensor(1)
    if name.endswith("running_var"):
        return torch.rand(shape, generator=random) + 0.5
    if name.endswith("running_mean"):
        return 0.1 * torch.randn(shape, generator=random)
    if len(shape) == 1:
        return (1.0 if name.endswith("weight") else 0.0) + 0.1 * torch.randn(shape, generator=random)
    return torch.randn(shape, generator=random) / math.sqrt(math.prod(shape[1:]))


def twin(layout: Iterable[tuple[str, tuple[int, ...]]]) -> dict[str, Tensor]:
    """A state dict of the layout."""
    return {name: tensor(name, shape) for name, shape in layout}


def resnet50(prefix: str = "") -> list[tuple[str, tuple[int, ...]]]:
    """torchvision's layout without the last layer, written out."""

    def norm(name: str, width: int) -> list[tuple[str, tuple[int, ...]]]:
        vectors = ("weight", "bias", "running_mean", "running_var")
        return [*((f"{name}.{part}", (width,)) for part in vectors), (f"{name}.num_batches_tracked", ())]

    layout = [("conv1.weight", (64, 3, 7, 7)), *norm("bn1", 64)]
    inputs = 64
    for stage, (blocks, width) in enumerate(((3, 64), (4, 128), (6, 256), (3, 512)), 1):
        for block in range(blocks):
            name = f"layer{stage}.{block}"
            sides = ((1, width, inputs, 1), (2, width, width, 3), (3, 4 * width, width, 1))
            for number, outputs, ins, side in sides:
                layout += [
                    (f"{name}.conv{number}.weight", (outputs, ins, side, side)),
                    *norm(f"{name}.bn{number}", outputs),
                ]
            if block == 0:
                layout += [(f"{name}.downsample.0.weight", (4 * width, inputs, 1, 1))]
                layout += norm(f"{name}.downsample.1", 4 * width)
            inputs = 4 * width
    return [(prefix + name, shape) for name, shape in layout]
