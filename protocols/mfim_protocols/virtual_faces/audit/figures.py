"""The arithmetic of the audit: from distances to response, leak, floor, ranks and a verdict. NumPy and SciPy only.

With d(f) a person's distance from base to the picture in which the factors f are redrawn, and d(0) the distance to the
base rendered again (the floor):

    share(f) = (mean d(f) − mean d(0)) / (mean d(all) − mean d(0))

is 0 for what the measure does not see and 1 for what moves it as much as another face altogether. *Response* is the
share of all factors that the measure should see, redrawn together; *leak* that of all others, redrawn together.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from mfim_bench import statistics
from mfim_bench.measure import MeasureSpec
from mfim_protocols.virtual_faces.audit.factors import AGAIN, DAMAGES, FIELDS, SUBJECTS
from mfim_protocols.virtual_faces.audit.looks import Distances, Floats

LEAST_PATH, LEAST_RATIO = 0.9, 3.0
"""Mean rank correlation along the path below which a measure fails; response / leak below which it is weak."""
LEAST_PEOPLE = 12
"""Fewer give no verdict `[own choice]`: with 3, the mean rank along the path has an interval as wide as its range."""
PASSES, WEAK, FAILS, UNDECIDED = "passes", "weak", "fails", "undecided"

Range = tuple[float | None, float | None, float | None]
"""Estimate and the ends of its 95 % interval over people; None = not defined."""
NOTHING: Range = (None, None, None)


@dataclass(frozen=True)
class Figures:
    """Of one measure.

    Attributes:
        version: of the measure and its judge. judge: its name; empty without one.
        unit: of ``floor`` and ``independent``.
        people: of whom every picture could be measured; missing: the others.
        wanted: factors that it should respond to.
        floor: mean distance between two renders of the same factors.
        independent: mean distance between faces with nothing in common.
        shares: of each factor and damage alone.
        response, leak: shares of all wanted and of all other factors together.
        ratio: response / leak.
        worst: the unwanted factor or damage with the largest share.
        rank: Spearman correlation with the true distance over couples of independent faces; jackknife over people.
        path: mean over people of the Spearman correlation between nearness to the reference and place on the path.
        true_path: the same of the true distances: what no judge can be asked to exceed. Not defined for identity, of
            whose distance form is but a part.
        verdict: passes, weak, fails, or undecided; reasons: why.
    """

    version: str
    judge: str
    unit: str
    people: int
    missing: int
    wanted: tuple[str, ...]
    floor: Range
    independent: Range
    shares: dict[str, Range]
    response: Range
    leak: Range
    ratio: Range
    worst: str
    rank: Range
    path: Range
    true_path: Range
    verdict: str
    reasons: tuple[str, ...]

    def as_dict(self) -> dict[str, object]:
        return asdict(self)


def of(measure: MeasureSpec, distances: Distances) -> Figures:
    """The figures of a measure.

    Args:
        measure: of a family in `factors.SUBJECTS`, or without a judge: then only the path is known.
        distances: of it.
    """
    version, judge = measure.full_version, measure.judge.name if measure.judge else ""
    walked = distances.path[np.isfinite(distances.path).all(1)]
    path = falling(walked)
    if measure.judge is None:
        verdict, reasons = judged(None, None, path[0], len(walked))
        none = NOTHING
        return Figures(
            version, judge, measure.unit, len(walked), len(distances.path) - len(walked), (),
            none, none, {}, none, none, none, "", none, path, none, verdict, reasons,
        )  # fmt: skip
    subject = SUBJECTS[measure.family]
    whole = np.isfinite(np.stack(list(distances.pictures.values()))).all(0)
    d = {name: row[whole] for name, row in distances.pictures.items()}
    floor = np.mean([d[name] for name in AGAIN], axis=0)
    who = _names(floor)
    above = {name: row - floor for name, row in d.items()}

    def share(name: str, of: str = "all") -> Range:
        return _range(statistics.ratio(above[name], above[of], who))

    shares = {name: share(name) for name in (*FIELDS, *DAMAGES)}
    response, leak = share(subject.alone), share(subject.rest)
    others = [name for name in shares if name not in subject.wanted]
    verdict, reasons = judged(response[0], leak[0], path[0], int(whole.sum()))
    return Figures(
        version=version,
        judge=judge,
        unit=measure.unit,
        people=int(whole.sum()),
        missing=int((~whole).sum()),
        wanted=subject.wanted,
        floor=_range(statistics.mean_interval(floor, who)),
        independent=_range(statistics.mean_interval(d["all"], who)),
        shares=shares,
        response=response,
        leak=leak,
        ratio=share(subject.alone, subject.rest),
        worst=max(others, key=lambda name: -math.inf if shares[name][0] is None else float(shares[name][0] or 0.0)),
        rank=rank(distances),
        path=path,
        true_path=NOTHING if measure.family == "identity" else falling(distances.true_path),
        verdict=verdict,
        reasons=reasons,
    )


def judged(response: float | None, leak: float | None, path: float | None, people: int) -> tuple[str, tuple[str, ...]]:
    """Verdict and reasons; shares are None for a measure without a judge."""
    if people < LEAST_PEOPLE:
        return UNDECIDED, (f"{people} people are too few for a verdict, which takes {LEAST_PEOPLE}",)
    wrong, poor = [], []
    if response is not None and leak is not None and leak >= response:
        wrong.append(f"leak {leak:.2f} is not below response {response:.2f}")
    elif response is not None and leak is not None and response < LEAST_RATIO * leak:
        poor.append(f"response / leak {response / leak:.1f} is below {LEAST_RATIO:g}")
    if path is None or path < LEAST_PATH:
        known = "is unknown" if path is None else f"{path:.2f} is below {LEAST_PATH}"
        wrong.append(f"rank along the path of better swaps {known}")
    return FAILS if wrong else WEAK if poor else PASSES, (*wrong, *poor)


def rank(distances: Distances) -> Range:
    """Spearman correlation of measured and true distance, its interval by leaving out each person's pictures in turn
    (couples share pictures and are not independent).
    """
    measured, true, couples = distances.measured, distances.true, distances.couples // 2
    people = np.unique(couples)
    if len(people) < 3:
        return NOTHING
    whole = _spearman(measured, true)
    without = np.array([_spearman(measured[k], true[k]) for k in ((couples != who).all(1) for who in people)])
    n = len(people)
    se = math.sqrt((n - 1) / n * float(((without - without.mean()) ** 2).sum()))
    half = float(stats.t.ppf(0.975, n - 1)) * se
    return _numbers(whole, max(whole - half, -1.0), min(whole + half, 1.0))


def falling(paths: Floats) -> Range:
    """Mean over people (N, steps) of how surely distances fall along their paths."""
    falls = np.array([_falls(row) for row in paths])
    found = statistics.mean_interval(falls, _names(falls))
    return _numbers(found.estimate, max(found.low, -1.0), min(found.high, 1.0))


def _falls(row: Floats) -> float:
    """1 when distances fall at every step, −1 when they rise; 0 when they do not change."""
    return -_spearman(np.arange(len(row), dtype=np.float64), row) if np.ptp(row) > 0 else 0.0


def _spearman(a: Floats, b: Floats) -> float:
    return float(np.corrcoef(stats.rankdata(a), stats.rankdata(b))[0, 1])


def _names(rows: NDArray[np.float64]) -> Sequence[str]:
    """People are independent of each other: each is its own cluster."""
    return [str(k) for k in range(len(rows))]


def _range(interval: statistics.Interval) -> Range:
    return _numbers(interval.estimate, interval.low, interval.high)


def _numbers(*values: float) -> Range:
    estimate, low, high = (round(v, 4) if math.isfinite(v) else None for v in values)
    return estimate, low, high
