"""The weights catalogue: found without importing, checked before use, read without running code."""

from __future__ import annotations

import argparse
import hashlib
import pickle
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from mfim_bench import weights
from mfim_bench.errors import UsageError
from mfim_bench.plugins import registry
from mfim_bench.weights import WeightsSpec


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(weights.CACHE_VARIABLE, str(tmp_path / "cache"))


@pytest.fixture
def entry(monkeypatch: pytest.MonkeyPatch) -> WeightsSpec:
    """A catalogue entry that the user must add."""
    right = hashlib.sha256(b"right").hexdigest()
    spec = WeightsSpec("mine", sha256=right, filename="mine.pth", url="the authors' page")
    monkeypatch.setitem(registry().weights, "mine", spec)
    return spec


def test_a_shipped_file_is_found_without_importing_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "cannot_be_imported"
    (package / "models").mkdir(parents=True)
    (package / "__init__.py").write_text("raise ImportError('no pkg_resources')")
    (package / "models" / "a.dat").write_bytes(b"right")
    monkeypatch.syspath_prepend(str(tmp_path))
    spec = WeightsSpec("shipped", hashlib.sha256(b"right").hexdigest(), package="cannot_be_imported:models/a.dat")
    assert weights.locate(spec) == package / "models" / "a.dat"
    assert weights.problem(spec) == ""
    monkeypatch.setitem(registry().weights, "shipped", spec)
    assert weights.path("shipped").read_bytes() == b"right"
    assert "cannot_be_imported" not in sys.modules
    with pytest.raises(UsageError, match="nothing to add"):
        weights.add("shipped", package / "__init__.py")


def test_a_missing_file_says_how_to_add_it(entry: WeightsSpec) -> None:
    with pytest.raises(UsageError, match=r"mfim-bench weights add mine FILE \(get it from the authors' page\)"):
        weights.path("mine")
    with pytest.raises(UsageError, match="not installed"):
        weights.locate(WeightsSpec("x", package="no_such_package:a.bin"))
    with pytest.raises(UsageError, match="did you mean mine"):
        weights.path("mien")


def test_add_checks_the_hash(entry: WeightsSpec, tmp_path: Path) -> None:
    wrong, right = tmp_path / "wrong", tmp_path / "right"
    wrong.write_bytes(b"wrong")
    right.write_bytes(b"right")
    with pytest.raises(UsageError, match="must have"):
        weights.add("mine", wrong)
    assert not weights.locate(entry).exists()
    with pytest.raises(UsageError, match="cannot read"):
        weights.add("mine", tmp_path / "nothing")
    added = weights.add("mine", right)
    assert added == weights.path("mine") == tmp_path / "cache" / "weights" / "mine.pth"
    assert [p.name for p in added.parent.iterdir()] == ["mine.pth"]


def test_a_changed_file_is_refused(entry: WeightsSpec) -> None:
    goal = weights.locate(entry)
    goal.parent.mkdir(parents=True)
    goal.write_bytes(b"changed")
    with pytest.raises(UsageError, match="sha256"):
        weights.path("mine")


def test_a_name_cannot_leave_the_cache() -> None:
    with pytest.raises(UsageError, match="plain file name"):
        weights.locate(WeightsSpec("x", filename="../../x"))


def test_load_reads_tensors_only(tmp_path: Path) -> None:
    tensor = torch.arange(3.0)
    save_file({"a.b": tensor}, tmp_path / "a.safetensors")
    assert torch.equal(weights.load(tmp_path / "a.safetensors")["a.b"], tensor)
    nested = {"g_ema": {"w": tensor}, "latent_avg": tensor, "args": argparse.Namespace(lr=1), "step": 3}
    torch.save(nested, tmp_path / "b.pt")
    assert set(weights.load(tmp_path / "b.pt")) == {"g_ema.w", "latent_avg"}


class Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (exec, ("import pathlib; pathlib.Path('ran').touch()",))


def test_load_runs_no_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"w": torch.zeros(1), "evil": Evil()}, "evil.pt")
    Path("evil.pkl").write_bytes(pickle.dumps(Evil()))
    Path("empty.safetensors").write_bytes(b"")
    torch.save({"step": 3}, "none.pt")
    for name in ("evil.pt", "evil.pkl", "empty.safetensors", "none.pt", "missing.pt"):
        with pytest.raises(UsageError, match=name) as caught:
            weights.load(Path(name))
        assert "\n" not in str(caught.value)
    assert not Path("ran").exists()


def test_every_shipped_entry_has_its_hash() -> None:
    for name, spec in registry().weights.items():
        if spec.package:
            assert spec.sha256, f"{name} ships without a hash"
            assert weights.problem(spec) == ""
