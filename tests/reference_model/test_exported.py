"""``mfim:FILE``: an exported weights file as a method, wherever a method is named."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from conftest import leave_trained
from safetensors.torch import load_file as tensors_of
from safetensors.torch import save_file

from mfim import config, export, plugin
from mfim.exported import method
from mfim.method import load_file
from mfim_bench import weights
from mfim_bench.bench import fingerprint
from mfim_bench.cli import run_command
from mfim_bench.errors import UsageError
from mfim_bench.method import Method
from mfim_bench.plugins import load_method, registry

CPU = torch.device("cpu")


@pytest.fixture
def trained(tmp_path: Path, tiny_settings: list[str]) -> Path:
    """What ``train`` leaves and ``train --export`` makes of it, but for the training."""
    settings = config.load("ablation-no-maps", [*tiny_settings, "seed=3"])
    leave_trained(settings, tmp_path)
    asked = ["train", "mfim", "--out", str(tmp_path), "--export", str(tmp_path / "No maps_3.safetensors")]
    assert run_command(asked) == 0
    return tmp_path / "No maps_3.safetensors"


def test_the_spec_is_read_from_the_file(trained: Path) -> None:
    spec = registry().method(f"mfim:{trained}")
    assert (spec.name, spec.variant, spec.size, spec.template) == ("mfim-no-maps-3", "ablation-no-maps", 32, "ffhq")
    assert spec.version == f"{plugin.VERSION}+{weights.sha256(trained)}"
    assert spec.trained_with == ("supervisor-r", "supervisor-face3d")
    assert spec.weights == ()
    assert spec.summary == "ablation-no-maps, seed 3, 12 steps, No maps_3.safetensors"
    assert "trained by mfim-bench" not in spec.citation
    assert export.metadata(trained)["trained_on"] == "virtual faces"


def test_it_swaps_with_the_files_weights(trained: Path) -> None:
    found = load_method(registry().method(f"mfim:{trained}"), CPU)
    assert isinstance(found, Method)
    source, target = torch.rand(2, 2, 3, 32, 32, generator=torch.Generator().manual_seed(0)).unbind(0)
    assert torch.equal(found.swap(source, target), load_file(trained, CPU).swap(source, target))


def test_a_changed_file_is_another_run(trained: Path) -> None:
    before = registry().method(f"mfim:{trained}")
    tensors = tensors_of(trained)
    first = next(name for name, value in tensors.items() if value.dtype == torch.float16)
    tensors[first] = tensors[first] * 1.5
    save_file(tensors, trained, metadata=export.metadata(trained))
    after = registry().method(f"mfim:{trained}")
    assert after.name == before.name
    protocol = registry().protocol("virtual-faces")
    marks = {
        fingerprint.digest(
            fingerprint.run_inputs(spec, protocol, "test", "", [], [], device="cpu", batch_size=8, seed=0)
        )
        for spec in (before, after)
    }
    assert len(marks) == 2


def test_who_supervised_is_what_the_training_says() -> None:
    swap = {"recogniser": "irse50:faces/ir.pth", "face3d": "work/v3/my-fit.safetensors", "perceptual": "lpips:vgg.pth"}
    assert export.teachers(swap) == ["irse50", "my-fit", "lpips"]


def test_files_of_before_name_the_supervisors_of_their_configuration(trained: Path) -> None:
    assert method(str(weights.path("mfim-virtual-64"))).trained_with == ("supervisor-r", "supervisor-face3d")
    about = export.metadata(trained)
    del about["trained_with"], about["config"]
    save_file(tensors_of(trained), trained, metadata=about)
    spec = method(str(trained))
    assert spec.trained_with == plugin.METHOD.trained_with
    assert (spec.variant, spec.summary) == ("", "12 steps, No maps_3.safetensors")


def test_describing_a_file_imports_no_torch(trained: Path) -> None:
    code = (
        "import sys; from mfim_bench.plugins import registry;"
        f"registry().method({f'mfim:{trained}'!r}); print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "False", done.stderr


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("missing", "there is no such file"),
        ("folder", "there is no such file"),
        ("checkpoint", "is a checkpoint: write its weights with"),
        ("cut", "no readable safetensors file"),
        ("foreign", "holds no weights of mfim"),
        ("garbled", "what it says about its model cannot be read"),
        ("short", "Unexpected key"),
        ("other", "size mismatch"),
    ],
)
def test_a_wrong_file_is_one_line(
    trained: Path, tmp_path: Path, kind: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    about, tensors = export.metadata(trained), tensors_of(trained)
    path = tmp_path / f"{kind}.safetensors"
    if kind == "folder":
        path.mkdir()
    elif kind == "checkpoint":
        path = tmp_path / "swap.pt"
    elif kind == "cut":
        path.write_bytes(trained.read_bytes()[:1000])
    elif kind == "foreign":
        save_file(tensors, path)
    elif kind == "garbled":
        save_file(tensors, path, metadata=about | {"model": "{"})
    elif kind == "short":
        save_file({"x": torch.zeros(1)}, path, metadata=about)
    elif kind == "other":
        wider = json.loads(about["model"]) | {"encoder_width": 16}
        save_file(tensors, path, metadata=about | {"model": json.dumps(wider)})
    capsys.readouterr()
    with pytest.raises(UsageError, match=message) as caught:
        load_method(registry().method(f"mfim:{path}"), CPU)
    assert "\n" not in str(caught.value)
    if kind in ("missing", "foreign"):
        assert run_command(["run", "--method", f"mfim:{path}"]) == 2
        assert len(capsys.readouterr().err.splitlines()) == 1


def test_check_passes(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["check", "--method", f"mfim:{trained}", "--device", "cpu"]) == 0
    assert "3 pairs of 32 px" in capsys.readouterr().out
