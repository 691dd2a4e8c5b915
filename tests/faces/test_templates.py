"""Crops: the published rules, pixel centres, antialiasing, and back again."""

from __future__ import annotations

import numpy as np
import pytest

from mfim_bench.faces.detect import Face
from mfim_bench.faces.templates import (
    ARCFACE_112,
    crop,
    crop_matrix,
    invert,
    oval_matrix,
    paste,
    similarity,
    transform,
)

POINTS = np.array([[100.0, 120.0], [160.0, 110.0], [135.0, 150.0], [112.0, 185.0], [158.0, 178.0]])


def _ffhq_quad(points: np.ndarray) -> np.ndarray:
    """The corners as the data set's published rule gives them, written out by hand: upper left, lower left, …"""
    eye_avg = points[:2].mean(0)
    eye_to_eye = points[1] - points[0]
    eye_to_mouth = points[3:].mean(0) - eye_avg
    x = eye_to_eye - np.array([-eye_to_mouth[1], eye_to_mouth[0]])
    x /= np.hypot(*x)
    x *= max(np.hypot(*eye_to_eye) * 2.0, np.hypot(*eye_to_mouth) * 1.8)
    y = np.array([-x[1], x[0]])
    c = eye_avg + eye_to_mouth * 0.1
    return np.stack([c - x - y, c - x + y, c + x + y, c + x - y])


def test_ffhq_is_the_published_quad() -> None:
    matrix = crop_matrix(POINTS, "ffhq", 256)
    corners = transform(_ffhq_quad(POINTS), matrix)
    edge = 256 - 0.5
    assert corners == pytest.approx(np.array([[-0.5, -0.5], [-0.5, edge], [edge, edge], [edge, -0.5]]))


def test_box_is_upright_with_ffhqs_centre_and_side() -> None:
    ffhq, box = crop_matrix(POINTS, "ffhq", 200), crop_matrix(POINTS, "box", 200, zoom=1.0)
    centre = [[99.5, 99.5]]
    assert transform(centre, invert(ffhq)) == pytest.approx(transform(centre, invert(box)))
    assert np.linalg.det(ffhq[:, :2]) == pytest.approx(np.linalg.det(box[:, :2]))
    assert box[0, 1] == box[1, 0] == 0
    near = crop_matrix(POINTS, "box", 200, zoom=0.5)
    assert near[0, 0] == pytest.approx(2 * box[0, 0])
    assert transform(centre, invert(near)) == pytest.approx(transform(centre, invert(box)))


def test_arcface_hits_its_template() -> None:
    turn = np.array([[1.7, -0.6, 30], [0.6, 1.7, -12]])
    points = transform(ARCFACE_112, turn)
    assert transform(points, crop_matrix(points, "arcface", 112)) == pytest.approx(ARCFACE_112)
    # Twice the size: the same place in the picture, so pixel centres move with the edges.
    assert transform(points, crop_matrix(points, "arcface", 224)) == pytest.approx((ARCFACE_112 + 0.5) * 2 - 0.5)


def test_similarity_never_mirrors() -> None:
    mirrored = ARCFACE_112 * (-1, 1)
    assert np.linalg.det(similarity(mirrored, ARCFACE_112)[:, :2]) > 0


def test_similarity_is_least_squares() -> None:
    rng = np.random.default_rng(0)
    points = rng.normal(size=(5, 2))
    template = points * 2 + 1 + 0.1 * rng.normal(size=(5, 2))
    best = similarity(points, template)

    def cost(matrix: np.ndarray) -> float:
        return float(((transform(points, matrix) - template) ** 2).sum())

    for step in rng.normal(scale=0.01, size=(50, 4)):
        a, b, x, y = step
        other = best + np.array([[a, -b, x], [b, a, y]])
        assert cost(other) >= cost(best)


def test_none_is_the_whole_frame(astronaut: np.ndarray) -> None:
    wide = astronaut[:256]
    matrix = crop_matrix(None, "none", 64, (512, 256))
    small = crop(wide, matrix, 64)
    blocks = wide.reshape(64, 4, 64, 8, 3).mean((1, 3))
    assert np.abs(small - blocks).mean() < 2


def test_wrong_use() -> None:
    with pytest.raises(ValueError, match="size of the frame"):
        crop_matrix(None, "none", 64)
    with pytest.raises(ValueError, match="five points"):
        crop_matrix(None, "ffhq", 64)
    with pytest.raises(ValueError, match="unknown template"):
        crop_matrix(POINTS, "loose", 64)  # type: ignore[arg-type]


def test_identity_crop_is_exact(astronaut: np.ndarray) -> None:
    assert np.array_equal(crop(astronaut, np.eye(2, 3), 512), astronaut)


def test_shrinking_averages_instead_of_picking() -> None:
    stripes = np.zeros((512, 512, 3), np.uint8)
    stripes[:, ::2] = 254  # the finest pattern there is: must become grey, not black or white
    small = crop(stripes, crop_matrix(None, "none", 40, (512, 512)), 40)
    assert np.abs(small.astype(int) - 127).max() <= 8


