"""Entries of the weights catalogue for the open judges; light, so that listing them imports no torch."""

from __future__ import annotations

from mfim_bench.weights import WeightsSpec

WEIGHTS: tuple[WeightsSpec, ...] = (
    WeightsSpec(
        name="face3d",
        sha256="9a7c4a92708d3dc032399135a91ee9b53966710a8302394b7c6e8b63c3071567",
        package="mfim_bench:networks/weights/face3d.safetensors",
        licence="Apache-2.0",
        summary="open 3DMM judge: dense landmarks and head model, trained on virtual faces",
    ),
    WeightsSpec(
        name="hopenet",
        sha256="483292d1d0f4862b3b9f94a6594c15006eaf50bc6d4ea852b3c7dfa03781ad13",
        package="mfim_bench:networks/weights/hopenet.safetensors",
        licence="Apache-2.0",
        summary="open HopeNet: head pose in degrees, trained on virtual faces",
    ),
)
"""``sha256`` is set when a file is shipped; `mfim_bench.weights.path` checks it."""
