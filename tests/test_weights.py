"""The weights catalogue: found without importing, checked before use, read without running code."""

from __future__ import annotations

import argparse
import hashlib
import pickle
import re
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from mfim_bench import weights
from mfim_bench.errors import UsageError
from mfim_bench.networks.catalogue import published
from mfim_bench.plugins import registry, resolve
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
    with pytest.raises(
        UsageError, match=r"not here; get mine.pth from the authors' page, then: mfim-bench weights add mine FILE$"
    ):
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
    assert added.path == weights.path("mine") == tmp_path / "cache" / "weights" / "mine.pth"
    assert added.sha256 == entry.sha256
    assert sorted(p.name for p in added.path.parent.iterdir()) == ["mine.pth", "mine.pth.sha256"]
    assert weights.record_of(added.path).read_text() == f"{entry.sha256}  mine.pth\n"


def test_a_changed_file_is_refused(entry: WeightsSpec) -> None:
    goal = weights.locate(entry)
    goal.parent.mkdir(parents=True)
    goal.write_bytes(b"changed")
    with pytest.raises(UsageError, match="sha256"):
        weights.path("mine")


def reader(path: Path) -> torch.nn.Module:
    """The loader of `known`: a linear layer."""
    from mfim_bench.networks.published.strict import load_strictly

    network = torch.nn.Linear(4, 3)
    load_strictly(network, weights.load(path), path.name)
    return network.eval()


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Path]:
    """A catalogue entry with a loader; the fixture writes a file for it, of ones times a factor."""

    def write(factor: float = 1.0, golden: tuple[float, ...] = (), **more: torch.Tensor) -> Path:
        spec = WeightsSpec("known", loader="test_weights:reader", layout="two keys", input=(4,), golden=golden)
        monkeypatch.setitem(registry().weights, "known", spec)
        torch.save({"weight": factor * torch.arange(12.0).reshape(3, 4), "bias": torch.ones(3)} | more, tmp_path / "f")
        return tmp_path / "f"

    return write


def test_add_reads_the_layout_before_it_takes_a_file(known: Callable[..., Path]) -> None:
    file = known(extra=torch.ones(2), bias=torch.ones(4))
    with pytest.raises(UsageError, match=r"f: 1 unexpected: extra; 1 mis-shaped: bias \(4,\) for \(3,\)"):
        weights.add("known", file)
    assert not weights.cache().exists()
    file.write_bytes(b"no weights at all")
    with pytest.raises(UsageError, match="cannot be read safely"):
        weights.add("known", file)
    assert weights.add("known", known()).path.is_file()


def test_a_file_that_changes_after_it_was_added_is_noticed(known: Callable[..., Path]) -> None:
    added = weights.add("known", known())
    assert weights.path("known") == added.path
    added.path.write_bytes(known(2.0).read_bytes())
    assert "has changed since it was added" in weights.problem(registry().weights["known"])
    weights.add("known", known(2.0))  # adding it again is how one says that it is meant
    assert weights.problem(registry().weights["known"]) == ""


def test_the_golden_output_tells_networks_apart(known: Callable[..., Path]) -> None:
    said = weights.add("known", known()).golden
    assert len(said) == weights.GOLDEN
    x = np.sin(0.7 * np.arange(4))  # the definition, by hand
    y = np.arange(12.0).reshape(3, 4) @ x + 1
    assert said[0] == pytest.approx(np.log(np.linalg.norm(y) / 3**0.5), abs=1e-6)
    third = (y * np.sin(0.9 * np.arange(3) + 3)).sum() / np.linalg.norm(y)
    assert said[3] == pytest.approx(third, abs=1e-6)
    nearly = tuple(number + 1e-5 for number in said)
    assert weights.agrees(said, nearly)
    assert weights.add("known", known(golden=nearly)).golden == said
    with pytest.raises(UsageError, match="another network"):
        weights.add("known", known(1.1, golden=nearly))
    assert re.fullmatch("[0-9a-f]{8}", weights.golden_hash(said))
    with pytest.raises(UsageError, match="not finite, or zero"):
        weights.golden(torch.nn.Identity(), (1,))  # sin(0) = 0
    heads = weights.golden(Heads(), (4,))  # several outputs count as one
    assert heads == pytest.approx(weights.golden(torch.nn.Identity(), (4,)))


class Heads(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return x[:, :1], x[:, 1:]


def test_a_hash_may_be_known_by_its_first_digits(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As in the names of torchvision's files."""
    right = hashlib.sha256(b"right").hexdigest()
    monkeypatch.setitem(registry().weights, "short", WeightsSpec("short", sha256=right[:8]))
    (tmp_path / "a").write_bytes(b"right")
    assert weights.add("short", tmp_path / "a").sha256 == right
    (tmp_path / "a").write_bytes(b"wrong")
    with pytest.raises(UsageError, match="must have"):
        weights.add("short", tmp_path / "a")


def test_the_catalogue_of_published_networks_is_whole(tmp_path: Path) -> None:
    specs = published()
    assert len({spec.filename for spec in specs}) == len(specs)
    for spec in specs:
        assert spec.summary
        assert spec.layout
        assert spec.licence != "unknown"
        assert spec.url.startswith("https://")
        assert callable(resolve(spec.loader))
        with pytest.raises(UsageError, match=f"get {re.escape(spec.filename)} from {re.escape(spec.url)}, then"):
            weights.path(spec.name)
    (tmp_path / "c.toml").write_text('[x]\nsummry = "a"\n')
    with pytest.raises(UsageError, match="summry"):
        published(tmp_path / "c.toml")
    (tmp_path / "c.toml").write_text("[x")
    with pytest.raises(UsageError, match=r"c\.toml"):
        published(tmp_path / "c.toml")


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
