"""The judges that ship: the features contract, and that their angles mean what they say."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from painted import paint

from mfim_bench.faces.detect import Face
from mfim_bench.networks import face3d, files, hopenet, recogniser
from mfim_bench.networks.catalogue import WEIGHTS
from mfim_bench.networks.views import inner
from mfim_bench.weights import locate, sha256

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def faces():  # type: ignore[no-untyped-def]
    return paint(12, 1, 5, size=160)


def found(points: np.ndarray) -> Face:
    box = np.array([*points.min(0), *points.max(0)], np.float32)
    return Face(box=box, points=points.astype(np.float32), probability=1.0, others=0)


def mirrored(points: np.ndarray, width: int) -> np.ndarray:
    flipped = points[[1, 0, 2, 4, 3]].copy()
    flipped[:, 0] = width - 1 - flipped[:, 0]
    return flipped


@pytest.mark.parametrize("spec", WEIGHTS, ids=lambda s: s.name)
def test_weights_ship_with_their_figures(spec) -> None:  # type: ignore[no-untyped-def]
    path = locate(spec)
    assert path.stat().st_size <= 8_000_000
    assert sha256(path) == spec.sha256
    assert files.metadata(path)["figures"]["validation"]["clean"]["images"] >= 100


@pytest.mark.parametrize(("module", "scale"), [(face3d, 180 / np.pi), (hopenet, 1.0)], ids=["face3d", "hopenet"])
def test_pose(module, scale, faces) -> None:  # type: ignore[no-untyped-def]
    judge = module.judge(CPU)
    images, points = list(faces.images), list(faces.points5)
    images += [np.ascontiguousarray(i[:, ::-1]) for i in faces.images]
    points += [mirrored(p, 160) for p in faces.points5]
    pose = judge.features(images, [found(p) for p in points])["pose"] * scale
    assert pose.shape == (24, 3)
    assert pose.dtype == np.float32
    truth = np.rad2deg(faces.pose)
    # Painted faces are strangers to the judge: signs and order must hold, not degrees.
    for angle in range(3):
        assert np.corrcoef(pose[:12, angle], truth[:, angle])[0, 1] > 0.6
    assert np.corrcoef(pose[:12, 0], pose[12:, 0])[0, 1] < -0.6
    assert np.corrcoef(pose[:12, 2], pose[12:, 2])[0, 1] < -0.6


def test_face3d_features(faces) -> None:  # type: ignore[no-untyped-def]
    judge = face3d.judge(CPU)
    images, points = list(faces.images[:5]), [found(p) for p in faces.points5[:5]]
    features = judge.features(images, points)
    assert features["shape_vertices"].shape == features["expression_vertices"].shape == (5, 960)
    assert all(np.isfinite(v).all() and v.dtype == np.float32 for v in features.values())
    # A head is some 150 mm high, an expression moves it by millimetres.
    assert 30 < features["shape_vertices"].reshape(5, 320, 3).std(1).max() < 90
    assert np.sqrt(3 * (features["expression_vertices"] ** 2).mean()) < 15
    # Whitened coefficients are of the order of one; actions that no training face shows must not blow up.
    whitened = features["expression_whitened"]
    assert 0.05 < np.sqrt((whitened**2).mean()) < 5
    assert (whitened == 0).all(0).sum() == 9
    off = features["landmarks"].reshape(5, 320, 2) - faces.dense[:5]
    assert np.linalg.norm(off, axis=-1).mean() < 0.08 * 160
    alone = judge.features(images[3:4], points[3:4])
    for name, tolerance in (("shape_vertices", 0.02), ("expression_vertices", 0.02), ("pose", 1e-3)):
        np.testing.assert_allclose(alone[name][0], features[name][3], atol=tolerance)


def test_no_faces(faces) -> None:  # type: ignore[no-untyped-def]
    assert face3d.judge(CPU).features([], [])["shape_vertices"].shape == (0, 960)
    assert hopenet.judge(CPU).features([], [])["pose"].shape == (0, 3)


def test_a_mirrored_face_has_the_mirrored_pose(faces) -> None:  # type: ignore[no-untyped-def]
    """Exactly, for both look at every face also in a mirror."""
    points = [found(p) for p in faces.points5[:4]]
    other = [found(mirrored(p, 160)) for p in faces.points5[:4]]
    flipped = [np.ascontiguousarray(i[:, ::-1]) for i in faces.images[:4]]
    for judge, tolerance in ((hopenet.judge(CPU), 1.0), (face3d.judge(CPU), np.deg2rad(2.0))):
        one, two = (judge.features(i, p)["pose"] for i, p in ((list(faces.images[:4]), points), (flipped, other)))
        np.testing.assert_allclose(one, two * [-1, 1, -1], atol=tolerance)  # crops are cut at other sub-pixels


class Telling(torch.nn.Module):
    """Stands where HopeNet does: keeps what it is shown and says an angle (yaw, pitch, roll) for each call."""

    def __init__(self, angles: list[list[float]]) -> None:
        super().__init__()
        self.angles, self.shown = iter(angles), []  # type: ignore[var-annotated]

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.shown.append(images)
        edges = torch.arange(66) * 3.0 - 99
        return -1e3 * (edges - torch.tensor([next(self.angles)])[..., None]).abs()


def test_hopenet_hears_two_views_and_their_mirror_images() -> None:
    network = Telling([[9, 12, 3], [-15, 18, -9], [21, 24, 0], [-27, 30, 0]])
    image = torch.rand(1, 3, 192, 192)
    assert hopenet.pose(network, image)[0].tolist() == pytest.approx([18, 21, 3], abs=1e-3)  # type: ignore[arg-type]
    narrow = inner(image, hopenet.PART)
    for shown, expected in zip(network.shown, (image, image.flip(-1), narrow, narrow.flip(-1)), strict=True):
        torch.testing.assert_close(shown, expected)


def test_degrees_are_expectations_not_logits() -> None:
    logits = torch.full((1, 3, 66), -20.0)
    logits[0, 0, 33], logits[0, 1, 43], logits[0, 2, 23] = 20, 20, 20
    torch.testing.assert_close(hopenet.degrees(logits), torch.tensor([[0.0, 30.0, -30.0]]))


def test_the_recogniser_tells_rendered_people_apart_in_any_company_and_in_a_mirror() -> None:
    from mfim_protocols.virtual_faces import geometry, record, render

    shown = [record.draw(340_000 + who, 1000 * who + scene) for who in range(6) for scene in range(2)]
    pictures = [render.render(geometry.portrait(one), 128, 2) for one in shown]
    images, faces = [p.image for p in pictures], [found(p.points5) for p in pictures]
    judge = recogniser.judge(CPU)
    seen = judge.features(images, faces)["embedding"]
    assert seen.shape == (12, recogniser.EMBEDDING)
    assert seen.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(seen, axis=1), 1, atol=1e-6)
    distances = np.linalg.norm(seen[:, None] - seen[None], axis=2) + 9 * np.eye(12)
    assert (distances.argmin(1) // 2 == np.arange(12) // 2).all()
    flipped = [np.ascontiguousarray(image[:, ::-1]) for image in images]
    mirror = judge.features(flipped, [found(mirrored(p.points5, 128)) for p in pictures])["embedding"]
    np.testing.assert_allclose(mirror, seen, atol=0.05)
    np.testing.assert_allclose(judge.features(images[3:4], faces[3:4])["embedding"][0], seen[3], atol=1e-5)
    assert judge.features([], [])["embedding"].shape == (0, recogniser.EMBEDDING)
