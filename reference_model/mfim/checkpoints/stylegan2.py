"""The public layouts of StyleGAN2's generator and discriminator, as tables for any size.

Both repositories store the same numbers: equalised weights undivided by their run-time scale, the mapping network's
divided by its learning rate factor 0.01, convolutions in torch's (out, in, h, w) order. Names and axes of length one
differ, and so does what else is stored: filters, which are fixed, and one noise image a layer, for which our generator
has no place (it draws noise, or takes style maps).

Sources: rosinality/stylegan2-pytorch (model.py), NVlabs/stylegan2-ada-pytorch and NVlabs/stylegan3
(training/networks.py, networks_stylegan2.py).
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from mfim.checkpoints.layout import Entry
from mfim.config import ModelConfig
from mfim.generator import Code, channels, resolutions, style_space

ROSINALITY, NVLABS = "rosinality", "nvlabs"


@dataclass(frozen=True, slots=True)
class Sizes:
    """Of a generator or a discriminator; a discriminator has no latent and no layers.

    Attributes:
        size: side of the image.
        base, limit: of the channels, see `mfim.generator.channels`.
        latent: size of z and of w.
        layers: of the mapping network.
    """

    size: int
    base: int
    limit: int
    latent: int = 0
    layers: int = 0

    def __str__(self) -> str:
        mapping = f", {self.layers} mapping layers of {self.latent}" if self.layers else ""
        return f"{self.size} px, channels {self.base}/{self.limit}{mapping}"

    @property
    def channels(self) -> tuple[int, ...]:
        """At 4 px, 8 px, ..."""
        return tuple(channels(side, self.base, self.limit) for side in resolutions(self.size))

    def same(self, other: Sizes) -> bool:
        """Whether the networks are of the same size: different bases may give the same channels."""
        mine, others = (self.size, self.latent, self.layers), (other.size, other.latent, other.layers)
        return mine == others and self.channels == other.channels

    @classmethod
    def generator(cls, config: ModelConfig) -> Sizes:
        """What a configuration asks for."""
        latent = config.z_size if config.z_size == config.w_size else 0
        return cls(config.size, config.channel_base, config.channel_limit, latent, config.mapping_layers)

    @classmethod
    def discriminator(cls, config: ModelConfig) -> Sizes:
        """What a configuration asks for."""
        return cls(config.size, config.discriminator_base, config.channel_limit)


def _sizes(found: dict[int, int], latent: int = 0, layers: int = 0) -> Sizes | None:
    """Sizes from the channels found at each resolution; None where they are of no StyleGAN2."""
    size, limit = max(found, default=0), max(found.values(), default=0)
    if not 8 <= size <= 1024 or size & (size - 1) or not limit:
        return None
    narrow = [side * width for side, width in found.items() if width < limit]
    return Sizes(size, narrow[0] if narrow else limit * size, limit, latent, layers)


def generator_sizes(kind: str, tensors: Mapping[str, Tensor]) -> Sizes | None:
    """Sizes of the generator that a file's tensors seem to be; None where they are none."""
    mapping = r"style\.\d+\.weight" if kind == ROSINALITY else r"mapping\.fc\d+\.weight"
    layers = [tensor for name, tensor in tensors.items() if re.fullmatch(mapping, name)]
    latent = layers[0].shape[-1] if layers and layers[0].ndim else 0
    found = {}
    for name, tensor in tensors.items():
        if kind == ROSINALITY:
            match = re.fullmatch(r"to_rgb(1|s\.(\d))\.conv\.weight", name)
            side = 0 if match is None else 8 << int(match[2]) if match[2] else 4
        else:
            match = re.fullmatch(r"synthesis\.b(\d{1,4})\.torgb\.weight", name)
            side = 0 if match is None else int(match[1])
        if side and tensor.ndim == (5 if kind == ROSINALITY else 4):
            found[side] = tensor.shape[-3]
    return _sizes(found, latent, len(layers))


