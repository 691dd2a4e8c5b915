"""Deep3DFaceRecon and HopeNet on random weights of the published layouts: loading, equality, crops, formulas, traps."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import published_twins as twins
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from published_twins import fill
from skimage import data
from torch import Tensor
from torch.nn import functional as F

from mfim_bench import weights
from mfim_bench.errors import UsageError
from mfim_bench.faces.detect import Face
from mfim_bench.measures import distances, published_geometry
from mfim_bench.networks.published import deep3d, geometry, hopenet
from mfim_bench.plugins import load_judge

HEADS = ("fc_yaw", "fc_pitch", "fc_roll")
FACE = Face(
    box=np.array([182.0, 70.0, 268.0, 190.0], np.float32),
    points=np.array([[205, 110], [250, 112], [228, 140], [210, 160], [248, 162]], np.float32),
    probability=1.0,
    others=0,
)


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both files as their owners save them: HopeNet's by a torch that had no counters, Deep3D's with its optimiser."""
    made = tmp_path_factory.mktemp("published")
    old = {name: value for name, value in fill(twins.hopenet()).items() if not name.endswith("num_batches_tracked")}
    torch.save(old, made / "hopenet_robust_alpha1.pkl")
    state = {"net_recon": fill(twins.deep3d()), "opt_00": {"state": {}, "param_groups": [{"lr": 1e-4}]}}
    torch.save(state | {"sched_00": {"last_epoch": 20}}, made / "epoch_20.pth")
    return made


