"""Tables, heat-map and page of an audit, all from what `run.Audit.as_dict` gives."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader
from tabulate import tabulate

from mfim_bench import audited
from mfim_bench.audited import number
from mfim_bench.bench.parts import write_atomic
from mfim_protocols.virtual_faces.audit.factors import DAMAGES, FIELDS

COLUMNS = ("floor", "independent", "response", "leak", "ratio", "rank", "path", "true_path")
HEADS = ("measure", "floor", "other face", "response", "leak", "response / leak", "worst leak", "rank", "path",
         "truth’s path", "verdict")  # fmt: skip
Summary = Mapping[str, Any]


def rows(summary: Summary, code: str = "") -> list[list[str]]:
    """A row a measure under `HEADS`; ``code`` stands around its name."""
    found = []
    for name, m in summary["measures"].items():
        digits = {key: 3 if key in ("floor", "independent") else 1 if key == "ratio" else 2 for key in COLUMNS}
        cell = {key: number(m[key], digits[key]) for key in COLUMNS}
        worst = f"{m['worst']} {m['shares'][m['worst']][0]:.2f}" if m["worst"] else "–"
        found.append([f"{code}{name}{code}", *(cell[key] for key in COLUMNS[:5]), worst, cell["rank"], cell["path"],
                      cell["true_path"], m["verdict"]])  # fmt: skip
    return found


def share_rows(summary: Summary, code: str = "", bold: str = "") -> tuple[list[str], list[list[str]]]:
    """Heads and rows of the shares of each factor; what a measure should see stands between ``bold``."""
    heads = ["measure", *FIELDS, *DAMAGES]
    found = []
    for name, m in with_judge(summary).items():
        cells = []
        for factor in heads[1:]:
            mark = bold if factor in m["wanted"] else ""
            value = m["shares"][factor][0]
            cells.append("–" if value is None else f"{mark}{value:z.2f}{mark}")
        found.append([f"{code}{name}{code}", *cells])
    return heads, found


def with_judge(summary: Summary) -> dict[str, Any]:
    """The measures that have shares."""
    return {name: m for name, m in summary["measures"].items() if m["shares"]}


def text(summary: Summary) -> str:
    """For a terminal."""
    lines = [
        title(summary),
        "",
        tabulate(rows(summary), HEADS, "simple", disable_numparse=True),
        "",
        "share of the distance between two faces, by the factor redrawn; [what the measure should see]",
    ]
    heads, shares = share_rows(summary)
    wanted = [m["wanted"] for m in with_judge(summary).values()]
    shares = [
        [row[0], *(f"[{c}]" if h in w else c for h, c in zip(heads[1:], row[1:], strict=True))]
        for row, w in zip(shares, wanted, strict=True)
    ]
    lines += [tabulate(shares, heads, "simple", disable_numparse=True), "", *why(summary)]
    lines += [f"not measured: {count} pictures ({reason})" for reason, count in summary["not_measured"].items()]
    return "\n".join(lines)


def title(summary: Summary) -> str:
    return f"audit: {summary['people']} people, seed {summary['seed']}, {summary['pictures']:,} pictures"


def why(summary: Summary) -> list[str]:
    """A line for each measure that does not pass."""
    return [f"{n} {m['verdict']}: {'; '.join(m['reasons'])}" for n, m in summary["measures"].items() if m["reasons"]]


def tables(summary: Summary) -> list[str]:
    """Figures, and shares of each factor, as Markdown."""
    heads, shares = share_rows(summary, "`", "**")
    made = ((HEADS, rows(summary, "`")), (heads, shares))
    return [tabulate(body, head, "github", disable_numparse=True) for head, body in made]


def markdown(summary: Summary) -> str:
    """The tables, then a card a measure under a heading of its name."""
    return "\n\n".join([*tables(summary), *(card(name, m) for name, m in summary["measures"].items())])


def card(name: str, m: Mapping[str, Any]) -> str:
    """One measure in words."""
    because, *lines = audited.sentences(m)
    verdict = m["verdict"].capitalize()
    return "\n".join([f"### {name}", "", f"**{verdict}**{because.removeprefix(verdict)}", *(f"- {t}" for t in lines)])


def heatmap(path: Path, summary: Summary) -> None:
    """Shares as a PNG: a row a measure, a column a factor; what a measure should see is framed."""
    import matplotlib as mpl
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle

    measures = with_judge(summary)
    names = [*FIELDS, *DAMAGES]
    values = [
        [m["shares"][f][0] if m["shares"][f][0] is not None else float("nan") for f in names] for m in measures.values()
    ]
    figure = Figure(figsize=(2.4 + 0.62 * len(names), 1.5 + 0.42 * len(measures)), layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(values, vmin=0, vmax=1, cmap="viridis", aspect="auto")
    for y, m in enumerate(measures.values()):
        for x, factor in enumerate(names):
            dark = not values[y][x] > 0.6
            axes.text(x, y, f"{values[y][x]:z.2f}", ha="center", va="center", color="white" if dark else "black")
            if factor in m["wanted"]:
                axes.add_patch(
                    Rectangle((x - 0.47, y - 0.44), 0.94, 0.88, fill=False, edgecolor="#ff5a36", linewidth=2)
                )
    axes.set_xticks(range(len(names)), names, rotation=40, ha="right")
    axes.set_yticks(range(len(measures)), list(measures))
    axes.set_title(f"{title(summary)}; framed: what the measure should see", fontsize=9)
    figure.colorbar(image, ax=axes, label="share of two faces' distance")
    with mpl.rc_context({"font.size": 8}):
        figure.savefig(path, dpi=85, metadata={"Software": None})


def page(path: Path, summary: Summary) -> None:
    """One HTML file that opens anywhere."""
    heads, shares = share_rows(summary)
    cells = [
        (name, [(text, m["shares"][f][0], f in m["wanted"]) for f, text in zip(heads[1:], texts, strict=True)])
        for (name, *texts), m in zip(shares, with_judge(summary).values(), strict=True)
    ]
    environment = Environment(loader=PackageLoader("mfim_protocols.virtual_faces.audit", "."), autoescape=True)
    made = environment.get_template("page.html").render(
        title=title(summary),
        heads=HEADS,
        rows=rows(summary),
        share_heads=heads,
        shares=cells,
        why=why(summary),
        summary=summary,
    )
    write_atomic(path, made.encode())


def write(folder: Path, summary: Summary) -> list[Path]:
    """``audit.html`` and, where a measure has shares, ``heatmap.png``."""
    made = [folder / "audit.html"]
    page(made[0], summary)
    if with_judge(summary):
        made.append(folder / "heatmap.png")
        heatmap(made[1], summary)
    return made
