"""A second plugin of the same portraits: as frames of videos, with judges and measures of every kind."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mfim_bench.errors import RowError
from mfim_bench.hookspecs import hookimpl
from mfim_bench.measure import JudgeSpec, MeasureSpec
from mfim_bench.method import MethodSpec
from mfim_bench.protocol import Frame, Pair, ProtocolSpec
from mfim_bench.weights import WeightsSpec

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray

    from mfim_bench.faces.detect import Face
    from mfim_bench.measure import Features

FRAMES = 4
"""A film."""


class Films:
    """Frame k of every film with frame k of every other; ``--data`` is the folder of films."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.names = sorted(path.stem for path in folder.glob("*.mp4"))

    def _frame(self, name: str, index: int) -> Frame:
        return Frame(f"{name}-{index}", self.folder / f"{name}.mp4", name, index)

    def pairs(self) -> Sequence[Pair]:
        couples = [(s, t, k) for k in range(FRAMES) for s in self.names for t in self.names if s != t]
        return [Pair(f"{t}_{s}-{k}", self._frame(s, k), self._frame(t, k)) for s, t, k in couples]

    def content_hash(self) -> str:
        total = hashlib.sha256()
        for name in self.names:
            total.update((self.folder / f"{name}.mp4").read_bytes())
        return total.hexdigest()

    def problems(self) -> Sequence[str]:
        return []


def protocol(data: Path | None, split: str) -> Films:
    assert data is not None
    return Films(data)


class Pixels:
    """The mean colour of a 4 x 4 grid, of the frame or of the square around the face's points."""

    def __init__(self, around: bool) -> None:
        self.around = around

    def features(self, images: Sequence[NDArray[np.uint8]], faces: Sequence[Face]) -> Features:
        import cv2
        import numpy as np

        rows = []
        for image, face in zip(images, faces, strict=True):
            if self.around:
                (x0, y0), (x1, y1) = np.rint(face.points.min(0)).astype(int), np.rint(face.points.max(0)).astype(int)
                image = image[max(y0, 0) : y1 + 1, max(x0, 0) : x1 + 1]
            rows.append(cv2.resize(image, (4, 4), interpolation=cv2.INTER_AREA).astype(np.float32).ravel() / 255)
        return {"grid": np.stack(rows)}


def around(device: torch.device) -> Pixels:
    return Pixels(True)


def whole(device: torch.device) -> Pixels:
    return Pixels(False)


def distance(swap: Features, other: Features) -> NDArray[np.float64]:
    import numpy as np

    return np.asarray(np.linalg.norm((swap["grid"] - other["grid"]).astype(np.float64), axis=1))


def nearest(
    swaps: Features, gallery: Features, identities: Sequence[str], wanted: Sequence[str]
) -> NDArray[np.float64]:
    import numpy as np

    gaps = np.linalg.norm(swaps["grid"][:, None].astype(np.float64) - gallery["grid"][None], axis=2)
    hits = [identities[k] == who for k, who in zip(gaps.argmin(1), wanted, strict=True)]
    return np.asarray(hits, np.float64)


def means_apart(swaps: Features, others: Features) -> float:
    import numpy as np

    return float(np.linalg.norm(swaps["grid"].astype(np.float64).mean(0) - others["grid"].astype(np.float64).mean(0)))


OWN = JudgeSpec("own", "tiny_films:around", "1")
TARGETS = JudgeSpec("targets", "tiny_films:around", "1", aligned_by="target")
WHOLE = JudgeSpec("whole", "tiny_films:whole", "1", needs_face=False)
ABSENT = JudgeSpec("absent", "tiny_films:whole", "1", weights=("nobody-has-it",))


class Remade:
    """Results that are frames of videos: the films of another folder, under the target's name."""

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)

    def result(self, pair: Pair) -> Frame:
        path = self.folder / pair.target.path.name
        if not path.is_file():
            raise RowError(f"no result: {path.name}")
        return Frame(f"remade-{pair.id}", path, "", pair.target.index)


def remade(device: torch.device, argument: str) -> Remade:
    return Remade(argument)


def remade_spec(argument: str) -> MethodSpec:
    name = f"remade-{Path(argument).name}"
    return MethodSpec(name, "tiny_films:remade", "1", size=0, template="none", argument=argument)


@hookimpl
def mfim_bench_protocols() -> Sequence[ProtocolSpec]:
    return [
        ProtocolSpec(
            "films", "tiny_films:protocol", "1", measures=("film-own",), references=("target-copy", "source-copy")
        )
    ]


@hookimpl
def mfim_bench_measures() -> Sequence[MeasureSpec]:
    def spec(name: str, judge: JudgeSpec, **more: object) -> MeasureSpec:
        given: dict[str, object] = {
            "distance": "tiny_films:distance",
            "compares": "target",
            "unit": "1",
            "version": "1",
        }
        return MeasureSpec(name, judge=judge, default=True, **(given | more))  # type: ignore[arg-type]

    return [
        spec("film-own@grid", OWN),
        spec("film-targets@grid", TARGETS),
        spec("film-whole@grid", WHOLE),
        spec("film-absent@grid", ABSENT),
        spec(
            "film-found@top1", WHOLE, distance="tiny_films:nearest", compares="source", over="gallery", unit="share",
            lower_is_better=False,
        ),
        spec(
            "film-found-targets@top1", TARGETS, distance="tiny_films:nearest", compares="source", over="gallery",
            unit="share", lower_is_better=False,
        ),
        spec("film-apart@means", WHOLE, distance="tiny_films:means_apart", over="set"),
    ]  # fmt: skip


@hookimpl
def mfim_bench_weights() -> Sequence[WeightsSpec]:
    return [WeightsSpec("nobody-has-it", url="https://example.org/its-owner")]


@hookimpl
def mfim_bench_methods() -> Sequence[MethodSpec]:
    return [
        MethodSpec("remade", "tiny_films:remade", "1", size=0, template="none", with_argument="tiny_films:remade_spec")
    ]
