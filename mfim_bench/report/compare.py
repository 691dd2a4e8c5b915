"""Methods on the pairs that both scored, two at a time, and a small language for failing a build on the result."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from mfim_bench import audited, statistics
from mfim_bench.bench.record import Record, identities
from mfim_bench.errors import UsageError
from mfim_bench.report.formats import Fact, Sheet, render
from mfim_bench.report.grid import write_grid
from mfim_bench.report.table import SELF_JUDGED, check_comparable, in_domain_legend, marks, same_others
from mfim_bench.statistics import Interval

NOT_TOLD = "–"
"""Where the pairs give no number."""


@dataclass(frozen=True, slots=True)
class Difference:
    """Method A less method B on one measure.

    Attributes:
        measure: its name.
        a, b: means over the common pairs.
        interval: of the mean difference a − b.
        p: of "they are equal", after Holm's correction over all that were compared together.
        ranked: neither was trained with the judge.
        effect: Cohen's d_z, mean over standard deviation of the pairs' differences.
        wins: share of pairs in which A is better, a tie counting half.
        bootstrap: the pigeonhole bootstrap's interval of the same difference, where it was asked for.
    """

    measure: str
    a: float
    b: float
    interval: Interval
    p: float
    ranked: bool
    effect: float
    wins: Interval
    bootstrap: Interval | None = None

    @property
    def detectable(self) -> float:
        """The least true difference that as many people would find in four of five benchmarks."""
        return statistics.detectable(self.interval)

    @property
    def fields(self) -> dict[str, float]:
        """What an expression may name."""
        i = self.interval
        return {"difference": i.estimate, "low": i.low, "high": i.high, "p": self.p, "a": self.a, "b": self.b}


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two runs and their differences."""

    a: Record
    b: Record
    differences: Sequence[Difference]


@dataclass(frozen=True, slots=True)
class Extreme:
    """One of the pairs that differ most on a measure."""

    measure: str
    pair: str
    a: float
    b: float


def compare(a: Record, b: Record) -> list[Difference]:
    """Paired differences on every measure that both have, but for those that `left_out` names.

    Raises:
        UsageError: they measured different images, or have no pair or measure in common.
    """
    return list(compare_all([(a, b)])[0].differences)


def couples(records: Sequence[Record], baseline: Record | None = None) -> list[tuple[Record, Record]]:
    """Whom to compare: the first with each other one; or each with the baseline, which is one of them."""
    if baseline is None:
        return [(records[0], other) for other in records[1:]]
    return [(record, baseline) for record in records if record is not baseline]


def compare_all(chosen: Sequence[tuple[Record, Record]], draws: int = 0, seed: int = 0) -> list[Comparison]:
    """Several comparisons whose p-values are corrected together, over measures and methods.

    Args:
        chosen: the runs, A and B.
        draws: of the pigeonhole bootstrap; 0 = none.
        seed: of the same.

    Raises:
        UsageError: as `compare`.
    """
    found = [_differences(a, b, draws, seed) for a, b in chosen]
    adjusted = iter(statistics.holm([d.interval.p for differences in found for d in differences]))
    return [
        Comparison(a, b, [replace(d, p=next(adjusted)) for d in differences])
        for (a, b), differences in zip(chosen, found, strict=True)
    ]


def _differences(a: Record, b: Record, draws: int, seed: int) -> list[Difference]:
    check_comparable([a, b])
    rows_a, rows_b = a.scored(), b.scored()
    pairs = [pair for pair in rows_a if pair in rows_b]
    names = [name for name in a.measures if name in b.measures and same_others([a, b], name)]
    if not pairs or not names:
        others = "".join(f"; {name}: {why}" for name, why in left_out(a, b).items())
        what = "pair in common" if names else f"measure in common that can be paired{others}"
        raise UsageError(f"{a.folder} and {b.folder} have no scored {what}")
    who = identities([rows_a[pair] for pair in pairs])
    found = []
    for name in names:
        x, y = (np.array([rows[pair][name] for pair in pairs], np.float64) for rows in (rows_a, rows_b))
        interval = statistics.paired_difference(x, y, *who)
        lower = a.measures[name]["lower_is_better"]
        found.append(
            Difference(
                name,
                float(x.mean()),
                float(y.mean()),
                interval,
                interval.p,
                not (a.measures[name]["self_judged"] or b.measures[name]["self_judged"]),
                statistics.standardised(x, y),
                statistics.win_rate(x, y, *who, lower_is_better=lower),
                statistics.bootstrap_difference(x, y, *who, draws=draws, seed=seed) if draws else None,
            )
        )
    return found


def left_out(a: Record, b: Record) -> dict[str, str]:
    """Measures that both have and whose difference has no interval: name → why."""
    found = dict.fromkeys(a.measures.keys() & b.measures.keys(), "compared with different galleries")
    found = {name: why for name, why in found.items() if not same_others([a, b], name)}
    for name in a.sets.keys() & b.sets.keys():
        values = [record.summary["whole"][name]["value"] for record in (a, b)]
        shown = ["none" if value is None else f"{value:.{a.sets[name]['digits']}f}" for value in values]
        found[name] = f"one number a run, without rows to pair: A {shown[0]}, B {shown[1]}"
    return dict(sorted(found.items()))


