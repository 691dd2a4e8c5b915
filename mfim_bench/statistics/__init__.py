"""Intervals, tests, resampling and effect sizes that know that pairs share identities; see ``docs/statistics.md``."""

from mfim_bench.statistics.bootstrap import bootstrap_difference, bootstrap_mean
from mfim_bench.statistics.effects import FEW, detectable, few_identities, standardised, win_rate
from mfim_bench.statistics.intervals import (
    Identities,
    Interval,
    dyadic_variance,
    holm,
    mean_interval,
    paired_difference,
    progress,
    ratio,
)

__all__ = [
    "FEW",
    "Identities",
    "Interval",
    "bootstrap_difference",
    "bootstrap_mean",
    "detectable",
    "dyadic_variance",
    "few_identities",
    "holm",
    "mean_interval",
    "paired_difference",
    "progress",
    "ratio",
    "standardised",
    "win_rate",
]
