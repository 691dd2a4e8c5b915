"""A step is the same over processes, over passes, and after a kill: what `accelerate launch` and `torchrun` start."""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from mfim.config import Config
from mfim.data import Faces
from mfim.draws import Draws
from mfim.norm import GroupedBatchNorm
from mfim.training import gan
from mfim.training.run import accelerator, read
from mfim.training.spread import Spread
from mfim_bench.errors import UsageError

TRAIN = """
import json, sys
from pathlib import Path

import torch

sys.path.insert(0, sys.argv[1])
torch.set_num_threads(1)
from conftest import TINY, Embed, Fit, faces
from mfim import config
from mfim.supervision import Supervision
from mfim.training import gan, swap

out, setup = Path(sys.argv[2]), json.loads(sys.argv[3])
tiny = config.load("virtual-64", [*TINY, *setup["set"]])
torch.manual_seed(7)
supervision = Supervision(Embed(), Fit(), 32, torch.device("cpu"))
same = {"steps": setup["steps"], "device": "cpu", "resume": True, "passes": setup.get("passes", 1)}
first = gan.train(tiny, faces(), out, **same)
# Both stages alike: rounding in stage one must not be what stage two begins from.
first = Path(setup.get("first", first))
swap.train(tiny, *faces().split(0.3), out, first, supervision=supervision, **same)
if torch.distributed.is_initialized():
    # One write: the two processes share a pipe, and a print of several words may be cut by the other's.
    sys.stdout.write(f"rank {torch.distributed.get_rank()} of {torch.distributed.get_world_size()}\\n")
"""
SLOW_RATES = [
    "gan.learning_rate=0.0001",
    "gan.discriminator_rate=0.0001",
    "swap.learning_rate=0.0001",
    "swap.generator_rate=0.0001",
    "swap.discriminator_rate=0.0001",
]
"""At which the last bits of a sum do not grow past the bar in 20 steps."""
NETWORKS = {"gan": ("mapping", "synthesis", "discriminator"), "swap": ("mfim", "mfim_ema", "discriminator")}


@pytest.fixture
def script(tmp_path: Path) -> Path:
    (tmp_path / "train.py").write_text(TRAIN)
    return tmp_path / "train.py"


def command(script: Path, out: Path, setup: dict[str, object], launch: list[str] | None = None) -> list[str]:
    return [sys.executable, *(launch or []), str(script), str(Path(__file__).parent), str(out), json.dumps(setup)]


def train(*arguments: object) -> str:
    done = subprocess.run(command(*arguments), capture_output=True, text=True, timeout=500)  # type: ignore[arg-type]
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def furthest(one: Path, other: Path, stage: str) -> float:
    """The largest difference of two trainings' networks."""
    a, b = read(one / f"{stage}.pt"), read(other / f"{stage}.pt")
    assert a["step"] == b["step"]
    pairs = [(a[network][name], value) for network in NETWORKS[stage] for name, value in b[network].items()]
    return max(float((x - y).abs().max()) for x, y in pairs)


def test_two_processes_take_the_steps_of_one(script: Path, tmp_path: Path) -> None:
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    one, two, passes = tmp_path / "one", tmp_path / "two", tmp_path / "passes"
    setup: dict[str, object] = {
        "steps": 20,
        "set": [*SLOW_RATES, "gan.batch=16", "swap.batch=16", "swap.critic_first=2", "swap.views=0.5"],
    }
    train(script, one, setup)
    setup["first"] = str(one / "gan.pt")
    said = train(script, two, setup, launch)
    assert "rank 0 of 2" in said
    assert "rank 1 of 2" in said
    train(script, passes, setup | {"passes": 2})
    for stage in ("gan", "swap"):
        assert furthest(one, two, stage) < 1e-5
        assert furthest(one, passes, stage) < 1e-5
    begun = read(one / "gan.pt")["synthesis_ema"]
    learned = read(one / "swap.pt")["mfim"]
    assert max(float((learned[f"synthesis.{name}"] - value).abs().max()) for name, value in begun.items()) > 1e-3
    # One process writes, and means are over all rows: every line is there once, with the values of one process.
    lines = [[json.loads(line) for line in (out / "swap.jsonl").read_text().splitlines()] for out in (one, two)]
    assert len(lines[1]) == 5
    for alone, together in zip(*lines, strict=True):
        del alone["images_per_second"], together["images_per_second"]
        assert together == pytest.approx(alone, abs=1e-3)


def test_blocks_without_a_gradient_do_not_stop_two_processes(script: Path, tmp_path: Path) -> None:
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    setup = {"steps": 2, "set": ["gan.batch=8", "swap.batch=8", "model.style_maps=false"]}
    train(script, tmp_path / "out", setup, launch)
    assert read(tmp_path / "out" / "swap.pt")["step"] == 2


