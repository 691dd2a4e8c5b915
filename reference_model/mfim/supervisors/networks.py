"""The supervisors' networks. Both look at a centred part of an ``ffhq`` crop, resized to `SIZE` px, and are
differentiable.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

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


class Face3dSupervisor(Supervisor):
    """The 3DMM supervisor: dense landmarks, and a fit whose optimum carries gradients to them.

    The network is a bottleneck ResNet (the judge's is a basic one), smaller in input. Shape and expression are scaled
    so
    that the L2 distance of two outputs is the RMS distance of the vertices they stand for, in mm: the coefficients are
    multiplied by the root of the basis' Gram matrix.
    """

    shape_root: Tensor
    expression_root: Tensor

    def __init__(self, fit: HeadFit, start: Tensor) -> None:
        super().__init__()
        net = LandmarkNet(start, "resnet14t", {"channels": (32, 64, 128, 256)}, SIZE, squeeze=64)
        self.core = Face3d(net, fit)
        self.register_buffer("shape_root", torch.zeros(fit.shapes, fit.shapes), persistent=False)
        self.register_buffer("expression_root", torch.zeros(fit.actions, fit.actions), persistent=False)
        self.set_roots()

    def set_roots(self) -> None:
        """Roots of the Gram matrices of the bases in use."""
        fit = self.core.fit
        for name, basis in (("shape_root", fit.shape_basis), ("expression_root", fit.expression_basis)):
            flat = basis.detach().double().flatten(1)
            values, vectors = torch.linalg.eigh(flat @ flat.T / basis.shape[1])
            root = vectors @ torch.diag(values.clamp_min(0).sqrt()) @ vectors.T
            setattr(self, name, root.to(basis))

    @classmethod
    def of_state(cls, state: dict[str, Tensor]) -> Face3dSupervisor:
        """An untrained one of the sizes found in a file of weights."""
        fit = empty_fit(state, "core.fit.")
        return cls(fit, torch.zeros(len(fit.mean), 2))

    def load_state_dict(self, state_dict, strict: bool = True, assign: bool = False):  # type: ignore[no-untyped-def]
        """As torch's; the derived roots follow the loaded bases."""
        result = super().load_state_dict(state_dict, strict, assign)
        self.set_roots()
        return result

    def features(self, images: Tensor) -> list[Tensor]:
        return self.core.net.stages(centre_part(images, PART["supervisor-face3d"]))

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """(B, 3, S, S) in [0, 1] -> ``shape`` (B, 80) mm, ``expression`` (B, 52) mm, ``pose`` (B, 3) radians.

        Pose is yaw, pitch, roll in the crop's own axes (an ``ffhq`` crop has the roll of the eyes taken out).
        """
        landmarks, deviations = self.core.net(centre_part(images, PART["supervisor-face3d"]))
        with torch.autocast(images.device.type, enabled=False):
            fit = self.core.fit(landmarks.double(), deviations.double().exp(), ITERATIONS)
        return {
            "shape": fit.shape.float() @ self.shape_root,
            "expression": fit.expression.float() @ self.expression_root,
            "pose": fit.angles.float(),
        }
