"""The registry: isolation, collisions, nearest names, the two variables."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from mfim_bench.errors import UsageError
from mfim_bench.method import MethodSpec
from mfim_bench.plugins import Plugins, Registry, load_method, load_protocol, resolve
from mfim_bench.protocol import ProtocolSpec

HEADER = "from mfim_bench.hookspecs import hookimpl\nfrom mfim_bench.method import MethodSpec\n"
HOOK = "@hookimpl\ndef mfim_bench_methods():\n    "
ONE = HEADER + HOOK + "return [MethodSpec(name={name!r}, factory='{module}:f', version='1')]\n"

Install = Callable[[str, str], None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """``install(distribution, source)``: what a package manager leaves in a site folder, found by entry points."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def add(distribution: str, source: str) -> None:
        module = distribution.replace("-", "_")
        monkeypatch.delitem(sys.modules, module, raising=False)
        (tmp_path / f"{module}.py").write_text(source)
        info = tmp_path / f"{module}-2.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 2.0\n")
        (info / "entry_points.txt").write_text(f"[mfim_bench]\nentry-of-{distribution} = {module}\n")

    return add


def _of(name: str, module: str) -> str:
    return ONE.format(name=name, module=module)


def test_bundled_plugins_come_through_entry_points() -> None:
    registry = Registry(Plugins())
    assert {"target-copy", "source-copy", "truth"} <= set(registry.methods)
    assert registry.origins["methods"]["truth"].startswith("mfim-bench ")
    assert registry.failures == []


