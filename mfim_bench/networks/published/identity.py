"""Judges of identity with published weights: how each public script cuts and normalises a face, to the pixel.

Every function here that cuts takes a frame, uint8 RGB (H, W, 3), and the face in it, and gives what the network reads:
float32 (K, 3, h, w), K views of one face. The five points are ours (`mfim_bench.faces.detect`); the scripts find theirs
by other detectors.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import cv2
import numpy as np
import torch
from facenet_pytorch import extract_face, fixed_image_standardization
from numpy.typing import ArrayLike, NDArray
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from mfim_bench import weights
from mfim_bench.faces.templates import ARCFACE_112, invert, similarity
from mfim_bench.networks.published import facenet, ir, iresnet, sphere
from mfim_bench.networks.published.reliableswap import cut as reliableswap_cut

if TYPE_CHECKING:
    from mfim_bench.faces.detect import Face
    from mfim_bench.measure import Features

Cut: TypeAlias = "Callable[[NDArray[np.uint8], Face], Tensor]"

SIDE, SPHERE_WIDTH, FACENET_SIDE = 112, 96, 160
SPHERE_POINTS = np.array(
    [[30.2946, 51.6963], [65.5318, 51.6963], [48.0252, 71.7366], [33.5493, 92.3655], [62.7299, 92.3655]]
)
"""Five points in the CASIA survey's crop, 96 px wide and 112 high: SphereFace's, with level eyes and mouth corners."""
REFACE_SIDE, REFACE_ROWS, REFACE_COLUMNS = 256, slice(35, 223), slice(32, 220)
METASWAP_SIDE = 224


def signed(image: NDArray[np.uint8]) -> Tensor:
    """uint8 (h, w, 3) -> (1, 3, h, w) in [-1, 1]: (x / 255 - 0.5) / 0.5, the scripts' ToTensor and Normalize."""
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].float().div(255).sub(0.5).div(0.5)


def arcface(image: NDArray[np.uint8], face: Face) -> Tensor:
    """insightface's crop, 112 px: least-squares similarity of the points to the template, bilinear, black outside.

    A frame much larger than the crop is not averaged, as in the scripts.
    """
    matrix = similarity(face.points, ARCFACE_112)
    return signed(np.asarray(cv2.warpAffine(image, matrix, (SIDE, SIDE)), np.uint8))


def treb1en(image: NDArray[np.uint8], face: Face) -> Tensor:
    """As `arcface`, by the rule of TreB1eN's and pSp's MTCNN (MATLAB's cp2tform): the inverse of the least-squares
    similarity of the template to the points, which is larger.
    """
    matrix = invert(similarity(ARCFACE_112, face.points))
    return signed(np.asarray(cv2.warpAffine(image, matrix, (SIDE, SIDE)), np.uint8))


def facenet_box(image: NDArray[np.uint8], face: Face) -> Tensor:
    """facenet-pytorch's own cut: the detector's box at whole pixels, without margin, scaled to 160 px by Pillow."""
    box = face.box.astype(np.float64) + 1  # ours counts pixels from 0
    cut = extract_face(Image.fromarray(image), box, FACENET_SIDE)
    return torch.as_tensor(fixed_image_standardization(cut), dtype=torch.float32)[None]


def standard_deviation_similarity(points: ArrayLike, template: ArrayLike) -> NDArray[np.float64]:
    """The CASIA survey's alignment of points (N, 2) to a template (N, 2): rotation by SVD, scale by deviations.

    The scale is the quotient of the standard deviations, where least squares would have it smaller.

    Returns:
        float64 (2, 3): template ~ M @ (x, y, 1).
    """
    p, q = np.asarray(points, np.float64), np.asarray(template, np.float64)
    p0, q0 = p.mean(0), q.mean(0)
    p, q = p - p0, q - q0
    scale = q.std() / max(p.std(), 1e-12)
    u, _, vt = np.linalg.svd(p.T @ q)
    linear = scale * (u @ vt).T
    return np.hstack([linear, (q0 - linear @ p0)[:, None]])