def start(processes: int, *arguments: object) -> list[subprocess.Popen[bytes]]:
    """As launchers start them."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    world = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": str(processes)}
    world["LOCAL_WORLD_SIZE"] = str(processes)
    return [
        subprocess.Popen(
            command(*arguments),  # type: ignore[arg-type]
            env=os.environ | (world | {"RANK": str(rank), "LOCAL_RANK": str(rank)} if processes > 1 else {}),
            stdout=subprocess.DEVNULL,
        )
        for rank in range(processes)
    ]


@pytest.mark.parametrize("processes", [1, 2])
def test_a_killed_training_goes_on_to_the_bit(script: Path, tmp_path: Path, processes: int) -> None:
    setup = {"steps": 30, "set": ["gan.batch=8", "swap.batch=8", "checkpoint_every=3", "swap.validate_every=10"]}
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert [p.wait(300) for p in start(processes, script, whole, setup)] == [0] * processes
    chance = random.Random(processes)
    for stage in ("gan", "swap"):  # a kill in each, at some step after the first checkpoint
        running = start(processes, script, killed, setup)
        while not (killed / f"{stage}.pt").exists():
            assert all(p.poll() is None for p in running)
            time.sleep(0.01)
        time.sleep(chance.uniform(0.0, 0.5))
        for process in running:
            process.send_signal(signal.SIGKILL)
        assert [p.wait() for p in running] == [-signal.SIGKILL] * processes
        assert read(killed / f"{stage}.pt")["step"] < 30
    assert [p.wait(300) for p in start(processes, script, killed, setup)] == [0] * processes
    for stage in ("gan", "swap"):
        assert furthest(whole, killed, stage) == 0
        assert same_optimisers(read(whole / f"{stage}.pt"), read(killed / f"{stage}.pt"))
    steps = [json.loads(line)["step"] for line in (killed / "swap.jsonl").read_text().splitlines()]
    assert steps == [10, 20, 30]
    assert not list(killed.glob(".*"))


def same_optimisers(a: dict[str, object], b: dict[str, object]) -> bool:
    def flat(value: object) -> list[object]:
        if isinstance(value, dict):
            return [x for key in sorted(value, key=str) for x in flat(value[key])]
        if isinstance(value, list | tuple):
            return [x for item in value for x in flat(item)]
        return [value.tolist() if isinstance(value, Tensor) else value]

    names = [name for name in a if "optimiser" in name or name in ("critic", "means")]
    assert len(names) == 3
    return all(flat(a[name]) == flat(b[name]) for name in names)


def test_a_batch_that_does_not_divide_is_one_line(tiny: Config, data: Faces, tmp_path: Path) -> None:
    with pytest.raises(
        UsageError, match=r"gan\.batch = 4 cannot be spread: 1 process.* 3 pass.* a multiple of 12"
    ) as e:
        gan.train(tiny, data, tmp_path, steps=1, device="cpu", passes=3)
    assert "\n" not in str(e.value)
    host = accelerator("cpu")
    with pytest.raises(UsageError, match="cannot be spread"):
        Spread.of(host, 16, 4, 0, "swap.batch")
    rows = Spread.of(host, 24, 4, 3, "swap.batch").passes
    assert sorted(np.concatenate(rows).tolist()) == list(range(24))
    # Rows b, b + 6, b + 12, b + 18 of 24 stay together, at every second place of a pass of 8.
    assert all((part[k::2] % 6 == part[k] % 6).all() for part in rows for k in range(2))


def test_rows_draw_the_same_wherever_they_are() -> None:
    whole, part = Draws((3, 1), range(8)), Draws((3, 1), [5, 2])
    for draw in (lambda d: d.normal(3, 2), lambda d: d.uniform(4), lambda d: d.integers(1000, 5)):
        everyone, some = draw(whole), draw(part)
        assert torch.equal(everyone[[5, 2]], some)
        assert not torch.equal(everyone[0], everyone[1])
    assert not torch.equal(Draws((3, 2), [5]).normal(3), Draws((3, 1), [5]).normal(3))
    many = Draws((0,), range(2000))
    assert abs(float(many.normal(50).std()) - 1) < 0.01
    assert set(many.integers(3, 1).flatten().tolist()) == {0, 1, 2}


def test_grouped_batch_norm_is_batch_norm_of_each_group() -> None:
    torch.manual_seed(0)
    x = torch.randn(12, 3, 5, 4) * 2 + 1
    grouped, plain = GroupedBatchNorm(3), nn.BatchNorm2d(3)
    grouped.group = 4
    made = grouped(x)
    running = []
    for k in range(3):
        norm = nn.BatchNorm2d(3)
        torch.testing.assert_close(made[k::3], norm(x[k::3]))
        running.append(torch.stack([norm.running_mean, norm.running_var]))  # type: ignore[list-item]
    assert torch.equal(grouped.running_mean, torch.zeros(3))  # type: ignore[arg-type]
    grouped.settle()
    found = torch.stack([grouped.running_mean, grouped.running_var])  # type: ignore[list-item]
    torch.testing.assert_close(found, torch.stack(running).mean(0))
    grouped.settle()  # nothing new was shown
    torch.testing.assert_close(grouped.running_mean, found[0])
    # One group is torch's batch norm, also afterwards.
    single = GroupedBatchNorm(3)
    torch.testing.assert_close(single(x), plain(x))
    single.settle()
    torch.testing.assert_close(dict(single.state_dict()), dict(plain.state_dict()))
    torch.testing.assert_close(single.eval()(x), plain.eval()(x))
    last = x.contiguous(memory_format=torch.channels_last)
    assert grouped(last).is_contiguous(memory_format=torch.channels_last)
    with pytest.raises(ValueError, match="no whole groups"):
        grouped(x[:6])
