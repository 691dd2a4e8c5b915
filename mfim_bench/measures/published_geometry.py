"""Measures of shape, expression and pose whose networks others publish. Light: listing imports no network.

What each judge does to the pixel: `mfim_bench.networks.published.geometry`; in words: docs/published-judges.md.
"""

from __future__ import annotations

from dataclasses import replace

from mfim_bench.measure import JudgeSpec, MeasureSpec, Role

_FACTORIES = "mfim_bench.networks.published.geometry"
_DISTANCES = "mfim_bench.measures.distances"
_CARD = "docs/published-judges.md"
_PHOTOGRAPHS = "real photographs (CelebA, 300W-LP, LFW and others, by the authors)"


def _judge(name: str, weights: str, needs_face: bool, lineage: str) -> JudgeSpec:
    return JudgeSpec(
        name=name,
        factory=f"{_FACTORIES}:{name.replace('-', '_')}",
        version="1+mtcnn-5" if needs_face else "1",
        lineage=(lineage,),
        weights=(weights,),
        card=_CARD,
        needs_face=needs_face,
    )


DEEP3D = _judge("deep3d-aligned", "deep3d", True, _PHOTOGRAPHS)
DEEP3D_REFACE = _judge("deep3d-reface", "deep3d", False, _PHOTOGRAPHS)
_POSE = "real photographs (300W-LP)"
HOPENET = _judge("hopenet-authors", "hopenet-robust-alpha1", True, _POSE)
HOPENET_REFACE = _judge("hopenet-reface", "hopenet-robust-alpha1", False, _POSE)
HOPENET_CASIA = _judge("hopenet-casia", "hopenet-robust-alpha1", False, _POSE)
HOPENET_METASWAP = _judge("hopenet-metaswap", "hopenet-robust-alpha1", False, _POSE)
HOPENET_RELIABLESWAP = replace(
    _judge("hopenet-reliableswap", "hopenet-robust-alpha1", True, _POSE), version="2+mtcnn-5", aligned_by="target"
)


def _measure(
    name: str, judge: JudgeSpec, distance: str, unit: str, summary: str, compares: Role = "target", digits: int = 3
) -> MeasureSpec:
    return MeasureSpec(
        name=name,
        distance=f"{_DISTANCES}:{distance}",
        compares=compares,
        unit=unit,
        version="1",
        judge=judge,
        digits=digits,
        summary=summary,
    )


MEASURES = (
    _measure(
        "shape@deep3d",
        DEEP3D,
        "shape_coefficients",
        "L2 of coefficients",
        "L2 of the 80 shape coefficients that Deep3DFaceRecon reads from swap and source",
        "source",
    ),
    _measure(
        "expression@deep3d",
        DEEP3D,
        "expression_coefficients",
        "L2 of coefficients",
        "L2 of the 64 expression coefficients that Deep3DFaceRecon reads from swap and target; so does ReliableSwap's"
        " script, which prints the root of the rows' mean square, not their mean",
    ),
    _measure(
        "expression@deep3d-reface",
        DEEP3D_REFACE,
        "expression_coefficients",
        "L2 of coefficients",
        "as REFace's script: the whole frame at 512 px, although the network wants aligned faces of 224",
    ),
    _measure(
        "pose@deep3d-radians",
        DEEP3D,
        "angles_radians",
        "rad",
        "L2 of the three angles that Deep3DFaceRecon reads from swap and target",
    ),
    _measure(
        "pose-hn@hopenet-published-degrees",
        HOPENET,
        "pose_degrees_plain",
        "deg",
        "L2 of yaw, pitch and roll by the published HopeNet with its authors' crop",
        digits=2,
    ),
    _measure(
        "pose-hn@hopenet-degrees-reface",
        HOPENET_REFACE,
        "pose_degrees_plain",
        "deg",
        "as REFace's script: the whole frame at 224 px instead of the authors' crop",
        digits=2,
    ),
    _measure(
        "pose-hn@hopenet-degrees-casia",
        HOPENET_CASIA,
        "pose_degrees_plain",
        "deg",
        "as the CASIA survey's script: the whole frame at 224 px, blue given for red",
        digits=2,
    ),
    _measure(
        "pose-hn@hopenet-degrees-metaswap",
        HOPENET_METASWAP,
        "pose_degrees_plain",
        "deg",
        "as metaswap's script: the whole frame at 224 px, normalised by .5 instead of ImageNet's colours",
        digits=2,
    ),
    _measure(
        "pose-hn@hopenet-logits-reliableswap",
        HOPENET_RELIABLESWAP,
        "pose_logits",
        "half an L2 of logits",
        "as ReliableSwap's script: raw logits of 66 bins, half their L2, mean of the three angles, its crop in [-1, 1]"
        " normalised as if in [0, 1]; the script prints the root of the rows' mean square, this is their mean",
        digits=2,
    ),
)
