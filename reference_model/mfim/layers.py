"""The building blocks of StyleGAN2, in plain PyTorch: equalised layers, FIR filters, modulated convolution.

Tensors are (B, C, H, W), best in channels-last memory. Under autocast the convolutions run in the low precision while
modulation and demodulation factors are computed in float32. Every step that only scales or shifts is folded into a
convolution's weights and bias, or done in place, since a pass over a large map costs as much as many multiplications.
Source of the design: Karras et al., "Analyzing and Improving the Image Quality of StyleGAN", CVPR 2020.
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


def rectify(x: Tensor) -> Tensor:
    """Leaky rectifier, in place; the layers before it have put `GAIN` into their factors."""
    return F.leaky_relu(x, SLOPE, inplace=True)


def _taps(x: Tensor, gain: float) -> Tensor:
    """[1, 3, 3, 1] along both axes as the kernel (C, 1, 4, 4) of a depthwise convolution of ``x``, summing to gain."""
    taps = torch.tensor(FIR, dtype=x.dtype, device=x.device)
    return (taps[:, None] * taps * gain).expand(x.shape[1], 1, 4, 4)


def fir(x: Tensor, pad: int, gain: float = 1.0, *, stride: int = 1, bias: Tensor | None = None) -> Tensor:
    """Filter with [1, 3, 3, 1] along both axes, in one pass of 16 taps, which is faster than two of 4.

    Args:
        x: (B, C, H, W).
        pad: zeros on each side.
        gain: of the whole filter.
        stride: keep every so many rows and columns.
        bias: added, (C,).

    Returns:
        (B, C, (H + 2 pad - 4) // stride + 1, (W + 2 pad - 4) // stride + 1).
    """
    return F.conv2d(x, _taps(x, gain), bias, stride, pad, groups=x.shape[1])


def upsample(x: Tensor) -> Tensor:
    """Double the side, by zero insertion and the FIR filter; (B, C, H, W) to (B, C, 2H, 2W)."""
    return F.conv_transpose2d(x, _taps(x, 4.0), stride=2, padding=1, groups=x.shape[1])


def _kernel(outputs: int, inputs: int, side: int, *, transposed: bool = False) -> nn.Parameter:
    """Weights (outputs, inputs, side, side) of unit variance, in the memory layout that their convolution reads."""
    weight = torch.randn(outputs, inputs, side, side)
    if transposed:
        weight = weight.transpose(0, 1).contiguous(memory_format=torch.channels_last).transpose(0, 1)
    else:
        weight = weight.contiguous(memory_format=torch.channels_last)
    return nn.Parameter(weight)


class Linear(nn.Module):
    """Linear layer with equalised learning rate: weights of unit variance, scaled at run time.

    Args:
        inputs: size of the last axis.
        outputs: its size afterwards.
        bias: first value of the bias.
        rate: factor on the learning rate of weight and bias.
        activation: end with the leaky rectifier, at unit variance.
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
        if self.activation:
            return rectify(F.linear(x, self.weight * (self.gain * GAIN), self.bias * (self.rate * GAIN)))
        return F.linear(x, self.weight * self.gain, self.bias * self.rate)


class Conv(nn.Module):
    """Convolution with equalised learning rate, optionally after a FIR filter and with stride two.

    Args:
        inputs, outputs: channels.
        kernel: side of the kernel, odd.
        down: halve the side.
        activation: add a bias and end with the leaky rectifier, at unit variance; else the layer has neither.
        gain: of the output.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int,
        *,
        down: bool = False,
        activation: bool = True,
        gain: float = 1.0,
    ) -> None:
        super().__init__()
        self.weight = _kernel(outputs, inputs, kernel)
        self.bias = nn.Parameter(torch.zeros(outputs)) if activation else None
        self.shift = gain * (GAIN if activation else 1.0)
        self.gain = self.shift / math.sqrt(inputs * kernel * kernel)
        self.kernel = kernel
        self.down = down

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight * self.gain
        bias = None if self.bias is None else self.bias * self.shift
        if not self.down:
            x = F.conv2d(x, weight, bias, padding=self.kernel // 2)
        elif self.kernel == 1:
            # Only the pixels that the convolution would keep are filtered.
            x = F.conv2d(fir(x, 1, stride=2), weight, bias)
        else:
            x = F.conv2d(fir(x, 2), weight, bias, stride=2)
        return x if bias is None else rectify(x)


class ModulatedConv(nn.Module):
    """Convolution whose input channels are scaled per row by a style-space code, then (optionally) demodulated.

    One row scales the weights. Several rows share them: the maps are scaled before and after, which is equal.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, *, up: bool = False, demodulate: bool = True) -> None:
        super().__init__()
        self.weight = _kernel(outputs, inputs, kernel, transposed=up)
        self.gain = 1.0 / math.sqrt(inputs * kernel * kernel)
        self.up = up
        self.demodulate = demodulate
        self.kernel = kernel

    def forward(self, x: Tensor, code: Tensor, bias: Tensor | None = None, gain: float = 1.0) -> Tensor:
        """Convolve.

        Args:
            x: (B, inputs, H, W).
            code: (B, inputs).
            bias: (outputs,), added last.
            gain: of the demodulated output, not of the bias.

        Returns:
            (B, outputs, H, W), or twice the side if ``up``.
        """
        kernel = self.weight.transpose(0, 1) if self.up else self.weight
        with torch.autocast(x.device.type, enabled=False):
            code = code.float() * self.gain
            factor = code.new_full((1, 1), gain)
            if self.demodulate:
                power = kernel.float().square().sum(dim=(2, 3))
                factor = torch.rsqrt(code.square() @ (power if self.up else power.t()) + 1e-8) * gain
            if x.shape[0] == 1:
                scale = code.t() * factor if self.up else factor.t() * code
                kernel = kernel * scale[:, :, None, None]
        if x.shape[0] == 1:
            return self._convolve(x, kernel, bias)
        x = self._convolve(x * code.to(x.dtype)[:, :, None, None], kernel)
        factor = factor.to(x.dtype)[:, :, None, None]
        return x * factor if bias is None else torch.addcmul(bias.to(x.dtype)[:, None, None], x, factor)

    def _convolve(self, x: Tensor, kernel: Tensor, bias: Tensor | None = None) -> Tensor:
        if self.up:
            return fir(F.conv_transpose2d(x, kernel, stride=2), 1, 4.0, bias=bias)
        return F.conv2d(x, kernel, bias, padding=self.kernel // 2)
