"""A stranger's distribution: built, installed apart, listed, checked, run, and tested by its own one-line test."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from skimage import data

from mfim_bench.media.images import write_image

SOURCE = Path(__file__).parent / "plugin_package"
BROKEN = {
    "pyproject.toml": (
        '[build-system]\nrequires = ["hatchling"]\nbuild-backend = "hatchling.build"\n[project]\n\n'
        'name = "broken-swaps"\nversion = "0.0.1"\n[project.entry-points.mfim_bench]\nbroken = "broken_swaps"\n'
    ),
    "broken_swaps.py": "raise RuntimeError('this plugin\\nraises when imported')\n",
}


def build_and_install(source: Path, site: Path) -> None:
    """Build the distribution and install it into a folder of its own, without network."""
    flags = ["--no-deps", "--no-build-isolation", "--offline", "--no-config", "--quiet"]
    command = [sys.executable, "-m", "uv", "pip", "install", "--python", sys.executable, "--target", str(site), *flags]
    done = subprocess.run([*command, str(source)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def with_site(*sites: Path) -> dict[str, str]:
    """The environment of a process that finds distributions in these folders."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("MFIM_BENCH_")}
    return environment | {"PYTHONPATH": os.pathsep.join(map(str, sites)), "OMP_NUM_THREADS": "1"}


def mfim_bench(
    arguments: list[str], environment: dict[str, str], folder: Path | None = None
) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mfim_bench.cli", *arguments]
    return subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    work = tmp_path_factory.mktemp("stranger")
    shutil.copytree(SOURCE, work / "source", ignore=shutil.ignore_patterns("conftest.py", "__pycache__"))
    build_and_install(work / "source", work / "site")
    return work / "site"


def test_it_is_listed_with_its_origin(site: Path) -> None:
    for kind, name in {
        "methods": "stranger-oval",
        "protocols": "stranger-pairs",
        "measures": "stranger-tint@rgb-l2",
        "weights": "stranger-oval",
    }.items():
        done = mfim_bench(["list", kind, "--json"], with_site(site))
        assert done.returncode == 0, done.stderr
        rows = {row["name"]: row for row in json.loads(done.stdout)}
        assert rows[name]["origin"] == "stranger-swaps 1.2.3 (stranger_swaps.plugin)"
        assert "mfim-bench" in " ".join(row["origin"] for row in rows.values())
    done = mfim_bench(["stranger-greets", "you"], with_site(site))
    assert (done.returncode, done.stdout) == (0, "hello you\n")


def test_it_keeps_the_contract_and_its_weights_are_whole(site: Path) -> None:
    done = mfim_bench(["check", "--method", "stranger-oval"], with_site(site))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "row independence" in done.stdout
    assert mfim_bench(["weights", "verify", "stranger-oval"], with_site(site)).returncode == 0


def test_it_runs_under_its_own_protocol(site: Path, tmp_path: Path) -> None:
    whole = data.astronaut()
    (tmp_path / "photos").mkdir()
    for name, image in {"a": whole[:256, 96:352], "b": whole[:300, 80:360][:, ::-1]}.items():
        write_image(tmp_path / "photos" / f"{name}.png", np.ascontiguousarray(image))
    common = ["--protocol", "stranger-pairs", "--data", "photos"]
    assert (
        mfim_bench(["data", "check", "stranger-pairs", "--data", "photos"], with_site(site), tmp_path).returncode == 0
    )
    done = mfim_bench(["run", "--method", "stranger-oval", *common, "--json"], with_site(site), tmp_path)
    assert done.returncode == 0, done.stderr
    (summary,) = [json.loads(p.read_text()) for p in tmp_path.glob("runs/stranger-pairs/stranger-oval/*/summary.json")]
    assert (summary["pairs"], summary["failed"]) == (2, 0)
    assert set(summary["measures"]) == {"stranger-tint@rgb-l2", "identity@dlib-l2"}
    assert 0 < summary["measures"]["stranger-tint@rgb-l2"]["mean"] < 0.5
    assert list(tmp_path.glob("runs/stranger-pairs/target-copy/*/summary.json"))


def own_tests(source: Path, site: Path, *arguments: str) -> tuple[int, str]:
    """The stranger's tests, as the stranger runs them."""
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--rootdir", str(source), *arguments]
    done = subprocess.run(command, env=with_site(site), cwd=source, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def test_its_own_tests_pass(site: Path) -> None:
    code, said = own_tests(site.parent / "source", site)
    assert code == 0, said
    assert "12 passed" in said
    assert "stranger-oval 1, stranger-oval 7357acf1e469 keeps its baseline: 2 measures, 12 pairs" in said


def test_one_spoiled_line_turns_them_red(site: Path, tmp_path: Path) -> None:
    """Colours in another order: allowed by the contract, so only the baseline tells."""
    source = shutil.copytree(site.parent / "source", tmp_path / "source")
    method = source / "src" / "stranger_swaps" / "method.py"
    line = "return (target + mask * (source + shift - target)).clamp(0, 1)"
    assert line in method.read_text()
    method.write_text(method.read_text().replace(line, line.replace("source + shift", "source.flip(1) + shift")))
    build_and_install(source, tmp_path / "site")
    code, said = own_tests(source, tmp_path / "site", "--mfim-out", "out", "-k", "baseline or Oval")
    assert code == 1
    assert "1 failed, 10 passed, 1 deselected" in said
    assert "stranger-oval is worse than its baseline" in said
    assert "error-inside@l1 ↓" in said
    left = source / "out" / "failures" / "tests" / "test_stranger.test_oval_keeps_its_baseline"
    assert list(left.glob("01-*.png"))


def test_a_plugin_that_raises_at_import_leaves_one_warning_line(site: Path, tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    for name, text in BROKEN.items():
        (tmp_path / "source" / name).write_text(text)
    build_and_install(tmp_path / "source", tmp_path / "site")
    environment = with_site(site, tmp_path / "site")
    done = mfim_bench(["list", "methods"], environment)
    assert done.returncode == 0
    assert "stranger-oval" in done.stdout
    assert "target-copy" in done.stdout
    assert done.stderr == (
        "warning: plugin broken of broken-swaps 0.0.1 (broken_swaps) failed: "
        "RuntimeError: this plugin raises when imported\n"
    )
    done = mfim_bench(["list", "plugins", "--json"], environment)
    state = {row["name"]: row["state"] for row in json.loads(done.stdout)}
    assert state["broken"] == "failed: RuntimeError: this plugin raises when imported"
    assert state["stranger"] == "loaded"
    assert mfim_bench(["check", "--method", "stranger-oval"], environment).returncode == 0
