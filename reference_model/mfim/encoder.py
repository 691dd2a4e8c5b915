"""The facial attribute encoder: IR-SE body, feature pyramid, map-to-code and map-to-map blocks.

Source of the outline: the MFIM paper and the encoder of pSp (Richardson et al., CVPR 2021): taps at the ends of the
body's stages, a top-down pyramid, and stride-two convolutions that shrink a map to a code. What a level reads, one M2C
block a resolution, and the shape of the M2M block are `[own choice]`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mfim.generator import Code
from mfim.norm import GroupedBatchNorm

TARGET_LIMIT = 16
"""Codes up to this resolution come from the target, the others from the source (the paper)."""


class SqueezeExcite(nn.Module):
    """Channel attention."""

    def __init__(self, width: int, reduction: int = 16) -> None:
        super().__init__()
        self.fc1 = nn.Conv2d(width, max(width // reduction, 4), 1, bias=False)
        self.fc2 = nn.Conv2d(max(width // reduction, 4), width, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(self.fc2(F.relu(self.fc1(x.mean((2, 3), keepdim=True)))))


class Bottleneck(nn.Module):
    """The IR-SE unit of ArcFace: batch norm, 3x3, PReLU, 3x3 (strided), batch norm, squeeze and excite, shortcut."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        if inputs == outputs:
            self.shortcut_layer: nn.Module = nn.MaxPool2d(1, stride)
        else:
            self.shortcut_layer = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), GroupedBatchNorm(outputs)
            )
        self.res_layer = nn.Sequential(
            GroupedBatchNorm(inputs),
            nn.Conv2d(inputs, outputs, 3, 1, 1, bias=False),
            nn.PReLU(outputs),
            nn.Conv2d(outputs, outputs, 3, stride, 1, bias=False),
            GroupedBatchNorm(outputs),
            SqueezeExcite(outputs),
        )

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.res_layer(x) + self.shortcut_layer(x)
        return out


