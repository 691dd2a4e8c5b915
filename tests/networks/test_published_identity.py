"""Recognisers with published weights: the layouts, the official code's numbers, and every judge's crop to the pixel."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import published_twins as twins
import pytest
import torch
from facenet_pytorch import MTCNN, InceptionResnetV1
from numpy.typing import NDArray
from PIL import Image
from skimage import data
from skimage.transform import SimilarityTransform
from torch import Tensor, nn
from torchvision import transforms

from mfim_bench.faces.detect import Detector, Face
from mfim_bench.measures.published_identity import MEASURES
from mfim_bench.networks.published import facenet, identity, ir, iresnet, reliableswap, sphere
from mfim_bench.plugins import resolve

HERE = Path(__file__).parent
CPU = torch.device("cpu")
GOLDEN = np.load(HERE / "official_published" / "golden.npz")
POINTS = np.array([[202.3, 106.1], [247.2, 104.9], [224.1, 138.4], [207.8, 161.2], [246.6, 160.1]])
"""Those of official_published/make.py."""

Load = Callable[[Path], nn.Module]
LAYOUTS: dict[str, tuple[twins.Layout, Load]] = {
    "irse50": (twins.ir(twins.BY_STAGE_50, excite=True, affine=True), ir.load_irse50),
    "curricularface": (twins.ir(twins.BY_STAGE_101, excite=False, affine=False), ir.load_curricularface),
    "iresnet50": (twins.iresnet(twins.BY_STAGE_50), iresnet.load_iresnet50),
    "iresnet100": (twins.iresnet(twins.BY_STAGE_101), iresnet.load_iresnet100),
    "sphere20": (twins.sphere20(6), sphere.load),
    "sphere20-square": (twins.sphere20(7), sphere.load_square),
}


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], nn.Module]:
    """Twins by name, read from files of the published layout; each is made once."""
    file, made = tmp_path_factory.mktemp("twins") / "twin.pth", dict[str, nn.Module]()

    def one(name: str) -> nn.Module:
        if name not in made:
            if name == "facenet":
                with torch.device("meta"):
                    official = InceptionResnetV1(classify=True, num_classes=8631).state_dict()
                layout, load = {key: tuple(value.shape) for key, value in official.items()}, facenet.load
            else:
                layout, load = LAYOUTS[name]
            torch.save(twins.fill(layout), file)
            made[name] = load(file)
            file.unlink()
        return made[name]

    return one


@pytest.fixture(scope="module")
def astronaut() -> NDArray[np.uint8]:
    return np.asarray(data.astronaut())


@pytest.fixture(scope="module")
def face(astronaut: NDArray[np.uint8]) -> Face:
    found = Detector("cpu").detect([astronaut])[0]
    assert found is not None
    return found


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


# ---- layouts and numbers


@pytest.mark.parametrize(
    ("name", "keys", "millions"),
    [
        ("irse50", 397, 43.8),
        ("curricularface", 672, 65.1),
        ("iresnet50", 475, 43.6),
        ("iresnet100", 925, 65.2),
        ("sphere20", 46, 22.7),
        ("sphere20-square", 46, 24.5),
    ],
)
def test_layouts_have_the_published_counts(name: str, keys: int, millions: float) -> None:
    layout = LAYOUTS[name][0]
    assert len(layout) == keys
    learned = [shape for key, shape in layout.items() if "running" not in key and "tracked" not in key]
    assert sum(np.prod(shape) for shape in learned) / 1e6 == pytest.approx(millions, abs=0.1)


@pytest.mark.parametrize(
    "name",
    [
        "irse50",
        "iresnet50",
        "sphere20",
        pytest.param("curricularface", marks=pytest.mark.slow),
        pytest.param("iresnet100", marks=pytest.mark.slow),
    ],
)
def test_networks_equal_the_official_code(name: str, network: Callable[[str], nn.Module]) -> None:
    with torch.inference_mode():
        said = network(name)(twins.picture(112, 96 if name == "sphere20" else 112)).numpy()
    wanted = GOLDEN[name]
    assert np.abs(said - wanted).max() <= 1e-5 * np.abs(wanted).max()


@pytest.mark.parametrize("name", ["curricularface", "iresnet100"])
def test_large_networks_have_the_layout(name: str) -> None:
    """As the slow test above, without the numbers."""
    with torch.device("meta"):
        own = (ir.CurricularFace() if name == "curricularface" else iresnet.IResNet((3, 13, 30, 3))).state_dict()
    assert {key: tuple(value.shape) for key, value in own.items()} == LAYOUTS[name][0]


def test_the_square_sphere_is_the_official_one_with_a_wider_last_layer(network: Callable[[str], nn.Module]) -> None:
    """Where the columns that only the square one has weigh nothing, both say the same."""
    square, narrow = network("sphere20-square"), network("sphere20")
    wide = twins.fill(twins.sphere20(6))["fc.weight"].reshape(512, 512, 7, 6)
    weight = torch.cat([wide, torch.zeros(512, 512, 7, 1)], 3)
    x = twins.picture(112, 112)
    with torch.inference_mode():
        maps = [torch.nn.Sequential(*(s.get_submodule(f"layer{k}") for k in (1, 2, 3, 4)))(x) for s in (square, narrow)]
        torch.testing.assert_close(maps[0], maps[1])
        assert maps[0].shape == (1, 512, 7, 7)
        torch.testing.assert_close(
            nn.functional.linear(maps[0].flatten(1), weight.flatten(1)),
            nn.functional.linear(maps[1][..., :6].flatten(1), wide.flatten(1)),
            rtol=1e-4,
            atol=1e-4,
        )


# ---- crops


def levels(view: Tensor) -> NDArray[np.float32]:
    """A view back in 8-bit levels, (h, w, 3)."""
    return np.asarray(view.permute(1, 2, 0) * 127.5 + 127.5)


@pytest.mark.parametrize(
    ("cut", "official"),
    [
        (identity.arcface, "insightface_crop"),
        (identity.treb1en, "treb1en_crop"),
        (identity.sphere_aligned, "survey_crop"),
    ],
)
def test_aligned_crops_equal_the_official_code(cut: identity.Cut, official: str, astronaut: NDArray[np.uint8]) -> None:
    five = Face(np.zeros(4, np.float32), POINTS.astype(np.float32), 1.0, 0)
    off = np.abs(levels(cut(astronaut, five)[0]) - GOLDEN[official])
    # The matrices are rounded differently: one level in one pixel of ten thousand.
    assert off.max() < 1.01
    assert (off > 0.5).mean() < 5e-4


def test_the_two_rules_of_alignment_differ(astronaut: NDArray[np.uint8], face: Face) -> None:
    off = np.abs(levels(identity.arcface(astronaut, face)[0]) - levels(identity.treb1en(astronaut, face)[0]))
    assert off.mean() > 0.5


def test_sphere_sees_the_mirror_image_second(astronaut: NDArray[np.uint8], face: Face) -> None:
    views = identity.sphere_aligned(astronaut, face)
    assert views.shape == (2, 3, 112, 96)
    assert torch.equal(views[1], views[0].flip(2))
    small = cv2.resize(astronaut, (64, 64))
    shrunk = Face(face.box / 8, face.points / 8, 1.0, 0)
    assert identity.sphere_aligned(small, shrunk).shape == (2, 3, 112, 96)  # cut at 64 px, stretched


signed = transforms.Compose([transforms.ToTensor(), transforms.Normalize([0.5] * 3, [0.5] * 3)])


def reference(name: str, image: NDArray[np.uint8]) -> Tensor:
    """The scripts' own chains, from torchvision's transforms."""
    if name == "whole":
        return nn.functional.interpolate(signed(image)[None], size=112, mode="bilinear", align_corners=True)
    if name == "metaswap":
        resized = transforms.Resize((224, 224))(Image.fromarray(image))
        return nn.functional.interpolate(signed(resized)[None], 112, mode="bilinear", align_corners=True)
    x = signed(Image.fromarray(cv2.resize(image, (112, 112))))[None]
    x = nn.AdaptiveAvgPool2d((256, 256))(x)[:, :, 35:223, 32:220]
    return nn.AdaptiveAvgPool2d((112, 112))(x)


@pytest.mark.parametrize("name", ["whole", "metaswap", "reface"])
def test_unaligned_crops_equal_the_scripts_chains(name: str, astronaut: NDArray[np.uint8]) -> None:
    cut = getattr(identity, name)
    for image in (astronaut, astronaut[:300, 100:500], astronaut[:90, :70]):
        torch.testing.assert_close(cut(image, None), reference(name, image), rtol=0, atol=1e-6)


@pytest.mark.parametrize("moved", [0, 190])  # the second time a part of the crop lies outside
def test_reliableswaps_crop_equals_its_scripts_chain(moved: int, astronaut: NDArray[np.uint8]) -> None:
    """skimage's similarity to the published template at 512 px, halved; black outside."""
    template = [[192.98138, 239.94708], [318.90277, 240.1936], [256.63416, 314.01935], [201.26117, 371.41043]]
    points = POINTS - [moved, 0]
    warp = SimilarityTransform.from_estimate(points, np.array([*template, [313.08905, 371.15118]]) * 0.5)
    image = np.ascontiguousarray(astronaut[:, moved:])
    wanted = cv2.warpAffine(image, warp.params[:2], (256, 256), borderValue=0.0)
    found = reliableswap.cut(image, Face(np.zeros(4, np.float32), points, 1.0, 0))
    off = np.abs(found.astype(int) - wanted)
    assert off.max() <= 1
    assert (off > 0).mean() < 5e-4
    assert (found[:, :40] == 0).all() == (moved > 0)
    chain = nn.functional.interpolate(signed(wanted)[None], 112, mode="bilinear", align_corners=True)
    view = identity.reliableswap(image, Face(np.zeros(4, np.float32), points, 1.0, 0))
    torch.testing.assert_close(view, chain, rtol=0, atol=2.01 / 255)


