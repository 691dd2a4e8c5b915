"""The swap phase: frames → crops → method → frames, in batches that a resumed run cuts the same way."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar, cast

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from mfim_bench.bench.eyes import Eyes, Image, one_core
from mfim_bench.bench.parts import SWAP_SCHEMA, Row, read_part, read_parts, write_part
from mfim_bench.errors import RowError, UsageError
from mfim_bench.faces.templates import crop, crop_matrix, oval_matrix, paste
from mfim_bench.media.images import read_image, write_image
from mfim_bench.method import (
    AnyMethod,
    FrameMethod,
    FrameMixingMethod,
    Method,
    MethodSpec,
    MixingMethod,
    ResultsMethod,
)
from mfim_bench.plugins import one_line
from mfim_bench.protocol import Frame, Pair

if TYPE_CHECKING:
    from mfim_bench.faces.detect import Face

T = TypeVar("T")
RANGE = (-0.5, 1.5)
"""A network may overshoot [0, 1] a little and is clipped; beyond this its range is another, [-1, 1] or [0, 255]."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """One pair as the method will see it.

    Attributes:
        sources: part of the identity → crop, uint8 RGB (S, S, 3), or whole frame for a method that takes them. One
            source that gives all has the name ``""``.
        target: the same.
        frame: the target frame.
        matrix: frame pixels → crop pixels, (2, 3); None for whole frames.
        note: what a reader should know, or None.
        oval: frame pixels → the face's oval, (2, 3), where only that is pasted; else None.
    """

    sources: Mapping[str, Image]
    target: Image
    frame: Image
    matrix: NDArray[np.float64] | None
    note: str | None
    oval: NDArray[np.float64] | None = None


class Swapper:
    """Makes the swapped frame of each pair, or the reason why there is none.

    Args:
        spec, method: what swaps.
        device: where tensors are put.
        eyes: finds faces.
        batch_size: pairs a call.
        seed: set before every batch.
        oval: paste the face only, with a soft edge. Else the whole crop, which is what protocols measure.
        level: of compression of the images written (see `write_image`).
    """

    def __init__(
        self,
        spec: MethodSpec,
        method: AnyMethod,
        device: torch.device,
        eyes: Eyes,
        batch_size: int,
        seed: int,
        oval: bool = False,
        level: int = 6,
    ) -> None:
        self.spec, self.method, self.device, self.eyes = spec, method, device, eyes
        self.batch_size, self.seed, self.oval, self.level = batch_size, seed, oval, level

    def run(self, pairs: Sequence[Pair], folder: Path, advance: Callable[[int], None]) -> dict[str, Row]:
        """Swap what is not swapped yet; pair id → row. Part k always holds the k-th batch of ``pairs``."""
        parts, images = folder / "parts", folder / "images"
        for start in range(0, len(pairs), self.batch_size):
            batch = pairs[start : start + self.batch_size]
            part = parts / f"swap-{start:06d}.parquet"
            if not self._done(part, batch, images):
                write_part(part, self._batch(batch, start, images), SWAP_SCHEMA)
            advance(len(batch))
        return {row["pair"]: row for row in read_parts(parts, "swap")}

    def _done(self, part: Path, batch: Sequence[Pair], images: Path) -> bool:
        rows = read_part(part)
        made = all(row["reason"] is not None or (images / f"{row['pair']}.png").exists() for row in rows)
        return made and [row["pair"] for row in rows] == [pair.id for pair in batch]

    def _batch(self, pairs: Sequence[Pair], start: int, images: Path) -> list[Row]:
        rows: list[Row] = [{"pair": pair.id, "reason": None, "note": None} for pair in pairs]
        with one_core():
            prepared = list(self.eyes.map(self._prepare, pairs))
        for row, ready in zip(rows, prepared, strict=True):
            if isinstance(ready, RowError):
                row["reason"] = str(ready)
            else:
                row["note"] = ready.note
        todo = [index for index, ready in enumerate(prepared) if isinstance(ready, Prepared)]
        self._set_seed(start)
        results = self._swap([pairs[i] for i in todo], [cast(Prepared, prepared[i]) for i in todo], start)
        for index, result in zip(todo, results, strict=True):
            if isinstance(result, RowError):
                rows[index]["reason"] = str(result)
                continue
            pair = pairs[index]
            write_image(
                images / f"{pair.id}.png",
                result,
                {
                    "Software": "mfim-bench",
                    "Description": "Synthetic: a face swap made by a machine, not a photograph.",
                    "Method": f"{self.spec.name} {self.spec.version}",
                    "Source": named_sources(sources_of(pair, self.spec)),
                    "Target": pair.target.id,
                },
                level=self.level,
            )
        return rows

    def _set_seed(self, start: int) -> None:
        seed = (self.seed * 1_000_003 + start) % 2**32
        random.seed(seed)
        np.random.seed(seed)  # noqa: NPY002 - for methods that use the old global generator
        torch.manual_seed(seed)

    def _prepare(self, pair: Pair) -> Prepared | RowError:
        try:
            if isinstance(self.method, ResultsMethod) and self.spec.template == "none":
                empty = np.zeros((0, 0, 3), np.uint8)
                return Prepared({"": empty}, empty, empty, None, None)
            target = self._read(pair.target, "target")
            if self.spec.oracle:
                if pair.truth is None:
                    return RowError("the protocol knows no truth of this pair")
                sources = {"": _labelled("truth", lambda: read_image(cast(Path, pair.truth)))}
            else:
                frames = sources_of(pair, self.spec)
                sources = {part: self._read(frame, role_of(part)) for part, frame in frames.items()}
            if self.spec.template == "none":
                return self._whole(sources, target)
            target_face, target_note = self._face(pair.target, "target")
            matrix = self._matrix(target_face, target)
            if self.spec.oracle:
                # The truth is registered to the target frame: cut where the target is cut.
                truth = {part: self._cut(image, matrix) for part, image in sources.items()}
                return Prepared(truth, self._cut(target, matrix), target, matrix, target_note)
            cuts, notes = {}, []
            for part, image in sources.items():
                face, note = self._face(frames[part], role_of(part))
                cuts[part] = self._cut(image, self._matrix(face, image))
                notes.append(note)
            noted = "; ".join(text for text in (*notes, target_note) if text) or None
            oval = oval_matrix(target_face.points) if self.oval else None
            return Prepared(cuts, self._cut(target, matrix), target, matrix, noted, oval)
        except RowError as error:
            return error

    def _whole(self, sources: Mapping[str, Image], target: Image) -> Prepared:
        if self.spec.size:
            side = (self.spec.size, self.spec.size)
            small = {part: resize(image, side) for part, image in sources.items()}
            return Prepared(small, resize(target, side), target, None, None)
        return Prepared(sources, target, target, None, None)

    def _read(self, frame: Frame, role: str) -> Image:
        return _labelled(role, lambda: read_image(self.eyes.file(frame)))

    def _face(self, frame: Frame, role: str) -> tuple[Face, str | None]:
        face = _labelled(role, lambda: self.eyes.look(self.eyes.file(frame))).face
        if face is None:
            raise RowError(f"{role}: no face found")
        return face, f"{role}: {face.others + 1} faces, largest taken" if face.others else None

    def _matrix(self, face: Face, frame: Image) -> NDArray[np.float64]:
        height, width = frame.shape[:2]
        return crop_matrix(face.points, self.spec.template, self.spec.size, image_size=(width, height))

    def _cut(self, frame: Image, matrix: NDArray[np.float64]) -> Image:
        return crop(frame, matrix, self.spec.size)

    def _swap(self, pairs: Sequence[Pair], ready: Sequence[Prepared], start: int) -> list[Image | RowError]:
        method = self.method
        if self.spec.template == "none" and isinstance(method, ResultsMethod):
            return [_guarded(lambda p=pair: read_image(self.eyes.file(method.result(p)))) for pair in pairs]  # type: ignore[misc]
        if self.spec.oracle:
            crops: list[Image | RowError] = [one.sources[""] for one in ready]
        elif (
            self.spec.template == "none" and not self.spec.size and isinstance(method, FrameMethod | FrameMixingMethod)
        ):
            return [_guarded(lambda o=one: _frame_swap(method, o)) for one in ready]  # type: ignore[misc]
        else:
            crops = self._crops(cast(Method, method), ready, start)
        return [one if isinstance(one, RowError) else self._back(one, p) for one, p in zip(crops, ready, strict=True)]

    def _back(self, swapped: Image, ready: Prepared) -> Image | RowError:
        if ready.matrix is not None:
            matrix = ready.matrix
            return _guarded(lambda: paste(ready.frame, swapped, matrix, oval=ready.oval))
        height, width = ready.frame.shape[:2]
        return resize(swapped, (width, height))

    def _crops(self, method: Method, ready: Sequence[Prepared], start: int) -> list[Image | RowError]:
        """Swap as one batch; should that fail, one by one, so that a bad row costs no other."""
        shapes = {(*((part, i.shape) for part, i in one.sources.items()), one.target.shape) for one in ready}
        if len(ready) > 1 and len(shapes) == 1:
            try:
                return self._call(method, ready)
            except UsageError:
                raise
            except Exception:
                self._set_seed(start)
        results: list[Image | RowError] = []
        for one in ready:
            result = _guarded(lambda o=one: self._call(method, [o])[0])  # type: ignore[misc]
            results.append(result)
        return results

    def _call(self, method: Method, ready: Sequence[Prepared]) -> list[Image | RowError]:
        sources = {part: self._tensor([one.sources[part] for one in ready]) for part in ready[0].sources}
        target = self._tensor([one.target for one in ready])
        shape = tuple(target.shape)
        with torch.inference_mode():
            if "" in sources:
                swapped = method.swap(sources[""], target)
            else:
                swapped = cast(MixingMethod, method).mix(sources, target)
        if not isinstance(swapped, torch.Tensor):
            raise RowError(f"method returned {type(swapped).__name__}, not a tensor")
        if tuple(swapped.shape) != shape:
            raise RowError(f"method returned shape {tuple(swapped.shape)}, wanted {shape}")
        return [_to_image(row) for row in swapped.detach().float().cpu().numpy()]

    def _tensor(self, images: Sequence[Image]) -> torch.Tensor:
        stack = np.stack(images).transpose(0, 3, 1, 2).astype(np.float32) / 255
        return torch.from_numpy(np.ascontiguousarray(stack)).to(self.device)


def sources_of(pair: Pair, spec: MethodSpec) -> dict[str, Frame]:
    """Part of the identity → the source that a method is given for it; one that gives all has the name ``""``."""
    if spec.only:
        part = pair.part(spec.only)
        if part is None:
            raise UsageError(f"{spec.name} needs pairs with a part {spec.only!r}; pair {pair.id} has none")
        return {"": part.frame}
    return {part.name: part.frame for part in pair.parts} or {"": pair.source}


def named_sources(sources: Mapping[str, Frame]) -> str:
    """All sources in one line: ``a.jpg``, or ``global=a.jpg, local=b.jpg``."""
    return ", ".join(f"{part}={frame.id}" if part else frame.id for part, frame in sources.items())


def role_of(part: str) -> str:
    """How a source is called in a reason or a note: ``source``, or ``source local``."""
    return f"source {part}".strip()


def check_mixing(spec: MethodSpec, method: AnyMethod) -> None:
    """Raise `UsageError` when a method cannot mix sources: it has no ``mix`` (``mix_frame`` for whole frames)."""
    wanted = FrameMixingMethod if spec.template == "none" and not spec.size else MixingMethod
    if not (spec.only or spec.oracle or isinstance(method, ResultsMethod | wanted)):
        verb = "mix_frame" if wanted is FrameMixingMethod else "mix"
        raise UsageError(
            f"{spec.name} cannot mix several sources: it has no {verb}(sources, target), see docs/plugins.md; "
            "a protocol that mixes runs it on one source with @global or @local behind its name"
        )


def _labelled(role: str, read: Callable[[], T]) -> T:
    try:
        return read()
    except RowError as error:
        raise RowError(f"{role}: {error}") from error


def _guarded(make: Callable[[], Image | RowError]) -> Image | RowError:
    try:
        return make()
    except RowError as error:
        return error
    except UsageError:
        raise
    except Exception as error:
        return RowError(f"method raised {one_line(error)}")


def _frame_swap(method: AnyMethod, ready: Prepared) -> Image | RowError:
    given = {part: image.copy() for part, image in ready.sources.items()}
    if "" in given:
        result = cast(FrameMethod, method).swap_frame(given[""], ready.target.copy())
    else:
        result = cast(FrameMixingMethod, method).mix_frame(given, ready.target.copy())
    if not isinstance(result, np.ndarray) or result.dtype != np.uint8 or result.ndim != 3 or result.shape[2] != 3:
        kind = f"{result.dtype} {result.shape}" if isinstance(result, np.ndarray) else type(result).__name__
        return RowError(f"method returned {kind}, wanted uint8 {ready.target.shape}")
    # The whole source frame may stand as the swap (the reference source-copy does); nothing else may change the shape.
    if result.shape != ready.target.shape and not any(
        np.array_equal(result, image) for image in ready.sources.values()
    ):
        return RowError(f"method returned shape {result.shape}, wanted {ready.target.shape}")
    return result


def _to_image(row: NDArray[np.float32]) -> Image | RowError:
    if not np.isfinite(row).all():
        return RowError("method returned values that are not finite")
    low, high = float(row.min()), float(row.max())
    if low < RANGE[0] or high > RANGE[1]:
        return RowError(f"method returned values from {low:.2f} to {high:.2f}, wanted [0, 1]")
    return np.rint(np.clip(row, 0, 1).transpose(1, 2, 0) * 255).astype(np.uint8)


def resize(image: Image, size: tuple[int, int]) -> Image:
    """Resize to (width, height): area average where it shrinks, bicubic where it grows."""
    height, width = image.shape[:2]
    if (width, height) == size:
        return image
    shrinks = size[0] * size[1] < width * height
    return cast(Image, cv2.resize(image, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC))
