"""Training from prepared shards runs where the renderer's packages are not installed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np

from mfim.training.run import read
from mfim_protocols.virtual_faces.shards import write_part

SCRIPT = """
import sys
from pathlib import Path


class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("anny", "warp", "trimesh", "roma"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


sys.meta_path.insert(0, Absent())
sys.path.insert(0, sys.argv[1])
import torch
from conftest import TINY, Embed, Fit
from mfim import config
from mfim.data import prepare
from mfim.supervision import Supervision
from mfim.training import swap
from mfim_bench.cli import main

torch.set_num_threads(1)
shards, out = Path(sys.argv[2]), Path(sys.argv[3])
# As a person starts it; supervisors are given by hand, since their weights are made, not shipped.
sets = [word for value in TINY for word in ("--set", value)]
sys.argv = ["mfim-bench", "train", "mfim", "--stage", "gan", "--shards", str(shards), "--out", str(out), "--steps", "2"]
sys.argv += ["--device", "cpu", *sets]
try:
    main()
except SystemExit as end:
    assert not end.code, end.code
settings = config.load("virtual-64", [*TINY, "swap.true=0"])
supervision = Supervision(Embed(), Fit(), 32, torch.device("cpu"))
swap.train(
    settings, *prepare([shards], 32, out / "cache").split(0.3), out, out / "gan.pt", steps=2, device="cpu",
    supervision=supervision,
)
"""


def test_shards_need_no_renderer(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    shards = tmp_path / "shards"
    shards.mkdir()
    points = np.array([[22, 24], [42, 24], [32, 34], [25, 44], [39, 44]], np.float32)
    count = 12
    labels = {
        "identity": np.repeat(np.arange(6), 2),
        "shape": np.zeros((count, 80), np.float32),
        "expression": np.zeros((count, 52), np.float32),
        "pose": np.zeros((count, 3), np.float32),
        "points5": np.repeat(points[None], count, 0),
        "points68": np.zeros((count, 68, 2), np.float32),
        "dense": np.zeros((count, 4, 2), np.float32),
        "onto": np.full(count, -1, np.int64),
    }
    write_part(shards, 0, random.integers(0, 255, (count, 64, 64, 3), dtype=np.uint8), labels)
    (shards / "meta.json").write_text("{}")
    script = tmp_path / "train.py"
    script.write_text(SCRIPT)
    command = [sys.executable, str(script), str(Path(__file__).parent), str(shards), str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stderr[-2000:]
    assert read(tmp_path / "out" / "gan.pt")["step"] == read(tmp_path / "out" / "swap.pt")["step"] == 2
