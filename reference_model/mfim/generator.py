"""StyleGAN2's generator for any power of two from 8 to 1024, driven by style-space codes and style maps.

A code a modulated convolution: its size is the number of that convolution's input channels, so 26 codes and 9,088
numbers at 1024 px with the original channels (`style_space`). A style map stands where StyleGAN2 adds noise.
"""

from __future__ import annotations

import math
from collections.abc import Mapping as MappingType
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mfim.draws import Draws
from mfim.layers import GAIN, Linear, ModulatedConv, rectify, upsample

MAP_STRENGTH = 0.3
"""First value of each style map's strength `[own choice]`; zero would leave the map blocks without a gradient."""
BAND = 24 * 2**20
"""Bytes of a map that is drawn whole. What fits the cache need not come from memory, and memory above 32 MB is new at
every allocation, which costs more than filling it."""
MARGIN = 2
"""Rows of the coarser level on each side of a band that a level's two 3x3 convolutions and the FIR filter read."""


@dataclass(frozen=True, slots=True)
class Code:
    """One style-space code: the resolution of its layer, the layer's kind (conv_up, conv or rgb), and its size."""

    resolution: int
    kind: str
    size: int


def channels(resolution: int, base: int, limit: int) -> int:
    """Channels of the layers at a resolution; StyleGAN2 config F is base 32,768, limit 512."""
    return min(limit, base // resolution)


def resolutions(size: int) -> list[int]:
    """4, 8, ... up to ``size``."""
    if size < 8 or size > 1024 or size & (size - 1):
        raise ValueError(f"size must be a power of two from 8 to 1024, not {size}")
    return [2**k for k in range(2, int(math.log2(size)) + 1)]


def style_space(size: int, base: int = 32768, limit: int = 512) -> list[Code]:
    """The codes of a generator of ``size`` pixels, in the order in which its layers run."""
    codes = []
    before = channels(4, base, limit)
    for resolution in resolutions(size):
        here = channels(resolution, base, limit)
        if resolution > 4:
            codes.append(Code(resolution, "conv_up", before))
        codes += [Code(resolution, "conv", here), Code(resolution, "rgb", here)]
        before = here
    return codes


class StyledConv(nn.Module):
    """Modulated convolution, noise or style map, bias, activation."""

    def __init__(self, inputs: int, outputs: int, *, up: bool = False) -> None:
        super().__init__()
        self.conv = ModulatedConv(inputs, outputs, 3, up=up)
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.noise_strength = nn.Parameter(torch.zeros(()))
        self.map_strength = nn.Parameter(torch.tensor(MAP_STRENGTH))

    def plane(self, style_map: Tensor | None, noise: Tensor | None) -> Tensor | None:
        """What `forward` adds to every channel, at its strength: the map, else the noise, else nothing."""
        if style_map is not None:
            return style_map.float() * (self.map_strength * GAIN)
        return None if noise is None else noise * (self.noise_strength * GAIN)

    def forward(self, x: Tensor, code: Tensor, plane: Tensor | None) -> Tensor:
        x = self.conv(x, code, self.bias * GAIN, GAIN)
        if plane is not None:
            x += plane.to(x.dtype)
        return rectify(x)


class ToRGB(nn.Module):
    """1x1 modulated convolution to an image, without demodulation."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.conv = ModulatedConv(inputs, 3, 1, demodulate=False)
        self.bias = nn.Parameter(torch.zeros(3))

    def forward(self, x: Tensor, code: Tensor) -> Tensor:
        image: Tensor = self.conv(x, code).float() + self.bias.view(1, 3, 1, 1)
        return image


class Synthesis(nn.Module):
    """Codes and maps to an image.

    Args:
        size: side of the image.
        base, limit: see `channels`.
    """

    def __init__(self, size: int, base: int = 32768, limit: int = 512) -> None:
        super().__init__()
        self.size = size
        self.codes = style_space(size, base, limit)
        self.constant = nn.Parameter(torch.randn(1, channels(4, base, limit), 4, 4))
        layers: list[nn.Module] = []
        before = channels(4, base, limit)
        for code in self.codes:
            here = channels(code.resolution, base, limit)
            if code.kind == "rgb":
                layers.append(ToRGB(here))
            else:
                layers.append(StyledConv(before, here, up=code.kind == "conv_up"))
            before = here
        self.layers = nn.ModuleList(layers)
        self.levels = [
            [k for k, code in enumerate(self.codes) if code.resolution == resolution]
            for resolution in resolutions(size)
        ]

    def use(self, *, noise: bool, maps: Sequence[int] = ()) -> None:
        """Let only the strengths that a stage uses have gradients: of the noise, of the maps at these indices."""
        for index, layer in enumerate(self.layers):
            if isinstance(layer, StyledConv):
                layer.noise_strength.requires_grad_(noise)
                layer.map_strength.requires_grad_(index in maps)

    def noise(self, draws: Draws) -> dict[int, Tensor]:
        """Gaussian noise for every layer but the rgb ones: index of its code to (B, 1, R, R)."""
        sides = {index: code.resolution for index, code in enumerate(self.codes) if code.kind != "rgb"}
        return {index: draws.normal(1, side, side) for index, side in sides.items()}

    def forward(
        self,
        codes: Sequence[Tensor],
        maps: MappingType[int, Tensor] | None = None,
        noise: MappingType[int, Tensor] | None = None,
    ) -> Tensor:
        """Draw.

        Args:
            codes: one (B, size of the code) a layer, in the order of `codes`.
            maps: index of a code (not of an rgb layer) to its style map (B, 1, R, R).
            noise: what layers without a map add at their noise's strength, likewise; see `noise`.

        Returns:
            (B, 3, S, S) float32, nominally in [-1, 1], not clipped.
        """
        if len(codes) != len(self.codes):
            raise ValueError(f"{len(self.codes)} codes expected, got {len(codes)}")
        maps, noise = maps or {}, noise or {}
        x = self.constant.expand(codes[0].shape[0], -1, -1, -1).contiguous(memory_format=torch.channels_last)
        image: Tensor | None = None
        for level in self.levels:
            planes = []
            for index in level[:-1]:
                layer = self.layers[index]
                assert isinstance(layer, StyledConv)
                planes.append(layer.plane(maps.get(index), noise.get(index)))
            x, image = self._in_bands(level, x, image, codes, planes)
        assert image is not None
        return image

    def _level(
        self, level: list[int], x: Tensor, image: Tensor | None, codes: Sequence[Tensor], planes: list[Tensor | None]
    ) -> tuple[Tensor, Tensor]:
        """The layers of one resolution: the maps and the image of the last one to those of this one."""
        for index, plane in zip(level[:-1], planes, strict=True):
            x = self.layers[index](x, codes[index], plane)
        rgb = self.layers[level[-1]](x, codes[level[-1]])
        if image is not None:
            rgb += upsample(image)
        return x, rgb

    def _in_bands(
        self, level: list[int], x: Tensor, image: Tensor | None, codes: Sequence[Tensor], planes: list[Tensor | None]
    ) -> tuple[Tensor, Tensor]:
        """`_level`, in bands of rows where one image is drawn on a CPU and its maps are large.

        Each band reads `MARGIN` more rows than it keeps, so the result is the same.
        """
        height, width = x.shape[2:]
        outputs = self.codes[level[-1]].size
        size = outputs * 4 * height * width * x.element_size()
        if image is None or x.shape[0] > 1 or x.device.type != "cpu" or torch.is_grad_enabled() or size <= BAND:
            return self._level(level, x, image, codes, planes)
        last = level is self.levels[-1]  # whose maps nothing reads
        shape = (1, 0 if last else outputs, 2 * height, 2 * width)
        kept = torch.empty(shape, dtype=x.dtype, memory_format=torch.channels_last)
        drawn = image.new_empty((1, 3, 2 * height, 2 * width))
        step = math.ceil(height / math.ceil(size / BAND))
        for first in range(0, height, step):
            top, end = max(first - MARGIN, 0), min(first + step, height)
            read = slice(top, end + MARGIN)
            finer = slice(2 * top, 2 * (end + MARGIN))
            band, rgb = self._level(
                level,
                x[:, :, read],
                image[:, :, read],
                codes,
                [None if plane is None else plane[:, :, finer] for plane in planes],
            )
            keep = slice(2 * (first - top), 2 * (end - top))
            drawn[:, :, 2 * first : 2 * end] = rgb[:, :, keep]
            if not last:
                kept[:, :, 2 * first : 2 * end] = band[:, :, keep]
        return kept, drawn


class Mapping(nn.Module):
    """Latent z to style-space codes: StyleGAN2's mapping network and the affine layer of each modulated convolution.

    Only stage one uses it; stage two gets its codes from the encoder.

    Args:
        codes: the generator's style space.
        z_size, w_size: of the latent spaces.
        layers: of the mapping network.
        rate: factor on its learning rate.
    """

    def __init__(self, codes: Sequence[Code], z_size: int, w_size: int, layers: int, rate: float = 0.01) -> None:
        super().__init__()
        self.z_size = z_size
        self.network = nn.ModuleList(
            Linear(z_size if k == 0 else w_size, w_size, rate=rate, activation=True) for k in range(layers)
        )
        self.affine = nn.ModuleList(Linear(w_size, code.size, bias=1.0) for code in codes)

    def forward(self, z: Tensor, mixed: Tensor | None = None, cut: int | None = None) -> list[Tensor]:
        """Args: z (B, Z); mixed (B, Z): codes from index ``cut`` on come from it (style mixing). Returns the codes."""
        with torch.autocast(z.device.type, enabled=False):
            w = self._latent(z)
            late = w if mixed is None else self._latent(mixed)
            last = len(self.affine) if cut is None else cut
            return [layer(w if index < last else late) for index, layer in enumerate(self.affine)]

    def _latent(self, z: Tensor) -> Tensor:
        x = F.normalize(z, dim=1) * math.sqrt(z.shape[1])
        for layer in self.network:
            x = layer(x)
        return x

    @torch.no_grad()
    def mean_latent(self, count: int = 4096, seed: int = 0) -> Tensor:
        """The mean w (W,) over ``count`` latents."""
        source = torch.Generator().manual_seed(seed)
        z = torch.randn(count, self.z_size, generator=source).to(next(self.parameters()).device)
        return self._latent(z).mean(0)

    @torch.no_grad()
    def mean_codes(self, count: int = 4096, seed: int = 0) -> list[Tensor]:
        """The mean of each code over ``count`` latents: (size,) each; the encoder starts from them."""
        mean = self.mean_latent(count, seed)
        return [layer(mean) for layer in self.affine]
