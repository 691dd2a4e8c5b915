"""LPIPS, Inception and CLIP on random weights of the published layouts: loading, equality, frames, traps."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace

import lpips
import numpy as np
import pytest
import pytorch_fid.inception
import torch
import torchvision
from numpy.typing import NDArray
from PIL import Image
from published_twins import fill
from skimage import data
from torch import Tensor, nn
from torch_fidelity import FeatureExtractorInceptionV3
from torch_fidelity.feature_extractor_clip import CLIPVisual
from torchvision import transforms
from torchvision.models.vgg import cfgs, make_layers

from mfim_bench import weights
from mfim_bench.errors import UsageError
from mfim_bench.measure import JudgeSpec
from mfim_bench.measures import distances, published_images
from mfim_bench.networks.published import inception
from mfim_bench.networks.published import lpips as ours
from mfim_bench.plugins import load_judge, registry, resolve

Layout = list[tuple[str, tuple[int, ...]]]
ALEX = ((0, 64, 3, 11), (3, 192, 64, 5), (6, 384, 192, 3), (8, 256, 384, 3), (10, 256, 256, 3))
VGG_AT = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)
VGG_WIDTHS = (3, 64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512)
VGG = tuple((at, VGG_WIDTHS[n + 1], VGG_WIDTHS[n], 3) for n, at in enumerate(VGG_AT))
CLASSIFIERS = {"alex": ((1, 4096, 9216), (4, 4096, 4096), (6, 1000, 4096)),
               "vgg": ((0, 4096, 25088), (3, 4096, 4096), (6, 1000, 4096))}  # fmt: skip
FILES = {
    "lpips-alexnet": "alexnet-owt-7be5be79.pth",
    "lpips-vgg16": "vgg16-397923af.pth",
    "inception-fid": "pt_inception-2015-12-05-6726825d.pth",
    "clip-vit-b32": "vit_base_patch32_clip_224.openai.safetensors",
}


def trunk_layout(net: str) -> tuple[Layout, Layout]:
    """torchvision's AlexNet or VGG-16, written out: the convolutions, and the classifier, which LPIPS does not use."""
    layers = ALEX if net == "alex" else VGG
    features = [(f"features.{at}.{part}", shape) for at, out, ins, side in layers
                for part, shape in (("weight", (out, ins, side, side)), ("bias", (out,)))]  # fmt: skip
    classifier = [(f"classifier.{at}.{part}", shape) for at, out, ins in CLASSIFIERS[net]
                  for part, shape in (("weight", (out, ins)), ("bias", (out,)))]  # fmt: skip
    return features, classifier


def inception_layout() -> Layout:
    """torchvision's Inception v3 of 1,008 classes; FID's file was made from TensorFlow's and has no counters."""
    with torch.device("meta"):
        network = torchvision.models.inception_v3(num_classes=1008, aux_logits=False, init_weights=False)
    return [(n, tuple(v.shape)) for n, v in network.state_dict().items() if not n.endswith("num_batches_tracked")]


def clip_layout() -> Layout:
    """timm's ViT-B/32 with a norm before the blocks, written out."""
    layout: Layout = [("cls_token", (1, 1, 768)), ("pos_embed", (1, 50, 768)),
                      ("patch_embed.proj.weight", (768, 3, 32, 32))]  # fmt: skip
    norms = ["norm_pre", *(f"blocks.{n}.norm{k}" for n in range(12) for k in (1, 2)), "norm"]
    layout += [(f"{norm}.{part}", (768,)) for norm in norms for part in ("weight", "bias")]
    linear = {"attn.qkv": (2304, 768), "attn.proj": (768, 768), "mlp.fc1": (3072, 768), "mlp.fc2": (768, 3072)}
    linears = [(f"blocks.{n}.{name}", shape) for n in range(12) for name, shape in linear.items()]
    for name, (out, ins) in [*linears, ("head", (512, 768))]:
        layout += [(f"{name}.weight", (out, ins)), (f"{name}.bias", (out,))]
    return layout


def hollow(layout: Layout) -> dict[str, Tensor]:
    """Of the layout's shapes; all numbers are one zero, so the file is small."""
    return {name: torch.zeros(()).expand(shape) for name, shape in layout}


LAYOUTS: Mapping[str, Callable[[], Layout]] = {
    "lpips-alexnet": lambda: [*trunk_layout("alex")[0], *trunk_layout("alex")[1]],
    "lpips-vgg16": lambda: [*trunk_layout("vgg")[0], *trunk_layout("vgg")[1]],
    "inception-fid": inception_layout,
    "clip-vit-b32": clip_layout,
}


