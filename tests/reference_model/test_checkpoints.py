"""Public checkpoints: the exact layouts, equality with the official code's outputs, the commands."""

from __future__ import annotations

import json
from argparse import Namespace
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import Fit
from official import recipe
from official.twins import twin
from torch import Tensor, nn

from mfim import config as configs
from mfim.checkpoints import irse, stylegan2
from mfim.checkpoints.conversion import export_gan, import_gan, load_body, load_recogniser
from mfim.checkpoints.files import open_checkpoint
from mfim.checkpoints.layout import Entry
from mfim.checkpoints.stylegan2 import NVLABS, ROSINALITY, Sizes
from mfim.config import Config
from mfim.data import Faces
from mfim.discriminator import Discriminator
from mfim.encoder import Body
from mfim.generator import Mapping, Synthesis
from mfim.supervision import Supervision
from mfim.training import gan, swap
from mfim.training.gan import build
from mfim.training.run import read
from mfim_bench.cli import run_command
from mfim_bench.errors import UsageError
from mfim_bench.networks.published.strict import compare

FULL = Sizes(1024, 32768, 512, 512, 8)
GOLDEN = Path(__file__).parent / "official"


def golden(name: str) -> dict[str, Tensor]:
    with np.load(GOLDEN / f"{name}.npz") as file:
        return {key: torch.from_numpy(file[key]) for key in file}


def close(found: Tensor, wanted: Tensor, tolerance: float = 1e-4) -> None:
    """Equal but for the order of float32 sums; 24 random IR-SE units amplify that a thousandfold."""
    assert found.shape == wanted.shape
    assert float((found - wanted).abs().max() / wanted.abs().max()) < tolerance


def sized(sizes: dict[str, int], base: int, limit: int) -> Config:
    values = {
        "size": sizes["size"],
        "channel_base": base,
        "discriminator_base": base,
        "channel_limit": limit,
        "z_size": sizes["latent"],
        "w_size": sizes["latent"],
        "mapping_layers": sizes["layers"],
        "map_dividers": [4, 8],
    }
    return configs.load("ffhq-1024", [f"model.{key}={value}" for key, value in values.items()])


# ---- layouts


@pytest.mark.parametrize(
    ("layout", "count", "numbers"),
    [
        (stylegan2.generator(ROSINALITY, FULL), 171, 30.37),
        (stylegan2.generator(NVLABS, FULL), 182, 30.37),
        (stylegan2.discriminator(ROSINALITY, FULL), 64, 29.01),
        (stylegan2.discriminator(NVLABS, FULL), 82, 29.01),
        (irse.recogniser(), 397, 43.8),
        (irse.psp_encoder(18), 621, 267),
    ],
)
def test_full_size_layouts_have_the_published_counts(layout: list[Entry], count: int, numbers: float) -> None:
    assert len({entry.name for entry in layout}) == len(layout) == count
    total = sum(np.prod(entry.shape) for entry in layout if entry.ours or "styles" in entry.name) / 1e6
    assert total == pytest.approx(numbers, rel=0.01)


def test_every_parameter_of_ours_but_the_maps_strengths_comes_from_the_file() -> None:
    synthesis = Synthesis(1024)
    mapping, discriminator = Mapping(synthesis.codes, 512, 512, 8), Discriminator(1024)
    generator = nn.ModuleDict({"mapping": mapping, "synthesis": synthesis}).state_dict()
    for kind in (ROSINALITY, NVLABS):
        for ours, layout in (
            (generator, stylegan2.generator(kind, FULL)),
            (discriminator.state_dict(), stylegan2.discriminator(kind, FULL)),
        ):
            filled = {entry.ours: entry.shape for entry in layout if entry.ours}
            assert {k for k in ours if not k.endswith("map_strength")} == filled.keys()
            assert all(ours[k].numel() == np.prod(shape) for k, shape in filled.items())


def test_diagnostic_gives_exact_counts_for_ir_se50_against_psps_encoder() -> None:
    file = {entry.name: torch.zeros(()).expand(entry.shape) for entry in irse.recogniser()}
    difference = compare(file, irse.psp_encoder(18))
    assert len(file) - len(difference.unexpected) == 385
    assert (len(difference.missing), len(difference.unexpected), difference.misshaped) == (236, 12, ())
    assert all(name.startswith("output_layer.") for name in difference.unexpected)
    assert str(difference).startswith("236 missing: styles.0.convs.0.weight, ")


