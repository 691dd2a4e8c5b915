"""What is timed, and how: the same work by both implementations, by turns, after a warm-up."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn import functional as F
from torch.utils.benchmark import Measurement, TaskSpec, timer
from torch.utils.flop_counter import FlopCounterMode, conv_backward_flop, conv_flop_count

from mfim import config as configs
from mfim.checkpoints.layout import Entry
from mfim.config import Config
from mfim.discriminator import Discriminator
from mfim.draws import Draws
from mfim.generator import Mapping, StyledConv, Synthesis
from mfim.model import MFIM
from mfim.speed import rosinality
from mfim.training.gan import build, optimisers

SIDES = {"cpu": (512, 1024, 2048), "cuda": (2048, 4096, 8192)}
"""Of the square matrices whose product is timed."""
TOLERANCE = 1e-4
"""Largest difference of two images, nominally in [-1, 1], that counts as equal."""


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table.

    Attributes:
        what: forward, swap or step.
        size: side of the image.
        batch: rows.
        ours, theirs: times of the repeats; None = not compared.
        difference: largest absolute difference between both images; None = not compared.
        flops: of the dense convolutions and linear layers, a multiplication and an addition counted as two.
    """

    what: str
    size: int
    batch: int
    ours: Measurement
    theirs: Measurement | None
    difference: float | None
    flops: int

    @property
    def ratio(self) -> float | None:
        """Their median time over ours."""
        return None if self.theirs is None else self.theirs.median / self.ours.median


def ceiling(device: torch.device, dtype: torch.dtype) -> float:
    """The best rate of a square matrix product in FLOP/s: of torch's and, on a CPU, of oneDNN's, whichever is faster.

    (What torch multiplies CPU matrices with is much slower than oneDNN on some processors.)
    """
    best = 0.0
    for side in SIDES[device.type]:
        a, b = torch.randn(2, side, side, device=device).to(dtype).unbind(0)
        products: list[Callable[[], object]] = [lambda a=a, b=b: a @ b]  # type: ignore[misc]
        if device.type == "cpu" and torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
            blocked = a.contiguous().to_mkldnn(), b.contiguous().to_mkldnn()
            products.append(lambda blocked=blocked: F.linear(*blocked))  # type: ignore[misc]
        for product in products:
            with torch.inference_mode():
                seconds = min(alternate([product], 10)[0].raw_times)
            best = max(best, 2.0 * side**3 / seconds)
    return best


def alternate(works: Sequence[Callable[[], object]], repeats: int) -> list[Measurement]:
    """Time each work ``repeats`` times by turns, after one untimed turn."""
    times: list[list[float]] = [[] for _ in works]
    for turn in range(repeats + 1):
        for work, seconds in zip(works, times, strict=True):
            start = timer()  # waits for a GPU
            work()
            if turn:
                seconds.append(timer() - start)
    about = TaskSpec(stmt="", setup="", num_threads=torch.get_num_threads())
    return [Measurement(number_per_run=1, raw_times=seconds, task_spec=about) for seconds in times]


def configuration(size: int) -> Config:
    """Of ``size`` pixels, with the channels of StyleGAN2 config F and the encoder of pSp, in float32."""
    return configs.load("ffhq-1024", [f"model.size={size}", "precision=float32"])


def forward(size: int, device: torch.device, repeats: int, module: ModuleType | None) -> Row:
    """The generator alone, one latent z to one image, with the same constant noise added in every layer."""
    config = configuration(size)
    mapping, synthesis, discriminator = _networks(config)
    for network in (mapping, synthesis, discriminator):
        network.eval().requires_grad_(False)
    random = torch.Generator().manual_seed(1)
    z = torch.randn(1, config.model.z_size, generator=random).to(device)
    noise = {
        index: torch.randn(1, 1, code.resolution, code.resolution, generator=random)
        for index, code in enumerate(synthesis.codes)
        if code.kind != "rgb"
    }
    theirs: nn.Module | None = None
    if module is not None:
        images = list(noise.values())  # theirs are numbered in this order
        noises = lambda entry: images[int(entry.name.rpartition("_")[2])]  # noqa: E731
        theirs, _ = rosinality.networks(module, config.model, mapping, synthesis, discriminator, noises)
        theirs.to(device).eval().requires_grad_(False)
    mapping.to(device)
    synthesis.to(device)
    maps = {index: image.to(device) for index, image in noise.items()}

    def draw() -> Tensor:
        image: Tensor = synthesis(mapping(z), maps)
        return image

    def draw_theirs() -> Tensor:
        assert theirs is not None
        image: Tensor = theirs([z], randomize_noise=False)[0]
        return image

    with torch.inference_mode():
        difference = None if theirs is None else float((draw() - draw_theirs()).abs().max())
        times = alternate([draw] if theirs is None else [draw, draw_theirs], repeats)

    def once() -> None:
        mapping, synthesis, _ = _networks(config)
        synthesis(mapping(torch.empty(z.shape)))

    return Row("forward", size, 1, times[0], times[1] if theirs else None, difference, count(once))


