"""A picture of runs side by side: source (or sources) | target | each run's swap | truth, a row a pair."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from mfim_bench.bench.record import Record
from mfim_bench.errors import RowError, UsageError
from mfim_bench.media.images import read_image, write_image

Picture: TypeAlias = Path | str | NDArray[np.uint8] | None
"""An image file, uint8 RGB (H, W, 3), or none."""
HEAD = 18
"""Height of the line of names, pixels."""


def write_grid(path: Path, records: Sequence[Record], pairs: int, side: int) -> Path:
    """Write a PNG of the first pairs of the protocol's order that every run has.

    Args:
        path: of the picture.
        records: runs of one protocol on the same images.
        pairs: how many rows.
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
    rows = []
    for name in common[:pairs]:
        pair = known[name]
        given = source_paths(pair)
        files = [*(given.get(part) for part in sources), pair["target_path"]]
        files += [r.folder / "images" / f"{name}.png" for r in records]
        rows.append([*files, pair["truth_path"]] if truth else files)
    return write_sheet(path, names, rows, side)


def write_sheet(path: Path, names: Sequence[str], rows: Sequence[Sequence[Picture]], side: int) -> Path:
    """Write a PNG of rows of pictures under a line of names; ``side`` is that of each picture, pixels."""
    tiles = [np.concatenate([tile(picture, side) for picture in row], axis=1) for row in rows]
    image = np.concatenate([_heading(names, side), *tiles])
    write_image(path, image, {"Software": "mfim-bench", "Description": "Synthetic: face swaps."})
    return path


def source_paths(pair: Mapping[str, Any]) -> dict[str, str]:
    """Of a manifest's pair: heading → image file; ``source``, or the parts of a mixed identity."""
    parts = pair.get("parts")  # schema 1 has none
    return {part["part"]: part["source_path"] for part in parts} if parts else {"source": pair["source_path"]}


def _heading(names: Sequence[str], side: int) -> NDArray[np.uint8]:
    line = Image.new("RGB", (side * len(names), HEAD), "white")
    draw = ImageDraw.Draw(line)
    for index, name in enumerate(names):
        draw.text((index * side + side / 2, HEAD / 2), name, fill="black", anchor="mm", font=ImageFont.load_default(12))
    return np.asarray(line)


def tile(picture: Picture, side: int) -> NDArray[np.uint8]:
    """The picture fitted into a square, uint8 RGB (side, side, 3); grey where there is none."""
    square = Image.new("RGB", (side, side), (128, 128, 128))
    if picture is not None:
        try:
            image = Image.fromarray(picture if isinstance(picture, np.ndarray) else read_image(Path(picture)))
        except (RowError, OSError):
            return np.asarray(square)
        image.thumbnail((side, side), Image.Resampling.LANCZOS)
        square.paste(image, ((side - image.width) // 2, (side - image.height) // 2))
    return np.asarray(square)
