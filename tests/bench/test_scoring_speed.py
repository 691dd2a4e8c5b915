"""What the harness costs is timed on what it does."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from mfim_bench.bench import RunSettings
from mfim_bench.bench.speed import recorded, scoring_speed
from mfim_bench.errors import UsageError
from mfim_bench.plugins import Registry


def test_the_passes_are_those_of_the_networks() -> None:
    inner = nn.Linear(2, 3)
    net = nn.Sequential(inner, nn.ReLU())
    given = torch.ones(1, 2)
    with recorded() as calls:
        net(given)
        inner(given)
    assert [[call[0] for call in mine] for mine in calls] == [[net, inner]]  # the outermost ones
    assert calls[0][0][1][0] is given
    net(given)
    assert len(calls[0]) == 2  # and none after


def test_scoring_speed(settings: RunSettings, registry: Registry) -> None:
    settings = replace(settings, method="target-copy@64", limit=3, workers=2)
    speed = scoring_speed(settings, registry, rounds=1)
    assert speed.images == 3 + len({name for pair in _pairs(registry) for name in pair})
    assert speed.passes >= 3 * speed.images  # the detector has three stages
    assert speed.scoring > 0.8 * speed.judging  # the latter is a part of the former, and clocks are coarse
    assert speed.judging > speed.networks > 0
    assert speed.cost == pytest.approx(speed.scoring / speed.networks - 1)
    assert not Path(settings.out).exists()


def test_pairs_that_fail_are_not_timed(settings: RunSettings, registry: Registry) -> None:
    with pytest.raises(UsageError, match=r"pairs failed .*time pairs that work"):
        scoring_speed(replace(settings, method="blend-raise", limit=12), registry, rounds=1)


def _pairs(registry: Registry) -> list[tuple[str, str]]:
    import tiny_faces  # type: ignore[import-not-found]

    return [(pair.source.id, pair.target.id) for pair in tiny_faces.Tiny("validation").pairs()[:3]]
