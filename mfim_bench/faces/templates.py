"""How a face is cut out of a frame and pasted back.

A *template* is a rule that turns five points into a 2 x 3 matrix, frame pixels to crop pixels. The centre of the first
pixel is (0, 0) in both. Templates:

``ffhq``
    The rule by which FFHQ was cropped (T. Karras, S. Laine, T. Aila, "A style-based generator architecture for GANs",
    CVPR 2019, appendix; the rule of CelebA-HQ before it), on MTCNN's points where
    the original averages 68-point landmarks. With e = right eye - left eye and m = mouth centre - eye centre:
    x = e - rot90(m), normalised, times max(2.0 |e|, 1.8 |m|); the crop is the square of half side |x| around
    eye centre + 0.1 m, its upper side along x.
    rot90(v) = (-v_y, v_x).
``arcface``
    The least-squares similarity (S. Umeyama, TPAMI 1991) of the five points to the published 112 x 112 template of
    J. Deng et al., "ArcFace", CVPR 2019.
``none``
    The whole frame, both sides scaled to the crop's side. No points needed.
``box``
    The upright square with ffhq's centre and ffhq's side times ``zoom``: a network that reports pose in the frame's
    axes must not see the roll taken out.
"""

from __future__ import annotations

import math
from typing import Literal, TypeAlias

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

CropTemplate: TypeAlias = Literal["ffhq", "arcface", "none", "box"]

ARCFACE_112 = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]]
)
"""Five points in a 112 x 112 crop, pixels, in the order of `Face.points`."""

FEATHER = 0.08
"""Width of the ramp at the edge of a pasted crop, as a share of its side [own choice]."""

OVAL = (0.58, 0.74)
"""Half axes of a face's oval, across and down, as shares of half the side of its ``ffhq`` crop [own choice]: brows to
chin and cheek to cheek of a frontal face, with room for a wider jaw."""
OVAL_DOWN = 0.5
"""Its centre, as a share of the way from the eyes to the mouth [own choice]."""
OVAL_RAMP = (1.1, 0.75)
"""Radii in the oval, where the weight is 0 and where it is 1 [own choice]."""

_MAX_SUPERSAMPLING = 16
_ROWS = 256  # of a pasted area, blended at a time


def similarity(points: ArrayLike, template: ArrayLike) -> NDArray[np.float64]:
    """The least-squares similarity (rotation, uniform scale, translation; no mirror) of points to a template.

    Args:
        points: (N, 2).
        template: (N, 2).

    Returns:
        float64 (2, 3): template ~ M @ (x, y, 1).
    """
    p, q = np.asarray(points, np.float64), np.asarray(template, np.float64)
    centre_p, centre_q = p.mean(0), q.mean(0)
    # In the plane a similarity is multiplication by a complex number, whose least-squares solution is a quotient.
    z, w = (p - centre_p) @ (1, 1j), (q - centre_q) @ (1, 1j)
    factor = np.vdot(z, w) / max(np.vdot(z, z).real, 1e-12)
    linear = np.array([[factor.real, -factor.imag], [factor.imag, factor.real]])
    return np.hstack([linear, (centre_q - linear @ centre_p)[:, None]])


def crop_matrix(
    points: ArrayLike | None,
    template: CropTemplate,
    size: int,
    image_size: tuple[int, int] | None = None,
    zoom: float = 1.0,
) -> NDArray[np.float64]:
    """The matrix that cuts a face out.

    Args:
        points: (5, 2) in pixels of the frame, ordered as `mfim_bench.faces.detect.Face.points`; None for ``none``.
        template: see the module.
        size: side of the crop in pixels.
        image_size: (width, height) of the frame; needed by ``none`` only.
        zoom: scales the side of ``ffhq`` and ``box`` crops around their centre; above 1 shows more.

    Returns:
        float64 (2, 3), frame pixels to crop pixels.
    """
    if template == "none":
        if image_size is None:
            raise ValueError("template 'none' needs the size of the frame")
        sx, sy = size / image_size[0], size / image_size[1]
        return np.array([[sx, 0, sx / 2 - 0.5], [0, sy, sy / 2 - 0.5]])
    if points is None:
        raise ValueError(f"template '{template}' needs five points")
    five = np.asarray(points, np.float64)
    if template == "arcface":
        return similarity(five, (ARCFACE_112 + 0.5) * (size / 112) - 0.5)
    if template not in ("ffhq", "box"):
        raise ValueError(f"unknown template '{template}'")
    eyes, down, x, half = _ffhq(five)
    half *= zoom
    x = x if template == "ffhq" else np.array([1.0, 0.0])
    centre = eyes + 0.1 * down
    # Rows of a rotation: the crop's axes in the frame. Crop edges are at -0.5 and size - 0.5.
    scale = size / (2 * max(half, 1e-6))
    linear = scale * np.array([[x[0], x[1]], [-x[1], x[0]]])
    return np.hstack([linear, ((size - 1) / 2 - linear @ centre)[:, None]])


def oval_matrix(points: ArrayLike) -> NDArray[np.float64]:
    """The matrix that makes a face's oval the unit circle.

    Args:
        points: (5, 2), as for `crop_matrix`.

    Returns:
        float64 (2, 3), frame pixels to the plane where the oval is the circle of radius 1 around (0, 0).
    """
    eyes, down, x, half = _ffhq(np.asarray(points, np.float64))
    linear = np.array([[x[0], x[1]], [-x[1], x[0]]]) / (max(half, 1e-6) * np.array(OVAL)[:, None])
    return np.hstack([linear, -(linear @ (eyes + OVAL_DOWN * down))[:, None]])


