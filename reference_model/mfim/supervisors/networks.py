"""The supervisors' networks. Both look at a centred part of an ``ffhq`` crop, resized to `SIZE` px, and are
differentiable.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import timm
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mfim_bench.networks.face3d import Face3d, LandmarkNet, empty_fit
from mfim_bench.networks.face3d_fit import HeadFit

SIZE = 96
PART = {"supervisor-r": 0.85, "supervisor-face3d": 0.9}
"""Side of what is looked at, as a share of the crop: from the forehead to below the chin [own choice]."""
EMBEDDING = 256
ITERATIONS = 4


def centre_part(images: Tensor, part: float, size: int = SIZE) -> Tensor:
    """(B, 3, S, S) -> (B, 3, size, size): the centred square of side ``part``·S, antialiased where it shrinks.

    Pixel edges, not centres, map onto each other, so the result means the same at every S.
    """
    side = images.shape[-1]
    if side != round(2 * size):  # a common middle size, so that the cut never rounds differently
        images = F.interpolate(images, size=(2 * size, 2 * size), mode="bilinear", antialias=True, align_corners=False)
    keep = 2 * round(size * part)
    start = (2 * size - keep) // 2
    cut = images[..., start : start + keep, start : start + keep]
    return F.interpolate(cut, size=(size, size), mode="bilinear", antialias=True, align_corners=False)


def seen(part: float, size: int = SIZE) -> float:
    """The share of the crop's side that `centre_part` really keeps."""
    return round(size * part) / size


class Supervisor(nn.Module, ABC):
    """What both have in common."""

    @abstractmethod
    def features(self, images: Tensor) -> list[Tensor]:
        """(B, 3, S, S) in [0, 1] -> feature maps of the backbone, fine to coarse."""


class Recogniser(Supervisor):
    """R: an SE-ResNet whose last map is flattened into a unit embedding, as the ArcFace family does."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = timm.create_model(
            "seresnet18", pretrained=False, features_only=True, channels=(32, 64, 128, 256), out_indices=(1, 2, 3, 4)
        )
        side = -(-SIZE // 32)
        self.head = nn.Sequential(
            nn.BatchNorm2d(256), nn.Flatten(), nn.Linear(256 * side * side, EMBEDDING), nn.BatchNorm1d(EMBEDDING)
        )

    def features(self, images: Tensor) -> list[Tensor]:
        maps: list[Tensor] = self.backbone((centre_part(images, PART["supervisor-r"]) - 0.5) / 0.25)
        return maps

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, S, S) in [0, 1] -> (B, 256) unit embeddings, float32."""
        embedding: Tensor = self.head(self.features(images)[-1])
        return F.normalize(embedding.float(), dim=1)


class Recognisers(Supervisor):
    """Several recognisers as one: the cosine of two outputs is the mean of their cosines."""

    def __init__(self, members: Sequence[nn.Module]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    def features(self, images: Tensor) -> list[Tensor]:
        maps: list[Tensor] = []
        for member in self.members:
            maps += member.features(images)  # type: ignore[operator]
        return maps

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, S, S) in [0, 1] -> (B, sum of D) of unit length, float32."""
        embeddings = [F.normalize(member(images).float(), dim=1) for member in self.members]
        together: Tensor = torch.cat(embeddings, 1) / len(embeddings) ** 0.5
        return together


class Face3dSupervisor(Supervisor):
    """The 3DMM supervisor: dense landmarks, and a fit whose optimum carries gradients to them.

    The network is a bottleneck ResNet (the judge's is a basic one), smaller in input. Shape and expression are the
    aligned vertices over the root of their number, so that the L2 distance of two outputs is their RMS distance in mm.
    """

    def __init__(self, fit: HeadFit, start: Tensor) -> None:
        super().__init__()
        net = LandmarkNet(start, fit.guesses, "resnet14t", {"channels": (32, 64, 128, 256)}, SIZE)
        self.core = Face3d(net, fit)

    @classmethod
    def of_state(cls, state: dict[str, Tensor]) -> Face3dSupervisor:
        """An untrained one of the sizes found in a file of weights."""
        fit = empty_fit(state, "core.fit.")
        return cls(fit, torch.zeros(len(fit.mean), 2))

    def features(self, images: Tensor) -> list[Tensor]:
        return self.core.net.stages(centre_part(images, PART["supervisor-face3d"]))

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """(B, 3, S, S) in [0, 1] -> ``shape`` and ``expression`` (B, 3K) mm over the root of K, ``pose`` (B, 3).

        Pose is yaw, pitch, roll in radians, in the crop's own axes (an ``ffhq`` crop has no roll of the eyes).
        """
        _, face = self.core(centre_part(images, PART["supervisor-face3d"]), ITERATIONS)
        root = face.neutral.shape[1] ** 0.5
        return {
            "shape": face.neutral.flatten(1).float() / root,
            "expression": face.expression.flatten(1).float() / root,
            "pose": face.angles.float(),
        }
