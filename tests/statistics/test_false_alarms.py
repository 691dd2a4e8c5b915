"""A/A: how often two methods that are equal are called different, on the distances of real runs.

Two runs of one method have no difference to test, and two halves of one run share no pair. What can be had is a
difference whose true mean is known to be zero: A less B of two methods, with A and B exchanged by a coin. A coin a pair
would make pairs independent, which is too easy; a coin a target (or a source) keeps what pairs of one person share. So
sizes, skew and outliers are those of real swaps, and dependence too. Beside it, without a coin: one method on two
halves of the people, who share nobody, compared unpaired.
"""

from __future__ import annotations

import math
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from mfim_bench.bench.record import Record, identities
from mfim_bench.statistics import holm, mean_interval, paired_difference

KEPT = Path(__file__).parents[2] / "docs" / "ablations"
HALVES = 200


@lru_cache
def kept(name: str) -> Record:
    return Record.load(next(KEPT.glob(f"{name}/*/manifest.json")).parent)


def exchanged(a: str, b: str, coin: str, seed: int) -> NDArray[np.float64]:
    """p-values, (200 random halves of the pairs, measures), of A against B with their labels exchanged by coins."""
    rng = np.random.default_rng(seed)
    rows_a, rows_b = kept(a).scored(), kept(b).scored()
    pairs = np.array([pair for pair in rows_a if pair in rows_b])
    found = []
    for _ in range(HALVES):
        half = rng.permutation(pairs)[: len(pairs) // 2]
        who = identities([rows_a[pair] for pair in half])
        key = {"pair": list(half), "source": who[0], "target": who[1]}[coin]
        heads = dict(zip(sorted(set(key)), rng.integers(2, size=len(set(key))), strict=True))
        swap = np.array([heads[name] for name in key], bool)
        p = []
        for measure in kept(a).measures:
            x, y = (np.array([rows[pair][measure] for pair in half]) for rows in (rows_a, rows_b))
            p.append(paired_difference(np.where(swap, y, x), np.where(swap, x, y), *who).p)
        found.append(p)
    return np.array(found)


def rates(p: NDArray[np.float64]) -> tuple[float, float]:
    """Share of tests with p < .05; share of halves in which any measure has, after Holm's correction."""
    return float((p < 0.05).mean()), float(np.mean([min(holm(list(row))) < 0.05 for row in p]))


def test_equal_methods_are_rarely_called_different() -> None:
    """200 halves, a coin a target: at most 7 % of tests, and of whole comparisons."""
    single, whole = rates(exchanged("mfim-full-0", "mfim-no-maps-0", "target", seed=1))
    assert 0 < single <= 0.07
    assert whole <= 0.07


@pytest.mark.slow
@pytest.mark.parametrize("coin", ["pair", "source", "target"])
@pytest.mark.parametrize("other", ["mfim-no-maps-0", "mfim-no-3dmm-0", "mfim-frozen-0", "target-copy@64"])
def test_false_alarms_full(coin: str, other: str) -> None:
    single, whole = rates(exchanged("mfim-full-0", other, coin, seed=2))
    print(f"mfim-full-0 and {other}, a coin a {coin}: {single:.3f} of tests, {whole:.3f} of comparisons after Holm")
    assert single <= 0.07
    assert whole <= 0.07


def halves_of_people(name: str, seed: int) -> NDArray[np.float64]:
    """p-values, (200 random halves of the people, measures), of a method on the pairs within the one and the other."""
    rng = np.random.default_rng(seed)
    rows = list(kept(name).scored().values())
    people = np.unique(np.array(identities(rows)))
    found = []
    for _ in range(HALVES):
        one = set(rng.permutation(people)[: len(people) // 2])
        inside = [{row["source_identity"] in one, row["target_identity"] in one} for row in rows]
        groups = [[row for row, ends in zip(rows, inside, strict=True) if ends == {side}] for side in (True, False)]
        p = []
        for measure in kept(name).measures:
            x, y = (mean_interval([row[measure] for row in group], *identities(group)) for group in groups)
            se = math.hypot(x.se, y.se)
            df = se**4 / (x.se**4 / x.df + y.se**4 / y.df)  # Welch and Satterthwaite
            p.append(2 * stats.t.sf(abs(x.estimate - y.estimate) / se, df))
        found.append(p)
    return np.array(found)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mfim-full-0", "mfim-no-maps-0", "truth@64"])
def test_one_method_on_two_halves_of_the_people(name: str) -> None:
    single, whole = rates(halves_of_people(name, seed=3))
    print(f"{name} on two halves of the people: {single:.3f} of tests, {whole:.3f} of comparisons after Holm")
    assert single <= 0.07
