"""Judges of shape, expression and pose with published weights: what each public script feeds its network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mfim_bench import weights
from mfim_bench.networks.published import deep3d, hopenet

if TYPE_CHECKING:
    from mfim_bench.faces.detect import Face
    from mfim_bench.measure import Features

Cut: TypeAlias = "Callable[[NDArray[np.uint8], Face], Tensor]"
REFACE_SIDE = 512


class CoefficientsJudge:
    """Deep3DFaceRecon; implements `mfim_bench.measure.Judge`."""

    def __init__(self, cut: Cut, device: torch.device) -> None:
        self.network = deep3d.load(weights.path("deep3d")).to(device)
        self.cut, self.device = cut, device

    @torch.inference_mode()
    def features(self, images: Sequence[NDArray[np.uint8]], faces: Sequence[Face]) -> Features:
        """``id`` (N, 80), ``exp`` (N, 64) and ``angle`` (N, 3, radians). Faces go through one by one."""
        rows = [self.network(self.cut(image, face).to(self.device)) for image, face in zip(images, faces, strict=True)]
        found = deep3d.parts(torch.cat(rows).cpu().numpy())
        return {name: found[name] for name in ("id", "exp", "angle")}


class PoseJudge:
    """HopeNet; implements `mfim_bench.measure.Judge`."""

    def __init__(self, cut: Cut, device: torch.device) -> None:
        self.network = hopenet.load(weights.path("hopenet-robust-alpha1")).to(device)
        self.cut, self.device = cut, device

    @torch.inference_mode()
    def features(self, images: Sequence[NDArray[np.uint8]], faces: Sequence[Face]) -> Features:
        """``pose`` (N, 3): yaw, pitch, roll in degrees; ``logits`` (N, 198) of their bins. Faces go one by one."""
        rows = [self.network(self.cut(image, face).to(self.device)) for image, face in zip(images, faces, strict=True)]
        logits = torch.cat(rows)
        return {
            "pose": hopenet.degrees(logits).cpu().numpy().astype(np.float32),
            "logits": logits.flatten(1).cpu().numpy().astype(np.float32),
        }


def _aligned(image: NDArray[np.uint8], face: Face) -> Tensor:
    return deep3d.to_tensor(deep3d.align(image, face.points))


def _reface(image: NDArray[np.uint8], face: Face) -> Tensor:
    return deep3d.to_tensor(deep3d.unaligned(image, REFACE_SIDE))


def deep3d_aligned(device: torch.device) -> CoefficientsJudge:
    """As the authors cut faces."""
    return CoefficientsJudge(_aligned, device)


def deep3d_reface(device: torch.device) -> CoefficientsJudge:
    """As REFace's script does: the whole frame at 512 px, not aligned. No face is read."""
    return CoefficientsJudge(_reface, device)


def hopenet_authors(device: torch.device) -> PoseJudge:
    """See `hopenet.loose`."""
    return PoseJudge(hopenet.loose, device)


def hopenet_reface(device: torch.device) -> PoseJudge:
    """See `hopenet.reface`."""
    return PoseJudge(hopenet.reface, device)


def hopenet_casia(device: torch.device) -> PoseJudge:
    """See `hopenet.casia`."""
    return PoseJudge(hopenet.casia, device)


def hopenet_metaswap(device: torch.device) -> PoseJudge:
    """See `hopenet.metaswap`."""
    return PoseJudge(hopenet.metaswap, device)


def hopenet_reliableswap(device: torch.device) -> PoseJudge:
    """See `hopenet.reliableswap`."""
    return PoseJudge(hopenet.reliableswap, device)
