"""The table, as text, Markdown or JSON."""

from __future__ import annotations

import json
import platform
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from tabulate import tabulate
from torch.utils.benchmark import Measurement

from mfim.speed.measure import Row, ceiling

HEADS = ("what", "size", "rows", "ours, ms", "rosinality, ms", "ratio", "share of ceiling", "largest difference")


@dataclass(slots=True)
class Report:
    """The machine, and its best matrix product before and after the rows.

    Attributes:
        device: that ran.
        rates: FLOP/s by type of number, the higher of both times.
    """

    device: torch.device
    rates: dict[torch.dtype, float] = field(default_factory=dict)

    @classmethod
    def begin(cls, device: torch.device) -> Report:
        """Measure the ceiling for the first time."""
        report = cls(device)
        report.end()
        return report

    def end(self) -> None:
        """Measure it again: a busy or cold moment must not lower it."""
        for dtype in (torch.float32, torch.bfloat16):
            self.rates[dtype] = max(self.rates.get(dtype, 0.0), ceiling(self.device, dtype))

    def share(self, row: Row) -> float:
        """The row's FLOPs over what the float32 matrix product does in the row's time."""
        return row.flops / row.ours.median / self.rates[torch.float32]

    def text(self, rows: Sequence[Row], *, markdown: bool) -> str:
        """Machine and table."""
        cells = [
            [
                row.what,
                str(row.size),
                str(row.batch),
                _spread(row.ours),
                _spread(row.theirs),
                "" if row.ratio is None else f"{row.ratio:.2f}",
                f"{self.share(row):.0%}",
                "" if row.difference is None else f"{row.difference:.1e}",
            ]
            for row in rows
        ]
        align = ("left", *["right"] * (len(HEADS) - 1))
        form = "pipe" if markdown else "simple"
        rates = ", ".join(f"{str(k).removeprefix('torch.')} {v / 1e9:,.0f} GFLOP/s" for k, v in self.rates.items())
        table = tabulate(cells, HEADS, tablefmt=form, colalign=align, disable_numparse=True)
        return f"{self.machine()}; matrix product: {rates}. Median (interquartile range).\n\n{table}"

    def json(self, rows: Sequence[Row]) -> str:
        """Everything, times in seconds, rates in FLOP/s."""
        content = {
            "machine": self.machine(),
            "threads": torch.get_num_threads(),
            "matrix_product": {str(k).removeprefix("torch."): v for k, v in self.rates.items()},
            "rows": [
                {
                    "what": row.what,
                    "size": row.size,
                    "rows": row.batch,
                    "ours": row.ours.raw_times,
                    "rosinality": row.theirs.raw_times if row.theirs else None,
                    "ratio": row.ratio,
                    "flops": row.flops,
                    "share_of_ceiling": self.share(row),
                    "largest_difference": row.difference,
                }
                for row in rows
            ],
        }
        return json.dumps(content, indent=2)

    def machine(self) -> str:
        """What ran, in words."""
        if self.device.type == "cuda":
            name = torch.cuda.get_device_name(self.device)
        else:
            threads = torch.get_num_threads()
            name = f"{_processor()}, {threads} thread{'s' if threads > 1 else ''}"
        return f"{name}, torch {torch.__version__}"


def _processor() -> str:
    try:
        with Path("/proc/cpuinfo").open() as file:
            names = [line.partition(":")[2].strip() for line in file if line.startswith("model name")]
    except OSError:
        names = []
    return names[0] if names else platform.processor() or platform.machine()


def _spread(time: Measurement | None) -> str:
    return "" if time is None else f"{time.median * 1e3:,.0f} ({time.iqr * 1e3:,.0f})"
