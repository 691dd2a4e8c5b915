"""The open recogniser: how far two faces are from being one person's, on virtual faces.

A small ResNet whose last map a depthwise layer sums up, place by place, into a unit embedding, as in MobileFaceNet
(S. Chen et al., CCBR 2018). Crop: the ``ffhq`` template (turned upright) at `ZOOM` and `SIZE` px, RGB in [0, 1], (x -
0.5) / 0.25; the judge takes the mean of the image and its mirror image.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import timm
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from mfim_bench.faces.templates import crop, crop_matrix

if TYPE_CHECKING:
    from mfim_bench.faces.detect import Face
    from mfim_bench.measure import Features

SIZE, ZOOM = 112, 0.72
"""Pixels of the crop; its side as a share of the template's: from the hairline to below the chin [own choice]."""
BACKBONE, CHANNELS, EMBEDDING = "resnet18", (20, 40, 80, 160), 128
CHUNK = 32


class Recogniser(nn.Module):
    """Image -> unit embedding."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = timm.create_model(
            BACKBONE, pretrained=False, features_only=True, channels=CHANNELS, out_indices=(4,)
        )
        last = CHANNELS[-1]
        self.head = nn.Sequential(
            nn.BatchNorm2d(last), nn.Conv2d(last, last, -(-SIZE // 32), groups=last, bias=False), nn.Flatten(),
            nn.BatchNorm1d(last), nn.Linear(last, EMBEDDING, bias=False), nn.BatchNorm1d(EMBEDDING),
        )  # fmt: skip

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, S, S) in [0, 1] -> (B, 128) of unit length, float32."""
        embedding: Tensor = self.head(self.backbone((images - 0.5) / 0.25)[0])
        return F.normalize(embedding.float(), dim=1)


class RecogniserJudge:
    """Implements `mfim_bench.measure.Judge`: features ``embedding``, float32 (N, 128), of unit length."""

    def __init__(self, network: Recogniser, device: torch.device) -> None:
        self.network = network.eval().to(device)
        self.device = device

    @torch.no_grad()
    def features(self, images: Sequence[NDArray[np.uint8]], faces: Sequence[Face]) -> Features:
        """Embeddings of N frames.

        Args:
            images: N frames, uint8 RGB (H, W, 3).
            faces: the face found in each.
        """
        out = [np.zeros((0, EMBEDDING), np.float32)]
        for start in range(0, len(images), CHUNK):
            rows = slice(start, start + CHUNK)
            cut = np.stack([self._crop(*row) for row in zip(images[rows], faces[rows], strict=True)])
            tensor = torch.from_numpy(cut).to(self.device).permute(0, 3, 1, 2).float() / 255
            seen = self.network(tensor) + self.network(tensor.flip(-1))
            out.append(F.normalize(seen, dim=1).cpu().numpy())
        return {"embedding": np.concatenate(out)}

    @staticmethod
    def _crop(image: NDArray[np.uint8], face: Face) -> NDArray[np.uint8]:
        height, width = image.shape[:2]
        return crop(image, crop_matrix(face.points, "ffhq", SIZE, image_size=(width, height), zoom=ZOOM), SIZE)


def load(path: Path) -> Recogniser:
    """A trained network, on the CPU, in float32."""
    from mfim_bench import weights

    network = Recogniser()
    state = weights.load(path)
    network.load_state_dict({k: v.float() if v.is_floating_point() else v for k, v in state.items()})
    return network.eval()


def judge(device: torch.device) -> RecogniserJudge:
    """The judge with the weights that ship."""
    from mfim_bench import weights

    return RecogniserJudge(load(weights.path("recogniser")), device)
