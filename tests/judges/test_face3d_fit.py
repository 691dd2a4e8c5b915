"""The fit of the head model: exact where the landmarks are, and honest about what they do not show."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from mfim_bench.networks.face3d_fit import Fit, HeadFit
from mfim_bench.networks.rotations import angles_of, rotation_of, rotation_vector, small_rotation
from mfim_protocols.virtual_faces.head import HeadModel, rotation


def model() -> HeadFit:
    head = HeadModel.load()

    def at(values: np.ndarray) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(values))

    return HeadFit(
        at(head.mean[head.dense]),
        at(head.shape_basis[:, head.dense]),
        at(head.expression_basis[:, head.dense]),
        torch.full((52,), 0.1),
        0.04 * torch.eye(52),
    )


def heads(count: int, seed: int = 0) -> Fit:
    draw = torch.Generator().manual_seed(seed)
    angles = (torch.rand(count, 3, generator=draw) * 2 - 1).double() * torch.tensor([0.8, 0.4, 0.4]).double()
    camera = torch.rand(count, 4, generator=draw).double() * torch.tensor([0.2, 0.1, 0.1, 0.001]).double()
    camera = camera + torch.tensor([-4.6, 0.0, 0.0, 0.0006]).double()
    shape = torch.randn(count, 80, generator=draw).double()
    expression = (torch.rand(count, 52, generator=draw) < 0.2) * torch.rand(count, 52, generator=draw)
    return Fit(rotation_of(angles), camera, shape, expression.double())


def millimetres(fit: HeadFit, a: Fit, b: Fit) -> tuple[float, float]:
    shape = torch.einsum("bk,kvc->bvc", (a.shape - b.shape).float(), fit.shape_basis)
    expression = torch.einsum("bk,kvc->bvc", (a.expression - b.expression).float(), fit.expression_basis)
    return tuple(float(e.square().sum(-1).mean(-1).sqrt().max()) for e in (shape, expression))  # type: ignore[return-value]


@pytest.mark.parametrize("angle", range(3))
def test_angles_follow_the_head_models_convention(angle: int) -> None:
    angles = torch.zeros(1, 3, dtype=torch.float64)
    angles[0, angle] = 0.3
    torch.testing.assert_close(rotation_of(angles)[0], torch.from_numpy(rotation(*angles[0].tolist())))
    nose, ear = rotation_of(angles)[0] @ torch.eye(3, dtype=torch.float64)[2], rotation_of(angles)[0][:, 0]
    moved = (nose[0], nose[1], ear[1])[angle]  # right, up, and the image-right ear up
    assert moved > 0.2
    both = torch.tensor([[0.5, -0.3, 0.7]]).double()
    torch.testing.assert_close(angles_of(rotation_of(both)), both)


def test_noise_free_landmarks_give_the_head_back() -> None:
    fit, truth = model(), heads(4)
    landmarks = fit.project(truth)
    found = fit.solve(landmarks, torch.full(landmarks.shape[:2], 1e-4).double())
    assert (angles_of(found.rotation) - angles_of(truth.rotation)).abs().max().rad2deg() < 0.01
    assert max(millimetres(fit, found, truth)) < 0.05


def test_noise_pulls_towards_the_prior_and_no_landmarks_give_the_mean() -> None:
    fit, truth = model(), heads(4)
    noise = torch.randn(4, 320, 2, generator=torch.Generator().manual_seed(1)).double()
    found = [fit.solve(fit.project(truth) + s * noise, torch.full((4, 320), s).double()) for s in (0.003, 0.03)]
    shape, expression = zip(*(millimetres(fit, f, truth) for f in found), strict=True)
    assert shape[0] < shape[1]
    assert expression[0] < expression[1]
    assert found[0].shape.norm() > found[1].shape.norm()
    blind = fit.solve(fit.project(truth), torch.full((4, 320), 100.0).double())
    assert blind.shape.abs().max() < 0.01
    assert (blind.expression - 0.1).abs().max() < 0.01


def test_rows_do_not_influence_each_other() -> None:
    fit, truth = model(), heads(5)
    landmarks = fit.project(truth) + 0.01 * torch.randn(5, 320, 2, generator=torch.Generator().manual_seed(2))
    deviations = torch.full((5, 320), 0.01).double()
    together = fit.solve(landmarks, deviations)
    alone = fit.solve(landmarks[3:4], deviations[3:4])
    assert max(millimetres(fit, alone, Fit(*(getattr(together, n)[3:4] for n in Fit.__slots__)))) < 1e-3


def test_the_last_step_carries_the_derivative_of_the_optimum() -> None:
    fit, truth = model(), heads(1)
    draw = torch.Generator().manual_seed(3)
    landmarks = fit.project(truth) + 0.01 * torch.randn(1, 320, 2, generator=draw).double()
    deviations = torch.full((1, 320), 0.01).double()
    along = torch.randn(1, 320, 2, generator=draw).double()
    free = landmarks.clone().requires_grad_()
    out = fit(free, deviations, iterations=20)
    out.shape[0, 2].backward()
    step = 1e-4
    ends = [fit.solve(landmarks + s * step * along, deviations, iterations=20).shape[0, 2] for s in (1, -1)]
    slope = float((ends[0] - ends[1]) / (2 * step))
    assert free.grad is not None
    assert float((free.grad * along).sum()) == pytest.approx(slope, rel=0.05)


def test_the_camera_of_a_known_head() -> None:
    fit, truth = model(), heads(3)
    found = fit.camera_of(fit.project(truth), angles_of(truth.rotation), truth.shape, truth.expression)
    torch.testing.assert_close(found.camera, truth.camera, atol=1e-4, rtol=1e-3)


def test_correlated_errors_are_learned() -> None:
    """Errors that move all landmarks together are expected, so they no longer count as evidence of shape."""
    fit = model()
    draw = torch.Generator().manual_seed(4)
    common = torch.randn(640, generator=draw)
    errors = 3 * torch.randn(400, 1, generator=draw) * common / common.norm() * 25 + torch.randn(
        400, 640, generator=draw
    )
    fit.calibrate_noise(errors)
    whitened = fit.whiten(errors[..., None])[..., 0]
    assert float(whitened.square().mean()) == pytest.approx(1, abs=0.15)
    assert float((whitened @ (common / common.norm())).std()) < 1.5


def test_a_guess_is_where_blind_fits_end_and_its_derivative_reaches_the_head() -> None:
    fit, truth = model(), heads(3)
    guess = torch.randn(3, 132, generator=torch.Generator().manual_seed(5)).double() * 0.3
    landmarks, blind = fit.project(truth), torch.full((3, 320), 100.0).double()
    found = fit.solve(landmarks, blind, guess)
    torch.testing.assert_close(torch.cat([found.shape, found.expression], 1), guess, atol=0.02, rtol=0)
    sure = fit.solve(landmarks, torch.full((3, 320), 1e-4).double(), guess)
    assert max(millimetres(fit, sure, truth)) < 0.1  # what is seen outweighs what is guessed
    free = guess.clone().requires_grad_()
    moving = landmarks.clone().requires_grad_()
    fit(moving, blind, free).shape.sum().backward()
    assert free.grad is not None
    torch.testing.assert_close(free.grad[:, :80], torch.ones(3, 80).double(), atol=0.02, rtol=0)


def similar(points: np.ndarray, onto: np.ndarray) -> np.ndarray:
    """Points moved onto others by scipy's Procrustes, in the units of the latter."""
    from scipy.linalg import orthogonal_procrustes

    p, q = points - points.mean(0), onto - onto.mean(0)
    turn, trace = orthogonal_procrustes(p, q)
    return p @ turn * trace / (p**2).sum() + onto.mean(0)


