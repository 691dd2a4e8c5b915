"""Simulated benchmarks: who is in each pair, values with effects of people, how often an interval holds the truth."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from mfim_bench.statistics import Interval, bootstrap_mean, mean_interval

PAIRS = {50: 150, 60: 180, 70: 210, 100: 300}
"""Identities → pairs, three times as many; `virtual-faces` has 150 and 300."""


def names(codes: NDArray[np.int64]) -> list[str]:
    return [f"p{code}" for code in codes]


def draw_pairs(rng: np.random.Generator, identities: int, n: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    source = rng.integers(identities, size=n)
    target = (source + rng.integers(1, identities, size=n)) % identities
    return source, target


def draw_values(
    rng: np.random.Generator, kind: str, identities: int, source: NDArray[np.int64], target: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Mean 0; effects of variance 1 of whom ``kind`` names, and noise of variance 1."""
    a, b = rng.normal(size=(2, identities))
    nothing = np.zeros(len(source))
    effect = {"source": a[source], "target": a[target], "both": a[source] + b[target], "none": nothing}[kind]
    return np.asarray(effect + rng.normal(size=len(source)))


def holds_zero(interval: Interval) -> bool:
    return interval.low <= 0 <= interval.high


def simulate(kind: str, identities: int, n: int, repeats: int, seed: int) -> tuple[float, float]:
    """Share of repeats in which the dyadic interval, and the one clustered by source, hold the truth."""
    rng = np.random.default_rng(seed)
    dyadic = by_source = 0
    for _ in range(repeats):
        source, target = draw_pairs(rng, identities, n)
        x = draw_values(rng, kind, identities, source, target)
        dyadic += holds_zero(mean_interval(x, names(source), names(target)))
        sums = np.bincount(source, x - x.mean(), identities)
        se = math.sqrt((sums**2).sum() * identities / (identities - 1)) / n
        by_source += abs(x.mean()) <= stats.t.ppf(0.975, identities - 1) * se
    return dyadic / repeats, by_source / repeats


def simulate_bootstrap(kind: str, identities: int, n: int, repeats: int, seed: int, draws: int) -> tuple[float, float]:
    """Share of repeats in which the bootstrap's interval holds the truth, and its width over the dyadic one's."""
    rng = np.random.default_rng(seed)
    held, widths = 0, []
    for repeat in range(repeats):
        source, target = draw_pairs(rng, identities, n)
        x = draw_values(rng, kind, identities, source, target)
        who = names(source), names(target)
        interval = bootstrap_mean(x, *who, draws=draws, seed=repeat)
        held += holds_zero(interval)
        widths.append(interval.half_width / mean_interval(x, *who).half_width)
    return held / repeats, float(np.mean(widths))