@pytest.mark.parametrize("kind", [ROSINALITY, NVLABS])
@pytest.mark.parametrize(
    "sizes", [FULL, Sizes(64, 16384, 512, 512, 8), Sizes(32, 256, 32, 16, 4), Sizes(8, 64, 8, 8, 2)]
)
def test_sizes_are_read_from_the_tensors(kind: str, sizes: Sizes) -> None:
    def empty(layout: list[Entry]) -> dict[str, Tensor]:
        return {entry.name: torch.empty(entry.shape, device="meta") for entry in layout}

    found = stylegan2.generator_sizes(kind, empty(stylegan2.generator(kind, sizes)))
    assert found is not None
    assert found.same(sizes)
    found = stylegan2.discriminator_sizes(kind, empty(stylegan2.discriminator(kind, sizes)))
    assert found is not None
    assert (found.size, found.channels) == (sizes.size, sizes.channels)


# ---- equality with the official code


def drawn(state: dict[str, Any], config: Config, z: Tensor, noise: list[Tensor]) -> Tensor:
    """The image of imported weights, with the file's constant noise given as style maps."""
    mapping, synthesis, _ = build(config)
    mapping.load_state_dict(state["mapping_ema"])
    synthesis.load_state_dict(state["synthesis_ema"])
    layers = [k for k, code in enumerate(synthesis.codes) if code.kind != "rgb"]
    maps = {}
    with torch.no_grad():
        for k, image in zip(layers, noise, strict=True):
            layer = synthesis.layers[k]
            layer.map_strength.copy_(layer.noise_strength)
            maps[k] = image.expand(z.shape[0], -1, -1, -1)
        image: Tensor = synthesis(mapping(z), maps)
        return image


def logits(state: dict[str, Any], config: Config, pictures: int) -> Tensor:
    discriminator = build(config)[2]
    discriminator.load_state_dict(state["discriminator"])
    with torch.no_grad():
        found: Tensor = discriminator(recipe.pictures(pictures, config.model.size))
        return found


def test_rosinality_equals_the_official_code_and_comes_back(tmp_path: Path) -> None:
    sizes = recipe.ROSINALITY
    base = 16384 * sizes["channel_multiplier"]
    config = sized(sizes, base, 512)
    of = Sizes(sizes["size"], base, 512, sizes["latent"], sizes["layers"])
    g, d = twin(stylegan2.generator(ROSINALITY, of)), twin(stylegan2.discriminator(ROSINALITY, of))
    file = tmp_path / "public.pt"
    # What their train.py adds is read over: options, and the state of the optimisers.
    more = {"latent_avg": torch.zeros(512), "g_optim": {"state": {0: g["input.input"]}}, "args": Namespace(size=64)}
    torch.save({"g_ema": g, "d": d, **more}, file)
    import_gan(file, config, tmp_path)
    state, wanted = read(tmp_path / "gan.pt"), golden("rosinality")
    noise = [g[f"noises.noise_{k}"] for k in range(9)]
    close(drawn(state, config, recipe.numbers("z", (1, 512)), noise), wanted["image"])
    close(logits(state, config, sizes["pictures"]), wanted["logits"])

    assert "channel_multiplier=1" in export_gan(tmp_path / "gan.pt", config, tmp_path / "back.pt")
    back = torch.load(tmp_path / "back.pt", weights_only=True)
    assert {k: v.shape for k, v in back["g_ema"].items()} == {k: v.shape for k, v in g.items()}
    assert all(torch.equal(v, g[k]) for k, v in back["g_ema"].items() if not k.startswith("noises."))
    assert back["d"].keys() == d.keys()
    assert all(torch.equal(v, d[k]) for k, v in back["d"].items())
    assert back["latent_avg"].shape == (512,)
    assert not open_checkpoint(tmp_path / "back.pt").networks[0].difference()


def test_nvlabs_equals_the_official_code(tmp_path: Path, persistence: Callable[..., bytes]) -> None:
    sizes = recipe.NVLABS
    config = sized(sizes, sizes["base"], sizes["limit"])
    of = Sizes(sizes["size"], sizes["base"], sizes["limit"], sizes["latent"], sizes["layers"])
    g, d = twin(stylegan2.generator(NVLABS, of)), twin(stylegan2.discriminator(NVLABS, of))
    file = tmp_path / "public.pkl"
    file.write_bytes(persistence({"G": g, "D": d, "G_ema": g}))
    import_gan(file, config, tmp_path)
    state, wanted = read(tmp_path / "gan.pt"), golden("nvlabs")
    names = [f"b{r}.{c}" for r in (4, 8, 16, 32) for c in ("conv0", "conv1") if (r, c) != (4, "conv0")]
    noise = [g[f"synthesis.{name}.noise_const"][None, None] for name in names]
    close(drawn(state, config, recipe.numbers("z", (2, sizes["latent"])), noise), wanted["image"])
    close(logits(state, config, sizes["pictures"]), wanted["logits"])


