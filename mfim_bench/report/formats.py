"""Sheets of figures as text, Markdown, LaTeX, CSV and JSON."""

from __future__ import annotations

import csv
import io
import itertools
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from tabulate import tabulate

from mfim_bench.bench.summary import finite

Fact: TypeAlias = Mapping[str, str | int | float | bool | None]

_LATEX = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "%": r"\%", "#": r"\#", "_": r"\_",
    "^": r"\^{}", "~": r"\textasciitilde{}", "<": "$<$", ">": "$>$", "|": "$|$", '"': "''", "`": r"\`{}",
    "↓": r"$\downarrow$", "↑": r"$\uparrow$", "→": r"$\rightarrow$", "±": r"$\pm$", "−": "$-$", "–": r"\textendash{}",
    "…": r"\ldots{}", "†": r"$\dagger$", "‡": r"$\ddagger$", "°": r"$^\circ$", "✗": r"$\times$",
}  # fmt: skip
"""What means something else to LaTeX, or that pdfLaTeX's first font does not have."""

_ACCENTED = frozenset(map(chr, range(0xC0, 0x100))) - set("Ð×Þð÷þ")
"""Letters beyond ASCII that it has."""


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
    """Figures stand at the right; the first column, and one that holds a word, at the left."""
    columns = list(zip(*sheet.cells, strict=True))
    return ["left" if i == 0 or any(map(_WORD.match, cells)) else "right" for i, cells in enumerate(columns)]


_WORD = re.compile(r"(?!nan|inf)[^\W\d_]")


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
    """Lines of a head are rows, as in the text."""
    aligned = "".join(side[0] for side in _aligned(sheet)) or "l" * len(sheet.heads)
    heads = itertools.zip_longest(*(head.split("\n") for head in sheet.heads), fillvalue="")
    lines = [f"% {_one_line(sheet.title)}", rf"\begin{{tabular}}{{{aligned}}}", r"\toprule"]
    lines += [*map(_latex_row, heads), r"\midrule", *map(_latex_row, sheet.cells), r"\bottomrule", r"\end{tabular}"]
    return "\n".join([*lines, *(f"% {_one_line(line)}" for line in sheet.legend)])


def _latex_row(cells: Sequence[str]) -> str:
    row = " & ".join(map(_latex_cell, cells))
    return ("{}" if row[:1] in ("[", "*") else "") + row + r" \\"  # the \\ before would take it for an argument


def _latex_cell(text: str) -> str:
    text = re.sub(r"(?<![\w.])-(?=\.?\d)", "−", _one_line(text))
    return re.sub("-(?=-)", "-{}", "".join(map(_latex_character, text)))


def _latex_character(c: str) -> str:
    plain = c in _ACCENTED or (c.isascii() and c.isprintable())
    return _LATEX.get(c, c if plain else f"[U+{ord(c):04X}]")


def _one_line(text: str) -> str:
    return " ".join(text.split())
