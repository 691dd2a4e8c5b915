"""HopeNet on ResNet-50: yaw, pitch and roll in 66 bins of three degrees each.

N. Ruiz, E. Chong, J. Rehg, "Fine-grained head pose estimation without keypoints", CVPR Workshops 2018; weights by the
authors (natanielruiz/deep-head-pose).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models import resnet50
from torchvision.transforms.v2 import functional as V

from mfim_bench import weights
from mfim_bench.networks.published.reliableswap import cut
from mfim_bench.networks.published.strict import load_strictly

if TYPE_CHECKING:
    from mfim_bench.faces.detect import Face

SIDE, BINS = 224, 66
STEP, FIRST = 3.0, -99.0
"""Degrees a bin, and of the first one."""
IMAGENET = torch.tensor([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]])
HALF = torch.full((2, 3), 0.5)
"""Mean and standard deviation of the colours."""


class HopeNet(nn.Module):
    """torchvision's ResNet-50 with three heads of `BINS` instead of its last layer."""

    def __init__(self) -> None:
        super().__init__()
        trunk = resnet50(weights=None)
        self.conv1, self.bn1 = trunk.conv1, trunk.bn1
        self.layer1, self.layer2, self.layer3, self.layer4 = trunk.layer1, trunk.layer2, trunk.layer3, trunk.layer4
        self.fc_yaw, self.fc_pitch, self.fc_roll = (nn.Linear(trunk.fc.in_features, BINS) for _ in range(3))

    def forward(self, images: Tensor) -> Tensor:
        """Args: images (B, 3, S, S), normalised RGB; S from 224 to 447. Returns logits (B, 3, 66): yaw, pitch, roll."""
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(images))), 3, 2, 1)
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        x = F.avg_pool2d(x, 7).flatten(1)  # as the authors have it: of a larger map only the first 7 x 7 places
        return torch.stack([self.fc_yaw(x), self.fc_pitch(x), self.fc_roll(x)], 1)


def degrees(logits: Tensor) -> Tensor:
    """(B, 3, 66) → (B, 3): the expected bin, in degrees."""
    bins = torch.arange(BINS, device=logits.device, dtype=logits.dtype)
    return (logits.softmax(2) * bins).sum(2) * STEP + FIRST


def load(path: Path) -> HopeNet:
    """Read ``hopenet_robust_alpha1.pkl``, strictly; its unused ``fc_finetune`` is dropped.

    Raises:
        UsageError: see `mfim_bench.weights.load` and `mfim_bench.networks.published.strict.load_strictly`.
    """
    with torch.device("meta"):
        network = HopeNet()
    load_strictly(network, weights.load(path), str(path), dropped=lambda name: name.startswith("fc_finetune."))
    return network.eval().requires_grad_(False)


def normalised(image: NDArray[np.uint8], colours: Tensor = IMAGENET) -> Tensor:
    """uint8 (H, W, 3) → float32 (1, 3, H, W): in [0, 1], less the mean, by the standard deviation."""
    tensor = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].float() / 255
    return (tensor - colours[0, :, None, None]) / colours[1, :, None, None]


def loose(image: NDArray[np.uint8], face: Face) -> Tensor:
    """The authors' crop: the detector's box with half its width on both sides, three quarters of its height above and
    a quarter below, inside the frame; its short side to 224 px by Pillow, the middle of it.
    """
    height, width = image.shape[:2]
    x0, y0, x1, y1 = (int(side) for side in np.rint(face.box))
    w, h = abs(x1 - x0), abs(y1 - y0)
    x0, x1 = max(int(x0 - 2 * w / 4), 0), min(int(x1 + 2 * w / 4), width)
    y0, y1 = max(int(y0 - 3 * h / 4), 0), min(int(y1 + h / 4), height)
    cut = Image.fromarray(image[y0:y1, x0:x1])
    middle = V.center_crop(V.resize(cut, [SIDE]), [SIDE, SIDE])
    return normalised(np.asarray(middle, np.uint8))


def reface(image: NDArray[np.uint8], face: Face) -> Tensor:
    """REFace's: the whole frame, as a tensor to 224 px, bilinear, averaged where it shrinks. No face is read."""
    tensor = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].float() / 255
    resized: Tensor = V.resize(tensor, [SIDE, SIDE], antialias=True)
    return (resized - IMAGENET[0, :, None, None]) / IMAGENET[1, :, None, None]


def casia(image: NDArray[np.uint8], face: Face) -> Tensor:
    """The CASIA survey's: the whole frame to 224 px by OpenCV, blue given for red. No face is read."""
    resized = np.asarray(cv2.resize(image, (SIDE, SIDE)), np.uint8)
    return normalised(resized[..., ::-1])


def metaswap(image: NDArray[np.uint8], face: Face) -> Tensor:
    """metaswap's: the whole frame to 224 px by Pillow, normalised by .5 and .5 instead of ImageNet's. No face is
    read.
    """
    resized = Image.fromarray(image).resize((SIDE, SIDE), Image.Resampling.BILINEAR)
    return normalised(np.asarray(resized, np.uint8), HALF)


def reliableswap(image: NDArray[np.uint8], face: Face) -> Tensor:
    """ReliableSwap's: its crop of 256 px in [-1, 1], and ImageNet's normalisation of that."""
    signed = (torch.from_numpy(cut(image, face)).permute(2, 0, 1)[None].float() / 255 - 0.5) / 0.5
    return (signed - IMAGENET[0, :, None, None]) / IMAGENET[1, :, None, None]
