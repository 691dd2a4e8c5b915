"""The supervisors: what the losses of mfim rely on, and short real trainings."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from mfim.supervisors import catalogue, load, networks, train
from mfim_bench.errors import UsageError
from mfim_protocols.judges import data, landmarks, loop, recogniser

sys.path.insert(0, str(Path(__file__).parents[1] / "judges"))
from painted import assert_same_weights, paint

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def faces():  # type: ignore[no-untyped-def]
    return paint(12, 4, 3)


@pytest.fixture(scope="module")
def face3d(faces) -> networks.Face3dSupervisor:  # type: ignore[no-untyped-def]
    task = train.face3d_task(faces)
    torch.manual_seed(0)
    network = networks.Face3dSupervisor(data.head_fit(faces), landmarks.mean_landmarks(task, 0))
    return network.eval()


@pytest.mark.parametrize("side", [64, 128, 200])
def test_outputs_and_gradients(face3d: networks.Face3dSupervisor, side: int) -> None:
    images = torch.rand(2, 3, side, side, requires_grad=True)
    out = face3d(images)
    assert {k: tuple(v.shape) for k, v in out.items()} == {"shape": (2, 960), "expression": (2, 960), "pose": (2, 3)}
    embedding = networks.Recogniser().eval()(images)
    torch.testing.assert_close(embedding.norm(dim=1), torch.ones(2))
    for value in (*out.values(), embedding):
        (gradient,) = torch.autograd.grad(value.square().sum() + value[0, 0], images, retain_graph=True)
        assert torch.isfinite(gradient).all()
        assert gradient.abs().max() > 0


def test_rows_do_not_influence_each_other(face3d: networks.Face3dSupervisor) -> None:
    images = torch.rand(3, 3, 64, 64)
    torch.testing.assert_close(face3d(images)["shape"][1:2], face3d(images[1:2])["shape"], atol=1e-2, rtol=1e-3)


def test_distance_of_outputs_is_millimetres(face3d: networks.Face3dSupervisor) -> None:
    images = torch.rand(2, 3, 96, 96)
    out = face3d(images)
    core = face3d.core
    with torch.no_grad():
        _, face = core(networks.centre_part(images, networks.PART["supervisor-face3d"]), networks.ITERATIONS)
    for name, vertices in (("shape", face.neutral), ("expression", face.expression)):
        rms = (vertices[0] - vertices[1]).square().sum(-1).mean().sqrt()
        torch.testing.assert_close((out[name][0] - out[name][1]).norm().double(), rms, rtol=1e-3, atol=1e-3)


def test_the_centre_is_the_centre_at_every_size() -> None:
    ramp = torch.linspace(0, 1, 256).expand(1, 3, 256, 256)
    for side in (64, 128, 256):
        small = torch.nn.functional.interpolate(ramp, size=(side, side), mode="bilinear", antialias=True)
        out = networks.centre_part(small, 0.85)[0, 0, 0]
        assert float(out.mean()) == pytest.approx(0.5, abs=2e-3)
        assert float(out[-1] - out[0]) == pytest.approx(networks.seen(0.85), abs=0.02)


@pytest.mark.parametrize("kind", ["r", "face3d"])
def test_training_lowers_the_loss_and_loads(kind: str, faces, tmp_path: Path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr(train.data, "load", lambda folders, fold="0/1": faces)
    rate = 5e-4 if kind == "r" else 1.5e-3
    settings = loop.Settings(tmp_path / "s.safetensors", 10, steps=40, batch=16, rate=rate)
    run = train.train_recogniser if kind == "r" else train.train_face3d
    figures = run([tmp_path], [tmp_path], "0/1", settings)
    assert figures["loss"]["last"] < figures["loss"]["first"]  # type: ignore[index]
    network = load(settings.out)
    assert not any(p.requires_grad for p in network.parameters())
    maps = network.features(torch.rand(1, 3, 64, 64))
    sides = [m.shape[-1] for m in maps]
    assert sides == sorted(sides, reverse=True)
    assert len(set(sides)) >= 4
    # At a rate of zero and with another seed, what was learned comes from the file alone.
    again = tmp_path / "again.safetensors"
    run(
        [tmp_path],
        [tmp_path],
        "0/1",
        loop.Settings(again, 10, steps=1, batch=16, rate=0.0, seed=5, start=settings.out),
    )
    assert_same_weights(settings.out, again)


def test_missing_and_foreign_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="no file"):
        load(tmp_path / "no.safetensors")
    from mfim_bench.networks import files

    files.save(torch.nn.Linear(2, 2), tmp_path / "x.safetensors", {"network": "hopenet"})
    with pytest.raises(UsageError, match="not a supervisor"):
        load(tmp_path / "x.safetensors")
    files.save(torch.nn.Linear(2, 2), tmp_path / "x.safetensors", {"network": "supervisor-r"})
    with pytest.raises(UsageError, match="another version of supervisor-r"):
        load(tmp_path / "x.safetensors")
    assert {spec.name for spec in catalogue.WEIGHTS} == {"supervisor-r", "supervisor-face3d"}


def test_contrast_asks_for_the_same_person_nearer_than_others() -> None:
    who = torch.tensor([0, 0, 1, 1])
    apart = torch.tensor([[1.0, 0], [1, 0], [-1, 0], [-1, 0]])
    mixed = torch.tensor([[1.0, 0], [-1, 0], [1, 0], [-1, 0]])
    # By hand: of the three others one is the same person, at cosine 1; two are at -1.
    e = math.exp
    wanted = -math.log(e(10) / (e(10) + 2 * e(-10)))
    assert float(recogniser.contrast(apart, who)) == pytest.approx(wanted, abs=1e-6)
    wanted = -math.log(e(-10) / (2 * e(-10) + e(10)))
    assert float(recogniser.contrast(mixed, who)) == pytest.approx(wanted, rel=1e-5)


def test_batches_of_the_recogniser_hold_everyone_several_times(faces) -> None:  # type: ignore[no-untyped-def]
    task = train.RecogniserTask(faces)
    for seed in range(3):
        _, counts = np.unique(task.batch(np.random.default_rng(seed), 16)["identity"], return_counts=True)
        assert (counts == recogniser.TOGETHER).all()
        assert len(counts) == min(4, faces.identities)


def test_perturbations_raise_the_loss_within_their_radius(faces) -> None:  # type: ignore[no-untyped-def]
    torch.manual_seed(0)
    model = networks.Recogniser().eval()
    plain, hard = train.RecogniserTask(faces), train.RecogniserTask(faces, radius=0.05)
    batch = plain.batch(np.random.default_rng(0), 16)
    assert float(hard.loss(model, batch, 0.0)) > float(plain.loss(model, batch, 0.0))
    seen: list[torch.Tensor] = []
    model.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].detach().clone()))
    hard.loss(model, batch, 0.0).backward()
    moved = (seen[1] - seen[0]).square().mean((1, 2, 3)).sqrt()
    assert (moved <= 0.05 + 1e-6).all()
    assert moved.max() > 0.02
    assert any(p.grad is not None for p in model.parameters())


def test_the_cosine_of_several_recognisers_is_the_mean() -> None:
    torch.manual_seed(0)
    members = [networks.Recogniser().eval(), networks.Recogniser().eval()]
    images = torch.rand(2, 3, 64, 64)
    both = networks.Recognisers(members)(images)
    torch.testing.assert_close(both.norm(dim=1), torch.ones(2))
    singles = [member(images) for member in members]
    mean = sum((x[0] * x[1]).sum() for x in singles) / 2
    torch.testing.assert_close((both[0] * both[1]).sum(), mean)
    assert len(networks.Recognisers(members).features(images)) == 2 * len(members[0].features(images))
