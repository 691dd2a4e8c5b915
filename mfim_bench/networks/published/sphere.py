"""CosFace's sphere20: 20 layers without normalisation. Two published files: 112 x 96 (MuggleWang), 112 x 112.

W. Liu et al., "SphereFace", CVPR 2017; H. Wang et al., "CosFace", CVPR 2018. Names of the layers are those of
MuggleWang's files.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from mfim_bench import weights
from mfim_bench.networks.published.strict import load_strictly

WIDTHS, BLOCKS = (64, 128, 256, 512), (1, 2, 4, 1)
EMBEDDING, ROWS = 512, 7


class Block(nn.Module):
    """Two 3x3, each with a PReLU; and the input."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.prelu1 = nn.PReLU(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.prelu2 = nn.PReLU(width)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + self.prelu2(self.conv2(self.prelu1(self.conv1(x))))
        return out


class Sphere20(nn.Module):
    """Aligned faces -> embeddings.

    Args:
        columns: of the last map: 6 for images 96 px wide, 7 for 112.
    """

    def __init__(self, columns: int) -> None:
        super().__init__()
        before = 3
        for number, (width, count) in enumerate(zip(WIDTHS, BLOCKS, strict=True), 1):
            blocks = [Block(width) for _ in range(count)]
            self.add_module(
                f"layer{number}", nn.Sequential(nn.Conv2d(before, width, 3, 2, 1), nn.PReLU(width), *blocks)
            )
            before = width
        self.fc = nn.Linear(before * ROWS * columns, EMBEDDING)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, 112, 16 · columns) RGB in [-1, 1] -> (B, 512), of any length."""
        for number in range(1, len(WIDTHS) + 1):
            x = self.get_submodule(f"layer{number}")(x)
        out: Tensor = self.fc(x.flatten(1))
        return out


def _load(path: Path, columns: int) -> Sphere20:
    with torch.device("meta"):
        network = Sphere20(columns)
    load_strictly(network, weights.load(path), path.name)
    return network.eval().requires_grad_(False)


def load(path: Path) -> Sphere20:
    """The file for 112 x 96 (``fc.weight`` (512, 21504)), on the CPU, in float32.

    Raises:
        UsageError: the file is of another layout; one line says how.
    """
    return _load(path, 6)


def load_square(path: Path) -> Sphere20:
    """The file for 112 x 112 (``fc.weight`` (512, 25088)); see `load`."""
    return _load(path, 7)
