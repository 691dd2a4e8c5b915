"""Classical face swap: warp, match colours, blend in the gradient domain. No training.

It sees two crops and nothing else: the five points are found by the benchmark's detector in the crops themselves.
A crop without a face fails its row.
"""

from __future__ import annotations

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from scipy.interpolate import RBFInterpolator
from torch import Tensor

from mfim_bench.errors import RowError
from mfim_bench.faces.detect import Detector

# The five points of an average face, and the outline of its inner face around them, in units where brows to lower lip
# and temple to temple span about 0..1. The points are dlib's mean face; the outline is a superellipse from just above
# the brows to the chin [own choice].
POINTS = np.array(
    [[0.225492, 0.215990], [0.754761, 0.215990], [0.490127, 0.515625], [0.254149, 0.780233], [0.726104, 0.780233]]
)
CENTRE, HALF_WIDTH, HALF_HEIGHT, EXPONENT = (0.490127, 0.54), 0.47, 0.58, 2.6
FORESHORTENING = 2.0
"""A face turned aside shows its far half narrower: this factor times the nose's offset from the middle [own choice]."""
SMOOTHING = 0.02
"""Of the spline, in units of the squared eye distance: points carry noise [own choice]."""
SPREAD = (0.6, 1.6)
"""Limits of the ratio of standard deviations in the colour match [own choice]."""


class Poisson:
    """Implements `mfim_bench.method.Method` for 256 px ``ffhq`` crops; rows are swapped one by one."""

    def __init__(self, device: torch.device) -> None:
        self.detector = Detector(device)

    def swap(self, source: Tensor, target: Tensor) -> Tensor:
        """See `mfim_bench.method.Method`. Outside the face region the target comes back bit by bit.

        Raises:
            RowError: no face was found in one of the crops.
        """
        rows = [self._swap(s, t) for s, t in zip(source, target, strict=True)]
        return torch.stack(rows) if rows else target.clone()

    def _swap(self, source: Tensor, target: Tensor) -> Tensor:
        images = [_to_uint8(source), _to_uint8(target)]
        found = self.detector.detect(images)
        for face, role in zip(found, ("source", "target"), strict=True):
            if face is None:
                raise RowError(f"poisson found no face in the {role} crop")
        source_points, target_points = (face.points.astype(np.float64) for face in found if face is not None)
        blended, mask = swap_faces(images[0], source_points, images[1], target_points)
        swapped = torch.from_numpy(blended).to(target).permute(2, 0, 1) / 255
        return torch.where(torch.from_numpy(mask > 0).to(target.device), swapped, target)


