"""``check`` finds each breach of the contract, and passes what keeps it."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from mfim_bench.check import Finding, check, drawn, drawn_frames
from mfim_bench.plugins import Plugins, Registry
from mfim_bench.testing import check_method, check_run

METHODS = """
import numpy as np
import torch
SIZE = 32
def target(s, t): return t.clone()
def mix(s, t): return (s + t) / 2
def nan(s, t): return s / 0 * 0
def shape(s, t): return t[..., :16]
def half(s, t): return t.half()
def array(s, t): return t.numpy()
def signed(s, t): return t * 2 - 1
def bytes_(s, t): return t * 255
def raises(s, t): raise RuntimeError("CUDA out of\\nmemory")
def batch(s, t): return t - t.mean(0, keepdim=True) + 0.5
def random(s, t): return t + 0.01 * torch.rand_like(t)
def inplace(s, t): return t.mul_(0.5)
def refuses(s, t):
    from mfim_bench.errors import RowError
    if any(row.min() == row.max() for row in s): raise RowError("no face")
    return (s + t) / 2
def bgr(s, t): return t.flip(1)
def over(s, t): return t * 1.5
def under(s, t): return t - 0.5
def rounded(s, t): return t.round() * 1.002 - 0.001
counter = 0
def counts(s, t):
    global counter
    counter += 1
    return t * (0.5 + 0.01 * counter)
def order(s, t): return t + torch.linspace(0, 0.1, len(t))[:, None, None, None]
"""


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> Registry:
    monkeypatch.setenv("MFIM_BENCH_LOAD_PLUGINS", "")
    return Registry(Plugins())


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(sys, "path", list(sys.path))
    path = tmp_path / "methods.py"
    path.write_text(METHODS)
    return path


def _ask(registry: Registry, name: str) -> list[Finding]:
    return check(registry.method(name), registry, torch.device("cpu"))


@pytest.mark.parametrize("name", ["target-copy", "source-copy", "target-copy@64", "source-copy@32", "truth"])
def test_references_pass(registry: Registry, name: str) -> None:
    assert not [finding for finding in _ask(registry, name) if finding.state == "FAIL"]


@pytest.mark.parametrize(
    ("name", "state", "question", "detail"),
    [
        ("mix", "ok", "row independence", ""),
        ("target", "note", "effect", "the target unchanged"),
        ("nan", "FAIL", "finite", "NaN"),
        ("shape", "FAIL", "shape", "(3, 3, 32, 16), wanted (3, 3, 32, 32)"),
        ("half", "FAIL", "dtype", "float16"),
        ("array", "FAIL", "type", "ndarray"),
        ("signed", "FAIL", "range", "[-1, 1]?"),
        ("bytes_", "FAIL", "range", "[0, 255]?"),
        ("raises", "FAIL", "runs", "RuntimeError: CUDA out of memory"),
        ("batch", "FAIL", "row independence", "eval()"),
        ("order", "FAIL", "row independence", ""),
        ("random", "FAIL", "row independence", ""),
        ("counts", "FAIL", "deterministic", ""),
        ("inplace", "FAIL", "inputs", "in place"),
        ("refuses", "ok", "row independence", ""),
        ("bgr", "note", "colour", "BGR"),
        ("over", "FAIL", "range", "wanted [0, 1]; a run clips it"),
        ("under", "FAIL", "range", "wanted [0, 1]; a run clips it"),
        ("rounded", "ok", "range", ""),
    ],
)
def test_each_breach_is_found(
    registry: Registry, file: Path, name: str, state: str, question: str, detail: str
) -> None:
    findings = _ask(registry, f"{file}:{name}")
    found = {finding.question: finding for finding in findings}
    assert found[question].state == state, findings
    assert detail in found[question].detail
    if state != "FAIL":
        assert not [finding for finding in findings if finding.state == "FAIL"]


MIXING = """
SIZE = 32
class Base:
    def swap(self, source, target): return (source + target) / 2
class Good(Base):
    def mix(self, sources, target): return 0.5 * target + 0.3 * sources["global"] + 0.2 * sources["local"]
class Deaf(Base):
    def mix(self, sources, target): return self.swap(sources["global"], target)
class Other(Base):
    def mix(self, sources, target): return sources["local"]
class Raises(Base):
    def mix(self, sources, target): return sources["eyes"]
class Whole(Base):
    def mix(self, sources, target):
        from mfim_bench.errors import UsageError
        raise UsageError("no part is called 'global'")
class Shape(Base):
    def mix(self, sources, target): return target[:1]
