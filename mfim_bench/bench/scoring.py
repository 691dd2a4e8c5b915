"""The score phase: swapped frames → features → distances, one row a pair."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from mfim_bench.bench.eyes import Eyes, one_core
from mfim_bench.bench.parts import Row, read_part, read_parts, score_schema, write_part
from mfim_bench.bench.swapping import resize
from mfim_bench.errors import RowError
from mfim_bench.measure import Distance, MeasureSpec, PixelDistance, Role
from mfim_bench.media.images import read_image, read_mask
from mfim_bench.plugins import one_line, resolve
from mfim_bench.protocol import Frame, Pair

if TYPE_CHECKING:
    from mfim_bench.measure import Features

PART = 16
"""Pairs a part; fixed, so that a resumed run cuts them the same way."""

PARTNERS: tuple[Role, ...] = ("source", "local", "target", "truth")

Seen = Mapping[str, "Features"]


def partner(pair: Pair, role: Role) -> Frame | Path | None:
    """What a swap is compared with."""
    if role == "local":
        part = pair.part("local")
        return part.frame if part else None
    return {"source": pair.source, "target": pair.target, "truth": pair.truth}[role]


def region_of(pair: Pair, measure: MeasureSpec) -> Path | None:
    """The mask of a measure without a judge: the pair's, or that of one part of its identity."""
    if not measure.part:
        return pair.region
    part = pair.part(measure.part)
    return part.region if part else None


class Scorer:
    """Distances of each swapped frame by each measure.

    Args:
        measures: what to measure; of those over a gallery or a set only the swaps' features are made.
        eyes: holds the judges of the measures.
    """

    def __init__(self, measures: Sequence[MeasureSpec], eyes: Eyes) -> None:
        self.measures, self.eyes = [m for m in measures if m.over == "pair"], eyes
        self._distances: dict[str, Any] = {m.name: resolve(m.distance) for m in self.measures}
        self.judges: dict[str, list[str]] = {}
        for role in ("swap", *PARTNERS):
            # Of measures over a gallery or a set only the swaps are looked at here; see `mfim_bench.bench.whole`.
            asked = measures if role == "swap" else self.measures
            names = [m.judge.name for m in asked if m.judge and role in ("swap", m.compares)]
            self.judges[role] = sorted(set(names))
        self._by_target = sorted({m.judge.name for m in measures if m.judge and m.judge.aligned_by == "target"})

    def run(
        self, pairs: Sequence[Pair], swaps: Mapping[str, Row], folder: Path, advance: Callable[[int], None]
    ) -> list[Row]:
        """Score what is not scored yet; all rows.

        Args:
            pairs: in the run's order.
            swaps: pair id → row of the swap phase.
            folder: of the run.
            advance: told how many pairs are done.
        """
        self.eyes.swapped({_image(folder, pair): (pair.source, *(p.frame for p in pair.parts)) for pair in pairs})
        parts = folder / "parts"
        schema = score_schema([m.name for m in self.measures])
        for start in range(0, len(pairs), PART):
            chunk = pairs[start : start + PART]
            part = parts / f"score-{start:06d}.parquet"
            if [row["pair"] for row in read_part(part)] != [pair.id for pair in chunk]:
                with one_core():
                    write_part(part, list(self.eyes.map(lambda p: self._row(p, swaps[p.id], folder), chunk)), schema)
            advance(len(chunk))
        return read_parts(parts, "score")

    def _row(self, pair: Pair, swap: Row, folder: Path) -> Row:
        row: Row = {
            "pair": pair.id,
            "source_identity": pair.source.identity,
            "target_identity": pair.target.identity,
            "other_identities": [part.frame.identity for part in pair.parts[1:]],
            "reason": swap["reason"],
            "note": swap["note"],
        }
        distances: dict[str, float | None] = dict.fromkeys((m.name for m in self.measures), None)
        if swap["reason"] is None:
            try:
                image = _image(folder, pair)
                distances.update(self._measure(pair, image))
                row["note"] = "; ".join(filter(None, (row["note"], self._alignment(pair, image)))) or None
            except RowError as error:
                row["reason"] = str(error)
        return row | distances

    def _measure(self, pair: Pair, image: Path) -> dict[str, float]:
        target = self._file(pair, "target")
        seen: dict[str, Seen] = {"swap": self.eyes.features(image, self.judges["swap"], "swap", target)}
        for role in PARTNERS:
            if names := self.judges[role]:
                seen[role] = self.eyes.features(self._file(pair, role), names, role)
        found: dict[str, float] = {}
        read, read_region = cache(read_image), cache(read_mask)  # several measures look at the same pixels
        for measure in self.measures:
            try:
                if measure.judge is None:
                    value = self._pixels(measure, pair, image, read, read_region)
                else:
                    distance = cast("Distance", self._distances[measure.name])
                    judge = measure.judge.name
                    value = float(distance(seen["swap"][judge], seen[measure.compares][judge])[0])
            except RowError:
                raise
            except Exception as error:
                raise RowError(f"{measure.name} raised {one_line(error)}") from error
            if not np.isfinite(value):
                raise RowError(f"{measure.name} gave {value}")
            found[measure.name] = value
        return found

    def _alignment(self, pair: Pair, image: Path) -> str | None:
        """How judges that are aligned by the target saw a swap that is no frame of its size."""
        if not self._by_target:
            return None
        names = ", ".join(self._by_target)
        by = self.eyes.aligned_by(image, self._file(pair, "target"))
        if by is None:
            return f"{names}: aligned by its own face, for it is the source's frame"
        size = self.eyes.look(image).size
        return None if size == by.size else f"{names}: resized from {_shape(size)} to the target's {_shape(by.size)}"

    def _file(self, pair: Pair, role: Role) -> Path:
        frame = partner(pair, role)
        if frame is None:
            raise RowError(f"the protocol knows no {role} of this pair")
        try:
            return self.eyes.file(frame)
        except RowError as error:
            raise RowError(f"{role}: {error}") from error

    def _pixels(
        self,
        measure: MeasureSpec,
        pair: Pair,
        image: Path,
        read: Callable[[Path], NDArray[np.uint8]],
        read_region: Callable[[Path], NDArray[np.uint8]],
    ) -> float:
        other = self._file(pair, measure.compares)
        mask = region_of(pair, measure)
        if mask is None:
            raise RowError("the protocol knows no region of this pair")
        reference, region = read(other), read_region(mask)
        height, width = reference.shape[:2]
        if region.shape != (height, width):
            raise RowError(f"region is {region.shape[1]}x{region.shape[0]} px, the {measure.compares} {width}x{height}")
        swapped = resize(read(image), (width, height))
        return float(cast("PixelDistance", self._distances[measure.name])(swapped, reference, region))


def _image(folder: Path, pair: Pair) -> Path:
    return folder / "images" / f"{pair.id}.png"


def _shape(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]} px"
