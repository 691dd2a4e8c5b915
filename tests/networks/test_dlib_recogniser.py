"""The torch module is dlib's network, differentiable, and every row stands alone."""

from __future__ import annotations

from pathlib import Path

import dlib
import numpy as np
import pytest
import torch
from skimage import data

from mfim_bench import weights
from mfim_bench.errors import UsageError
from mfim_bench.faces.detect import Detector, Face
from mfim_bench.faces.templates import crop, transform
from mfim_bench.networks.dlib_recogniser import (
    CHIP,
    CHIP_POINTS,
    WEIGHTS,
    Recogniser,
    chip_matrix,
    judge,
    load,
    read_layers,
)


@pytest.fixture(scope="module")
def astronaut() -> np.ndarray:
    return np.asarray(data.astronaut())


@pytest.fixture(scope="module")
def face(astronaut: np.ndarray) -> Face:
    found = Detector("cpu").detect([astronaut])[0]
    assert found is not None
    return found


@pytest.fixture(scope="module")
def network() -> Recogniser:
    return load()


@pytest.fixture(scope="module")
def reference() -> dlib.face_recognition_model_v1:
    return dlib.face_recognition_model_v1(str(weights.path(WEIGHTS)))


def _chips(astronaut: np.ndarray, face: Face) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    aligned = crop(astronaut, chip_matrix(face.points), CHIP)
    chips = [aligned, aligned[:, ::-1], aligned[::-1], aligned[..., ::-1], aligned // 2]
    chips += [np.clip(aligned + rng.normal(0, s, aligned.shape), 0, 255).astype(np.uint8) for s in (5, 20, 60)]
    chips += [rng.integers(0, 256, (CHIP, CHIP, 3), np.uint8) for _ in range(3)]
    chips += [np.full((CHIP, CHIP, 3), level, np.uint8) for level in (0, 127, 255)]
    for photo in (data.coffee(), data.chelsea(), data.rocket(), astronaut):
        for _ in range(3):
            y, x = (int(rng.integers(0, side - CHIP)) for side in photo.shape[:2])
            chips.append(photo[y : y + CHIP, x : x + CHIP])
    return [np.ascontiguousarray(chip) for chip in chips]


def _tensor(*chips: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.stack(chips)).permute(0, 3, 1, 2).float() / 255


def test_equals_dlib(
    network: Recogniser, reference: dlib.face_recognition_model_v1, astronaut: np.ndarray, face: Face
) -> None:
    chips = _chips(astronaut, face)
    assert len(chips) >= 20
    ours = network(_tensor(*chips)).numpy()
    theirs = np.array([reference.compute_face_descriptor(chip) for chip in chips])
    assert np.abs(ours - theirs).max() < 1e-5
    assert np.linalg.norm(ours[0] - ours[3]) > 0.1, "channel order matters, or the test shows nothing"


def test_range_traps_show(network: Recogniser, astronaut: np.ndarray, face: Face) -> None:
    chip = _tensor(crop(astronaut, chip_matrix(face.points), CHIP))
    right = network(chip)
    for wrong in (chip * 2 - 1, chip * 255, chip / 255, chip.flip(1)):
        assert torch.linalg.vector_norm(network(wrong) - right) > 0.1
    with pytest.raises(ValueError, match="expected"):
        network(chip[..., :112, :112])


def test_gradients_by_finite_differences(network: Recogniser, astronaut: np.ndarray, face: Face) -> None:
    double = load().double()
    chip = _tensor(crop(astronaut, chip_matrix(face.points), CHIP)).double()
    generator = torch.Generator().manual_seed(0)
    direction = torch.randn(128, generator=generator, dtype=torch.float64)

    def score(image: torch.Tensor) -> torch.Tensor:
        return (double(image) @ direction).sum()

    image = chip.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(score(image), image)
    assert all(not p.requires_grad for p in double.buffers())
    for _ in range(3):
        step = torch.randn(chip.shape, generator=generator, dtype=torch.float64)
        h = 1e-9  # at 1e-7 the step crosses kinks of some ReLUs, and the quotient is 5e-4 off
        with torch.no_grad():
            numeric = (score(chip + h * step) - score(chip - h * step)) / (2 * h)
        assert (gradient * step).sum().item() == pytest.approx(numeric.item(), rel=1e-4)


def test_alignment_agrees_with_dlibs_own(
    network: Recogniser, reference: dlib.face_recognition_model_v1, astronaut: np.ndarray, face: Face
) -> None:
    assert transform(face.points, chip_matrix(face.points)) == pytest.approx(CHIP_POINTS, abs=8)
    ours = network(_tensor(crop(astronaut, chip_matrix(face.points), CHIP)))[0].numpy()
    box = dlib.get_frontal_face_detector()(astronaut, 1)[0]
    folder = weights.path(WEIGHTS).parent
    theirs = []
    for points in (5, 68):
        predictor = dlib.shape_predictor(str(folder / f"shape_predictor_{points}_face_landmarks.dat"))
        chip = dlib.get_face_chip(astronaut, predictor(astronaut, box))
        theirs.append(np.array(reference.compute_face_descriptor(chip)))
        # One person in one photograph: far below the .6 that tells persons apart.
        assert np.linalg.norm(ours - theirs[-1]) < 0.2
        # Our points found again in dlib's chip lie near where ours would be put.
        again = Detector("cpu").detect([chip])[0]
        assert again is not None
        residual = chip_matrix(again.points)
        scale = np.sqrt(np.linalg.det(residual[:, :2]))
        assert scale == pytest.approx(1, abs=0.06)
        centre = np.array([[75.0, 75.0]])
        assert np.abs(transform(centre, residual) - centre).max() < 5


def test_the_judge_knows_no_company(astronaut: np.ndarray, face: Face) -> None:
    eye = judge(torch.device("cpu"))
    mirrored = np.ascontiguousarray(astronaut[:, ::-1])
    points = face.points[[1, 0, 2, 4, 3]] * np.float32([-1, 1]) + np.float32([511, 0])
    other = Face(face.box, points, face.probability, 0)
    alone = eye.features([astronaut], [face])["embedding"]
    crowd = eye.features([mirrored, astronaut, mirrored], [other, face, other])["embedding"]
    assert alone.shape == (1, 128)
    assert alone.dtype == np.float32
    assert np.array_equal(crowd[1], alone[0])
    assert np.array_equal(crowd[0], crowd[2])
    assert 0 < np.linalg.norm(crowd[0] - crowd[1]) < 0.35, "the mirror image is the same person"
    assert eye.features([], [])["embedding"].shape == (0, 128)


def test_other_bytes_are_refused(tmp_path: Path) -> None:
    whole = weights.path(WEIGHTS).read_bytes()
    with pytest.raises(ValueError, match="not the layers"):
        Recogniser(list(read_layers(whole))[:-1])
    with pytest.raises(ValueError, match="not the layers"):
        Recogniser(list(read_layers(b"nothing of the kind")))


def test_the_catalogue_checks_the_file() -> None:
    with pytest.raises(UsageError):
        weights.path("dlib-face-recogniton")
    assert weights.sha256(weights.path(WEIGHTS)).startswith("5553")
