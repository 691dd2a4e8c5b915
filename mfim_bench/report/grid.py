"""A picture of runs side by side: source (or sources) | target | each run's swap | truth, a row a pair."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from mfim_bench.bench.record import Record
from mfim_bench.errors import RowError, UsageError
from mfim_bench.media.images import read_image, write_image

HEAD = 18
"""Height of the line of names, pixels."""


def write_grid(path: Path, records: Sequence[Record], pairs: int | Mapping[str, str], side: int) -> Path:
    """Write a PNG of pairs that every run has.

    Args:
        path: of the picture.
        records: runs of one protocol on the same images.
        pairs: how many rows, the first of the protocol's order; or pair id → caption above its row.
        side: of each picture, pixels.

    Raises:
        UsageError: the runs show different images, or share no pair.
    """
    first = records[0]
    if any(record.data_hash != first.data_hash for record in records):
        raise UsageError("these runs were made on different images")
    known = {pair["id"]: pair for pair in first.manifest["pairs"]}
    common = [name for name in known if all(name in {p["id"] for p in r.manifest["pairs"]} for r in records)]
    if not common:
        raise UsageError("these runs share no pair")
    truth = any(known[name]["truth_path"] for name in common)
    sources = list(source_paths(known[common[0]]))
    names = [*sources, "target", *(record.method for record in records), *(["truth"] if truth else [])]
    rows = [_line([(name, (i + 0.5) / len(names)) for i, name in enumerate(names)], side * len(names))]
    captions = dict.fromkeys(common[:pairs], "") if isinstance(pairs, int) else pairs
    for name, caption in captions.items():
        pair = known[name]
        given = source_paths(pair)
        files = [*(given.get(part) for part in sources), pair["target_path"]]
        files += [r.folder / "images" / f"{name}.png" for r in records]
        files += [pair["truth_path"]] if truth else []
        rows += [_line([(caption, 0.5)], side * len(names))] if caption else []
        rows.append(np.concatenate([_tile(file and Path(file), side) for file in files], axis=1))
    write_image(path, np.concatenate(rows), {"Software": "mfim-bench", "Description": "Synthetic: face swaps."})
    return path


def source_paths(pair: Mapping[str, Any]) -> dict[str, str]:
    """Of a manifest's pair: heading → image file; ``source``, or the parts of a mixed identity."""
    parts = pair.get("parts")  # schema 1 has none
    return {part["part"]: part["source_path"] for part in parts} if parts else {"source": pair["source_path"]}


def _line(texts: Sequence[tuple[str, float]], width: int) -> NDArray[np.uint8]:
    """A white line with texts, each centred at a share of the width."""
    line = Image.new("RGB", (width, HEAD), "white")
    draw = ImageDraw.Draw(line)
    for text, place in texts:
        draw.text((place * width, HEAD / 2), text, fill="black", anchor="mm", font=ImageFont.load_default(12))
    return np.asarray(line)


def _tile(path: Path | None, side: int) -> NDArray[np.uint8]:
    """The picture fitted into a square; grey where there is none."""
    square = Image.new("RGB", (side, side), (128, 128, 128))
    if path is not None:
        try:
            picture = Image.fromarray(read_image(path))
        except (RowError, OSError):
            return np.asarray(square)
        picture.thumbnail((side, side), Image.Resampling.LANCZOS)
        square.paste(picture, ((side - picture.width) // 2, (side - picture.height) // 2))
    return np.asarray(square)
