"""Distances against formulas written out by hand; specs that resolve."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from mfim_bench.errors import RowError
from mfim_bench.measures import MEASURES, WEIGHTS
from mfim_bench.measures import distances as d
from mfim_bench.plugins import resolve


def test_listing_is_light() -> None:
    code = "import mfim_bench.measures, sys; print([m for m in ('torch', 'numpy', 'cv2', 'scipy') if m in sys.modules])"
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
    )


def test_specs_are_whole() -> None:
    names = [m.name for m in MEASURES]
    assert len(set(names)) == len(names)
    defaults = [m.family for m in MEASURES if m.default]
    assert len(set(defaults)) == len(defaults)  # a family without one: its variants must be named
    catalogue = {w.name for w in WEIGHTS}
    for measure in MEASURES:
        assert callable(resolve(measure.distance))
        if measure.judge is not None:
            assert set(measure.judge.weights) <= catalogue
    partners = {
        "identity": {"source", "local"},  # local: where an identity is mixed
        "shape": {"source", "local"},
        "expression": {"target"},
        "pose": {"target"},
        "pose-hn": {"target"},
        "retrieval": {"source"},
        "lpips": {"target"},
        "fid": {"target"},
        "kid": {"target"},
        "error-inside": {"truth"},
        "error-outside": {"truth"},
        "error-local": {"truth"},
    }
    assert {family: {m.compares for m in MEASURES if m.family == family} for family in partners} == partners
    assert all(
        (m.compares == "local") == m.name.endswith("-local") for m in MEASURES if m.family in ("identity", "shape")
    )
    assert {m.family for m in MEASURES} == set(partners)


def test_embedding_l2() -> None:
    a = {"embedding": np.array([[0, 0], [1, 1]], np.float32)}
    b = {"embedding": np.array([[3, 4], [1, 1]], np.float32)}
    assert d.embedding_l2(a, b).tolist() == [5, 0]


def test_vertex_rms_is_root_of_mean_over_vertices() -> None:
    """RMS, not the mean, and over vertices, not over coordinates."""
    a = {"shape_vertices": np.zeros((1, 6), np.float32), "expression_vertices": np.zeros((1, 6), np.float32)}
    moved = np.array([[3, 4, 0, 0, 0, 0]], np.float32)  # one of two vertices moved by 5 mm
    expected = np.sqrt(25 / 2)
    assert d.shape_rms(a, {"shape_vertices": moved}) == pytest.approx([expected])
    assert d.expression_rms(a, {"expression_vertices": moved}) == pytest.approx([expected])


def test_angles_wrap() -> None:
    a = {"pose": np.array([[179.0, 0, 0], [3, 4, 0]], np.float32)}
    b = {"pose": np.array([[-179.0, 0, 0], [0, 0, 0]], np.float32)}
    assert d.pose_degrees(a, b) == pytest.approx([2, 5])
    radians = [{"pose": np.deg2rad(x["pose"])} for x in (a, b)]
    assert d.pose_radians(*radians) == pytest.approx(np.deg2rad([2, 5]), abs=1e-6)


def test_rows_never_broadcast() -> None:
    one, two = {"embedding": np.zeros((1, 4), np.float32)}, {"embedding": np.zeros((2, 4), np.float32)}
    with pytest.raises(ValueError, match="cannot be compared"):
        d.embedding_l2(one, two)


def test_l1_by_region() -> None:
    swap, truth = np.zeros((2, 2, 3), np.uint8), np.zeros((2, 2, 3), np.uint8)
    region = np.array([[255, 0], [0, 0]], np.uint8)
    truth[0, 0] = (255, 0, 0)
    truth[1, 1] = 51
    assert d.l1_inside(swap, truth, region) == pytest.approx(1 / 3)
    assert d.l1_outside(swap, truth, region) == pytest.approx(0.2 / 3)
    assert d.l1_inside(truth, swap, region) == pytest.approx(1 / 3), "8-bit differences must not wrap"
    soft = np.full((2, 2), 51, np.uint8)
    assert d.l1_inside(swap, truth, soft) == pytest.approx((1 / 3 + 0.2) / 4)


def test_l1_refuses_what_it_cannot_compare() -> None:
    image = np.zeros((2, 2, 3), np.uint8)
    with pytest.raises(RowError, match="nothing to compare"):
        d.l1_inside(image, image, np.zeros((2, 2), np.uint8))
    with pytest.raises(RowError, match="sizes differ"):
        d.l1_inside(image, np.zeros((3, 2, 3), np.uint8), np.zeros((2, 2), np.uint8))


def test_published_formulas_of_identity() -> None:
    """Of the public scripts, on the same features: cosine as REFace, ReliableSwap and the CASIA survey, L2 squared."""
    random = np.random.default_rng(3)
    a, b = (random.normal(size=(9, 512)).astype(np.float32) for _ in range(2))
    x, y = {"embedding": a}, {"embedding": b}
    unit = [v / np.linalg.norm(v, axis=1, keepdims=True) for v in (a.astype(float), b.astype(float))]
    reface = np.diagonal(unit[0] @ unit[1].T)  # also the survey's, and pSp's dot product of normalised embeddings
    np.testing.assert_allclose(d.embedding_cosine(x, y), reface, rtol=0, atol=1e-12)
    np.testing.assert_allclose(d.embedding_l2_squared(x, y), ((a.astype(float) - b) ** 2).sum(1), rtol=1e-12)
    assert d.embedding_cosine(x, {"embedding": 7 * a}) == pytest.approx(np.ones(9))
    assert np.isnan(d.embedding_cosine({"embedding": 0 * a}, y)).all()
    with pytest.raises(ValueError, match="cannot be compared"):
        d.embedding_cosine(x, {"embedding": b[:1]})
