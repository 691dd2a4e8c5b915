"""A layout is a list of entries; the diagnostic says how a file's tensors differ from it, a conversion follows it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from mfim.layers import FIR

SHOWN = 3
"""Keys of each sort that a message names."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One tensor of a published layout.

    Attributes:
        name: key in the file.
        shape: there; ours has the same numbers in the same order, its axes of length one may differ.
        ours: key in our state dict; empty = we have no place for it.
        optional: whether the file may lack it.
        fir: gain of the FIR filter that stands here, which must be ours; 0 = weights.
        floating: False = a counter.
    """

    name: str
    shape: tuple[int, ...]
    ours: str = ""
    optional: bool = False
    fir: float = 0.0
    floating: bool = True


@dataclass(frozen=True, slots=True)
class Difference:
    """How tensors differ from a layout; all empty = they fit.

    Attributes:
        missing, unexpected: keys.
        misshaped: "key (shape found) for (shape wanted)", also for a sparse tensor or one that is no floating point.
        invalid: keys of weights that are not finite, and of filters other than [1, 3, 3, 1].
    """

    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    misshaped: tuple[str, ...]
    invalid: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.missing or self.unexpected or self.misshaped or self.invalid)

    def __str__(self) -> str:
        sorts = (
            ("missing", self.missing),
            ("unexpected", self.unexpected),
            ("mis-shaped", self.misshaped),
            ("not finite, or another filter", self.invalid),
        )
        return "; ".join(f"{len(keys)} {sort}: {shorten(keys)}" for sort, keys in sorts if keys) or "complete"


def shorten(keys: Iterable[str]) -> str:
    """The first few keys and how many more there are."""
    keys = list(keys)
    more = f" and {len(keys) - SHOWN} more" if len(keys) > SHOWN else ""
    return ", ".join(keys[:SHOWN]) + more


def compare(tensors: Mapping[str, Tensor], layout: Iterable[Entry]) -> Difference:
    """How a file's tensors differ from a layout."""
    entries = {entry.name: entry for entry in layout}
    misshaped, invalid = [], []
    for name, tensor in tensors.items():
        entry = entries.get(name)
        if entry is None:
            continue
        if tuple(tensor.shape) != entry.shape:
            misshaped.append(f"{name} {tuple(tensor.shape)} for {entry.shape}")
        elif entry.floating and not tensor.is_floating_point():
            misshaped.append(f"{name} {str(tensor.dtype).removeprefix('torch.')} for floating point")
        elif tensor.layout is not torch.strided or tensor.device.type != "cpu":
            misshaped.append(f"{name} without plain values")
        elif not _valid(tensor, entry):
            invalid.append(name)
    return Difference(
        missing=tuple(name for name, entry in entries.items() if name not in tensors and not entry.optional),
        unexpected=tuple(name for name in tensors if name not in entries),
        misshaped=tuple(misshaped),
        invalid=tuple(invalid),
    )


def _valid(tensor: Tensor, entry: Entry) -> bool:
    if entry.fir:
        return torch.allclose(tensor.float(), kernel(entry.fir), rtol=1e-3, atol=1e-6)
    # As float32, which is what we compute in: a larger float64 overflows, and some types have no isfinite.
    return not entry.floating or bool(tensor.float().isfinite().all())


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