class Body(nn.Module):
    """IR-SE body; stage k ends at 1/2^(k+1) of the input's side.

    With widths (64, 128, 256, 512) and units (3, 4, 14, 3) it is IR-SE50, the body of pSp, whose taps after units 6, 20
    and 23 are the ends of stages 1, 2 and 3.
    """

    def __init__(self, widths: Sequence[int], units: Sequence[int]) -> None:
        super().__init__()
        first = widths[0]
        self.input_layer = nn.Sequential(
            nn.Conv2d(3, first, 3, 1, 1, bias=False), GroupedBatchNorm(first), nn.PReLU(first)
        )
        blocks: list[nn.Module] = []
        self.ends: list[int] = []
        before = first
        for width, count in zip(widths, units, strict=True):
            blocks += [Bottleneck(before if k == 0 else width, width, 2 if k == 0 else 1) for k in range(count)]
            before = width
            self.ends.append(len(blocks) - 1)
        self.body = nn.ModuleList(blocks)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Args: x (B, 3, E, E) in [-1, 1]. Returns the maps at E (of the input layer), E/2, E/4, ... ."""
        x = self.input_layer(x)
        taps = [x]
        for index, block in enumerate(self.body):
            x = block(x)
            if index in self.ends:
                taps.append(x)
        return taps


class Pyramid(nn.Module):
    """Top-down pathway: each level adds the upsampled coarser level, all levels at one width."""

    def __init__(self, widths: Sequence[int], width: int) -> None:
        super().__init__()
        self.lateral = nn.ModuleList(nn.Conv2d(inputs, width, 1) for inputs in widths)

    def forward(self, taps: Sequence[Tensor]) -> list[Tensor]:
        """Args: maps, fine to coarse. Returns maps of the same sides, all of one width."""
        x: Tensor | None = None
        levels = []
        for lateral, tap in zip(reversed(self.lateral), reversed(taps), strict=True):
            here = lateral(tap)
            if x is not None:
                here = here + F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
            x = here
            levels.append(here)
        return levels[::-1]


class MapToCode(nn.Module):
    """M2C: halve the map until one pixel is left, then one linear layer a code of the resolution.

    The codes are the generator's mean codes plus what the block adds.
    """

    def __init__(self, side: int, inputs: int, width: int, codes: Sequence[Code]) -> None:
        super().__init__()
        steps = max(1, int(math.log2(side)))
        layers: list[nn.Module] = []
        for k in range(steps):
            layers += [nn.Conv2d(inputs if k == 0 else width, width, 3, 2, 1), nn.LeakyReLU(0.2, inplace=True)]
        self.convs = nn.Sequential(*layers)
        self.linear = nn.ModuleList(nn.Linear(width, code.size) for code in codes)
        self.mean = nn.ParameterList(nn.Parameter(torch.ones(code.size), requires_grad=False) for code in codes)

    def forward(self, level: Tensor) -> list[Tensor]:
        """Args: level (B, inputs, side, side). Returns the codes of one resolution, (B, size) float32 each."""
        x = self.convs(level).flatten(1)
        return [linear(x).float() + mean for linear, mean in zip(self.linear, self.mean, strict=True)]


class MapToMap(nn.Module):
    """M2M: two convolutions to the style maps of one resolution, of the same side as the map they read."""

    def __init__(self, inputs: int, width: int, maps: int) -> None:
        super().__init__()
        self.convs = nn.Sequential(
            nn.Conv2d(inputs, width, 3, 1, 1), nn.LeakyReLU(0.2, inplace=True), nn.Conv2d(width, maps, 3, 1, 1)
        )

    def forward(self, level: Tensor) -> Tensor:
        """Args: level (B, inputs, R, R). Returns (B, maps, R, R) float32."""
        maps: Tensor = self.convs(level).float()
        return maps


@dataclass(frozen=True, slots=True)
class Attributes:
    """What the encoder reads from images.

    Attributes:
        codes: one (B, size) a layer of the generator.
        maps: index of a code to its style map (B, 1, R, R).
    """

    codes: list[Tensor]
    maps: dict[int, Tensor]


class Encoder(nn.Module):
    """Image to style codes and style maps.

    Args:
        side: of the images the encoder reads, E = min(S, 256).
        codes: the generator's style space.
        widths, units: of the body's four stages.
        width: of the pyramid and of the M2C and M2M blocks.
        dividers: style maps stand at E/divider; a subset of (1, 2, 4, 8, 16).
    """

    def __init__(
        self,
        side: int,
        codes: Sequence[Code],
        widths: Sequence[int],
        units: Sequence[int],
        width: int,
        dividers: Sequence[int] = (4, 8, 16),
    ) -> None:
        super().__init__()
        self.side = side
        self.codes = tuple(codes)
        self.body = Body(widths, units)
        self.finest = min(4, *dividers)
        # The input layer is as wide as the first stage.
        self.pyramid = Pyramid([widths[0], *widths][int(math.log2(self.finest)) :], width)
        self.dividers = tuple(sorted(dividers))
        by_resolution: dict[int, list[Code]] = {}
        for code in codes:
            by_resolution.setdefault(code.resolution, []).append(code)
        self.to_code = nn.ModuleDict(
            {str(r): MapToCode(side // self._divider(r), width, width, group) for r, group in by_resolution.items()}
        )
        self.map_indices = {
            d: [k for k, c in enumerate(codes) if c.resolution == side // d and c.kind != "rgb"] for d in self.dividers
        }
        if not all(self.map_indices.values()):
            raise ValueError(f"a {side} px encoder has no layers for style maps at 1/{', 1/'.join(map(str, dividers))}")
        # At the full side a block of the whole width would cost as much as the body does [own choice].
        self.to_map = nn.ModuleDict(
            {str(d): MapToMap(width, width if d > 1 else width // 4, len(k)) for d, k in self.map_indices.items()}
        )

    @staticmethod
    def _divider(resolution: int) -> int:
        """Which level of the pyramid the codes of a resolution read, as in pSp: coarse codes the coarse map."""
        return 16 if resolution <= 8 else 8 if resolution <= 32 else 4

    def forward(self, images: Tensor, *, maps: bool = True) -> Attributes:
        """Args: images (B, 3, S, S) in [-1, 1]; maps: also compute the style maps."""
        if images.shape[-1] > self.side:
            images = F.interpolate(images, (self.side, self.side), mode="area")
        taps = self.body(images.contiguous(memory_format=torch.channels_last))
        levels = self.pyramid(taps[-len(self.pyramid.lateral) :])
        level = {self.finest * 2**k: x for k, x in enumerate(levels)}
        codes = [code for r, block in self.to_code.items() for code in block(level[self._divider(int(r))])]
        found: dict[int, Tensor] = {}
        if maps:
            for divider, indices in self.map_indices.items():
                stacked = self.to_map[str(divider)](level[divider])
                found |= {index: stacked[:, k : k + 1] for k, index in enumerate(indices)}
        return Attributes(codes, found)

    @torch.no_grad()
    def start_from(self, mean_codes: Sequence[Tensor]) -> None:
        """Make the generator's mean codes the start, with small differences between images."""
        means = [mean for block in self.to_code.values() for mean in block.mean]  # type: ignore[union-attr]
        for mean, value in zip(means, mean_codes, strict=True):
            mean.copy_(value)
        for block in self.to_code.values():
            for linear in block.linear:  # type: ignore[union-attr]
                linear.weight.mul_(0.3)
                linear.bias.zero_()
