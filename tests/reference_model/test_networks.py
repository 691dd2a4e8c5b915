"""Shapes, the style space of the paper, equality with direct formulas, independence of rows."""

from __future__ import annotations

import itertools
from functools import partial

import numpy as np
import pytest
import scipy.signal
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn import functional as F

from mfim import config
from mfim.config import Config
from mfim.discriminator import Discriminator, minibatch_deviation, r1_penalty
from mfim.encoder import TARGET_LIMIT, Encoder
from mfim.generator import Mapping, Synthesis, style_space
from mfim.layers import ModulatedConv, fir, upsample
from mfim.model import MFIM

TABLE = {
    4: [512, 512],
    8: [512, 512, 512],
    16: [512, 512, 512],
    32: [512, 512, 512],
    64: [512, 512, 512],
    128: [512, 256, 256],
    256: [256, 128, 128],
    512: [128, 64, 64],
    1024: [64, 32, 32],
}
"""The style space at 1024 px, derived from StyleGAN2's architecture."""


def test_style_space_is_that_of_the_paper_at_1024() -> None:
    codes = style_space(1024)
    found: dict[int, list[int]] = {}
    for code in codes:
        found.setdefault(code.resolution, []).append(code.size)
    assert found == TABLE
    assert (len(codes), sum(c.size for c in codes)) == (26, 9088)
    of_target = [c.size for c in codes if c.resolution <= TARGET_LIMIT]
    assert (len(of_target), sum(of_target), sum(c.size for c in codes) - sum(of_target)) == (8, 4096, 4992)


@pytest.mark.parametrize("size", [64, 128, 256, 1024])
def test_generator_and_discriminator_at_any_size(size: int) -> None:
    synthesis = Synthesis(size, 2048, 4)
    codes = [torch.randn(2, code.size) for code in synthesis.codes]
    image = synthesis(codes)
    assert image.shape == (2, 3, size, size)
    assert Discriminator(size, 2048, 4)(image).shape == (2,)


@pytest.mark.parametrize("size", [7, 4, 96, 2048])
def test_other_sizes_are_refused(size: int) -> None:
    with pytest.raises(ValueError, match="power of two"):
        Synthesis(size)


DIVIDERS = {"virtual-64": (1, 2, 4, 8, 16), "virtual-128": (4, 8, 16), "ffhq-256": (4, 8, 16), "ffhq-1024": (4, 8, 16)}
DIVIDERS |= {name: DIVIDERS["virtual-64"] for name in config.names() if name.startswith("ablation-")}


