"""A plugin of real data, as a stranger would write it: one public-domain portrait and copies of it as a protocol.

The copies (mirrored, stretched, turned, recoloured …) stand for the identities. The judge that it brings is the
geometry of the detector's five points.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mfim_bench.hookspecs import hookimpl
from mfim_bench.measure import JudgeSpec, MeasureSpec
from mfim_bench.method import MethodSpec
from mfim_bench.protocol import Frame, Pair, Part, ProtocolSpec

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray

    from mfim_bench.faces.detect import Face
    from mfim_bench.measure import Features

IMAGES = Path(__file__).parent / "tiny_images"
NAMES = ("plain", "mirror", "wide", "tall", "turned", "warm", "dark", "near")


class Tiny:
    """Every ordered couple of copies, in a fixed shuffled order; ``test`` the first half of it."""

    def __init__(self, split: str) -> None:
        self.split = split

    def pairs(self) -> Sequence[Pair]:
        frames = [Frame(name, IMAGES / f"{name}.png", f"person-{name}") for name in NAMES]
        if (IMAGES / "noise.png").exists():
            frames.append(Frame("noise", IMAGES / "noise.png", "person-noise"))
        couples = [(s, t) for s in frames for t in frames if s is not t]
        couples = [couples[(i * 11 + 3) % len(couples)] for i in range(len(couples))]
        half = len(couples) // 2
        chosen = couples[:half] if self.split == "test" else couples[half:]
        return [
            Pair(f"{s.id}-{t.id}", s, t, truth=IMAGES / f"truth-{t.id}.png", region=IMAGES / "region.png")
            for s, t in chosen
        ]

    def content_hash(self) -> str:
        import hashlib

        total = hashlib.sha256()
        for path in sorted(IMAGES.glob("*.png")):
            total.update(path.name.encode() + hashlib.sha256(path.read_bytes()).digest())
        return total.hexdigest()

    def problems(self) -> Sequence[str]:
        return [] if IMAGES.is_dir() else [f"{IMAGES} is missing"]


class TinyMixed(Tiny):
    """A third copy joins each couple as the local source."""

    def pairs(self) -> Sequence[Pair]:
        frames = {name: Frame(name, IMAGES / f"{name}.png", f"person-{name}") for name in NAMES}
        mixed = []
        for number, pair in enumerate(super().pairs()):
            free = [name for name in frames if name not in (pair.source.id, pair.target.id)]
            local = frames[free[number % len(free)]]
            parts = (Part("global", pair.source), Part("local", local, IMAGES / "region.png"))
            name = f"{pair.source.id}-{local.id}-{pair.target.id}"
            mixed.append(Pair(name, pair.source, pair.target, pair.truth, pair.region, parts))
        return mixed


def protocol(data: Path | None, split: str) -> Tiny:
    return Tiny(split)


def mixed_protocol(data: Path | None, split: str) -> TinyMixed:
    return TinyMixed(split)


class PointsJudge:
    """The five points, less their centre, over their spread."""

    def features(self, images: Sequence[NDArray[np.uint8]], faces: Sequence[Face]) -> Features:
        import numpy as np

        points = np.stack([face.points for face in faces]).astype(np.float32)
        points -= points.mean(1, keepdims=True)
        points /= np.linalg.norm(points, axis=(1, 2), keepdims=True)
        return {"points": points.reshape(len(points), 10)}


def judge(device: torch.device) -> PointsJudge:
    return PointsJudge()


def distance(swap: Features, other: Features) -> NDArray[np.float64]:
    import numpy as np

    return np.asarray(np.linalg.norm((swap["points"] - other["points"]).astype(np.float64), axis=1))


def pixels(swap: NDArray[np.uint8], other: NDArray[np.uint8], region: NDArray[np.uint8]) -> float:
    import numpy as np

    return float(np.abs(swap.astype(np.float64) - other)[region > 127].mean())


class Blend:
    """Half source, half target; for one target it fails in the way its name says."""

    def __init__(self, trouble: str) -> None:
        self.trouble = trouble

    def swap(self, source: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        import torch

        # A dark target is the bad row; the others must come out as if it were not there.
        dark = target.mean((1, 2, 3)) < 0.2
        result = (source + target) / 2
        if self.trouble == "nan":
            result[dark] = torch.nan
        if self.trouble == "range":
            result[dark] = result[dark] * 255
        if self.trouble == "shape" and dark.any():
            return result[..., :-1]
        if self.trouble == "raise" and dark.any():
            raise ValueError("too dark for me\nand a second line")
        return result


class MixedBlend(Blend):
    """The mean of all sources and the target; in an unequal share when told to mix."""

    def mix(self, sources: Mapping[str, torch.Tensor], target: torch.Tensor) -> torch.Tensor:
        from mfim_bench.errors import UsageError

        if set(sources) != {"global", "local"}:
            raise UsageError(f"blend-mix mixes global and local, not {', '.join(sources)}")
        return 0.5 * target + 0.3 * sources["global"] + 0.2 * sources["local"]


def blend(device: torch.device, argument: str = "") -> Blend:
    return MixedBlend("") if argument == "mix" else Blend(argument)


JUDGE = JudgeSpec("tiny-points", "tiny_faces:judge", "1", lineage=("tiny",))


@hookimpl
def mfim_bench_protocols() -> Sequence[ProtocolSpec]:
    return [
        ProtocolSpec(
            "tiny",
            "tiny_faces:protocol",
            "1",
            measures=("tiny-source", "tiny-target", "tiny-error"),
            references=("target-copy", "source-copy", "truth"),
            domain="tiny",
            splits=("validation", "test"),
            data_required=False,
        ),
        ProtocolSpec(
            "tiny-mixed",
            "tiny_faces:mixed_protocol",
            "1",
            measures=("tiny-source", "tiny-local", "tiny-target", "tiny-error@l1-local"),
            references=("target-copy", "source-copy@global", "source-copy@local", "truth"),
            parts=("global", "local"),
            domain="tiny",
            splits=("validation", "test"),
            data_required=False,
        ),
    ]


@hookimpl
def mfim_bench_measures() -> Sequence[MeasureSpec]:
    return [
        MeasureSpec("tiny-source@points", "tiny_faces:distance", "source", "1", "1", JUDGE, default=True),
        MeasureSpec("tiny-local@points", "tiny_faces:distance", "local", "1", "1", JUDGE),
        MeasureSpec("tiny-error@l1-local", "tiny_faces:pixels", "truth", "level", "1", digits=1, part="local"),
        MeasureSpec("tiny-target@points", "tiny_faces:distance", "target", "1", "1", JUDGE, default=True),
        MeasureSpec("tiny-error@l1", "tiny_faces:pixels", "truth", "level", "1", default=True, digits=1),
    ]


@hookimpl
def mfim_bench_methods() -> Sequence[MethodSpec]:
    def spec(trouble: str, **more: object) -> MethodSpec:
        name = f"blend-{trouble}" if trouble else "blend"
        return MethodSpec(name, "tiny_faces:blend", "1", size=64, argument=trouble, **more)  # type: ignore[arg-type]

    return [
        spec(""),
        *(spec(t) for t in ("nan", "range", "shape", "raise")),
        spec("self", trained_with=("tiny-points",)),
        spec("mix"),
    ]
