"""The table: methods as rows, measures as columns, and only such ranking as the data allow."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from tabulate import tabulate

from mfim_bench import audited, statistics
from mfim_bench.bench.parts import Row
from mfim_bench.bench.record import Record, identities
from mfim_bench.errors import UsageError
from mfim_bench.statistics import Interval

BEST, SELF_JUDGED, IN_DOMAIN = "▲", "†", "‡"


@dataclass(frozen=True, slots=True)
class Cell:
    """One mean.

    Attributes:
        interval: over the pairs that count.
        digits: decimals to print.
        self_judged: the judge trained the method; not ranked.
        best: of the ranked methods.
    """

    interval: Interval
    digits: int
    self_judged: bool
    best: bool

    @property
    def text(self) -> str:
        if math.isnan(self.interval.estimate):
            return "–"
        half = self.interval.half_width
        spread = f" ± {half:.{self.digits}f}" if math.isfinite(half) else ""
        marks = (SELF_JUDGED if self.self_judged else "") + (f" {BEST}" if self.best else "")
        return f"{self.interval.estimate:.{self.digits}f}{spread}{marks}"


@dataclass(frozen=True, slots=True)
class Line:
    """One method."""

    record: Record
    cells: Mapping[str, Cell]
    scored: int
    failed: int


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a method stands between references, on one measure.

    Attributes:
        measure: its name.
        text: what 0 and 1 mean.
        interval: of the ratio.
        mark: of a measure that fails its audit.
    """

    measure: str
    text: str
    interval: Interval
    mark: str = ""

    @property
    def value(self) -> str:
        low, high = self.interval.low, self.interval.high
        return f"{self.interval.estimate:.3f} [{low:.3f}, {high:.3f}]" if math.isfinite(low) else "not defined"


@dataclass(frozen=True, slots=True)
class Table:
    """The whole table.

    Attributes:
        title: protocol, split, pairs.
        measures: name → description, of the columns.
        lines: the methods.
        ranked: whether best values are marked.
        legend: what marks mean and why nothing is ranked.
    """

    title: str
    measures: Mapping[str, Mapping[str, Any]]
    lines: Sequence[Line]
    ranked: bool
    legend: Sequence[str]

    @property
    def of_pairs(self) -> Mapping[str, Mapping[str, Any]]:
        """The columns that each pair has a value of."""
        return {name: measure for name, measure in self.measures.items() if measure.get("over") != "set"}

    def headers(self) -> list[str]:
        """Column heads of several lines: name and arrow, variant, unit."""
        heads = ["method"]
        mark = marks(self.measures)
        for name, measure in self.measures.items():
            family, _, variant = name.partition("@")
            heads.append(f"{family} {mark[name]}\n{variant}\n{measure['unit']}")
        return [*heads, "scored", "failed"]

    def text(self) -> str:
        """For a terminal."""
        rows = [
            [line.record.method, *(cell.text for cell in line.cells.values()), line.scored, line.failed]
            for line in self.lines
        ]
        align = ["left", *["right"] * (len(self.measures) + 2)]
        grid = tabulate(rows, self.headers(), tablefmt="simple", colalign=align, disable_numparse=True)
        return "\n".join([self.title, "", grid, "", *self.legend])


