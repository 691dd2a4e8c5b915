"""Writing the weights of small networks: half precision, with their figures beside them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

EXACT = ("inverse_distance", "running_mean", "running_var", "expression_covariance")
"""Buffers whose range half precision does not hold."""


def save(network: nn.Module, path: Path, metadata: Mapping[str, object]) -> None:
    """Write a network as safetensors, atomically.

    Args:
        network: floating-point weights are stored as float16, `EXACT` buffers as float32.
        path: of the file; its folder is made.
        metadata: anything JSON can hold.
    """
    from safetensors.torch import save_file

    state = {}
    for name, value in network.state_dict().items():
        if value.is_floating_point():
            value = value.float() if name.endswith(EXACT) else value.half()
        state[name] = value.cpu().contiguous()
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    save_file(state, part, {key: json.dumps(value) for key, value in metadata.items()})
    part.replace(path)


def metadata(path: Path) -> dict[str, Any]:
    """What a file says about its own training."""
    from safetensors import safe_open

    with safe_open(path, "pt") as file:
        return {key: json.loads(value) for key, value in (file.metadata() or {}).items()}