"""


@pytest.mark.parametrize(
    ("name", "state", "details"),
    [
        ("Good", "ok", ["parts global and local"]),
        ("Deaf", "note", ["parts global and local", "the local source changes nothing"]),
        ("Other", "note", ["parts global and local", "differs from its swap by", "the global source changes nothing"]),
        ("Whole", "note", ["does not mix global and local: no part is called 'global'"]),
        ("Raises", "FAIL", ["raised KeyError: 'eyes'"]),
        ("Shape", "FAIL", ["another shape than (3, 3, 32, 32)"]),
        ("Base", "", []),
    ],
)
def test_mixing_is_tried_where_a_method_can(
    registry: Registry, file: Path, name: str, state: str, details: list[str]
) -> None:
    file.write_text(MIXING)
    found = [finding for finding in _ask(registry, f"{file}:{name}") if finding.question == "mixes"]
    assert [detail in finding.detail for finding, detail in zip(found, details, strict=True)] == [True] * len(details)
    assert [finding.state for finding in found][-1:] == ([state] if state else [])


class Frames:
    """A frame method that breaks one thing."""

    kind = ""

    def __init__(self, device: torch.device, kind: str) -> None:
        self.kind, self.calls = kind, 0

    def swap_frame(self, source: np.ndarray, target: np.ndarray) -> object:
        self.calls += 1
        out = target // 2 + 1
        match self.kind:
            case "float":
                return out / 255
            case "shape":
                return out[:10]
            case "raises":
                raise ValueError("no face")
            case "counts":
                return out + self.calls
            case "inplace":
                target[:] = 0
        return out


@pytest.mark.parametrize(
    ("kind", "question"),
    [
        ("float", "dtype"),
        ("shape", "shape"),
        ("raises", "runs"),
        ("counts", "deterministic"),
        ("inplace", "inputs"),
        ("fine", ""),
    ],
)
def test_breaches_of_frame_methods_are_found(registry: Registry, kind: str, question: str) -> None:
    from mfim_bench.method import MethodSpec

    spec = MethodSpec("frames", f"{__name__}:Frames", "1", size=0, template="none", argument=kind)
    failed = {f.question for f in check(spec, registry, torch.device("cpu")) if f.state == "FAIL"}
    assert failed == ({question} if question else set())


def test_a_method_that_cannot_load_fails(registry: Registry, file: Path) -> None:
    file.write_text("import no_such_library\ndef swap(s, t): pass\n")
    (finding,) = _ask(registry, f"{file}:swap")
    assert (finding.state, finding.question) == ("FAIL", "loads")
    assert "no_such_library" in finding.detail


def test_drawn_inputs_are_pairs_of_different_images() -> None:
    pairs = drawn_frames()
    assert len(pairs) == 3
    assert all(not np.array_equal(source, target) for source, target in pairs)
    assert np.array_equal(drawn(1), drawn(1))


def test_check_method_asserts(file: Path) -> None:
    check_method(f"{file}:mix")
    with pytest.raises(AssertionError, match="NaN"):
        check_method(f"{file}:nan")


@pytest.fixture
def run(tmp_path: Path) -> Path:
    means = {"identity@dlib-l2": 0.58, "pose@3dmm-radians": 0.2, "pose@other": 0.3, "shape@vertex-mm": None}
    summary = {
        "method": {"name": "m"},
        "pairs": 10,
        "failed": 2,
        "reasons": {"no face found": 2},
        "measures": {name: {"mean": mean} for name, mean in means.items()},
    }
    (tmp_path / "summary.json").write_text(json.dumps(summary))
    return tmp_path


@pytest.mark.parametrize("limit", ["<= 0.58", "< .6", ">= 0.58", "> 5e-1", "0.575 +- 0.01", "0.58±0", " 0.6+/-0.05 "])
def test_check_run_accepts(run: Path, limit: str) -> None:
    check_run(run, {"identity": limit, "pose@other": "> 0"}, failed=2)
    check_run(run / "summary.json", {"identity@dlib-l2": limit}, failed=2)


def test_check_run_refuses(run: Path) -> None:
    for limit in ("<= 0.57", "< 0.58", ">= 0.6", "> 0.58", "0.6 +- 0.01"):
        with pytest.raises(AssertionError, match=r"identity is 0\.58, wanted"):
            check_run(run, {"identity": limit}, failed=2)
    with pytest.raises(AssertionError, match=r"2 of 10 pairs failed, 0 allowed: no face found \(2\)"):
        check_run(run, {})
    with pytest.raises(AssertionError, match="shape is None"):
        check_run(run, {"shape": "> 0"}, failed=2)
    for name, limit in (("pose", "> 0"), ("colour", "> 0"), ("identity", "about 0.5")):
        with pytest.raises(ValueError):
            check_run(run, {name: limit}, failed=2)
