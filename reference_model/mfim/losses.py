"""The seven terms of the objective (see docs/cards/mfim.md), each a mean over rows, without its lambda.

L = id + recon + adv + R1 + shape + pose + exp. R1 is `mfim.discriminator.r1_penalty`.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

EPSILON = 1e-8
"""Under the root of the L2 norms, whose gradient at zero is infinite."""


def identity_loss(swap: Tensor, source: Tensor) -> Tensor:
    """1 - cos of R's embeddings (B, D)."""
    return (1.0 - F.cosine_similarity(swap, source, dim=1)).mean()


def norm_loss(swap: Tensor, wanted: Tensor) -> Tensor:
    """Mean L2 distance of parameters (B, K): the form of the shape, pose and expression terms."""
    return ((swap - wanted).square().sum(1) + EPSILON).sqrt().mean()


def pixel_distance(swap: Tensor, target: Tensor) -> Tensor:
    """L1 of images in [-1, 1], a row: (B,)."""
    return (swap - target).abs().mean((1, 2, 3))


def adversarial_loss(logits: Tensor) -> Tensor:
    """Non-saturating loss of the generator; logits (B,) of swaps."""
    return F.softplus(-logits).mean()


def discriminator_loss(real: Tensor, fake: Tensor) -> Tensor:
    """Non-saturating loss of the discriminator; logits (B,) each."""
    return (F.softplus(fake) + F.softplus(-real)).mean()


def recon_weights(
    step: int, rows: int, known: int, start: float, ramp: tuple[int, int], device: torch.device
) -> Tensor:
    """Weight of each row's reconstruction: 1 for the first ``known`` rows (pairs of one identity, then true swaps), a
    ramp for the rest, whose target shows somebody else than the swap should.

    The ramp runs from ``start`` before ``ramp[0]`` to 1 after ``ramp[1]`` (steps).
    """
    place = min(max((step - ramp[0]) / max(ramp[1] - ramp[0], 1), 0.0), 1.0)
    weights = torch.full((rows,), start + (1.0 - start) * place, device=device)
    weights[:known] = 1.0
    return weights
