"""StyleGAN2's residual discriminator and its R1 penalty."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from mfim.generator import channels, resolutions
from mfim.layers import Conv, Linear

GROUP = 4
"""Rows whose deviation the discriminator takes together, as in StyleGAN2."""


class Block(nn.Module):
    """Residual block that halves the side."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        half = math.sqrt(0.5)  # of each branch, so that the sum's variance is that of one
        self.first = Conv(inputs, inputs, 3)
        self.second = Conv(inputs, outputs, 3, down=True, gain=half)
        self.skip = Conv(inputs, outputs, 1, down=True, activation=False, gain=half)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.skip(x)
        out += self.second(self.first(x))
        return out


def minibatch_deviation(x: Tensor, group: int = GROUP) -> Tensor:
    """Append a channel with the mean standard deviation over groups of rows; (B, C, H, W) to (B, C + 1, H, W).

    Group members are rows b, b + B/group, ... as in the original. Falls back to the largest divisor of B.
    """
    batch, _, height, width = x.shape
    group = next(g for g in range(min(group, batch), 0, -1) if batch % g == 0)
    y = x.to(torch.promote_types(x.dtype, torch.float32)).view(group, -1, *x.shape[1:])
    deviation = (y.var(0, unbiased=False) + 1e-8).sqrt().mean(dim=(1, 2, 3))
    extra = deviation.repeat(group).view(batch, 1, 1, 1).expand(-1, 1, height, width)
    return torch.cat([x, extra.to(x.dtype)], 1)


class Discriminator(nn.Module):
    """Image to a logit, higher = more real.

    Args:
        size: side of the image.
        base, limit: see `mfim.generator.channels`.
    """

    def __init__(self, size: int, base: int = 32768, limit: int = 512) -> None:
        super().__init__()
        sides = resolutions(size)[::-1]
        self.input = Conv(3, channels(size, base, limit), 1)
        self.blocks = nn.Sequential(
            *(Block(channels(side, base, limit), channels(side // 2, base, limit)) for side in sides[:-1])
        )
        last = channels(4, base, limit)
        self.last = Conv(last + 1, last, 3)
        self.hidden = Linear(last * 16, last, activation=True)
        self.output = Linear(last, 1)

    def forward(self, images: Tensor) -> Tensor:
        """Args: images (B, 3, S, S), about [-1, 1]. Returns logits (B,) float32."""
        x = images.contiguous(memory_format=torch.channels_last)
        x = self.last(minibatch_deviation(self.blocks(self.input(x))))
        logits: Tensor = self.output(self.hidden(x.flatten(1)))
        return logits.squeeze(1).float()


def r1_penalty(discriminator: Discriminator, real: Tensor) -> Tensor:
    """Mean over rows of the squared norm of the logit's gradient at real images: R1 (Mescheder et al.) but for gamma/2.

    Args:
        real: (B, 3, S, S).
    """
    real = real.detach().requires_grad_(True)
    # Not by calling the module: what torch.compile makes of it has no second derivative.
    (gradient,) = torch.autograd.grad(discriminator.forward(real).sum(), real, create_graph=True)
    return gradient.square().sum(dim=(1, 2, 3)).mean()
