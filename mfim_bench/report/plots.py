"""Intervals and distributions of each measure as inline SVG that takes the page's colours, light and dark."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import numpy as np
from markupsafe import Markup, escape
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mfim_bench.report.table import Cell, Table

INK, PAPER, METHOD, REFERENCE = "#010203", "#010204", "#010205", "#010206"
COLOURS = {INK: "currentColor", PAPER: "var(--paper)", METHOD: "var(--accent)", REFERENCE: "var(--soft-ink)"}
"""Stand-ins that matplotlib draws with → what the page's style says."""
LONGEST = 26
"""Letters of a method's name beside a plot; the tables hold it whole."""


@dataclass(frozen=True, slots=True)
class Plots:
    """Of one measure.

    Attributes:
        measure: its name.
        intervals: ``<svg>`` of means with their 95 % intervals; None where there is none.
        distribution: ``<svg>`` of the pairs' distances; None where no pair was scored.
    """

    measure: str
    intervals: Markup | None
    distribution: Markup | None


def plots(table: Table, pairs: Sequence[frozenset[str]]) -> list[Plots]:
    """Figures of every measure that pairs have.

    Args:
        table: what they stand below.
        pairs: of each line, the pairs that count.
    """
    found = []
    for index, name in enumerate(table.of_pairs):
        label = f"{name} ({table.measures[name]['unit']})"
        cells = [line.cells[name] for line in table.lines]
        values = [
            np.array([row[name] for pair, row in line.record.scored().items() if pair in counted], np.float64)
            for line, counted in zip(table.lines, pairs, strict=True)
        ]
        drawn = [len(x) > 0 for x in values]
        found.append(
            Plots(
                name,
                _intervals(table, cells, label, f"i{index}") if any(drawn) else None,
                _distribution(table, values, label, f"d{index}") if any(drawn) else None,
            )
        )
    return found


def _intervals(table: Table, cells: Sequence[Cell], label: str, prefix: str) -> Markup:
    figure, axes = _axes(table, f"{label}, mean [95 %]")
    told = []
    for place, line, cell in zip(_places(table), table.lines, cells, strict=True):
        interval = cell.interval
        if np.isnan(interval.estimate):
            continue
        colour = _colour(line.record.reference)
        if np.isfinite(interval.half_width):
            axes.plot(
                [interval.low, interval.high], [place, place], color=colour, linewidth=2, marker="|", markersize=9
            )
        axes.plot([interval.estimate], [place], "o", color=colour, markersize=5)
        told.append(f"{line.record.method} {cell.text}")
    return _svg(figure, prefix, f"Means and 95 % intervals of {label}: {'; '.join(told)}")


def _distribution(
    table: Table, values: Sequence[np.ndarray[Any, np.dtype[np.float64]]], label: str, prefix: str
) -> Markup:
    """Violins, a method a row, with median and quartiles."""
    figure, axes = _axes(table, f"{label}, pairs with median and quartiles")
    told = []
    for place, line, x in zip(_places(table), table.lines, values, strict=True):
        if not len(x):
            continue
        colour = _colour(line.record.reference)
        if len(x) > 1 and x.std() > 1e-9:
            violin: Any = axes.violinplot([x], [place], orientation="horizontal", widths=0.85, showextrema=False)
            for part in violin["bodies"]:
                part.set_facecolor(colour)
                part.set_alpha(0.35)
        low, middle, high = np.quantile(x, [0.25, 0.5, 0.75])
        axes.plot([low, high], [place, place], color=colour, linewidth=3, solid_capstyle="butt")
        axes.plot([middle], [place], "o", color=PAPER, markeredgecolor=colour, markersize=5)
        told.append(f"{line.record.method} median {middle:.4g}, quartiles {low:.4g} to {high:.4g}")
    return _svg(figure, prefix, f"Distribution of {label} over pairs: {'; '.join(told)}")


def _places(table: Table) -> list[int]:
    return list(range(len(table.lines), 0, -1))


def _colour(reference: bool) -> str:
    return REFERENCE if reference else METHOD


def _axes(table: Table, label: str) -> tuple[Figure, Axes]:
    names = [line.record.method for line in table.lines]
    shorter = [name if len(name) <= LONGEST else f"{name[: LONGEST - 9]}…{name[-8:]}" for name in names]
    with mpl.rc_context(
        {
            **dict.fromkeys(("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), INK),
            "font.size": 9,
        }
    ):
        figure = Figure(figsize=(5.6, 0.55 + 0.3 * len(names)), layout="constrained")
        axes = figure.subplots()
        # Names are text, whatever dollars they hold.
        axes.set_yticks(_places(table), shorter, parse_math=False)
        axes.set_ylim(0.4, len(names) + 0.6)
        axes.set_xlabel(label, parse_math=False)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
    return figure, axes


def _svg(figure: Figure, prefix: str, told: str) -> Markup:
    """The figure as an image that is described by ``told``; its ids begin with ``prefix``, unique on the page."""
    sink = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": "mfim-bench", "svg.fonttype": "none"}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph")  # of a letter that only the reader's fonts have
        figure.savefig(sink, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    svg = sink.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r'(<\w+ id=")', rf"\g<1>{prefix}-", svg)  # "<" begins a tag: matplotlib escapes text
    svg = re.sub(r'(url\(#|href="#)', rf"\g<1>{prefix}-", svg)
    for stand_in, colour in COLOURS.items():
        svg = svg.replace(stand_in, colour)
    return Markup(svg.replace("<svg", f'<svg role="img" aria-label="{escape(told)}"', 1))