def sphere_aligned(image: NDArray[np.uint8], face: Face) -> Tensor:
    """The CASIA survey's: 112 px high and 96 wide, and its mirror image. Two views.

    The aligned image has the frame's size before it is cut, so a frame smaller than the crop is stretched.
    """
    matrix = standard_deviation_similarity(face.points, SPHERE_POINTS)
    height, width = image.shape[:2]
    aligned = cv2.warpAffine(image, matrix, (min(width, SPHERE_WIDTH), min(height, SIDE)))
    crop = signed(np.asarray(cv2.resize(aligned, (SPHERE_WIDTH, SIDE)), np.uint8))
    return torch.cat([crop, crop.flip(3)])


def whole(image: NDArray[np.uint8], face: Face) -> Tensor:
    """The whole frame to 112 px, bilinear between corner pixels, not averaged. No face is read."""
    return F.interpolate(signed(image), (SIDE, SIDE), mode="bilinear", align_corners=True)


def reliableswap(image: NDArray[np.uint8], face: Face) -> Tensor:
    """ReliableSwap's: its crop of 256 px, and all of that as `whole`."""
    return whole(reliableswap_cut(image, face), face)


def metaswap(image: NDArray[np.uint8], face: Face) -> Tensor:
    """metaswap's: the whole frame to 224 px by Pillow, then to 112 px between corner pixels. No face is read."""
    resized = Image.fromarray(image).resize((METASWAP_SIDE, METASWAP_SIDE), Image.Resampling.BILINEAR)
    return whole(np.asarray(resized, np.uint8), face)


def reface(image: NDArray[np.uint8], face: Face) -> Tensor:
    """REFace's, without its parsing mask: the whole frame to 112 px, up to 256, rows 35:223 and columns 32:220 of it,
    down to 112. No face is read.
    """
    small = signed(np.asarray(cv2.resize(image, (SIDE, SIDE), interpolation=cv2.INTER_LINEAR), np.uint8))
    large = F.adaptive_avg_pool2d(small, REFACE_SIDE)
    return F.adaptive_avg_pool2d(large[..., REFACE_ROWS, REFACE_COLUMNS], SIDE)


class IdentityJudge:
    """A recogniser and how faces are cut for it; implements `mfim_bench.measure.Judge`."""

    def __init__(self, network: nn.Module, cut: Cut, device: torch.device) -> None:
        self.network = network.to(device)
        self.cut, self.device = cut, device

    def features(self, images: Sequence[NDArray[np.uint8]], faces: Sequence[Face]) -> Features:
        """``embedding`` (N, 512 · views), as the network gives it; views side by side.

        Faces go through the network one by one, so that a row has the same bits in any company.

        Args:
            images: N frames, uint8 RGB (H, W, 3).
            faces: the face that each is cut by.
        """
        rows = [self._embed(image, face) for image, face in zip(images, faces, strict=True)]
        return {"embedding": np.stack(rows) if rows else np.zeros((0, 512), np.float32)}

    @torch.inference_mode()
    def _embed(self, image: NDArray[np.uint8], face: Face) -> NDArray[np.float32]:
        embedding = self.network(self.cut(image, face).to(self.device))
        return np.asarray(embedding.float().flatten().cpu().numpy(), dtype=np.float32)


def _judge(load: Callable[[Path], nn.Module], name: str, cut: Cut) -> Callable[[torch.device], IdentityJudge]:
    """A factory of judges."""
    return lambda device: IdentityJudge(load(weights.path(name)), cut, device)


vggface2 = _judge(facenet.load, "facenet-vggface2", facenet_box)
arcface_irse50 = _judge(ir.load_irse50, "arcface-irse50", treb1en)
irse50_reface_crop = _judge(ir.load_irse50, "arcface-irse50", reface)
irse50_metaswap = _judge(ir.load_irse50, "arcface-irse50", metaswap)
curricularface = _judge(ir.load_curricularface, "curricularface-ir101", treb1en)
iresnet50 = _judge(iresnet.load_iresnet50, "insightface-iresnet50", arcface)
iresnet100 = _judge(iresnet.load_iresnet100, "insightface-iresnet100", arcface)
sphere20_casia = _judge(sphere.load, "cosface-sphere20", sphere_aligned)
sphere20_reliableswap = _judge(sphere.load_square, "cosface-sphere20-square", reliableswap)
