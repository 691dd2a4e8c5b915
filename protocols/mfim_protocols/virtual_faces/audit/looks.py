"""The judges' looks at an audit's pictures, by the harness's own eyes, and the distances that measures make of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
from numpy.typing import NDArray

from mfim_bench.bench.eyes import Eyes, one_core
from mfim_bench.bench.progress import Progress
from mfim_bench.errors import RowError
from mfim_bench.measure import MeasureSpec, PixelDistance
from mfim_bench.media.images import read_image, read_mask
from mfim_bench.plugins import resolve
from mfim_protocols.virtual_faces.audit import factors, pictures, truth
from mfim_protocols.virtual_faces.geometry import portrait

if TYPE_CHECKING:
    from mfim_bench.measure import Features

Floats = NDArray[np.float64]
Key = tuple[int, str]


@dataclass(frozen=True)
class Distances:
    """Of one measure, over N people; NaN where a picture could not be measured.

    Attributes:
        pictures: name → (N,) from each person's base to that picture; empty for a measure without a judge.
        path: (N, steps) from each swap of the family's path to its reference.
        measured, true: (P,) of couples of independent pictures: the measure's distance, and the true one.
        couples: (P, 2) the pictures' numbers, 2 k for the base of person k and 2 k + 1 for its donor.
        true_path: as ``path``, the true distances; no rows for a measure without a judge.
    """

    pictures: dict[str, Floats]
    path: Floats
    measured: Floats
    true: Floats
    couples: NDArray[np.int64]
    true_path: Floats


class Looks:
    """Features of every picture of some people, by every judge of some measures.

    Attributes:
        reasons: why pictures could not be measured, and how many.
    """

    def __init__(self, folder: Path, people: Sequence[int], seed: int, measures: Sequence[MeasureSpec], eyes: Eyes):
        self.folder, self.people, self.seed = folder, people, seed
        self.reasons: Counter[str] = Counter()
        self._eyes = eyes
        self._judges = sorted({measure.judge.name for measure in measures if measure.judge})
        keys = [(person, name) for person in people for name in (*pictures.names(), "crop")]
        with Progress("audit: look", len(keys)) as progress, one_core():
            self._seen: dict[Key, dict[str, Features]] = {}
            for key, seen in zip(keys, eyes.map(self._look, keys), strict=True):
                self._seen[key] = seen
                progress.advance(1)

    def _look(self, key: Key) -> dict[str, Features]:
        """Features by each judge; none when the picture cannot be measured."""
        person, name = key
        try:
            if name == "crop":
                return self._misplaced(person)
            return self._eyes.features(pictures.file_of(self.folder, person, name), self._judges, "picture")
        except RowError as error:
            self.reasons[str(error)] += 1
            return {}

    def _misplaced(self, person: int) -> dict[str, Features]:
        path = pictures.file_of(self.folder, person, factors.AGAIN[0])
        image, face = read_image(path), self._eyes.look(path).face
        if face is None:
            raise RowError("picture: no face found")
        moved = pictures.misplaced(face, pictures.rng_of("crop", person, self.seed))
        return {name: cast("Features", self._eyes.judge(name, image, moved)) for name in self._judges}

    def distances(self, measure: MeasureSpec) -> Distances:
        """What a measure makes of them."""
        subject = factors.SUBJECTS.get(measure.family)
        path = subject.path if subject else factors.SUBJECTS["identity"].path
        if measure.judge is None:
            ours = np.array([[self._pixels(measure, person, name) for name in path] for person in self.people])
            empty = np.zeros(0)
            return Distances({}, ours, empty, empty, np.zeros((0, 2), np.int64), np.zeros((0, len(path))))
        assert subject is not None, "the command refuses measures of other families"
        names = (*factors.variations(), *factors.DAMAGES)
        shown = {name: [(p, name) for p in self.people] for name in ("base", subject.reference, *names, *path)}
        couples = np.array([c for c in np.ndindex(2 * len(self.people), 2 * len(self.people)) if c[0] < c[1]])
        independent = [(p, name) for p in self.people for name in ("base", "all")]
        sides = [[independent[k] for k in side] for side in couples.T]
        found = self._between(measure, *sides)
        records = [record for p in self.people for record in factors.pair(p, self.seed)]
        true = truth.between(measure.family, truth.features(map(portrait, records)), couples)
        known = np.isfinite(found)
        return Distances(
            {name: self._between(measure, shown["base"], shown[name]) for name in names},
            np.stack([self._between(measure, shown[name], shown[subject.reference]) for name in path], 1),
            found[known],
            true[known],
            couples[known],
            truth.along(measure.family, self.people, self.seed),
        )

    def _between(self, measure: MeasureSpec, first: Sequence[Key], second: Sequence[Key]) -> Floats:
        """Distances of pictures, row by row; NaN where one of the two could not be measured."""
        assert measure.judge is not None
        judge, distance = measure.judge.name, resolve(measure.distance)
        rows = [k for k, two in enumerate(zip(first, second, strict=True)) if all(judge in self._seen[c] for c in two)]
        out = np.full(len(first), np.nan)
        if rows:
            one, two = (self._stacked([side[k] for k in rows], judge) for side in (first, second))
            out[rows] = distance(one, two)
        return out

    def _stacked(self, keys: Sequence[Key], judge: str) -> Features:
        rows = [self._seen[key][judge] for key in keys]
        return {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}

    def _pixels(self, measure: MeasureSpec, person: int, name: str) -> float:
        swap, truth = (read_image(pictures.file_of(self.folder, person, n)) for n in (name, factors.TRUTH))
        region = read_mask(pictures.region_of(self.folder, person))
        return cast("PixelDistance", resolve(measure.distance))(swap, truth, region)
