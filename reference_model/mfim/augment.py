"""Differentiable augmentation: of what the discriminator sees, real and fake alike, and of what supervisors see.

The former after Zhao et al., "Differentiable Augmentation for Data-Efficient GAN Training", NeurIPS 2020. Each row
draws its own values; images are (B, 3, S, S) in about [-1, 1].
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from mfim.draws import Draws


def colour(x: Tensor, draws: Draws) -> Tensor:
    """Brightness by up to 0.25, saturation by a factor in [0.5, 1.5], contrast in [0.75, 1.25]."""
    level, saturation, contrast = draws.uniform(3, 1, 1, 1).to(x.device).unbind(1)
    x = x + (level - 0.5) * 0.5
    grey = x.mean(1, keepdim=True)
    x = grey + (x - grey) * (saturation + 0.5)
    mean = x.mean((1, 2, 3), keepdim=True)
    return mean + (x - mean) * (0.5 * contrast + 0.75)


def translate(x: Tensor, draws: Draws, share: float = 0.125) -> Tensor:
    """Shift by up to ``share`` of the side, whole pixels, reflecting at the border."""
    batch, _, side, _ = x.shape
    most = max(1, int(side * share))
    shift = draws.integers(2 * most + 1, 2).to(x.device).t()
    padded = F.pad(x, (most, most, most, most), mode="reflect")
    steps = torch.arange(side, device=x.device)
    rows, columns = shift[0, :, None] + steps, shift[1, :, None] + steps
    picked = padded.permute(0, 2, 3, 1)[
        torch.arange(batch, device=x.device)[:, None, None], rows[:, :, None], columns[:, None, :]
    ]
    return picked.permute(0, 3, 1, 2)


def cutout(x: Tensor, draws: Draws) -> Tensor:
    """Blank a square of half the side, centred anywhere."""
    side = x.shape[2]
    centre = draws.integers(side, 2).to(x.device).t()
    steps = torch.arange(side, device=x.device)
    rows = (steps[None] - centre[0, :, None]).abs() < side // 4
    columns = (steps[None] - centre[1, :, None]).abs() < side // 4
    hole = rows[:, None, :, None] & columns[:, None, None, :]
    return x * (~hole)


_KINDS = {"colour": colour, "translate": translate, "cutout": cutout}


def augment(x: Tensor, kinds: Sequence[str], draws: Draws) -> Tensor:
    """Apply the kinds in order."""
    for kind in kinds:
        x = _KINDS[kind](x, draws)
    return x


View = Callable[[Tensor], Tensor]


def view(strength: float, draws: Draws) -> View:
    """A random look at images, the same for every batch given to it: moved, scaled, and its colours shifted.

    Networks that judge a swap only through views of it cannot be met by patterns that one fixed sampling shows them.

    Args:
        strength: 1 = scale and shift of a detector's find (deviations 6 % and 2 % of the side), channels' gains by 8 %,
            brightness by 0.08 of [-1, 1], saturation by 40 %, down to grey `[own choice]`.
        draws: of the B rows.

    Returns:
        (B, 3, S, S) in [-1, 1] to the same; differentiable.
    """
    drawn = draws.normal(8).cpu() * strength
    scale = torch.exp(0.06 * drawn[:, 0])
    theta = torch.zeros(len(drawn), 2, 3)
    theta[:, 0, 0] = theta[:, 1, 1] = scale
    theta[:, :, 2] = 0.04 * drawn[:, 1:3]  # of the grid's [-1, 1]
    gains = torch.exp(0.08 * drawn[:, 3:6])[..., None, None]
    level = 0.08 * drawn[:, 6].view(-1, 1, 1, 1)
    colour = (1.0 + 0.4 * drawn[:, 7].view(-1, 1, 1, 1)).clamp(0.0, 1.5)

    def look(x: Tensor) -> Tensor:
        grid = F.affine_grid(theta.to(x.device), list(x.shape), align_corners=False)
        moved = F.grid_sample(x, grid, mode="bilinear", padding_mode="reflection", align_corners=False)
        grey = moved.mean(1, keepdim=True)
        moved = grey + (moved - grey) * colour.to(x.device)
        return (moved + 1.0) * gains.to(x.device) - 1.0 + level.to(x.device)

    return look