def test_the_aligned_face_is_procrustes() -> None:
    fit, truth = model(), heads(3)
    face = fit.aligned(truth.rotation, truth.shape, truth.expression)
    for k in range(3):
        neutral = fit.vertices(truth.shape, torch.zeros_like(truth.expression))[k].numpy()
        expected = similar(neutral, fit.mean.double().numpy())
        np.testing.assert_allclose(face.neutral[k].numpy(), expected, atol=1e-3)
    # The aligned face under its own rotation points where the head does under the head's.
    posed = (fit.vertices(truth.shape, truth.expression) @ truth.rotation.transpose(1, 2)).numpy()
    again = ((face.neutral + face.expression) @ face.rotation.transpose(1, 2)).numpy()
    for k in range(3):
        ours, theirs = again[k] - again[k].mean(0), posed[k] - posed[k].mean(0)
        np.testing.assert_allclose(ours / np.linalg.norm(ours), theirs / np.linalg.norm(theirs), atol=1e-5)


def test_turning_and_scaling_a_head_is_no_change_of_shape() -> None:
    """A head model whose shape basis is a turn and a scale: nothing of them is left in the aligned face."""
    head = HeadModel.load()
    mean = torch.from_numpy(head.mean[head.dense])
    centred = mean - mean.mean(0)
    turn = torch.stack([torch.zeros(320), -centred[:, 2], centred[:, 1]], -1)
    fit = HeadFit(mean, torch.stack([turn, centred]), torch.zeros(1, 320, 3), torch.zeros(1), torch.eye(1))
    shape = torch.tensor([[0.1, 0.2]]).double()
    face = fit.aligned(torch.eye(3)[None].double(), shape, torch.zeros(1, 1).double())
    assert float((face.neutral - fit.mean).norm(dim=-1).mean()) < 0.5  # a finite turn by a linear basis is not rigid
    assert float(face.angles[0, 1].abs()) == pytest.approx(0.1 / 1.2, abs=0.003)
    tangent, turned = fit.tangents()
    assert float(tangent.abs().max()) < 1e-3
    torch.testing.assert_close(turned, torch.tensor([[1.0, 0, 0], [0, 0, 0]]), atol=1e-4, rtol=0)


