"""docs/plugins.md: its code is run as it stands, and no hook or field is missing from it."""

from __future__ import annotations

import dataclasses
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest
from test_plugin_package import build_and_install, mfim_bench, with_site

from mfim_bench import hookspecs
from mfim_bench.measure import JudgeSpec, MeasureSpec
from mfim_bench.method import MethodSpec
from mfim_bench.protocol import ProtocolSpec
from mfim_bench.weights import WeightsSpec

PAGE = (Path(__file__).parents[1] / "docs" / "plugins.md").read_text()
FILES = dict(re.findall(r"<!-- file: (\S+) -->\n```\w+\n(.*?)```", PAGE, re.DOTALL))
COMMANDS = [line[2:] for block in re.findall(r"```console\n(.*?)```", PAGE, re.DOTALL) for line in block.splitlines()]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page's files, its plugin built and installed apart."""
    root = tmp_path_factory.mktemp("page")
    for name, text in FILES.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert "pip install ./my-swap" in COMMANDS
    build_and_install(root / "my-swap", root / "site")
    return root


def test_the_page_shows_files_and_commands() -> None:
    assert set(FILES) == {
        "blend.py",
        "my-swap/pyproject.toml",
        "my-swap/my_swap/plugin.py",
        "my-swap/my_swap/method.py",
        "my-swap/tests/test_my_swap.py",
    }
    assert len(COMMANDS) == 5


@pytest.mark.parametrize("command", [command for command in COMMANDS if command.startswith("mfim-bench ")])
def test_its_commands_work(folder: Path, command: str) -> None:
    done = mfim_bench(command.split()[1:], with_site(folder / "site"), folder)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "my-swap" in done.stdout or "blend" in done.stdout


def test_its_test_passes(folder: Path) -> None:
    tests = folder / "my-swap" / "tests"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(tests), str(tests)]
    done = subprocess.run(command, env=with_site(folder / "site"), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


HOOKS = [name for name in vars(hookspecs) if name.startswith("mfim_bench_")]


@pytest.mark.parametrize("hook", HOOKS)
def test_every_hook_is_documented_with_its_signature(hook: str) -> None:
    signature = str(inspect.signature(getattr(hookspecs, hook))).replace("'", "")
    assert f"### `{hook}{signature}`" in PAGE


def test_no_hook_is_documented_that_does_not_exist() -> None:
    assert sorted(re.findall(r"### `(mfim_bench_\w+)", PAGE)) == sorted(HOOKS)


@pytest.mark.parametrize("spec", [MethodSpec, ProtocolSpec, MeasureSpec, JudgeSpec, WeightsSpec])
def test_every_field_is_named(spec: type) -> None:
    paragraph = next(text for text in PAGE.split("\n\n") if f".{spec.__name__}`:" in text)
    for field in dataclasses.fields(spec):
        assert f"`{field.name}`" in paragraph, f"{spec.__name__}.{field.name} is not in docs/plugins.md"
