"""More than one view of a crop: what a network says of each differs by chance, so their mean errs less."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def inner(images: Tensor, part: float) -> Tensor:
    """(B, 3, S, S) -> (B, 3, S, S): the centred square of side ``part``·S, part ≤ 1, bilinear."""
    grid = F.affine_grid(
        part * torch.eye(2, 3, device=images.device)[None], [1, *images.shape[1:]], align_corners=False
    )
    return F.grid_sample(images, grid.expand(len(images), -1, -1, -1), "bilinear", "border", align_corners=False)
