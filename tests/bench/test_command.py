"""The command line in processes of its own: the table, exit codes, and kill -9 at any moment."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

LIMIT = "28"


def start(site: Path, *arguments: str, cwd: Path) -> subprocess.Popen[str]:
    environment = os.environ | {"PYTHONPATH": str(site), "MFIM_BENCH_LOAD_PLUGINS": "tiny-faces", "COLUMNS": "200"}
    command = [sys.executable, "-m", "mfim_bench.cli", *arguments]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=cwd, env=environment, stdout=pipe, stderr=pipe, text=True)


def finish(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    output, errors = process.communicate(timeout=300)
    return process.returncode, output, errors


def test_run_prints_the_table_and_answers_again(site: Path, tmp_path: Path) -> None:
    arguments = ("run", "--method", "blend-self", "--protocol", "tiny", "--split", "test", "--limit", "6")
    code, output, errors = finish(start(site, *arguments, cwd=tmp_path))
    assert (code, errors) == (0, "")  # quiet: no progress bar where there is no terminal
    for word in ("blend-self", "target-copy@64", "truth@64", "tiny-source ↓", "†", "‡", "self-judged", "6", "±"):
        assert word in output
    page = next(tmp_path.glob("runs/tiny/blend-self/*/report.html"))
    assert str(page.relative_to(tmp_path)) in output
    log = (tmp_path / "runs" / "scorings.jsonl").read_text()
    assert len(log.splitlines()) == 6
    code, again, _ = finish(start(site, *arguments, cwd=tmp_path))
    assert (code, again) == (0, output)
    assert (tmp_path / "runs" / "scorings.jsonl").read_text() == log


def test_exit_codes(site: Path, tmp_path: Path) -> None:
    base = ("run", "--protocol", "tiny", "--no-references", "--limit", "12")
    code, output, errors = finish(start(site, *base, "--method", "blend-raise", cwd=tmp_path))
    assert code == 1
    assert "too dark for me" in output
    assert len(errors.splitlines()) == 1
    code, _, errors = finish(start(site, *base, "--method", "blend-raise", "--allow-failed", "0.5", cwd=tmp_path))
    assert (code, errors) == (0, "")
    code, _, errors = finish(start(site, *base, "--method", "blen", cwd=tmp_path))
    assert code == 2
    assert "did you mean blend" in errors
    assert len(errors.splitlines()) == 1
    code, _, errors = finish(start(site, "score", "nowhere", "--protocol", "tiny", cwd=tmp_path))
    assert code == 2
    assert len(errors.splitlines()) == 1


def survive_kills(site: Path, tmp_path: Path, kills: int, seed: int) -> None:
    arguments = ("run", "--method", "blend", "--protocol", "tiny", "--limit", LIMIT, "--batch-size", "5")
    calm, rough = tmp_path / "calm", tmp_path / "rough"
    calm.mkdir()
    rough.mkdir()
    begin = time.monotonic()
    assert finish(start(site, *arguments, cwd=calm))[0] == 0
    whole = time.monotonic() - begin
    generator = random.Random(seed)
    for _ in range(kills):
        process = start(site, *arguments, cwd=rough)
        # The first half of a run is Python's imports; most kills should hit the work.
        time.sleep(generator.uniform(0.3, 0.95) * whole)
        process.send_signal(signal.SIGKILL)
        process.communicate()
    assert finish(start(site, *arguments, cwd=rough))[0] == 0
    expected = {p.relative_to(calm): p.read_bytes() for p in calm.rglob("summary.json")}
    found = {p.relative_to(rough): p.read_bytes() for p in rough.rglob("summary.json")}
    assert len(expected) == 6
    assert found == expected
    assert not list(rough.rglob("images/.*"))
    for path in expected:
        assert json.loads((rough / path).with_name("manifest.json").read_text())["status"] == "complete"


def test_kill_9_twice(site: Path, tmp_path: Path) -> None:
    survive_kills(site, tmp_path, kills=2, seed=1)


@pytest.mark.slow
def test_kill_9_five_times(site: Path, tmp_path: Path) -> None:
    survive_kills(site, tmp_path, kills=5, seed=2)


def test_report_compare_leaderboard(site: Path, tmp_path: Path) -> None:
    base = ("run", "--protocol", "tiny", "--split", "test", "--limit", "12", "--json")
    folders = []
    for method in ("blend", "target-copy@32"):
        code, output, _ = finish(start(site, *base, "--method", method, "--no-references", cwd=tmp_path))
        assert code == 0
        mark = json.loads(output)[0]["fingerprint"]
        folders.append(str(Path("runs") / "tiny" / method / mark))
    code, output, _ = finish(start(site, "report", *folders, "-o", "both.html", cwd=tmp_path))
    assert code == 0
    assert (tmp_path / "both.html").stat().st_size > 20_000
    code, output, _ = finish(start(site, "compare", *folders, cwd=tmp_path))
    assert code == 0
    assert "12 pairs that both scored" in output
    failing = ("compare", *folders, "--fail-if", "tiny-source < 100", "--json")
    code, output, errors = finish(start(site, *failing, cwd=tmp_path))
    assert code == 1
    assert json.loads(output)[0]["n"] == 12
    assert "holds" in errors
    code, output, _ = finish(start(site, "leaderboard", "--protocol", "tiny", cwd=tmp_path))
    assert code == 0
    assert output.index("blend") < output.index("target-copy@32")
    code, _, errors = finish(start(site, "report", "runs", cwd=tmp_path))
    assert code == 2
    assert "not a run" in errors