def extremes(comparison: Comparison, k: int) -> list[Extreme]:
    """On each measure the k pairs whose difference is largest, either way; of equal ones the protocol's first."""
    rows_a, rows_b = comparison.a.scored(), comparison.b.scored()
    found = []
    for name in (d.measure for d in comparison.differences):
        pairs = [Extreme(name, pair, row[name], rows_b[pair][name]) for pair, row in rows_a.items() if pair in rows_b]
        found += sorted(pairs, key=lambda e: -abs(e.a - e.b))[:k]
    return found


def text(a: Record, b: Record, differences: Sequence[Difference]) -> str:
    """For a terminal."""
    return render([sheet(Comparison(a, b, differences))], "text")


def names(comparison: Comparison) -> tuple[str, str]:
    """What to call A and B; runs of one method by their fingerprints, too."""
    a, b = comparison.a, comparison.b
    if a.method != b.method:
        return a.method, b.method
    return tuple(f"{r.method} ({r.manifest['fingerprint']})" for r in (a, b))  # type: ignore[return-value]


def sheet(comparison: Comparison) -> Sheet:
    """The differences as a table, with the figures behind it."""
    a, b = names(comparison)
    measures = {d.measure: comparison.a.measures[d.measure] for d in comparison.differences}
    mark = marks(measures)
    first = comparison.differences[0]
    bootstrap = first.bootstrap is not None
    rows = []
    for d in comparison.differences:
        digits = measures[d.measure]["digits"] + 1
        name = f"{d.measure} {mark[d.measure]}{'' if d.ranked else SELF_JUDGED}"
        signed = f"+.{digits}f"
        row = [
            name,
            f"{d.a:.{digits}f}",
            f"{d.b:.{digits}f}",
            f"{d.interval.estimate:{signed}} {_ends(d.interval, signed)}",
        ]
        row += [_ends(d.bootstrap, signed)] if d.bootstrap else []
        wins = f"{100 * d.wins.estimate:.0f} % {_ends(d.wins, '.0f', 100)}"
        row += [_shown(d.p, ".2g"), _shown(d.effect, "+.2f"), wins, _shown(d.detectable, f".{digits}f")]
        rows.append(row)
    heads = ["measure", "A", "B", "A − B [95 %]", *(["bootstrap"] if bootstrap else [])]
    heads += ["p (Holm)", "d_z", "A better [95 %]", "detectable"]
    legend = [
        "A − B: mean over the pairs, its interval allows for shared identities; below zero A is better where ↓",
        "d_z: mean over standard deviation of the pairs' differences; detectable: the least true difference that this"
        " many people find with 80 % power",
    ]
    if bootstrap:
        legend.append("bootstrap: the same interval by resampling identities (pigeonhole), which errs on the wide side")
    if not all(d.ranked for d in comparison.differences):
        legend.append(
            f"{SELF_JUDGED} self-judged: this judge, or a twin of it, helped to train one of them; proves nothing"
        )
    legend += [*in_domain_legend(measures), *audited.legend(audited.verdicts(measures))]
    if any(NOT_TOLD in cell for row in rows for cell in row[1:]):
        legend.append(
            f"{NOT_TOLD} not defined: the pairs are fewer than two, each shares a person with each other one, or (d_z)"
            " all differ alike"
        )
    few = statistics.few_identities(first.interval.identities)
    if few and math.isfinite(first.interval.se):
        legend.append(few)
    legend += [f"not compared: {name} ({why})" for name, why in left_out(comparison.a, comparison.b).items()]
    title = f"A = {a}, B = {b}: {first.interval.n} pairs that both scored"
    return Sheet(title, heads, rows, legend, [_fact(comparison, d) for d in comparison.differences])


def _shown(value: float, style: str) -> str:
    return f"{value:{style}}" if math.isfinite(value) else NOT_TOLD


def _ends(interval: Interval, style: str, times: int = 1) -> str:
    return f"[{_shown(times * interval.low, style)}, {_shown(times * interval.high, style)}]"


def _fact(comparison: Comparison, d: Difference) -> Fact:
    a, b = names(comparison)
    fact: dict[str, str | int | float | bool | None] = {
        "kind": "difference", "method_a": a, "method_b": b, "measure": d.measure, "n": d.interval.n,
        "identities": d.interval.identities, **d.fields, "se": d.interval.se, "p_alone": d.interval.p, "d_z": d.effect,
        "win_rate": d.wins.estimate, "win_low": d.wins.low, "win_high": d.wins.high, "detectable": d.detectable,
        "self_judged": not d.ranked, "in_domain": comparison.a.measures[d.measure]["in_domain"],
        "audit": audited.verdicts(comparison.a.measures).get(d.measure),
    }  # fmt: skip
    if d.bootstrap:
        fact |= {"bootstrap_low": d.bootstrap.low, "bootstrap_high": d.bootstrap.high, "bootstrap_p": d.bootstrap.p}
    return fact


