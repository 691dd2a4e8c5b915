"""The import floors of the design: an import points down only, and listing stays light."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "mfim_bench"

FLOORS = [
    {"method", "protocol", "measure", "hookspecs", "errors", "weights", "adhoc", "plugins", "audited", "cli_groups"},
    {"references", "media"},
    {"faces", "adapters"},
    {"networks"},
    {"measures", "statistics"},
    {"bench"},
    {"check", "report"},
    {"testing"},
    {"cli"},
]
"""Lowest first. A module may import its own floor and those below; `TYPE_CHECKING` imports, which never run, are free.

`weights` is on the lowest floor because hooks name `WeightsSpec`; it holds that and the standard library at its top.
"""
NO_TORCH = [
    "method",
    "protocol",
    "measure",
    "hookspecs",
    "errors",
    "weights",
    "adhoc",
    "plugins",
    "audited",
    "references",
    "cli_groups",
    "testing/__init__",
    "testing/plugin",
    "testing/regression",
    "testing/baseline",
    "testing/conformance",
    "testing/asserts",
]
HEAVY = {
    "torch",
    "torchvision",
    "timm",
    "cv2",
    "scipy",
    "numpy",
    "matplotlib",
    "PIL",
    "pyarrow",
    "facenet_pytorch",
    "av",
}
OUTSIDE = {"mfim", "mfim_protocols", "mfim_bench_classical"}


def _is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")


def _walk(node: ast.AST, *, functions: bool) -> list[ast.AST]:
    """All nodes that run: at import alone, or within functions too."""
    found = [node]
    for child in ast.iter_child_nodes(node):
        if _is_type_checking(child):
            found += [n for statement in child.orelse for n in _walk(statement, functions=functions)]  # type: ignore[attr-defined]
        elif functions or not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            found += _walk(child, functions=functions)
    return found


def imported(path: Path, *, functions: bool) -> set[str]:
    """Dotted names of the modules a file imports."""
    names: set[str] = set()
    for node in _walk(ast.parse(path.read_text()), functions=functions):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            module = node.module or ""
            names |= {f"{module}.{alias.name}" for alias in node.names} if module == "mfim_bench" else {module}
    return names


def floor(unit: str) -> int:
    return next(level for level, units in enumerate(FLOORS) if unit in units)


def unit_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


FILES = sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_point_down(path: Path) -> None:
    unit = unit_of(path)
    for name in imported(path, functions=True):
        top, _, rest = name.partition(".")
        assert top not in OUTSIDE, f"{path.name} imports {name}: the harness knows no plugin"
        if top == "mfim_bench" and unit != "__init__" and rest and rest != "__version__":
            other = rest.partition(".")[0]
            assert floor(other) <= floor(unit), f"{path.name} ({unit}) imports {name}, which is on a higher floor"


def test_every_module_has_a_floor() -> None:
    units = {unit_of(path) for path in FILES} - {"__init__"}
    assert units <= set().union(*FLOORS)


@pytest.mark.parametrize("unit", NO_TORCH)
def test_light_modules_import_nothing_heavy(unit: str) -> None:
    heavy = {name.partition(".")[0] for name in imported(PACKAGE / f"{unit}.py", functions=False)} & HEAVY
    assert not heavy


@pytest.mark.parametrize("path", sorted((PACKAGE / "cli").glob("*.py")), ids=lambda p: p.name)
def test_the_command_line_imports_only_light_modules(path: Path) -> None:
    for name in imported(path, functions=False):
        top, _, rest = name.partition(".")
        assert top not in HEAVY
        if top == "mfim_bench" and rest and rest != "__version__":
            assert rest.partition(".")[0] in {*NO_TORCH, "cli"}, f"{path.name} imports {name} at its top"


def test_the_contract_sees_a_breach(tmp_path: Path) -> None:
    """The test above can fail: it sees imports at the top, within functions, and none under TYPE_CHECKING."""
    path = tmp_path / "x.py"
    path.write_text(
        "from typing import TYPE_CHECKING\nimport torch.nn\nif TYPE_CHECKING:\n    import mfim\n"
        "def f():\n    from mfim_bench import bench\n    from mfim_bench.cli.run import x\n"
    )
    assert imported(path, functions=False) == {"typing", "torch.nn"}
    assert imported(path, functions=True) == {"typing", "torch.nn", "mfim_bench.bench", "mfim_bench.cli.run"}


def test_plugins_of_this_repository_import_only_public_names() -> None:
    for package in ("protocols/mfim_protocols", "reference_model/mfim", "plugins/classical/mfim_bench_classical"):
        for path in (ROOT / package).rglob("*.py"):
            for name in imported(path, functions=True):
                if name.partition(".")[0] == "mfim_bench":
                    assert not any(part.startswith("_") for part in name.split(".")), f"{path}: {name}"


def test_files_stay_short() -> None:
    folders = ("mfim_bench", "protocols", "reference_model", "plugins", "tests")
    long = {
        str(path.relative_to(ROOT)): lines
        for folder in folders
        for path in (ROOT / folder).rglob("*.py")
        if (lines := len(path.read_text().splitlines())) > 500
    }
    assert not long
