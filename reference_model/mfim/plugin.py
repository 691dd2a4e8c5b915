"""What the reference model brings to mfim-bench. Imports nothing heavy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from mfim.supervisors.catalogue import WEIGHTS as SUPERVISORS
from mfim_bench.hookspecs import hookimpl
from mfim_bench.method import MethodSpec
from mfim_bench.weights import WeightsSpec

if TYPE_CHECKING:
    import typer

VERSION = "0.5.0"
PAPER = (
    "Sanghyeon Na. MFIM: Megapixel Facial Identity Manipulation. ECCV 2022, pp. 143-159. "
    "doi 10.1007/978-3-031-19778-9_9. Written from the paper"
)
WEIGHTS = WeightsSpec(
    name="mfim-virtual-64",
    sha256="8286d3fb6095026399c08e377da48bda35de94ab3bcb90dacba22814b493b093",
    package="mfim:weights/mfim-virtual-64.safetensors",
    licence="Apache-2.0",
    summary="MFIM at 64 px, trained on virtual faces; card: docs/cards/mfim.md",
)
METHOD = MethodSpec(
    name="mfim",
    factory="mfim.method:load",
    version=VERSION,
    summary="MFIM (ECCV 2022) written from the paper, 64 px, trained on virtual faces and their true swaps",
    size=64,
    template="ffhq",
    licence="Apache-2.0",
    citation=f"{PAPER}; trained by mfim-bench on virtual faces.",
    weights=(WEIGHTS.name,),
    trained_with=tuple(entry.name for entry in SUPERVISORS),
    with_argument="mfim.exported:method",
)


@hookimpl
def mfim_bench_methods() -> Sequence[MethodSpec]:
    return [METHOD]


@hookimpl
def mfim_bench_weights() -> Sequence[WeightsSpec]:
    return [WEIGHTS, *SUPERVISORS]


@hookimpl
def mfim_bench_commands(app: typer.Typer) -> None:
    from mfim import commands
    from mfim.speed import commands as speed
    from mfim.supervisors import commands as supervisors

    commands.register(app)
    speed.register(app)
    supervisors.register(app)
