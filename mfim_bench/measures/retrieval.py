"""Identity retrieval: is the frame of the gallery that is nearest to a swap one of its source's identity?

Each function is a `mfim_bench.measure.GalleryDistance`. A swap of N scores 1 where a frame of the wanted identity is
among the k nearest of the gallery, else 0. A frame of another identity that is as near stands before it, so a
recogniser that sees no difference retrieves nothing, and the order of the gallery does not matter. The source's own
frame is part of the gallery, as in the public scripts. Where no frame of the wanted identity could be described, the
value is NaN.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from mfim_bench.measure import Features

ROWS = 256
"""Swaps compared at a time: memory stays small for any gallery."""
TIE = 1e-12
"""Squared distances this near, as a share of the largest length squared, are equal: what double precision leaves."""


def l2_top1(swap: Features, gallery: Features, identities: Sequence[str], wanted: Sequence[str]) -> NDArray[np.float64]:
    """By Euclidean distance of ``embedding`` (N, D) to (M, D), k = 1."""
    return _hits(swap, gallery, identities, wanted, 1, cosine=False)


def l2_top5(swap: Features, gallery: Features, identities: Sequence[str], wanted: Sequence[str]) -> NDArray[np.float64]:
    """By Euclidean distance, k = 5."""
    return _hits(swap, gallery, identities, wanted, 5, cosine=False)


def cosine_top1(
    swap: Features, gallery: Features, identities: Sequence[str], wanted: Sequence[str]
) -> NDArray[np.float64]:
    """By the angle between ``embedding`` (N, D) and (M, D), k = 1."""
    return _hits(swap, gallery, identities, wanted, 1, cosine=True)


def cosine_top5(
    swap: Features, gallery: Features, identities: Sequence[str], wanted: Sequence[str]
) -> NDArray[np.float64]:
    """By the angle, k = 5."""
    return _hits(swap, gallery, identities, wanted, 5, cosine=True)


def _hits(
    swap: Features, gallery: Features, identities: Sequence[str], wanted: Sequence[str], k: int, cosine: bool
) -> NDArray[np.float64]:
    a, b = swap["embedding"].astype(np.float64), gallery["embedding"].astype(np.float64)
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1]:
        raise ValueError(f"features 'embedding' of shapes {a.shape} and {b.shape} cannot be compared")
    if len(b) != len(identities) or len(a) != len(wanted):
        raise ValueError(f"{len(identities)} identities of {len(b)} frames, {len(wanted)} wanted by {len(a)} swaps")
    if cosine:
        a, b = _unit(a), _unit(b)
    who = np.asarray(identities)
    values = np.full(len(a), np.nan)
    for start in range(0, len(a), ROWS):
        rows = slice(start, start + ROWS)
        distance = _squared(a[rows], b)
        right = np.asarray(wanted)[rows, None] == who[None]
        nearest = np.where(right, distance, np.inf).min(1)
        before = (~right & (distance <= nearest[:, None] + TIE)).sum(1)
        values[rows] = np.where(right.any(1), before < k, np.nan)
    return values


def _unit(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12))


def _squared(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """Squared distances of (N, D) and (M, D): (N, M), each as a share of the largest length squared."""
    x, y = (a**2).sum(1), (b**2).sum(1)
    return np.asarray((x[:, None] + y - 2 * a @ b.T) / max(x.max(), y.max(), 1e-300))