def swap_faces(
    source: NDArray[np.uint8],
    source_points: NDArray[np.float64],
    target: NDArray[np.uint8],
    target_points: NDArray[np.float64],
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Put the source's face on the target.

    Args:
        source: uint8 (H, W, 3) RGB.
        source_points: (5, 2) pixels, ordered as `mfim_bench.faces.detect.Face.points`.
        target: uint8 (H', W', 3) RGB.
        target_points: (5, 2) pixels.

    Returns:
        The swap, uint8 (H', W', 3), and the mask of what changed, uint8 (H', W'), 0 or 255.

    Raises:
        RowError: the faces share no pixel of the crop.
    """
    # Where both show a face: what a turned source hides stays the target's.
    layers = np.dstack([source, face_mask(source_points, source.shape[:2])])
    warped = warp(layers, source_points, target_points, target.shape[:2])
    mask = np.where(warped[..., 3] > 127, face_mask(target_points, target.shape[:2]), 0).astype(np.uint8)
    if not mask.any():
        raise RowError("poisson: the faces of source and target share no pixel of the crop")
    matched = match_colours(np.ascontiguousarray(warped[..., :3]), target, mask)
    # seamlessClone centres the mask's bounding box on a point: this one puts it where it was.
    x, y, width, height = cv2.boundingRect(mask)
    centre = (x + width // 2, y + height // 2)
    blended = cv2.seamlessClone(matched, target, mask.copy(), centre, cv2.NORMAL_CLONE)
    return np.asarray(blended, dtype=np.uint8), mask


def warp(
    image: NDArray[np.uint8],
    points: NDArray[np.float64],
    onto: NDArray[np.float64],
    size: tuple[int, int],
) -> NDArray[np.uint8]:
    """Move an image so that its points come to lie on others, by a smoothing thin-plate spline.

    Args:
        image: uint8 (H, W, C), up to four channels.
        points: (N, 2) pixels of the image.
        onto: (N, 2) pixels of the result.
        size: (height, width) of the result.

    Returns:
        uint8 (height, width, C); outside the image its mirror image.
    """
    unit = float(np.linalg.norm(onto[1] - onto[0])) or 1.0
    spline = RBFInterpolator(onto / unit, points, kernel="thin_plate_spline", smoothing=SMOOTHING, degree=1)
    grid = np.stack(np.meshgrid(np.arange(size[1]), np.arange(size[0])), axis=-1).reshape(-1, 2)
    where = spline(grid / unit).reshape(*size, 2).astype(np.float32)
    moved = cv2.remap(image, where, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
    return np.asarray(moved, dtype=np.uint8)


def face_mask(points: NDArray[np.float64], size: tuple[int, int]) -> NDArray[np.uint8]:
    """The inner face around five points: brows to chin, inside the cheeks' outline.

    Args:
        points: (5, 2) pixels.
        size: (height, width).

    Returns:
        uint8 (height, width), 0 or 255; never touches the border (the blending needs a rim).
    """
    four = [0, 1, 3, 4]  # the nose stands out of the face's plane: it shows the turn, not the place
    columns = np.hstack([points[four], np.ones((4, 1))])
    to_mean, *_ = np.linalg.lstsq(columns, POINTS[four], rcond=None)
    turn = float((np.append(points[2], 1) @ to_mean)[0] - CENTRE[0])  # > 0: the nose points to image right
    y, x = np.mgrid[: size[0], : size[1]]
    inside = np.stack([x, y, np.ones(size)], axis=-1) @ to_mean - CENTRE
    # Never less than what holds the far eye.
    far = np.where(inside[..., 0] * turn > 0, np.clip(1 - FORESHORTENING * abs(turn), 0.75, 1), 1)
    reach = np.abs(inside[..., 0]) / (HALF_WIDTH * far), np.abs(inside[..., 1]) / HALF_HEIGHT
    mask = np.where(reach[0] ** EXPONENT + reach[1] ** EXPONENT < 1, 255, 0).astype(np.uint8)
    mask[:2] = mask[-2:] = 0
    mask[:, :2] = mask[:, -2:] = 0
    return mask


def match_colours(image: NDArray[np.uint8], like: NDArray[np.uint8], mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Give a face another's mean and spread of colour, each channel of CIE Lab by itself, inside the mask.

    (E. Reinhard et al., "Color transfer between images", IEEE CG&A 2001, in Lab.)

    Args:
        image: uint8 (H, W, 3) RGB.
        like: uint8 (H, W, 3) RGB.
        mask: uint8 (H, W).

    Returns:
        uint8 (H, W, 3) RGB.
    """
    a, b = (cv2.cvtColor(i.astype(np.float32) / 255, cv2.COLOR_RGB2LAB) for i in (image, like))
    inside = mask > 0
    gain = np.clip((b[inside].std(0) + 1e-3) / (a[inside].std(0) + 1e-3), *SPREAD)
    moved = (a - a[inside].mean(0)) * gain + b[inside].mean(0)
    rgb = cv2.cvtColor(moved.astype(np.float32), cv2.COLOR_LAB2RGB)
    return np.asarray(np.rint(np.clip(rgb, 0, 1) * 255), dtype=np.uint8)


def _to_uint8(image: Tensor) -> NDArray[np.uint8]:
    array = image.detach().float().clamp(0, 1).mul(255).round().byte().permute(1, 2, 0).cpu().numpy()
    return np.ascontiguousarray(array, dtype=np.uint8)
