"""Export and reading back, the Method's contract, the configurations, the plugin and its command."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib import resources
from pathlib import Path

import pytest
import torch
from conftest import leave_trained
from safetensors.torch import save_file

from mfim import config, export, plugin
from mfim.config import Config
from mfim.method import MFIMMethod, load, load_file
from mfim.model import MFIM
from mfim_bench.cli import run_command
from mfim_bench.errors import UsageError
from mfim_bench.measures import MEASURES
from mfim_bench.method import Method, MixingMethod
from mfim_bench.networks.files import EXACT


@pytest.fixture
def file(tiny: Config, tmp_path: Path) -> Path:
    line = export.export_checkpoint(leave_trained(tiny, tmp_path), tiny, tmp_path / "model.safetensors")
    assert "sha256" in line
    return tmp_path / "model.safetensors"


def test_round_trip(tiny: Config, file: Path) -> None:
    about = export.metadata(file)
    assert about["steps"] == "12"
    assert Config.model_validate_json(about["config"]) == tiny
    stored = torch.load(file.with_name("swap.pt"), weights_only=True)["mfim_ema"]
    model = export.load(file, torch.device("cpu"))
    found = model.state_dict()
    assert found.keys() == stored.keys()
    for name, value in stored.items():
        exact = name.endswith(EXACT) or not value.dtype.is_floating_point
        assert torch.equal(found[name], value if exact else value.half().float()), name
    assert not model.training


def test_what_float16_cannot_hold_is_kept_or_refused(tiny: Config, file: Path, tmp_path: Path) -> None:
    model = export.load(file, torch.device("cpu"))
    variance = next(value for name, value in model.state_dict().items() if name.endswith("running_var"))
    variance.fill_(90_000.0)
    about = {"steps": "1"}
    export.write(model, tmp_path / "wide.safetensors", tiny.model, about)
    wide = export.load(tmp_path / "wide.safetensors", torch.device("cpu")).state_dict()
    assert any(name.endswith("running_var") and bool((value == 90_000.0).all()) for name, value in wide.items())
    weight = next(model.parameters())
    weight.data.fill_(90_000.0)
    with pytest.raises(UsageError, match="not finite as float16"):
        export.write(model, tmp_path / "refused.safetensors", tiny.model, about)
    assert not (tmp_path / "refused.safetensors").exists()
    variance.fill_(float("inf"))
    tensors = {name: value.contiguous() for name, value in model.state_dict().items()}
    save_file(tensors, tmp_path / "broken.safetensors", metadata=export.metadata(file))
    with pytest.raises(UsageError, match="not finite"):
        export.load(tmp_path / "broken.safetensors", torch.device("cpu"))


def test_method_keeps_its_contract(file: Path) -> None:
    method = load_file(file, torch.device("cpu"))
    assert isinstance(method, Method)
    source, target = torch.rand(2, 5, 3, 32, 32).unbind(0)
    swapped = method.swap(source, target)
    assert swapped.shape == target.shape
    assert swapped.dtype == torch.float32
    assert float(swapped.min()) >= 0
    assert float(swapped.max()) <= 1
    for batch in (1, 2):
        parts = [method.swap(s, t) for s, t in zip(source.split(batch), target.split(batch), strict=True)]
        torch.testing.assert_close(torch.cat(parts), swapped, atol=1e-5, rtol=1e-4)
    assert isinstance(method, MixingMethod)
    torch.testing.assert_close(method.mix({"32": source}, target), swapped, atol=1e-5, rtol=1e-4)
    with pytest.raises(
        UsageError, match="no part of the identity is called 'global'; this model knows the ID levels 32"
    ):
        method.mix({"global": source, "local": source}, target)


def test_wrong_files_are_one_line(file: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no readable"):
        export.load(tmp_path / "none.safetensors", torch.device("cpu"))
    (tmp_path / "cut.safetensors").write_bytes(file.read_bytes()[:1000])
    with pytest.raises(UsageError, match="no readable"):
        export.load(tmp_path / "cut.safetensors", torch.device("cpu"))
    save_file({"x": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(UsageError, match="no weights of mfim"):
        export.load(tmp_path / "other.safetensors", torch.device("cpu"))
    about = export.metadata(file)
    save_file({"x": torch.zeros(1)}, tmp_path / "short.safetensors", metadata=about)
    with pytest.raises(UsageError):
        export.load(tmp_path / "short.safetensors", torch.device("cpu"))


def test_default_size_fits_the_limit() -> None:
    settings = config.load("virtual-64").model
    with torch.device("meta"):
        numbers = sum(v.numel() for v in MFIM(settings).state_dict().values())
    assert 2 * numbers < 7.8e6  # float16, and room for the header


def test_unknown_values_are_marked() -> None:
    """Every number in a configuration is marked, but for those that a named source gives."""
    for name in config.names():
        text = resources.files("mfim").joinpath("configs", f"{name}.toml").read_text()
        head, section, weights = text.partition("[swap.weights]")
        assert not section or "every weight is [own choice]" in weights
        for line in head.splitlines():
            if re.match(r"\w+ = [\d\[]", line):
                assert re.search(r"\[own choice\]|# (StyleGAN2|IR-SE50|the paper)", line), f"{name}: {line}"


def test_overrides_and_errors(tmp_path: Path) -> None:
    assert config.load("virtual-64", ["swap.weights.id=7", "swap.generator=frozen"]).swap.weights.id == 7
    for wrong in ("swap.weights.ids=7", "swap.weights.id=x", "seed", "seed.a=1"):
        with pytest.raises(UsageError):
            config.load("virtual-64", [wrong])
    with pytest.raises(UsageError, match="virtual-128"):
        config.load("virtual-63")
    with pytest.raises(UsageError, match="no such"):
        config.load(tmp_path / "none.toml")
    (tmp_path / "a.toml").write_text("= 1")
    with pytest.raises(UsageError, match="not TOML"):
        config.load(tmp_path / "a.toml")


def test_plugin_is_light_and_whole() -> None:
    code = "import sys, mfim.plugin; sys.exit(any(m in sys.modules for m in ('torch', 'numpy', 'cv2', 'scipy')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    (spec,) = plugin.mfim_bench_methods()
    assert (spec.name, spec.template, spec.size) == ("mfim", "ffhq", 64)
    assert spec.weights == (plugin.WEIGHTS.name,)
    assert spec.trained_with
    # The judge that is made as its supervisor is does not rank it; the others do.
    judges = {m.judge.name: m.judge for m in MEASURES if m.judge}
    assert {name for name, judge in judges.items() if judge.taught(spec.trained_with)} == {"recogniser"}
    assert judges["recogniser"].taught(["recogniser"])
    assert not judges["recogniser"].taught([])


def test_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = ["train", "mfim", "--out", str(tmp_path)]
    for extra, message in (
        (["--config", "nothing"], "unknown configuration"),
        (["--stage", "three", "--shards", "x"], "unknown stage"),
        ([], "--shards or --images is needed"),
        (["--shards", str(tmp_path / "none")], "no such folder"),
        (["--export", str(tmp_path / "x.safetensors")], "no checkpoint"),
    ):
        assert run_command([*out, *extra]) == 2
        error = capsys.readouterr().err.strip().splitlines()[-1]
        assert message in error


def test_method_moves_inputs_to_signed_range(tiny: Config) -> None:
    seen: list[float] = []

    class Spy(MFIM):
        def forward(self, source: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
            seen.extend((float(source.min()), float(source.max())))
            return target

    method = MFIMMethod(Spy(tiny.model).eval(), torch.device("cpu"))
    target = torch.rand(1, 3, 32, 32)
    out = method.swap(torch.tensor([0.0, 1.0]).repeat(3 * 16 * 32).view(1, 3, 32, 32), target)
    assert seen == [-1.0, 1.0]
    torch.testing.assert_close(out, target, atol=1e-6, rtol=0)


def test_rows_have_the_same_bits_in_any_batch() -> None:
    """Rounding to 8 bits makes a last bit a grey level, and detectors and judges make that 0.01 mm."""
    method = load(torch.device("cpu"))
    images = torch.rand(2, 32, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    whole = method.swap(images[0], images[1])
    for size in (1, 7):
        pieces = [method.swap(s, t) for s, t in zip(images[0].split(size), images[1].split(size), strict=True)]
        assert torch.equal(torch.cat(pieces), whole)
    mixed = method.mix({"global": images[0], "local": images[1]}, images[1])
    one = method.mix({"global": images[0, :1], "local": images[1, :1]}, images[1, :1])
    assert torch.equal(one, mixed[:1])
    assert torch.equal(one, method.mix({"64": images[1, :1], "32": images[0, :1]}, images[1, :1]))