def statistics(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Batch norms' statistics on photographs. With drawn ones, 48 layers of ReLU forget what the picture was."""
    with torch.device("meta"):
        network = torchvision.models.inception_v3(num_classes=1008, aux_logits=False, init_weights=False)
    network.load_state_dict(state, strict=False, assign=True)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum, module.num_batches_tracked = 1.0, torch.tensor(0)
    photographs = (data.astronaut()[:299, 100:399], data.chelsea()[:299, 100:399])
    with torch.no_grad():
        network.train()(torch.stack([torch.from_numpy(x.copy()).permute(2, 0, 1) / 127.5 - 1 for x in photographs]))
    return {name: value for name, value in network.state_dict().items() if "running" in name}


@pytest.fixture(scope="session")
def states() -> dict[str, dict[str, Tensor]]:
    """Random weights of each file."""
    made = {name: fill(dict(LAYOUTS[name]())) for name in ("inception-fid", "clip-vit-b32")}
    made["inception-fid"] |= statistics(made["inception-fid"])
    # As CLIP's head stands in timm's file: the projection has no offset.
    made["clip-vit-b32"]["head.bias"] = torch.zeros(512)
    for name, net in (("lpips-alexnet", "alex"), ("lpips-vgg16", "vgg")):
        features, classifier = trunk_layout(net)
        made[name] = fill(dict(features)) | hollow(classifier)
    return made


@pytest.fixture(scope="session")
def folder(states: dict[str, dict[str, Tensor]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    from safetensors.torch import save_file

    made = tmp_path_factory.mktemp("published")
    for name, file in FILES.items():
        save_file(states[name], made / file) if file.endswith("safetensors") else torch.save(states[name], made / file)
    return made


@pytest.fixture
def added(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """All files in the catalogue's cache; their hashes are not the owners'."""
    (tmp_path / "weights").mkdir()
    for file in folder.iterdir():
        (tmp_path / "weights" / file.name).symlink_to(file)
    monkeypatch.setenv(weights.CACHE_VARIABLE, str(tmp_path))
    monkeypatch.setattr(weights, "problem", lambda spec: "")
    yield
    weights._checked.cache_clear()


@pytest.fixture(scope="session")
def frames() -> list[NDArray[np.uint8]]:
    """Photographs of two sizes, neither of them any network's."""
    astronaut, cat = np.asarray(data.astronaut(), np.uint8), np.asarray(data.chelsea(), np.uint8)
    return [np.ascontiguousarray(astronaut[:400, 50:410]), np.ascontiguousarray(cat)]


def judge(spec: JudgeSpec) -> inception.FrameJudge | ours.PerceptualJudge:
    found = load_judge(spec, torch.device("cpu"))
    assert isinstance(found, inception.FrameJudge | ours.PerceptualJudge)
    return found


def test_layouts_have_the_published_counts() -> None:
    assert {name: len(layout()) for name, layout in LAYOUTS.items()} == {
        "lpips-alexnet": 16, "lpips-vgg16": 32, "inception-fid": 472, "clip-vit-b32": 153,
    }  # fmt: skip


# -- equality with independent implementations ------------------------------------------------------------------------


def torch_fidelity_frame(folder: Path, image: NDArray[np.uint8]) -> Tensor:
    theirs = FeatureExtractorInceptionV3("x", ["2048"], feature_extractor_weights_path=folder / FILES["inception-fid"])
    return theirs(torch.from_numpy(image.copy()).permute(2, 0, 1)[None])[0]


def pytorch_fid_network(state: dict[str, Tensor], monkeypatch: pytest.MonkeyPatch) -> nn.Module:
    monkeypatch.setattr(pytorch_fid.inception, "load_state_dict_from_url", lambda url, progress: state)
    network: nn.Module = pytorch_fid.inception.InceptionV3([3]).eval()
    return network


@pytest.mark.usefixtures("added")
def test_inception_equals_torch_fidelity(folder: Path, frames: list[NDArray[np.uint8]]) -> None:
    network = judge(published_images.INCEPTION)
    for image in frames:
        theirs = torch_fidelity_frame(folder, image).numpy()
        assert np.abs(network.features([image], [])["frame"] - theirs).max() < 1e-5 * np.abs(theirs).max()


@pytest.mark.usefixtures("added")
@pytest.mark.parametrize("survey", [False, True], ids=["pytorch-fid", "casia"])
def test_inception_equals_pytorch_fid_and_the_surveys_script(
    survey: bool,
    states: dict[str, dict[str, Tensor]],
    frames: list[NDArray[np.uint8]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    spec = published_images.INCEPTION_CASIA if survey else published_images.INCEPTION_PYTORCH_FID
    seen = judge(spec).features(frames, [])["frame"]
    resize = [transforms.Resize((256, 256))] if survey else []  # the survey's fid_score.py; else pytorch-fid's own
    prepare = transforms.Compose([*resize, transforms.ToTensor()])
    network = pytorch_fid_network(states["inception-fid"], monkeypatch)
    with torch.no_grad():
        for row, image in zip(seen, frames, strict=True):
            theirs = network(prepare(Image.fromarray(image))[None])[0].flatten().numpy()
            assert np.abs(row - theirs).max() < 1e-5 * np.abs(theirs).max()


def as_openai(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """OpenAI's layout of the same weights."""
    names = (("blocks.", "transformer.resblocks."), ("attn.qkv.", "attn.in_proj_"), ("attn.proj.", "attn.out_proj."),
             ("mlp.fc1", "mlp.c_fc"), ("mlp.fc2", "mlp.c_proj"), ("norm_pre", "ln_pre"), (".norm1", ".ln_1"),
             (".norm2", ".ln_2"), ("patch_embed.proj", "conv1"))  # fmt: skip
    made = {"class_embedding": state["cls_token"][0, 0], "positional_embedding": state["pos_embed"][0],
            "proj": state["head.weight"].T, "ln_post.weight": state["norm.weight"],
            "ln_post.bias": state["norm.bias"]}  # fmt: skip
    for name, value in state.items():
        if name not in ("cls_token", "pos_embed", "head.weight", "head.bias", "norm.weight", "norm.bias"):
            for one, other in names:
                name = name.replace(one, other)
            made[name] = value
    return made


@pytest.mark.usefixtures("added")
def test_clip_equals_openais_module(states: dict[str, dict[str, Tensor]], frames: list[NDArray[np.uint8]]) -> None:
    with torch.device("meta"):
        network = CLIPVisual(512, 224, 12, 768, 32).visual  # torch-fidelity's copy of OpenAI's
    network.load_state_dict(as_openai(states["clip-vit-b32"]), assign=True)
    prepare = transforms.Compose(
        [
            transforms.Resize(224, interpolation=Image.Resampling.BICUBIC),
            transforms.CenterCrop(224),
            lambda image: image.convert("RGB"),
            transforms.ToTensor(),
            transforms.Normalize((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)),
        ]
    )
    with torch.no_grad():
        theirs = network(torch.stack([prepare(Image.fromarray(image)) for image in frames])).numpy()
    seen = judge(published_images.CLIP).features(frames, [])["frame"]
    assert np.abs(seen - theirs).max() < 1e-5 * np.abs(theirs).max()


def package_lpips(net: str, state: dict[str, Tensor], monkeypatch: pytest.MonkeyPatch) -> nn.Module:
    """The package's network with the trunk of the file."""
    layers = make_layers(cfgs["D"], batch_norm=False)  # or torchvision would draw the classifier's 500 MB
    with monkeypatch.context() as patch:
        patch.setattr(lpips.pretrained_networks.tv, "vgg16", lambda pretrained: SimpleNamespace(features=layers))
        network: nn.Module = lpips.LPIPS(net=net, version="0.1", pnet_rand=True, verbose=False)
    trunk = network.net
    assert isinstance(trunk, nn.Module)
    file = {re.sub(r"slice\d", "features", name): name for name in trunk.state_dict()}
    trunk.load_state_dict({name: state[there] for there, name in file.items()})
    return network


@pytest.mark.usefixtures("added")
@pytest.mark.parametrize("net", ["alex", "vgg"])
def test_lpips_equals_the_package(
    net: str,
    states: dict[str, dict[str, Tensor]],
    frames: list[NDArray[np.uint8]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    name = {"alex": "lpips-alexnet", "vgg": "lpips-vgg16"}[net]
    network = package_lpips(net, states[name], monkeypatch)
    squares = [np.asarray(Image.fromarray(frame).resize((256, 256), Image.Resampling.BILINEAR)) for frame in frames]
    one, other = (torch.from_numpy(square.copy()).permute(2, 0, 1)[None] / 255 for square in squares)
    with torch.no_grad():
        theirs = float(network(one, other, normalize=True))
    spec = published_images.LPIPS_ALEX if net == "alex" else published_images.LPIPS_VGG
    a, b = (judge(spec).features([frame], []) for frame in frames)
    assert distances.lpips(a, b)[0] == pytest.approx(theirs, rel=1e-5, abs=1e-5)
    assert theirs > 0.01
    assert distances.lpips(a, a)[0] == 0
    if net == "vgg":
        return  # slow
    # Traps: other channels first, [0, 1] for [-1, 1], and the first version, which did not scale its input.
    with torch.no_grad():
        swapped = float(network(one.flip(1), other.flip(1), normalize=True))
        unsigned = float(network(one, other))
        network.version = "0.0"
        unscaled = float(network(one, other, normalize=True))
    assert min(abs(value / theirs - 1) for value in (swapped, unsigned, unscaled)) > 1e-3


def test_no_head_of_the_package_is_negative() -> None:
    for net in ("alex", "vgg"):
        assert all((head >= 0).all() and head.any() for head in weights.load(ours.HEADS / f"{net}.pth").values())


# -- batches, repetition, traps ---------------------------------------------------------------------------------------

SPECS = [published_images.LPIPS_ALEX, published_images.LPIPS_VGG, published_images.INCEPTION,
         published_images.INCEPTION_PYTORCH_FID, published_images.INCEPTION_CASIA, published_images.CLIP]  # fmt: skip


@pytest.mark.usefixtures("added")
@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.name)
def test_a_row_has_the_same_bits_in_any_company(spec: JudgeSpec, frames: list[NDArray[np.uint8]]) -> None:
    network = judge(spec)
    (key, together), = network.features([frames[1], frames[0], frames[1]], []).items()  # fmt: skip
    alone = [network.features([image], [])[key][0] for image in frames]
    assert together.dtype == np.float32
    for row, wanted in zip(together, (alone[1], alone[0], alone[1]), strict=True):
        assert np.array_equal(row, wanted)


@pytest.mark.usefixtures("added")
@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.name)
def test_blue_first_is_another_picture(spec: JudgeSpec, frames: list[NDArray[np.uint8]]) -> None:
    network = judge(spec)
    rows = [next(iter(network.features([image], []).values())) for image in (frames[0], frames[0][..., ::-1])]
    assert np.abs(rows[0] - rows[1]).max() > 1e-3 * np.abs(rows[0]).max()


def test_what_the_ways_to_299_pixels_are(frames: list[NDArray[np.uint8]]) -> None:
    """TensorFlow samples from the corner, torch from the centre; the survey blurs first. All end in [-1, 1]."""
    made = [prepare(frames[0]) for prepare in (inception.tensorflow, inception.pytorch_fid, inception.casia)]
    for x in made:
        assert x.shape == (1, 3, 299, 299)
        assert -1 <= x.min() < -0.9
        assert 0.9 < x.max() <= 1
    assert (made[0] - made[1]).abs().mean() > 0.01
    assert (made[1] - made[2]).abs().mean() > 0.005
    white = np.full((300, 300, 3), 255, np.uint8)
    assert inception.tensorflow(white).max() == pytest.approx(127 / 128)
    assert inception.pytorch_fid(white).max() == 1


# -- files ----------------------------------------------------------------------------------------------------


class Touch:
    """A pickle that would run code."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Path.touch, (self.path,)


def loader(name: str) -> Callable[[Path], nn.Module]:
    spec = registry().weights.named(name)
    assert spec.filename == FILES[name]
    found: Callable[[Path], nn.Module] = resolve(spec.loader)
    return found


@pytest.mark.parametrize("name", FILES)
def test_spoiled_files_are_refused_in_one_line(name: str, tmp_path: Path) -> None:
    load, whole = loader(name), hollow(LAYOUTS[name]())
    key, path = list(whole)[4], tmp_path / "file.pth"
    spoiled: dict[str, tuple[dict[str, object], str]] = {
        "missing": ({n: v for n, v in whole.items() if n != key}, f"1 missing: {key}"),
        "extra": (whole | {"surplus": torch.zeros(1)}, "1 unexpected: surplus"),
        "shape": (whole | {key: torch.zeros(7, 1)}, f"1 mis-shaped: {key} (7, 1) for {tuple(whole[key].shape)}"),
        "nan": (whole | {key: torch.full(whole[key].shape, torch.nan)}, key),
        "code": ({**whole, "code": Touch(tmp_path / "ran")}, "nothing was run"),
    }
    for state, words in spoiled.values():
        torch.save(state, path)
        with pytest.raises(UsageError) as caught:
            load(path)
        assert words in str(caught.value)
        assert "\n" not in str(caught.value)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("name", [name for name in FILES if name != "lpips-vgg16"])  # 550 MB; read as AlexNet's is
def test_a_prefix_and_half_precision_are_taken(name: str, tmp_path: Path) -> None:
    load, whole = loader(name), hollow(LAYOUTS[name]())
    key = next(iter(whole))
    whole[key] = fill({key: tuple(whole[key].shape)})[key].half()
    torch.save({f"module.{n}": v.half() for n, v in whole.items()}, tmp_path / "file.pth")
    network = load(tmp_path / "file.pth")
    values = list(network.parameters())
    assert {value.dtype for value in values} == {torch.float32}
    assert any(value.shape == whole[key].shape and torch.equal(value, whole[key].float()) for value in values)
    assert not network.training


def test_inceptions_file_may_have_counters(states: dict[str, dict[str, Tensor]], tmp_path: Path) -> None:
    whole = hollow(inception_layout())
    counters = {n.replace("running_var", "num_batches_tracked"): torch.tensor(0) for n in whole if "running_var" in n}
    torch.save(whole | counters, tmp_path / "file.pth")
    loader("inception-fid")(tmp_path / "file.pth")
