"""Measures of images as images, whose networks others publish: LPIPS, FID, KID. Light: listing imports no network.

What each judge does to the pixel: `mfim_bench.networks.published.lpips` and `.inception`; in words:
docs/published-judges.md.
"""

from __future__ import annotations

from mfim_bench.measure import JudgeSpec, MeasureSpec

_NETWORKS = "mfim_bench.networks.published"
_CARD = "docs/published-judges.md"
_IMAGENET = "real photographs (ImageNet)"


def _judge(name: str, factory: str, weights: str, lineage: str = _IMAGENET, cached: bool = True) -> JudgeSpec:
    return JudgeSpec(
        name=name,
        factory=f"{_NETWORKS}.{factory}",
        version="1",
        lineage=(lineage,),
        weights=(weights,),
        card=_CARD,
        needs_face=False,
        cached=cached,
    )


LPIPS_ALEX = _judge("lpips-alex", "lpips:alex", "lpips-alexnet", cached=False)
LPIPS_VGG = _judge("lpips-vgg", "lpips:vgg", "lpips-vgg16", cached=False)
INCEPTION = _judge("inception", "inception:inception_tensorflow", "inception-fid")
INCEPTION_PYTORCH_FID = _judge("inception-pytorch-fid", "inception:inception_pytorch_fid", "inception-fid")
INCEPTION_CASIA = _judge("inception-casia", "inception:inception_casia", "inception-fid")
CLIP = _judge("clip-vit-b32", "inception:clip_reface", "clip-vit-b32", "real photographs (OpenAI's, from the web)")


def _lpips(net: str, judge: JudgeSpec, trunk: str) -> MeasureSpec:
    return MeasureSpec(
        name=f"lpips@{net}",
        distance="mfim_bench.measures.distances:lpips",
        compares="target",
        unit="LPIPS",
        version="1",
        judge=judge,
        summary=f"LPIPS v0.1 with {trunk}, of the whole frames of swap and target at 256 px",
    )


def _set(name: str, judge: JudgeSpec, distance: str, unit: str, summary: str, digits: int = 2) -> MeasureSpec:
    return MeasureSpec(
        name=name,
        distance=f"mfim_bench.measures.sets:{distance}",
        compares="target",
        unit=unit,
        version="1",
        judge=judge,
        digits=digits,
        over="set",
        summary=summary,
    )


MEASURES = (
    _lpips("alex", LPIPS_ALEX, "AlexNet"),
    _lpips("vgg", LPIPS_VGG, "VGG-16"),
    _set(
        "fid@inception",
        INCEPTION,
        "fid",
        "FID",
        "FID of the swaps and their target frames, resized as TensorFlow did: torch-fidelity's",
    ),
    _set(
        "kid@inception",
        INCEPTION,
        "kid",
        "KID",
        "KID of the swaps and their target frames: torch-fidelity's, mean of 100 subsets of 1000",
        digits=5,
    ),
    _set(
        "fid@inception-pytorch-fid",
        INCEPTION_PYTORCH_FID,
        "fid",
        "FID",
        "as fid@inception, resized as pytorch-fid does, which ReliableSwap's and most papers' scripts use",
    ),
    _set(
        "fid@inception-casia",
        INCEPTION_CASIA,
        "fid",
        "FID",
        "as the CASIA survey's script: frames to 256 px first, then as pytorch-fid",
    ),
    _set(
        "fid@clip-reface",
        CLIP,
        "fid",
        "Fréchet distance",
        "as REFace's script: its 'FID' is of CLIP ViT-B/32 features, not of Inception's; not comparable with any FID",
    ),
)
