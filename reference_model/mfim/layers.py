"""The building blocks of StyleGAN2, in plain PyTorch: equalised layers, separable FIR filters, modulated convolution.

Tensors are (B, C, H, W). Under autocast the convolutions run in the low precision while modulation and demodulation
factors are computed in float32. Source of the design: Karras et al., "Analyzing and Improving the Image Quality of
StyleGAN", CVPR 2020.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

SLOPE = 0.2
GAIN = math.sqrt(2.0)
"""Keeps the variance of a unit input after the leaky rectifier."""
FIR = (0.125, 0.375, 0.375, 0.125)
"""[1, 3, 3, 1], normalised."""


def activate(x: Tensor, bias: Tensor | None = None) -> Tensor:
    """Leaky rectifier of ``x`` (B, C, ...) plus ``bias`` (C,), at unit variance."""
    if bias is not None:
        x = x + bias.to(x.dtype).view(1, -1, *[1] * (x.ndim - 2))
    return F.leaky_relu(x, SLOPE) * GAIN


def fir(x: Tensor, pad: tuple[int, int], gain: float = 1.0) -> Tensor:
    """Filter with [1, 3, 3, 1] along both axes, as two one-dimensional depthwise passes.

    Args:
        x: (B, C, H, W).
        pad: zeros before and after, on both axes.
        gain: of the whole filter.

    Returns:
        (B, C, H + sum(pad) - 3, W + sum(pad) - 3).
    """
    channels = x.shape[1]
    taps = torch.tensor(FIR, dtype=x.dtype, device=x.device) * math.sqrt(gain)
    if pad[0] != pad[1]:
        x, pad = F.pad(x, (*pad, *pad)), (0, 0)
    x = F.conv2d(x, taps.view(1, 1, 4, 1).expand(channels, 1, 4, 1), padding=(pad[0], 0), groups=channels)
    return F.conv2d(x, taps.view(1, 1, 1, 4).expand(channels, 1, 1, 4), padding=(0, pad[0]), groups=channels)


def upsample(x: Tensor) -> Tensor:
    """Double the side, by zero insertion and the FIR filter; (B, C, H, W) to (B, C, 2H, 2W)."""
    batch, channels, height, width = x.shape
    zeros = x.new_zeros(batch, channels, height, 2, width, 2)
    zeros[:, :, :, 0, :, 0] = x
    return fir(zeros.view(batch, channels, 2 * height, 2 * width), (2, 1), 4.0)


class Linear(nn.Module):
    """Linear layer with equalised learning rate: weights of unit variance, scaled at run time.

    Args:
        inputs: size of the last axis.
        outputs: its size afterwards.
        bias: first value of the bias.
        rate: factor on the learning rate of weight and bias.
        activation: end with `activate`.
    """

    def __init__(
        self, inputs: int, outputs: int, *, bias: float = 0.0, rate: float = 1.0, activation: bool = False
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs) / rate)
        self.bias = nn.Parameter(torch.full((outputs,), bias / rate))
        self.rate = rate
        self.gain = rate / math.sqrt(inputs)
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        x = F.linear(x, self.weight * self.gain)
        if self.activation:
            return activate(x, self.bias * self.rate)
        return x + (self.bias * self.rate).to(x.dtype)


class Conv(nn.Module):
    """Convolution with equalised learning rate, optionally after a FIR filter and with stride two.

    Args:
        inputs, outputs: channels.
        kernel: side of the kernel, odd.
        down: halve the side.
        activation: add a bias and end with `activate`; else the layer has neither.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, *, down: bool = False, activation: bool = True) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(outputs)) if activation else None
        self.gain = 1.0 / math.sqrt(inputs * kernel * kernel)
        self.kernel = kernel
        self.down = down

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight * self.gain
        if self.down:
            # The filtered map is one larger than the input per side for a 3x3 kernel, and fits a 1x1 kernel exactly.
            x = fir(x, (2, 2) if self.kernel == 3 else (1, 1))
            x = F.conv2d(x, weight, stride=2)
        else:
            x = F.conv2d(x, weight, padding=self.kernel // 2)
        return x if self.bias is None else activate(x, self.bias)


class ModulatedConv(nn.Module):
    """Convolution whose input channels are scaled per row by a style-space code, then (optionally) demodulated.

    The scaling is applied to the activations before the convolution and the demodulation after it, which equals
    scaling the weights and keeps rows independent.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, *, up: bool = False, demodulate: bool = True) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs, kernel, kernel))
        self.gain = 1.0 / math.sqrt(inputs * kernel * kernel)
        self.up = up
        self.demodulate = demodulate
        self.kernel = kernel

    def forward(self, x: Tensor, code: Tensor) -> Tensor:
        """Args: x (B, inputs, H, W); code (B, inputs). Returns (B, outputs, H, W), or twice the side if ``up``."""
        weight = self.weight * self.gain
        with torch.autocast(x.device.type, enabled=False):
            code = code.float()
            factor = None
            if self.demodulate:
                power = weight.float().square().sum(dim=(2, 3))
                factor = torch.rsqrt(code.square() @ power.t() + 1e-8)
        x = x * code.to(x.dtype)[:, :, None, None]
        if self.up:
            x = F.conv_transpose2d(x, weight.transpose(0, 1), stride=2)
            x = fir(x, (1, 1), 4.0)
        else:
            x = F.conv2d(x, weight, padding=self.kernel // 2)
        return x if factor is None else x * factor.to(x.dtype)[:, :, None, None]