def swap(size: int, device: torch.device, repeats: int) -> Row:
    """A whole swap: encoder on source and target, generator. rosinality has no encoder to compare with."""
    config = configuration(size).model
    model = MFIM(config).eval().requires_grad_(False).to(device)
    model.encoder.to(memory_format=torch.channels_last)
    source, target = torch.rand(2, 1, 3, size, size, device=device).unbind(0)
    with torch.inference_mode():
        times = alternate([lambda: model(source, target)], repeats)
    flops = count(lambda: MFIM(config).eval()(*torch.empty(2, 1, 3, size, size)))
    return Row("swap", size, 1, times[0], None, None, flops)


def step(size: int, batch: int, device: torch.device, repeats: int, module: ModuleType | None) -> Row:
    """One step of stage one: generator, then discriminator, each forward, backward and Adam, in float32.

    Without R1, augmentation and averaging, which are alike for both.
    """
    config = configuration(size)
    mapping, synthesis, discriminator = _networks(config)
    real = torch.rand(batch, 3, size, size, device=device) * 2.0 - 1.0
    z = torch.randn(batch, config.model.z_size, device=device)
    draws = Draws((0,), range(batch), device)
    works = []
    if module is not None:
        generator, critic = rosinality.networks(module, config.model, mapping, synthesis, discriminator, _noise)
        generator, critic = generator.to(device), critic.to(device)
        theirs = optimisers(config, nn.Identity(), generator, critic)
        works.append(lambda: _step(lambda: generator([z])[0], critic, *theirs, real))
    for network in (mapping, synthesis, discriminator):
        network.to(device)
    adam = optimisers(config, mapping, synthesis, discriminator)
    works.insert(
        0, lambda: _step(lambda: synthesis(mapping(z), noise=synthesis.noise(draws)), discriminator, *adam, real)
    )
    times = alternate(works, repeats)

    def once() -> None:
        mapping, synthesis, discriminator = _networks(config)
        latent, blank = torch.empty(z.shape), torch.empty(real.shape)
        adam = optimisers(config, mapping, synthesis, discriminator)
        _step(lambda: synthesis(mapping(latent)), discriminator, *adam, blank)

    return Row("step", size, batch, times[0], times[1] if module else None, None, count(once))


def _step(draw: Callable[[], Tensor], discriminator: nn.Module, first: Any, second: Any, real: Tensor) -> None:
    """As in `mfim.training.gan.train`."""
    discriminator.requires_grad_(False)
    fake = draw()
    torch.autograd.backward(F.softplus(-discriminator(fake)).mean())
    first.step()
    first.zero_grad()
    discriminator.requires_grad_(True)
    on_fake, on_real = discriminator(fake.detach()), discriminator(real)
    torch.autograd.backward(F.softplus(on_fake).mean() + F.softplus(-on_real).mean())
    second.step()
    second.zero_grad()


def _noise(entry: Entry) -> Tensor:
    return torch.zeros(entry.shape)


@torch.no_grad()
def _networks(config: Config) -> tuple[Mapping, Synthesis, Discriminator]:
    """The networks of stage one. Biases and noise strengths, which begin at zero, are drawn, so that they count."""
    mapping, synthesis, discriminator = build(config)
    for network in (mapping, synthesis, discriminator):
        for name, value in network.named_parameters():
            if name.endswith(("bias", "noise_strength")):
                value.add_(torch.randn_like(value), alpha=0.1)
    for layer in synthesis.layers:
        if isinstance(layer, StyledConv):
            layer.map_strength.copy_(layer.noise_strength)
    return mapping, synthesis, discriminator


def count(work: Callable[[], object]) -> int:
    """FLOPs of what makes its networks and runs them, on fake tensors: nothing is computed, each image is drawn whole.

    Depthwise convolutions (the FIR filters) count nothing, so the sum is what no order of the work can save.
    """

    def forward(x: Any, w: Any, *rest: Any, out_shape: Any, **_: Any) -> int:
        transposed, groups = rest[4], rest[6]
        return 0 if groups > 1 else conv_flop_count(x, w, out_shape, transposed=transposed)

    def backward(*shapes: Any, out_shape: Any, **_: Any) -> int:
        groups = shapes[9]
        return 0 if groups > 1 else conv_backward_flop(*shapes, out_val=out_shape)

    formulas = {torch.ops.aten.convolution: forward, torch.ops.aten.convolution_backward: backward}
    with FakeTensorMode(), FlopCounterMode(display=False, custom_mapping=formulas) as counter:
        work()
    return int(counter.get_total_flops())