def test_facenet_cuts_as_its_own_package(astronaut: NDArray[np.uint8]) -> None:
    """The package finds, cuts and normalises by itself, told to search as our detector begins to."""
    package = MTCNN(image_size=160, margin=0, min_face_size=0.2 * 512)
    wanted = package(Image.fromarray(astronaut))
    found = Detector("cpu").detect([astronaut])[0]
    assert found is not None
    torch.testing.assert_close(identity.facenet_box(astronaut, found)[0], wanted, rtol=0, atol=1e-6)


# ---- judges


JUDGES: dict[str, tuple[str, identity.Cut, int]] = {
    "vggface2": ("facenet", identity.facenet_box, 512),
    "sphere20-casia": ("sphere20", identity.sphere_aligned, 1024),
    "sphere20-reliableswap": ("sphere20-square", identity.reliableswap, 512),
    "iresnet50": ("iresnet50", identity.arcface, 512),
    "arcface-irse50": ("irse50", identity.treb1en, 512),
    "irse50-reface-crop": ("irse50", identity.reface, 512),
    "irse50-metaswap": ("irse50", identity.metaswap, 512),
    "curricularface": ("curricularface", identity.treb1en, 512),
    "iresnet100": ("iresnet100", identity.arcface, 512),
}
LARGE = ("curricularface", "iresnet100")


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if name in LARGE else name for name in JUDGES]
)
def test_rows_stand_alone_and_repeat(
    name: str, network: Callable[[str], nn.Module], astronaut: NDArray[np.uint8], face: Face
) -> None:
    net, cut, width = JUDGES[name]
    judge = identity.IdentityJudge(network(net), cut, CPU)
    images = [astronaut, np.ascontiguousarray(astronaut[:, ::-1])]
    mirror = Face(face.box[[2, 1, 0, 3]] * [-1, 1, -1, 1] + np.array([511, 0, 511, 0]), face.points, 1.0, 0)
    both = judge.features(images, [face, mirror])["embedding"]
    assert both.shape == (2, width)
    assert both.dtype == np.float32
    alone = judge.features(images[1:], [mirror])["embedding"]
    assert np.array_equal(both[1], alone[0])
    assert not np.array_equal(both[0], both[1])
    with torch.inference_mode():  # the network's own batch, as a script would run it
        batch = network(net)(torch.cat([cut(image, f) for image, f in zip(images, [face, mirror], strict=True)]))
    wanted = batch.reshape(2, -1).numpy()
    assert np.abs(both - wanted).max() <= 1e-5 * np.abs(wanted).max()
    assert judge.features([], [])["embedding"].shape[0] == 0