@pytest.mark.parametrize(
    ("source", "error"),
    [
        ("raise RuntimeError('no such\\nlibrary')", "RuntimeError: no such library"),
        ("import a_module_that_is_not_there", "ModuleNotFoundError"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("def f(:", "SyntaxError"),
        (HEADER + "@hookimpl\ndef mfim_bench_method():\n    return []\n", "did you mean mfim_bench_methods"),
        (HEADER + "@hookimpl\ndef mfim_bench_methods(wrong):\n    return []\n", "PluginValidationError"),
        (HEADER + HOOK + "1 / 0\n", "ZeroDivisionError"),
        (HEADER + HOOK + "return ['name']\n", "MethodSpec objects, not str"),
        (HEADER + HOOK + "return 3\n", "must return a sequence of MethodSpec"),
        (_of("../escape", "broken"), "cannot be the name of a method"),
    ],
)
def test_a_broken_plugin_costs_one_warning_line_and_nothing_else(
    install: Install, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, source: str, error: str
) -> None:
    monkeypatch.setenv("MFIM_BENCH_LOAD_PLUGINS", "broken,sound")
    install("broken", source)
    install("sound", _of("sound-method", "sound"))
    registry = Registry(Plugins())
    assert [failure.name for failure in registry.failures] == ["entry-of-broken"]
    assert error in registry.failures[0].error
    assert registry.failures[0].origin == "broken 2.0 (broken)"
    assert "sound-method" in registry.methods
    assert "target-copy" in registry.methods
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 1
    assert "\n" not in lines[0]
    assert "entry-of-broken" in lines[0]


def test_the_same_name_twice_names_both_origins(install: Install) -> None:
    install("first", _of("twin", "first"))
    install("second", _of("twin", "second"))
    with pytest.raises(UsageError, match=r"'twin'.*first 2\.0.*second 2\.0"):
        Registry(Plugins())


def test_a_bundled_name_cannot_be_taken(install: Install) -> None:
    install("thief", _of("target-copy", "thief"))
    with pytest.raises(UsageError, match=r"mfim_bench\.references.*thief 2\.0"):
        Registry(Plugins())


def test_load_variable(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    install("first", _of("one", "first"))
    install("second-plugin", _of("two", "second_plugin"))
    for value, expected in {
        "": set(),
        "first": {"one"},
        "second_plugin": {"two"},
        "entry-of-first, second-plugin": {"one", "two"},
    }.items():
        monkeypatch.setenv("MFIM_BENCH_LOAD_PLUGINS", value)
        assert set(Registry(Plugins()).methods) == {"target-copy", "source-copy", "truth"} | expected
    monkeypatch.setenv("MFIM_BENCH_LOAD_PLUGINS", "frist")
    with pytest.raises(UsageError, match="did you mean first"):
        Plugins()


def test_trace_variable(install: Install, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    install("first", _of("one", "first"))
    Registry(Plugins())
    assert capsys.readouterr().err == ""
    monkeypatch.setenv("MFIM_BENCH_TRACE_PLUGINS", "1")
    Registry(Plugins())
    traced = capsys.readouterr().err
    assert "plugins: loaded entry-of-first from first 2.0 (first)" in traced
    assert "plugins: mfim_bench_methods() of first 2.0 (first)" in traced


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> Registry:
    monkeypatch.setenv("MFIM_BENCH_LOAD_PLUGINS", "")
    return Registry(Plugins())


def test_unknown_names_have_suggestions(registry: Registry) -> None:
    with pytest.raises(UsageError, match="did you mean target-copy"):
        registry.method("target_copy")
    with pytest.raises(UsageError, match="known: source-copy, target-copy, truth"):
        registry.method("zzz")
    with pytest.raises(UsageError, match="did you mean identity"):
        registry.measure("identiti")
    with pytest.raises(UsageError, match="no protocol is called 'x'"):
        registry.protocol("x")


def test_a_family_means_its_default(registry: Registry) -> None:
    assert registry.measure("identity").name == "identity@dlib-l2"
    assert registry.measure("identity@dlib-l2") is registry.measure("identity")
    first = registry.measure("identity")
    registry.measures["identity@other"] = replace(first, name="identity@other", default=False)
    assert registry.measure("identity") is first
    registry.measures["identity@dlib-l2"] = replace(first, default=False)
    with pytest.raises(UsageError, match="several variants"):
        registry.measure("identity")


def test_a_protocol_has_variants_and_a_default(registry: Registry, tmp_path: Path) -> None:
    specs = [
        ProtocolSpec(name="faces++@even", factory="builtins:list", version="1", default=True),
        ProtocolSpec(name="faces++@random-c40", factory=f"{__name__}:opened", version="1", argument="random c40"),
        ProtocolSpec(name="alone@only", factory="builtins:list", version="1"),
    ]
    registry.protocols.update({spec.name: spec for spec in registry.protocols._valid(specs)})
    assert registry.protocol("faces++").name == "faces++@even"
    assert registry.protocol("alone").name == "alone@only"
    assert load_protocol(registry.protocol("faces++@random-c40"), tmp_path) == (tmp_path, "test", "random c40")
    with pytest.raises(UsageError, match=r"did you mean faces\+\+@even"):
        registry.protocol("faces++@evn")
    with pytest.raises(UsageError, match="no protocol is called 'faces'; did you mean"):
        registry.protocol("faces")
    registry.protocols["faces++@even"] = replace(specs[0], default=False)
    with pytest.raises(UsageError, match="several variants"):
        registry.protocol("faces++")
    for name in ("a@b@c", "+a", "a+++", "@a", "a@", "../a", "a/b"):
        with pytest.raises(ValueError, match="cannot be the name of a protocol"):
            registry.protocols._valid([replace(specs[0], name=name)])


def opened(*arguments: object) -> tuple[object, ...]:
    return arguments


def test_references_at_a_size(registry: Registry) -> None:
    spec = registry.method("truth@64")
    assert (spec.name, spec.size, spec.template, spec.oracle) == ("truth@64", 64, "ffhq", True)
    registry.methods["fixed"] = MethodSpec(name="fixed", factory="a:b", version="1", size=128)
    for name in ("fixed@64", "truth@8", "truth@99999", "truth@x"):
        with pytest.raises(UsageError):
            registry.method(name)


def test_a_method_may_take_an_argument(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MFIM_BENCH_LOAD_PLUGINS", "blends")
    source = (
        HEADER + "BASE = MethodSpec('blend', 'blends:f', '1', with_argument='blends:at')\n"
        "def at(argument):\n"
        "    if argument == 'number':\n        return 3\n"
        "    name = argument if argument in ('blend', '../x') else f'blend-{int(argument)}'\n"
        "    return MethodSpec(name, 'blends:f', '1', argument=argument)\n"
    )
    install("blends", source + HOOK + "return [BASE, MethodSpec('plain', 'blends:f', '1')]\n")
    registry = Registry(Plugins())
    spec = registry.method("blend:7")
    assert (spec.name, spec.argument) == ("blend-7", "7")
    assert "blend-7" not in registry.methods
    for text, message in {
        "blend:": "wants an argument after the colon",
        "plain:7": "plain takes no argument",
        "blend:x": "method blend:x could not be loaded: ValueError: invalid literal",
        "blend:number": "blends:at must return a MethodSpec, not int",
        "blend:../x": r"'\.\./x' cannot be the name of blend:\.\./x",
        "blend:blend": "'blend' cannot be the name of",
        "bland:7": "no method is called 'bland:7'; did you mean blend",
    }.items():
        with pytest.raises(UsageError, match=message):
            registry.method(text)


def test_resolve() -> None:
    assert resolve("pathlib:Path.home") == Path.home
    for bad in ("pathlib", "pathlib:", ":Path", "pathlib:Nothing", "no_such_module:x"):
        with pytest.raises(UsageError, match=bad.partition(":")[0] or "module:attr"):
            resolve(bad)


def test_loading_names_what_failed(registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "factories.py").write_text(
        "def fails(device):\n    raise KeyError('weights')\n"
        "def empty(device):\n    return object()\n"
        "class Variant:\n    def __init__(self, device, which):\n        self.which = which\n"
        "    def swap(self, s, t):\n        return t\n"
        "def opens(data, split):\n    return (data, split)\n"
    )
    device = torch.device("cpu")
    with pytest.raises(UsageError, match="method m could not be loaded: KeyError: 'weights'"):
        load_method(MethodSpec("m", "factories:fails", "1"), device)
    with pytest.raises(UsageError, match=r"without swap\(\)"):
        load_method(MethodSpec("m", "factories:empty", "1"), device)
    assert load_method(MethodSpec("m", "factories:Variant", "1", argument="big"), device).which == "big"  # type: ignore[union-attr]
    protocol = ProtocolSpec("p", "factories:opens", "1", splits=("test", "train"))
    assert load_protocol(protocol, tmp_path) == (tmp_path, "test")
    with pytest.raises(UsageError, match="needs --data"):
        load_protocol(protocol)
    with pytest.raises(UsageError, match="there is no folder"):
        load_protocol(protocol, tmp_path / "nothing")
    with pytest.raises(UsageError, match="did you mean train"):
        load_protocol(protocol, tmp_path, "trian")


def test_the_registry_imports_no_torch() -> None:
    code = "import sys; from mfim_bench.plugins import registry; registry(); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
