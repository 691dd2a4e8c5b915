"""Entries of the weights catalogue for the open judges; light, so that listing them imports no torch."""

from __future__ import annotations

from mfim_bench.weights import WeightsSpec

WEIGHTS: tuple[WeightsSpec, ...] = (
    WeightsSpec(
        name="face3d",
        sha256="876eb84f6f20e0aea6a9178c1101467213124c63aa691caa597f940aeb887bd4",
        package="mfim_bench:networks/weights/face3d.safetensors",
        licence="Apache-2.0",
        summary="open 3DMM judge: dense landmarks and head model, trained on virtual faces",
    ),
    WeightsSpec(
        name="hopenet",
        sha256="de772524897f7ce334e541f61208a7cb6d34242160f6c884a46c988516423a80",
        package="mfim_bench:networks/weights/hopenet.safetensors",
        licence="Apache-2.0",
        summary="open HopeNet: head pose in degrees, trained on virtual faces",
    ),
)
"""``sha256`` is set when a file is shipped; `mfim_bench.weights.path` checks it."""
