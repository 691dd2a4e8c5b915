"""Distributions of each measure's distances, one figure a measure, as inline SVG."""

from __future__ import annotations

import io
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from mfim_bench.report.table import Table


def distribution(table: Table, measure: str) -> str:
    """Violins of one measure, a method a row, with median and quartiles; an ``<svg>`` element."""
    lines = [line for line in table.lines if line.scored]
    values = [np.array([row[measure] for row in line.record.scored().values()]) for line in lines]
    figure = Figure(figsize=(6.4, 0.6 + 0.42 * len(lines)), layout="constrained")
    axes = figure.subplots()
    places = list(range(len(lines), 0, -1))
    for place, line, x in zip(places, lines, values, strict=True):
        colour = "#8a8f98" if line.record.reference else "#2f6f9f"
        if len(x) > 1 and x.std() > 1e-9:
            violin: Any = axes.violinplot([x], [place], orientation="horizontal", widths=0.85, showextrema=False)
            for part in violin["bodies"]:
                part.set_facecolor(colour)
                part.set_alpha(0.45)
        low, middle, high = np.quantile(x, [0.25, 0.5, 0.75])
        axes.plot([low, high], [place, place], color=colour, linewidth=3, solid_capstyle="butt")
        axes.plot([middle], [place], "o", color="white", markeredgecolor=colour, markersize=5)
    axes.set_yticks(places, [line.record.method for line in lines])
    axes.set_ylim(0.4, len(lines) + 0.6)
    axes.set_xlabel(f"{measure} ({table.measures[measure]['unit']})")
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(left=False)
    sink = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": "mfim-bench", "svg.fonttype": "none", "font.size": 9}):
        figure.savefig(sink, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    return sink.getvalue()[sink.getvalue().index("<svg") :]
