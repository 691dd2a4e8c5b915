"""What a judge that knows everything would say of portraits: the open judges' formulas on the true heads."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from mfim_bench.measures import distances
from mfim_bench.networks.face3d_fit import HeadFit
from mfim_bench.networks.rotations import rotation_of
from mfim_protocols.judges.data import head_fit
from mfim_protocols.virtual_faces.audit import factors
from mfim_protocols.virtual_faces.geometry import Portrait
from mfim_protocols.virtual_faces.head import HeadModel

if TYPE_CHECKING:
    from mfim_bench.measure import Features

Floats = NDArray[np.float64]
FORMULAS: dict[str, Callable[[Features, Features], Floats]] = {
    "identity": distances.shape_rms,
    "shape": distances.shape_rms,
    "expression": distances.expression_rms,
    "pose": distances.pose_radians,
    "pose-hn": distances.pose_radians,
}
"""Of aligned neutral faces in mm (shape, and identity, of which form is the largest part), of expressions'
displacements in mm, or of poses in rad.
"""


@functools.cache
def _fit() -> HeadFit:
    return head_fit()


def features(shown: Iterable[Portrait]) -> Features:
    """``shape_vertices``, ``expression_vertices`` (N, 3K) mm and ``pose`` (N, 3) rad of aligned heads, as `face3d`
    reports them, without its errors.
    """
    fit, dense, portraits = _fit(), HeadModel.load().dense, list(shown)

    def stacked(rows: Iterable[object]) -> torch.Tensor:
        return torch.tensor(np.array(list(rows)), dtype=torch.float64)

    expression = stacked(p.scene.expression for p in portraits)
    face = fit.onto_mean(
        rotation_of(stacked(p.scene.pose for p in portraits)),
        stacked(p.neutral[dense] for p in portraits),
        torch.einsum("bk,kvc->bvc", expression, fit.expression_basis.double()),
    )
    return {
        "shape_vertices": face.neutral.flatten(1).numpy(),
        "expression_vertices": face.expression.flatten(1).numpy(),
        "pose": face.angles.numpy(),
    }


def between(family: str, seen: Features, couples: NDArray[np.int64]) -> Floats:
    """(P,) true distances of couples (P, 2), numbers of rows of `features`."""
    one, two = ({name: rows[side] for name, rows in seen.items()} for side in couples.T)
    return FORMULAS[family](one, two)


def along(family: str, people: Sequence[int], seed: int) -> Floats:
    """(N, steps) true distances from each swap of the family's path to its reference."""
    subject = factors.SUBJECTS[family]
    names = (*subject.path, subject.reference)
    couples = np.array([(k, len(subject.path)) for k in range(len(subject.path))])
    found = []
    for person in people:
        drawn = dict(factors.portraits(*factors.pair(person, seed)))
        found.append(between(family, features(drawn[name] for name in names), couples))
    return np.stack(found)