def test_tangents_are_the_derivative_of_the_aligned_face() -> None:
    fit = model()
    step = 1e-3 * torch.randn(1, 80, generator=torch.Generator().manual_seed(6)).double()
    face = fit.aligned(torch.eye(3)[None].double(), step, torch.zeros(1, 52).double())
    tangent, turned = fit.tangents()
    moved = torch.einsum("bk,kvc->bvc", step, tangent.double())
    assert float((face.neutral - fit.mean - moved).norm() / moved.norm()) < 0.01
    omega = (step @ turned.double())[0]
    torch.testing.assert_close(face.rotation[0, 2, 1], omega[0], atol=1e-6, rtol=0.01)


def test_the_line_of_sight_is_learned_and_leaves_shape_alone() -> None:
    fit, truth = model(), heads(6)
    lower = rotation_of(torch.tensor([[0.02, -0.05, 0.0]]).double())
    bare = fit.face(truth)
    fit.calibrate_sight(bare.rotation, lower @ bare.rotation)
    seen = fit.face(truth)
    torch.testing.assert_close(seen.rotation, lower @ bare.rotation, atol=1e-6, rtol=0)
    torch.testing.assert_close(seen.neutral, bare.neutral)


def test_rotation_vectors_go_there_and_back() -> None:
    omega = 0.8 * torch.randn(20, 3, generator=torch.Generator().manual_seed(7)).double()
    omega[0] = 0
    torch.testing.assert_close(rotation_vector(small_rotation(omega)), omega, atol=1e-9, rtol=1e-6)


def test_a_guessed_pose_is_followed_as_far_as_it_was_right() -> None:
    """Of the way from the fitted to the guessed pose the truth lies at 30 % about x, 80 % about y and nowhere about z:
    that is learned, and moves the pose only.
    """
    fit, truth = model(), heads(40)
    towards = 0.05 * torch.randn(40, 3, generator=torch.Generator().manual_seed(8)).double()
    share = torch.tensor([0.3, 0.8, 0.0]).double()
    bare = fit.face(truth)
    guessed = angles_of(small_rotation(towards) @ bare.rotation)
    true = small_rotation(towards * share) @ bare.rotation
    fit.calibrate_blend(bare.rotation, guessed, true)
    torch.testing.assert_close(fit.blend, torch.diag(share).float(), atol=1e-4, rtol=0)
    guess = torch.cat([truth.shape, truth.expression, guessed], 1)
    face = fit.face(truth, guess)
    torch.testing.assert_close(face.rotation, true, atol=1e-5, rtol=0)
    torch.testing.assert_close(face.neutral, bare.neutral)


