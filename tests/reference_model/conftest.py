"""A model, supervisors and data small enough to train for a few steps in a test."""

from __future__ import annotations

import pickle
import sys
import types
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from official.twins import twin
from torch import Tensor, nn

from mfim import config
from mfim.checkpoints import irse
from mfim.config import Config
from mfim.data import Faces
from mfim.model import MFIM
from mfim.supervision import Supervision
from mfim.training.run import save

TINY = [
    "precision=float32",
    "checkpoint_every=1000",
    "picture_every=4",
    "model.size=32",
    "model.channel_base=256",
    "model.channel_limit=16",
    "model.discriminator_base=256",
    "model.z_size=8",
    "model.w_size=8",
    "model.mapping_layers=2",
    "model.body_widths=[8, 8, 16, 16]",
    "model.body_units=[1, 1, 1, 1]",
    "model.encoder_width=8",
    "model.map_dividers=[4, 8]",  # a 32 px generator has no 2 px layer
    "gan.batch=4",
    "gan.r1_rows=2",
    "gan.r1_interval=3",
    "swap.batch=4",
    "swap.true=0.5",  # of four rows: one of one identity, two true swaps, one cross pair
    "swap.r1_rows=2",
    "swap.r1_interval=3",
    "swap.recon_ramp=[2, 6]",
    "swap.validate_every=4",
    "swap.steps=40",
]


class Embed(nn.Module):
    """A recogniser of random weights."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 16, 3, 2, 1)
        )

    def forward(self, images: Tensor) -> Tensor:
        return nn.functional.normalize(self.body(images).mean((2, 3)), dim=1)


class Fit(nn.Module):
    """A 3DMM supervisor of random weights."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.Tanh(), nn.Conv2d(8, 135, 3, 2, 1))

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        shape, expression, pose = self.body(images).mean((2, 3)).split([80, 52, 3], 1)
        return {"shape": shape, "expression": expression, "pose": pose}


@pytest.fixture
def tiny_settings() -> list[str]:
    """Overrides that make any configuration at 64 px tiny."""
    return TINY


@pytest.fixture
def tiny() -> Config:
    return config.load("virtual-64", TINY)


@pytest.fixture
def supervision() -> Supervision:
    torch.manual_seed(7)
    return Supervision(Embed(), Fit(), 32, torch.device("cpu"))


def leave_trained(settings: Config, folder: Path) -> Path:
    """``swap.pt`` in a folder, as a training leaves it, but for the training."""
    torch.manual_seed(0)
    model = MFIM(settings.model)
    with torch.no_grad():  # statistics as after training
        model.train()(torch.randn(8, 3, 32, 32), torch.randn(8, 3, 32, 32))
    state = {"step": 12, "model": settings.model.model_dump_json(), "config": settings.model_dump_json()}
    save(folder / "swap.pt", {**state, "mfim_ema": model.state_dict()})
    return folder / "swap.pt"


def faces(people: int = 8, each: int = 3, size: int = 32, seed: int = 0) -> Faces:
    """Smooth random pictures, alike within an identity; each person's last is a true swap onto the next one's first."""
    random = np.random.default_rng(seed)
    coarse = random.uniform(0, 255, (people, 1, 4, 4, 3)) + random.normal(0, 20, (people, each, 4, 4, 3))
    images = np.kron(coarse.clip(0, 255), np.ones((1, 1, size // 4, size // 4, 1))).astype(np.uint8)
    onto = np.full((people, each), -1)
    onto[:, -1] = np.roll(np.arange(people), -1) * each
    return Faces(images.reshape(-1, size, size, 3), np.repeat(np.arange(people), each), f"test{seed}", onto.reshape(-1))


@pytest.fixture
def data() -> Faces:
    return faces()


@pytest.fixture
def little(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same layout with the widths and units of the tiny configuration's body."""
    monkeypatch.setattr(irse, "WIDTHS", (8, 8, 16, 16))
    monkeypatch.setattr(irse, "UNITS", (1, 1, 1, 1))
    file = tmp_path / "little.pth"
    torch.save(twin(irse.recogniser()), file)
    return file


@pytest.fixture
def persistence(monkeypatch: pytest.MonkeyPatch) -> Callable[..., bytes]:
    """Pickles networks as NVlabs' ``torch_utils.persistence`` does, by a stand-in of that name."""

    def rebuild(meta: dict[str, Any]) -> None:
        raise AssertionError("a pickle's code was run")

    rebuild.__module__, rebuild.__qualname__ = "torch_utils.persistence", "_reconstruct_persistent_obj"
    for name in ("torch_utils", "torch_utils.persistence"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    sys.modules["torch_utils.persistence"]._reconstruct_persistent_obj = rebuild  # type: ignore[attr-defined]

    class Network(nn.Module):
        def __reduce__(self) -> tuple[Any, ...]:
            source = "raise SystemExit('the source in a pickle was run')"
            # In the torch of their days these two were ordered dictionaries.
            state = self.__dict__ | {k: OrderedDict(self.__dict__[k]) for k in ("_parameters", "_modules")}
            meta = {"type": "class", "version": 6, "module_src": source, "class_name": "G", "state": state}
            return rebuild, (meta,), None

    def network(tensors: dict[str, Tensor]) -> nn.Module:
        root = Network()
        for key, value in tensors.items():
            *path, last = key.split(".")
            module = root
            for part in path:
                if part not in module._modules:
                    module.add_module(part, Network())
                module = module._modules[part]
            if last in ("resample_filter", "noise_const", "w_avg"):
                module.register_buffer(last, value)
            else:
                module.register_parameter(last, nn.Parameter(value))
        root.register_buffer("scratch", torch.zeros(3), persistent=False)
        return root

    def write(networks: dict[str, Any], protocol: int = 4, **more: Any) -> bytes:
        made = {name: network(value) if isinstance(value, dict) else value for name, value in networks.items()}
        return pickle.dumps({"training_set_kwargs": {"path": "a.zip"}, "augment_pipe": None, **made, **more}, protocol)

    return write
