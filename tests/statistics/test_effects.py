"""Effect sizes, win rates, what a protocol can find, and the warning about few people."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from scipy import stats
from simulated import PAIRS, draw_pairs, draw_values, names

from mfim_bench.statistics import detectable, few_identities, mean_interval, paired_difference, standardised, win_rate


def test_standardised_by_hand() -> None:
    assert standardised([3.0, 5.0, 7.0], [1.0, 1.0, 1.0]) == pytest.approx(4 / 2)
    assert standardised([1.0, 2.0], [1.0, 2.0]) == 0
    assert standardised([2.0, 3.0], [1.0, 2.0]) == math.inf
    assert math.isnan(standardised([1.0], [2.0]))


def test_win_rate_counts_ties_half_and_knows_the_direction() -> None:
    who = ["a", "b", "c", "d"], ["e", "f", "g", "h"]
    a, b = [1.0, 1.0, 3.0, 5.0], [2.0, 1.0, 2.0, 9.0]
    assert win_rate(a, b, *who).estimate == 0.625
    assert win_rate(a, b, *who, lower_is_better=False).estimate == 0.375
    same = win_rate(a, a, *who)
    assert (same.estimate, same.p) == (0.5, 1.0)
    assert math.isnan(win_rate([], [], [], []).estimate)
    assert math.isnan(win_rate(a, b, ["a"] * 4, who[1]).low)


def test_a_win_in_every_pair_still_has_an_interval() -> None:
    rng = np.random.default_rng(1)
    source, target = (names(c) for c in draw_pairs(rng, 40, 120))
    never = win_rate([0.0] * 120, [1.0] * 120, source, target)
    assert never.estimate == never.high == 1
    z = stats.t.ppf(0.975, 39)
    assert never.low == pytest.approx(20 / (20 + z**2))
    assert win_rate([1.0] * 120, [0.0] * 120, source, target).high == pytest.approx(1 - never.low)


@pytest.mark.parametrize("roles", [2, 3, 4])
def test_a_win_in_every_pair_counts_no_more_pairs_than_there_are(roles: int) -> None:
    """Ten pairs of people who meet once; and each twice, the same people: ten still."""
    who = [[f"{role}-{pair}" for pair in range(10)] for role in range(roles)]
    once = win_rate([0.0] * 10, [1.0] * 10, *who)
    assert once.p == pytest.approx(2 * stats.t.sf(math.sqrt(10), 10 * roles - 1))
    assert once.p > stats.binomtest(10, 10).pvalue
    assert once.high == 1
    twice = win_rate([0.0] * 20, [1.0] * 20, *(2 * role for role in who))
    assert (twice.p, twice.low, twice.high) == (once.p, once.low, 1)


def test_rounding_does_not_put_the_rate_outside_its_interval() -> None:
    for count in range(2, 60):
        who = [[f"{role}-{pair}" for pair in range(count)] for role in "st"]
        assert win_rate([0.0] * count, [1.0] * count, *who).high == 1
        assert win_rate([1.0] * count, [0.0] * count, *who).low == 0


def simulate_wins(repeats: int, seed: int, kind: str = "target", identities: int = 70, sigma: float = 1.0) -> float:
    """Share of repeats in which the interval holds the true rate, P(Z < sigma), of differences that are normal."""
    rng = np.random.default_rng(seed)
    held, truth = 0, float(stats.norm.cdf(sigma))
    shift = sigma * math.sqrt({"none": 1, "source": 2, "target": 2, "both": 3}[kind])
    for _ in range(repeats):
        source, target = draw_pairs(rng, identities, PAIRS[identities])
        d = draw_values(rng, kind, identities, source, target) - shift
        interval = win_rate(d, np.zeros(len(d)), names(source), names(target))
        held += interval.low <= truth <= interval.high
    return held / repeats


def test_win_rate_coverage_small() -> None:
    assert simulate_wins(300, seed=2) > 0.91


@pytest.mark.slow
@pytest.mark.parametrize("identities", [70, 100])
@pytest.mark.parametrize("kind", ["source", "target", "both", "none"])
@pytest.mark.parametrize("sigma", [0.0, 1.0])
def test_win_rate_coverage_full(kind: str, identities: int, sigma: float) -> None:
    coverage = simulate_wins(5000, 3, kind, identities, sigma)
    print(f"coverage of a win rate of {stats.norm.cdf(sigma):.2f}, {kind}, {identities} identities: {coverage:.4f}")
    assert 0.935 <= coverage <= 0.965


def simulate_power(repeats: int, seed: int) -> float:
    """How often the difference that a pilot calls detectable is found by another run of the same size."""
    rng = np.random.default_rng(seed)
    found = 0
    for _ in range(repeats):
        source, target = draw_pairs(rng, 100, PAIRS[100])
        pilot = mean_interval(draw_values(rng, "both", 100, source, target), names(source), names(target))
        source, target = draw_pairs(rng, 100, PAIRS[100])
        x = draw_values(rng, "both", 100, source, target) + detectable(pilot)
        found += paired_difference(x, np.zeros(len(x)), names(source), names(target)).p < 0.05
    return found / repeats


def test_power_small() -> None:
    """300 repeats: 80 % within 3 standard errors and what a pilot's own error costs."""
    assert 0.70 < simulate_power(300, seed=4) < 0.88


@pytest.mark.slow
def test_power_full() -> None:
    power = simulate_power(5000, seed=5)
    print(f"power at the detectable difference: {power:.4f}")
    assert 0.76 <= power <= 0.84


def test_detectable_is_the_normal_formula_with_many_and_scales() -> None:
    rng = np.random.default_rng(6)
    source, target = (names(c) for c in draw_pairs(rng, 400, 1200))
    pilot = mean_interval(rng.normal(size=1200), source, target)
    assert detectable(pilot) == pytest.approx((1.96 + 0.8416) * pilot.se, rel=0.01)
    assert detectable(pilot, 4 * pilot.identities) == pytest.approx(detectable(pilot) / 2, rel=0.01)
    assert math.isnan(detectable(dataclasses.replace(pilot, se=math.nan)))


def test_few_identities_are_told() -> None:
    assert "only 49 identities" in few_identities(49)
    assert few_identities(50) == few_identities(0) == ""