@pytest.mark.parametrize("name", config.names())
def test_declared_sizes_fit_together(name: str) -> None:
    settings = config.load(name).model
    with FakeTensorMode():  # shapes only: nothing of a 1024 px model is computed
        model = MFIM(settings)
        side = min(settings.size, 256)
        attributes = model.encoder(torch.empty(2, 3, settings.size, settings.size))
        assert [tuple(c.shape) for c in attributes.codes] == [(2, c.size) for c in model.synthesis.codes]
        sides = {model.synthesis.codes[k].resolution: m.shape for k, m in attributes.maps.items()}
        assert sides == {side // d: (2, 1, side // d, side // d) for d in DIVIDERS[name]}
        assert model.synthesis(attributes.codes, attributes.maps).shape == (2, 3, settings.size, settings.size)


def test_body_of_ffhq_configurations_is_ir_se50() -> None:
    settings = config.load("ffhq-1024").model
    with torch.device("meta"):
        body = Encoder(256, style_space(64), settings.body_widths, settings.body_units, 8).body
    assert len(body.body) == 24
    assert body.ends[1:] == [6, 20, 23]
    shapes = [tuple(x.shape) for x in body.to_empty(device="cpu").eval()(torch.zeros(1, 3, 64, 64))]
    assert shapes == [(1, 64, 64, 64), (1, 64, 32, 32), (1, 128, 16, 16), (1, 256, 8, 8), (1, 512, 4, 4)]


def direct_modulated(layer: ModulatedConv, x: Tensor, code: Tensor) -> Tensor:
    """StyleGAN2's formula row by row: scale the weights, normalise them, convolve."""
    rows = []
    for image, scale in zip(x, code, strict=True):
        weight = layer.weight * layer.gain * scale[None, :, None, None]
        if layer.demodulate:
            weight = weight / (weight.square().sum((1, 2, 3), keepdim=True) + 1e-8).sqrt()
        if layer.up:
            spread = F.conv_transpose2d(image[None], weight.transpose(0, 1), stride=2)
            rows.append(fir(spread, 1, 4.0))
        else:
            rows.append(F.conv2d(image[None], weight, padding=layer.kernel // 2))
    return torch.cat(rows)


@pytest.mark.parametrize(("kernel", "up", "demodulate"), [(3, False, True), (3, True, True), (1, False, False)])
def test_modulated_convolution_equals_scaled_weights(kernel: int, up: bool, demodulate: bool) -> None:
    torch.manual_seed(0)
    layer = ModulatedConv(5, 4, kernel, up=up, demodulate=demodulate)
    x, code = torch.randn(3, 5, 8, 8), torch.randn(3, 5)
    torch.testing.assert_close(layer(x, code), direct_modulated(layer, x, code), rtol=1e-4, atol=1e-5)


def test_upsampling_equals_scipy() -> None:
    image = np.random.default_rng(0).normal(size=(6, 6))
    once = lambda v: scipy.signal.upfirdn([0.25, 0.75, 0.75, 0.25], v, 2, axis=0)  # noqa: E731
    wanted = once(once(image).T).T[1:13, 1:13]
    found = upsample(torch.from_numpy(image)[None, None])[0, 0]
    np.testing.assert_allclose(found.numpy(), wanted, atol=1e-12)


def test_constant_stays_constant_through_upsampling() -> None:
    torch.testing.assert_close(upsample(torch.ones(1, 2, 8, 8))[..., 2:-2, 2:-2], torch.ones(1, 2, 12, 12))


def test_minibatch_deviation_by_hand() -> None:
    x = torch.randn(4, 3, 2, 2)
    found = minibatch_deviation(x, 2)
    assert found.shape == (4, 4, 2, 2)
    # Groups of two: rows (0, 2) and (1, 3); the deviation of two numbers is half their distance.
    wanted = torch.stack([((x[k] - x[k + 2]).abs() / 2).mean() for k in (0, 1, 0, 1)])
    torch.testing.assert_close(found[:, 3, 0, 0], wanted, rtol=1e-3, atol=1e-4)


def test_r1_equals_finite_differences() -> None:
    torch.manual_seed(0)
    net = Discriminator(8, 64, 4).double()
    real = torch.randn(2, 3, 8, 8, dtype=torch.float64)

    def total(x: Tensor) -> float:
        # Discriminator.forward returns float32: too coarse for differences, so its last steps are repeated in double.
        with torch.no_grad():
            y = net.last(minibatch_deviation(net.blocks(net.input(x))))
            return float(net.output(net.hidden(y.flatten(1))).sum())

    step, square = 1e-6, 0.0
    for k in range(real.numel()):
        nudge = torch.zeros(real.numel(), dtype=torch.float64)
        nudge[k] = step
        square += ((total(real + nudge.view_as(real)) - total(real - nudge.view_as(real))) / (2 * step)) ** 2
    assert float(r1_penalty(net, real)) == pytest.approx(square / 2, rel=1e-3)


def test_rows_are_independent_and_identity_comes_from_the_source(tiny: Config) -> None:
    torch.manual_seed(0)
    model = MFIM(tiny.model).eval()
    source, target = torch.randn(2, 3, 3, 32, 32).unbind(0)
    with torch.no_grad():
        whole = model(source, target)
        alone = torch.cat([model(source[k : k + 1], target[k : k + 1]) for k in range(3)])
        torch.testing.assert_close(whole, alone, rtol=1e-4, atol=1e-5)
        assert (model(target, target) - whole).abs().max() > 1e-3


def test_style_maps_and_their_strength_have_gradients_from_the_start(tiny: Config) -> None:
    model = MFIM(tiny.model)
    model(torch.randn(2, 3, 32, 32), torch.randn(2, 3, 32, 32)).square().mean().backward()
    for index in model.map_indices:
        strength = model.synthesis.layers[index].map_strength
        assert float(strength) > 0
        assert strength.grad is not None
        assert float(strength.grad.abs()) > 0
    for block in model.encoder.to_map.values():
        assert all(float(p.grad.abs().sum()) > 0 for p in block.parameters() if p.grad is not None)
        assert next(block.parameters()).grad is not None


def test_style_maps_carry_where_things_are(tiny: Config) -> None:
    """Without maps the target's spatial detail cannot come through; with them, moving the map moves the image."""
    torch.manual_seed(0)
    synthesis = Synthesis(32, 256, 16)
    codes = [torch.ones(1, c.size) for c in synthesis.codes]
    left, right = torch.zeros(1, 1, 8, 8), torch.zeros(1, 1, 8, 8)
    left[..., :2], right[..., -2:] = 3.0, 3.0
    at = next(k for k, c in enumerate(synthesis.codes) if c.resolution == 8 and c.kind == "conv")
    with torch.no_grad():
        plain = synthesis(codes)
        moved = [(synthesis(codes, {at: m}) - plain).abs().mean((0, 1, 2)) for m in (left, right)]
    assert moved[0][:8].mean() > 2 * moved[0][-8:].mean()
    assert moved[1][-8:].mean() > 2 * moved[1][:8].mean()


def test_mixing() -> None:
    """Every assignment of the ID levels; what a level's giver is changes those codes and no other."""
    torch.manual_seed(0)
    settings = config.load("virtual-128", ["model.channel_base=512", "model.channel_limit=8"]).model
    model = MFIM(settings).eval()
    assert model.id_levels == (32, 64, 128)
    first, second, third, target = torch.randn(4, 1, 3, 128, 128).unbind(0)
    close = partial(torch.testing.assert_close, rtol=1e-4, atol=1e-5)
    with torch.no_grad():
        close(model.mix([first], target, dict.fromkeys(model.id_levels, 0)), model(first, target))
        close(model.mix([first, first], target, {32: 0, 64: 1, 128: 0}), model(first, target))
        found = {}
        for givers in itertools.product(range(3), repeat=3):
            used = sorted(set(givers))  # sources that give something, in the order of their number
            levels = {level: used.index(giver) for level, giver in zip(model.id_levels, givers, strict=True)}
            found[givers] = model.mix([(first, second, third)[k] for k in used], target, levels)
        close(found[2, 2, 2], model(third, target))
        for a, b in itertools.combinations(found.values(), 2):
            assert (a - b).abs().max() > 1e-4
        swapped = model.mix([second, first], target, {32: 1, 64: 0, 128: 1})
        close(found[0, 1, 0], swapped)  # the sources' order is nothing, their levels are all
    with pytest.raises(ValueError, match=r"levels must be \[32, 64, 128\], got \[32, 64\]"):
        model.mix([first], target, {32: 0, 64: 0})
    for levels in ({32: 0, 64: 0, 128: 0}, {32: 0, 64: 1, 128: 2}):
        with pytest.raises(ValueError, match="2 sources, but"):
            model.mix([first, second], target, levels)


def test_style_mixing_cuts_the_codes() -> None:
    torch.manual_seed(0)
    mapping = Mapping(style_space(32, 256, 16), 8, 8, 2)
    a, b = torch.randn(2, 3, 8).unbind(0)
    early, late, mixed = mapping(a), mapping(b), mapping(a, b, 4)
    for k, code in enumerate(mixed):
        torch.testing.assert_close(code, early[k] if k < 4 else late[k])
