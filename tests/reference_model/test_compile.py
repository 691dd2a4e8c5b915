"""``torch.compile`` trains what eager execution trains."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from mfim.config import Config
from mfim.data import Faces
from mfim.supervision import Supervision
from mfim.training import gan, swap
from mfim.training.run import compile_networks, read
from mfim_bench.errors import UsageError


def test_no_compiler_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    network = torch.nn.Linear(2, 2)
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(UsageError, match=r"--compile needs a C\+\+ compiler, and there is no no-such-compiler"):
        compile_networks(torch.device("cpu"), network)


@pytest.mark.slow
@pytest.mark.timeout(3000)  # the compiler takes most of it
def test_compiled_stages_train_like_eager_ones(
    tiny: Config, data: Faces, supervision: Supervision, tmp_path: Path
) -> None:
    if shutil.which("g++") is None:
        pytest.fail("this proof needs g++")
    training, held_out = data.split(0.3)
    for compiled in (False, True):
        out = tmp_path / str(compiled)
        first = gan.train(tiny, data, out, steps=4, device="cpu", compiled=compiled)
        begin = tmp_path / "False" / first.name
        swap.train(
            tiny, training, held_out, out, begin, steps=4, device="cpu", supervision=supervision, compiled=compiled
        )
    for stage, networks in (("gan", ("synthesis", "discriminator")), ("swap", ("mfim", "discriminator"))):
        eager, made = (read(tmp_path / str(compiled) / f"{stage}.pt") for compiled in (False, True))
        for network in networks:
            assert made[network].keys() == eager[network].keys()
            differences = [float((made[network][k] - v).abs().max()) for k, v in eager[network].items()]
            assert 0 < max(differences) < 1e-5  # not the same code, but the same training
