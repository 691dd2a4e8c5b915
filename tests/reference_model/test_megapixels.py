"""What it takes to train and swap at 256 and 1024 px: folders of photographs, estimates, one swap."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from mfim import config
from mfim.config import Config
from mfim.data import Sampler
from mfim.discriminator import Discriminator
from mfim.folders import FolderImages, open_folder
from mfim.model import MFIM
from mfim.supervision import Supervision
from mfim.training import gan, swap
from mfim.training.estimate import estimate, kept
from mfim.training.run import read
from mfim_bench.cli import run_command
from mfim_bench.errors import UsageError
from mfim_bench.media.images import write_image


def write_photographs(folder: Path, names: list[str], side: int) -> None:
    random = np.random.default_rng(0)
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        coarse = random.integers(0, 255, (4, 4, 3), dtype=np.uint8)
        write_image(folder / name, cv2.resize(coarse, (side, side), interpolation=cv2.INTER_CUBIC))


@pytest.fixture
def ffhq(tmp_path: Path) -> Path:
    """FFHQ's own layout, in small."""
    write_photographs(tmp_path / "ffhq", [f"images1024x1024/{k // 5:02d}000/{k:05d}.png" for k in range(12)], 64)
    write_photographs(tmp_path / "ffhq", ["thumbnails128x128/00000/00000.png"], 16)
    (tmp_path / "ffhq" / "LICENSE.txt").write_text("")
    return tmp_path / "ffhq"


