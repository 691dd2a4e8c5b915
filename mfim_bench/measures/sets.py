"""Distances between a run's swaps and the frames they are compared with, as sets: FID and KID, by torch-fidelity."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from mfim_bench.measure import Features

SUBSETS, SUBSET_SIZE, SEED = 100, 1000, 2020
"""Of KID, as its authors and torch-fidelity have them."""


def fid(swaps: Features, others: Features) -> float:
    """Fréchet distance of the normal distributions fitted to ``frame`` (N, D) and (M, D); not below 0 but for rounding.

    Its expectation falls as N and M grow, so values compare only between sets of equal sizes; below D + 1 images the
    covariances have not full rank.
    """
    from torch_fidelity.metric_fid import KEY_METRIC_FID, fid_features_to_statistics, fid_statistics_to_metric

    one, other = (fid_features_to_statistics(rows) for rows in (_rows(swaps), _rows(others)))
    return float(fid_statistics_to_metric(one, other, verbose=False)[KEY_METRIC_FID])


def kid(swaps: Features, others: Features) -> float:
    """Squared MMD of ``frame`` (N, D) and (M, D) with KID's cubic kernel, the mean over 100 subsets of 1000 rows each.

    Of smaller sets, subsets of the smaller one's size. An unbiased estimate of a square, so it can be below zero.
    """
    from torch_fidelity.metric_kid import KEY_METRIC_KID_MEAN, kid_features_to_metric

    one, other = _rows(swaps), _rows(others)
    size = min(SUBSET_SIZE, len(one), len(other))
    subsets = 1 if size == len(one) == len(other) else SUBSETS  # every subset would be the whole
    found = kid_features_to_metric(one, other, kid_subsets=subsets, kid_subset_size=size, rng_seed=SEED, verbose=False)
    return float(found[KEY_METRIC_KID_MEAN])


def _rows(features: Features) -> Tensor:
    """float64, in an order that is the rows' own, so that KID's subsets do not depend on the pairs' order."""
    rows = features["frame"].astype(np.float64)
    return torch.from_numpy(rows[np.lexsort(rows.T[::-1])])
