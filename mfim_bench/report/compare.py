"""Two methods on the pairs both scored, and a small language for failing a build on the result."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from tabulate import tabulate

from mfim_bench import statistics
from mfim_bench.bench.record import Record, identities
from mfim_bench.errors import UsageError
from mfim_bench.report.table import check_comparable, same_others
from mfim_bench.statistics import Interval


@dataclass(frozen=True, slots=True)
class Difference:
    """Method A less method B on one measure.

    Attributes:
        measure: its name.
        a, b: means over the common pairs.
        interval: of the mean difference a − b.
        p: of "they are equal", after Holm's correction over the measures compared.
        ranked: neither was trained with the judge.
    """

    measure: str
    a: float
    b: float
    interval: Interval
    p: float
    ranked: bool

    @property
    def fields(self) -> dict[str, float]:
        """What an expression may name."""
        i = self.interval
        return {"difference": i.estimate, "low": i.low, "high": i.high, "p": self.p, "a": self.a, "b": self.b}


def compare(a: Record, b: Record) -> list[Difference]:
    """Paired differences on every measure that both have, but for those that `left_out` names.

    Raises:
        UsageError: they measured different images, or have no pair or measure in common.
    """
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
        x, y = (np.array([rows[pair][name] for pair in pairs]) for rows in (rows_a, rows_b))
        ranked = not (a.measures[name]["self_judged"] or b.measures[name]["self_judged"])
        found.append((name, x, y, statistics.paired_difference(x, y, *who), ranked))
    adjusted = statistics.holm([interval.p for *_, interval, _ in found])
    return [
        Difference(name, float(x.mean()), float(y.mean()), interval, p, ranked)
        for (name, x, y, interval, ranked), p in zip(found, adjusted, strict=True)
    ]


def left_out(a: Record, b: Record) -> dict[str, str]:
    """Measures that both have and whose difference has no interval: name → why."""
    found = dict.fromkeys(a.measures.keys() & b.measures.keys(), "compared with different galleries")
    found = {name: why for name, why in found.items() if not same_others([a, b], name)}
    for name in a.sets.keys() & b.sets.keys():
        values = [record.summary["whole"][name]["value"] for record in (a, b)]
        shown = ["none" if value is None else f"{value:.{a.sets[name]['digits']}f}" for value in values]
        found[name] = f"one number a run, without rows to pair: A {shown[0]}, B {shown[1]}"
    return dict(sorted(found.items()))


def text(a: Record, b: Record, differences: Sequence[Difference]) -> str:
    """For a terminal."""
    rows = []
    for d in differences:
        digits = a.measures[d.measure]["digits"] + 1
        i = d.interval
        rows.append(
            [
                d.measure,
                f"{d.a:.{digits}f}",
                f"{d.b:.{digits}f}",
                f"{i.estimate:+.{digits}f} [{i.low:+.{digits}f}, {i.high:+.{digits}f}]",
                f"{d.p:.2g}",
                "" if d.ranked else "self-judged",
            ]
        )
    title = f"A = {a.method}, B = {b.method}: {differences[0].interval.n} pairs that both scored"
    heads = ["measure", "A", "B", "A − B [95 %]", "p (Holm)", ""]
    table = tabulate(rows, heads, tablefmt="simple", disable_numparse=True)
    others = "".join(f"\nnot compared: {name} ({why})" for name, why in left_out(a, b).items())
    return f"{title}\n\n{table}" + (f"\n{others}" if others else "")


_OPERATORS: Mapping[str, Callable[[float, float], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
}
_CLAUSE = re.compile(
    r"(?P<measure>[a-z0-9][a-z0-9_-]*(?:@[a-z0-9_-]+)?)(?:\.(?P<field>[a-z]+))?\s*(?P<op>>=|<=|>|<)\s*"
    r"(?P<number>[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?)"
)


def holds(expression: str, differences: Sequence[Difference]) -> bool:
    """Whether an expression such as ``identity.low > 0 or pose > 0.05 and pose.p < 0.01`` is true.

    A clause is MEASURE[.FIELD] OP NUMBER. FIELD is difference (when left out: mean of A − B), low, high, p, a or b;
    OP is >, >=, < or <=. Clauses are joined by ``and``, which binds tighter, and ``or``. Nothing is evaluated as code.

    Raises:
        UsageError: malformed, or names a measure that was not compared.
    """
    alternatives = re.split(r"\bor\b", expression)
    results = [[_clause(c, differences) for c in re.split(r"\band\b", alternative)] for alternative in alternatives]
    return any(all(clauses) for clauses in results)


def _clause(clause: str, differences: Sequence[Difference]) -> bool:
    match = _CLAUSE.fullmatch(clause.strip())
    if match is None:
        raise UsageError(f"cannot read {clause.strip()!r}; wanted MEASURE[.FIELD] OP NUMBER, like identity.low > 0")
    name, field = match["measure"], match["field"] or "difference"
    found = [d for d in differences if name in (d.measure, d.measure.partition("@")[0])]
    if len(found) != 1:
        known = ", ".join(d.measure for d in differences)
        raise UsageError(f"{name!r} names {len(found)} of the measures compared: {known}")
    if field not in found[0].fields:
        raise UsageError(f"{field!r} is no field; use {', '.join(found[0].fields)}")
    return _OPERATORS[match["op"]](found[0].fields[field], float(match["number"]))