def discriminator_sizes(kind: str, tensors: Mapping[str, Tensor]) -> Sizes | None:
    """Sizes of the discriminator that a file's tensors seem to be; None where they are none."""
    found = {}
    if kind == ROSINALITY:
        blocks = [t for name, t in tensors.items() if re.fullmatch(r"convs\.\d\.conv1\.0\.weight", name)]
        for name, tensor in tensors.items():
            if (match := re.fullmatch(r"convs\.(\d)\.(conv1\.0|skip\.1)\.weight", name)) and tensor.ndim == 4:
                side = 2 ** (len(blocks) + 3 - int(match[1]))
                found[side if match[2] == "conv1.0" else side // 2] = tensor.shape[0]
    else:
        for name, tensor in tensors.items():
            if (match := re.fullmatch(r"b(\d{1,4})\.conv0?\.weight", name)) and tensor.ndim == 4:
                found[int(match[1])] = tensor.shape[0]
    return _sizes(found)


def generator(kind: str, sizes: Sizes) -> list[Entry]:
    """The entries of a generator; ours stands under ``mapping.`` and ``synthesis.``."""
    rosinality = kind == ROSINALITY
    entries = []
    for k in range(sizes.layers):
        theirs = f"style.{k + 1}" if rosinality else f"mapping.fc{k}"
        entries += [
            Entry(f"{theirs}.weight", (sizes.latent, sizes.latent), f"mapping.network.{k}.weight"),
            Entry(f"{theirs}.bias", (sizes.latent,), f"mapping.network.{k}.bias"),
        ]
    first = channels(4, sizes.base, sizes.limit)
    if rosinality:
        entries.append(Entry("input.input", (1, first, 4, 4), "synthesis.constant"))
    else:
        entries += [
            Entry("mapping.w_avg", (sizes.latent,)),
            Entry("synthesis.b4.const", (first, 4, 4), "synthesis.constant"),
        ]
    layer = _rosinality_layer if rosinality else _nvlabs_layer
    for index, code in enumerate(style_space(sizes.size, sizes.base, sizes.limit)):
        outputs = 3 if code.kind == "rgb" else channels(code.resolution, sizes.base, sizes.limit)
        entries += layer(index, code, outputs, sizes.latent)
    return entries


def _rosinality_layer(index: int, code: Code, outputs: int, latent: int) -> list[Entry]:
    ours, affine = f"synthesis.layers.{index}", f"mapping.affine.{index}"
    level = int(math.log2(code.resolution)) - 3
    if code.kind == "rgb":
        theirs = "to_rgb1" if level < 0 else f"to_rgbs.{level}"
    else:
        theirs = "conv1" if level < 0 else f"convs.{2 * level + (code.kind == 'conv')}"
    kernel = 1 if code.kind == "rgb" else 3
    entries = [
        Entry(f"{theirs}.conv.weight", (1, outputs, code.size, kernel, kernel), f"{ours}.conv.weight"),
        Entry(f"{theirs}.conv.modulation.weight", (code.size, latent), f"{affine}.weight"),
        Entry(f"{theirs}.conv.modulation.bias", (code.size,), f"{affine}.bias"),
    ]
    if code.kind == "rgb":
        entries.append(Entry(f"{theirs}.bias", (1, 3, 1, 1), f"{ours}.bias"))
        if level >= 0:
            entries.append(Entry(f"{theirs}.upsample.kernel", (4, 4), optional=True, fir=4.0))
        return entries
    if code.kind == "conv_up":
        entries.append(Entry(f"{theirs}.conv.blur.kernel", (4, 4), optional=True, fir=4.0))
    noise = 0 if level < 0 else 2 * level + 1 + (code.kind == "conv")
    return [
        *entries,
        Entry(f"{theirs}.noise.weight", (1,), f"{ours}.noise_strength"),
        Entry(f"{theirs}.activate.bias", (outputs,), f"{ours}.bias"),
        # Older versions kept no noise.
        Entry(f"noises.noise_{noise}", (1, 1, code.resolution, code.resolution), optional=True),
    ]


def _nvlabs_layer(index: int, code: Code, outputs: int, latent: int) -> list[Entry]:
    ours, affine = f"synthesis.layers.{index}", f"mapping.affine.{index}"
    block = f"synthesis.b{code.resolution}"
    theirs = f"{block}.{ {'rgb': 'torgb', 'conv_up': 'conv0', 'conv': 'conv1'}[code.kind] }"
    kernel = 1 if code.kind == "rgb" else 3
    entries = [
        Entry(f"{theirs}.weight", (outputs, code.size, kernel, kernel), f"{ours}.conv.weight"),
        Entry(f"{theirs}.bias", (outputs,), f"{ours}.bias"),
        Entry(f"{theirs}.affine.weight", (code.size, latent), f"{affine}.weight"),
        Entry(f"{theirs}.affine.bias", (code.size,), f"{affine}.bias"),
    ]
    if code.kind == "rgb":
        return [*entries, Entry(f"{block}.resample_filter", (4, 4), optional=True, fir=1.0)]
    return [
        *entries,
        Entry(f"{theirs}.noise_strength", (), f"{ours}.noise_strength"),
        Entry(f"{theirs}.noise_const", (code.resolution, code.resolution)),
        Entry(f"{theirs}.resample_filter", (4, 4), optional=True, fir=1.0),
    ]


def discriminator(kind: str, sizes: Sizes) -> list[Entry]:
    """The entries of a discriminator."""
    sides = resolutions(sizes.size)[::-1]
    width = {side: channels(side, sizes.base, sizes.limit) for side in sides}
    last = width[4]
    entries: list[Entry] = []

    def layer(ours: str, weight: str, shape: tuple[int, ...], bias: str = "", fir: str = "") -> None:
        entries.append(Entry(weight, shape, f"{ours}.weight"))
        if bias:
            entries.append(Entry(bias, shape[:1], f"{ours}.bias"))
        if fir:
            entries.append(Entry(fir, (4, 4), optional=True, fir=1.0))

    if kind == ROSINALITY:
        layer("input", "convs.0.0.weight", (width[sizes.size], 3, 1, 1), "convs.0.1.bias")
        for k, side in enumerate(sides[:-1]):
            a, b, p = width[side], width[side // 2], f"convs.{k + 1}"
            layer(f"blocks.{k}.first", f"{p}.conv1.0.weight", (a, a, 3, 3), f"{p}.conv1.1.bias")
            layer(f"blocks.{k}.second", f"{p}.conv2.1.weight", (b, a, 3, 3), f"{p}.conv2.2.bias", f"{p}.conv2.0.kernel")
            layer(f"blocks.{k}.skip", f"{p}.skip.1.weight", (b, a, 1, 1), fir=f"{p}.skip.0.kernel")
        layer("last", "final_conv.0.weight", (last, last + 1, 3, 3), "final_conv.1.bias")
        layer("hidden", "final_linear.0.weight", (last, last * 16), "final_linear.0.bias")
        layer("output", "final_linear.1.weight", (1, last), "final_linear.1.bias")
        return entries

    def conv(ours: str, theirs: str, shape: tuple[int, ...], bias: bool = True) -> None:
        layer(ours, f"{theirs}.weight", shape, f"{theirs}.bias" if bias else "", f"{theirs}.resample_filter")

    conv("input", f"b{sizes.size}.fromrgb", (width[sizes.size], 3, 1, 1))
    for k, side in enumerate(sides[:-1]):
        a, b, p = width[side], width[side // 2], f"b{side}"
        entries.append(Entry(f"{p}.resample_filter", (4, 4), optional=True, fir=1.0))
        conv(f"blocks.{k}.first", f"{p}.conv0", (a, a, 3, 3))
        conv(f"blocks.{k}.second", f"{p}.conv1", (b, a, 3, 3))
        conv(f"blocks.{k}.skip", f"{p}.skip", (b, a, 1, 1), bias=False)
    conv("last", "b4.conv", (last, last + 1, 3, 3))
    layer("hidden", "b4.fc.weight", (last, last * 16), "b4.fc.bias")
    layer("output", "b4.out.weight", (1, last), "b4.out.bias")
    return entries
