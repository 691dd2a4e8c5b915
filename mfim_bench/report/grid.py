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
    captions = pairs if isinstance(pairs, Mapping) else dict.fromkeys(common[:pairs], "")
    rows = []
    for name in captions:
        pair = known[name]
        given = source_paths(pair)
        files = [*(given.get(part) for part in sources), pair["target_path"]]
        files += [r.folder / "images" / f"{name}.png" for r in records]
        rows.append([*files, pair["truth_path"]] if truth else files)
    return write_sheet(path, names, rows, side, list(captions.values()))


def write_sheet(
    path: Path, names: Sequence[str], rows: Sequence[Sequence[Picture]], side: int, captions: Sequence[str] = ()
) -> Path:
    """Write a PNG of rows of pictures under a line of names.

    Args:
        path: of the picture.
        names: of the columns.
        rows: of pictures.
        side: of each picture, pixels.
        captions: one a row, above it where it is not empty; or none at all.
    """
    width = side * len(names)
    parts = [_line([(name, (index + 0.5) / len(names)) for index, name in enumerate(names)], width)]
    for row, caption in zip(rows, captions or [""] * len(rows), strict=True):
        parts += [_line([(caption, 0.5)], width)] if caption else []
        parts.append(np.concatenate([tile(picture, side) for picture in row], axis=1))
    image = np.concatenate(parts)
    write_image(path, image, {"Software": "mfim-bench", "Description": "Synthetic: face swaps."})
    return path


def source_paths(pair: Mapping[str, Any]) -> dict[str, str | None]:
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
