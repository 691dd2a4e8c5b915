"""Do judge and supervisor err alike?"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from mfim.supervisors import networks
from mfim.supervisors.correlate import compared, correlate
from mfim_bench.cli import run_command
from mfim_bench.errors import UsageError
from mfim_bench.networks import files
from mfim_protocols.judges import data, heldout


def test_correlations_are_those_of_the_errors() -> None:
    rng = np.random.default_rng(0)
    common, one, other = rng.normal(size=(3, 4000, 6))
    figures = compared(common + one, common + other + 5, "shape")
    assert figures["errors"] == pytest.approx(0.5, abs=0.03)  # half of each one's variance is common; a bias is not
    assert figures["judge"] == pytest.approx(2.35, abs=0.03)  # the mean of chi with 6 degrees of freedom
    small, large = rng.uniform(0.1, 1, (2, 4000, 1))
    angles = compared(small * one[:, :3], small * other[:, :3], "pose")
    assert angles["errors"] == pytest.approx(0, abs=0.03)
    assert angles["sizes"] > compared(small * one[:, :3], large * other[:, :3], "pose")["sizes"] + 0.2
    assert angles["judge"] == pytest.approx(np.rad2deg(np.abs(small * one[:, :3]).mean()))


def test_judges_and_a_supervisor_on_held_out_faces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(heldout.held_out, "__defaults__", (1, 4, 4))
    torch.manual_seed(0)
    untrained = networks.Face3dSupervisor(data.head_fit(), torch.zeros(320, 2))
    file = tmp_path / "supervisor.safetensors"
    files.save(untrained, file, {"network": "supervisor-face3d"})
    figures = correlate(file, tmp_path, workers=1)
    assert set(figures) == {"shape", "expression", "pose", "pose-hn"}
    for name in ("pose", "pose-hn", "shape"):
        assert figures[name]["judge"] < figures[name]["supervisor"]  # this one has learned nothing
    assert run_command(["judges", "correlate", str(file), "--data", str(tmp_path)]) == 0
    assert "| hopenet's, °" in capsys.readouterr().out


def test_other_files_are_refused(tmp_path: Path) -> None:
    files.save(networks.Recogniser(), tmp_path / "r.safetensors", {"network": "supervisor-r"})
    with pytest.raises(UsageError, match=r"not a 3DMM supervisor|supervisor"):
        correlate(tmp_path / "r.safetensors")
