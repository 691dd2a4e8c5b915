"""``mfim-bench ablation`` on weights files of the reference model: real swaps, runs that are recorded, the table."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from mfim import config, export
from mfim_bench import plugins, weights
from mfim_bench.cli import run_command

Ask = Callable[..., tuple[int, str, str]]


@pytest.fixture
def ask(
    site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Iterator[Ask]:
    """Types ``mfim-bench ablation …`` in an empty folder, the tiny plugin and the reference model installed."""
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.setenv("MFIM_BENCH_LOAD_PLUGINS", "tiny-faces,mfim-reference")
    monkeypatch.chdir(tmp_path)
    sys.modules.pop("tiny_faces", None)
    plugins.registry.cache_clear()
    plugins.plugins.cache_clear()
    base = ("ablation", "--protocol", "tiny", "--split", "test", "--no-references", "--device", "cpu", "--limit")

    def typed(*arguments: str, limit: int = 6) -> tuple[int, str, str]:
        code = run_command([*base, str(limit), *arguments])
        return code, *capfd.readouterr()

    yield typed
    sys.modules.pop("tiny_faces", None)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three weights files that say what trained them: the shipped weights, those a little moved, those without maps."""
    folder = tmp_path_factory.mktemp("trained")
    shipped = weights.path("mfim-virtual-64")
    for variant, seed, moved in (("full", 0, 0.0), ("full", 1, 0.02), ("no-maps", 0, 0.0)):
        settings = config.load(f"ablation-{variant}", [f"seed={seed}"])
        model = export.load(shipped, torch.device("cpu"))
        generator = torch.Generator().manual_seed(seed)
        for value in model.encoder.parameters():
            value += moved * value.abs().mean() * torch.randn(value.shape, generator=generator)
        about = {"config": settings.model_dump_json(), "steps": "10"}
        export.write(model, folder / f"{variant}-{seed}.safetensors", settings.model, about)
    return folder


def test_files_are_run_grouped_by_what_they_say_and_compared(ask: Ask, trained: Path, tmp_path: Path) -> None:
    code, output, errors = ask(f"mfim:{trained}/*.safetensors", "--json")
    assert (code, errors) == (0, "")
    told = json.loads(output)
    full, without = told["rows"]
    assert (full["name"], without["name"]) == ("ablation-full", "ablation-no-maps")
    assert [run["method"] for run in full["runs"]] == ["mfim-full-0", "mfim-full-1"]
    assert [(row["scored"], row["failed"]) for row in told["rows"]] == [(6, 0)] * 2
    assert full["measures"]["tiny-error@l1"]["run_sd"] > 0
    drawn = next(d for d in told["differences"] if d["measure"] == "tiny-error@l1")
    assert drawn["mean"] > 0, "weights trained with maps, their maps left out, draw another picture"
    for run in full["runs"]:
        summary = json.loads((tmp_path / run["folder"] / "summary.json").read_text())
        mean = summary["measures"]["tiny-error@l1"]["mean"]
        assert mean in [pytest.approx(m) for m in full["measures"]["tiny-error@l1"]["run_means"]]
        assert run["version"].endswith(weights.sha256(Path(run["argument"])))
    log = (tmp_path / "runs" / "scorings.jsonl").read_text()
    assert len(log.splitlines()) == 3

    code, output, errors = ask(f"mfim:{trained}/*.safetensors", "--markdown", "--baseline", "ablation-no-maps")
    assert (code, errors) == (0, "")
    assert (tmp_path / "runs" / "scorings.jsonl").read_text() == log, "answered from the record"
    table = [line.split("|")[1:3] for line in output.splitlines() if line.startswith("| ablation")]
    assert [[cell.strip() for cell in row] for row in table[:2]] == [
        ["ablation-no-maps", "one training run"],
        ["ablation-full", "2 runs"],
    ]
    assert len(table) == 3
    assert f"{-drawn['mean']:+.1f}" in output
    assert "mfim-full-1 (ablation-full, seed 1, 10 steps, full-1.safetensors)" in output


def test_any_methods_can_be_labelled(ask: Ask) -> None:
    code, _, errors = ask("half=blend", "half=blend-self", "copy=target-copy@64")
    assert code == 2
    assert "blend and blend-self have the same distance in every pair" in errors
    code, output, errors = ask("half=blend", "blend-raise", limit=12)
    assert code == 1
    assert "blend-raise: " in errors
    assert "pairs failed, see runs/tiny/blend-raise/" in errors
    assert "half " in output
    assert "not ranked: the methods were scored on different pairs" in output
    assert ask("half=blend", "blend-raise", "--allow-failed", "0.9", limit=12) == (0, output, "")


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (("blend", "blend"), "blend is given twice"),
        (("blend", "--baseline", "blen"), "no variant is called 'blen'; did you mean blend"),
        (("a=blen",), "did you mean blend"),
        (("dir:nowhere/*",), "no file fits nowhere/*"),
        (("mfim:none.safetensors",), "mfim:none.safetensors: there is no such file"),
        (("blend", "--json", "--markdown"), "not both"),
        ((), "Missing argument"),
    ],
)
def test_wrong_use_is_one_line(ask: Ask, tmp_path: Path, asked: tuple[str, ...], message: str) -> None:
    code, output, errors = ask(*asked)
    assert (code, output) == (2, "")
    assert message in errors
    assert len(errors.splitlines()) == 1
    assert not (tmp_path / "runs").exists()
