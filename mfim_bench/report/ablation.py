"""The table of an ablation: variants of a method, each trained once or with several seeds, and how they differ.

Two sources of doubt are kept apart. The interval is about the people: each pair's distance is the mean over the
variant's training runs, and these means get the dyadic cluster-robust interval of `mfim_bench.statistics`, so it holds
for these trainings. How far another training would move a mean is told by the standard deviation over the runs.
"""

from __future__ import annotations

import math
import statistics as plain
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from tabulate import tabulate

from mfim_bench import statistics
from mfim_bench.bench.record import Record
from mfim_bench.bench.summary import finite, summarise
from mfim_bench.errors import UsageError
from mfim_bench.report.compare import compare
from mfim_bench.report.table import Line, Table, build, check_comparable
from mfim_bench.statistics import Interval

Style = Literal["simple", "github"]

ONE_RUN = "one training run"
DIFFERS = "*"
LEVEL = 0.05


@dataclass(frozen=True, slots=True)
class Variant:
    """Training runs that differ in nothing but the seed.

    Attributes:
        name: of the variant.
        runs: one record a training, on the same pairs.
        mean: the record of their mean: a pair's distance is the mean over the runs, and a pair that failed in any of
            them has failed.
    """

    name: str
    runs: tuple[Record, ...]
    mean: Record

    @property
    def training(self) -> str:
        """How many training runs stand behind it."""
        return ONE_RUN if len(self.runs) == 1 else f"{len(self.runs)} runs"

    def run_means(self, measure: str, pairs: Sequence[str]) -> list[float]:
        """Each run's mean distance over some pairs, all scored."""
        return [plain.fmean(rows[pair][measure] for pair in pairs) for rows in (run.scored() for run in self.runs)]

    def spread(self, measure: str) -> float | None:
        """Standard deviation over the runs of their means, on the pairs that all scored; None for one run."""
        pairs = list(self.mean.scored())
        return plain.stdev(self.run_means(measure, pairs)) if pairs and len(self.runs) > 1 else None


@dataclass(frozen=True, slots=True)
class Contrast:
    """A variant less the baseline, on one measure.

    Attributes:
        variant, measure: names.
        interval: of the mean paired difference.
        p: of "they are equal", after Holm's correction over all contrasts of the table.
        agree: each run of the variant lies on the same side of each run of the baseline.
    """

    variant: str
    measure: str
    interval: Interval
    p: float
    agree: bool

    @property
    def differs(self) -> bool:
        """Beyond the draw of the people, and not by one odd training."""
        return self.p < LEVEL and self.agree

    def text(self, digits: int, mark: str) -> str:
        """For a table; without the interval where the data give none."""
        half = self.interval.half_width
        spread = f" ± {half:.{digits}f}" if math.isfinite(half) else ""
        return f"{self.interval.estimate:+.{digits}f}{spread}{f' {mark}' if self.differs else ''}"


@dataclass(frozen=True, slots=True)
class Ablation:
    """The whole result; the first variant is the baseline. One that shares no scored pair with it has no contrast."""

    variants: Sequence[Variant]
    table: Table
    contrasts: Sequence[Contrast]

    def text(self, style: Style = "simple") -> str:
        """Both tables and the runs behind them, for a terminal or as Markdown (``github``)."""
        base = self.variants[0].name
        heads = ["variant", "training", *self.table.headers()[1:]]
        rows = [self._row(line) for line in self.table.lines]
        parts = [self.table.title, _grid(rows, heads, style), _lines(self._legend(), style)]
        if len(self.variants) > 1:
            parts += [f"Paired differences from {base}", self._differences(style)]
            legend = [
                f"variant − {base}, mean ± 95 % interval over the same pairs; above zero is worse where ↓",
                f"{_mark(style)} p < {LEVEL:g} after Holm's correction over this table, and each training run of the"
                f" variant on the same side of each of {base}",
            ]
            parts.append(_lines(legend, style))
        runs = [
            f"{variant.name}: {run.method} ({run.manifest['summary']}), run {run.manifest['fingerprint']}"
            for variant in self.variants
            for run in variant.runs
        ]
        return "\n\n".join([*parts, "Runs", _lines(runs, style)])

    def _row(self, line: Line) -> list[str]:
        variant = next((v for v in self.variants if v.mean is line.record), None)
        cells = []
        for name, cell in line.cells.items():
            spread = variant.spread(name) if variant else None
            cells.append(cell.text if spread is None else f"{cell.text} ({spread:.{cell.digits + 1}f})")
        training = variant.training if variant else "reference"
        return [line.record.method, training, *cells, str(line.scored), str(line.failed)]

    def _differences(self, style: Style) -> str:
        names = list(self.table.measures)
        heads = ["variant", *self.table.headers()[1 : 1 + len(names)]]
        found = {(c.variant, c.measure): c for c in self.contrasts}
        rows = []
        for variant in self.variants[1:]:
            cells = []
            for name in names:
                contrast, digits = found.get((variant.name, name)), self.table.measures[name]["digits"]
                cells.append(contrast.text(digits, _mark(style)) if contrast else "–")
            rows.append([variant.name, *cells])
        return _grid(rows, heads, style)

    def _legend(self) -> list[str]:
        legend = list(self.table.legend)
        legend.append(
            "a variant's value is the mean over its training runs on the same pairs; the interval is about the people,"
            " given these trainings"
        )
        if any(len(variant.runs) > 1 for variant in self.variants):
            legend.append("in brackets: standard deviation over the training runs")
        if any(len(variant.runs) == 1 for variant in self.variants):
            legend.append(f"{ONE_RUN}: how far another seed would move it is not known")
        return legend

    def as_json(self) -> dict[str, Any]:
        """The same as plain values."""
        first = self.variants[0].mean
        return {
            "protocol": first.summary["protocol"],
            "pairs": len(first.rows),
            "baseline": self.variants[0].name,
            "rows": [self._json_row(line) for line in self.table.lines],
            "differences": [
                {
                    "variant": c.variant,
                    "measure": c.measure,
                    **_json_interval(c.interval),
                    "n": c.interval.n,
                    "p_holm": finite(c.p),
                    "runs_agree": c.agree,
                    "differs": c.differs,
                }
                for c in self.contrasts
            ],
        }

    def _json_row(self, line: Line) -> dict[str, Any]:
        variant = next((v for v in self.variants if v.mean is line.record), None)
        pairs = list(line.record.scored())
        measures = {}
        for name, cell in line.cells.items():
            measures[name] = _json_interval(cell.interval)
            if variant:
                means = variant.run_means(name, pairs) if pairs else []
                measures[name] |= {"run_means": means, "run_sd": variant.spread(name)}
        runs = [
            {"method": run.method, "summary": run.manifest["summary"], "folder": str(run.folder)}
            | {key: run.manifest["inputs"]["method"][key] for key in ("version", "argument")}
            for run in (variant.runs if variant else (line.record,))
        ]
        row = {"name": line.record.method, "reference": variant is None, "scored": line.scored, "failed": line.failed}
        return {**row, "runs": runs, "measures": measures}


