"""The dyadic interval: against its definition, and its coverage in simulation."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from scipy import stats
from simulated import PAIRS, draw_pairs, names, simulate

from mfim_bench.statistics import dyadic_variance, holm, mean_interval, paired_difference, progress


@pytest.mark.parametrize("roles", [1, 2, 3, 4])
def test_variance_equals_the_double_sum(roles: int) -> None:
    """Pairs of an identity with itself, and repeated couples and triples, occur."""
    rng = np.random.default_rng(roles)
    for seed in range(20):
        who = rng.integers(9, size=(roles, 40))
        x = np.random.default_rng(seed).normal(size=40) + 3 * np.arange(9)[who[-1]]
        e = x - x.mean()
        shared = np.array([[bool(set(p) & set(q)) for q in who.T] for p in who.T])
        groups = len(np.unique(who))
        expected = (np.outer(e, e) * shared).sum() / 40**2 * groups / (groups - 1)
        floor = (e**2).sum() * 40 / 39 / 40**2
        variance, counted = dyadic_variance(e, *map(names, who))
        assert counted == groups
        assert variance == pytest.approx(max(expected, floor), rel=1e-10)


@pytest.mark.parametrize("roles", [1, 2, 3])
def test_the_exact_scale_undoes_what_the_mean_takes(roles: int) -> None:
    """Independent values of variance 1 in a lopsided design: the sum over residuals expects n − n d, not n."""
    rng = np.random.default_rng(roles)
    who = np.minimum(rng.integers(12, size=(roles, 60)), rng.integers(12, size=(roles, 60)))
    shared = np.array([[bool(set(p) & set(q)) for q in who.T] for p in who.T])
    centre = np.eye(60) - 1 / 60
    expected = np.trace(centre @ shared @ centre)
    assert expected == pytest.approx(60 * (1 - shared.mean()))
    e = centre @ (rng.normal(size=60) + 3 * np.arange(12)[who[-1]])
    variance, _ = dyadic_variance(e, *map(names, who), exact=True)
    assert variance == pytest.approx((np.outer(e, e) * shared).sum() / 60**2 * 60 / expected, rel=1e-10)


def test_the_exact_scale_of_equal_clusters_is_the_usual_one() -> None:
    x = np.random.default_rng(2).normal(size=60)
    x += 2 * np.repeat(np.random.default_rng(3).normal(size=10), 6)
    who = names(np.repeat(np.arange(10), 6))
    assert dyadic_variance(x - x.mean(), who, exact=True) == pytest.approx(dyadic_variance(x - x.mean(), who))


def test_a_role_that_repeats_another_changes_nothing() -> None:
    rng = np.random.default_rng(8)
    source, target = (names(c) for c in draw_pairs(rng, 12, 50))
    x = rng.normal(size=50)
    twice = mean_interval(x, source, target, source)
    assert dataclasses.astuple(twice) == pytest.approx(dataclasses.astuple(mean_interval(x, source, target)))


def test_roles_must_name_every_pair() -> None:
    with pytest.raises(ValueError, match="3 values, but 3, 3, 2"):
        mean_interval([1.0, 2.0, 3.0], ["a", "b", "c"], ["d", "e", "f"], ["g", "h"])


def test_unshared_pairs_give_the_ordinary_standard_error() -> None:
    x = np.random.default_rng(1).normal(size=200)
    interval = mean_interval(x, [f"s{i}" for i in range(200)], [f"t{i}" for i in range(200)])
    assert interval.se == pytest.approx(stats.sem(x), rel=2e-3)
    assert interval.df == 399
    assert interval.low < interval.estimate < interval.high


def test_one_identity_in_every_pair_gives_no_interval() -> None:
    interval = mean_interval([1.0, 2.0, 3.0, 4.0], ["a"] * 4, ["b", "c", "d", "e"])
    assert interval.estimate == 2.5
    assert math.isnan(interval.se)
    assert math.isnan(interval.low)


def test_pairs_that_all_meet_give_no_interval() -> None:
    """Nobody is in all three, yet each two share somebody: the residuals of all dependent couples sum to zero."""
    assert math.isnan(mean_interval([1.0, 2.0, 4.0], ["a", "b", "c"], ["b", "c", "a"]).se)


@pytest.mark.parametrize("n", [0, 1])
def test_too_few_pairs(n: int) -> None:
    interval = mean_interval([2.0] * n, ["a"] * n, ["b"] * n)
    assert math.isnan(interval.high)
    assert interval.n == n


def test_values_that_are_not_finite_are_refused() -> None:
    with pytest.raises(ValueError, match="finite"):
        mean_interval([1.0, math.nan], ["a", "b"], ["c", "d"])


def test_holm_against_worked_example() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    with_nan = holm([0.01, math.nan, 0.5])
    assert with_nan[0] == pytest.approx(0.02)
    assert math.isnan(with_nan[1])


def test_progress_end_points_and_unbounded() -> None:
    rng = np.random.default_rng(2)
    source, target = (names(c) for c in draw_pairs(rng, 40, 150))
    copy, truth = rng.normal(0.6, 0.05, 150), rng.normal(0.3, 0.05, 150)
    assert progress(copy, copy, truth, source, target).estimate == 0
    assert progress(truth, copy, truth, source, target).estimate == pytest.approx(1)
    assert progress(truth, copy, truth, source, target).se == pytest.approx(0, abs=1e-12)
    flat = progress(copy, copy, copy + rng.normal(0, 0.01, 150), source, target)
    assert flat.low == -math.inf


def test_coverage_small() -> None:
    """300 repeats: a nominal 95 % stays above 91 % (3 standard errors); clustering by source alone does not."""
    dyadic, by_source = simulate("target", 100, 500, 300, seed=3)
    assert dyadic > 0.91
    assert by_source < 0.85


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["source", "target", "both", "none"])
@pytest.mark.parametrize(("identities", "least"), [(50, 0.925), (60, 0.925), (70, 0.935), (100, 0.935)])
def test_coverage_full(kind: str, identities: int, least: float) -> None:
    """The bar is 93.5 to 96.5 %; below 70 people it is missed, by less than a point."""
    n = PAIRS[identities]
    dyadic, by_source = simulate(kind, identities, n, 5000, seed=4)
    print(f"coverage {kind} {identities} identities {n} pairs: dyadic {dyadic:.4f}, by source {by_source:.4f}")
    assert least <= dyadic <= 0.965


def simulate_mixed(identities: int, n: int, repeats: int, seed: int) -> tuple[float, float]:
    """Share of repeats in which the interval that knows three roles, and the one that knows two, hold the truth."""
    rng = np.random.default_rng(seed)
    three = two = 0
    for _ in range(repeats):
        who = np.stack([rng.permutation(identities)[:3] for _ in range(n)], 1)
        a, b, c = rng.normal(size=(3, identities))
        x = a[who[0]] + b[who[1]] + 2 * c[who[2]] + rng.normal(size=n)
        whole, part = mean_interval(x, *map(names, who)), mean_interval(x, *map(names, who[:2]))
        three += whole.low <= 0 <= whole.high
        two += part.low <= 0 <= part.high
    return three / repeats, two / repeats


def test_mixed_coverage_small() -> None:
    """300 repeats, an effect of each of three people; leaving the third out covers too little."""
    three, two = simulate_mixed(60, 200, 300, seed=9)
    assert three > 0.91
    assert two < 0.89


@pytest.mark.slow
@pytest.mark.xfail(strict=True, reason="missed: under 93.5 % with three people a pair, see docs/statistics.md")
@pytest.mark.parametrize(("identities", "n"), [(150, 100), (100, 300)])
def test_mixed_coverage_full(identities: int, n: int) -> None:
    three, two = simulate_mixed(identities, n, 4000, seed=10)
    print(f"coverage {identities} identities {n} mixed pairs: three roles {three:.4f}, two of them {two:.4f}")
    assert 0.935 <= three <= 0.97


def simulate_progress(repeats: int, seed: int) -> float:
    rng = np.random.default_rng(seed)
    held = 0
    for _ in range(repeats):
        source, target = draw_pairs(rng, 100, 300)
        a, b, c = rng.normal(0, 0.05, size=(3, 100))
        copy = 0.6 + a[source] + b[target] + rng.normal(0, 0.05, 300)
        truth = 0.3 + b[target] + rng.normal(0, 0.05, 300)
        method = 0.48 + a[source] / 2 + b[target] + c[target] + rng.normal(0, 0.05, 300)
        interval = progress(method, copy, truth, names(source), names(target))
        held += interval.low <= 0.4 <= interval.high
    return held / repeats


def test_progress_coverage_small() -> None:
    assert simulate_progress(300, seed=5) > 0.91


@pytest.mark.slow
def test_progress_coverage_full() -> None:
    coverage = simulate_progress(4000, seed=6)
    print(f"coverage of progress: {coverage:.4f}")
    assert 0.935 <= coverage <= 0.97


def test_paired_difference_is_narrower_than_two_means() -> None:
    rng = np.random.default_rng(7)
    source, target = draw_pairs(rng, 60, 200)
    common = rng.normal(size=60)[target]
    a, b = common + rng.normal(0, 0.1, 200) + 0.1, common + rng.normal(0, 0.1, 200)
    interval = paired_difference(a, b, names(source), names(target))
    assert interval.low > 0
    assert interval.p < 1e-3
    assert interval.se < mean_interval(a, names(source), names(target)).se / 3
