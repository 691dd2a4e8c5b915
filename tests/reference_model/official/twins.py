"""Files of the exact public layouts, filled by the recipe."""

from __future__ import annotations

import torch
from official import recipe
from torch import Tensor

from mfim.checkpoints.layout import Entry, kernel


def twin(layout: list[Entry]) -> dict[str, Tensor]:
    """A file's tensors by the recipe."""
    empty = {
        e.name: kernel(e.fir) if e.fir else torch.zeros(e.shape, dtype=torch.float32 if e.floating else torch.int64)
        for e in layout
    }
    return recipe.fill(empty)