def test_ffhqs_folder_is_read_in_order_and_decoded_on_demand(ffhq: Path) -> None:
    faces = open_folder(ffhq, 32)
    assert isinstance(faces.images, FolderImages)
    assert faces.images.shape == (12, 32, 32, 3)
    assert faces.identity.tolist() == list(range(12))
    seventh = cv2.imread(str(ffhq / "images1024x1024" / "01000" / "00007.png"), cv2.IMREAD_COLOR_RGB)
    halved = seventh.reshape(32, 2, 32, 2, 3).astype(float).mean((1, 3))
    assert np.abs(faces.images[7] - halved).max() <= 0.5
    plain, mirrored = faces.batch(np.array([14, 15]))
    torch.testing.assert_close(plain.flip(-1), mirrored)
    training, held_out = faces.split(0.25)
    assert (len(training), len(held_out)) == (9, 3)
    assert (held_out.images[0] == faces.images[9]).all()
    # A pair of one identity is the image with itself or its mirror.
    drawn = Sampler(training.identity, 0).pairs(0, 40, 20)
    assert (drawn.source[:20] // 2 == drawn.target[:20] // 2).all()
    assert (drawn.source[20:] // 2 != drawn.target[20:] // 2).all()
    assert (drawn.source[:20] != drawn.target[:20]).any()
    # The key is of what is read.
    assert open_folder(ffhq, 64).key != faces.key == open_folder(ffhq / "images1024x1024", 32).key


def test_bad_folders_are_one_line(ffhq: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such folder of images"):
        open_folder(tmp_path / "none", 32)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="no images"):
        open_folder(tmp_path / "empty", 32)
    with pytest.raises(UsageError, match=r"00000\.png is 64x64: aligned images are square, 128 px or more"):
        open_folder(ffhq, 128)
    (ffhq / "images1024x1024" / "00000" / "00003.png").write_bytes(b"nothing")
    with pytest.raises(UsageError, match=r"00003\.png: "):
        open_folder(ffhq, 32).batch(np.arange(24))


def test_both_stages_train_from_a_folder(tiny: Config, supervision: Supervision, ffhq: Path, tmp_path: Path) -> None:
    settings = tiny.model_copy(update={"swap": tiny.swap.model_copy(update={"true": 0.0})})
    training, held_out = open_folder(ffhq, 32).split(0.25)
    first = gan.train(settings, training, tmp_path, steps=2, device="cpu")
    done = swap.train(settings, training, held_out, tmp_path, first, steps=4, device="cpu", supervision=supervision)
    assert read(done)["step"] == 4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--images", "F", "--shards", "S"], "--shards or --images is needed, one of them"),
        (["--images", "F", "--validation", "S"], "--validation is for --shards"),
        (["--encoder-body", "B", "--resume"], "--encoder-body begins a new encoder, --resume goes on"),
        (["--import", "A", "--export", "B", "--stage", "gan"], "--import and --export are two commands"),
        (["--shards", "S", "--set", "swap.ema=0.99"], "swap.ema is gone: say ema_half_life, in images"),
        (["--shards", "S", "--set", "gan.r1_rows=4"], "gan.r1_rows is gone"),
        (["--shards", "S", "--set", "swap.norm_rows=6"], "swap.norm_rows"),
    ],
)
def test_contradictions_are_one_line(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(["train", "mfim", "--out", str(tmp_path), *arguments]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1


def test_estimate_of_a_megapixel() -> None:
    settings = config.load("ffhq-1024")
    alone, four = estimate(settings, "swap", 1, 1), estimate(settings, "swap", 4, 1)
    spread = estimate(settings, "swap", 1, 4)
    assert (alone.rows, four.rows, spread.rows) == (16, 4, 4)
    assert four.phases == spread.phases
    # A pass of a quarter of the rows keeps a quarter of the activations, but for what does not grow with rows.
    assert alone.phases["model"] == pytest.approx(4 * four.phases["model"], rel=0.05)
    assert dict(four.table(4))["largest sum"] < dict(alone.table(1))["largest sum"] / 3
    model, critic = MFIM(config.load("ffhq-256").model), Discriminator(256)
    numbers = tuple(sum(p.numel() for p in n.parameters()) for n in (model, critic))
    assert estimate(config.load("ffhq-256"), "swap").weights == numbers
    frozen = config.load("ffhq-256", ["swap.generator=frozen"])
    assert estimate(frozen, "swap").trained[0] < estimate(config.load("ffhq-256"), "swap").trained[0]
    with pytest.raises(UsageError, match=r"swap\.batch = 16 cannot be spread"):
        estimate(settings, "swap", 3)


def test_estimate_counts_what_a_real_pass_keeps(tiny: Config, supervision: Supervision) -> None:
    counted = estimate(tiny, "swap", supervision=supervision).phases["discriminator"]
    discriminator = Discriminator(32, 256, 16)
    real = torch.rand(4, 3, 32, 32)
    once = kept(lambda: torch.nn.functional.softplus(discriminator(real)), [discriminator])
    assert counted == pytest.approx(2 * once, rel=0.02)  # the image is kept once for both
    # By hand: a linear layer keeps its input, a square root its result.
    x = torch.rand(10, 20, requires_grad=True)
    layer = torch.nn.Linear(20, 5, bias=False)
    assert kept(lambda: (layer(x).square() + 1).sqrt(), [layer]) == 4 * (200 + 50 + 50)


def test_the_command_prints_an_estimate(capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--estimate", "--processes", "4", "--seconds-per-step", "2"]
    assert run_command(["train", "mfim", "--config", "ffhq-1024", "--stage", "gan", *options]) == 0
    said = capsys.readouterr().out
    assert "16 rows a step over 4 process(es) x 1 pass(es): 4 rows a pass" in said
    assert "largest sum" in said
    assert "800000 steps of 2 s: 444.4 hours (18.5 days)" in said


MEASURE = """
import gc, json, psutil, torch
from mfim import config
from mfim.discriminator import r1_penalty
from mfim.draws import Draws
from mfim.training.estimate import estimate
from mfim.training.gan import build

def grown(work):
    gc.collect()
    before = psutil.Process().memory_info().rss
    kept = work()
    return psutil.Process().memory_info().rss - before

settings = config.load("ffhq-256", ["precision=float32", "gan.batch=4"])
counted = estimate(settings, "gan").phases
mapping, synthesis, discriminator = build(settings)
z, noise, real = torch.randn(4, 512), synthesis.noise(Draws((0,), range(4))), torch.rand(4, 3, 256, 256)
with torch.no_grad():  # what is allocated once
    discriminator(synthesis(mapping(z), noise=noise))
r1 = grown(lambda: r1_penalty(discriminator, real))
discriminator.requires_grad_(False)
model = grown(lambda: discriminator(synthesis(mapping(z), noise=noise)))
print(json.dumps([[counted["model"], model], [counted["R1"] - counted["discriminator"], r1]]))
"""


@pytest.mark.slow
def test_the_estimate_is_near_what_a_process_grows_by() -> None:
    done = subprocess.run([sys.executable, "-c", MEASURE], capture_output=True, text=True, check=True)
    for counted, grown in json.loads(done.stdout.splitlines()[-1]):
        assert grown == pytest.approx(counted, rel=0.25)


@pytest.mark.slow
def test_one_swap_at_1024_px_on_the_cpu() -> None:
    torch.manual_seed(0)
    model = MFIM(config.load("ffhq-1024").model).eval()
    source, target = torch.rand(2, 1, 3, 1024, 1024).unbind(0)
    with torch.inference_mode():
        attributes = model.encoder(target)
        swapped, other = model(source, target), model(target, target)
    assert sum(code.shape[1] for code in attributes.codes) == 9088
    assert swapped.shape == (1, 3, 1024, 1024)
    assert torch.isfinite(swapped).all()
    assert float((swapped - other).abs().mean()) > 1e-4
