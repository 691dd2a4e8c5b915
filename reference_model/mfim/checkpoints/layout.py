"""A layout is a list of entries; `mfim_bench.networks.published.strict` says how a file's tensors differ from it, a
conversion follows it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from mfim.layers import FIR
from mfim_bench.networks.published import strict


@dataclass(frozen=True, slots=True)
class Entry(strict.Entry):
    """One tensor of a published layout.

    Its shape is the file's; ours has the same numbers in the same order, its axes of length one may differ.

    Attributes:
        ours: key in our state dict; empty = we have no place for it.
        fir: gain of the FIR filter that stands here, which must be ours; 0 = weights.
    """

    ours: str = ""
    fir: float = 0.0

    def valid(self, tensor: Tensor) -> bool:
        """Finite weights, or our filter."""
        if self.fir:
            return torch.allclose(tensor.float(), kernel(self.fir), rtol=1e-3, atol=1e-6)
        return strict.Entry.valid(self, tensor)  # slots make a second class, which super() does not know


def kernel(gain: float) -> Tensor:
    """The two-dimensional FIR filter (4, 4) whose sum is ``gain``."""
    taps = torch.tensor(FIR)
    return taps[:, None] * taps * gain


def convert(tensors: Mapping[str, Tensor], layout: Iterable[Entry], like: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A file's tensors under our keys, in our shapes, float32; `compare` must have found no difference.

    Args:
        tensors: of the file.
        layout: of the file.
        like: our state dict; what the layout has no tensor for stays as it is there.
    """
    state = dict(like)
    for entry in layout:
        if entry.ours and entry.name in tensors:
            old = state[entry.ours]
            state[entry.ours] = tensors[entry.name].to(old.dtype).reshape(old.shape)
    return state


def restore(state: Mapping[str, Tensor], layout: Iterable[Entry], fill: Callable[[Entry], Tensor]) -> dict[str, Tensor]:
    """The reverse of `convert`: a file's tensors from our state dict, filters included.

    Args:
        state: ours.
        layout: of the file.
        fill: what to write where we have no place for an entry.
    """
    tensors = {}
    for entry in layout:
        if entry.ours:
            value = state[entry.ours].detach().cpu().reshape(entry.shape)
        else:
            value = kernel(entry.fir) if entry.fir else fill(entry)
        tensors[entry.name] = value.clone(memory_format=torch.contiguous_format)
    return tensors
