"""How large a difference is, how often a method wins, and what difference a protocol of some size can find."""

from __future__ import annotations

import math

from numpy.typing import ArrayLike
from scipy import special

from mfim_bench.statistics.intervals import Identities, Interval, dyadic_variance, paired

FEW = 50
"""Identities below which the intervals are too narrow to lean on; see ``docs/statistics.md``."""


def few_identities(identities: int) -> str:
    """One line of warning below `FEW` identities; empty from there on, and where there are none."""
    if not 0 < identities < FEW:
        return ""
    return f"warning: only {identities} identities; below {FEW}, intervals come out too narrow and p-values too small"


def standardised(a: ArrayLike, b: ArrayLike) -> float:
    """Cohen's d_z of paired values: mean(a − b) / sd(a − b). Nan for fewer than two pairs, 0 where all are equal.

    The differences' spread is that over pairs, so d_z tells how large the difference is beside what varies from pair to
    pair, and nothing about how well it is known.

    Args:
        a, b: (n,) values of two methods, row i of both from the same pair.
    """
    x, y = paired(a, b)
    if len(x) < 2:
        return math.nan
    mean, sd = float((x - y).mean()), float((x - y).std(ddof=1))
    if sd == 0:
        return 0.0 if mean == 0 else math.copysign(math.inf, mean)
    return mean / sd


def win_rate(
    a: ArrayLike, b: ArrayLike, *roles: Identities, lower_is_better: bool = True, level: float = 0.95
) -> Interval:
    """Share of pairs in which A is better than B, a tie counting half; ``p`` is of "each wins as often".

    The interval is Wilson's, so it stays within 0 and 1, with t for z and as many pairs as independent ones would need
    to have the share's dyadic variance V, exactly scaled: rate (1 − rate) / V. Where one method wins every pair V is
    zero and tells nothing; then identities / roles (at least two), the pairs that so many people can form without
    meeting twice, stand for the number, or all pairs where they are fewer.

    Args:
        a, b: (n,) values of two methods, row i of both from the same pair.
        roles: the pairs' identities: sources, targets, …
        lower_is_better: of the measure.
        level: coverage aimed at.
    """
    x, y = paired(a, b)
    if not len(x):
        nothing = math.nan
        return Interval(nothing, nothing, nothing, nothing, 0, 0, 0, nothing)
    better = (x < y) if lower_is_better else (x > y)
    wins = better + 0.5 * (x == y)
    rate = float(wins.mean())
    variance, groups = dyadic_variance(wins - rate, *roles, exact=True)
    df, nothing = max(groups - 1, 0), math.nan
    if math.isnan(variance):
        return Interval(rate, nothing, nothing, nothing, df, len(x), groups, nothing)
    if bool((x == y).all()):  # the same numbers: nobody wins
        return Interval(rate, rate, rate, 0.0, df, len(x), groups, 1.0)
    n = rate * (1 - rate) / variance if variance > 0 else min(len(x), groups / max(2, len(roles)))
    t = float(special.stdtrit(df, 0.5 + level / 2))
    middle = (rate + t**2 / (2 * n)) / (1 + t**2 / n)
    half = t / (1 + t**2 / n) * math.sqrt(rate * (1 - rate) / n + t**2 / (4 * n**2))
    p = float(2 * special.stdtr(df, -abs(rate - 0.5) * 2 * math.sqrt(n)))  # Wilson's: the spread under the hypothesis
    # The interval holds the rate, also after rounding.
    low, high = min(rate, max(0.0, middle - half)), max(rate, min(1.0, middle + half))
    return Interval(rate, low, high, math.sqrt(variance), df, len(x), groups, p)


def detectable(pilot: Interval, identities: int | None = None, *, power: float = 0.8, level: float = 0.05) -> float:
    """The least true mean (difference) that a two-sided test finds with the given power.

    It is (t(1 − level/2) + t(power)) · se. Identities' and pairs' parts of the variance both fall with the number of
    identities when the pairs of one identity stay as many, so the standard error is the pilot's times √(pilot's
    identities / identities).

    Args:
        pilot: a mean's or a paired difference's dyadic interval, from a run that was made.
        identities: of the protocol that is planned; the pilot's when left out.
        power: chance to find it.
        level: of the test.

    Returns:
        In the measure's unit; nan where the pilot has no standard error.
    """
    wanted = pilot.identities if identities is None else identities
    if math.isnan(pilot.se) or wanted < 2:
        return math.nan
    df = wanted - 1
    se = pilot.se * math.sqrt(pilot.identities / wanted)
    return se * float(special.stdtrit(df, 1 - level / 2) + special.stdtrit(df, power))
