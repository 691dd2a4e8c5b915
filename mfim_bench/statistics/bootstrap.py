"""The pigeonhole bootstrap: a second opinion on the dyadic interval that assumes less and errs on the wide side.

Identities are drawn with replacement, and a pair counts as often as the product of its identities' draws (Owen, "The
pigeonhole bootstrap", Annals of Applied Statistics 2007; for dyads, where an identity may be source here and target
there, the identities of all roles are drawn together). The variance of what belongs to an identity is counted about
once, as it should; that of what belongs to the pair alone three times, since a product of two counts varies more than a
count. So the interval is conservative, the more the less the identities matter.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mfim_bench.statistics.intervals import Identities, Interval, finite_values, identity_codes, paired

CHUNK = 4_000_000
"""Weights held at a time: a bound on memory, 32 MB."""


def bootstrap_mean(
    values: ArrayLike, *roles: Identities, draws: int = 2000, seed: int = 0, level: float = 0.95
) -> Interval:
    """Mean of one value a pair, with the percentile interval of the pigeonhole bootstrap.

    Args:
        values: (n,) finite numbers.
        roles: the pairs' identities: sources, targets, …
        draws: how often the identities are drawn. A draw that meets no pair is left out.
        seed: the same seed gives the same interval.
        level: coverage aimed at.

    Returns:
        ``se`` is the standard deviation over the draws; ``p`` is twice the smaller share of draws on one side of zero,
        at least 2 / (draws + 1). All nan for fewer than two pairs, and when one identity is in every pair.

    Raises:
        ValueError: a value is not finite, the lengths differ, or draws < 2.
    """
    x = finite_values(values)
    if draws < 2:
        raise ValueError("a bootstrap needs at least two draws")
    held, first, groups = identity_codes(len(x), roles)
    mean, df = float(x.mean()) if len(x) else math.nan, max(groups - 1, 0)
    if len(x) < 2 or np.bincount(held[first]).max() == len(x):
        return Interval(mean, math.nan, math.nan, math.nan, df, len(x), groups, math.nan)
    means = _means(x, held, first, groups, draws, np.random.default_rng(seed))
    low, high = np.quantile(means, [0.5 - level / 2, 0.5 + level / 2])
    smaller = min(int((means <= 0).sum()), int((means >= 0).sum()))
    p = min(1.0, 2 * (smaller + 1) / (len(means) + 1))
    return Interval(mean, float(low), float(high), float(means.std(ddof=1)), df, len(x), groups, p)


def bootstrap_difference(
    a: ArrayLike, b: ArrayLike, *roles: Identities, draws: int = 2000, seed: int = 0, level: float = 0.95
) -> Interval:
    """Mean of a − b over the same pairs; see `bootstrap_mean`."""
    x, y = paired(a, b)
    return bootstrap_mean(x - y, *roles, draws=draws, seed=seed, level=level)


def _means(
    x: NDArray[np.float64],
    held: NDArray[np.int64],
    first: NDArray[np.bool_],
    groups: int,
    draws: int,
    rng: np.random.Generator,
) -> NDArray[np.float64]:
    """(draws,) weighted means, less the draws that meet no pair."""
    step = max(1, CHUNK // len(x))
    found = []
    for start in range(0, draws, step):
        size = min(step, draws - start)
        drawn = rng.integers(groups, size=(size, groups)) + groups * np.arange(size)[:, None]
        counts = np.bincount(drawn.reshape(-1), minlength=size * groups).reshape(size, groups).astype(np.float64)
        weights = np.ones((size, len(x)))
        for role in range(held.shape[1]):
            chosen = first[:, role]
            weights[:, chosen] *= counts[:, held[chosen, role]]
        total = weights.sum(axis=1)
        found.append((weights @ x)[total > 0] / total[total > 0])
    return np.concatenate(found)
