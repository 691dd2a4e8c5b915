"""The classical swap: changes the face, leaves the rest, says when it finds none."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from skimage import data

from mfim_bench.errors import RowError
from mfim_bench.faces.detect import Detector
from mfim_bench.faces.templates import crop, crop_matrix
from mfim_bench.plugins import resolve
from mfim_bench_classical.plugin import POISSON
from mfim_bench_classical.poisson import Poisson, face_mask, match_colours, warp


@pytest.fixture(scope="module")
def crops() -> torch.Tensor:
    """Two 256 px crops of one portrait: as it is; mirrored, tilted and bluish. (2, 3, 256, 256)."""
    astronaut = np.asarray(data.astronaut())
    face = Detector("cpu").detect([astronaut])[0]
    assert face is not None
    plain = crop(astronaut, crop_matrix(face.points, "ffhq", 256), 256)
    matrix = np.array([[0.97, 0.2, -18], [-0.2, 0.97, 30.0]])
    other = crop(np.ascontiguousarray(plain[:, ::-1]), matrix, 256)
    other = (other * np.array([0.7, 0.85, 1.0])).astype(np.uint8)
    return torch.from_numpy(np.stack([plain, other])).permute(0, 3, 1, 2).float() / 255


@pytest.fixture(scope="module")
def method() -> Poisson:
    factory = resolve(POISSON.factory)
    assert factory is Poisson
    return Poisson(torch.device("cpu"))


def test_the_face_changes_and_the_rest_stays(method: Poisson, crops: torch.Tensor) -> None:
    source, target = crops[:1], crops[1:]
    swapped = method.swap(source, target)
    assert swapped.shape == target.shape
    assert swapped.dtype == torch.float32
    assert 0 <= swapped.min() <= swapped.max() <= 1
    found = Detector("cpu").detect([(target[0] * 255).byte().permute(1, 2, 0).contiguous().numpy()])[0]
    assert found is not None
    mask = torch.from_numpy(face_mask(found.points.astype(np.float64), (256, 256)) > 0)
    changed = (swapped - target)[0].abs().amax(0) > 2 / 255
    assert changed[mask].float().mean() > 0.3
    assert torch.equal(swapped[0][:, ~mask], target[0][:, ~mask])


def test_colours_become_the_targets(method: Poisson, crops: torch.Tensor) -> None:
    swapped = method.swap(crops[:1], crops[1:])
    middle = (slice(None), slice(None), slice(100, 180), slice(90, 166))
    before, source = crops[1:][middle].mean((2, 3)), crops[:1][middle].mean((2, 3))
    after = swapped[middle].mean((2, 3))
    assert (after - before).norm() < 0.35 * (source - before).norm()


def test_rows_are_independent(method: Poisson, crops: torch.Tensor) -> None:
    both = method.swap(crops, crops.flip(0))
    assert torch.equal(both[:1], method.swap(crops[:1], crops[1:]))
    assert torch.equal(both[1:], method.swap(crops[1:], crops[:1]))


def test_no_face_fails_the_row(method: Poisson, crops: torch.Tensor) -> None:
    grey = torch.full_like(crops[:1], 0.5)
    with pytest.raises(RowError, match="source"):
        method.swap(grey, crops[1:])
    with pytest.raises(RowError, match="target"):
        method.swap(crops[:1], grey)


def test_warp_moves_points_onto_points() -> None:
    points = np.array([[60.0, 70], [120, 66], [92, 100], [66, 130], [118, 128]])
    onto = points @ np.array([[0.9, 0.15], [-0.1, 1.05]]) + (12, -4)
    image = np.zeros((200, 200, 3), np.uint8)
    for index, (x, y) in enumerate(points.astype(int)):
        image[y - 2 : y + 3, x - 2 : x + 3] = 100 + 30 * index
    moved = warp(image, points, onto, (200, 200))
    for index, (x, y) in enumerate(onto.round().astype(int)):
        assert abs(int(moved[y, x, 0]) - (100 + 30 * index)) < 12


def test_mask_holds_the_points_and_never_the_border() -> None:
    points = np.array([[100.0, 110], [160, 110], [130, 145], [107, 175], [153, 175]])
    mask = face_mask(points, (256, 256))
    assert all(mask[int(y), int(x)] == 255 for x, y in points)
    assert 0.1 < (mask > 0).mean() < 0.4
    near = face_mask((points - 128) * 4 + 128, (256, 256))
    assert near.any()
    border = np.concatenate([near[0], near[-1], near[:, 0], near[:, -1]])
    assert not border.any()


def test_colour_match_moves_mean_and_spread() -> None:
    rng = np.random.default_rng(0)
    image = rng.normal((120, 110, 100), 12, (64, 64, 3)).clip(0, 255).astype(np.uint8)
    like = rng.normal((180, 140, 120), 16, (64, 64, 3)).clip(0, 255).astype(np.uint8)
    mask = np.full((64, 64), 255, np.uint8)
    matched = match_colours(image, like, mask)
    assert np.abs(matched.mean((0, 1)) - like.mean((0, 1))).max() < 3
    assert np.abs(matched.std((0, 1)) - like.std((0, 1))).max() < 4
