"""docs/reporting.md shows what its commands print of the records that are kept."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from mfim_bench.cli import run_command

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "reporting.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^\$ mfim-bench (.*docs/ablations.*)$", PAGE, re.MULTILINE)


@pytest.mark.parametrize("line", COMMANDS)
def test_the_page_shows_what_the_command_prints(
    line: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)
    words = shlex.split(line, comments=True)
    files = [sorted(map(str, Path().glob(word))) if "*" in word else [word] for word in words]
    assert run_command([word for found in files for word in found]) == 0
    assert capsys.readouterr().out.rstrip("\n") in PAGE


def test_the_page_has_both() -> None:
    assert [line.split()[0] for line in COMMANDS] == ["table", "compare"]