@pytest.fixture(scope="module")
def irse50(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A twin of ``model_ir_se50.pth``."""
    file = tmp_path_factory.mktemp("irse") / "model_ir_se50.pth"
    torch.save(twin(irse.recogniser()), file)
    yield file
    file.unlink()


def test_ir_se50_equals_the_official_code(irse50: Path) -> None:
    wanted = golden("irse50")
    body = Body(irse.WIDTHS, irse.UNITS)
    load_body(body, irse50)
    with torch.no_grad():
        for tap, index in zip(body.eval()(recipe.pictures(1, 32))[2:], (6, 20, 23), strict=True):
            close(tap, wanted[f"tap{index}"], 2e-3)
        recogniser = load_recogniser(irse50, torch.device("cpu"))
        close(recogniser.network(recipe.pictures(2, 112)), wanted["embedding"], 2e-3)
        crops = recipe.pictures(2, 256) * 0.1 + 0.5
        found = recogniser(crops)
        torch.testing.assert_close(found.norm(dim=1), torch.ones(2))
        # pSp's crop, written out; other sizes see the same part.
        pooled = nn.AdaptiveAvgPool2d((112, 112))((crops * 2 - 1)[:, :, 35:223, 32:220])
        torch.testing.assert_close(found, recogniser.network(pooled), rtol=1e-4, atol=1e-6)
        larger = recogniser(crops.repeat_interleave(4, 2).repeat_interleave(4, 3))
        torch.testing.assert_close(found, larger, rtol=1e-3, atol=1e-4)
        assert recogniser(crops[..., ::4, ::4]).shape == (2, 512)


# ---- in use


def test_an_imported_generator_trains_on_in_both_stages(
    tiny: Config, data: Faces, supervision: Supervision, tmp_path: Path
) -> None:
    of, critic = Sizes.generator(tiny.model), Sizes.discriminator(tiny.model)
    g, d = twin(stylegan2.generator(ROSINALITY, of)), twin(stylegan2.discriminator(ROSINALITY, critic))
    file = tmp_path / "public.pt"
    torch.save({"g_ema": g}, file)
    assert "no discriminator" in import_gan(file, tiny, tmp_path / "alone")
    with pytest.raises(UsageError, match="give another --out"):
        import_gan(file, tiny, tmp_path / "alone")
    torch.save({"g_ema": g, "g": {k: v + 1 for k, v in g.items() if "kernel" not in k}, "d": d}, file)
    import_gan(file, tiny, tmp_path)
    model, discriminator = swap.start(tiny, tmp_path / "gan.pt")
    assert torch.equal(model.synthesis.constant, g["input.input"])
    assert torch.equal(discriminator.output.weight, d["final_linear.1.weight"])
    mapping = build(tiny)[0]
    mapping.load_state_dict(read(tmp_path / "gan.pt")["mapping_ema"])
    means = [mean for block in model.encoder.to_code.values() for mean in block.mean]
    assert all(torch.equal(a, b) for a, b in zip(means, mapping.mean_codes(), strict=True))
    training, held_out = data.split(0.3)
    done = swap.train(
        tiny, training, held_out, tmp_path, tmp_path / "gan.pt", steps=1, device="cpu", supervision=supervision
    )
    assert read(done)["step"] == 1
    assert torch.equal(read(tmp_path / "gan.pt")["synthesis"]["constant"], g["input.input"] + 1)
    assert read(gan.train(tiny, data, tmp_path, steps=2, resume=True, device="cpu"))["step"] == 2
    with pytest.raises(UsageError, match="no checkpoint of stage one"):
        export_gan(done, tiny, tmp_path / "back.pt")


def test_mean_codes_are_the_mean_of_codes(tiny: Config) -> None:
    mapping = build(tiny)[0]
    z = torch.randn(64, tiny.model.z_size, generator=torch.Generator().manual_seed(5))
    for mean, code in zip(mapping.mean_codes(64, 5), mapping(z), strict=True):
        torch.testing.assert_close(mean, code.mean(0), rtol=1e-4, atol=1e-5)


def test_encoder_body_and_recogniser_from_ir_se50(
    tiny: Config, data: Faces, little: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = gan.train(tiny, data, tmp_path, steps=0, device="cpu")
    model, _ = swap.start(tiny, first, little)
    file = torch.load(little, weights_only=True)
    assert all(torch.equal(value, file[key]) for key, value in model.encoder.body.state_dict().items())
    wide = tiny.model_copy(update={"model": tiny.model.model_copy(update={"body_units": (1, 1, 1, 2)})})
    with pytest.raises(UsageError, match="other widths or units"):
        swap.start(wide, gan.train(wide, data, tmp_path / "wide", steps=0, device="cpu"), little)
    monkeypatch.setattr("mfim.supervisors.load", lambda *_: Fit())
    settings = tiny.swap.model_copy(update={"recogniser": f"irse50:{little}"})
    supervision = Supervision.load(settings, 64, torch.device("cpu"), "float32")
    seen, layers = supervision.look(torch.zeros(1, 3, 64, 64))
    assert seen.embedding.shape == (1, 512)
    assert all(len(layers) == len(supervision.layers(torch.zeros(1, 3, 64, 64))) > 0 for _ in range(2))
    with pytest.raises(UsageError, match="no checkpoint"):
        Supervision.load(
            tiny.swap.model_copy(update={"recogniser": "irse50:/none.pth"}), 64, torch.device("cpu"), "float32"
        )


@pytest.mark.usefixtures("little")
def test_psp_gives_its_body_and_its_generator(tiny: Config, tmp_path: Path) -> None:
    encoder = twin(irse.psp_encoder(8))
    decoder = twin(stylegan2.generator(ROSINALITY, Sizes.generator(tiny.model)))
    named = {f"encoder.{k}": v for k, v in encoder.items()} | {f"decoder.{k}": v for k, v in decoder.items()}
    file = tmp_path / "psp.pt"
    torch.save({"state_dict": named, "opts": {"output_size": 32}, "latent_avg": torch.zeros(8, 512)}, file)
    import_gan(file, tiny, tmp_path)
    assert torch.equal(read(tmp_path / "gan.pt")["synthesis_ema"]["constant"], decoder["input.input"])
    body = Body(irse.WIDTHS, irse.UNITS)
    load_body(body, file)
    assert all(torch.equal(value, encoder[key]) for key, value in body.state_dict().items())
    with pytest.raises(UsageError, match="holds no IR-SE50, but psp"):
        load_recogniser(file, torch.device("cpu"))


def test_commands(tiny: Config, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = tmp_path / "tiny.toml"
    text = {"model": tiny.model, "gan": tiny.gan, "swap": tiny.swap}
    lines = [f"{k} = {json.dumps(v)}" for k, v in tiny.model_dump(mode="json").items() if k not in text]
    for part, values in text.items():
        lines.append(f"[{part}]")
        plain = values.model_dump(mode="json")
        weights = plain.pop("weights", None)
        lines += [f"{k} = {json.dumps(v)}" for k, v in plain.items()]
        lines += ["[swap.weights]", *(f"{k} = {v}" for k, v in weights.items())] if weights else []
    settings.write_text("\n".join(lines))
    g = twin(stylegan2.generator(ROSINALITY, Sizes.generator(tiny.model)))
    file, out = tmp_path / "public.pt", tmp_path / "out"
    torch.save({"g_ema": g, "latent_avg": torch.zeros(8)}, file)
    assert run_command(["weights", "inspect", str(file)]) == 0
    said = capsys.readouterr().out
    assert "StyleGAN2, rosinality's layout" in said
    assert "g_ema (generator): 69 keys" in said
    assert "complete" in said
    assert "latent_avg: 1 tensors, not read" in said
    common = ["train", "mfim", "--config", str(settings), "--out", str(out)]
    assert run_command([*common, "--import", str(file)]) == 2
    assert "give --stage gan" in capsys.readouterr().err
    assert run_command([*common, "--stage", "gan", "--import", str(file)]) == 0
    assert run_command([*common, "--stage", "gan", "--export", str(tmp_path / "back.pt")]) == 0
    assert "not its own" in capsys.readouterr().out
    del g["conv1.activate.bias"]
    torch.save({"g_ema": g}, file)
    assert run_command(["weights", "inspect", str(file), "--json"]) == 1
    (row,) = json.loads(capsys.readouterr().out)["networks"]
    assert row["missing"] == ["conv1.activate.bias"]
    assert run_command(["weights", "inspect", str(file), "--config", "ffhq-256"]) == 1
    assert "mis-shaped" in capsys.readouterr().out