def _ffhq(
    five: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], float]:
    """Of the rule in the module's text: eye centre, m, x normalised, half the side."""
    eyes, mouth = five[:2].mean(0), five[3:].mean(0)
    across, down = five[1] - five[0], mouth - eyes
    x = across - np.array([-down[1], down[0]])
    return eyes, down, x / max(math.hypot(*x), 1e-12), max(2.0 * math.hypot(*across), 1.8 * math.hypot(*down))


def invert(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """The inverse of a (2, 3) matrix: crop pixels to frame pixels."""
    linear = np.linalg.inv(matrix[:, :2])
    return np.hstack([linear, -linear @ matrix[:, 2:]])


def transform(points: ArrayLike, matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """Points (…, 2) through a (2, 3) matrix."""
    return np.asarray(points, np.float64) @ matrix[:, :2].T + matrix[:, 2]


def crop(image: NDArray[np.uint8], matrix: NDArray[np.float64], size: int, reflect: bool = True) -> NDArray[np.uint8]:
    """Cut a square crop; bilinear, and averaged over the covered area where the crop shrinks the frame.

    Args:
        image: uint8 (H, W, 3), or (H, W).
        matrix: frame pixels to crop pixels.
        size: side of the crop.
        reflect: what lies outside the frame is its mirror image; else black.

    Returns:
        uint8 (size, size, 3), or (size, size).
    """
    return _warp(image, matrix, (size, size), cv2.BORDER_REFLECT_101 if reflect else cv2.BORDER_CONSTANT)


def paste(
    frame: NDArray[np.uint8],
    swapped: NDArray[np.uint8],
    matrix: NDArray[np.float64],
    feather: float = FEATHER,
    oval: NDArray[np.float64] | None = None,
) -> NDArray[np.uint8]:
    """Put a crop back where it was cut.

    The crop is warped by the inverse matrix and blended in with a weight that rises from 0 at its edges to 1 at
    ``feather`` of its side inwards (smoothstep of the distance to the nearest edge). Edges of the crop that lie
    outside the frame need no blending and lose nothing by it. With ``oval`` the weight also falls to 0 around the face,
    so that hair and background stay the frame's own.

    Args:
        frame: uint8 (H, W, 3), the frame the crop was cut from; not changed.
        swapped: uint8 (S, S, 3).
        matrix: the matrix that cut the crop.
        feather: width of the ramp as a share of S.
        oval: `oval_matrix` of the frame's face, or None for the whole crop.

    Returns:
        uint8 (H, W, 3); pixels of weight 0 are the frame's.
    """
    size = swapped.shape[0]
    height, width = frame.shape[:2]
    back = invert(matrix)
    corners = transform([[-0.5, -0.5], [size - 0.5, -0.5], [size - 0.5, size - 0.5], [-0.5, size - 0.5]], back)
    x0, y0 = np.clip(np.floor(corners.min(0)), 0, (width, height)).astype(int)
    x1, y1 = np.clip(np.ceil(corners.max(0)) + 1, 0, (width, height)).astype(int)
    if x1 <= x0 or y1 <= y0:
        return frame.copy()
    back[:, 2] -= (x0, y0)
    area = (int(x1 - x0), int(y1 - y0))
    face = _warp(swapped, back, area, cv2.BORDER_REPLICATE)
    result = frame.copy()
    for top in range(int(y0), int(y1), _ROWS):  # a large frame's weights need ten times its memory
        rows = slice(top, min(top + _ROWS, int(y1)))
        below = frame[rows, x0:x1].astype(np.float32)
        # The weight is computed where it is used: exact at any scale, never resampled.
        grid = np.stack(np.meshgrid(np.arange(x0, x1), np.arange(rows.start, rows.stop)), axis=-1)
        inside = transform(grid, matrix)
        edge = np.minimum(inside, size - 1 - inside).min(-1) + 0.5
        weight = _smooth(edge / max(feather * size, 1e-6))
        if oval is not None:
            radius = np.hypot(*np.moveaxis(transform(grid, oval), -1, 0))
            weight = weight * _smooth((OVAL_RAMP[0] - radius) / (OVAL_RAMP[0] - OVAL_RAMP[1]))
        above = face[rows.start - y0 : rows.stop - y0].astype(np.float32)
        mixed = below + weight.astype(np.float32)[..., None] * (above - below)
        result[rows, x0:x1] = np.rint(mixed).clip(0, 255).astype(np.uint8)
    return result


def _smooth(ramp: NDArray[np.float64]) -> NDArray[np.float64]:
    """Smoothstep: 0 up to 0, 1 from 1 on."""
    ramp = np.clip(ramp, 0, 1)
    return ramp * ramp * (3 - 2 * ramp)


def _warp(
    image: NDArray[np.uint8], matrix: NDArray[np.float64], size: tuple[int, int], border: int
) -> NDArray[np.uint8]:
    """Warp to (width, height); when the image shrinks by a factor, sample that many times finer and average."""
    smallest = float(np.linalg.svd(matrix[:, :2], compute_uv=False)[-1])
    times = min(max(math.ceil(1 / max(smallest, 1e-6) - 1e-6), 1), _MAX_SUPERSAMPLING)
    fine = matrix * times
    fine[:, 2] += (times - 1) / 2
    # cv2 limits images to 32766 px a side for interpolated warps; nothing here comes near.
    result = cv2.warpAffine(image, fine, (size[0] * times, size[1] * times), flags=cv2.INTER_LINEAR, borderMode=border)
    if times > 1:
        result = cv2.resize(result, size, interpolation=cv2.INTER_AREA)
    return np.asarray(result, dtype=np.uint8)
