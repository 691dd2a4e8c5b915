"""Two processes train one model: what `accelerate` and `torchrun` do with both stages."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from mfim.training.run import read

TRAIN = """
import sys
from pathlib import Path

import torch

sys.path.insert(0, sys.argv[1])
torch.set_num_threads(1)
from conftest import TINY, Embed, Fit, faces
from mfim import config
from mfim.supervision import Supervision
from mfim.training import gan, swap

tiny = config.load("virtual-64", [*TINY, "swap.critic_first=2"])
torch.manual_seed(7)
supervision = Supervision(Embed(), Fit(), 32, torch.device("cpu"))
out = Path(sys.argv[2])
first = gan.train(tiny, faces(), out, steps=3, device="cpu")
training, held_out = faces().split(0.3)
swap.train(tiny, training, held_out, out, first, steps=5, device="cpu", supervision=supervision)
print("rank", torch.distributed.get_rank(), "of", torch.distributed.get_world_size())
"""


@pytest.mark.parametrize("processes", [2])
def test_both_stages_train_over_processes(processes: int, tmp_path: Path) -> None:
    script = tmp_path / "train.py"
    script.write_text(TRAIN)
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}"]
    command = [*launch, str(script), str(Path(__file__).parent), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    assert all(f"rank {k} of {processes}" in done.stdout for k in range(processes))
    assert read(tmp_path / "gan.pt")["step"] == 3
    assert read(tmp_path / "swap.pt")["step"] == 5
    # One process writes: each step is logged once.
    lines = (tmp_path / "swap.jsonl").read_text().splitlines()
    assert len(lines) == len(set(lines)) == 2
