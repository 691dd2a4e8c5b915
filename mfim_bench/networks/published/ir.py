"""ArcFace's improved residual networks: IR-SE50 as TreB1eN published it, IR-101 as CurricularFace did.

J. Deng et al., "ArcFace", CVPR 2019; Y. Huang et al., "CurricularFace", CVPR 2020. Names of the layers are those of the
published files.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mfim_bench import weights
from mfim_bench.networks.published.strict import load_strictly

WIDTHS = (64, 128, 256, 512)
UNITS_50, UNITS_101 = (3, 4, 14, 3), (3, 13, 30, 3)
SIDE, EMBEDDING = 112, 512


class SqueezeExcite(nn.Module):
    """Channel attention; a sixteenth of the channels between, at least four."""

    def __init__(self, width: int) -> None:
        super().__init__()
        between = max(width // 16, 4)
        self.fc1 = nn.Conv2d(width, between, 1, bias=False)
        self.fc2 = nn.Conv2d(between, width, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(self.fc2(F.relu(self.fc1(F.adaptive_avg_pool2d(x, 1)))))


class Unit(nn.Module):
    """Batch norm, 3x3, PReLU, 3x3 (strided), batch norm, perhaps squeeze and excite; and a shortcut."""

    def __init__(self, inputs: int, outputs: int, stride: int, excite: bool) -> None:
        super().__init__()
        self.shortcut_layer: nn.Module = (
            nn.MaxPool2d(1, stride)
            if inputs == outputs
            else nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))
        )
        self.res_layer = nn.Sequential(
            nn.BatchNorm2d(inputs),
            nn.Conv2d(inputs, outputs, 3, 1, 1, bias=False),
            nn.PReLU(outputs),
            nn.Conv2d(outputs, outputs, 3, stride, 1, bias=False),
            nn.BatchNorm2d(outputs),
            *([SqueezeExcite(outputs)] if excite else []),
        )

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.res_layer(x) + self.shortcut_layer(x)
        return out


class IR(nn.Module):
    """Aligned faces -> embeddings.

    Args:
        widths: channels of the four stages.
        units: of the four stages; every stage halves the side.
        excite: channel attention in every unit (the SE of IR-SE).
        affine: whether the last batch norm has weight and bias.
    """

    def __init__(self, widths: Sequence[int], units: Sequence[int], excite: bool, affine: bool) -> None:
        super().__init__()
        first = widths[0]
        self.input_layer = nn.Sequential(
            nn.Conv2d(3, first, 3, 1, 1, bias=False), nn.BatchNorm2d(first), nn.PReLU(first)
        )
        blocks: list[nn.Module] = []
        self.ends: list[int] = []
        before = first
        for width, count in zip(widths, units, strict=True):
            blocks += [Unit(before if k == 0 else width, width, 2 if k == 0 else 1, excite) for k in range(count)]
            before = width
            self.ends.append(len(blocks) - 1)
        self.body = nn.Sequential(*blocks)
        self.output_layer = nn.Sequential(
            nn.BatchNorm2d(before),
            nn.Dropout(0.4),
            nn.Flatten(),
            nn.Linear(before * (SIDE // 16) ** 2, EMBEDDING),
            nn.BatchNorm1d(EMBEDDING, affine=affine),
        )

    def stages(self, x: Tensor) -> list[Tensor]:
        """(B, 3, S, S) in [-1, 1] -> maps at S (of the input layer), S/2, S/4, S/8, S/16."""
        x = self.input_layer(x)
        taps = [x]
        for index, block in enumerate(self.body):
            x = block(x)
            if index in self.ends:
                taps.append(x)
        return taps

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, 112, 112) RGB in [-1, 1], aligned by the ArcFace template -> (B, 512), of any length."""
        out: Tensor = self.output_layer(self.body(self.input_layer(x)))
        return out


class IRSE50(IR):
    """IR-SE50, whose embeddings have length one."""

    def __init__(self, widths: Sequence[int] = WIDTHS, units: Sequence[int] = UNITS_50) -> None:
        super().__init__(widths, units, excite=True, affine=True)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, 112, 112) RGB in [-1, 1], aligned by the ArcFace template -> (B, 512) of length one."""
        return F.normalize(super().forward(x).float(), dim=1)


class CurricularFace(IR):
    """IR-101."""

    def __init__(self) -> None:
        super().__init__(WIDTHS, UNITS_101, excite=False, affine=False)


def load_irse50(path: Path) -> IRSE50:
    """``model_ir_se50.pth``, on the CPU, in float32.

    Raises:
        UsageError: the file is of another layout; one line says how.
    """
    with torch.device("meta"):
        network = IRSE50()
    load_strictly(network, weights.load(path), path.name)
    return network.eval().requires_grad_(False)


def load_curricularface(path: Path) -> CurricularFace:
    """``CurricularFace_Backbone.pth``; see `load_irse50`."""
    with torch.device("meta"):
        network = CurricularFace()
    load_strictly(network, weights.load(path), path.name)
    return network.eval().requires_grad_(False)
