"""Random files of the exact published layouts. Names and shapes are written out here, not taken from our modules."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

Layout = dict[str, tuple[int, ...]]
WIDTHS = (64, 128, 256, 512)
BY_STAGE_50, BY_STAGE_101 = (3, 4, 14, 3), (3, 13, 30, 3)


def batch_norm(name: str, width: int, affine: bool = True) -> Layout:
    learned = {f"{name}.weight": (width,), f"{name}.bias": (width,)} if affine else {}
    return learned | {
        f"{name}.running_mean": (width,),
        f"{name}.running_var": (width,),
        f"{name}.num_batches_tracked": (),
    }


def ir(units: Sequence[int], excite: bool, affine: bool) -> Layout:
    """TreB1eN's ``Backbone`` and CurricularFace's."""
    layout: Layout = {"input_layer.0.weight": (64, 3, 3, 3), **batch_norm("input_layer.1", 64)}
    layout |= {"input_layer.2.weight": (64,), **batch_norm("output_layer.0", 512)}
    layout |= {"output_layer.3.weight": (512, 25088), "output_layer.3.bias": (512,)}
    layout |= batch_norm("output_layer.4", 512, affine)
    inputs, index = 64, 0
    for width, count in zip(WIDTHS, units, strict=True):
        for _ in range(count):
            unit = f"body.{index}"
            if inputs != width:
                layout |= {f"{unit}.shortcut_layer.0.weight": (width, inputs, 1, 1)}
                layout |= batch_norm(f"{unit}.shortcut_layer.1", width)
            layout |= batch_norm(f"{unit}.res_layer.0", inputs)
            layout |= {f"{unit}.res_layer.1.weight": (width, inputs, 3, 3), f"{unit}.res_layer.2.weight": (width,)}
            layout |= {f"{unit}.res_layer.3.weight": (width, width, 3, 3), **batch_norm(f"{unit}.res_layer.4", width)}
            if excite:
                layout |= {f"{unit}.res_layer.5.fc1.weight": (width // 16, width, 1, 1)}
                layout |= {f"{unit}.res_layer.5.fc2.weight": (width, width // 16, 1, 1)}
            inputs, index = width, index + 1
    return layout


def iresnet(blocks: Sequence[int]) -> Layout:
    """insightface's ``arcface_torch``."""
    layout: Layout = {"conv1.weight": (64, 3, 3, 3), **batch_norm("bn1", 64), "prelu.weight": (64,)}
    inputs = 64
    for number, (width, count) in enumerate(zip(WIDTHS, blocks, strict=True), 1):
        for k in range(count):
            block = f"layer{number}.{k}"
            layout |= {**batch_norm(f"{block}.bn1", inputs), f"{block}.conv1.weight": (width, inputs, 3, 3)}
            layout |= {**batch_norm(f"{block}.bn2", width), f"{block}.prelu.weight": (width,)}
            layout |= {f"{block}.conv2.weight": (width, width, 3, 3), **batch_norm(f"{block}.bn3", width)}
            if k == 0:
                layout |= {f"{block}.downsample.0.weight": (width, inputs, 1, 1)}
                layout |= batch_norm(f"{block}.downsample.1", width)
            inputs = width
    return layout | {
        **batch_norm("bn2", 512),
        "fc.weight": (512, 25088),
        "fc.bias": (512,),
        **batch_norm("features", 512),
    }


def sphere20(columns: int) -> Layout:
    """CosFace's ``sphere(type=20)``; the last map has 7 rows."""
    layout: Layout = {}
    inputs = 3
    for number, (width, count) in enumerate(zip(WIDTHS, (1, 2, 4, 1), strict=True), 1):
        layer = f"layer{number}"
        layout |= {f"{layer}.0.weight": (width, inputs, 3, 3), f"{layer}.0.bias": (width,)}
        layout |= {f"{layer}.1.weight": (width,)}
        for k in range(2, 2 + count):
            for half in (1, 2):
                layout |= {f"{layer}.{k}.conv{half}.weight": (width, width, 3, 3)}
                layout |= {f"{layer}.{k}.prelu{half}.weight": (width,)}
        inputs = width
    return layout | {"fc.weight": (512, 512 * 7 * columns), "fc.bias": (512,)}


def resnet50(prefix: str = "") -> Layout:
    """torchvision's, without its last layer."""
    layout: Layout = {f"{prefix}conv1.weight": (64, 3, 7, 7), **batch_norm(f"{prefix}bn1", 64)}
    inputs = 64
    for stage, (blocks, width) in enumerate(zip((3, 4, 6, 3), WIDTHS, strict=True), 1):
        for k in range(blocks):
            block = f"{prefix}layer{stage}.{k}"
            for number, (outputs, ins, side) in enumerate(
                ((width, inputs, 1), (width, width, 3), (4 * width, width, 1)), 1
            ):
                layout |= {f"{block}.conv{number}.weight": (outputs, ins, side, side)}
                layout |= batch_norm(f"{block}.bn{number}", outputs)
            if k == 0:
                layout |= {f"{block}.downsample.0.weight": (4 * width, inputs, 1, 1)}
                layout |= batch_norm(f"{block}.downsample.1", 4 * width)
            inputs = 4 * width
    return layout


def hopenet() -> Layout:
    """deep-head-pose's ``Hopenet``, with its unused ``fc_finetune``."""
    heads: Layout = {}
    for head in ("fc_yaw", "fc_pitch", "fc_roll"):
        heads |= {f"{head}.weight": (66, 2048), f"{head}.bias": (66,)}
    return resnet50() | heads | {"fc_finetune.weight": (3, 2051), "fc_finetune.bias": (3,)}


def deep3d() -> Layout:
    """Deep3DFaceRecon's ``net_recon``."""
    layout = resnet50("backbone.")
    for k, size in enumerate((80, 64, 80, 3, 27, 2, 1)):
        layout |= {f"final_layers.{k}.weight": (size, 2048, 1, 1), f"final_layers.{k}.bias": (size,)}
    return layout


def numbers(name: str, shape: Sequence[int]) -> Tensor:
    """Uniform numbers in (-1, 1), seeded by the name."""
    random = np.random.default_rng(zlib.crc32(name.encode()))
    return torch.from_numpy(np.asarray(random.random(tuple(shape), np.float32) * 2 - 1))


def fill(layout: Mapping[str, tuple[int, ...]]) -> dict[str, Tensor]:
    """Weights at the scale of trained ones, from names and shapes alone."""
    state: dict[str, Tensor] = {}
    for name, shape in layout.items():
        if name.endswith("num_batches_tracked"):
            state[name] = torch.zeros((), dtype=torch.int64)
            continue
        u = numbers(name, shape)
        if len(shape) > 1:
            u *= (3 / np.prod(shape[1:])) ** 0.5
        elif name.endswith("running_var"):
            u = 1 + 0.5 * u
        elif name.endswith("weight"):  # of a batch norm or a PReLU
            u = 0.6 + 0.3 * u
        else:
            u *= 0.3
        state[name] = u
    return state


def picture(height: int, width: int) -> Tensor:
    """(1, 3, height, width) in [-1, 1]: coarse patches under a little noise."""
    coarse = numbers("patches", (1, 3, 7, 7))
    large = coarse.repeat_interleave(-(-height // 7), 2).repeat_interleave(-(-width // 7), 3)
    return (0.75 * large[..., :height, :width] + 0.25 * numbers("grain", (1, 3, height, width))).contiguous()
