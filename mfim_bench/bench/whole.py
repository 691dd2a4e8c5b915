"""Measures that need every swap of a run: identity retrieval among a gallery, and distances between sets of images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np

from mfim_bench.bench.eyes import Eyes, one_core
from mfim_bench.bench.parts import Row
from mfim_bench.bench.scoring import partner
from mfim_bench.errors import RowError, UsageError
from mfim_bench.measure import GalleryDistance, MeasureSpec, SetDistance
from mfim_bench.plugins import one_line, resolve
from mfim_bench.protocol import Frame, Pair

if TYPE_CHECKING:
    from mfim_bench.measure import Features

Gallery = Literal["sources", "targets", "both"]


@dataclass(frozen=True, slots=True)
class Described:
    """Images of one role by one judge: those that could be described, and why others could not."""

    keys: list[str]
    features: Features
    reasons: list[str]


def gallery_frames(pairs: Sequence[Pair], gallery: Gallery) -> list[Frame]:
    """The frames of a gallery, each once, in the pairs' order."""
    roles = {"sources": ("source",), "targets": ("target",), "both": ("source", "target")}[gallery]
    return list({frame.id: frame for pair in pairs for role in roles for frame in (getattr(pair, role),)}.values())


class Whole:
    """Values of the measures that are over a gallery or a set.

    Args:
        measures: of the run; those over pairs are passed over.
        eyes: their judges.
        gallery: of the protocol.
    """

    def __init__(self, measures: Sequence[MeasureSpec], eyes: Eyes, gallery: Gallery) -> None:
        self.measures = [measure for measure in measures if measure.over != "pair"]
        self.columns = {measure.name for measure in measures if measure.over != "set"}
        self.eyes, self.gallery = eyes, gallery

    def run(self, pairs: Sequence[Pair], rows: Sequence[Row], folder: Path) -> dict[str, dict[str, Any]]:
        """Fill in the rows' values of gallery measures, and describe every measure's other side.

        Args:
            pairs: of the run; all are the gallery's, the failed ones too.
            rows: scored, changed in place. A row that a gallery measure gives no value fails; failed ones hold None.
            folder: of the run.

        Returns:
            For each measure: ``compared`` (images on the other side), ``failed`` (those without features, with their
            ``reasons``), and of a set measure its ``value``, None where there is none.

        Raises:
            UsageError: a measure raised.
        """
        by_id = {pair.id: pair for pair in pairs}
        found: dict[str, dict[str, Any]] = {measure.name: {} for measure in self.measures}  # in the run's order
        # Galleries first: a row that one of them fails is no member of a set.
        with one_core():
            for measure in sorted(self.measures, key=lambda m: m.over == "set"):
                scored = [row for row in rows if row["reason"] is None]
                found[measure.name] = self._value(measure, pairs, rows, [by_id[row["pair"]] for row in scored], folder)
        for row in rows:
            if row["reason"] is not None:
                row.update((name, None) for name in row.keys() & self.columns)
        return found

    def _value(
        self, measure: MeasureSpec, pairs: Sequence[Pair], rows: Sequence[Row], scored: Sequence[Pair], folder: Path
    ) -> dict[str, Any]:
        swaps, others = self._swaps(measure, scored, folder), self._others(measure, pairs, scored)
        entry: dict[str, Any] = {
            "compared": len(others.keys),
            "failed": len(others.reasons),
            "reasons": sorted(set(others.reasons)),
        }
        try:
            if measure.over == "gallery":
                wanted = [pair.source.identity for pair in scored]
                distance = cast("GalleryDistance", resolve(measure.distance))
                able = bool(scored and others.keys)
                values = distance(swaps, others.features, others.keys, wanted) if able else np.full(len(scored), np.nan)
                if np.shape(values) != (len(scored),):
                    raise ValueError(f"gave {np.shape(values)} values for {len(scored)} swaps")
                by_pair = {pair.id: float(value) for pair, value in zip(scored, values, strict=True)}
                _fill(measure.name, rows, by_pair, set(others.keys))
                return entry
            enough = len(scored) > 1 and len(others.keys) > 1
            value = cast("SetDistance", resolve(measure.distance))(swaps, others.features) if enough else np.nan
            return entry | {"value": float(value) if np.isfinite(value) else None, "swaps": len(scored)}
        except UsageError:
            raise
        except Exception as error:
            raise UsageError(f"{measure.name} raised {one_line(error)}") from error

    def _swaps(self, measure: MeasureSpec, pairs: Sequence[Pair], folder: Path) -> Features:
        """Of the scored rows, which have features already."""
        name = _judge(measure)

        def look(pair: Pair) -> Features:
            image = folder / "images" / f"{pair.id}.png"
            return self.eyes.features(image, [name], "swap", self.eyes.file(pair.target))[name]

        return _stack(list(self.eyes.map(look, pairs)))

    def _others(self, measure: MeasureSpec, pairs: Sequence[Pair], scored: Sequence[Pair]) -> Described:
        name = _judge(measure)
        images: dict[Path, str] = {}
        reasons = []
        frames: Sequence[Frame | Path | None]
        if measure.over == "gallery":
            frames = gallery_frames(pairs, self.gallery)
        else:
            frames = [partner(pair, measure.compares) for pair in scored]
        for frame in frames:
            try:
                if frame is not None:
                    images[self.eyes.file(frame)] = frame.identity if isinstance(frame, Frame) else ""
            except RowError as error:
                reasons.append(str(error))

        def look(path: Path) -> Features | RowError:
            try:
                return self.eyes.features(path, [name], path.name)[name]
            except RowError as error:
                return error

        keys, features = [], []
        for (_, identity), seen in zip(images.items(), self.eyes.map(look, images), strict=True):
            if isinstance(seen, RowError):
                reasons.append(str(seen))
            else:
                keys.append(identity)
                features.append(seen)
        return Described(keys, _stack(features), reasons)


def _judge(measure: MeasureSpec) -> str:
    if measure.judge is None:
        raise UsageError(f"measure {measure.name} is over a {measure.over} and needs a judge")
    return measure.judge.name


def _stack(features: Sequence[Features]) -> Features:
    return {key: np.concatenate([one[key] for one in features]) for key in features[0]} if features else {}


def _fill(name: str, rows: Sequence[Row], values: Mapping[str, float], gallery: set[str]) -> None:
    """Write the values of pairs into their rows; a scored row without one fails."""
    for row in rows:
        value = values.get(row["pair"], np.nan)
        row[name] = value if np.isfinite(value) else None
        if row["reason"] is None and row[name] is None:
            who = row["source_identity"]
            why = "" if who in gallery else f": no frame of {who} in the gallery could be described"
            row["reason"] = f"{name} gave {value}{why}"
