"""Identity retrieval: the definition, ties, and the public scripts' formulas on the same features."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

from mfim_bench.measures import retrieval

Features = dict[str, NDArray[np.float32]]


def embeddings(values: object) -> Features:
    return {"embedding": np.asarray(values, np.float32)}


@pytest.fixture
def random() -> np.random.Generator:
    return np.random.default_rng(5)


@pytest.mark.parametrize(("metric", "k"), [("euclidean", 1), ("euclidean", 5), ("cosine", 1), ("cosine", 5)])
def test_equals_the_definition(metric: str, k: int, random: np.random.Generator) -> None:
    """A frame of the wanted identity among the first k of all frames sorted by distance; more swaps than a block."""
    who = [f"p{i // 3}" for i in range(60)]
    centres = random.normal(size=(20, 8))
    gallery = np.repeat(centres, 3, axis=0) + random.normal(size=(60, 8))
    wanted = [f"p{i % 20}" for i in range(300)]
    swaps = centres[np.arange(300) % 20] + 1.5 * random.normal(size=(300, 8))
    swaps *= random.uniform(0.2, 5, (300, 1))
    rows = cdist(swaps.astype(np.float32), gallery.astype(np.float32), metric)
    expected = [float(w in {who[i] for i in np.argsort(row)[:k]}) for w, row in zip(wanted, rows, strict=True)]
    function = getattr(retrieval, f"{'l2' if metric == 'euclidean' else 'cosine'}_top{k}")
    values = function(embeddings(swaps), embeddings(gallery), who, wanted)
    assert values.tolist() == expected
    assert 0.1 < values.mean() < 0.9
    order = random.permutation(60)
    again = function(embeddings(swaps), embeddings(gallery[order]), [who[i] for i in order], wanted)
    assert np.array_equal(again, values)


def test_ties_are_misses() -> None:
    """A recogniser that sees no difference retrieves nothing, wherever the right frame stands."""
    same = embeddings(np.ones((6, 3)))
    for who in (["a", "b", "c", "d", "e", "f"], ["f", "b", "c", "d", "e", "a"]):
        for function in (retrieval.l2_top1, retrieval.l2_top5, retrieval.cosine_top1, retrieval.cosine_top5):
            assert function(embeddings(np.ones((1, 3))), same, who, ["a"]).tolist() == [0.0]
    twice = embeddings([[1, 0], [1, 0], [0, 1]])  # one picture under two names
    assert retrieval.l2_top1(embeddings([[1, 0.1]]), twice, ["a", "b", "c"], ["a"]).tolist() == [0.0]
    assert retrieval.l2_top1(embeddings([[1, 0.1]]), twice, ["a", "a", "c"], ["a"]).tolist() == [1.0]


def test_the_source_frame_itself_counts_and_the_target_frame_does_not() -> None:
    gallery, who = embeddings([[1, 0], [0, 1]]), ["source", "target"]
    assert retrieval.l2_top1(embeddings([[1, 0], [0, 1]]), gallery, who, ["source", "source"]).tolist() == [1.0, 0.0]


def test_an_identity_that_the_gallery_lacks_has_no_value() -> None:
    values = retrieval.l2_top1(embeddings([[1, 0], [1, 0]]), embeddings([[1, 0]]), ["a"], ["a", "b"])
    assert values[0] == 1
    assert np.isnan(values[1])


def test_misused_features_are_named() -> None:
    with pytest.raises(ValueError, match="cannot be compared"):
        retrieval.l2_top1(embeddings([[1, 0]]), embeddings([[1, 0, 0]]), ["a"], ["a"])
    with pytest.raises(ValueError, match="2 identities of 1 frames"):
        retrieval.l2_top1(embeddings([[1, 0]]), embeddings([[1, 0]]), ["a", "b"], ["a"])


# ---- the scripts, from their formulas: one gallery frame an identity, swap i made from source label[i]

Script = Callable[[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]], float]


def reface_top1(swaps: NDArray[np.float64], gallery: NDArray[np.float64], label: NDArray[np.int64]) -> float:
    """Largest dot product of embeddings of length one."""
    return float((np.argmax(swaps @ gallery.T, axis=1) == label).mean())


def reface_top5(swaps: NDArray[np.float64], gallery: NDArray[np.float64], label: NDArray[np.int64]) -> float:
    best = np.argsort(swaps @ gallery.T, axis=1)[:, -5:]
    return float(np.any(best == label[:, None], axis=1).mean())


def metaswap(swaps: NDArray[np.float64], gallery: NDArray[np.float64], label: NDArray[np.int64]) -> float:
    """Least squared distance; the gallery on the first axis."""
    return float((((gallery[:, None] - swaps[None]) ** 2).sum(2).argmin(0) == label).mean())


def reliableswap(swaps: NDArray[np.float64], gallery: NDArray[np.float64], label: NDArray[np.int64]) -> float:
    """Least cosine distance, of embeddings of any length."""
    return float((cdist(swaps, gallery, "cosine").argmin(1) == label).mean())


@pytest.mark.parametrize(
    ("script", "ours", "unit"),
    [
        (reface_top1, retrieval.cosine_top1, True),
        (reface_top5, retrieval.cosine_top5, True),
        (metaswap, retrieval.l2_top1, True),
        (reliableswap, retrieval.cosine_top1, False),
    ],
)
def test_equals_the_public_scripts(
    script: Script,
    ours: Callable[[Features, Features, Sequence[str], Sequence[str]], NDArray[np.float64]],
    unit: bool,
    random: np.random.Generator,
) -> None:
    gallery = random.normal(size=(40, 16)).astype(np.float32)
    label = random.permutation(40)
    swaps = (gallery[label] + 1.2 * random.normal(size=(40, 16))).astype(np.float32)
    if unit:
        gallery /= np.linalg.norm(gallery, axis=1, keepdims=True)
        swaps /= np.linalg.norm(swaps, axis=1, keepdims=True)
    values = ours(embeddings(swaps), embeddings(gallery), [str(i) for i in range(40)], [str(i) for i in label])
    assert values.mean() == pytest.approx(script(swaps, gallery, label), abs=1e-12)
    assert 0 < values.mean() < 1
