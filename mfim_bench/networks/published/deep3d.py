"""Deep3DFaceRecon: 257 coefficients of a face model from one image.

Y. Deng et al., "Accurate 3D face reconstruction with weakly-supervised learning", CVPR Workshops 2019; the PyTorch
version and its weights by the authors (sicxu/Deep3DFaceRecon_pytorch). Distances between coefficients need neither the
Basel face model nor a renderer.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from PIL import Image
from torch import Tensor, nn
from torchvision.models import resnet50

from mfim_bench import weights
from mfim_bench.networks.published.strict import load_strictly

SIDE = 224
PARTS = {"id": 80, "exp": 64, "tex": 80, "angle": 3, "gamma": 27, "xy": 2, "z": 1}
"""Name → numbers, in the order of the output: shape, expression, texture, angles (radians), light, translation."""
WIDTH = 2048
SCALE = 102.0
"""How large the standard face is drawn, pixels a unit."""
MAX_PIXELS = 32_000_000
"""Of a scaled frame; where it would be larger (an eye distance under 16 px in HD) only what is cut is scaled."""
STANDARD = np.array(
    [
        [-0.31148657, 0.29036078, 0.13377953],
        [0.30979887, 0.28972036, 0.13179526],
        [0.0032534988, -0.046179324, 0.55244243],
        [-0.25216928, -0.38133916, 0.22405732],
        [0.2484662, -0.38128236, 0.22235769],
    ]
)
"""Eyes, nose tip and mouth corners of the standard face, y upwards: the means over 68 landmarks that the authors'
``load_lm3d`` takes of their ``similarity_Lm3D_all.mat``."""


class Deep3D(nn.Module):
    """torchvision's ResNet-50 without its last layer, and a 1x1 convolution for each of `PARTS`."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = resnet50(weights=None)
        self.backbone.fc = nn.Identity()
        self.final_layers = nn.ModuleList(nn.Conv2d(WIDTH, count, 1) for count in PARTS.values())

    def forward(self, images: Tensor) -> Tensor:
        """Args: images (B, 3, H, W), RGB in [0, 1]; 224 px where aligned. Returns (B, 257)."""
        pooled = self.backbone(images)[:, :, None, None]
        return torch.cat([layer(pooled) for layer in self.final_layers], 1).flatten(1)


def parts(coefficients: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
    """(N, 257) → name → (N, numbers), see `PARTS`."""
    ends = np.cumsum(list(PARTS.values()))[:-1]
    return dict(zip(PARTS, np.split(coefficients, ends, axis=1), strict=True))


def load(path: Path) -> Deep3D:
    """Read ``epoch_20.pth``, strictly: the tensors under ``net_recon``; the optimiser's state is not read.

    Raises:
        UsageError: see `mfim_bench.weights.load` and `mfim_bench.networks.published.strict.load_strictly`.
    """
    state = weights.load(path)
    inner = {k.removeprefix("net_recon."): v for k, v in state.items() if k.startswith("net_recon.")}
    with torch.device("meta"):
        network = Deep3D()
    load_strictly(network, inner or state, str(path))
    return network.eval().requires_grad_(False)


def align(image: NDArray[np.uint8], points: ArrayLike) -> NDArray[np.uint8]:
    """Cut a face as the authors do, to the pixel: a weak perspective camera is fitted to the standard face's five
    points, the whole frame is scaled so that the face has `SCALE`, and a square is cut at whole pixels.

    The rotation of the camera is not taken out. Scaled by Pillow, bicubic with an average where it shrinks; black
    outside the frame.

    Args:
        image: uint8 RGB (H, W, 3).
        points: (5, 2), see `mfim_bench.faces.detect.Face.points`.

    Returns:
        uint8 RGB (224, 224, 3).
    """
    height, width = image.shape[:2]
    seen = np.array(points, np.float32).astype(np.float64)
    seen[:, 1] = height - 1 - seen[:, 1]  # y upwards, as the standard face's
    known = np.hstack([STANDARD, np.ones((5, 1))])
    camera = np.linalg.lstsq(known, seen, rcond=None)[0]  # (4, 2): a row of the rotation, scaled, and its shift
    scale = 2 * SCALE / np.linalg.norm(camera[:3], axis=0).sum()
    shift = camera[3]
    w, h = int(width * scale), int(height * scale)
    left = int(w / 2 - SIDE / 2 + (shift[0] - width / 2) * scale)
    up = int(h / 2 - SIDE / 2 + (height / 2 - shift[1]) * scale)
    picture = Image.fromarray(image)
    if w * h > MAX_PIXELS:
        return _resized_part(picture, (w, h), (left, up))
    resized = picture.resize((w, h), Image.Resampling.BICUBIC)
    return np.asarray(resized.crop((left, up, left + SIDE, up + SIDE)), np.uint8)


def _resized_part(image: Image.Image, size: tuple[int, int], corner: tuple[int, int]) -> NDArray[np.uint8]:
    """The square of `SIDE` at ``corner`` of the image scaled to ``size``, black outside, without the rest of it.

    Pillow's arithmetic differs a little from that of the whole (at most 6 of 255 in 60 crops).
    """
    (w, h), (left, up) = size, corner
    x0, y0, x1, y1 = max(left, 0), max(up, 0), min(left + SIDE, w), min(up + SIDE, h)
    found = np.zeros((SIDE, SIDE, 3), np.uint8)
    if x0 < x1 and y0 < y1:
        fx, fy = image.width / w, image.height / h
        box = (x0 * fx, y0 * fy, x1 * fx, y1 * fy)
        part = image.resize((x1 - x0, y1 - y0), Image.Resampling.BICUBIC, box=box)
        found[y0 - up : y1 - up, x0 - left : x1 - left] = np.asarray(part)
    return found


def unaligned(image: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """The whole frame at ``side`` px, bicubic by Pillow."""
    return np.asarray(Image.fromarray(image).resize((side, side), Image.Resampling.BICUBIC), np.uint8)


def to_tensor(image: NDArray[np.uint8]) -> Tensor:
    """uint8 (H, W, 3) → float32 (1, 3, H, W) in [0, 1]."""
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].float() / 255
