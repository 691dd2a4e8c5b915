"""Swap, score, summarise: one run folder a method, resumed by repeating the command."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mfim_bench.bench.record import Record
from mfim_bench.bench.settings import RunSettings

if TYPE_CHECKING:
    from mfim_bench.bench.runner import run

__all__ = ["Record", "RunSettings", "run"]


def __getattr__(name: str) -> Any:
    """``run`` on first use: it needs torch, and whoever reads records does not."""
    if name != "run":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from mfim_bench.bench.runner import run

    return run
