"""Writing the weights of small networks: half precision, with their figures beside them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from mfim_bench.errors import UsageError

EXACT = (
    "inverse_distance",
    "running_mean",
    "running_var",
    "expression_covariance",
    "guess_covariance",
    "sight",
    "blend",
    "shares",
)
"""Buffers whose range half precision does not hold: a variance behind an unnormalised convolution reaches 90,000."""


def half_precision(network: nn.Module) -> dict[str, Tensor]:
    """A network's state as files hold it: floating-point values as float16, `EXACT` buffers as float32.

    Raises:
        UsageError: a value is not finite, or float16 cannot hold it.
    """
    state = {}
    for name, value in network.state_dict().items():
        value = value.detach().cpu().contiguous()
        if value.is_floating_point():
            value = value.float() if name.endswith(EXACT) else value.half()
            if not value.isfinite().all():
                kind = str(value.dtype).removeprefix("torch.")
                raise UsageError(f"{name} holds a value that is not finite as {kind}")
        state[name] = value
    return state


def save(network: nn.Module, path: Path, metadata: Mapping[str, object]) -> None:
    """Write a network as safetensors, atomically.

    Args:
        network: stored in `half_precision`.
        path: of the file; its folder is made.
        metadata: anything JSON can hold.

    Raises:
        UsageError: see `half_precision`.
    """
    from safetensors.torch import save_file

    state = half_precision(network)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    save_file(state, part, {key: json.dumps(value) for key, value in metadata.items()})
    part.replace(path)


def metadata(path: Path) -> dict[str, Any]:
    """What a file says about its own training."""
    from safetensors import safe_open

    with safe_open(path, "pt") as file:
        return {key: json.loads(value) for key, value in (file.metadata() or {}).items()}
