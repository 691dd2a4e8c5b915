"""Intervals and tests that know that pairs share identities.

A benchmark of swaps is dyadic data: every pair joins two identities (three and more where sources are mixed), and two
pairs with any identity in common, in any role, are dependent. The variance of a mean then holds one term for every
dependent couple of pairs
(Fafchamps & Gubert 2007; Cameron & Miller, "Robust Inference for Dyadic Data", 2014; Aronow, Samii & Assenova,
"Cluster-Robust Variance Estimation for Dyadic Data", Political Analysis 2015):

    V = 1/n² · Σ_{p, q share an identity} e_p e_q,      e_p = x_p − mean(x)

computed without the double sum: with S_A the sum of e over the pairs that hold all identities of a set A, it is
Σ_|A|=1 S_A² − Σ_|A|=2 S_A² + Σ_|A|=3 S_A² − …, by inclusion and exclusion. It is scaled by G/(G−1), G = number of
identities, and the t distribution has G−1 degrees of freedom. The ``roles`` of a function are sequences of n identities
each: the sources, the targets, any further sources; an identity that a pair names twice counts once. Coverage is
simulated in ``tests/statistics``; ``docs/statistics.md`` holds the figures.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

Identities = Sequence[str]


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate with its dyadic cluster-robust t-interval.

    Attributes:
        estimate: a mean, a mean difference, or a ratio of means; nan when n = 0.
        low, high: the interval's ends; nan when the data cannot give one (see `dyadic_variance`), infinite when a
            ratio's denominator may be zero.
        se: standard error; nan like the ends.
        df: degrees of freedom, identities − 1.
        n: pairs.
        identities: distinct identities in them.
        p: two-sided p-value of "the estimate is zero"; nan like the ends.
    """

    estimate: float
    low: float
    high: float
    se: float
    df: int
    n: int
    identities: int
    p: float

    @property
    def half_width(self) -> float:
        return (self.high - self.low) / 2


def identity_codes(n: int, roles: Sequence[Identities]) -> tuple[NDArray[np.int64], NDArray[np.bool_], int]:
    """Numbers for names.

    Returns:
        (n, roles) numbers of each pair's identities in rising order; whether each is the first of its identity within
        the pair; and how many identities there are.

    Raises:
        ValueError: a role does not name every pair, or there is none.
    """
    if not roles or any(len(role) != n for role in roles):
        raise ValueError(f"{n} values, but {', '.join(str(len(role)) for role in roles) or 'no'} identities a role")
    names, codes = np.unique(np.array([list(role) for role in roles], dtype=str), return_inverse=True)
    held = np.sort(codes.reshape(len(roles), n).T, axis=1).astype(np.int64)
    first = np.ones_like(held, dtype=bool)
    first[:, 1:] = held[:, 1:] != held[:, :-1]
    return held, first, len(names)


def dyadic_variance(residuals: ArrayLike, *roles: Identities, exact: bool = False) -> tuple[float, int]:
    """Variance of a mean from its residuals, and the number of identities.

    Args:
        residuals: (n,) values minus their mean (or a linearised statistic with mean zero).
        roles: n identities each: sources, targets, …
        exact: scale by 1/(1 − d) instead of G/(G−1), with d the share of all n² couples of pairs that share an
            identity. Taking the mean from the values takes the part d from the sum: its expectation is
            n²V − 2 Σ_p m_p c_p + n²dV with m_p the pairs that depend on pair p and c_p the mean covariance of p with
            all pairs, whose mean is V; so n²V (1 − d) where no pair has more than its share, as in any design of
            independent values (unbiased under that working model, as Bell & McCaffrey, "Bias Reduction in Standard
            Errors", Survey Methodology 2002). G/(G−1) is the same for G equal clusters; for two people a pair d is
            near 4/G.

    Returns:
        (variance, identities). The variance is nan for fewer than two pairs, and when each pair shares an identity
        with each other one, as where one identity is in all: then nothing in the data tells how much they depend. The
        estimator is not bound to be positive; where it falls below the variance of independent pairs, that one is
        taken.
    """
    e = np.asarray(residuals, dtype=np.float64)
    n = len(e)
    held, first, groups = identity_codes(n, roles)
    dependent = _dependent_sum(np.ones(n), held, first)
    if n < 2 or dependent == n**2:
        return math.nan, groups
    total = _dependent_sum(e, held, first)
    total *= 1 / (1 - dependent / n**2) if exact else groups / (groups - 1)
    independent = float((e**2).sum()) * n / (n - 1)
    return max(total, independent) / n**2, groups


def _dependent_sum(e: NDArray[np.float64], held: NDArray[np.int64], first: NDArray[np.bool_]) -> float:
    """Σ e_p e_q over all couples of pairs that share an identity, p = q among them."""
    total, roles = 0.0, held.shape[1]
    for size in range(1, roles + 1):
        sets, sums = [], []
        for chosen in map(list, itertools.combinations(range(roles), size)):
            whole = first[:, chosen].all(axis=1)
            sets.append(held[whole][:, chosen])
            sums.append(e[whole])
        _, which = np.unique(np.concatenate(sets), axis=0, return_inverse=True)
        by_set = np.bincount(which.reshape(-1), np.concatenate(sums))
        total += (-1) ** (size + 1) * float((by_set**2).sum())
    return total


