"""``report.html``: one file that opens anywhere: the table, distributions, and a grid of pictures."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader
from markupsafe import Markup
from PIL import Image

from mfim_bench.bench.parts import Row, write_atomic
from mfim_bench.bench.record import Record
from mfim_bench.errors import RowError
from mfim_bench.media.images import read_image
from mfim_bench.report.grid import source_paths
from mfim_bench.report.plots import distribution
from mfim_bench.report.table import Standing, Table, build, standings

SIDE = 112
"""Side of embedded pictures, pixels."""
BUDGET = 6_000_000
"""Bytes that pictures may take; the page stays under 8 MB."""
MOST_ROWS = 400


class Pictures:
    """Downscaled JPEG data URIs, each file once, within a budget of bytes."""

    def __init__(self, budget: int) -> None:
        self.uris: dict[str, str] = {}
        self._keys: dict[str, str] = {}
        self._left = budget

    @property
    def full(self) -> bool:
        return self._left <= 0

    def add(self, path: str | None) -> str | None:
        """Key of a picture in `uris`; None where there is no readable file."""
        if path is None:
            return None
        if path not in self._keys:
            try:
                picture = Image.fromarray(read_image(Path(path)))
            except (RowError, OSError):
                return None
            picture.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
            sink = io.BytesIO()
            picture.save(sink, "JPEG", quality=82)
            key = f"p{len(self._keys)}"
            self.uris[key] = "data:image/jpeg;base64," + base64.b64encode(sink.getvalue()).decode()
            self._left -= len(self.uris[key])
            self._keys[path] = key
        return self._keys[path]


@dataclass(frozen=True, slots=True)
class Tile:
    """One pair in the grid: keys of its pictures, its distances or the reason it failed."""

    pair: str
    pictures: Mapping[str, str | None]
    distances: Mapping[str, float | None]
    reason: str | None
    note: str | None


def write_page(path: Path, records: Sequence[Record], common: bool = False) -> Path:
    """Write the page of several runs; the grid shows those that are not references, or all when all are.

    Raises:
        UsageError: the runs cannot stand in one table.
    """
    table = build(records, common)
    shown = [record for record in records if not record.reference] or list(records[:1])
    pictures = Pictures(BUDGET)
    grids = [(record, _tiles(record, table, pictures)) for record in shown]
    positions: list[tuple[Record, list[Standing]]] = [(record, standings(record, records)) for record in shown]
    environment = Environment(loader=PackageLoader("mfim_bench.report"), autoescape=True, trim_blocks=True)
    page = environment.get_template("report.html").render(
        table=table,
        heads=[head.split("\n") for head in table.headers()],
        standings=[(record, found) for record, found in positions if found],
        figures=[Markup(distribution(table, name)) for name in table.of_pairs],  # made by matplotlib, which escapes
        grids=grids,
        uris=pictures.uris,
        records=records,
        failures=[(record, record.summary["reasons"]) for record in records if record.summary["reasons"]],
    )
    write_atomic(path, page.encode())
    return path


def _tiles(record: Record, table: Table, pictures: Pictures) -> list[Tile]:
    pairs: dict[str, Mapping[str, Any]] = {pair["id"]: pair for pair in record.manifest["pairs"]}
    tiles: list[Tile] = []
    for row in _chosen(record, list(table.of_pairs)):
        if pictures.full or len(tiles) >= MOST_ROWS:
            break
        pair = pairs[row["pair"]]
        keys = {
            **{head: pictures.add(path) for head, path in source_paths(pair).items()},
            "target": pictures.add(pair["target_path"]),
            "swap": pictures.add(str(record.folder / "images" / f"{row['pair']}.png")),
            "truth": pictures.add(pair["truth_path"]),
        }
        tiles.append(Tile(row["pair"], keys, {n: row[n] for n in table.of_pairs}, row["reason"], row["note"]))
    first = next(iter(table.of_pairs), None)
    if first is None:  # nothing but measures over sets
        return tiles
    sign = -1 if table.measures[first]["lower_is_better"] else 1
    return sorted(tiles, key=lambda t: (t.reason is None, sign * (t.distances[first] or 0.0), t.pair))


def _chosen(record: Record, measures: Sequence[str]) -> list[Row]:
    """All rows in order of interest: failures, then the worst and the best by each measure in turn."""
    failed = [row for row in record.rows if row["reason"] is not None]
    scored = [row for row in record.rows if row["reason"] is None]
    order: dict[str, Row] = {row["pair"]: row for row in failed[:40]}
    by_measure = [sorted(scored, key=lambda row: row[name]) for name in measures]
    if not by_measure:
        order |= {row["pair"]: row for row in scored}
    for i in range(len(scored)):
        for ranking in by_measure:
            for row in (ranking[-1 - i], ranking[i]):
                order.setdefault(row["pair"], row)
    return list(order.values())
