"""The seven terms of the objective (see docs/cards/mfim.md), each a mean over rows, without its lambda.

L = id + recon + adv + R1 + shape + pose + exp. R1 is `mfim.discriminator.r1_penalty`.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

EPSILON = 1e-8
"""Under the root of the L2 norms, whose gradient at zero is infinite."""
FULL_CHANGE = 0.2
"""Difference of true swap and target, in [-1, 1], that gets the whole focus [own choice]."""


def identity_loss(swap: Tensor, source: Tensor) -> Tensor:
    """1 - cos of R's embeddings (B, D)."""
    return (1.0 - F.cosine_similarity(swap, source, dim=1)).mean()


def norm_loss(swap: Tensor, wanted: Tensor) -> Tensor:
    """Mean L2 distance of parameters (B, K): the form of the shape, pose and expression terms."""
    return ((swap - wanted).square().sum(1) + EPSILON).sqrt().mean()


def pixel_distance(swap: Tensor, target: Tensor, weight: Tensor | float = 1.0) -> Tensor:
    """L1 of images (B, 3, H, W) in [-1, 1], a row: (B,); ``weight`` of each pixel (B, 1, H, W)."""
    return (weight * (swap - target).abs()).mean((1, 2, 3))


def focus_weights(wanted: Tensor, target: Tensor, focus: float) -> Tensor:
    """Weight of each pixel (B, 1, H, W) where the answer is known: 1 where it is the target's, up to 1 + ``focus``
    where the true swap differs by `FULL_CHANGE` or more.

    A swap changes a fifth of the crop; without this the copy of the rest is most of the reconstruction term.
    """
    change = F.avg_pool2d((wanted - target).abs().mean(1, keepdim=True), 3, 1, 1, count_include_pad=False)
    return 1.0 + focus * (change / FULL_CHANGE).clamp(max=1.0)


def adversarial_loss(logits: Tensor) -> Tensor:
    """Non-saturating loss of the generator; logits (B,) of swaps."""
    return F.softplus(-logits).mean()


def discriminator_loss(real: Tensor, fake: Tensor) -> Tensor:
    """Non-saturating loss of the discriminator; logits (B,) each."""
    return (F.softplus(fake) + F.softplus(-real)).mean()


def recon_weights(step: int, rows: int, known: int, start: float, ramp: tuple[int, int]) -> Tensor:
    """Weight of each row's reconstruction: 1 for the first ``known`` rows (pairs of one identity, then true swaps), a
    ramp for the rest, whose target shows somebody else than the swap should.

    The ramp runs from ``start`` before ``ramp[0]`` to 1 after ``ramp[1]`` (steps).
    """
    place = min(max((step - ramp[0]) / max(ramp[1] - ramp[0], 1), 0.0), 1.0)
    weights = torch.full((rows,), start + (1.0 - start) * place)
    weights[:known] = 1.0
    return weights
