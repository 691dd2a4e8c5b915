"""The references every table is read against: the target itself, the source itself, and the known truth.

A method that merely returns its target wins on expression and pose; one that returns its source wins on identity and
shape. Distances mean something only beside these two.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from mfim_bench.errors import RowError
from mfim_bench.hookspecs import hookimpl
from mfim_bench.method import MethodSpec

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray


class TargetCopy:
    """Returns the target: keeps its expression and pose, changes no identity."""

    def swap(self, source: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """The target, (B, 3, S, S) in [0, 1]."""
        return target.clone()

    def swap_frame(self, source: NDArray[np.uint8], target: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The target, uint8 RGB (H, W, 3)."""
        return target.copy()

    def mix(self, sources: Mapping[str, torch.Tensor], target: torch.Tensor) -> torch.Tensor:
        """The target, (B, 3, S, S) in [0, 1]."""
        return target.clone()

    def mix_frame(self, sources: Mapping[str, NDArray[np.uint8]], target: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The target, uint8 RGB (H, W, 3)."""
        return target.copy()


class SourceCopy:
    """Returns the source: has all of its identity, and its expression and pose too.

    As a `mfim_bench.method.FrameMethod` it is the one method whose frame may differ from the target's in shape: the
    whole source frame stands as the swap.
    """

    def swap(self, source: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """The source, (B, 3, S, S) in [0, 1]."""
        return source.clone()

    def swap_frame(self, source: NDArray[np.uint8], target: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The source, uint8 RGB (H, W, 3)."""
        return source.copy()


def target_copy(device: torch.device) -> TargetCopy:
    """Factory of ``target-copy``."""
    return TargetCopy()


def source_copy(device: torch.device) -> SourceCopy:
    """Factory of ``source-copy``."""
    return SourceCopy()


class Truth:
    """Stands for the protocol's known truth. `mfim_bench.bench` reads the truth of each pair itself; asking this
    object for a swap outside a protocol is an error, never a guess."""

    def swap(self, source: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Always raises `RowError`."""
        raise RowError("the truth is known only within a protocol that knows it")

    def swap_frame(self, source: NDArray[np.uint8], target: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Always raises `RowError`."""
        raise RowError("the truth is known only within a protocol that knows it")


def truth(device: torch.device) -> Truth:
    """Factory of ``truth``."""
    return Truth()


@hookimpl
def mfim_bench_methods() -> Sequence[MethodSpec]:
    """``target-copy``, ``source-copy`` and ``truth``; each also as ``NAME@SIZE`` and ``NAME@PART``."""
    return (
        MethodSpec(
            name="target-copy",
            factory="mfim_bench.references:target_copy",
            version="1",
            summary="Reference: returns the target unchanged.",
            size=0,
            template="none",
            licence="Apache-2.0",
        ),
        MethodSpec(
            name="source-copy",
            factory="mfim_bench.references:source_copy",
            version="1",
            summary="Reference: returns the source unchanged.",
            size=0,
            template="none",
            licence="Apache-2.0",
        ),
        MethodSpec(
            name="truth",
            factory="mfim_bench.references:truth",
            version="1",
            summary="Reference: the protocol's own true swap, where it knows one.",
            size=0,
            template="none",
            licence="Apache-2.0",
            oracle=True,
        ),
    )
