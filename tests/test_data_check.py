"""``mfim-bench data check`` on a folder of images: complete, incomplete, broken where only decoding shows it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from mfim_bench import weights
from mfim_bench.cli import run_command
from mfim_bench.media.images import write_image


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(weights.CACHE_VARIABLE, str(tmp_path / "cache"))
    folder = tmp_path / "data"
    folder.mkdir()
    for name in "abc":
        write_image(folder / f"{name}.png", np.full((32, 32, 3), ord(name), np.uint8))
    (folder / "pairs.csv").write_text("source,target\na.png,b.png\nb.png,c.png\n")
    return folder


def check(data: Path, *options: str) -> int:
    return run_command(["data", "check", "folder", "--data", str(data), *options])


def test_complete(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert check(data) == 0
    assert "folder test: complete, 2 pairs, no file was decoded" in capsys.readouterr().out
    assert check(data, "--deep") == 0
    told = capsys.readouterr().out
    assert "folder test: files: 3 of 3" in told
    assert "complete, 2 pairs, content hash " in told
    assert check(data, "--deep", "--json") == 0
    found = json.loads(capsys.readouterr().out)["test"]
    assert (found["pairs"], found["problems"], len(found["content_hash"])) == (2, [], 64)


def test_missing(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (data / "b.png").unlink()
    assert check(data) == 1
    told = capsys.readouterr().out
    assert "folder test: missing b.png" in told
    assert "complete" not in told
    assert check(data, "--json") == 1
    found = json.loads(capsys.readouterr().out)["test"]
    assert found["problems"] == ["missing b.png"]
    assert "content_hash" not in found


def test_broken_is_seen_by_decoding_alone(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole = (data / "c.png").read_bytes()
    (data / "c.png").write_bytes(whole[: len(whole) // 2])
    assert check(data) == 0
    capsys.readouterr()
    assert check(data, "--deep") == 1
    assert "folder test: c.png: broken or truncated image" in capsys.readouterr().out
