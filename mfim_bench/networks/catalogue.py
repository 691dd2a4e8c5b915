"""Entries of the weights catalogue for the open judges; light, so that listing them imports no torch."""

from __future__ import annotations

from mfim_bench.weights import WeightsSpec

WEIGHTS: tuple[WeightsSpec, ...] = (
    WeightsSpec(
        name="face3d",
        sha256="de5af11f0951f5be6a46d81ca6e5fd462dd212f7b1706d4b8d67c971694bf4af",
        package="mfim_bench:networks/weights/face3d.safetensors",
        licence="Apache-2.0",
        summary="open 3DMM judge: dense landmarks and head model, trained on virtual faces",
    ),
    WeightsSpec(
        name="hopenet",
        sha256="0a71fa7d4ef6f90ab047112970be529de57a5b8cda50183457531f9d04b30b4a",
        package="mfim_bench:networks/weights/hopenet.safetensors",
        licence="Apache-2.0",
        summary="open HopeNet: head pose in degrees, trained on virtual faces",
    ),
)
"""``sha256`` is set when a file is shipped; `mfim_bench.weights.path` checks it."""
