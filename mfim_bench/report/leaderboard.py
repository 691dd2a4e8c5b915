"""The finished runs of a folder in one table, ranked as far as statistics separate them.

Ranks are intervals. Of k methods ranked by a measure, one that w of them beat and that beats l of them has a rank from
1 + w to k − l, where "beats" is a paired difference with p < .05 after Holm's correction over all couples of methods
and all measures of the table. With that correction every method's true rank on every measure lies in its interval,
with 95 % (Mogstad, Romano, Shaikh & Wilhelm, "Inference for Ranks", Review of Economic Studies 2024). Methods that
nothing separates share an interval: a tie.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from mfim_bench import audited, statistics
from mfim_bench.bench.record import Record, identities
from mfim_bench.errors import UsageError
from mfim_bench.report.formats import Fact, Sheet
from mfim_bench.report.table import Line, Table, build, distances, same_others

LEVEL = 0.05


@dataclass(frozen=True, slots=True)
class Rank:
    """Where a method may stand, 1 being best; ``first`` equals ``last`` where all others are separated from it."""

    first: int
    last: int

    @property
    def text(self) -> str:
        return str(self.first) if self.first == self.last else f"{self.first}–{self.last}"


@dataclass(frozen=True, slots=True)
class Leaderboard:
    """The whole result.

    Attributes:
        table: means; methods in the order of one measure, references below.
        ranks: (method, measure) → rank. Not of references, of values that a judge gave which trained the method, of
            numbers of a run as a whole, and of a measure that fewer than two methods can be ranked by.
        overlap: two methods or references → how many pairs both scored; empty where all scored the same.
        notes: what is left out and why, and why nothing is ranked.
    """

    table: Table
    ranks: Mapping[tuple[str, str], Rank]
    overlap: Mapping[tuple[str, str], int]
    notes: Sequence[str]

    def sheets(self) -> list[Sheet]:
        """For every format."""
        cells = []
        for line in self.table.lines:
            shown = [self._cell(line.record.method, name) for name in line.cells]
            cells.append([line.record.method, *shown, str(line.scored), str(line.failed)])
        legend = list(self.table.legend)
        if self.ranks:
            legend.append(
                f"(1–2): the ranks that remain open; one method beats another where their difference has p < {LEVEL:g}"
                " after Holm's correction over all methods and measures; methods with one range are tied"
            )
        sheets = [Sheet(self.table.title, self.table.headers(), cells, [*legend, *self.notes], self._facts())]
        return [*sheets, self._overlap_sheet()] if self.overlap else sheets

    def _cell(self, method: str, name: str) -> str:
        line = next(line for line in self.table.lines if line.record.method == method)
        rank = self.ranks.get((method, name))
        return line.cells[name].text + (f" ({rank.text})" if rank else "")

    def _facts(self) -> list[Fact]:
        facts: list[Fact] = []
        audit = audited.verdicts(self.table.measures)
        for line in self.table.lines:
            method = line.record.method
            for name, cell in line.cells.items():
                rank = self.ranks.get((method, name))
                i, measure = cell.interval, self.table.measures[name]
                facts.append(
                    {
                        "kind": "mean", "method": method, "version": line.record.summary["method"]["version"],
                        "run": line.record.manifest["fingerprint"], "reference": line.record.reference,
                        "measure": name, "unit": measure["unit"], "lower_is_better": measure["lower_is_better"],
                        "mean": i.estimate, "low": i.low, "high": i.high, "rank_first": rank.first if rank else None,
                        "rank_last": rank.last if rank else None, "scored": line.scored, "failed": line.failed,
                        "self_judged": cell.self_judged, "in_domain": measure["in_domain"],
                        "audit": audit.get(name),
                    }
                )  # fmt: skip
        return facts

    def _overlap_sheet(self) -> Sheet:
        names = [line.record.method for line in self.table.lines]
        numbers = [str(number) for number in range(1, len(names) + 1)]
        cells = [[f"{n} {a}", *(str(self.overlap[a, b]) for b in names)] for n, a in zip(numbers, names, strict=True)]
        facts: list[Fact] = [
            {"kind": "overlap", "method": a, "other": b, "pairs": self.overlap[a, b]}
            for a, b in itertools.combinations(names, 2)
        ]
        return Sheet("Pairs that both scored", ["", *numbers], cells, (), facts)


def leaderboard(records: Sequence[Record], common: bool = False, sort: str = "") -> Leaderboard:
    """The table of the runs, with ranks.

    Args:
        records: of one protocol and split, one a method.
        common: count the pairs that all scored, and leave out what cannot be compared: measures of which the runs have
            different versions, and runs on other images than most.
        sort: a measure, or its family, to order the methods by; the first when left out.

    Raises:
        UsageError: the runs are of different images, pair lists or versions of measures, and not ``common``; or
            ``sort`` is no measure of theirs.
    """
    if not records:
        raise UsageError("no run to rank")
    records, notes = _comparable(records, common)
    table = build(records, common, mark=False)
    if not table.measures:
        raise UsageError("the runs have no measure in common")
    table = replace(table, lines=_sorted(table, sort))
    scored = [set(line.record.scored()) for line in table.lines]
    names = [line.record.method for line in table.lines]
    overlap = {
        (a, b): len(x & y) for a, x in zip(names, scored, strict=True) for b, y in zip(names, scored, strict=True)
    }
    if len(set(overlap.values())) == 1:
        notes.append(f"all scored the same {len(scored[0])} pairs")
        overlap = {}
    contestants = [line.record for line in table.lines if not line.record.reference]
    pairs = [set(record.scored()) for record in contestants]
    if common:
        pairs = [set.intersection(*scored)] * len(pairs)
    ranks = _ranks(table, contestants, pairs[0]) if len({frozenset(p) for p in pairs}) == 1 else {}
    return Leaderboard(table, ranks, overlap, notes)


def _comparable(records: Sequence[Record], common: bool) -> tuple[list[Record], list[str]]:
    """The runs that mean the same, and what was done to get there."""
    notes: list[str] = []
    images = Counter(record.data_hash for record in records)
    if len(images) > 1:
        most = images.most_common(1)[0][0]
        others = ", ".join(record.method for record in records if record.data_hash != most)
        if not common:
            raise UsageError(f"{others} measured other images than the rest (content hashes differ)")
        notes.append(f"left out, measured on other images: {others}")
        records = [record for record in records if record.data_hash == most]
    lists: dict[str, list[Record]] = {}
    for record in records:
        lists.setdefault(record.manifest["inputs"]["pairs"]["hash"], []).append(record)
    if len(lists) > 1 and not common:
        said = "; ".join(f"{len(g[0].rows)} pairs: {', '.join(r.method for r in g)}" for g in lists.values())
        raise UsageError(
            f"the runs have different pair lists ({said}); --common counts the pairs that all scored,"
            " --pairs N takes runs of N pairs"
        )
    versions: dict[str, dict[str, list[str]]] = {}
    for record in records:
        judges = record.manifest["inputs"]["judges"]
        for name, measure in {**record.measures, **record.sets}.items():
            weights = judges[measure["judge"]]["weights"] if measure["judge"] in judges else {}
            version = f"{measure['version']} {distances(record)[name]} {weights}"
            versions.setdefault(name, {}).setdefault(version, []).append(record.method)
    mixed = {name: found for name, found in versions.items() if len(found) > 1}
    if mixed and not common:
        name, found = next(iter(mixed.items()))
        said = "; ".join(", ".join(methods) for methods in found.values())
        raise UsageError(f"{name} was measured in different versions ({said}); --common leaves such measures out")
    notes += [f"left out, measured in different versions: {name}" for name in mixed]
    return [_without(record, mixed) for record in records] if mixed else list(records), notes


def _without(record: Record, names: Mapping[str, object]) -> Record:
    measures = [measure for measure in record.manifest["measures"] if measure["name"] not in names]
    kept = {measure["judge"] for measure in measures}
    inputs = record.manifest["inputs"]
    inputs = {**inputs, "judges": {name: judge for name, judge in inputs["judges"].items() if name in kept}}
    return replace(record, manifest={**record.manifest, "measures": measures, "inputs": inputs})


def _sorted(table: Table, sort: str) -> list[Line]:
    names = list(table.measures)
    found = [name for name in names if sort in (name, name.partition("@")[0])] if sort else names[:1]
    if len(found) != 1:
        raise UsageError(f"--sort: {sort!r} names {len(found)} of the measures {', '.join(names)}")
    name = found[0]
    sign = 1 if table.measures[name]["lower_is_better"] else -1

    def place(line: Line) -> tuple[bool, bool, float, str]:
        value = line.cells[name].interval.estimate
        unknown = math.isnan(value)
        if line.record.reference:
            return True, False, 0.0, line.record.method
        return False, line.cells[name].self_judged or unknown, 0.0 if unknown else sign * value, line.record.method

    return sorted(table.lines, key=place)


def _ranks(table: Table, records: Sequence[Record], pairs: set[str]) -> dict[tuple[str, str], Rank]:
    chosen = [pair for pair in records[0].scored() if pair in pairs]
    if not chosen:
        return {}
    scored = {record.method: record.scored() for record in records}
    rows = {method: [found[pair] for pair in chosen] for method, found in scored.items()}  # runs may differ in order
    who = identities(rows[records[0].method])
    able = {
        name: [record.method for record in records if not record.measures[name]["self_judged"]]
        for name in table.of_pairs
        if same_others(records, name)
    }
    able = {name: methods for name, methods in able.items() if len(methods) > 1}
    tests = [(name, a, b) for name, methods in able.items() for a, b in itertools.combinations(methods, 2)]
    found = []
    for name, a, b in tests:
        found.append(statistics.paired_difference([r[name] for r in rows[a]], [r[name] for r in rows[b]], *who))
    beats: Counter[tuple[str, str]] = Counter()
    beaten: Counter[tuple[str, str]] = Counter()
    adjusted = statistics.holm([interval.p for interval in found])
    for (name, a, b), interval, p in zip(tests, found, adjusted, strict=True):
        if p < LEVEL:
            lower = interval.estimate < 0
            winner, loser = (a, b) if lower == table.measures[name]["lower_is_better"] else (b, a)
            beats[winner, name] += 1
            beaten[loser, name] += 1
    return {
        (method, name): Rank(1 + beaten[method, name], len(methods) - beats[method, name])
        for name, methods in able.items()
        for method in methods
    }
