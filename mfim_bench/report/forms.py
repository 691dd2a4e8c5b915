"""Runs in the form of the four tables of the MFIM paper (Na, ECCV 2022).

What the paper's text says of them is kept: the data sets, the methods compared, the five distances. Its numbers are not
known here and none is printed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mfim_bench import audited
from mfim_bench.bench.record import Record
from mfim_bench.errors import UsageError
from mfim_bench.report.ablation import averaged
from mfim_bench.report.formats import Fact, Sheet
from mfim_bench.report.table import build, marks

_FIVE = (
    ("identity", "source"), ("shape", "source"), ("expression", "target"), ("pose", "target"), ("pose-hn", "target"),
)  # fmt: skip
_METHODS = {
    "deepfakes": "Deepfakes", "faceshifter": "FaceShifter", "simswap": "SimSwap", "hififace": "HifiFace",
    "infoswap": "InfoSwap", "megafs": "MegaFS", "smoothswap": "Smooth-Swap", "mfim": "MFIM",
}  # fmt: skip
_UNKNOWN_ROWS = "which of these methods the paper's table holds is not known here: rows are all that it names"


@dataclass(frozen=True, slots=True)
class Form:
    """One table of the paper.

    Attributes:
        title: what it is of.
        protocol: family of the protocol on its data; empty = the paper's is not known.
        rows: key → what is printed. A run goes to the row that its method's name, or its label, names.
        columns: family of the measure, and whom it compares the swap with.
        notes: what is ours and not the paper's.
    """

    title: str
    protocol: str
    rows: Mapping[str, str]
    columns: tuple[tuple[str, str], ...]
    notes: tuple[str, ...] = ()


FORMS: Mapping[str, Form] = {
    "mfim-1": Form("Table 1, FaceForensics++", "faceforensics++", _METHODS, _FIVE, (_UNKNOWN_ROWS,)),
    "mfim-2": Form("Table 2, CelebA-HQ", "celeba-hq", _METHODS, _FIVE, (_UNKNOWN_ROWS,)),
    "mfim-3": Form(
        "Table 3, ablation of style maps and 3DMM supervision",
        "",
        {
            "neither": "without style maps, without 3DMM",
            "no-maps": "without style maps, with 3DMM",
            "no-3dmm": "with style maps, without 3DMM",
            "full": "with style maps, with 3DMM",
        },
        _FIVE,
        ("the data of the paper's table, and its rows beyond what its text says, are not known here",),
    ),
    "mfim-4": Form(
        "Table 4, ID mixing",
        "virtual-faces-mixing",
        {
            "mix": "global and local source mixed",
            "global": "the global source alone",
            "local": "the local source alone",
        },
        (("identity", "source"), ("identity", "local"), ("shape", "source"), ("shape", "local"), *_FIVE[2:]),
        ("rows and columns of the paper's table are not known here: these are our own",),
    ),
}


def form(name: str, runs: Sequence[tuple[str, Record]], common: bool = False) -> Sheet:
    """Runs as a table of the paper.

    Args:
        name: of a form.
        runs: (row's key, or empty to find it by the method's name) and record. Several of one row are averaged as
            training runs; those of no row, and references, stand below.
        common: count only the pairs that all scored.

    Raises:
        UsageError: no such form, row or run; or the runs measured other images or by other versions of a measure.
    """
    if name not in FORMS:
        raise UsageError(f"no form is called {name!r}; there are {', '.join(FORMS)}")
    shape = FORMS[name]
    groups: dict[str, list[Record]] = {}
    beside: list[Record] = []
    for label, record in runs:
        if label and label not in shape.rows:
            raise UsageError(f"{name} has no row {label!r}; it has {', '.join(shape.rows)}")
        key = label or ("" if record.reference else _key(record.method, shape))
        if key:
            groups.setdefault(key, []).append(record)
        else:
            beside.append(record)
    means = {key: found[0] if len(found) == 1 else averaged(key, found) for key, found in groups.items()}
    table = build([*means.values(), *beside], common, mark=False)
    lines = {id(line.record): line for line in table.lines}
    mark = marks(table.measures)
    heads, found, absent = ["", "run"], [], []
    for family, role in shape.columns:
        fitting = [n for n, m in table.of_pairs.items() if n.partition("@")[0] == family and m["compares"] == role]
        said = family if [f for f, _ in shape.columns].count(family) == 1 else f"{family}, {_ROLES[role]}"
        for measure in fitting:
            heads.append(f"{said} {mark[measure]}\n{measure.partition('@')[2]}\n{table.measures[measure]['unit']}")
        if not fitting:
            heads.append(f"{said}\nnot measured")
            absent.append(f"{said}: cannot be filled, the runs have no such measure in common")
        found += fitting or [""]
    rows: list[list[str]] = []
    facts: list[Fact] = []
    audit = audited.verdicts(table.measures)
    entries: list[tuple[str, str, Record | None]] = [(key, shown, means.get(key)) for key, shown in shape.rows.items()]
    entries += [("", record.method, record) for record in beside]
    for key, shown, made in entries:
        if made is None:
            rows.append([shown, "no run given", *["–"] * len(found), "", ""])
            continue
        line, count = lines[id(made)], len(groups.get(key, []))
        run = f"mean of {count} trainings" if count > 1 else made.method if key else "beside the form"
        cells = [line.cells[measure].text if measure else "–" for measure in found]
        rows.append([shown, run, *cells, str(line.scored), str(line.failed)])
        for measure in filter(None, found):
            i = line.cells[measure].interval
            facts.append(
                {"kind": "form", "form": name, "row": key, "method": made.method, "measure": measure}
                | {"mean": i.estimate, "low": i.low, "high": i.high, "scored": line.scored, "failed": line.failed}
                | {"in_domain": table.measures[measure]["in_domain"], "audit": audit.get(measure)}
            )
    protocol = next(iter(lines.values())).record.protocol
    legend = [*absent, *shape.notes, "measured here; the paper's own numbers are not known and none is printed"]
    if shape.protocol and protocol.partition("@")[0] != shape.protocol:
        legend.append(f"the form is of {shape.protocol}; these runs are of {protocol}: not the paper's data")
    title = f"In the form of MFIM's {shape.title}; measured: {table.title}"
    return Sheet(title, [*heads, "scored", "failed"], rows, [*table.legend, *legend], facts)


_ROLES = {"source": "global source", "local": "local source"}


def _key(method: str, shape: Form) -> str:
    """The row that a method's name says: ``simswap``, ``mfim-no-maps-0``, ``mfim@local``; empty = none."""
    if "mix" in shape.rows:
        part = method.partition("@")[2]
        return part if part in shape.rows else "" if part else "mix"
    bare = method.partition("@")[0].lower()
    for key in (re.sub(r"[^a-z0-9]", "", bare), re.sub(r"^(mfim|ablation)-|-\d+$", "", bare)):
        if key in shape.rows:
            return key
    return ""
