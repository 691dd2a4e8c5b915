"""Weights and inputs that anybody can make again from names and shapes, so that golden files hold only outputs."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

ROSINALITY = {"size": 64, "channel_multiplier": 1, "latent": 512, "layers": 8, "pictures": 4}
NVLABS = {"size": 32, "base": 256, "limit": 32, "latent": 16, "layers": 4, "pictures": 8}


def numbers(name: str, shape: Sequence[int]) -> Tensor:
    """Uniform numbers in (-1, 1), seeded by the name."""
    random = np.random.default_rng(zlib.crc32(name.encode()))
    return torch.from_numpy(np.asarray(random.random(tuple(shape), np.float32) * 2 - 1))


def pictures(count: int, size: int) -> Tensor:
    """Coarse patches under a little noise: (count, 3, size, size)."""
    coarse = numbers("patches", (count, 3, 4, 4)).repeat_interleave(size // 4, 2).repeat_interleave(size // 4, 3)
    return coarse + 0.3 * numbers("grain", (count, 3, size, size))


def fill(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights for a network of either StyleGAN2 repository or IR-SE50, at the scale of trained ones.

    Args:
        state: names and shapes; filters and counters are handed through.
    """
    filled = {}
    for name, old in state.items():
        if name.endswith(("kernel", "resample_filter", "num_batches_tracked")):
            filled[name] = old.clone()
            continue
        u = numbers(name, old.shape)
        plain = name.startswith(("input_layer", "body", "output_layer"))
        mapping = name.startswith(("style.", "mapping.fc"))
        if name.endswith("running_var") or (plain and old.ndim == 1 and name.endswith("weight")):
            u = 1 + 0.5 * u
        elif name.endswith(("modulation.bias", "affine.bias")):
            u = 1 + 0.3 * u
        elif name.endswith("bias") or "noise.weight" in name or "noise_strength" in name:
            u = 0.3 * u
        elif plain and name.endswith("weight"):
            u = u * (3 / old[0].numel()) ** 0.5
        else:
            u = u * 3**0.5
        # The mapping network's numbers are stored divided by its learning rate factor.
        filled[name] = u * 100 if mapping else u
    return filled
