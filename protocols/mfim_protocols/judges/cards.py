"""The figures on the judges' cards: stored beside this file as the measuring commands wrote them, printed as tables."""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib.resources import files

from tabulate import tabulate

from mfim_bench.errors import UsageError

Figures = dict[str, dict[str, float]]
ROWS = {
    "within_45": "yaw within ±45°",
    "bare": "… and nothing before the face",
    "one_look": "… measured in the detector's crop",
    "protocol": "the protocol's scenes",
    "all": "all frames",
    "yaw_0_15": "yaw 0–15°",
    "yaw_15_30": "yaw 15–30°",
    "yaw_30_45": "yaw 30–45°",
    "yaw_45_60": "yaw 45–60°",
    "side_192": "frame of 192 px",
    "side_128": "frame of 128 px",
    "side_96": "frame of 96 px",
    "side_64": "frame of 64 px",
    "blur_1": "blur of 1 px",
    "blur_2": "blur of 2 px",
    "blur_4": "blur of 4 px",
    "ceiling": "ceiling: true landmarks",
}


def load(name: str) -> Figures:
    """The stored figures.

    Raises:
        UsageError: there is no such card.
    """
    path = files("mfim_protocols.judges") / "figures" / f"{name}.json"
    if not path.is_file():
        raise UsageError(f"no card {name!r}")
    figures: Figures = json.loads(path.read_text())
    return figures


def markdown(name: str, figures: Figures) -> str:
    """The card's tables."""
    if name == "floors":
        rows = [[f"`{k}`", int(v["pairs"]), v["floor"], v["random"], v["ratio"]] for k, v in figures.items()]
        return _table(["measure", "pairs", "floor", "random pairs", "ratio"], rows, ("", "", ".3f", ".3f", ".1f"))
    shown = [(label, figures[key]) for key, label in ROWS.items() if key in figures]
    angles = ["yaw_degrees", "pitch_degrees", "roll_degrees"]
    if "auc" in figures["all"]:
        rows = [[label, int(f["images"]), f["auc"], f["rank1"], f["l2_same"], f["l2_different"]] for label, f in shown]
        head = ["", "images", "AUC", "rank 1", "L2, same person", "L2, others"]
        table = _table(head, rows, ("", "", ".4f", ".3f", ".3f", ".3f"))
    elif "shape_explained" not in figures["all"]:
        rows = [[label, int(f["images"]), *(f[a] for a in angles)] for label, f in shown]
        table = _table(["", "images", "yaw °", "pitch °", "roll °"], rows, ("", "", ".2f", ".2f", ".2f"))
    else:
        rows = [
            [label, int(f["images"]) if "images" in f else "", *(f[a] for a in angles), f["shape_mm"],
             f["shape_explained"], f["shape_auc"], f["expression_mm"], f["expression_explained"]]
            for label, f in shown
        ]  # fmt: skip
        head = [
            "",
            "images",
            "yaw °",
            "pitch °",
            "roll °",
            "shape mm",
            "explained",
            "AUC",
            "expression mm",
            "explained",
        ]
        table = _table(head, rows, ("", "", ".2f", ".2f", ".2f", ".2f", ".3f", ".3f", ".2f", ".3f"))
    found = figures["all"]["not_found"]
    lines = [table, "", f"Faces that the detector did not find, left out above: {found:.0f}."]
    if "cost" in figures:
        one, many = figures["cost"]["ms_at_1"], figures["cost"]["ms_at_32"]
        lines.append(f"Cost on one CPU thread: {one:.0f} ms an image alone, {many:.0f} ms in a batch of 32.")
    return "\n".join(lines)


def _table(head: Sequence[str], rows: Sequence[Sequence[object]], formats: Sequence[str]) -> str:
    return tabulate(rows, head, tablefmt="github", floatfmt=tuple(formats))