def _json_interval(interval: Interval) -> dict[str, Any]:
    return {
        "mean": finite(interval.estimate), "low": finite(interval.low), "high": finite(interval.high),
        "se": finite(interval.se),
    }  # fmt: skip


def _mark(style: Style) -> str:
    return rf"\{DIFFERS}" if style == "github" else DIFFERS


def _grid(rows: Sequence[Sequence[str]], heads: Sequence[str], style: Style) -> str:
    if style == "github":
        heads = [", ".join(part for part in head.split("\n") if part) for head in heads]
    return tabulate(rows, heads, tablefmt=style, disable_numparse=True)


def _lines(lines: Sequence[str], style: Style) -> str:
    return "\n".join(f"- {line}" if style == "github" else line for line in lines)


def ablation(groups: Mapping[str, Sequence[Record]], baseline: str, references: Sequence[Record] = ()) -> Ablation:
    """The tables of several variants.

    Args:
        groups: variant → the records of its training runs, all on the same images and pairs.
        baseline: the variant that the others are compared with; it comes first.
        references: of the protocol, printed below.

    Raises:
        UsageError: runs of other images, pairs or measures; or two runs of a variant that are one.
    """
    order = [baseline, *(name for name in groups if name != baseline)]
    variants = [Variant(name, tuple(groups[name]), averaged(name, groups[name])) for name in order]
    table = build([*(variant.mean for variant in variants), *references])
    return Ablation(variants, table, _contrasts(variants))


def averaged(name: str, runs: Sequence[Record]) -> Record:
    """The record of the mean over training runs: see `Variant`.

    Raises:
        UsageError: they cannot be averaged, or two of them are copies.
    """
    check_comparable(runs)
    first = runs[0]
    if any(run.manifest["inputs"]["pairs"] != first.manifest["inputs"]["pairs"] for run in runs):
        raise UsageError(f"the training runs of {name} were measured on different pairs")
    if any(run.measures.keys() != first.measures.keys() for run in runs):
        raise UsageError(f"the training runs of {name} were measured by different measures")
    for i, one in enumerate(runs):
        for other in runs[i + 1 :]:
            if one.scored() and one.rows == other.rows:
                raise UsageError(f"{one.method} and {other.method} have the same distance in every pair: one training?")
    rows = []
    for same in zip(*(run.rows for run in runs), strict=True):
        reason = next((row["reason"] for row in same if row["reason"] is not None), None)
        means = {m: plain.fmean(row[m] for row in same) if reason is None else None for m in first.measures}
        rows.append({**same[0], **means, "reason": reason, "note": None})
    inputs = first.manifest["inputs"]
    manifest = {
        **first.manifest,
        "measures": [
            {**entry, "self_judged": any(run.measures[entry["name"]]["self_judged"] for run in runs)}
            for entry in first.manifest["measures"]
            if entry["name"] in first.measures
        ],
        "inputs": {**inputs, "method": {**inputs["method"], "name": name}},
    }
    galleries = {name: first.summary["whole"][name] for name, m in first.measures.items() if m.get("over") == "gallery"}
    return Record(first.folder, manifest, rows, summarise(manifest, rows, galleries))


def _contrasts(variants: Sequence[Variant]) -> list[Contrast]:
    base, *others = variants
    found = []
    for variant in others:
        scored = base.mean.scored()
        pairs = [pair for pair in variant.mean.scored() if pair in scored]
        if not pairs:
            continue
        for difference in compare(variant.mean, base.mean):
            name = difference.measure
            theirs, ours = variant.run_means(name, pairs), base.run_means(name, pairs)
            agree = min(theirs) > max(ours) or max(theirs) < min(ours)
            found.append((variant.name, name, difference.interval, agree))
    adjusted = statistics.holm([interval.p for _, _, interval, _ in found])
    return [
        Contrast(variant, measure, interval, p, agree)
        for (variant, measure, interval, agree), p in zip(found, adjusted, strict=True)
    ]
