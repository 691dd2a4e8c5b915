"""Real, short trainings on painted faces."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import typer
from painted import assert_same_weights, paint

from mfim_bench.cli_groups import group
from mfim_bench.errors import UsageError
from mfim_bench.faces.templates import crop_matrix
from mfim_bench.networks import face3d, files, hopenet, recogniser
from mfim_bench.networks.views import inner
from mfim_protocols.judges import augment, commands, data, landmarks, loop
from mfim_protocols.judges import face3d as face3d_training
from mfim_protocols.judges import hopenet as hopenet_training
from mfim_protocols.judges import recogniser as recogniser_training
from mfim_protocols.virtual_faces import shards
from mfim_protocols.virtual_faces.head import HeadModel


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Shards of 60 training and 18 other images."""
    out = []
    for name, people, seed in (("train", 20, 1), ("val", 6, 2)):
        folder, faces = tmp_path_factory.mktemp(name), paint(people, 3, seed)
        labels = {n: getattr(faces, n) for n in data.COLUMNS}
        labels |= {"identity": faces.number, "points68": faces.dense[:, :68]}
        shards.write_part(folder, 0, faces.images, labels)
        (folder / "meta.json").write_text("{}")
        out.append(folder)
    return out[0], out[1]


@pytest.mark.parametrize("judge", [hopenet_training, face3d_training, recogniser_training])
def test_judges_begin_from_the_file_they_are_given(judge, folders: tuple[Path, Path], tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    first, second = tmp_path / "first.safetensors", tmp_path / "second.safetensors"
    judge.train([folders[0]], [folders[1]], "0/1", loop.Settings(first, 10, steps=2, batch=8))
    # At a rate of zero and with another seed, what was learned comes from the file alone.
    again = loop.Settings(second, 10, steps=1, batch=8, rate=0.0, seed=5, start=first)
    judge.train([folders[0]], [folders[1]], "0/1", again)
    assert_same_weights(first, second)


def test_recogniser_training_lowers_the_loss_and_writes_a_file(folders: tuple[Path, Path], tmp_path: Path) -> None:
    settings = loop.Settings(tmp_path / "recogniser.safetensors", 10, steps=40, batch=32, rate=1e-3)
    figures = recogniser_training.train([folders[0]], [folders[1]], "0/1", settings)
    loss, validation = figures["loss"], figures["validation"]
    assert loss["last"] < loss["first"]  # type: ignore[index]
    assert validation["clean"]["l2_same"] < validation["clean"]["l2_different"]  # type: ignore[index]
    seen = recogniser.load(settings.out)(torch.rand(2, 3, recogniser.SIZE, recogniser.SIZE))
    assert seen.shape == (2, recogniser.EMBEDDING)
    torch.testing.assert_close(seen.norm(dim=1), torch.ones(2))


def test_hopenet_training_lowers_the_loss_and_writes_a_file(folders: tuple[Path, Path], tmp_path: Path) -> None:
    settings = loop.Settings(tmp_path / "hopenet.safetensors", 10, steps=30, batch=16, rate=1e-3)
    figures = hopenet_training.train([folders[0]], [folders[1]], "0/1", settings)
    assert figures["loss"]["last"] < figures["loss"]["first"] - 0.15  # type: ignore[index]
    assert files.metadata(settings.out)["figures"] == figures
    assert not settings.checkpoint.exists()
    assert hopenet.load(settings.out)(torch.rand(2, 3, hopenet.SIZE, hopenet.SIZE)).shape == (2, 3, 66)


def test_face3d_training_lowers_the_loss_and_writes_a_file(folders: tuple[Path, Path], tmp_path: Path) -> None:
    settings = loop.Settings(tmp_path / "face3d.safetensors", 10, steps=30, batch=16)
    figures = face3d_training.train([folders[0]], [folders[1]], "0/1", settings)
    assert figures["loss"]["last"] < figures["loss"]["first"]  # type: ignore[index]
    assert set(figures["validation"]) == {"clean", "degraded", "fit_alone", "guess_alone", "ceiling"}  # type: ignore[call-overload]
    network = face3d.load(settings.out)
    fit, face = network(torch.rand(2, 3, face3d.SIZE, face3d.SIZE))
    assert torch.isfinite(fit.shape).all()
    assert torch.isfinite(face.angles).all()


def test_the_judge_sees_a_mirrored_face_as_the_mirrored_head(folders: tuple[Path, Path]) -> None:
    """Exactly, whatever the network has learned: it looks at both, whole and at their middles."""
    faces = data.load([folders[0]])
    network = face3d.build(data.head_fit(faces), torch.rand(320, 2) - 0.5).eval()
    torch.nn.init.normal_(network.net.points.weight, std=0.01)
    images = torch.rand(2, 3, face3d.SIZE, face3d.SIZE)
    with torch.no_grad():
        (points, _, guess), (other_points, _, other_guess) = network.see(images), network.see(images.flip(-1))
        whole, middle = network.net(images), network.net(inner(images, network.part))
        _, deviation, _ = network.see(images)
        once = (whole[0] + network.part * middle[0]) / 2
    paired, fit = network.fit.twin >= 0, network.fit
    moved = other_points[:, fit.twin.clamp_min(0)] * torch.tensor([-1.0, 1.0])
    torch.testing.assert_close(points[:, paired], moved[:, paired], atol=1e-5, rtol=0)
    torch.testing.assert_close(points[:, ~paired], once[:, ~paired])
    assert float((points - once)[:, paired].abs().mean()) > 1e-3
    # What is as sure of its place in the middle of a picture is surer of it in the whole.
    expected = (whole[1] + middle[1] + np.log(network.part)) / 2
    torch.testing.assert_close(deviation[:, ~paired], expected[:, ~paired])
    plain = face3d.Face3d(network.net, network.fit)
    with torch.no_grad():
        for seen, said in zip(plain.see(images), network.net(images), strict=True):
            torch.testing.assert_close(seen, said)
    # The matrix is its own inverse but for the last, faintest components.
    there, back = (g @ fit.mirrored.T for g in (guess, other_guess))
    vertices = [fit.vertices(g[:, :80], g[:, 80:132]) for g in (guess, back, other_guess, there)]
    assert float((vertices[0] - vertices[1]).norm(dim=-1).mean()) < 0.2
    assert float((vertices[2] - vertices[3]).norm(dim=-1).mean()) < 0.2


class Knowing(torch.nn.Module):
    """Stands where the network does, and says where the landmarks really are: an answer for each call."""

    def __init__(self, answers: list[torch.Tensor]) -> None:
        super().__init__()
        self.answers = iter(answers)

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        return next(self.answers), torch.zeros(len(images), 320), torch.zeros(len(images), 135)


def test_the_face_is_measured_in_the_true_crop_once_the_landmarks_are_right(folders: tuple[Path, Path]) -> None:
    """However badly the detector's points scatter; and the labels are of that crop."""
    faces = data.load([folders[0]])
    five = data.head_fit().points5.numpy() @ faces.dense  # painted faces have points of their own
    cropper = data.Cropper("box", face3d.SIZE, face3d.SEARCH[0], scatter=2.0)
    index = np.arange(20)
    first = landmarks.LandmarkTask(faces, cropper).rows(index, np.random.default_rng(3), False)

    def true(zoom: float) -> torch.Tensor:
        matrices = [crop_matrix(points, "box", face3d.SIZE, zoom=zoom) for points in five[index]]
        inside = [landmarks.in_crop(m, faces.dense[i], face3d.SIZE) for i, m in zip(index, matrices, strict=True)]
        return torch.from_numpy(np.stack(inside)).float()

    judge = face3d.build(data.head_fit())
    judge.net = Knowing([first["landmarks"], *map(true, face3d.SEARCH[1:])])  # type: ignore[assignment]
    task = landmarks.LandmarkTask(faces, cropper, judge=judge)
    batch = task.rows(index, np.random.default_rng(3), False)
    torch.testing.assert_close(batch["landmarks"], true(face3d.LAST), atol=1e-4, rtol=0)
    assert float((first["landmarks"] - batch["landmarks"]).abs().mean()) > 0.02
    assert batch["images"].shape == first["images"].shape
    trained = task.rows(index, np.random.default_rng(3), True)
    assert not torch.equal(trained["landmarks"], batch["landmarks"])  # training is at the scattered crops


def test_the_five_points_follow_from_the_dense_ones() -> None:
    """To 2 mm, for heads and expressions that took no part in finding the weights one by one."""
    head, rng = HeadModel.load(), np.random.default_rng(0)
    weights = data.five_of_dense(head)
    np.testing.assert_allclose(weights.sum(1), 1, atol=1e-3)
    for _ in range(10):
        moved = np.tensordot(rng.normal(0, 1, len(head.shape_basis)), head.shape_basis, 1)
        vertices = head.mean + moved + head.expression_basis[int(rng.integers(len(head.expression_basis)))]
        off = weights @ vertices[head.dense] - vertices[head.points5].mean(1)
        assert np.linalg.norm(off, axis=-1).mean() < 2.5


def test_the_middle_of_a_picture() -> None:
    ramp = torch.arange(192.0).expand(1, 3, 192, 192)
    half = inner(ramp, 0.5)
    assert half.shape == ramp.shape
    # Pixel edges map onto each other: 96 px become 192, the first centre lies a quarter of a pixel in.
    torch.testing.assert_close(half[0, 0, 5], 47.75 + 0.5 * torch.arange(192.0))
    torch.testing.assert_close(inner(ramp, 1.0), ramp)


def test_a_share_of_the_crops_is_tight(folders: tuple[Path, Path]) -> None:
    faces = data.load([folders[0]])
    true = crop_matrix(faces.points5[0], "box", 64, zoom=0.9)

    def spread(tight: float, train: bool) -> np.ndarray:
        cropper, rng = data.Cropper("box", 64, 0.9, strength=0.0, tight=tight), np.random.default_rng(0)
        return np.array([abs(np.log(cropper.cut(faces, 0, rng, train)[1][0, 0] / true[0, 0])) for _ in range(800)])

    wide, none, some = spread(0.0, True), spread(1.0, True), spread(0.65, True)
    assert np.median(none) == pytest.approx(data.TIGHT * np.median(wide), rel=0.2)
    assert np.median(none) < np.median(some) < np.median(wide)
    assert np.median(spread(1.0, False)) == pytest.approx(np.median(wide), rel=0.2)  # in training only


def test_a_run_begins_from_weights_but_keeps_its_own_priors(folders: tuple[Path, Path], tmp_path: Path) -> None:
    fit = data.head_fit(data.load([folders[0]]))
    learned = face3d.build(fit)
    torch.nn.init.constant_(next(learned.net.parameters()), 0.25)
    learned.fit.shape_deviation.fill_(7.0)
    files.save(learned, tmp_path / "learned.safetensors", {"network": "face3d"})
    begun = face3d.build(data.head_fit(data.load([folders[0]])))
    own = begun.fit.shape_deviation.clone()
    loop.begin(begun, tmp_path / "learned.safetensors")
    assert (next(begun.net.parameters()) == 0.25).all()
    torch.testing.assert_close(begun.fit.shape_deviation, own)
    before = hopenet.HopeNet()
    with pytest.raises(UsageError, match=r"another network|other sizes"):
        loop.begin(before, tmp_path / "learned.safetensors")
    with pytest.raises(UsageError, match="no file"):
        loop.begin(before, tmp_path / "absent.safetensors")


def test_a_run_that_was_cut_off_goes_on(folders: tuple[Path, Path], tmp_path: Path) -> None:
    task = hopenet_training.PoseTask(data.load([folders[0]]), data.Cropper("box", hopenet.SIZE, 1.0))
    out = tmp_path / "x.safetensors"
    loop.train(hopenet.HopeNet(), task.batch, task.loss, loop.Settings(out, 10, steps=3, batch=8))
    stopped = torch.load(out.with_name("x.safetensors.checkpoint"), weights_only=True)
    again = loop.train(hopenet.HopeNet(), task.batch, task.loss, loop.Settings(out, 10, steps=4, batch=8))
    assert stopped["step"] == 3
    assert again.steps == 4
    assert again.seconds > stopped["spent"]
    fresh = loop.train(hopenet.HopeNet(), task.batch, task.loss, loop.Settings(out, 10, steps=4, batch=8))
    for a, b in zip(again.network.parameters(), fresh.network.parameters(), strict=True):
        torch.testing.assert_close(a, b)  # a finished run is not trained further


def test_training_labels_survive_the_crop(folders: tuple[Path, Path]) -> None:
    """Landmarks and pose of an ffhq crop (roll removed) agree: the known head projects onto its own landmarks."""
    faces = data.load([folders[0]])
    task = landmarks.LandmarkTask(faces, data.Cropper("ffhq", 128, 1.0))
    batch = task.rows(np.arange(20), np.random.default_rng(0), train=True)
    fit = data.head_fit(faces)
    truth = fit.camera_of(*(batch[k].double() for k in ("landmarks", "pose", "shape", "expression")))
    off = (fit.project(truth) - batch["landmarks"]).norm(dim=-1).mean() * 64
    assert off < 0.2  # px


def test_folds_and_held_out_people_share_nobody(folders: tuple[Path, Path]) -> None:
    even, odd = data.load([folders[0]], "0/2"), data.load([folders[0]], "1/2")
    assert not set(even.number) & set(odd.number)
    rest, held = data.load([folders[0]]).hold_out(0.3)
    assert len(rest)
    assert len(held)
    assert not set(rest.number) & set(held.number)
    with pytest.raises(UsageError, match="fold"):
        data.load([folders[0]], "2/2")
    with pytest.raises(UsageError, match="no shards"):
        data.load([folders[0] / "nowhere"])


def test_augmentation_keeps_shape_and_type() -> None:
    image = np.random.default_rng(0).integers(0, 256, (112, 112, 3), np.uint8)
    rng = np.random.default_rng(1)
    for _ in range(40):
        out = augment.degrade(image, rng)
        assert out.shape == image.shape
        assert out.dtype == np.uint8
    assert augment.worn(image).shape == image.shape


def test_crops_scatter_as_a_detectors_do() -> None:
    """What `augment.detected` states of MTCNN's finds, which it was made after: half, a tenth and a thirtieth."""
    rng = np.random.default_rng(0)
    true = np.array([[1.5, 0.0, 3.0], [0.0, 1.5, -7.0]])
    drawn = np.stack([augment.detected(true, 192, rng) for _ in range(4000)])
    scale = np.abs(np.log(drawn[:, 0, 0] / 1.5))
    # Two normal deviations are a coarse model: they give .24 where MTCNN had .28.
    np.testing.assert_allclose(np.quantile(scale, [0.5, 0.9, 0.97]), [0.076, 0.277, 0.40], atol=0.05)
    # What the true crop shows at its centre moves by the shift alone.
    centre = np.linalg.solve(true[:, :2], [95.5, 95.5] - true[:, 2])
    shift = np.abs(drawn[:, :, :2] @ centre + drawn[:, :, 2] - 95.5) / 192
    np.testing.assert_allclose(np.quantile(shift, [0.5, 0.9]), [0.01, 0.048], atol=0.02)
    np.testing.assert_allclose(augment.detected(true, 192, rng, scatter=0.0), true)
    turned = augment.detected(true, 192, rng, scatter=0.0, turn=0.3)
    np.testing.assert_allclose(turned[:, :2] @ turned[:, :2].T, 2.25 * np.eye(2), atol=1e-9)
    assert abs(turned[0, 1]) > 1e-3


def test_two_plugins_share_one_group() -> None:
    app = typer.Typer()
    first = group(app, "train")
    assert group(app, "train") is first
    commands.register(app)
    assert {c.name for c in first.registered_commands} == {"judge-face3d", "judge-hopenet", "judge-recogniser"}
    judges = {c.name for c in group(app, "judges").registered_commands}
    assert judges == {"measure", "floors", "card", "overlay"}


def test_a_folded_backbone_sees_the_blocks_in_order_and_fold_one_changes_nothing() -> None:
    import timm

    from mfim_bench.networks.folded import Folded

    torch.manual_seed(0)
    plain = Folded("resnet18", 1, features_only=True, channels=(8, 8, 8, 8)).eval()
    images = torch.rand(1, 3, 64, 64)
    same = timm.create_model("resnet18", features_only=True, channels=(8, 8, 8, 8)).eval()
    same.load_state_dict(plain.network.state_dict())
    torch.testing.assert_close(plain(images)[-1], same(images)[-1])
    folded = Folded("resnet18", 2, features_only=True, channels=(8, 8, 8, 8)).eval()
    assert folded.network.conv1.weight.shape[1:] == (12, 3, 3)
    assert [m.shape[-1] for m in folded(images)] == [m.shape[-1] for m in plain(images[..., ::2, ::2])]
    # A stem that takes one pixel of each block sees the picture at half the size.
    with torch.no_grad():
        folded.network.conv1.weight.zero_()
        folded.network.conv1.weight[0, 0, 1, 1] = 1.0  # red, the block's first pixel
        seen = folded.network.conv1(torch.nn.functional.pixel_unshuffle(images, 2))
    torch.testing.assert_close(seen[0, 0], images[0, 0, ::4, ::4])


def test_batches_depend_on_the_step_alone(folders: tuple[Path, Path], tmp_path: Path) -> None:
    """Threads that load ahead, and a run cut in two, see what one run without them sees."""
    faces = data.load([folders[0]])
    seen: dict[str, list[float]] = {}
    for name, stops, loaders in (("one", [4], 0), ("threads", [4], 2), ("cut", [2, 4], 0)):
        task = hopenet_training.PoseTask(faces, data.Cropper("box", hopenet.SIZE, 1.0))
        seen[name] = []

        def loss(model, batch, progress, name=name, task=task):  # type: ignore[no-untyped-def]
            seen[name].append(float(batch["images"].sum()))
            return task.loss(model, batch, progress)

        for steps in stops:
            settings = loop.Settings(tmp_path / f"{name}.safetensors", 10, steps=steps, batch=4, loaders=loaders)
            loop.train(hopenet.HopeNet(), task.batch, loss, settings)
    assert seen["one"] == seen["threads"] == seen["cut"]
    assert len(set(seen["one"])) == 4