def marks(measures: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Name → the arrow of its direction, with what a reader must know of its judge."""
    audit = audited.verdicts(measures)
    found = {}
    for name, measure in measures.items():
        found[name] = "↓" if measure["lower_is_better"] else "↑"
        found[name] += IN_DOMAIN if measure["in_domain"] else ""
        found[name] += audited.FAILS if audit.get(name) == "fails" else ""
    return found


def in_domain_legend(measures: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """What the mark means, where a measure has it."""
    marked = any(measure["in_domain"] for measure in measures.values())
    return [f"{IN_DOMAIN} in-domain: the judge was trained on the protocol's own kind of data"] if marked else []


def build(records: Sequence[Record], common: bool = False, mark: bool = True) -> Table:
    """The table of several runs, of the measures that all of them have (`mfim_bench.report.caveats` names the others).

    Args:
        records: of one protocol, split and copy of the data.
        common: count only the pairs that every one of them scored.
        mark: the best value of each measure.

    Raises:
        UsageError: the runs measured other images, or by other versions of a measure.
    """
    if not records:
        raise UsageError("no run to report")
    check_comparable(records)
    scored = [record.scored() for record in records]
    if common:
        shared = set.intersection(*(set(rows) for rows in scored))
        scored = [{pair: row for pair, row in rows.items() if pair in shared} for rows in scored]
    names = [name for name in records[0].measures if all(name in record.measures for record in records)]
    sets = [name for name in records[0].sets if all(name in record.sets for record in records)]
    ranked = [i for i, record in enumerate(records) if not record.reference]
    same = len({frozenset(scored[i]) for i in ranked}) == 1
    intervals = {name: [_interval(list(rows.values()), name) for rows in scored] for name in names}
    best = {name: _best(name, records, intervals[name], ranked) for name in names} if same and mark else {}
    best |= {name: None for name in names if not same_others([records[i] for i in ranked], name)}
    lines = []
    for i, record in enumerate(records):
        cells = {}
        for name in names:
            measure = record.measures[name]
            is_best = best.get(name) == i
            cells[name] = Cell(intervals[name][i], measure["digits"], measure["self_judged"], is_best)
        for name in sets:
            cells[name] = _set_cell(record, name, whole=not common or len(scored[i]) == len(record.scored()))
        failed = sum(row["reason"] is not None for row in record.rows)
        lines.append(Line(record, cells, len(scored[i]), failed))
    measures = {name: records[0].measures[name] for name in names} | {name: records[0].sets[name] for name in sets}
    return Table(_title(records, common), measures, lines, bool(best), _legend(lines, measures, len(ranked), same))


def _set_cell(record: Record, name: str, whole: bool) -> Cell:
    """A number of the run as a whole; none for a part of its pairs. Never ranked: it has no interval."""
    measure, value = record.sets[name], record.summary["whole"][name]["value"]
    estimate = value if whole and value is not None else math.nan
    nothing = math.nan
    interval = Interval(estimate, nothing, nothing, nothing, 0, len(record.scored()), 0, nothing)
    return Cell(interval, measure["digits"], measure["self_judged"], False)


def check_comparable(records: Sequence[Record]) -> None:
    """Refuse runs whose numbers do not mean the same.

    Raises:
        UsageError: another protocol, split, data, version or distance of a measure, or weights of a judge.
    """
    first = records[0]
    for other in records[1:]:
        if (first.protocol, first.summary["protocol"]["split"]) != (other.protocol, other.summary["protocol"]["split"]):
            raise UsageError(f"{first.folder} and {other.folder} are of different protocols or splits")
        if first.data_hash != other.data_hash:
            raise UsageError(f"{first.folder} and {other.folder} measured different images (content hashes differ)")
        ours, theirs = ({**record.measures, **record.sets} for record in (first, other))
        for name in ours.keys() & theirs.keys():
            if ours[name]["version"] != theirs[name]["version"]:
                raise UsageError(f"{first.folder} and {other.folder} used different versions of {name}")
            if distances(first)[name] != distances(other)[name]:
                raise UsageError(f"{first.folder} and {other.folder} used different distances of {name}")
        judges, others = first.manifest["inputs"]["judges"], other.manifest["inputs"]["judges"]
        for name in judges.keys() & others.keys():
            if judges[name]["weights"] != others[name]["weights"]:
                raise UsageError(f"{first.folder} and {other.folder} used different weights of judge {name}")


def distances(record: Record) -> dict[str, str]:
    """Measure → the function that makes its numbers of what a judge saw."""
    return {measure["name"]: measure["distance"] for measure in record.manifest["inputs"]["measures"]}


def same_others(records: Sequence[Record], name: str) -> bool:
    """Whether a measure compared the swaps of these runs with the same frames: always, but for one over a gallery,
    whose frames are those of all pairs that a run was given."""
    galleries = {
        (record.manifest["inputs"]["pairs"]["hash"], record.summary["whole"][name]["compared"])
        for record in records
        if record.measures[name].get("over") == "gallery"
    }
    return len(galleries) <= 1


def _interval(rows: Sequence[Row], name: str) -> Interval:
    values = [row[name] for row in rows]
    return statistics.mean_interval(values, *identities(rows))


def _best(name: str, records: Sequence[Record], intervals: Sequence[Interval], ranked: Sequence[int]) -> int | None:
    able = [i for i in ranked if not records[i].measures[name]["self_judged"]]
    able = [i for i in able if not math.isnan(intervals[i].estimate)]
    if len(able) < 2:
        return None
    sign = 1 if records[able[0]].measures[name]["lower_is_better"] else -1
    return min(able, key=lambda i: sign * intervals[i].estimate)


def _title(records: Sequence[Record], common: bool) -> str:
    summary = records[0].summary
    pairs = sorted({len(record.rows) for record in records})
    count = " or ".join(str(n) for n in pairs)
    kind = ", pairs that all methods scored" if common else ""
    return f"{records[0].protocol}, split {summary['protocol']['split']}, {count} pairs{kind}"


def _legend(lines: Sequence[Line], measures: Mapping[str, Mapping[str, Any]], ranked: int, same: bool) -> list[str]:
    arrows = "; ↓ lower is better" if any(measure["lower_is_better"] for measure in measures.values()) else ""
    arrows += "; ↑ higher is better" if not all(measure["lower_is_better"] for measure in measures.values()) else ""
    legend = [f"mean ± 95 % interval that allows for shared identities{arrows}"]
    if any(cell.best for line in lines for cell in line.cells.values()):
        legend.append(f"{BEST} best of the methods compared (references are not ranked)")
    if any(cell.self_judged for line in lines for cell in line.cells.values()):
        legend.append(f"{SELF_JUDGED} self-judged: this judge, or a twin of it, helped to train the method; not ranked")
    legend += in_domain_legend(measures)
    if ranked > 1 and not same:
        legend.append("not ranked: the methods were scored on different pairs; --common counts the pairs all scored")
    for name, measure in measures.items():
        if measure.get("over", "pair") != "pair":
            records = [line.record for line in lines if not line.record.reference]
            if measure["over"] == "gallery" and not same_others(records, name):
                legend.append(f"{name} is not ranked: the methods were looked for among different frames")
            legend.append(f"{name}: {_compared_with([line.record.summary['whole'][name] for line in lines], measure)}")
    people = [
        cell.interval.identities for line in lines for cell in line.cells.values() if math.isfinite(cell.interval.se)
    ]
    if few := statistics.few_identities(min(people, default=0)):
        legend.append(few)
    legend += audited.legend(audited.verdicts(measures))
    for name, why in lines[0].record.summary.get("skipped", {}).items():
        legend.append(f"not measured: {name} ({why})")
    return legend


def _compared_with(entries: Sequence[Mapping[str, Any]], measure: Mapping[str, Any]) -> str:
    """What a measure over a gallery or a set compared the swaps with, in words."""
    sizes = " or ".join(str(size) for size in sorted({entry["compared"] for entry in entries}))
    what = f"among {sizes} frames" if measure["over"] == "gallery" else f"one number a run, against {sizes} images"
    failed = max(entry["failed"] for entry in entries)
    return f"{what} ({failed} more could not be described)" if failed else what


def standings(record: Record, others: Sequence[Record]) -> list[Standing]:
    """Where a method stands: progress from the target to the truth, and shares of the source's distance.

    For a measure against the source: (target-copy − method) / (target-copy − truth), both references at the method's
    own size. For one against the target: method / source-copy.

    Args:
        record: of the method.
        others: of the references; what is missing there is left out here.
    """
    size = record.manifest["inputs"]["method"]["size"]
    at = f"@{size}" if size else ""
    by_name = {other.method: other for other in others}
    copy, truth, source = by_name.get(f"target-copy{at}"), by_name.get(f"truth{at}"), by_name.get("source-copy")
    found: list[Standing] = []
    mark = {name: audited.FAILS for name, said in audited.verdicts(record.measures).items() if said == "fails"}
    for name, measure in record.measures.items():
        if measure["judge"] is None or measure.get("over", "pair") != "pair":
            continue
        if measure["compares"] == "source" and copy and truth:
            rows, (m, c, t) = _common([record, copy, truth], name)
            text = f"progress: 0 = {copy.method}, 1 = {truth.method}"
            found.append(Standing(name, text, statistics.progress(m, c, t, *identities(rows)), mark.get(name, "")))
        elif measure["compares"] == "target" and source:
            rows, (m, s) = _common([record, source], name)
            text = "share: 0 = the target, 1 = source-copy"
            found.append(Standing(name, text, statistics.ratio(m, s, *identities(rows)), mark.get(name, "")))
    return found


def _common(records: Sequence[Record], name: str) -> tuple[list[Row], list[np.ndarray[Any, np.dtype[np.float64]]]]:
    scored = [record.scored() for record in records]
    pairs = [pair for pair in scored[0] if all(pair in rows and name in rows[pair] for rows in scored)]
    values = [np.array([rows[pair][name] for pair in pairs], np.float64) for rows in scored]
    return [scored[0][pair] for pair in pairs], values


def standings_text(found: Sequence[Standing]) -> str:
    """Standings for a terminal; empty when there is none."""
    families = [s.measure.partition("@")[0] for s in found]
    names = [f if families.count(f) == 1 else s.measure for f, s in zip(families, found, strict=True)]
    rows = [[f"{name} {s.mark}".strip(), s.value, s.text] for name, s in zip(names, found, strict=True)]
    return (
        tabulate(rows, ["measure", "standing [95 %]", "scale"], tablefmt="simple", disable_numparse=True)
        if rows
        else ""
    )
