"""Detection: found, exact to a share of a pixel, alone."""

from __future__ import annotations

import time

import cv2
import numpy as np
import pytest
import torch
from skimage import data

from mfim_bench.faces.detect import Detector, Face, Search
from mfim_bench.faces.templates import crop, transform

# Marked by eye on the 512 px portrait: pupils, nose tip, mouth corners.
MARKED = np.array([[203, 101], [247, 103], [224, 128], [201, 139], [245, 141]])


def _view(rng: np.random.Generator, side: int) -> np.ndarray:
    """A matrix that shows the astronaut's face somewhere in a square of this side, at 30 to 55 % of it."""
    centre, half = rng.uniform((204, 95), (244, 135)), rng.uniform(75, 115)
    scale = side / (2 * half)
    return np.array([[scale, 0, -(centre[0] - half) * scale], [0, scale, -(centre[1] - half) * scale]])


def test_points_lie_where_a_person_puts_them(face: Face) -> None:
    assert np.abs(face.points - MARKED).max() < 3
    assert face.probability > 0.99
    assert face.others == 0
    x0, y0, x1, y1 = face.box
    assert (x0 < MARKED[:, 0]).all()
    assert (MARKED[:, 0] < x1).all()
    assert (y0 < MARKED[:, 1]).all()
    assert (MARKED[:, 1] < y1).all()


@pytest.mark.parametrize("side", [64, 128, 256, 640])
def test_points_follow_the_picture(detector: Detector, astronaut: np.ndarray, side: int) -> None:
    rng = np.random.default_rng(side)
    found = []
    for _ in range(8):
        matrix = _view(rng, side)
        here = detector.detect([crop(astronaut, matrix, side)])[0]
        assert here is not None
        found.append((here.points - matrix[:, 2]) / matrix[0, 0])
    # In pixels of the portrait, whose eyes are 43 px apart: 1 % of that.
    assert np.std(found, axis=0).mean() < 0.43
    assert np.abs(np.mean(found, axis=0) - MARKED).max() < 3.5


def test_no_bias_to_one_side(detector: Detector, astronaut: np.ndarray) -> None:
    rng = np.random.default_rng(3)
    offsets = []
    for _ in range(10):
        image = crop(astronaut, _view(rng, 160), 160)
        plain, mirrored = detector.detect([image, np.ascontiguousarray(image[:, ::-1])])
        assert plain is not None
        assert mirrored is not None
        back = mirrored.points[[1, 0, 2, 4, 3]] * (-1, 1) + (159, 0)
        offsets.append((plain.points - back)[:, 0].mean() / 2)
    assert abs(np.mean(offsets)) < 0.1, "pixels: MTCNN as it comes is 1.07 px off"


def test_small_faces_in_large_photos_and_faces_that_fill_the_frame(
    detector: Detector, astronaut: np.ndarray, face: Face
) -> None:
    photo = np.full((720, 1280, 3), 90, np.uint8)
    photo[300:428, 500:628] = cv2.resize(astronaut, (128, 128), interpolation=cv2.INTER_AREA)
    small = detector.detect([photo])[0]
    assert small is not None
    assert np.abs(small.points - (face.points / 4 + (500, 300))).max() < 1.5
    x0, y0, x1, y1 = face.box.round().astype(int)
    tight = detector.detect([astronaut[y0 + 2 : y1 - 2, x0 + 2 : x1 - 2]])[0]
    assert tight is not None
    assert np.abs(tight.points - (face.points - (x0 + 2, y0 + 2))).max() < 5


@pytest.mark.parametrize(("wide", "high", "mirrored"), [(1.0, 1.0, True), (1.2, 1.0, False), (1.8, 1.5, True)])
def test_the_last_searches_answer_in_pixels_of_the_frame(
    detector: Detector, astronaut: np.ndarray, face: Face, wide: float, high: float, mirrored: bool
) -> None:
    found = detector._search_again(astronaut, Search(wide, high, mirrored))
    assert found is not None
    eyes = np.linalg.norm(face.points[0] - face.points[1])
    assert np.abs(found.points - face.points).max() < 0.12 * eyes
    assert np.abs(found.box - face.box).max() < 0.5 * eyes


def test_the_largest_of_several(detector: Detector, astronaut: np.ndarray) -> None:
    head = astronaut[20:220, 124:324]
    photo = np.full((260, 420, 3), 120, np.uint8)
    photo[30:230, 200:400] = head
    photo[80:200, 40:160] = cv2.resize(head, (120, 120), interpolation=cv2.INTER_AREA)
    found = detector.detect([photo])[0]
    assert found is not None
    assert found.points[:, 0].min() > 200
    assert found.others == 1


def test_no_face_is_none_not_a_guess(detector: Detector) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (200, 200, 3), np.uint8)
    grey = np.full((128, 128, 3), 127, np.uint8)
    images = [noise, grey, data.coffee()[:256, :256], np.zeros((1, 1, 3), np.uint8), np.zeros((3, 300, 3), np.uint8)]
    assert detector.detect(images) == [None] * len(images)


def test_frames_do_not_influence_each_other(detector: Detector, astronaut: np.ndarray, face: Face) -> None:
    blank = np.zeros((64, 64, 3), np.uint8)
    crowd = detector.detect([astronaut[:300], blank, astronaut, astronaut[::-1].copy(), astronaut])
    assert crowd[1] is None
    for here in (crowd[2], crowd[4]):
        assert here is not None
        assert np.array_equal(here.points, face.points)
        assert np.array_equal(here.box, face.box)


def test_channels_are_rgb(detector: Detector, astronaut: np.ndarray, face: Face) -> None:
    """Blue for red must show: a detector that does not care would hide a swapped channel upstream."""
    swapped = detector.detect([astronaut[..., ::-1].copy()])[0]
    assert swapped is None or not np.array_equal(swapped.points, face.points)


def test_speed_on_one_core(detector: Detector, astronaut: np.ndarray) -> None:
    image = crop(astronaut, _view(np.random.default_rng(0), 256), 256)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        detector.detect([image])
        times = []
        for _ in range(5):
            start = time.process_time()
            detector.detect([image])
            times.append(time.process_time() - start)
    finally:
        torch.set_num_threads(threads)
    assert min(times) < 0.15, "seconds of one core; 0.03 when measured alone"


def test_transform_is_the_matrix() -> None:
    matrix = np.array([[2.0, 0, 1], [0, 3, -1]])
    assert transform([[1, 1]], matrix).tolist() == [[3, 2]]
