"""The audit's arithmetic, on a judge whose answers are known: it reads what was painted into a corner of a face."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from mfim_bench import audited
from mfim_bench.bench.cache import FeatureCache
from mfim_bench.bench.eyes import Eyes
from mfim_bench.faces.detect import Face
from mfim_bench.measure import JudgeSpec, MeasureSpec
from mfim_bench.media.images import write_image
from mfim_bench.networks.rotations import rotation_of
from mfim_protocols.judges.data import head_fit
from mfim_protocols.virtual_faces import record
from mfim_protocols.virtual_faces.audit import factors, figures, pictures, report, truth
from mfim_protocols.virtual_faces.audit.looks import Distances, Looks
from mfim_protocols.virtual_faces.geometry import portrait, true_swap
from mfim_protocols.virtual_faces.render import render

if TYPE_CHECKING:
    from mfim_bench.measure import Features

PEOPLE, CORNER = 3, 12
FLOOR = 2.0
WEIGHTS = {"shape": 100.0, "skin": 20.0, "brows": 10.0, "expression": 24.0, "light": 16.0, "yaw": 6.0}
"""By how many grey levels a factor moves the corner; all others not at all."""
ALL = sum(WEIGHTS.values())


class Corner:
    """The mean of the corner's pixels, as an embedding of one number."""

    def features(self, images: Sequence[NDArray[np.uint8]], faces: Sequence[Face]) -> Features:
        return {"embedding": np.array([[i[:CORNER, :CORNER].mean()] for i in images], np.float32)}


def judge(device: torch.device) -> Corner:
    return Corner()


JUDGE = JudgeSpec(name="corner", factory=f"{__name__}:judge", version="1")


def measure(name: str) -> MeasureSpec:
    distance = "mfim_bench.measures.distances:embedding_l2"
    return MeasureSpec(name=name, distance=distance, compares="source", unit="grey", version="1", judge=JUDGE)


def level(name: str, path: Sequence[float]) -> float:
    """Grey level of a picture's corner: the base's is 0."""
    if name in ("base", factors.TRUTH):
        return 0.0
    if name.rpartition("-")[0].endswith("path"):
        return path[int(name.rpartition("-")[2])]
    changed = factors.variations().get(name, ())
    return max(FLOOR, sum(WEIGHTS.get(factor, 0.0) for factor in changed))


@pytest.fixture(scope="module")
def face() -> NDArray[np.uint8]:
    return render(portrait(record.draw(2, 3)), 128, 1).image


@pytest.fixture(autouse=True)
def few_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(figures, "LEAST_PEOPLE", PEOPLE - 1)


@pytest.fixture
def look(tmp_path: Path, face: NDArray[np.uint8]) -> Callable[..., Distances]:
    """Distances of a measure, from pictures whose corners say what changed."""

    def made(name: str, path: Sequence[float] = (176, 176, 176, 176, 176), skip: Mapping[int, str] = {}) -> Distances:
        for person in range(PEOPLE):
            for picture in pictures.names():
                image = face.copy()
                image[:CORNER, :CORNER] = round(level(picture, path))
                if skip.get(person) == picture:
                    image[:] = 0
                file = pictures.file_of(tmp_path, person, picture)
                file.parent.mkdir(parents=True, exist_ok=True)
                write_image(file, image)
        cache = FeatureCache(tmp_path / "features.sqlite")
        eyes = Eyes([JUDGE], torch.device("cpu"), "cpu", cache, 1)
        try:
            looks = Looks(tmp_path, range(PEOPLE), 0, [measure(name)], eyes)
            assert set(looks.reasons) == ({"picture: no face found"} if skip else set())
            return looks.distances(measure(name))
        finally:
            eyes.close()
            cache.close()

    return made


def test_shares_are_what_was_painted(look: Callable[..., Distances]) -> None:
    # A path that nears the donor's picture, at the sum of all weights.
    found = figures.of(measure("identity@corner"), look("identity@corner", (10, 40, 90, 130, 160)))
    span = ALL - FLOOR
    assert found.floor[0] == pytest.approx(FLOOR, abs=1e-3)
    assert found.independent[0] == pytest.approx(ALL, abs=1e-3)
    for factor in factors.FIELDS:
        expected = max(WEIGHTS.get(factor, 0.0), FLOOR) - FLOOR
        assert found.shares[factor][0] == pytest.approx(expected / span, abs=1e-3), factor
    assert found.response[0] == pytest.approx((130 - FLOOR) / span, abs=1e-3)
    assert found.leak[0] == pytest.approx((46 - FLOOR) / span, abs=1e-3)
    assert found.ratio[0] == pytest.approx(128 / 44, abs=1e-3)
    assert found.worst == "expression"
    assert found.path[0] == pytest.approx(1)
    assert (found.people, found.missing) == (PEOPLE, 0)
    assert found.verdict == "weak"
    assert found.reasons == ("response / leak 2.9 is below 3",)


def test_what_leaks_more_than_it_responds_fails(look: Callable[..., Distances]) -> None:
    found = figures.of(measure("expression@corner"), look("expression@corner", (90, 70, 50, 30, 10)))
    assert found.response[0] == pytest.approx((24 - FLOOR) / (ALL - FLOOR), abs=1e-3)
    assert found.leak[0] == pytest.approx((152 - FLOOR) / (ALL - FLOOR), abs=1e-3)
    assert found.path[0] == pytest.approx(1)
    assert (found.worst, found.verdict) == ("shape", "fails")
    assert "leak 0.86 is not below response 0.13" in found.reasons