def test_fit_and_guess_share_as_held_out_faces_say() -> None:
    fit, truth = model(), heads(60)
    draw = torch.Generator().manual_seed(9)
    at = torch.randn(60, 132, generator=draw).double() * 0.1
    guess = torch.cat([truth.shape, truth.expression, angles_of(truth.rotation)], 1)
    guess[:, :132] += at
    # The truth lies at a quarter of the way from the guessed to the fitted expression, and beyond the fitted shape.
    found = Fit(truth.rotation, truth.camera, truth.shape + 0.5 * at[:, :80], truth.expression - 3 * at[:, 80:])
    fit.calibrate_shares(found, guess, truth.shape, truth.expression)
    torch.testing.assert_close(fit.shares, torch.tensor([1.0, 0.25]), atol=1e-4, rtol=0)
    face = fit.face(found, guess)
    bare = fit.aligned(truth.rotation, found.shape, truth.expression)
    torch.testing.assert_close(face.expression, bare.expression, atol=1e-6, rtol=0)
    torch.testing.assert_close(face.neutral, bare.neutral, atol=1e-6, rtol=0)


def test_a_guess_turns_into_that_of_the_mirrored_head() -> None:
    fit, truth = model(), heads(6)
    angles = angles_of(truth.rotation).float()
    guess = torch.cat([truth.shape.float(), truth.expression.float(), angles], 1)
    mirrored = guess @ fit.mirrored.T
    assert int((fit.twin < 0).sum()) == 5
    paired = fit.twin >= 0

    def posed(guess: Tensor) -> Tensor:
        vertices = fit.vertices(guess[:, :80], guess[:, 80:132])
        return vertices @ rotation_of(guess[:, 132:]).transpose(1, 2)

    there = posed(guess)[:, fit.twin.clamp_min(0)] * torch.tensor([-1.0, 1.0, 1.0])
    assert float((posed(mirrored) - there)[:, paired].norm(dim=-1).mean()) < 0.3  # mm
    torch.testing.assert_close(mirrored[:, 133], angles[:, 1])


def test_what_counts_nothing_does_not_align() -> None:
    """A bump on vertices of weight 0 neither turns nor scales the face."""
    head = HeadModel.load()
    mean = torch.from_numpy(head.mean[head.dense])
    weights = (mean[:, 1] > mean[:, 1].median()).float()
    bump = torch.zeros(1, 320, 3)
    bump[0, weights == 0] = torch.tensor([0.0, -3.0, 8.0])
    fit = HeadFit(mean, bump, torch.zeros(1, 320, 3), torch.zeros(1), torch.eye(1), weights)
    face = fit.aligned(torch.eye(3)[None].double(), torch.ones(1, 1).double(), torch.zeros(1, 1).double())
    torch.testing.assert_close(face.neutral[0], (mean + bump[0]).double(), atol=1e-3, rtol=0)
    torch.testing.assert_close(face.rotation[0], torch.eye(3).double(), atol=1e-5, rtol=0)
    tangent, turned = fit.tangents()
    torch.testing.assert_close(tangent, bump, atol=1e-3, rtol=0)
    assert float(turned.abs().max()) < 1e-4


def test_how_far_alignment_turns_the_heads_that_are_drawn() -> None:
    """The degrees that docs/judges.md gives."""
    from mfim_protocols.judges.data import head_fit
    from mfim_protocols.virtual_faces.record import SHAPE_SPREAD

    fit = head_fit()
    drawn = np.random.default_rng(0).normal(0, SHAPE_SPREAD, (4000, 80)).clip(-4, 4)
    spread = torch.from_numpy(drawn.std(0)).float()[:, None]
    for weights, degrees in ((fit.weights.clone(), 1.4), (torch.ones(320), 3.1)):
        fit.weights.copy_(weights)
        turned = fit.tangents()[1] * spread
        assert float(turned[:, 0].square().sum().sqrt().rad2deg()) == pytest.approx(degrees, abs=0.1)
