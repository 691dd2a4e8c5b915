"""Entries of the weights catalogue for the supervisors; light. They do not ship: a command makes them again."""

from __future__ import annotations

from mfim_bench.weights import WeightsSpec

WEIGHTS: tuple[WeightsSpec, ...] = (
    WeightsSpec(
        name="supervisor-r",
        filename="supervisor-r.safetensors",
        licence="Apache-2.0",
        summary="recogniser of virtual people, for training only: mfim-bench train supervisor-r",
    ),
    WeightsSpec(
        name="supervisor-face3d",
        filename="supervisor-face3d.safetensors",
        licence="Apache-2.0",
        summary="3DMM network, for training only: mfim-bench train supervisor-face3d",
    ),
)
