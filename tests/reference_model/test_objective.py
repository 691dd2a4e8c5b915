"""Every term of the objective: its value, and that its gradient reaches what it should move."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import lpips
import numpy as np
import pytest
import torch
from torch import nn

from mfim import losses
from mfim.augment import augment, view
from mfim.config import Config
from mfim.data import Faces
from mfim.draws import Draws
from mfim.model import MFIM
from mfim.perceptual import feature_distance, published_lpips
from mfim.supervision import Seen, Supervision
from mfim.training.guard import Collapsed, Guard, Validation
from mfim_bench.errors import UsageError


def test_values() -> None:
    a, b = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 2.0]])
    assert float(losses.identity_loss(a, a)) == pytest.approx(0, abs=1e-6)
    assert float(losses.identity_loss(a, b)) == pytest.approx(1)
    assert float(losses.norm_loss(a, b)) == pytest.approx(math.sqrt(5))
    assert float(losses.pixel_distance(torch.ones(1, 3, 2, 2), -torch.ones(1, 3, 2, 2))) == 2
    assert float(losses.adversarial_loss(torch.zeros(3))) == pytest.approx(math.log(2))
    assert float(losses.discriminator_loss(torch.zeros(3), torch.zeros(3))) == pytest.approx(2 * math.log(2))
    at_zero = torch.zeros(1, 4, requires_grad=True)
    losses.norm_loss(at_zero, torch.zeros(1, 4)).backward()
    assert at_zero.grad is not None
    assert torch.isfinite(at_zero.grad).all()


def test_focus_counts_what_a_true_swap_changes() -> None:
    target, swap = torch.zeros(2, 3, 8, 8), torch.full((2, 3, 8, 8), 0.3)
    wanted = target.clone()
    wanted[1, :, :4] = 0.1  # half of the whole change, in one row's upper half
    weights = losses.focus_weights(wanted, target, 3.0)
    assert weights.shape == (2, 1, 8, 8)
    assert torch.equal(weights[0], torch.ones(1, 8, 8))  # the answer is the target: like every other pixel
    torch.testing.assert_close(weights[1, 0, :3], torch.full((3, 8), 2.5))
    torch.testing.assert_close(weights[1, 0, 5:], torch.ones(3, 8))
    assert (
        losses.focus_weights(2 * wanted, target, 3.0).max()
        == losses.focus_weights(9 * wanted, target, 3.0).max()
        == 4.0
    )
    assert torch.equal(
        losses.pixel_distance(swap, wanted, losses.focus_weights(wanted, target, 0.0)),
        losses.pixel_distance(swap, wanted),
    )
    focused = losses.pixel_distance(swap, wanted, weights)
    torch.testing.assert_close(focused[0], torch.tensor(0.3))
    torch.testing.assert_close(focused[1], (weights[1, 0] * (swap - wanted)[1, 0].abs()).mean())


def test_reconstruction_ramp() -> None:
    at = lambda step: losses.recon_weights(step, 4, 1, 0.1, (10, 20)).tolist()  # noqa: E731
    assert at(0) == pytest.approx([1, 0.1, 0.1, 0.1])
    assert at(15) == pytest.approx([1, 0.55, 0.55, 0.55])
    assert at(1000) == pytest.approx([1, 1, 1, 1])


@pytest.mark.parametrize("term", ["id", "l1", "perceptual", "adv", "shape", "pose", "exp"])
def test_every_term_moves_the_encoder(tiny: Config, supervision: Supervision, data: Faces, term: str) -> None:

    torch.manual_seed(0)
    model = MFIM(tiny.model)
    source, target = data.batch(np.array([0, 2])), data.batch(np.array([10, 20]))
    of, to = supervision.look(source)[0], supervision.look(target)[0]
    swapped = model(source, target)
    seen, layers = supervision.look(swapped)
    value = {
        "id": lambda: losses.identity_loss(seen.embedding, of.embedding),
        "l1": lambda: losses.pixel_distance(swapped, target).mean(),
        "perceptual": lambda: supervision.distance(swapped, target, layers).mean(),
        "adv": lambda: losses.adversarial_loss(swapped.mean((1, 2, 3))),
        "shape": lambda: losses.norm_loss(seen.shape, of.shape),
        "pose": lambda: losses.norm_loss(seen.pose, to.pose),
        "exp": lambda: losses.norm_loss(seen.expression, to.expression),
    }[term]()
    value.backward()
    for part in (model.encoder.body, model.encoder.to_code["32"], model.encoder.to_code["4"], model.encoder.to_map):
        assert sum(float(p.grad.abs().sum()) for p in part.parameters() if p.grad is not None) > 0
    assert all(p.grad is None for p in (*supervision.recogniser.parameters(), *supervision.face3d.parameters()))


def test_perceptual_stand_in(supervision: Supervision, data: Faces) -> None:

    a, b = data.batch(np.array([0])), data.batch(np.array([30]))
    layers = supervision.look(a)[1]
    assert len(layers) == 5  # R at 16, 8, 4 px, the 3DMM supervisor at 16 and 8
    assert float(supervision.distance(a, a, supervision.look(a)[1])) == pytest.approx(0, abs=1e-6)
    near = supervision.distance(a, (a + 0.05).clamp(-1, 1), layers)
    assert 0 < float(near) < float(supervision.distance(a, b, layers))
    one, other = [torch.eye(2)[None, :, :, None]], [torch.eye(2).flip(0)[None, :, :, None]]
    assert float(feature_distance(one, other)) == pytest.approx(2)


def test_published_lpips_reads_a_trunk_from_disk(tmp_path: Path) -> None:
    from torchvision.models import alexnet

    torch.manual_seed(0)
    trunk = alexnet(weights=None)
    torch.save(trunk.state_dict(), tmp_path / "alexnet.pth")
    metric = published_lpips(tmp_path / "alexnet.pth", torch.device("cpu"))
    a, b = torch.rand(2, 2, 3, 64, 64).unbind(0)
    # The same from the reference's own parts: its scaling, torchvision's layers, its heads.
    reference = lpips.LPIPS(net="alex", pnet_rand=True, verbose=False).eval()
    x, y = reference.scaling_layer(a), reference.scaling_layer(b)
    total = torch.zeros(2)
    with torch.no_grad():
        for k, layer in enumerate(trunk.features):
            if isinstance(layer, nn.ReLU):
                layer = nn.ReLU()
            x, y = layer(x), layer(y)
            if k in (1, 4, 7, 9, 11):
                d = (lpips.normalize_tensor(x) - lpips.normalize_tensor(y)).square()
                total += reference.lins[(1, 4, 7, 9, 11).index(k)](d).mean((1, 2, 3))
        torch.testing.assert_close(metric(a, b).flatten(), total, rtol=1e-4, atol=1e-6)
    (tmp_path / "wrong.pth").write_bytes(b"nothing")
    with pytest.raises(UsageError, match="AlexNet"):
        published_lpips(tmp_path / "wrong.pth", torch.device("cpu"))
    torch.save({"features.0.weight": torch.zeros(1)}, tmp_path / "short.pth")
    with pytest.raises(UsageError, match="AlexNet"):
        published_lpips(tmp_path / "short.pth", torch.device("cpu"))


def test_a_view_is_the_same_for_every_batch_and_differs_by_row(data: Faces) -> None:
    x = data.batch(np.arange(4))
    one, again = (view(1.0, Draws((5,), range(4))) for _ in range(2))
    assert torch.equal(one(x), again(x))
    moved = one(x[:1].expand(4, -1, -1, -1))
    assert all(float((moved[k] - moved[0]).abs().mean()) > 0.01 for k in range(1, 4))
    swapped = x.clone().requires_grad_()
    (one(swapped) - one(x.flip(0))).abs().sum().backward()
    assert swapped.grad is not None
    assert (swapped.grad.abs().sum((1, 2, 3)) > 0).all()
    still = view(0.0, Draws((5,), range(4)))(x)
    assert torch.allclose(still, x, atol=1e-5)


def test_augmentation_keeps_gradients_and_rows(data: Faces) -> None:

    x = data.batch(np.arange(4)).requires_grad_(True)
    out = augment(x, ("colour", "translate", "cutout"), Draws((0,), range(4)))
    again = augment(x, ("colour", "translate", "cutout"), Draws((0,), range(4)))
    assert out.shape == x.shape
    assert torch.equal(out, again)
    (gradient,) = torch.autograd.grad(out[1].sum(), x)
    assert float(gradient[1].abs().sum()) > 0
    assert float(gradient[[0, 2, 3]].abs().sum()) == 0
    still = augment(x.detach(), ("translate",), Draws((3,), range(len(x))))
    assert set(still.unique().tolist()) <= set(x.unique().tolist())


def test_validation_tells_a_copy_of_the_target_from_a_copy_of_the_source(supervision: Supervision, data: Faces) -> None:
    pairs = Validation.build(data, supervision, 8)
    copy = pairs.measure(lambda source, target: target, supervision)
    assert copy["id_progress"] == pytest.approx(0, abs=1e-4)
    assert copy["moved"] == 0
    assert copy["expression"] == pytest.approx(0, abs=1e-5)
    perfect = pairs.measure(lambda source, target: source, supervision)
    assert perfect["id_progress"] == pytest.approx(1, abs=1e-3)
    assert perfect["shape_progress"] == pytest.approx(1, abs=1e-3)
    assert perfect["pose"] == pytest.approx(perfect["pose_start"], rel=1e-4)
    assert perfect["moved"] > 0


def test_validation_knows_the_error_to_true_swaps(supervision: Supervision, data: Faces) -> None:
    pairs = Validation.build(data, supervision, 8)
    assert not torch.equal(pairs.wanted, pairs.target)
    copy = pairs.measure(lambda source, target: target, supervision)
    assert copy["error"] == copy["error_start"] > 0
    known = {target.numpy().tobytes(): wanted for target, wanted in zip(pairs.target, pairs.wanted, strict=True)}
    true = pairs.measure(lambda s, target: torch.stack([known[t.numpy().tobytes()] for t in target]), supervision)
    assert true["error"] == 0
    assert true["error_inside"] == true["error_outside"] == 0
    assert copy["error_inside"] > 0.1 > copy["error_outside"]
    assert true["error_start"] == true["moved"] == copy["error"]
    blind = Validation.build(replace(data, onto=None), supervision, 8)
    assert torch.equal(blind.wanted, blind.target)
    assert "error_inside" not in blind.measure(lambda source, target: target, supervision)


def test_guard_stops_only_after_patience() -> None:
    guard = Guard(begin=10, progress=0.02, patience=2)
    flat, good = {"id": 0.5, "id_progress": 0.0, "moved": 0.0}, {"id": 0.3, "id_progress": 0.4, "moved": 0.1}
    for step, values in ((5, flat), (6, flat), (10, flat), (11, good), (12, flat)):
        guard.check(step, values)
    with pytest.raises(Collapsed, match="returns the target"):
        guard.check(13, flat)
    with pytest.raises(Collapsed, match="not finite"):
        guard.check(14, {**good, "id": float("nan")})


def test_table_equals_a_look_and_is_cached(supervision: Supervision, data: Faces, tmp_path: Path) -> None:

    table = supervision.table(data, tmp_path, batch=7)
    rows = np.array([0, 5, 33])
    seen = supervision.look(data.batch(rows))[0]
    for name in Seen.__slots__:
        torch.testing.assert_close(
            getattr(table, name)[torch.from_numpy(rows)], getattr(seen, name), atol=1e-5, rtol=1e-4
        )
    (stored,) = tmp_path.glob("seen-*.npy")
    before = stored.stat().st_mtime_ns
    again = supervision.table(data, tmp_path)
    assert stored.stat().st_mtime_ns == before
    assert torch.equal(again.pose, table.pose)