def worst_sheet(comparison: Comparison, k: int) -> Sheet:
    """The pairs that differ most, measure by measure."""
    a, b = names(comparison)
    rows, facts = [], []
    for e in extremes(comparison, k):
        digits = comparison.a.measures[e.measure]["digits"]
        shown = [f"{e.a:.{digits}f}", f"{e.b:.{digits}f}", f"{e.a - e.b:+.{digits}f}"]
        rows.append([e.measure, e.pair, *shown])
        facts.append({"kind": "pair", "method_a": a, "method_b": b, "measure": e.measure, "pair": e.pair}
                     | {"a": e.a, "b": e.b, "difference": e.a - e.b})  # fmt: skip
    return Sheet(f"Pairs that differ most, A = {a}, B = {b}", ["measure", "pair", "A", "B", "A − B"], rows, (), facts)


def picture(path: Path, comparisons: Sequence[Comparison], k: int, side: int) -> Path:
    """Write source, target and all runs' swaps of the pairs that differ most as a PNG; see `extremes`.

    Raises:
        UsageError: the runs show different images.
    """
    captions: dict[str, list[str]] = {}
    for comparison in comparisons:
        a, b = names(comparison)
        for e in extremes(comparison, k):
            digits = comparison.a.measures[e.measure]["digits"]
            said = f"{e.measure.partition('@')[0]} {e.a - e.b:+.{digits}f}"
            captions.setdefault(e.pair, []).append(said if len(comparisons) == 1 else f"{said} ({a} - {b})")
    records = list({id(r): r for comparison in comparisons for r in (comparison.a, comparison.b)}.values())
    known = [{pair["id"] for pair in record.manifest["pairs"]} for record in records]
    shown = {
        pair: f"{pair}: {', '.join(said[:3])}" for pair, said in captions.items() if all(pair in ids for ids in known)
    }
    return write_grid(path, records, shown, side)


_OPERATORS: Mapping[str, Callable[[float, float], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
}
_CLAUSE = re.compile(
    r"(?P<measure>[a-z0-9][a-z0-9_-]*(?:@[a-z0-9_-]+)?)(?:\.(?P<field>[a-z]+))?\s*(?P<op>>=|<=|>|<)\s*"
    r"(?P<number>[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?)\s*(?P<percent>%)?"
)
_OF_B = ("difference", "low", "high")
"""Fields that a percentage of B's mean can be compared with."""


def holds(expression: str, differences: Sequence[Difference]) -> bool:
    """Whether an expression such as ``identity.low > 0 or pose > 0.05 and pose.p < 0.01`` is true.

    A clause is MEASURE[.FIELD] OP NUMBER. FIELD is difference (when left out: mean of A − B), low, high, p, a or b;
    OP is >, >=, < or <=. The number may be a percentage, of B's mean, for the first three: ``identity > +2%``. Clauses
    are joined by ``and``, which binds tighter, and ``or``. Nothing is evaluated as code.

    Raises:
        UsageError: malformed, names a measure that was not compared, or an end or p-value that the data cannot give: a
            check that cannot be made is not passed.
    """
    alternatives = re.split(r"\bor\b", expression)
    results = [[_clause(c, differences) for c in re.split(r"\band\b", alternative)] for alternative in alternatives]
    return any(all(clauses) for clauses in results)


def _clause(clause: str, differences: Sequence[Difference]) -> bool:
    match = _CLAUSE.fullmatch(clause.strip())
    if match is None:
        raise UsageError(f"cannot read {clause.strip()!r}; wanted MEASURE[.FIELD] OP NUMBER[%], like identity.low > 0")
    name, field = match["measure"], match["field"] or "difference"
    found = [d for d in differences if name in (d.measure, d.measure.partition("@")[0])]
    if len(found) != 1:
        known = ", ".join(d.measure for d in differences)
        raise UsageError(f"{name!r} names {len(found)} of the measures compared: {known}")
    if field not in found[0].fields:
        raise UsageError(f"{field!r} is no field; use {', '.join(found[0].fields)}")
    number = float(match["number"])
    if match["percent"]:
        if field not in _OF_B:
            raise UsageError(f"{clause.strip()!r}: a percentage is of B's mean, and {field} is no part of a difference")
        if found[0].b == 0:
            raise UsageError(f"{clause.strip()!r}: B's mean is 0, there is no percentage of it")
        number *= abs(found[0].b) / 100
    value = found[0].fields[field]
    if math.isnan(value):
        raise UsageError(f"{clause.strip()!r} cannot be told: the pairs compared give {name} no interval")
    return _OPERATORS[match["op"]](value, number)
