"""Two processes train one model: what `accelerate` and `torchrun` do with both stages."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

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
if torch.distributed.is_initialized():
    # One write: the two processes share a pipe, and a print of several words may be cut by the other's.
    sys.stdout.write(f"rank {torch.distributed.get_rank()} of {torch.distributed.get_world_size()}\\n")
"""


def test_both_stages_train_over_two_processes(tmp_path: Path) -> None:
    script = tmp_path / "train.py"
    script.write_text(TRAIN)

    def train(launch: list[str], out: Path) -> str:
        command = [sys.executable, *launch, str(script), str(Path(__file__).parent), str(out)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr[-2000:]
        return done.stdout

    two, one = tmp_path / "two", tmp_path / "one"
    said = train(["-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"], two)
    assert "rank 0 of 2" in said
    assert "rank 1 of 2" in said
    train([], one)
    for stage, steps, network in (("gan", 3, "synthesis"), ("swap", 5, "mfim")):
        together, alone = read(two / f"{stage}.pt"), read(one / f"{stage}.pt")
        assert together["step"] == alone["step"] == steps
        # Rank 0 drew what the single process drew: only the other rank's gradients can part them.
        moved = [(together[network][name] - value).abs().max().item() for name, value in alone[network].items()]
        assert max(moved) > 1e-4
    # One process writes: each step is logged once.
    lines = (two / "swap.jsonl").read_text().splitlines()
    assert len(lines) == len(set(lines)) == 2
