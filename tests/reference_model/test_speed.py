"""The fast paths draw what the plain ones draw; ``mfim-bench bench model`` says what it should."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest
import torch

from mfim import generator
from mfim.generator import Synthesis, channels, style_space
from mfim.model import MFIM
from mfim.speed import measure
from mfim_bench.cli import run_command

QUICK = ["bench", "model", "--size", "64", "--repeats", "1"]
CHECKOUT = os.environ.get("MFIM_BENCH_ROSINALITY", "")


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same networks with few channels, and small matrices: seconds instead of minutes."""
    widths = ["body_widths=[8, 8, 16, 16]", "body_units=[1, 1, 1, 1]", "encoder_width=8", "z_size=8", "w_size=8"]
    channels = ["channel_base=512", "channel_limit=16", "discriminator_base=512"]
    wide = measure.configuration(64)
    values = dict(line.split("=") for line in (*widths, *channels))
    model = wide.model.model_validate(wide.model.model_dump() | {k: json.loads(v) for k, v in values.items()})
    monkeypatch.setattr(measure, "configuration", lambda size: wide.model_copy(update={"model": model}))
    monkeypatch.setattr(measure, "SIDES", {"cpu": (256,)})


@pytest.mark.parametrize("rows", [1, 3, 5])
def test_bands_draw_the_same_image(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    synthesis = Synthesis(64, 256, 16)
    codes = [torch.randn(1, code.size) for code in synthesis.codes]
    maps = {k: torch.randn(1, 1, c.resolution, c.resolution) for k, c in enumerate(synthesis.codes) if c.kind != "rgb"}
    calls = []
    level = synthesis._level
    monkeypatch.setattr(synthesis, "_level", lambda *a: (calls.append(a[1].shape[2]), level(*a))[1])
    with torch.no_grad():
        whole = synthesis(codes, maps)
        assert calls == [4, 4, 8, 16, 32]
        calls.clear()
        monkeypatch.setattr(generator, "BAND", 4 * 4 * 64 * 2 * rows)  # of the last level: 64 px wide, 4 channels
        banded = synthesis(codes, maps)
    assert len(calls) > 5
    assert max(calls) <= 2 * rows + 2 * generator.MARGIN + 4
    torch.testing.assert_close(banded, whole, rtol=1e-4, atol=1e-5)
    assert torch.equal(synthesis(codes, maps).detach(), whole)  # with gradients the image is drawn whole


def test_flops_are_those_of_the_layers() -> None:
    def by_hand(size: int) -> int:
        total = 0
        for code in style_space(size):
            side = code.resolution // 2 if code.kind == "conv_up" else code.resolution
            outputs, taps = (3, 1) if code.kind == "rgb" else (channels(code.resolution, 32768, 512), 9)
            total += 2 * side * side * code.size * outputs * taps
        return total

    def draw() -> None:
        synthesis = Synthesis(256)
        synthesis([torch.empty(1, code.size) for code in synthesis.codes])

    assert measure.count(draw) == pytest.approx(by_hand(256), rel=1e-3)
    model = measure.configuration(256).model
    assert measure.count(lambda: MFIM(model).eval()(*torch.empty(2, 1, 3, 256, 256))) > 2 * by_hand(256)


@pytest.mark.usefixtures("narrow")
def test_command(capsys: pytest.CaptureFixture[str]) -> None:
    threads = str(torch.get_num_threads())
    assert run_command([*QUICK, "--what", "forward", "--what", "step", "--threads", threads, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["matrix_product"]["float32"] > 1e9
    assert [(row["what"], row["size"], row["rows"]) for row in found["rows"]] == [("forward", 64, 1), ("step", 64, 2)]
    forward, step = found["rows"]
    assert all(len(row["ours"]) == 1 and row["ours"][0] > 0 and row["rosinality"] is None for row in found["rows"])
    assert step["flops"] > 2 * 3 * forward["flops"]  # of two rows: forward, and twice that backward
    rate = forward["flops"] / forward["ours"][0] / found["matrix_product"]["float32"]
    assert forward["share_of_ceiling"] == pytest.approx(rate)


@pytest.mark.usefixtures("narrow")
def test_table_says_that_nothing_was_compared(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command([*QUICK, "--what", "swap", "--markdown"]) == 0
    out = capsys.readouterr().out
    assert "| swap" in out
    assert "Not compared: --rosinality names no checkout" in out


STAND_IN = """
import torch
from op import native

class Network(torch.nn.Module):
    def __init__(self, size, *_):
        super().__init__()
        self.size = size

    def load_state_dict(self, state):
        assert "convs.0.conv.modulation.weight" in state or "final_linear.1.bias" in state

class Generator(Network):
    def forward(self, styles, randomize_noise):
        return torch.zeros(1, 3, self.size, self.size), None

Discriminator = Network
"""


@pytest.mark.usefixtures("narrow")
def test_other_images_are_found_out_and_their_modules_do_not_stay(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "op").mkdir()
    (tmp_path / "model.py").write_text(STAND_IN)
    compiling = "from torch.utils.cpp_extension import load\nnative = load('fused', sources=['none.cpp']) is None\n"
    (tmp_path / "op" / "__init__.py").write_text(compiling)
    assert run_command([*QUICK, "--what", "forward", "--rosinality", str(tmp_path)]) == 1
    assert "images differ by more than 0.0001" in capsys.readouterr().err
    assert not {"model", "op"} & sys.modules.keys()
    assert str(tmp_path) not in sys.path


@pytest.mark.skipif(not CHECKOUT, reason="MFIM_BENCH_ROSINALITY names no checkout of rosinality/stylegan2-pytorch")
def test_images_equal_rosinalitys(capsys: pytest.CaptureFixture[str]) -> None:
    what = ["--what", "forward", "--what", "step"]
    assert run_command([*QUICK, *what, "--size", "128", "--rosinality", CHECKOUT, "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert all(row["largest_difference"] <= measure.TOLERANCE for row in rows if row["what"] == "forward")
    assert all(row["ratio"] > 0 for row in rows)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--what", "train"], "unknown --what 'train': forward, swap, step"),
        (["--size", "100"], "--size 100: 64, 128, 256, 512 or 1024"),
        (["--device", "tpu"], "unknown device 'tpu': cpu or cuda"),
        (["--rosinality", "nowhere"], "nowhere is no checkout of https://github.com/rosinality/stylegan2-pytorch"),
    ],
)
def test_wrong_use(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["bench", "model", *arguments]) == 2
    assert message in capsys.readouterr().err
