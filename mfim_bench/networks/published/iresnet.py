"""insightface's iresnet50 and iresnet100 (``arcface_torch``); names of the layers are those of the published files.

J. Deng et al., "ArcFace", CVPR 2019; I. C. Duta et al., "Improved residual networks", ICPR 2020.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from mfim_bench import weights
from mfim_bench.networks.published.strict import load_strictly

WIDTHS = (64, 128, 256, 512)
SIDE, EMBEDDING = 112, 512


class Block(nn.Module):
    """Batch norm, 3x3, batch norm, PReLU, 3x3 (strided), batch norm; and a shortcut."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(inputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.prelu = nn.PReLU(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, stride, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.downsample: nn.Module = (
            nn.Identity()
            if stride == 1
            else nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))
        )

    def forward(self, x: Tensor) -> Tensor:
        y = self.prelu(self.bn2(self.conv1(self.bn1(x))))
        out: Tensor = self.bn3(self.conv2(y)) + self.downsample(x)
        return out


class IResNet(nn.Module):
    """Aligned faces -> embeddings.

    Args:
        blocks: of each of the four stages; every stage halves the side.
    """

    def __init__(self, blocks: Sequence[int]) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, WIDTHS[0], 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(WIDTHS[0])
        self.prelu = nn.PReLU(WIDTHS[0])
        before = WIDTHS[0]
        for number, (width, count) in enumerate(zip(WIDTHS, blocks, strict=True), 1):
            stage = [Block(before if k == 0 else width, width, 2 if k == 0 else 1) for k in range(count)]
            self.add_module(f"layer{number}", nn.Sequential(*stage))
            before = width
        self.bn2 = nn.BatchNorm2d(before)
        self.fc = nn.Linear(before * (SIDE // 16) ** 2, EMBEDDING)
        self.features = nn.BatchNorm1d(EMBEDDING)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, 112, 112) RGB in [-1, 1], aligned by the ArcFace template -> (B, 512), of any length."""
        x = self.prelu(self.bn1(self.conv1(x)))
        for number in range(1, len(WIDTHS) + 1):
            x = self.get_submodule(f"layer{number}")(x)
        out: Tensor = self.features(self.fc(self.bn2(x).flatten(1)))
        return out


def _load(path: Path, blocks: Sequence[int]) -> IResNet:
    with torch.device("meta"):
        network = IResNet(blocks)
    load_strictly(network, weights.load(path), path.name)
    return network.eval().requires_grad_(False)


def load_iresnet50(path: Path) -> IResNet:
    """A ``backbone.pth`` of r50, on the CPU, in float32.

    Raises:
        UsageError: the file is of another layout; one line says how.
    """
    return _load(path, (3, 4, 14, 3))


def load_iresnet100(path: Path) -> IResNet:
    """A ``backbone.pth`` of r100; see `load_iresnet50`."""
    return _load(path, (3, 13, 30, 3))