def test_crop_places_a_dot_where_the_matrix_says() -> None:
    frame = np.zeros((300, 300, 3), np.uint8)
    frame[118:121, 98:101] = 255  # centre (99, 119)
    for template in ("ffhq", "arcface", "box"):
        matrix = crop_matrix(POINTS, template, 128)
        seen = crop(frame, matrix, 128)[..., 0].astype(float)
        y, x = np.mgrid[:128, :128]
        centre = np.array([(x * seen).sum(), (y * seen).sum()]) / seen.sum()
        assert centre == pytest.approx(transform([[99, 119]], matrix)[0], abs=0.15)


@pytest.mark.parametrize("template", ["ffhq", "arcface", "box"])
@pytest.mark.parametrize("size", [256, 512])
def test_pasting_an_unchanged_crop_changes_almost_nothing(
    astronaut: np.ndarray, face: Face, template: str, size: int
) -> None:
    matrix = crop_matrix(face.points, template, size)  # type: ignore[arg-type]
    back = paste(astronaut, crop(astronaut, matrix, size), matrix)
    assert np.abs(back.astype(int) - astronaut).mean() < 0.5
    outside = crop(np.full((size, size), 255, np.uint8), invert(matrix), 512, reflect=False) == 0
    assert np.array_equal(back[outside], astronaut[outside])


def test_paste_replaces_the_middle_and_fades_at_the_edge(astronaut: np.ndarray, face: Face) -> None:
    matrix = crop_matrix(face.points, "ffhq", 128)
    before = astronaut.copy()
    swapped = paste(astronaut, np.full((128, 128, 3), (255, 0, 0), np.uint8), matrix)
    assert np.array_equal(astronaut, before), "the frame itself is not changed"
    x, y = face.points[2].round().astype(int)
    assert swapped[y, x].tolist() == [255, 0, 0]
    edge = transform([[-0.5, 64]], invert(matrix))[0].round().astype(int)
    assert np.abs(swapped[edge[1], edge[0]].astype(int) - astronaut[edge[1], edge[0]]).max() <= 8


def test_paste_of_a_large_crop_into_a_small_frame_is_antialiased() -> None:
    stripes = np.zeros((512, 512, 3), np.uint8)
    stripes[:, ::2] = 254
    matrix = crop_matrix(None, "none", 512, (48, 48))
    frame = np.full((48, 48, 3), 127, np.uint8)
    assert np.abs(paste(frame, stripes, matrix).astype(int) - 127).max() <= 8


def test_crop_beside_the_frame_pastes_nothing() -> None:
    frame = np.full((50, 50, 3), 9, np.uint8)
    matrix = np.array([[1.0, 0, 500], [0, 1, 500]])
    assert np.array_equal(paste(frame, np.zeros((64, 64, 3), np.uint8), matrix), frame)


@pytest.mark.parametrize("turn", [0.0, 0.7, -2.0])
def test_the_oval_turns_and_grows_with_the_face(face: Face, turn: float) -> None:
    rotation = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    around = np.array([[0.0, 0], [50, 0], [0, 50], [-80, 30]]) + face.points.mean(0)
    before = transform(around, oval_matrix(face.points))
    after = transform(3 * around @ rotation + (7, -400), oval_matrix(3 * face.points @ rotation + (7, -400)))
    np.testing.assert_allclose(after, before, atol=1e-4)


def test_with_an_oval_only_the_face_is_pasted_softly(astronaut: np.ndarray, face: Face) -> None:
    matrix, oval = crop_matrix(face.points, "ffhq", 256), oval_matrix(face.points)
    pasted = paste(astronaut, np.full((256, 256, 3), (0, 255, 0), np.uint8), matrix, oval=oval)
    y, x = np.mgrid[: astronaut.shape[0], : astronaut.shape[1]]
    radius = np.hypot(*np.moveaxis(transform(np.stack([x, y], -1), oval), -1, 0))
    assert np.array_equal(pasted[radius > 1.1], astronaut[radius > 1.1])
    assert (pasted[radius < 0.75] == (0, 255, 0)).all()
    for point in face.points:
        assert tuple(pasted[round(float(point[1])), round(float(point[0]))]) == (0, 255, 0)
    weight = paste(np.zeros_like(astronaut), np.full((256, 256, 3), 255, np.uint8), matrix, oval=oval)[..., 1] / 255
    assert max(np.abs(np.diff(weight, axis=axis)).max() for axis in (0, 1)) < 0.25  # no edge


def test_a_tall_paste_has_no_seams(astronaut: np.ndarray, face: Face) -> None:
    """Rows are blended in bands: a frame that is several bands high is the small one, enlarged."""
    big = np.repeat(np.repeat(np.full_like(astronaut, 40), 3, 0), 3, 1)
    pasted = paste(big, np.full((64, 64, 3), 200, np.uint8), crop_matrix(3 * face.points, "ffhq", 64))
    column = pasted[:, round(3 * float(face.points[2, 0])), 0].astype(int)
    assert column.max() == 200
    assert np.abs(np.diff(column)).max() < 16
    top, bottom = np.argmax(column == 200), len(column) - np.argmax(column[::-1] == 200)
    assert (column[top:bottom] == 200).all()
