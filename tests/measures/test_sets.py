"""FID and KID against their formulas, torch-fidelity's and pytorch-fid's own."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.linalg import sqrtm

from mfim_bench.measures import sets

Rows = NDArray[np.float32]


def rows(n: int, width: int, seed: int, shift: float = 0.0) -> Rows:
    """Non-negative and skew, as the network's."""
    random = np.random.default_rng(seed)
    return (np.abs(random.normal(size=(n, width))) ** 2 * (1 + shift * np.arange(width) / width)).astype(np.float32)


ONE, OTHER = rows(300, 24, 0), rows(260, 24, 1, 0.5)


def test_fid_is_the_distance_of_two_normal_distributions() -> None:
    a, b = ONE.astype(np.float64), OTHER.astype(np.float64)
    s, t = np.cov(a.T), np.cov(b.T)
    wanted = ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(s + t - 2 * sqrtm(s @ t).real)
    assert sets.fid({"frame": ONE}, {"frame": OTHER}) == pytest.approx(wanted, rel=1e-9)
    assert wanted > 0.1


def test_fid_of_few_images_is_finite_and_right() -> None:
    """Where the covariances have not full rank, the trace of their root is the sum of the crossed singular values."""
    a, b = ONE[:8].astype(np.float64), OTHER[:9].astype(np.float64)
    crossed = np.linalg.svd((a - a.mean(0)) @ (b - b.mean(0)).T, compute_uv=False).sum() / np.sqrt(7 * 8)
    wanted = ((a.mean(0) - b.mean(0)) ** 2).sum() + a.var(0, ddof=1).sum() + b.var(0, ddof=1).sum() - 2 * crossed
    assert sets.fid({"frame": ONE[:8]}, {"frame": OTHER[:9]}) == pytest.approx(wanted, rel=1e-6)


def test_kid_of_equal_sets_is_the_unbiased_estimate() -> None:
    a, b = ONE[:200].astype(np.float64), OTHER[:200].astype(np.float64)

    def kernel(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
        return (x @ y.T / 24 + 1) ** 3

    aa, bb, ab = kernel(a, a), kernel(b, b), kernel(a, b)
    pairs = 200 * 199
    wanted = (aa.sum() - np.trace(aa)) / pairs + (bb.sum() - np.trace(bb)) / pairs - 2 * ab.mean()
    assert sets.kid({"frame": ONE[:200]}, {"frame": OTHER[:200]}) == pytest.approx(wanted, rel=1e-9)


def test_kid_takes_subsets_of_large_and_of_unequal_sets(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = sets.kid({"frame": ONE[:260]}, {"frame": OTHER})
    unequal = sets.kid({"frame": ONE}, {"frame": OTHER})
    monkeypatch.setattr(sets, "SUBSET_SIZE", 100)
    large = sets.kid({"frame": ONE[:260]}, {"frame": OTHER})
    assert len({whole, unequal, large}) == 3
    assert large == pytest.approx(whole, rel=0.1)
    assert unequal == pytest.approx(whole, rel=0.3)


def test_no_order_matters() -> None:
    order = np.random.default_rng(2).permutation(len(ONE))
    for distance in (sets.fid, sets.kid):
        assert distance({"frame": ONE[order]}, {"frame": OTHER}) == distance({"frame": ONE}, {"frame": OTHER})


def test_a_set_is_at_no_distance_from_itself() -> None:
    assert abs(sets.fid({"frame": ONE}, {"frame": ONE})) < 1e-6
    assert sets.kid({"frame": ONE}, {"frame": ONE}) < 0  # an unbiased estimate of zero leaves the diagonal out
