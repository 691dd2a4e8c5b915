"""What the harness costs: images a second through the whole scoring path, and through its networks alone.

All timings stand in one process, on the same images and threads, by turns. Three ways, each a part of the one before:

- ``scoring``: `mfim_bench.bench.scoring.Scorer` with an empty cache: files are read and hashed, faces found, cut and
  described, features kept, distances taken, rows written.
- ``judging``: detector and judges on images that are in memory: faces found, cut and described.
- ``networks``: the forward passes that the first way made, on the very tensors that they were given.
"""

from __future__ import annotations

import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import nn

from mfim_bench.bench.eyes import Eyes, one_core
from mfim_bench.bench.parts import Row
from mfim_bench.bench.runner import Workshop, make_plan
from mfim_bench.bench.scoring import PARTNERS, Scorer, partner
from mfim_bench.bench.settings import RunSettings
from mfim_bench.bench.swapping import Swapper
from mfim_bench.errors import UsageError
from mfim_bench.plugins import Registry, load_method
from mfim_bench.protocol import Pair

Call = tuple[nn.Module, tuple[Any, ...], dict[str, Any]]


@dataclass(frozen=True, slots=True)
class ScoringSpeed:
    """Seconds for the same images in three ways, median of the rounds; see the module's text.

    Attributes:
        images: different images described, swaps and their partners.
        passes: calls of networks, the detector's three stages among them.
        scoring, judging, networks: seconds.
        workers: threads.
    """

    images: int
    passes: int
    scoring: float
    judging: float
    networks: float
    workers: int

    @property
    def cost(self) -> float:
        """Time of scoring beyond that of the networks, as a share of theirs."""
        return self.scoring / self.networks - 1


def scoring_speed(settings: RunSettings, registry: Registry, rounds: int) -> ScoringSpeed:
    """Time the scoring of a method's swaps; these are made first and not timed. Measures over pairs count.

    Args:
        settings: as of a run; its out folder is not used.
        registry: where names are known.
        rounds: of all three ways.

    Raises:
        UsageError: as `mfim_bench.bench.runner.run`; or a pair failed, which would be timed for nothing.
    """
    with tempfile.TemporaryDirectory(prefix="mfim-bench-speed-") as folder:
        out = Path(folder)
        plan = make_plan(replace(settings, out=out, references=False), registry)
        for name in ("parts", "images"):
            (out / name).mkdir()
        with Workshop(plan) as workshop:
            eyes, pairs = workshop.eyes, plan.pairs
            method = load_method(plan.methods[0], plan.device)
            swapper = Swapper(plan.methods[0], method, plan.device, eyes, settings.batch_size, settings.seed)
            swaps = swapper.run(pairs, out, lambda _: None)
            scorer = Scorer([measure for measure in plan.measures if measure.over == "pair"], eyes)
            wanted = _wanted(scorer, pairs, out)

            def score() -> list[Row]:
                for part in (out / "parts").glob("score-*"):
                    part.unlink()
                eyes.start_anew()
                return scorer.run(pairs, swaps, out, lambda _: None)

            with recorded() as calls:
                rows = score()
            failed = [row["reason"] for row in rows if row["reason"] is not None]
            if failed:
                raise UsageError(f"{len(failed)} of {len(rows)} pairs failed ({failed[0]}); time pairs that work")
            judging = eyes.preloaded(wanted)
            ways: tuple[Callable[[], object], ...] = (score, judging, lambda: _replay(eyes, calls))
            took = [[_seconds(way) for way in ways] for _ in range(rounds)]
            scoring, judged, networks = (median(times) for times in zip(*took, strict=True))
            passes = sum(map(len, calls))
            return ScoringSpeed(len(wanted), passes, scoring, judged, networks, eyes.workers)


def _wanted(scorer: Scorer, pairs: Sequence[Pair], folder: Path) -> dict[Path, set[str]]:
    """The images that are looked at, and by which judges."""
    wanted: dict[Path, set[str]] = defaultdict(set)
    for pair in pairs:
        wanted[folder / "images" / f"{pair.id}.png"].update(scorer.judges["swap"])
        for role in PARTNERS:
            frame = partner(pair, role)
            if frame is not None and scorer.judges[role]:
                wanted[scorer.eyes.file(frame)].update(scorer.judges[role])
    return wanted


@contextmanager
def recorded() -> Iterator[list[list[Call]]]:
    """Collect every outermost call of a module with what it was given: a list a thread, complete at the end."""
    by_thread: dict[int, list[Call]] = defaultdict(list)
    depth: dict[int, int] = defaultdict(int)
    calls: list[list[Call]] = []

    def before(module: nn.Module, args: tuple[Any, ...]) -> None:
        depth[threading.get_ident()] += 1

    def after(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], result: object) -> None:
        me = threading.get_ident()
        depth[me] -= 1
        if depth[me] == 0:
            by_thread[me].append((module, args, kwargs))

    handles = [
        nn.modules.module.register_module_forward_pre_hook(before),
        nn.modules.module.register_module_forward_hook(after, with_kwargs=True, always_call=True),
    ]
    try:
        yield calls
    finally:
        for handle in handles:
            handle.remove()
        calls += by_thread.values()


def _replay(eyes: Eyes, calls: Sequence[Sequence[Call]]) -> None:
    def again(mine: Sequence[Call]) -> None:
        with torch.inference_mode():
            for module, args, kwargs in mine:
                module(*args, **kwargs)

    list(eyes.map(again, calls))


def _seconds(way: Callable[[], object]) -> float:
    with one_core():
        start = time.perf_counter()
        way()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        return time.perf_counter() - start
