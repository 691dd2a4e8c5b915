"""Backbones into which blocks of pixels enter as channels: a large crop at the cost of a small one."""

from __future__ import annotations

from typing import Any

import timm
import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Folded(nn.Module):
    """A timm ResNet behind a space-to-depth of ``fold`` x ``fold`` pixels (W. Shi et al., CVPR 2016, run backwards).

    Its stem is 3 x 3, since each of the pixels it sees already holds a block; 7 x 7 would be half of the whole cost.

    Args:
        name: of a timm ResNet.
        fold: divides the side of the images; 1 leaves the network as it is.
        arguments: for timm.
    """

    def __init__(self, name: str, fold: int, **arguments: Any) -> None:
        super().__init__()
        self.fold = fold
        self.network = timm.create_model(name, pretrained=False, in_chans=3 * fold**2, **arguments)
        if fold > 1:
            stem = self.network.conv1
            self.network.conv1 = nn.Conv2d(stem.in_channels, stem.out_channels, 3, 2, 1, bias=False)
            nn.init.kaiming_normal_(self.network.conv1.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images: Tensor) -> Any:
        """(B, 3, S, S) -> what the network makes of (B, 3 fold², S / fold, S / fold)."""
        if torch.is_autocast_enabled(images.device.type):  # earlier than the first layer would: moves half the bytes
            images = images.to(torch.get_autocast_dtype(images.device.type))
        if self.fold > 1:
            images = F.pixel_unshuffle(images, self.fold).contiguous(memory_format=torch.channels_last)
        return self.network(images)