TRAPS: dict[str, Callable[[Tensor], Tensor]] = {
    "BGR for RGB": lambda x: x.flip(1),
    "[0, 1] for [-1, 1]": lambda x: x / 2 + 0.5,
    "divided by 128": lambda x: x * 127.5 / 128,
    "ImageNet's mean and deviation": lambda x: ((x / 2 + 0.5) - 0.45) / 0.225,
}


@pytest.mark.parametrize("trap", TRAPS)
def test_traps_would_show(
    trap: str, network: Callable[[str], nn.Module], astronaut: NDArray[np.uint8], face: Face
) -> None:
    """Each trap of the field moves an embedding by far more than the tolerance of the tests above."""
    net, cut, _ = JUDGES["sphere20-casia"]
    right = identity.IdentityJudge(network(net), cut, CPU).features([astronaut], [face])["embedding"]
    wrong = identity.IdentityJudge(network(net), lambda i, f: TRAPS[trap](cut(i, f)), CPU)
    off = np.abs(wrong.features([astronaut], [face])["embedding"] - right).max() / np.abs(right).max()
    assert off > 1e-3


def test_the_trap_of_loose_loading_shows(network: Callable[[str], nn.Module]) -> None:
    """strict=False leaves random weights silently where a prefix hides every key; our reader does not."""
    state = {f"net.{key}": value for key, value in twins.fill(twins.sphere20(6)).items()}
    loose = sphere.Sphere20(6).eval()
    loose.load_state_dict(state, strict=False)
    with torch.inference_mode():
        said = loose(twins.picture(112, 96)).numpy()
    assert np.abs(said - GOLDEN["sphere20"]).max() > 1e-2 * np.abs(GOLDEN["sphere20"]).max()


def test_every_published_judge_can_be_built() -> None:
    """Factories resolve; a judge that reads no face says so, and so does one that is aligned by the target's."""
    judges = {m.judge.name: m.judge for m in MEASURES if m.judge}
    assert len(judges) == 9
    for judge in judges.values():
        assert callable(resolve(judge.factory))
    unaligned = {"irse50-reface-crop", "irse50-metaswap"}
    by_target = {"sphere20-casia", "sphere20-reliableswap"}
    assert {name for name, judge in judges.items() if not judge.needs_face} == unaligned
    assert {name for name, judge in judges.items() if judge.aligned_by == "target"} == by_target