@pytest.fixture
def added(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Both files in the catalogue's cache."""
    (tmp_path / "weights").mkdir()
    for file in folder.iterdir():
        (tmp_path / "weights" / file.name).symlink_to(file)
    monkeypatch.setenv(weights.CACHE_VARIABLE, str(tmp_path))
    yield
    weights._checked.cache_clear()


@pytest.fixture(scope="session")
def portrait() -> NDArray[np.uint8]:
    return np.ascontiguousarray(data.astronaut())


def independent(state: dict[str, Tensor], images: Tensor, prefix: str = "") -> Tensor:
    """ResNet-50 up to its last map, from the state dict alone."""

    def norm(x: Tensor, name: str) -> Tensor:
        values = [state[f"{prefix}{name}.{part}"] for part in ("running_mean", "running_var", "weight", "bias")]
        mean, variance, weight, bias = (value[:, None, None] for value in values)
        return (x - mean) / torch.sqrt(variance + 1e-5) * weight + bias

    def convolve(x: Tensor, name: str, stride: int = 1) -> Tensor:
        kernel = state[f"{prefix}{name}.weight"]
        return F.conv2d(x, kernel, stride=stride, padding=kernel.shape[-1] // 2)

    x = F.max_pool2d(norm(convolve(images, "conv1", 2), "bn1").relu(), 3, 2, 1)
    for stage, blocks in ((1, 3), (2, 4), (3, 6), (4, 3)):
        for block in range(blocks):
            name, stride = f"layer{stage}.{block}", 2 if stage > 1 and block == 0 else 1
            y = norm(convolve(x, f"{name}.conv1"), f"{name}.bn1").relu()
            y = norm(convolve(y, f"{name}.conv2", stride), f"{name}.bn2").relu()
            y = norm(convolve(y, f"{name}.conv3"), f"{name}.bn3")
            if block == 0:
                x = norm(convolve(x, f"{name}.downsample.0", stride), f"{name}.downsample.1")
            x = (x + y).relu()
    return x


def pictures(seed: int, side: int = 224) -> Tensor:
    return torch.rand(2, 3, side, side, generator=torch.Generator().manual_seed(seed))


def test_the_layouts_have_the_published_counts() -> None:
    assert len(twins.deep3d()) == 332
    keys = list(twins.hopenet())
    assert sum(not name.endswith("num_batches_tracked") for name in keys) == 273


def test_deep3d_equals_an_independent_network(folder: Path) -> None:
    network, images = deep3d.load(folder / "epoch_20.pth"), pictures(7)
    state = fill(twins.deep3d())
    pooled = independent(state, images, "backbone.").mean((2, 3))
    heads = [
        pooled @ state[f"final_layers.{k}.weight"].flatten(1).T + state[f"final_layers.{k}.bias"] for k in range(7)
    ]
    found = network(images)
    assert found.shape == (2, 257)
    torch.testing.assert_close(found, torch.cat(heads, 1), atol=1e-5, rtol=1e-5)
    # Of the authors' own module with these weights and images (its repository at the commit of 2026-11).
    golden = [0.70466375, 0.82817614, -0.58787042, 0.47637728, 0.23043713, 0.05431516]
    np.testing.assert_allclose(found[0, :6].numpy(), golden, atol=1e-4)
    np.testing.assert_allclose(found[0, 80:84].numpy(), [-0.39998668, -0.6019733, -0.58998877, 0.25482357], atol=1e-4)
    np.testing.assert_allclose(found[0, 224:227].numpy(), [-0.28337371, 0.01765327, -0.64240646], atol=1e-4)


def test_hopenet_equals_an_independent_network(folder: Path) -> None:
    network, state = hopenet.load(folder / "hopenet_robust_alpha1.pkl"), fill(twins.hopenet())
    for side in (224, 256):  # of 256 px the authors' pooling reads 7 x 7 of 8 x 8 places
        images = pictures(7, side)
        pooled = independent(state, images)[:, :, :7, :7].mean((2, 3))
        heads = [pooled @ state[f"{head}.weight"].T + state[f"{head}.bias"] for head in HEADS]
        torch.testing.assert_close(network(images), torch.stack(heads, 1), atol=1e-5, rtol=1e-5)
    logits = network(pictures(7))
    # Of the authors' own module, as above.
    golden = [[-0.62441832, -0.50184721, -0.86461133], [0.12802467, -0.49578488, 0.14220849]]
    np.testing.assert_allclose(logits[0, :2, :3].numpy(), golden, atol=1e-4)
    np.testing.assert_allclose(hopenet.degrees(logits)[0].numpy(), [5.542259, -3.092987, -5.402252], atol=1e-3)


def test_degrees_by_the_published_formula() -> None:
    logits = torch.randn(3, 3, 66, generator=torch.Generator().manual_seed(1))
    for row in range(3):
        for angle in range(3):
            e = [math.exp(float(v)) for v in logits[row, angle]]
            expected = sum(k * v for k, v in enumerate(e)) / sum(e) * 3 - 99
            assert float(hopenet.degrees(logits)[row, angle]) == pytest.approx(expected, abs=1e-4)


def spoiled(state: dict[str, Tensor], how: str) -> dict[str, Tensor]:
    name = next(key for key in state if key.endswith("layer1.0.conv1.weight"))
    if how == "missing":
        return {key: value for key, value in state.items() if key != name}
    if how == "extra":
        return {**state, "extra.weight": torch.zeros(3)}
    if how == "mis-shaped":
        return {**state, name: torch.zeros(64, 64, 3, 3)}
    if how == "nan":
        return {**state, name: torch.full_like(state[name], torch.nan)}
    if how == "module":
        return {f"module.{key}": value for key, value in state.items()}
    return {key: value.half() if value.is_floating_point() else value for key, value in state.items()}


REASONS = {
    "missing": r"1 missing: \S*layer1\.0\.conv1\.weight",
    "extra": r"1 unexpected: extra\.weight",
    "mis-shaped": r"1 mis-shaped: \S*layer1\.0\.conv1\.weight \(64, 64, 3, 3\) for \(64, 64, 1, 1\)",
    "nan": r"not finite.*layer1\.0\.conv1\.weight",
}


@pytest.mark.parametrize("how", [*REASONS, "module", "half"])
@pytest.mark.parametrize("which", ["deep3d", "hopenet"])
def test_a_file_is_read_strictly_or_refused_in_one_line(which: str, how: str, tmp_path: Path) -> None:
    load = deep3d.load if which == "deep3d" else hopenet.load
    state = spoiled(fill(twins.deep3d() if which == "deep3d" else twins.hopenet()), how)
    path = tmp_path / "file.pth"
    torch.save({"net_recon": state} if which == "deep3d" else state, path)
    if how in REASONS:
        with pytest.raises(UsageError, match=REASONS[how]) as caught:
            load(path)
        assert "\n" not in str(caught.value)
    else:
        network = load(path)
        images = pictures(3)
        honest = fill(twins.deep3d() if which == "deep3d" else twins.hopenet())
        own = network.state_dict()
        assert all(torch.allclose(own[name].float(), honest[name].float(), atol=2e-3, rtol=1e-3) for name in own)
        assert own["bn1.weight" if which == "hopenet" else "backbone.bn1.weight"].dtype == torch.float32
        assert network(images).isfinite().all()


class Runs:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return eval, ("1/0",)  # would raise ZeroDivisionError if it ran


@pytest.mark.parametrize("load", [deep3d.load, hopenet.load])
def test_a_file_that_would_run_code_or_is_cut_is_refused(load: object, folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "evil.pkl"
    torch.save({"net_recon": Runs()}, path)
    with pytest.raises(UsageError, match="nothing was run"):
        load(path)  # type: ignore[operator]
    path.write_bytes((folder / "epoch_20.pth").read_bytes()[:50_000])
    with pytest.raises(UsageError, match="cannot be read safely"):
        load(path)  # type: ignore[operator]


def authors_alignment(image: Image.Image, points: NDArray[np.float64]) -> NDArray[np.uint8]:
    """The authors' steps, one after the other: two least squares of four unknowns, resize, crop."""
    width, height = image.size
    up = points.copy()
    up[:, 1] = height - 1 - up[:, 1]
    rows = np.column_stack([deep3d.STANDARD, np.ones(5)])
    first, *_ = np.linalg.lstsq(rows, up[:, 0], rcond=None)
    second, *_ = np.linalg.lstsq(rows, up[:, 1], rcond=None)
    scale = 102 / ((np.linalg.norm(first[:3]) + np.linalg.norm(second[:3])) / 2)
    size = (math.trunc(width * scale), math.trunc(height * scale))
    left = math.trunc(size[0] / 2 - 112 + (first[3] - width / 2) * scale)
    top = math.trunc(size[1] / 2 - 112 + (height / 2 - second[3]) * scale)
    cut = image.resize(size, Image.Resampling.BICUBIC).crop((left, top, left + 224, top + 224))
    return np.asarray(cut)


def test_faces_are_cut_as_the_authors_cut_them(portrait: NDArray[np.uint8]) -> None:
    random = np.random.default_rng(0)
    for number in range(12):
        points = FACE.points + random.normal(0, 3, (5, 2)) + (150 if number == 5 else 0)  # once beyond the frame
        found = deep3d.align(portrait, points)
        assert found.shape == (224, 224, 3)
        difference = np.abs(found.astype(int) - authors_alignment(Image.fromarray(portrait), points.astype(np.float32)))
        assert difference.max() <= 1
    eyes = deep3d.align(portrait, FACE.points)
    assert eyes[90:130, 60:165].std() > 20  # the eyes' region, where the standard face has it


def test_a_tiny_face_in_a_large_frame_is_cut_without_a_huge_image(
    portrait: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = deep3d.align(portrait, FACE.points)
    monkeypatch.setattr(deep3d, "MAX_PIXELS", 1000)
    part = deep3d.align(portrait, FACE.points)
    assert np.abs(whole.astype(int) - part).max() <= 6
    assert np.abs(whole.astype(int) - part).mean() < 0.2


def test_hopenets_loose_crop(portrait: NDArray[np.uint8]) -> None:
    """The box and its margins, by the numbers of the authors' video script."""
    x0, y0, x1, y1 = 182 - 43, max(70 - 90, 0), 268 + 43, 190 + 30
    cut = Image.fromarray(portrait[y0:y1, x0:x1])
    assert cut.size == (172, 220)
    resized = cut.resize((224, 286), Image.Resampling.BILINEAR).crop((0, 31, 224, 255))
    tensor = torch.from_numpy(np.asarray(resized).copy()).permute(2, 0, 1).float() / 255
    mean, deviation = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    expected = (tensor - mean[:, None, None]) / deviation[:, None, None]
    torch.testing.assert_close(hopenet.loose(portrait, FACE)[0], expected, atol=1e-6, rtol=0)


def test_each_scripts_normalisation(portrait: NDArray[np.uint8]) -> None:
    """On a frame of one colour only the normalisation is left."""
    flat = np.empty((512, 512, 3), np.uint8)
    flat[:] = (200, 100, 50)
    rgb = np.array([200, 100, 50]) / 255
    mean, deviation = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    expected = {
        hopenet.loose: (rgb - mean) / deviation,
        hopenet.reface: (rgb - mean) / deviation,
        hopenet.casia: (rgb[::-1] - mean) / deviation,
        hopenet.metaswap: (rgb - 0.5) / 0.5,
        hopenet.reliableswap: (2 * rgb - 1 - mean) / deviation,
    }
    for cut, colours in expected.items():
        found = cut(flat, FACE)
        assert found.shape == ((1, 3, 256, 256) if cut is hopenet.reliableswap else (1, 3, 224, 224))
        np.testing.assert_allclose(found.mean((0, 2, 3)).numpy(), colours, atol=1e-5)
    assert geometry._aligned(flat, FACE).max() <= 1
    assert geometry._reface(portrait, FACE).shape == (1, 3, 512, 512)


@pytest.mark.usefixtures("added")
@pytest.mark.parametrize("spec", [m.judge for m in published_geometry.MEASURES if m.judge], ids=lambda spec: spec.name)
def test_a_judge_gives_the_same_bits_in_any_company(spec: object, portrait: NDArray[np.uint8]) -> None:
    judge = load_judge(spec, torch.device("cpu"))  # type: ignore[arg-type]
    frames = [portrait, np.ascontiguousarray(portrait[:, ::-1]), portrait[:300, 50:420].copy()]
    together = judge.features(frames, [FACE] * 3)
    for row, frame in enumerate(frames):
        alone = judge.features([frame], [FACE])
        assert all(np.array_equal(alone[key][0], together[key][row]) for key in alone)
    # Red and blue exchanged is another face: the trap of the field would show.
    swapped = judge.features([np.ascontiguousarray(portrait[..., ::-1])], [FACE])
    assert all(np.abs(swapped[key][0] - together[key][0]).max() > 1e-3 for key in swapped)


def test_the_published_formulas() -> None:
    random = np.random.default_rng(2)

    def features(n: int) -> dict[str, NDArray[np.float32]]:
        sizes = {"id": 80, "exp": 64, "angle": 3, "pose": 3, "logits": 198}
        return {name: random.normal(size=(n, size)).astype(np.float32) for name, size in sizes.items()}

    a, b = features(6), features(6)
    for row in range(6):
        swap = {name: value[row].astype(float) for name, value in a.items()}
        other = {name: value[row].astype(float) for name, value in b.items()}

        def l2(name: str, x: dict[str, NDArray[np.float64]] = swap, y: dict[str, NDArray[np.float64]] = other) -> float:
            return math.sqrt(sum((p - q) ** 2 for p, q in zip(x[name], y[name], strict=True)))

        assert distances.shape_coefficients(a, b)[row] == pytest.approx(l2("id"))
        assert distances.expression_coefficients(a, b)[row] == pytest.approx(l2("exp"))
        assert distances.angles_radians(a, b)[row] == pytest.approx(l2("angle"))
        assert distances.pose_degrees_plain(a, b)[row] == pytest.approx(l2("pose"))
        # ReliableSwap, of one row: sqrt(MSE * 66) / 2 of each angle's bins, and the mean of the three.
        angles = []
        for k in range(3):
            bins = slice(66 * k, 66 * k + 66)
            mse = float(np.mean((swap["logits"][bins] - other["logits"][bins]) ** 2))
            angles.append(math.sqrt(mse * 66) / 2)
        assert distances.pose_logits(a, b)[row] == pytest.approx(sum(angles) / 3)
    # Its expression: the root of the rows' mean square, which is not the mean that a table prints here.
    rows = distances.expression_coefficients(a, b)
    script = math.sqrt(float(np.mean((a["exp"].astype(float) - b["exp"]) ** 2)) * 64)
    assert script == pytest.approx(math.sqrt(float(np.mean(rows**2))))
    assert script > rows.mean()
