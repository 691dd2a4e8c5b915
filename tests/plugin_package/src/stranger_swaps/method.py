"""The source's oval in the target's crop, shifted to the target's mean colour."""

import torch

from mfim_bench import weights


class Oval:
    def __init__(self, device: torch.device) -> None:
        self.radii = weights.load(weights.path("stranger-oval"))["radii"].to(device)

    def swap(self, source: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        side = torch.linspace(-1, 1, target.shape[-1], device=target.device)
        distance = ((side / self.radii[0])[None, :] ** 2 + (side / self.radii[1])[:, None] ** 2).sqrt()
        mask = torch.sigmoid(20 * (1 - distance))
        total = mask.sum()
        shift = ((target - source) * mask).sum((2, 3), keepdim=True) / total
        return (target + mask * (source + shift - target)).clamp(0, 1)
