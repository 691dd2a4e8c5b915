"""The collapse guard: returning the target meets half of this objective. Measured on held-out pairs, by supervisors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mfim.data import Faces, Sampler
from mfim.losses import pixel_distance
from mfim.supervision import Seen, Supervision
from mfim_bench.errors import UsageError


class Collapsed(UsageError):
    """The model returns the target."""


CHANGED = 0.1
"""Difference of true swap and target, in [-1, 1], from which a pixel is *inside* [own choice]."""


@dataclass(frozen=True, slots=True)
class Validation:
    """Fixed pairs of two people of the validation identities: those with a true swap, if there are any.

    Attributes:
        source, target, wanted: (N, 3, S, S) in [-1, 1]; ``wanted`` is the true swap, or the target.
        seen_source, seen_target: by the supervisors.
    """

    source: Tensor
    target: Tensor
    wanted: Tensor
    seen_source: Seen
    seen_target: Seen

    @classmethod
    @torch.no_grad()
    def build(cls, faces: Faces, supervision: Supervision, count: int = 64, seed: int = 0) -> Validation:
        sampler = Sampler(faces.identity, seed, onto=faces.onto)
        drawn = sampler.pairs(0, count, 0, count if sampler.knows_true_swaps else 0)
        source, target, wanted = (faces.batch(2 * (index // 2)) for index in (drawn.source, drawn.target, drawn.wanted))
        seen = [supervision.look(x.to(supervision.device))[0] for x in (source, target)]
        return cls(source, target, wanted, seen[0], seen[1])

    @torch.no_grad()
    def measure(
        self, swap: Callable[[Tensor, Tensor], Tensor], supervision: Supervision, batch: int = 16
    ) -> dict[str, float]:
        """Distances and progress over the pairs, by the supervisors.

        Returns:
            ``id``, ``id_start``: mean 1 - cos of swap and of target to the source; ``id_progress``: 1 - id / id_start;
            ``shape``, ``shape_start``, ``shape_progress`` likewise by L2; ``expression`` and ``pose``: L2 to the
            target, with ``expression_start`` and ``pose_start`` of the source; ``moved``: L1 swap - target in [-1, 1];
            ``moved_perceptual``: the perceptual distance swap - target; ``error``, ``error_start``: L1 of swap and of
            target to the true swap (to the target where there is none); ``error_inside``, ``error_outside``: the
            swap's over the pixels that the true swap changes by more than `CHANGED`, and over the others.
        """
        rows: dict[str, list[Tensor]] = {}
        for start in range(0, len(self.source), batch):
            part = slice(start, start + batch)
            source, target, wanted = (
                images[part].to(supervision.device) for images in (self.source, self.target, self.wanted)
            )
            made = swap(source, target)
            seen, layers = supervision.look(made)
            of, to = self.seen_source.rows(part), self.seen_target.rows(part)
            changed, wrong = (wanted - target).abs().mean(1) > CHANGED, (made - wanted).abs().mean(1)
            for name, value in {
                "id": 1 - (seen.embedding * of.embedding).sum(1),
                "id_start": 1 - (to.embedding * of.embedding).sum(1),
                "shape": (seen.shape - of.shape).norm(dim=1),
                "shape_start": (to.shape - of.shape).norm(dim=1),
                "expression": (seen.expression - to.expression).norm(dim=1),
                "expression_start": (of.expression - to.expression).norm(dim=1),
                "pose": (seen.pose - to.pose).norm(dim=1),
                "pose_start": (of.pose - to.pose).norm(dim=1),
                "moved": pixel_distance(made, target),
                "moved_perceptual": supervision.distance(made, target, layers),
                "error": pixel_distance(made, wanted),
                "error_start": pixel_distance(target, wanted),
                "error_inside": wrong[changed],
                "error_outside": wrong[~changed],
            }.items():
                rows.setdefault(name, []).append(value.cpu())
        found = {name: torch.cat(parts).double() for name, parts in rows.items()}
        values = {name: float(value.mean()) for name, value in found.items() if len(value)}
        for term in ("id", "shape"):
            values[f"{term}_progress"] = 1 - values[term] / max(values[f"{term}_start"], 1e-9)
        return values


class Guard:
    """Stops a run whose identity progress stays at nothing.

    Args:
        begin: step from which validations count.
        progress: identity progress (by R, on validation pairs) below which one counts as collapsed.
        patience: how many in a row stop the run.
    """

    def __init__(self, begin: int, progress: float, patience: int) -> None:
        self.begin, self.progress, self.patience = begin, progress, patience
        self.strikes = 0

    def check(self, step: int, values: dict[str, float]) -> None:
        """Note one validation.

        Raises:
            Collapsed: the model has returned the target for too long.
        """
        if not np.isfinite(values["id"]):
            raise Collapsed(f"step {step}: the model's output is not finite")
        self.strikes = self.strikes + 1 if step >= self.begin and values["id_progress"] < self.progress else 0
        if self.strikes >= self.patience:
            raise Collapsed(
                f"step {step}: the model returns the target: identity progress {values['id_progress']:.3f} below"
                f" {self.progress} in {self.strikes} validations, L1 swap-target {values['moved']:.3f}"
            )
