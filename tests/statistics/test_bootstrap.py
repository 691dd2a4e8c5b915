"""The pigeonhole bootstrap: against its definition, seeds, and its coverage in simulation."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from simulated import PAIRS, draw_pairs, draw_values, names, simulate_bootstrap

from mfim_bench.statistics import bootstrap, bootstrap_difference, bootstrap_mean, mean_interval


def test_draws_are_products_of_multiplicities() -> None:
    """Against loops over names, with a third role and pairs that name one identity twice."""
    rng = np.random.default_rng(1)
    who = rng.integers(7, size=(3, 25))
    who[1, :5] = who[0, :5]
    x = rng.normal(size=25)
    people = sorted(set(names(who.reshape(-1))))
    rng = np.random.default_rng(3)
    expected = []
    for _ in range(50):
        drawn = [people[i] for i in rng.integers(len(people), size=len(people))]
        weights = [math.prod(drawn.count(name) for name in set(names(trio))) for trio in who.T]
        if sum(weights):
            expected.append(np.average(x, weights=weights))
    interval = bootstrap_mean(x, *map(names, who), draws=50, seed=3)
    assert interval.se == pytest.approx(np.std(expected, ddof=1), rel=1e-12)
    assert (interval.low, interval.high) == pytest.approx(tuple(np.quantile(expected, [0.025, 0.975])))
    assert interval.estimate == pytest.approx(x.mean())


def test_a_seed_repeats_and_chunks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(2)
    source, target = (names(c) for c in draw_pairs(rng, 30, 90))
    a, b = rng.normal(size=(2, 90))
    whole = bootstrap_difference(a, b, source, target, draws=300, seed=5)
    monkeypatch.setattr(bootstrap, "CHUNK", 1000)
    cut = bootstrap_difference(a, b, source, target, draws=300, seed=5)
    assert dataclasses.astuple(cut) == pytest.approx(dataclasses.astuple(whole), rel=1e-12)
    assert bootstrap_difference(a, b, source, target, draws=300, seed=6).low != whole.low


def test_what_cannot_be_resampled_has_no_interval() -> None:
    assert math.isnan(bootstrap_mean([1.0, 2.0, 3.0], ["a"] * 3, ["b", "c", "d"]).low)
    assert math.isnan(bootstrap_mean([], [], []).estimate)
    with pytest.raises(ValueError, match="two draws"):
        bootstrap_mean([1.0, 2.0], ["a", "b"], ["c", "d"], draws=1)


def test_p_falls_with_the_effect() -> None:
    rng = np.random.default_rng(4)
    source, target = draw_pairs(rng, 60, 180)
    x = draw_values(rng, "target", 60, source, target)
    who = names(source), names(target)
    assert bootstrap_mean(x - x.mean(), *who).p > 0.5
    assert bootstrap_mean(x + 3, *who).p == pytest.approx(2 / 2001)


def test_noise_is_counted_more_than_once_and_people_once() -> None:
    """Without effects of people the bootstrap's error is √3 of the true one; where people are all, nearly the true."""
    rng = np.random.default_rng(5)
    source, target = draw_pairs(rng, 200, 600)
    who = names(source), names(target)
    noise = draw_values(rng, "none", 200, source, target)
    assert bootstrap_mean(noise, *who).se / mean_interval(noise, *who).se == pytest.approx(math.sqrt(3), rel=0.12)
    people = rng.normal(size=200)
    x = people[source] + people[target]
    assert bootstrap_mean(x, *who).se / mean_interval(x, *who).se == pytest.approx(1.1, abs=0.12)


def test_bootstrap_coverage_small() -> None:
    """200 repeats: a nominal 95 % that is meant to be wide stays above 93 %."""
    coverage, width = simulate_bootstrap("target", 70, 210, 200, seed=6, draws=200)
    assert coverage > 0.93
    assert width > 1


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["source", "target", "both", "none"])
@pytest.mark.parametrize("identities", [70, 100])
def test_bootstrap_coverage_full(kind: str, identities: int) -> None:
    n = PAIRS[identities]
    coverage, width = simulate_bootstrap(kind, identities, n, 5000, seed=7, draws=400)
    print(f"coverage {kind} {identities} identities {n} pairs: bootstrap {coverage:.4f}, {width:.2f} times as wide")
    assert coverage >= 0.935
