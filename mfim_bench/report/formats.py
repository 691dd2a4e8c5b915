"""Sheets of figures as text, Markdown, LaTeX, CSV and JSON."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from tabulate import tabulate

from mfim_bench.bench.summary import finite

Fact: TypeAlias = Mapping[str, str | int | float | bool | None]

_LATEX = str.maketrans(
    {
        "↓": r"$\downarrow$", "↑": r"$\uparrow$", "±": r"$\pm$", "−": "$-$", "–": "--", "…": r"\ldots{}",
        "▲": r"$\blacktriangle$", "†": r"$\dagger$", "‡": r"$\ddagger$", "°": r"$^\circ$", "✗": r"$\times$",
    }
)  # fmt: skip
"""What pdfLaTeX does not know; ``\\blacktriangle`` needs amssymb."""


@dataclass(frozen=True, slots=True)
class Sheet:
    """One table.

    Attributes:
        title: above it.
        heads: column heads, of several lines where a ``\\n`` stands.
        cells: the rows.
        legend: lines below it.
        facts: the same without rounding, a flat record each, for programs; ``kind`` says of what.
    """

    title: str
    heads: Sequence[str]
    cells: Sequence[Sequence[str]]
    legend: Sequence[str] = ()
    facts: Sequence[Fact] = ()


def render(sheets: Sequence[Sheet], style: str) -> str:
    """All sheets as ``text``, ``markdown``, ``latex``, ``csv`` or ``json``.

    CSV and JSON hold the facts of all sheets in their order; a column that a record lacks is empty. In LaTeX (booktabs)
    title and legend are comments.
    """
    if style == "json":
        return json.dumps([_plain(fact) for sheet in sheets for fact in sheet.facts], indent=2)
    if style == "csv":
        return _csv([_plain(fact) for sheet in sheets for fact in sheet.facts])
    return "\n\n".join({"text": _text, "markdown": _markdown, "latex": _latex}[style](sheet) for sheet in sheets)


def _plain(fact: Fact) -> Fact:
    return {key: finite(value) if isinstance(value, float) else value for key, value in fact.items()}


def _csv(facts: Sequence[Fact]) -> str:
    columns = list(dict.fromkeys(key for fact in facts for key in fact))
    held = io.StringIO()
    writer = csv.DictWriter(held, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(facts)
    return held.getvalue().rstrip("\n")


def _aligned(sheet: Sheet) -> list[str]:
    return ["left", *["right"] * (len(sheet.heads) - 1)]


def _text(sheet: Sheet) -> str:
    grid = tabulate(
        sheet.cells, sheet.heads, tablefmt="simple", colalign=_aligned(sheet) if sheet.cells else None,
        disable_numparse=True,
    )  # fmt: skip
    return "\n".join([sheet.title, "", grid, *(["", *sheet.legend] if sheet.legend else [])])


def _flat(text: str) -> str:
    return ", ".join(part for part in text.split("\n") if part)


def _markdown(sheet: Sheet) -> str:
    def safe(text: str) -> str:
        return _flat(text).replace("|", r"\|")

    cells = [[safe(cell) for cell in row] for row in sheet.cells]
    grid = tabulate(cells, [safe(head) for head in sheet.heads], tablefmt="github", disable_numparse=True)
    return "\n".join([f"**{sheet.title}**", "", grid, *(["", *(f"- {line}" for line in sheet.legend)])]).rstrip()


def _latex(sheet: Sheet) -> str:
    heads = [_flat(head) for head in sheet.heads]
    grid = tabulate(
        sheet.cells, heads, tablefmt="latex_booktabs", colalign=_aligned(sheet) if sheet.cells else None,
        disable_numparse=True,
    )  # fmt: skip
    return "\n".join([f"% {sheet.title}", grid.translate(_LATEX), *(f"% {line}" for line in sheet.legend)])
