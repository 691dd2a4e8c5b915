"""The swaps of a baseline as thumbnails, and the pictures that a failure leaves."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mfim_bench.bench.parts import write_atomic
from mfim_bench.bench.record import Record
from mfim_bench.errors import RowError
from mfim_bench.media.images import read_image
from mfim_bench.report.grid import source_paths, tile, write_sheet

THUMBNAIL = 96
"""Side of a baseline's thumbnails, pixels."""
SIDE = 192
"""Side of a picture that a failure leaves, pixels."""


def write_thumbnails(path: Path, record: Record) -> None:
    """Write the run's swaps, in the order of its rows, as one WebP file of thumbnails."""
    swaps = [record.folder / "images" / f"{row['pair']}.png" for row in record.rows]
    columns = math.isqrt(len(swaps) - 1) + 1
    sheet = Image.new("RGB", (columns * THUMBNAIL, math.ceil(len(swaps) / columns) * THUMBNAIL))
    for index, swap in enumerate(swaps):
        sheet.paste(Image.fromarray(tile(swap, THUMBNAIL)), _corner(index, columns))
    held = io.BytesIO()
    sheet.save(held, "WEBP", quality=75, method=6)
    write_atomic(path, held.getvalue())


def _corner(index: int, columns: int) -> tuple[int, int]:
    return (index % columns * THUMBNAIL, index // columns * THUMBNAIL)


def read_thumbnails(path: Path, pairs: Sequence[str]) -> dict[str, NDArray[np.uint8]]:
    """pair id → its swap in the baseline, uint8 RGB (`SIDE`, `SIDE`, 3); none where there is no such file."""
    try:
        sheet = Image.fromarray(read_image(path))
    except RowError:
        return {}
    columns = sheet.width // THUMBNAIL
    found = {}
    for index, pair in enumerate(pairs):
        left, top = _corner(index, columns)
        small = sheet.crop((left, top, left + THUMBNAIL, top + THUMBNAIL))
        found[pair] = np.asarray(small.resize((SIDE, SIDE), Image.Resampling.LANCZOS))
    return found


def write_failures(folder: Path, record: Record, pairs: Sequence[str], thumbnails: Path) -> None:
    """Write a PNG for each of the pairs: its source (or sources), target, swap in the baseline, swap now, and truth."""
    before = read_thumbnails(thumbnails, [row["pair"] for row in record.rows])
    known = {pair["id"]: pair for pair in record.manifest["pairs"]}
    for number, name in enumerate(pairs, 1):
        pair = known[name]
        shown = {**source_paths(pair), "target": pair["target_path"]}
        shown |= {"baseline": before[name]} if name in before else {}
        shown |= {"now": record.folder / "images" / f"{name}.png"}
        shown |= {"truth": pair["truth_path"]} if pair["truth_path"] else {}
        write_sheet(folder / f"{number:02d}-{name}.png", list(shown), [list(shown.values())], SIDE)
