"""Swap, score, summarise: one run folder a method, resumed by repeating the command."""

from __future__ import annotations

from mfim_bench.bench.record import Record
from mfim_bench.bench.runner import run
from mfim_bench.bench.settings import RunSettings

__all__ = ["Record", "RunSettings", "run"]
