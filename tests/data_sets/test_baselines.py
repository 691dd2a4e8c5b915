"""docs/baselines.md: the loop over a manifest's pairs is run as it stands there."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

from mfim_bench.bench import Record
from mfim_bench.cli import run_command

PAGE = (Path(__file__).parents[2] / "docs" / "baselines.md").read_text()
STAND_IN = """
from pathlib import Path
import shutil


def swap(source, target, output):
    shutil.copy(source, output)
"""


def test_the_loop_passes_over_frames_that_could_not_be_decoded(tmp_path: Path) -> None:
    (loop,) = re.findall(r"<!-- file: loop\.py -->\n```python\n(.*?)```", PAGE, re.DOTALL)
    (tmp_path / "loop.py").write_text(loop)
    (tmp_path / "method.py").write_text(STAND_IN)
    (tmp_path / "a.png").write_bytes(b"a")
    pairs = [{"id": "1", "source_path": None, "target_path": "a.png"}, {"id": "2", "source_path": "a.png"}]
    pairs = [{"target_path": None} | pair for pair in pairs]
    pairs.append({"id": "3", "source_path": "a.png", "target_path": "a.png"})
    (tmp_path / "manifest.json").write_text(json.dumps({"pairs": pairs}))
    subprocess.run([sys.executable, "loop.py", "manifest.json", "results"], cwd=tmp_path, check=True)
    assert [path.name for path in (tmp_path / "results").iterdir()] == ["3.png"]


def test_a_folder_of_results_made_from_the_manifest(faceforensics: Path, tmp_path: Path) -> None:
    (loop,) = re.findall(r"<!-- file: loop\.py -->\n```python\n(.*?)```", PAGE, re.DOTALL)
    (tmp_path / "loop.py").write_text(loop)
    (tmp_path / "method.py").write_text(STAND_IN)
    options = ["--protocol", "faceforensics++", "--data", str(faceforensics), "--out", str(tmp_path / "runs")]
    options += ["--limit", "3", "--measures", "identity,pose-hn", "--device", "cpu"]
    assert run_command(["run", "--method", "target-copy", "--no-references", *options]) == 0
    (manifest,) = (tmp_path / "runs").glob("faceforensics++@infoswap/target-copy/*/manifest.json")
    subprocess.run([sys.executable, "loop.py", manifest, "results"], cwd=tmp_path, check=True)
    assert len(list((tmp_path / "results").iterdir())) == 3
    assert run_command(["score", str(tmp_path / "results"), "--no-references", *options]) == 0
    (made,) = (tmp_path / "runs").glob("faceforensics++@infoswap/dir-results/*")
    record = Record.load(made)
    assert record.summary["scored"] == 3
    assert record.summary["measures"]["identity@dlib-l2"]["mean"] == 0, "the source's own frame stands as the swap"
    assert record.summary["measures"]["pose-hn@hopenet-degrees"]["mean"] > 1
