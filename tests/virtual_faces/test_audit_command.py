"""``mfim-bench audit`` from end to end, on small pictures."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mfim_bench.cli import run_command
from mfim_protocols.virtual_faces import dataset
from mfim_protocols.virtual_faces.audit import pictures


def test_two_people_one_measure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(dataset, "SIZE", 112)
    monkeypatch.setattr(pictures, "SAMPLES", 1)
    command = ["audit", "--people", "2", "--measures", "pose-hn", "--workers", "1", "--out", str(tmp_path)]
    assert run_command([*command, "--json"]) == 0
    shown = capsys.readouterr()
    summary = json.loads(shown.out)
    assert "audit" not in shown.err  # quiet where there is no terminal
    found = summary["measures"]["pose-hn@hopenet-degrees"]
    assert found["people"] == 2
    assert found["independent"][0] > 2 * found["floor"][0]
    assert found["response"][0] > found["shares"]["background"][0]
    assert found["wanted"] == ["yaw", "pitch", "roll"]
    made = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("p00?/*.png")}
    assert len(made) == summary["pictures"]  # less the two crops, which are no pictures, more the two regions
    (folder,) = tmp_path.glob("seed-0-*")
    gone = next(folder.glob("p001/jpeg.png"))
    gone.unlink()  # as if it had been cut off
    assert run_command(command) == 0
    again = capsys.readouterr().out
    assert "pose-hn@hopenet-degrees" in again
    assert str(folder / "heatmap.png") in again
    assert json.loads((folder / "audit.json").read_text()) == summary
    assert gone.exists()
    assert all(path.stat().st_mtime_ns == then for path, then in made.items() if path != gone)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--people", "1"], "at least 2"),
        (["--people", "1001"], "at most 1000 people"),
        (["--seed", "35"], "0 to 34"),
        (["--measures", "idntity"], "did you mean"),
        (["--measures", "error-outside"], "compares pixels"),
        (["--measures", "retrieval@dlib-top1"], "compare a swap with its source or target"),
        (["--measures", "lpips@alex"], "the audit knows what should move identity"),
    ],
)
def test_wrong_use_is_one_line(
    options: list[str], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(["audit", "--out", str(tmp_path), *options]) == 2
    shown = capsys.readouterr()
    assert words in shown.err
    assert shown.err.count("\n") == 1