def test_what_ranks_better_swaps_last_fails(look: Callable[..., Distances]) -> None:
    found = figures.of(measure("identity@corner"), look("identity@corner", (160, 130, 90, 40, 10)))
    assert found.path[0] == pytest.approx(-1)
    assert found.verdict == "fails"
    assert found.reasons[0] == "rank along the path of better swaps -1.00 is below 0.9"
    flat = figures.of(measure("shape@corner"), look("shape@corner", (50,) * 5))
    assert (flat.path[0], flat.verdict) == (0, "fails")


def test_a_person_with_a_picture_without_a_face_is_left_out_and_counted(look: Callable[..., Distances]) -> None:
    found = figures.of(measure("identity@corner"), look("identity@corner", (10, 40, 90, 130, 160), {1: "light"}))
    assert (found.people, found.missing) == (PEOPLE - 1, 1)
    assert found.response[0] == pytest.approx((130 - FLOOR) / (ALL - FLOOR), abs=1e-3)


def test_few_people_give_no_verdict(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(figures, "LEAST_PEOPLE", 12)
    verdict, reasons = figures.judged(0.9, 0.1, 0.5, 11)
    assert (verdict, reasons) == ("undecided", ("11 people are too few for a verdict, which takes 12",))
    assert figures.judged(0.9, 0.1, 0.5, 12)[0] == "fails"
    assert figures.judged(0.9, 0.1, 0.95, 12) == ("passes", ())
    assert figures.judged(0.1, 0.9, 0.95, 12)[0] == "fails"


def test_rank_is_of_order_not_of_size_and_its_interval_is_of_people() -> None:
    rng = np.random.default_rng(0)
    couples = np.array([c for c in np.ndindex(40, 40) if c[0] < c[1]])
    true = rng.random(len(couples))
    empty = np.zeros((0, 5))
    exact = figures.rank(Distances({}, empty, true**3, true, couples, empty))
    assert exact == (1.0, 1.0, 1.0)
    nothing = figures.rank(Distances({}, empty, rng.random(len(couples)), true, couples, empty))
    assert nothing[1] < 0 < nothing[2]  # type: ignore[operator]
    assert figures.rank(Distances({}, empty, true[:1], true[:1], couples[:1], empty)) == figures.NOTHING


def test_true_distances_are_of_what_they_say() -> None:
    base, donor = factors.pair(0, 0)
    couple = np.array([[0, 1]])

    def between(family: str, *changed: str) -> float:
        seen = truth.features(map(portrait, (base, factors.redrawn(base, donor, changed))))
        return float(truth.between(family, seen, couple)[0])

    for family, own in (("shape", "shape"), ("identity", "shape"), ("expression", "expression"), ("pose", "yaw")):
        assert between(family, own) > 0.01
        others = [f for f in factors.FIELDS if f not in ("shape", "expression", *factors.ANGLES)]
        assert between(family, *others) == pytest.approx(0, abs=1e-6)
    pose = np.linalg.norm(np.subtract(base.scene.pose, donor.scene.pose))
    assert between("pose", *factors.ANGLES) == pytest.approx(pose, rel=0.15)  # angles are turned with the aligned face


def test_the_truth_goes_straight_along_the_paths_of_expression_and_pose() -> None:
    for family in ("expression", "pose"):
        paths = truth.along(family, range(3), 0)
        assert paths.shape == (3, len(factors.STEPS))
        assert (np.diff(paths) < 0).all()
        assert figures.falling(paths)[0] == 1.0
    # A portrait's aligned head is that of its record, on whatever skull a swap puts it.
    base, donor = factors.pair(0, 0)
    fit = head_fit()
    shape, expression, pose = (
        torch.tensor([values], dtype=torch.float64)
        for values in (base.identity.shape, base.scene.expression, base.scene.pose)
    )
    face = fit.aligned(rotation_of(pose), shape, expression)
    seen = truth.features([portrait(base)])
    np.testing.assert_allclose(seen["shape_vertices"], face.neutral.flatten(1).numpy(), atol=1e-3)
    np.testing.assert_allclose(seen["expression_vertices"], face.expression.flatten(1).numpy(), atol=1e-3)
    moved = truth.between("shape", truth.features([portrait(base), true_swap(donor, base)]), np.array([[0, 1]]))
    assert moved[0] > 1


def test_reports_show_every_figure(look: Callable[..., Distances], tmp_path: Path) -> None:
    name = "identity@corner"
    found = figures.of(measure(name), look(name, (10, 40, 90, 130, 160)))
    pixels = figures.of(
        replace(measure("error-inside@l1"), judge=None),
        Distances(
            {}, np.array([[0.4, 0.3, 0.2, 0.1, 0.0]] * 3), *[np.zeros(0)] * 2, np.zeros((0, 2), int), np.zeros((0, 5))
        ),
    )
    assert pixels.verdict == "passes"
    summary = {
        "people": PEOPLE,
        "seed": 0,
        "pictures": 123,
        "not_measured": {"picture: <b>no face</b> found": 2},
        "measures": {name: found.as_dict(), "error-inside@l1": pixels.as_dict()},
    }
    text = report.text(summary)
    for part in ("identity@corner", "weak", "2.9", "expression 0.13", "[0.56]", "2 pictures (picture: <b>no", "123"):
        assert part in text, part
    page, picture = report.write(tmp_path, summary)
    assert picture.read_bytes().startswith(b"\x89PNG")
    html = page.read_text()
    assert "<b>no face" not in html
    assert "&lt;b&gt;no face" in html
    assert "0.56" in html
    assert "### identity@corner" in report.markdown(summary)


def test_the_page_shows_the_audit_that_ships() -> None:
    page = (Path(__file__).parents[2] / audited.PAGE).read_text(encoding="utf-8")
    cards = [report.card(name, figures) for name, figures in audited.shipped()["measures"].items()]
    tables = report.tables(audited.shipped()) if cards else []
    for part in (*tables, *cards):
        assert part in page
