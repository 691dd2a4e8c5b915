"""LPIPS with its trunk from a local file; the package's heads, its trunks' layers and its input scaling.

R. Zhang et al., "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric", CVPR 2018; package ``lpips``,
version 0.1 of the heads. The package itself downloads the trunk and reads the heads with ``strict=False``.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import lpips
import numpy as np
import torch
import torchvision
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from mfim_bench import weights
from mfim_bench.errors import UsageError
from mfim_bench.networks.published.strict import Entry, compare, load_strictly

if TYPE_CHECKING:
    from mfim_bench.faces.detect import Face
    from mfim_bench.measure import Features

Net = Literal["alex", "vgg"]
SIDE = 256
"""Pixels to which frames are brought [own choice]: LPIPS takes any size, and its value depends on it."""
TAPS: dict[Net, tuple[int, ...]] = {"alex": (2, 5, 8, 10, 12), "vgg": (4, 9, 16, 23, 30)}
"""How many of torchvision's layers lie before each map that is compared: each ends with a ReLU."""
WIDTHS: dict[Net, tuple[int, ...]] = {"alex": (64, 192, 384, 256, 256), "vgg": (64, 128, 256, 512, 512)}
HEADS = Path(lpips.__file__).parent / "weights" / "v0.1"


class Perceptual(nn.Module):
    """Images as points whose squared Euclidean distance is LPIPS.

    LPIPS sums weight x (difference of normalised activations)² over channels and averages it over places. No weight is
    negative, so its root, and that of one place's share, can be given to each activation.

    Args:
        layers: of the trunk, torchvision's ``features``.
        net: which trunk.
        heads: the non-negative weight of each channel, per map.

    Raises:
        UsageError: a weight is negative.
    """

    def __init__(self, layers: nn.Sequential, net: Net, heads: Sequence[Tensor]) -> None:
        super().__init__()
        bounds = (0, *TAPS[net])
        self.slices = nn.ModuleList(layers[a:b] for a, b in itertools.pairwise(bounds))
        self.scaling = lpips.ScalingLayer()
        if any((head < 0).any() for head in heads):
            raise UsageError("a head of LPIPS has a negative weight")
        for number, head in enumerate(heads):
            self.register_buffer(f"head{number}", head.reshape(1, -1, 1, 1).sqrt())

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) RGB in [-1, 1] -> (B, D); D depends on H and W."""
        x, found = self.scaling(images), []
        for number, layers in enumerate(self.slices):
            x = layers(x)
            places = x.shape[-2] * x.shape[-1]
            found.append(lpips.normalize_tensor(x) * getattr(self, f"head{number}") / places**0.5)
        return torch.cat([map_.flatten(1) for map_ in found], 1)


def _load(path: Path, net: Net) -> Perceptual:
    with torch.device("meta"):
        trunk = torchvision.models.alexnet() if net == "alex" else torchvision.models.vgg16()
    load_strictly(trunk, weights.load(path), path.name)
    file = HEADS / f"{net}.pth"
    heads = weights.load(file)
    layout = [Entry(f"lin{number}.model.1.weight", (1, width, 1, 1)) for number, width in enumerate(WIDTHS[net])]
    if difference := compare(heads, layout):
        raise UsageError(f"{file.name} of the package lpips: {difference}")
    return Perceptual(trunk.features, net, [heads[entry.name] for entry in layout]).eval().requires_grad_(False)


def load_alex(path: Path) -> Perceptual:
    """``alexnet-owt-7be5be79.pth`` with LPIPS's heads, on the CPU, in float32.

    Raises:
        UsageError: the file is of another layout; one line says how.
    """
    return _load(path, "alex")


def load_vgg(path: Path) -> Perceptual:
    """``vgg16-397923af.pth`` with LPIPS's heads; otherwise as `load_alex`."""
    return _load(path, "vgg")


def to_tensor(image: NDArray[np.uint8]) -> Tensor:
    """uint8 RGB (H, W, 3) -> (1, 3, 256, 256) in [-1, 1]; Pillow's bilinear filter, which averages where it shrinks."""
    if image.shape[:2] != (SIDE, SIDE):
        resized = Image.fromarray(image).resize((SIDE, SIDE), Image.Resampling.BILINEAR)
        image = np.asarray(resized, np.uint8)
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].float().div(127.5).sub(1)


class PerceptualJudge:
    """LPIPS's network; implements `mfim_bench.measure.Judge`."""

    def __init__(self, network: Perceptual, device: torch.device) -> None:
        self.network, self.device = network.to(device), device

    @torch.inference_mode()
    def features(self, images: Sequence[NDArray[np.uint8]], faces: Sequence[Face]) -> Features:
        """``perceptual`` (N, D) of whole frames, one by one; see `Perceptual`. No face is read.

        Args:
            images: N frames, uint8 RGB (H, W, 3), at least one.
            faces: not read.
        """
        rows = [self.network(to_tensor(image).to(self.device)) for image in images]
        return {"perceptual": torch.cat(rows).cpu().numpy().astype(np.float32)}


def _judge(load: Callable[[Path], Perceptual], name: str) -> Callable[[torch.device], PerceptualJudge]:
    """A factory of judges."""
    return lambda device: PerceptualJudge(load(weights.path(name)), device)


alex = _judge(load_alex, "lpips-alexnet")
vgg = _judge(load_vgg, "lpips-vgg16")
