"""The distances of the measures; each takes features of N faces twice and returns float64 (N,)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mfim_bench.errors import RowError

if TYPE_CHECKING:
    from mfim_bench.measure import Features


def embedding_l2(swap: Features, source: Features) -> NDArray[np.float64]:
    """Euclidean distance of ``embedding`` (N, D), as it comes from the network."""
    return np.asarray(np.linalg.norm(_difference(swap, source, "embedding"), axis=1))


def embedding_l2_squared(swap: Features, source: Features) -> NDArray[np.float64]:
    """Square of `embedding_l2`."""
    return embedding_l2(swap, source) ** 2


def embedding_cosine(swap: Features, source: Features) -> NDArray[np.float64]:
    """Cosine of the angle between ``embedding`` (N, D): 1 = one direction, whatever the lengths; higher is nearer.

    An embedding of length zero has no direction; its value is NaN.
    """
    _difference(swap, source, "embedding")  # their shapes
    a, b = swap["embedding"].astype(np.float64), source["embedding"].astype(np.float64)
    with np.errstate(invalid="ignore"):
        cosine = (a * b).sum(1) / (np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1))
    return np.asarray(np.clip(cosine, -1.0, 1.0))  # rounding goes beyond


def lpips(swap: Features, target: Features) -> NDArray[np.float64]:
    """LPIPS: the squared Euclidean distance of ``perceptual`` (N, D), which holds the heads' weights already."""
    difference = _difference(swap, target, "perceptual")
    return np.asarray((difference**2).sum(1))


def shape_rms(swap: Features, source: Features) -> NDArray[np.float64]:
    """Root of the mean over vertices of the squared distance in mm, of ``shape_vertices`` (N, 3V)."""
    return _vertex_rms(_difference(swap, source, "shape_vertices"))


def expression_rms(swap: Features, target: Features) -> NDArray[np.float64]:
    """As `shape_rms`, of ``expression_vertices`` (N, 3V): displacements from the neutral face."""
    return _vertex_rms(_difference(swap, target, "expression_vertices"))


def shape_whitened(swap: Features, source: Features) -> NDArray[np.float64]:
    """L2 of the difference of ``shape_whitened`` (N, S): coefficients in deviations of the prior."""
    return np.asarray(np.linalg.norm(_difference(swap, source, "shape_whitened"), axis=1))


def expression_whitened(swap: Features, target: Features) -> NDArray[np.float64]:
    """L2 of the difference of ``expression_whitened`` (N, E): coefficients in deviations of the prior."""
    return np.asarray(np.linalg.norm(_difference(swap, target, "expression_whitened"), axis=1))


def pose_radians(swap: Features, target: Features) -> NDArray[np.float64]:
    """L2 of the differences of yaw, pitch and roll, each wrapped to half a turn; ``pose`` (N, 3) radians."""
    return _angles(_difference(swap, target, "pose"), 2 * np.pi)


def pose_degrees(swap: Features, target: Features) -> NDArray[np.float64]:
    """As `pose_radians`; ``pose`` (N, 3) degrees."""
    return _angles(_difference(swap, target, "pose"), 360.0)


def shape_coefficients(swap: Features, source: Features) -> NDArray[np.float64]:
    """L2 of the difference of ``id`` (N, 80), coefficients as the network gives them."""
    return np.asarray(np.linalg.norm(_difference(swap, source, "id"), axis=1))


def expression_coefficients(swap: Features, target: Features) -> NDArray[np.float64]:
    """L2 of the difference of ``exp`` (N, 64), coefficients as the network gives them."""
    return np.asarray(np.linalg.norm(_difference(swap, target, "exp"), axis=1))


def angles_radians(swap: Features, target: Features) -> NDArray[np.float64]:
    """L2 of the difference of ``angle`` (N, 3) radians, not wrapped: the network's angles are no headings."""
    return np.asarray(np.linalg.norm(_difference(swap, target, "angle"), axis=1))


def pose_degrees_plain(swap: Features, target: Features) -> NDArray[np.float64]:
    """L2 of the difference of ``pose`` (N, 3) degrees, not wrapped: HopeNet's lie between -99 and 99."""
    return np.asarray(np.linalg.norm(_difference(swap, target, "pose"), axis=1))


def pose_logits(swap: Features, target: Features) -> NDArray[np.float64]:
    """Half the L2 of the difference of ``logits`` (N, 198) for yaw, pitch and roll each, and the mean of the three."""
    angles = _difference(swap, target, "logits").reshape(-1, 3, 66)
    return np.asarray(np.linalg.norm(angles, axis=2).mean(1) / 2)


def l1_inside(swap: NDArray[np.uint8], truth: NDArray[np.uint8], region: NDArray[np.uint8]) -> float:
    """Mean absolute difference of two frames, weighted by the region.

    Args:
        swap: uint8 (H, W, 3).
        truth: uint8 (H, W, 3).
        region: uint8 (H, W); 255 = inside, 0 = outside, linear between.

    Returns:
        Mean over pixels and the three channels of \\|swap - truth\\| / 255; 0 = equal, 1 = black for white.

    Raises:
        RowError: the sizes differ, or nothing lies inside.
    """
    return _l1(swap, truth, region, region.astype(np.float64) / 255)


def l1_outside(swap: NDArray[np.uint8], truth: NDArray[np.uint8], region: NDArray[np.uint8]) -> float:
    """As `l1_inside`, weighted by what is not in the region."""
    return _l1(swap, truth, region, 1 - region.astype(np.float64) / 255)


def _difference(a: Features, b: Features, key: str) -> NDArray[np.float64]:
    x, y = a[key].astype(np.float64), b[key].astype(np.float64)
    if x.shape != y.shape or x.ndim != 2:  # or numpy would broadcast one row against many
        raise ValueError(f"features '{key}' of shapes {x.shape} and {y.shape} cannot be compared")
    return x - y


def _vertex_rms(difference: NDArray[np.float64]) -> NDArray[np.float64]:
    squares = (difference.reshape(len(difference), -1, 3) ** 2).sum(-1)
    return np.asarray(np.sqrt(squares.mean(-1)))


def _angles(difference: NDArray[np.float64], turn: float) -> NDArray[np.float64]:
    wrapped = difference - turn * np.rint(difference / turn)
    return np.asarray(np.linalg.norm(wrapped, axis=1))


def _l1(
    swap: NDArray[np.uint8], truth: NDArray[np.uint8], region: NDArray[np.uint8], weight: NDArray[np.float64]
) -> float:
    if swap.shape != truth.shape or swap.shape[:2] != region.shape:
        raise RowError(f"sizes differ: swap {swap.shape}, truth {truth.shape}, region {region.shape}")
    if weight.sum() <= 0:
        raise RowError("the region mask leaves nothing to compare")
    error = np.abs(swap.astype(np.float64) - truth).mean(-1) / 255
    return float((error * weight).sum() / weight.sum())
