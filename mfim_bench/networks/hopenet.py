"""The open HopeNet: head pose by three classifiers over bins of three degrees.

After N. Ruiz, E. Chong, J. Rehg, "Fine-grained head pose estimation without keypoints", CVPRW 2018: an angle's 66 bins
cover [-99°, 99°), and the angle is the expectation of the bin's lower edge under the softmax. The backbone is smaller
and trained on virtual faces; blocks of `FOLD` x `FOLD` pixels enter it as channels. Crop: the ``box`` template
(upright, no roll removed), `SIZE` px, RGB in [0, 1], ImageNet mean and deviation; in training at `ZOOM`, the judge
takes the mean of a wider view and a narrower one, both also in a mirror.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mfim_bench.faces.templates import crop, crop_matrix
from mfim_bench.networks.folded import Folded
from mfim_bench.networks.views import inner

if TYPE_CHECKING:
    from mfim_bench.faces.detect import Face
    from mfim_bench.measure import Features

SIZE, ZOOM, FOLD = 192, 1.15, 2
VIEW, PART = 1.28, 0.836
"""Zoom of the judge's wider view, and the centred part of it that is the narrower [own choice, on training people]."""
BACKBONE, CHANNELS = "seresnet18", (32, 64, 128, 256)
BINS, WIDTH, FIRST = 66, 3.0, -99.0
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
CHUNK = 32


class HopeNet(nn.Module):
    """Image -> logits of yaw, pitch and roll."""

    mean: Tensor
    deviation: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.backbone = Folded(BACKBONE, FOLD, num_classes=3 * BINS, channels=CHANNELS)
        self.register_buffer("mean", torch.tensor(MEAN)[:, None, None], persistent=False)
        self.register_buffer("deviation", torch.tensor(DEVIATION)[:, None, None], persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, S, S) in [0, 1] -> (B, 3, 66) logits: yaw, pitch, roll."""
        logits: Tensor = self.backbone((images - self.mean) / self.deviation)
        return logits.reshape(-1, 3, BINS)


def degrees(logits: Tensor) -> Tensor:
    """(…, 66) logits -> (…) expected angle in degrees."""
    edges = torch.arange(BINS, device=logits.device) * WIDTH + FIRST
    return (logits.float().softmax(-1) * edges).sum(-1)


def pose(network: HopeNet, images: Tensor) -> Tensor:
    """(B, 3, S, S) in [0, 1], cut at `VIEW` -> (B, 3) degrees: the mean over views."""
    mirror = images.new_tensor([-1.0, 1.0, -1.0])
    views = (images, inner(images, PART))
    seen = [degrees(network(v)) + mirror * degrees(network(v.flip(-1))) for v in views]
    return torch.stack(seen).mean(0) / 2


class HopeNetJudge:
    """Implements `mfim_bench.measure.Judge`; see `features`."""

    def __init__(self, network: HopeNet, device: torch.device) -> None:
        self.network = network.eval().to(device)
        self.device = device

    @torch.no_grad()
    def features(self, images: Sequence[NDArray[np.uint8]], faces: Sequence[Face]) -> Features:
        """``pose`` (N, 3) degrees: yaw, pitch, roll in the frame's axes.

        Positive yaw turns the nose to image right, positive pitch lifts it, positive roll tilts the head
        counter-clockwise in the image.

        Args:
            images: N frames, uint8 RGB (H, W, 3).
            faces: the face found in each.
        """
        out = [np.zeros((0, 3), np.float32)]
        for start in range(0, len(images), CHUNK):
            part = [
                crop(image, crop_matrix(face.points, "box", SIZE, zoom=VIEW), SIZE)
                for image, face in zip(images[start : start + CHUNK], faces[start : start + CHUNK], strict=True)
            ]
            tensor = torch.from_numpy(np.stack(part)).to(self.device).permute(0, 3, 1, 2).float() / 255
            out.append(pose(self.network, tensor).cpu().numpy())
        return {"pose": np.concatenate(out)}


def load(path: Path) -> HopeNet:
    """A trained network, on the CPU, in float32."""
    from mfim_bench import weights

    network = HopeNet()
    state = weights.load(path)
    network.load_state_dict({k: v.float() if v.is_floating_point() else v for k, v in state.items()})
    return network.eval()


def judge(device: torch.device) -> HopeNetJudge:
    """The judge with the weights that ship."""
    from mfim_bench import weights

    return HopeNetJudge(load(weights.path("hopenet")), device)
