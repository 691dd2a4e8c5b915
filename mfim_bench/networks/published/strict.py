"""Strict reading of checkpoints: a file's tensors are compared with a layout, and one line says how they differ."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from mfim_bench.errors import UsageError

SHOWN = 3
"""Keys of each sort that a message names."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One tensor of a layout.

    Attributes:
        name: key in the file.
        shape: there.
        optional: whether the file may lack it.
        floating: False = a counter.
    """

    name: str
    shape: tuple[int, ...]
    optional: bool = field(default=False, kw_only=True)
    floating: bool = field(default=True, kw_only=True)

    def valid(self, tensor: Tensor) -> bool:
        """Whether values of the right shape and kind can be used."""
        # As float32, which is what we compute in: a larger float64 overflows, and some types have no isfinite.
        return not self.floating or bool(tensor.float().isfinite().all())


@dataclass(frozen=True, slots=True)
class Difference:
    """How tensors differ from a layout; all empty = they fit.

    Attributes:
        missing, unexpected: keys.
        misshaped: "key (shape found) for (shape wanted)", also for a sparse tensor or one that is no floating point.
        invalid: keys of tensors whose values are not `Entry.valid`.
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
        elif not entry.valid(tensor):
            invalid.append(name)
    return Difference(
        missing=tuple(name for name, entry in entries.items() if name not in tensors and not entry.optional),
        unexpected=tuple(name for name in tensors if name not in entries),
        misshaped=tuple(misshaped),
        invalid=tuple(invalid),
    )


def is_counter(name: str) -> bool:
    """Whether a key is a batch norm's counter, which files saved by torch before 0.4.1 lack."""
    return name.endswith("num_batches_tracked")


def nothing(name: str) -> bool:
    """No key."""
    return False


def load_strictly(
    module: nn.Module,
    state: Mapping[str, Tensor],
    what: str,
    *,
    optional: Callable[[str], bool] = is_counter,
    dropped: Callable[[str], bool] = nothing,
) -> None:
    """Copy a file's tensors into a network, all of them or none.

    A prefix ``module.`` on every key (a file saved from DataParallel) is taken off. Half precision becomes the
    module's own type, float32.

    Args:
        module: the network, on the CPU; or on ``meta``, then its tensors are made here and what the file may lack is 0.
        state: of the file, as `mfim_bench.weights.load` gives it.
        what: begins the message, such as the file's name.
        optional: keys that the file may lack.
        dropped: keys of the file that the network has no use for.

    Raises:
        UsageError: keys are missing, unexpected, of another shape, or not finite; one line names them.
    """
    if state and all(name.startswith("module.") for name in state):
        state = {name.removeprefix("module."): tensor for name, tensor in state.items()}
    state = {name: tensor for name, tensor in state.items() if not dropped(name)}
    own = module.state_dict()
    layout = [
        Entry(name, tuple(value.shape), optional=optional(name), floating=value.is_floating_point())
        for name, value in own.items()
    ]
    if difference := compare(state, layout):
        raise UsageError(f"{what}: {difference}")
    complete = {
        name: state[name].to(value.dtype) if name in state else torch.zeros_like(value, device="cpu")
        for name, value in own.items()
        if name in state or value.is_meta
    }
    on_meta = any(value.is_meta for value in own.values())
    # What the file may lack keeps the module's own value, so torch need not insist; `compare` has.
    module.load_state_dict(complete, strict=False, assign=on_meta)
