"""What a person asks of a run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class RunSettings:
    """Options of ``mfim-bench run``; those that can change a number enter the fingerprint.

    Attributes:
        method: a name of the registry, ``NAME@SIZE``, ``NAME:ARGUMENT``, ``path.py:function``, ``cmd:…``, ``dir:PATH``;
            any of them with ``@PART`` behind it.
        protocol: a name of the registry.
        split: of the protocol; None = its first.
        data: folder of the data set, where the protocol needs one.
        measures: names of measures; empty = the protocol's.
        limit: the first N pairs of the protocol's fixed shuffled order; None = all.
        references: score the protocol's references too.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        batch_size: pairs a call of the method's ``swap``. Judges see one image at a time whatever it is.
        seed: seeds torch and numpy before every batch of the method.
        out: root of run folders, the feature cache and the log of scorings.
        skip_missing: leave out measures whose weights are not here, instead of refusing to begin.
        workers: threads that read, detect and judge; None = one a core, at most 4, 1 on a GPU. No number depends on it.
    """

    method: str
    protocol: str = "virtual-faces"
    split: str | None = None
    data: Path | None = None
    measures: tuple[str, ...] = ()
    limit: int | None = None
    references: bool = True
    device: str = "auto"
    batch_size: int = 8
    seed: int = 0
    out: Path = Path("runs")
    skip_missing: bool = False
    workers: int | None = None
