"""The measures that come with the benchmark. What each one measures exactly: docs/measures.md.

This module is a plugin and stays light: listing measures imports no network.
"""

from __future__ import annotations

from mfim_bench.audited import audited
from mfim_bench.hookspecs import hookimpl
from mfim_bench.measure import JudgeSpec, MeasureSpec
from mfim_bench.measures import published_geometry, published_identity, published_images
from mfim_bench.networks.catalogue import WEIGHTS as OPEN_JUDGES
from mfim_bench.networks.catalogue import published
from mfim_bench.weights import WeightsSpec

DLIB = JudgeSpec(
    name="dlib",
    factory="mfim_bench.networks.dlib_recogniser:judge",
    version="1+mtcnn-5",
    lineage=("real photographs (VGG, FaceScrub and others, by dlib's author)",),
    weights=("dlib-face-recognition",),
    card="docs/measures.md#identitydlib-l2",
)
FACE3D = JudgeSpec(
    name="face3d",
    factory="mfim_bench.networks.face3d:judge",
    version="4+mtcnn-5",
    lineage=("virtual-faces",),
    weights=("face3d",),
    card="docs/judges.md",
)
HOPENET = JudgeSpec(
    name="hopenet",
    factory="mfim_bench.networks.hopenet:judge",
    version="5+mtcnn-5",
    lineage=("virtual-faces",),
    weights=("hopenet",),
    card="docs/judges.md",
)
RECOGNISER = JudgeSpec(
    name="recogniser",
    factory="mfim_bench.networks.recogniser:judge",
    version="1+mtcnn-5",
    lineage=("virtual-faces",),
    weights=("recogniser",),
    card="docs/cards/recogniser.md",
    twins=("supervisor-r",),
)

_DISTANCES = "mfim_bench.measures.distances"

MEASURES = (
    MeasureSpec(
        name="identity@dlib-l2",
        distance=f"{_DISTANCES}:embedding_l2",
        compares="source",
        unit="L2 of embeddings",
        version="1",
        judge=DLIB,
        default=True,
        summary="how far the swap's face is from the source's, to dlib's recogniser",
    ),
    MeasureSpec(
        name="identity@recogniser-l2",
        distance=f"{_DISTANCES}:embedding_l2",
        compares="source",
        unit="L2 of embeddings",
        version="1",
        judge=RECOGNISER,
        summary="how far the swap's face is from the source's, to a recogniser trained on virtual people",
    ),
    MeasureSpec(
        name="shape@vertex-mm",
        distance=f"{_DISTANCES}:shape_rms",
        compares="source",
        unit="mm",
        version="3",
        judge=FACE3D,
        default=True,
        summary="RMS over the vertices of the aligned neutral faces fitted to swap and source",
    ),
    MeasureSpec(
        name="identity@dlib-l2-local",
        distance=f"{_DISTANCES}:embedding_l2",
        compares="local",
        unit="L2 of embeddings",
        version="1",
        judge=DLIB,
        summary="as identity@dlib-l2, from the local source of a mixed identity",
    ),
    MeasureSpec(
        name="shape@vertex-mm-local",
        distance=f"{_DISTANCES}:shape_rms",
        compares="local",
        unit="mm",
        version="3",
        judge=FACE3D,
        summary="as shape@vertex-mm, from the local source of a mixed identity",
    ),
    MeasureSpec(
        name="expression@vertex-mm",
        distance=f"{_DISTANCES}:expression_rms",
        compares="target",
        unit="mm",
        version="3",
        judge=FACE3D,
        default=True,
        summary="RMS over the vertices of the expressions' displacements in swap and target",
    ),
    MeasureSpec(
        name="shape@whitened-l2",
        distance=f"{_DISTANCES}:shape_whitened",
        compares="source",
        unit="L2 of whitened coefficients",
        version="2",
        judge=FACE3D,
        summary="the 3DMM papers' form of shape distance; most of it is components that no image shows",
    ),
    MeasureSpec(
        name="expression@whitened-l2",
        distance=f"{_DISTANCES}:expression_whitened",
        compares="target",
        unit="L2 of whitened coefficients",
        version="2",
        judge=FACE3D,
        summary="the 3DMM papers' form of expression distance; most of it is components that no image shows",
    ),
    MeasureSpec(
        name="pose@3dmm-radians",
        distance=f"{_DISTANCES}:pose_radians",
        compares="target",
        unit="rad",
        version="3",
        judge=FACE3D,
        default=True,
        summary="L2 of yaw, pitch and roll of the heads fitted to swap and target",
    ),
    MeasureSpec(
        name="pose-hn@hopenet-degrees",
        distance=f"{_DISTANCES}:pose_degrees",
        compares="target",
        unit="deg",
        version="4",
        judge=HOPENET,
        default=True,
        digits=2,
        summary="L2 of yaw, pitch and roll that HopeNet reads from swap and target",
    ),
    MeasureSpec(
        name="error-inside@l1",
        distance=f"{_DISTANCES}:l1_inside",
        compares="truth",
        unit="L1",
        version="1",
        default=True,
        digits=4,
        summary="mean absolute difference from the true swap inside the face region, colours in [0, 1]",
    ),
    MeasureSpec(
        name="error-outside@l1",
        distance=f"{_DISTANCES}:l1_outside",
        compares="truth",
        unit="L1",
        version="1",
        default=True,
        digits=4,
        summary="mean absolute difference from the true swap outside the face region, colours in [0, 1]",
    ),
    MeasureSpec(
        name="error-local@l1",
        distance=f"{_DISTANCES}:l1_inside",
        compares="truth",
        unit="L1",
        version="1",
        default=True,
        digits=4,
        part="local",
        summary="as error-inside, where the local source of a mixed identity shows: brows, irises, spots of skin",
    ),
    *published_identity.retrieval("dlib", DLIB, "l2", "dlib's recogniser", default=True),
    *published_identity.MEASURES,
    *published_geometry.MEASURES,
    *published_images.MEASURES,
)

WEIGHTS = (
    WeightsSpec(
        name="dlib-face-recognition",
        sha256="55533b28a95800a551ba546ba62fe69625c7e95a7061c338adffead08719da30",
        package="face_recognition_models:models/dlib_face_recognition_resnet_model_v1.dat",
        licence="CC0-1.0",
        summary="dlib's ResNet face recogniser, version 1; judges identity",
    ),
    *OPEN_JUDGES,
    *published(),
)


@hookimpl
def mfim_bench_measures() -> tuple[MeasureSpec, ...]:
    return tuple(audited(measure) for measure in MEASURES)


@hookimpl
def mfim_bench_weights() -> tuple[WeightsSpec, ...]:
    return WEIGHTS
