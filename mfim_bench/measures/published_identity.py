"""Measures of identity whose networks others publish, and identity retrieval. Light: listing imports no network.

What each judge does to the pixel: `mfim_bench.networks.published.identity`; in words: docs/published-judges.md.
"""

from __future__ import annotations

from mfim_bench.measure import JudgeSpec, MeasureSpec

_FACTORIES = "mfim_bench.networks.published.identity"
_DISTANCES = "mfim_bench.measures.distances"
_RETRIEVAL = "mfim_bench.measures.retrieval"
_CARD = "docs/published-judges.md"
_WEB = "real photographs (MS-Celeb-1M)"

VGGFACE2 = JudgeSpec(
    name="vggface2",
    factory=f"{_FACTORIES}:vggface2",
    version="1+mtcnn-5",
    lineage=("real photographs (VGGFace2)",),
    weights=("facenet-vggface2",),
    card=_CARD,
)
ARCFACE_IRSE50 = JudgeSpec(
    name="arcface-irse50",
    factory=f"{_FACTORIES}:arcface_irse50",
    version="1+mtcnn-5",
    lineage=(_WEB,),
    weights=("arcface-irse50",),
    card=_CARD,
)
IRSE50_REFACE_CROP = JudgeSpec(
    name="irse50-reface-crop",
    factory=f"{_FACTORIES}:irse50_reface_crop",
    version="1",
    lineage=(_WEB,),
    weights=("arcface-irse50",),
    card=_CARD,
    needs_face=False,
)
IRSE50_METASWAP = JudgeSpec(
    name="irse50-metaswap",
    factory=f"{_FACTORIES}:irse50_metaswap",
    version="1",
    lineage=(_WEB,),
    weights=("arcface-irse50",),
    card=_CARD,
    needs_face=False,
)
CURRICULARFACE = JudgeSpec(
    name="curricularface",
    factory=f"{_FACTORIES}:curricularface",
    version="1+mtcnn-5",
    lineage=(_WEB,),
    weights=("curricularface-ir101",),
    card=_CARD,
)
IRESNET50 = JudgeSpec(
    name="iresnet50",
    factory=f"{_FACTORIES}:iresnet50",
    version="1+mtcnn-5",
    lineage=("real photographs (as the file added: MS1M or Glint360K)",),
    weights=("insightface-iresnet50",),
    card=_CARD,
)
IRESNET100 = JudgeSpec(
    name="iresnet100",
    factory=f"{_FACTORIES}:iresnet100",
    version="1+mtcnn-5",
    lineage=("real photographs (as the file added: MS1M or Glint360K)",),
    weights=("insightface-iresnet100",),
    card=_CARD,
)
SPHERE20_CASIA = JudgeSpec(
    name="sphere20-casia",
    factory=f"{_FACTORIES}:sphere20_casia",
    version="1+mtcnn-5",
    lineage=("real photographs (CASIA-WebFace)",),
    weights=("cosface-sphere20",),
    card=_CARD,
    aligned_by="target",
)
SPHERE20_RELIABLESWAP = JudgeSpec(
    name="sphere20-reliableswap",
    factory=f"{_FACTORIES}:sphere20_reliableswap",
    version="2+mtcnn-5",
    lineage=("real photographs (VGGFace2)",),
    weights=("cosface-sphere20-square",),
    card=_CARD,
    aligned_by="target",
)


def _cosine(variant: str, judge: JudgeSpec, summary: str) -> MeasureSpec:
    return MeasureSpec(
        name=f"identity@{variant}",
        distance=f"{_DISTANCES}:embedding_cosine",
        compares="source",
        unit="cosine similarity",
        version="1",
        judge=judge,
        lower_is_better=False,
        summary=summary,
    )


def retrieval(
    variant: str, judge: JudgeSpec, distance: str, summary: str, default: bool = False
) -> tuple[MeasureSpec, ...]:
    """Top-1 and top-5 by one judge; ``distance`` is ``l2`` or ``cosine``; ``default`` is top-1's."""
    return tuple(
        MeasureSpec(
            name=f"retrieval@{variant}-top{k}",
            distance=f"{_RETRIEVAL}:{distance}_top{k}",
            compares="source",
            unit="share",
            version="1",
            judge=judge,
            default=default and k == 1,
            lower_is_better=False,
            over="gallery",
            summary=f"swaps with a frame of the source's identity, as the protocol names it, among the {k} nearest of "
            f"the gallery, to {summary}",
        )
        for k in (1, 5)
    )


MEASURES = (
    MeasureSpec(
        name="identity@vggface2-l2",
        distance=f"{_DISTANCES}:embedding_l2",
        compares="source",
        unit="L2 of embeddings",
        version="1",
        judge=VGGFACE2,
        summary="how far the swap's face is from the source's, to VGGFace2's InceptionResnetV1; 0 to 2",
    ),
    _cosine("vggface2-cosine", VGGFACE2, "likeness of swap and source, to VGGFace2's InceptionResnetV1"),
    _cosine(
        "arcface-irse50", ARCFACE_IRSE50, "likeness of swap and source, to ArcFace IR-SE50, each aligned by itself"
    ),
    _cosine(
        "irse50-reface-crop",
        IRSE50_REFACE_CROP,
        "as REFace's script crops for IR-SE50: whole frame, no alignment; without its parsing mask, so not its table",
    ),
    MeasureSpec(
        name="identity@irse50-metaswap",
        distance=f"{_DISTANCES}:embedding_l2_squared",
        compares="source",
        unit="squared L2 of embeddings",
        version="1",
        judge=IRSE50_METASWAP,
        summary="as metaswap's script: the whole frame, no alignment, squared L2 by IR-SE50; 0 to 4",
    ),
    _cosine("curricularface", CURRICULARFACE, "likeness of swap and source, to CurricularFace, as pSp's script crops"),
    _cosine("iresnet50", IRESNET50, "likeness of swap and source, to insightface's iresnet50"),
    _cosine("iresnet100", IRESNET100, "likeness of swap and source, to insightface's iresnet100"),
    _cosine(
        "sphere20-casia",
        SPHERE20_CASIA,
        "as the CASIA survey's script: CosFace sphere20 with mirror image, the swap aligned by the target's points",
    ),
    _cosine(
        "sphere20-reliableswap",
        SPHERE20_RELIABLESWAP,
        "as ReliableSwap's script: CosFace sphere20 on its crop of 256 px, the swap cut by the target's points",
    ),
    *retrieval("vggface2", VGGFACE2, "l2", "VGGFace2's InceptionResnetV1"),
    *retrieval("arcface-irse50", ARCFACE_IRSE50, "cosine", "ArcFace IR-SE50"),
    *retrieval("sphere20-casia", SPHERE20_CASIA, "cosine", "CosFace sphere20 as the CASIA survey's script uses it"),
    *retrieval("irse50-reface-crop", IRSE50_REFACE_CROP, "cosine", "IR-SE50 as REFace's script crops, unmasked"),
    *retrieval("irse50-metaswap", IRSE50_METASWAP, "l2", "IR-SE50 on the whole frame, as metaswap's script"),
    *retrieval("sphere20-reliableswap", SPHERE20_RELIABLESWAP, "cosine", "sphere20 as ReliableSwap's script uses it"),
)
