"""Is a run worse than its baseline? The rule and the words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from tabulate import tabulate

from mfim_bench import audited, statistics
from mfim_bench.bench.record import identities
from mfim_bench.errors import UsageError
from mfim_bench.statistics import Interval
from mfim_bench.testing.baseline import Baseline

ALPHA = 0.05
"""Of p, corrected by Holm's method over the measures."""
TOLERANCES: Mapping[str, float] = {
    "identity@dlib-l2": 0.005,
    "shape@vertex-mm": 0.1,
    "expression@vertex-mm": 0.02,
    "pose@3dmm-radians": 0.003,
    "pose-hn@hopenet-degrees": 0.15,
    "error-inside@l1": 0.001,
    "error-outside@l1": 0.001,
}
"""How much worse a mean may get, in the measure's unit; see ``docs/regression.md`` for what they are worth."""
SHARE = 0.01
"""The tolerance of all other measures: this share of the baseline's mean."""
SHOWN = 5
"""Pairs named a measure, and of those newly failed."""


@dataclass(frozen=True, slots=True)
class Change:
    """One measure, now and in the baseline, over the pairs that both scored.

    Attributes:
        measure: its name.
        before, now: means.
        interval: of the paired difference now − before.
        p: of "nothing changed", after Holm's correction; nan where the pairs give no interval.
        tolerance: how much worse the mean may get, in the measure's unit.
        lower_is_better: its direction.
    """

    measure: str
    before: float
    now: float
    interval: Interval
    p: float
    tolerance: float
    lower_is_better: bool

    @property
    def worsening(self) -> float:
        """The mean difference, above zero when worse."""
        return self.interval.estimate if self.lower_is_better else -self.interval.estimate

    @property
    def state(self) -> str:
        """``WORSE`` and ``better`` ask for significance and more than the tolerance; without an interval for the
        latter alone."""
        beyond = abs(self.worsening) > self.tolerance
        if self.worsening == 0:
            return "the same"
        if self.p >= ALPHA:
            return "not significant" if beyond else ""
        if not beyond:
            return "within tolerance"
        return "WORSE" if self.worsening > 0 else "better"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a method.

    Attributes:
        changes: one a measure; none when no pair was scored both times.
        newly_failed: pair → reason, of the pairs that the baseline had scored.
        healed: pairs that had failed and are scored now.
        worst: measure that is worse → its pairs, the one that lost most first.
    """

    changes: Sequence[Change]
    newly_failed: Mapping[str, str]
    healed: Sequence[str]
    worst: Mapping[str, Sequence[str]]

    @property
    def worse(self) -> bool:
        return bool(self.newly_failed or self.worst)

    @property
    def doubtful(self) -> list[str]:
        """Measures that are worse by more than their tolerance, in too few pairs to be sure."""
        return [c.measure for c in self.changes if c.state == "not significant" and c.worsening > 0]

    @property
    def pairs(self) -> list[str]:
        """Those to look at: newly failed, then the worst of each measure in turn."""
        failed = list(self.newly_failed)[:SHOWN]
        turns = zip(*(worst[:SHOWN] for worst in self.worst.values()), strict=True)
        return list(dict.fromkeys([*failed, *(pair for turn in turns for pair in turn)]))


def judge(old: Baseline, new: Baseline, tolerance: Mapping[str, float]) -> Verdict:
    """Hold a run against its baseline; their conditions must match (`Baseline.mismatches`).

    Args:
        old: the baseline.
        new: the run.
        tolerance: measure, or its family, → how much worse its mean may get; the defaults for the rest.

    Raises:
        UsageError: a tolerance that is negative, or of a measure that was not measured.
    """
    allowed = _allowed(tolerance, list(new.measures))
    before, now = old.scored(), new.scored()
    common = [pair for pair in before if pair in now]
    failed = {row["pair"]: row["reason"] for row in new.rows if row["reason"] is not None and row["pair"] in before}
    who = identities([before[pair] for pair in common])
    values = {
        name: [np.array([rows[pair][name] for pair in common]) for rows in (before, now)]
        for name in (new.measures if common else ())
    }
    intervals = {name: statistics.paired_difference(b, a, *who) for name, (a, b) in values.items()}
    adjusted = statistics.holm([interval.p for interval in intervals.values()])
    changes, worst = [], {}
    for (name, interval), p in zip(intervals.items(), adjusted, strict=True):
        a, b = values[name]
        limit = allowed.get(name, TOLERANCES.get(name, SHARE * abs(float(a.mean()))))
        down = bool(new.measures[name]["lower_is_better"])
        changes.append(Change(name, float(a.mean()), float(b.mean()), interval, p, limit, down))
        if changes[-1].state == "WORSE":
            order = np.argsort((a - b) if down else (b - a), kind="stable")
            worst[name] = [common[index] for index in order]
    return Verdict(changes, failed, [pair for pair in now if pair not in before], worst)


def _allowed(tolerance: Mapping[str, float], names: Sequence[str]) -> dict[str, float]:
    allowed = {}
    for key, value in tolerance.items():
        found = [name for name in names if key in (name, name.partition("@")[0])]
        if len(found) != 1:
            raise UsageError(f"tolerance: {key!r} names {len(found)} of the measures {', '.join(names)}")
        if not value >= 0:
            raise UsageError(f"tolerance of {key!r} must be 0 or more, not {value}")
        allowed[found[0]] = float(value)
    return allowed


def table(verdict: Verdict, new: Baseline) -> str:
    """Every measure: means, paired difference, corrected p, tolerance; and a warning where there are few people."""
    rows = []
    audit = audited.verdicts(new.measures)
    for c in verdict.changes:
        mark = ("↓" if c.lower_is_better else "↑") + (audited.FAILS if audit.get(c.measure) == "fails" else "")
        digits = new.measures[c.measure]["digits"] + 1
        i = c.interval
        rows.append(
            [
                f"{c.measure} {mark}",
                f"{c.before:.{digits}f}",
                f"{c.now:.{digits}f}",
                f"{i.estimate:+.{digits}f} [{i.low:+.{digits}f}, {i.high:+.{digits}f}]",
                f"{c.p:.2g}",
                f"{c.tolerance:.2g}",
                c.state,
            ]
        )
    heads = ["measure", "baseline", "now", "now − baseline [95 %]", "p (Holm)", "tolerance", ""]
    few = statistics.few_identities(max((c.interval.identities for c in verdict.changes), default=0))
    return tabulate(rows, heads, tablefmt="simple", disable_numparse=True) + "".join(
        f"\n\n{line}" for line in (few, *audited.legend(audit)[1:]) if line
    )


def details(verdict: Verdict, old: Baseline, new: Baseline) -> str:
    """The rows behind a failure."""
    lines = []
    if verdict.newly_failed:
        count = len(verdict.newly_failed)
        lines.append(f"newly failed, {count} of {len(new.rows)} pairs:")
        lines += [f"  {pair}: {reason}" for pair, reason in list(verdict.newly_failed.items())[:SHOWN]]
        lines += [f"  … and {count - SHOWN} more"] if count > SHOWN else []
    before, now = old.scored(), new.scored()
    for name, pairs in verdict.worst.items():
        digits = new.measures[name]["digits"] + 1
        lines.append(f"worst pairs in {name}:")
        for pair in pairs[:SHOWN]:
            a, b = before[pair][name], now[pair][name]
            lines.append(f"  {pair}: {a:.{digits}f} → {b:.{digits}f} ({b - a:+.{digits}f})")
    return "\n".join(lines)


def improvements(verdict: Verdict, new: Baseline) -> str:
    """What is better, in a line."""
    found = []
    for c in verdict.changes:
        if c.state == "better":
            digits = new.measures[c.measure]["digits"] + 1
            found.append(f"{c.measure} {c.before:.{digits}f} → {c.now:.{digits}f}")
    if verdict.healed:
        found.append(f"{len(verdict.healed)} pairs scored that had failed")
    return ", ".join(found)


def history(old: Baseline, new: Baseline) -> str:
    """How the baseline was made, and what is different today, in two lines or three."""
    made = old.made
    lines = [
        f"baseline: {method(old)}; made {made['date']} with mfim-bench {made['mfim_bench']}",
        f"          by: {made['command']}",
        f"now:      {method(new)}",
    ]
    others = [
        f"{key} {made.get(key)} → {value}" for key, value in new.made.items() if made.get(key) != value
        and key not in ("command", "date")
    ]  # fmt: skip
    return "\n".join(lines + ([f"          {', '.join(others)}"] if others else []))


def method(of: Baseline) -> str:
    """Name, version and weights."""
    weights = "".join(f", {name} {sha[:12]}" for name, sha in of.method["weights"].items())
    return f"{of.method['name']} {of.method['version']}{weights}"
