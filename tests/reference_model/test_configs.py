"""Configurations that extend others: the ablation's differ where they should, and errors are one line."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from mfim import config
from mfim.data import Faces
from mfim.export import export_checkpoint
from mfim.exported import method
from mfim.model import MFIM
from mfim.supervision import Supervision
from mfim.training import gan, swap
from mfim.training.run import read
from mfim.training.swap import parameter_groups
from mfim_bench.errors import UsageError

NO_MAPS = {"model.style_maps": False}
NO_3DMM = {"swap.weights.shape": 0.0, "swap.weights.pose": 0.0, "swap.weights.exp": 0.0}
DIFFERENCES: dict[str, dict[str, Any]] = {
    "ablation-no-maps": NO_MAPS,
    "ablation-no-3dmm": NO_3DMM,
    "ablation-neither": NO_MAPS | NO_3DMM,
    "ablation-no-truth": {"swap.true": 0.0},
    "ablation-frozen": {"swap.generator": "frozen", "swap.steps": 1500},
    "ablation-start": NO_MAPS | NO_3DMM | {"swap.steps": 1000, "swap.decay_from": 1.0},
}


def flat(values: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, dict):
            yield from flat(value, f"{prefix}{key}.")
        elif prefix or key not in ("name", "summary"):
            yield f"{prefix}{key}", value


def differences(name: str, base: str) -> dict[str, Any]:
    before = dict(flat(config.load(base).model_dump()))
    return {key: value for key, value in flat(config.load(name).model_dump()) if before[key] != value}


def test_ablations_differ_in_what_they_ablate_alone() -> None:
    assert {name for name in config.names() if name.startswith("ablation-")} == {"ablation-full", *DIFFERENCES}
    for name, expected in DIFFERENCES.items():
        assert differences(name, "ablation-full") == expected
        assert config.load(name).name == name
    # The whole model is the bundled one but for its budget, which no guard cuts short, a weight and the focus.
    budget = {"swap.steps", "swap.guard_from"}
    weights = {"swap.weights.recon", "swap.focus"}
    assert differences("ablation-full", "virtual-64").keys() == budget | weights
    settings, start = config.load("ablation-full").swap, config.load("ablation-start").swap
    assert settings.steps + start.steps == config.load("ablation-frozen").swap.steps
    assert settings.guard_from > settings.steps
    assert settings.generator == "finetune"


def test_overrides_lie_over_what_is_extended() -> None:
    settings = config.load("ablation-neither", ["seed=1", "swap.steps=7", "swap.weights.id=2"])
    assert (settings.seed, settings.swap.steps, settings.swap.weights.id) == (1, 7, 2)
    assert settings.swap.weights.shape == 0


def test_what_is_ablated_takes_no_part(tiny_settings: list[str]) -> None:
    model = MFIM(config.load("ablation-no-maps", tiny_settings).model)
    assert model.map_indices == []
    whole = config.load("ablation-full", tiny_settings)
    assert MFIM(whole.model).map_indices
    frozen = MFIM(whole.model)
    groups = parameter_groups(frozen, config.load("ablation-frozen", tiny_settings))
    assert len(groups) == 1
    trained = [name for name, p in frozen.synthesis.named_parameters() if p.requires_grad]
    assert trained
    assert all(name.endswith("map_strength") for name in trained if not name.endswith("noise_strength"))


def test_files_extend_files_beside_them_and_bundled_ones(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text('extends = "below.toml"\nname = "mine"\nsummary = ""\n[swap]\nsteps = 5\n')
    (tmp_path / "below.toml").write_text('extends = "virtual-64"\nname = "below"\nsummary = ""\n[swap]\nbatch = 2\n')
    found = config.load(tmp_path / "mine.toml")
    assert (found.name, found.swap.steps, found.swap.batch) == ("mine", 5, 2)
    assert found.model == config.load("virtual-64").model


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('extends = "virtual-63"\nname = "a"', r"unknown configuration 'virtual-63', which .*a\.toml extends; known: "),
        ('extends = "none.toml"\nname = "a"', r"no such configuration file: .*none\.toml"),
        ('extends = "b.toml"\nname = "a"', r"in a circle: .*a\.toml -> .*b\.toml -> .*a\.toml"),
        ('extends = "a.toml"\nname = "a"', r"in a circle: .*a\.toml -> .*a\.toml"),
        ('extends = 3\nname = "a"', "extends must be the name of a configuration"),
        ('extends = "virtual-64"\nsummary = ""', r"a\.toml: name: Field required"),
        ('extends = "virtual-64"\nname = "a"', r"a\.toml: summary: Field required"),
        ('extends = "virtual-64"\nname = "a"\nsummary = ""\nmodel = 3', r"a\.toml: model: "),
        ('extends = "virtual-64"\nname = "a"\nsummary = ""\n[swap]\nstep = 3', r"a\.toml: swap\.step: Extra inputs"),
        ('extends = "virtual-64"\nname = "a"\nsummary = ""\n[swap]\ntrue = 0.9', "shares of one batch, not 1.15 of it"),
    ],
)
def test_a_wrong_extension_is_one_line(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "a.toml").write_text(text)
    (tmp_path / "b.toml").write_text('extends = "a.toml"\nname = "b"')
    with pytest.raises(UsageError, match=message) as caught:
        config.load(tmp_path / "a.toml")
    assert "\n" not in str(caught.value)


def test_every_variant_trains_from_one_stage_one_and_is_a_method(
    tiny_settings: list[str], data: Faces, supervision: Supervision, tmp_path: Path
) -> None:
    whole = config.load("ablation-full", tiny_settings)
    shared = gan.train(whole, data, tmp_path / "gan", steps=1, device="cpu")
    begun = {name: value.clone() for name, value in read(shared)["synthesis_ema"].items()}
    training, held_out = data.split(0.3)
    for name in ("ablation-full", *DIFFERENCES):
        settings = config.load(name, [*tiny_settings, "seed=1"])
        out = tmp_path / name
        swap.train(settings, training, held_out, out, shared, steps=2, device="cpu", supervision=supervision)
        weights = tmp_path / f"{name}.safetensors"
        export_checkpoint(out / "swap.pt", whole, weights)
        assert method(str(weights)).variant == name
        learned = read(out / "swap.pt")["mfim"]
        moved = {n for n, value in begun.items() if not torch.equal(learned[f"synthesis.{n}"], value)}
        inner = {n for n in moved if not n.endswith("map_strength")}
        assert bool(inner) == (name != "ablation-frozen")
        assert bool(moved - inner) == config.load(name).model.style_maps