def _interval(estimate: float, residuals: NDArray[np.float64], roles: Sequence[Identities], level: float) -> Interval:
    variance, groups = dyadic_variance(residuals, *roles)
    df, se = max(groups - 1, 0), math.sqrt(variance)
    if math.isnan(se):
        return Interval(estimate, math.nan, math.nan, math.nan, df, len(residuals), groups, math.nan)
    half = float(special.stdtrit(df, 0.5 + level / 2)) * se
    p = float(2 * special.stdtr(df, -abs(estimate) / se)) if se > 0 else (1.0 if estimate == 0 else 0.0)
    return Interval(estimate, estimate - half, estimate + half, se, df, len(residuals), groups, p)


def finite_values(values: ArrayLike) -> NDArray[np.float64]:
    """One finite number a pair, or ValueError."""
    x = np.asarray(values, dtype=np.float64)
    if x.ndim != 1 or not np.isfinite(x).all():
        raise ValueError("values must be one finite number a pair; leave failed pairs out and count them")
    return x


def paired(a: ArrayLike, b: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Two methods' values of the same pairs, or ValueError."""
    x, y = finite_values(a), finite_values(b)
    if len(x) != len(y):
        raise ValueError("paired values must come from the same pairs")
    return x, y


def mean_interval(values: ArrayLike, *roles: Identities, level: float = 0.95) -> Interval:
    """Mean of one value a pair, with the dyadic cluster-robust t-interval.

    Args:
        values: (n,) finite numbers.
        roles: the pairs' identities: sources, targets, …
        level: coverage aimed at.

    Raises:
        ValueError: a value is not finite, or the lengths differ.
    """
    x = finite_values(values)
    mean = float(x.mean()) if len(x) else math.nan
    return _interval(mean, x - mean, roles, level)


def paired_difference(a: ArrayLike, b: ArrayLike, *roles: Identities, level: float = 0.95) -> Interval:
    """Mean of a − b over the same pairs; ``p`` tests that the two methods are equal.

    Args:
        a, b: (n,) values of two methods, row i of both from the same pair.
        roles: the pairs' identities: sources, targets, …
        level: coverage aimed at.
    """
    x, y = paired(a, b)
    return mean_interval(x - y, *roles, level=level)


def ratio(numerator: ArrayLike, denominator: ArrayLike, *roles: Identities, level: float = 0.95) -> Interval:
    """Ratio of two means over the same pairs, with the delta method's interval; ``p`` is not given.

    With r the ratio, the residual of a pair is (numerator − r · denominator) / mean(denominator), whose dyadic variance
    is the ratio's. Where the denominator's own interval holds zero the ratio's is unbounded.

    Args:
        numerator, denominator: (n,) values, row i of both from the same pair.
        roles: the pairs' identities: sources, targets, …
        level: coverage aimed at.
    """
    x, y = finite_values(numerator), finite_values(denominator)
    if len(x) != len(y):
        raise ValueError("a ratio needs values of the same pairs")
    whole = mean_interval(y, *roles, level=level)
    if len(x) == 0 or whole.estimate == 0:
        nothing = math.nan
        return Interval(nothing, nothing, nothing, nothing, whole.df, whole.n, whole.identities, nothing)
    value = float(x.mean()) / whole.estimate
    result = _interval(value, (x - value * y) / whole.estimate, roles, level)
    low, high = (-math.inf, math.inf) if whole.low <= 0 <= whole.high else (result.low, result.high)
    return Interval(value, low, high, result.se, result.df, result.n, result.identities, math.nan)


def progress(method: ArrayLike, copy: ArrayLike, truth: ArrayLike, *roles: Identities, level: float = 0.95) -> Interval:
    """Share of the way from returning the target to the truth: (copy − method) / (copy − truth), of means; see `ratio`.

    0 = no better than returning the target, 1 = as good as the truth.

    Args:
        method, copy, truth: (n,) distances of the three on the same pairs.
        roles: the pairs' identities: sources, targets, …
        level: coverage aimed at.
    """
    m, c, t = finite_values(method), finite_values(copy), finite_values(truth)
    if not len(m) == len(c) == len(t):
        raise ValueError("progress needs the three distances of the same pairs")
    return ratio(c - m, c - t, *roles, level=level)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down adjusted p-values (Holm 1979), in the order given; nan stays nan and is not counted."""
    known = sorted((p, i) for i, p in enumerate(p_values) if not math.isnan(p))
    adjusted = [math.nan] * len(p_values)
    largest = 0.0
    for rank, (p, i) in enumerate(known):
        largest = max(largest, min(1.0, p * (len(known) - rank)))
        adjusted[i] = largest
    return adjusted
