"""Supervisors: the networks that train a swap and never judge one.

`load` returns a frozen, differentiable module that takes ``ffhq`` crops (B, 3, S, S) in [0, 1], 64 px or more:

- ``supervisor-r``, a recogniser: module(images) -> (B, 256) unit embeddings.
- ``supervisor-face3d``, a 3DMM network: module(images) -> ``{"shape": (B, 3K), "expression": (B, 3K), "pose": (B,
  3)}``, aligned vertices over the root of K and radians.

Both have ``features(images) -> list[Tensor]``, the backbone's feature maps from fine to coarse, for a perceptual loss.
Backbones, seeds and the people they were trained on differ from the judges'.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mfim_bench.errors import UsageError

if TYPE_CHECKING:
    import torch

    from mfim.supervisors.networks import Supervisor

ALIASES = {"r": "supervisor-r", "recogniser": "supervisor-r", "face3d": "supervisor-face3d"}


def load(name_or_path: str | Path, device: torch.device | str = "cpu") -> Supervisor:
    """A trained supervisor in evaluation mode, its weights frozen.

    Args:
        name_or_path: a file written by ``mfim-bench train supervisor-…``, or a name of the weights catalogue
            (``supervisor-r``, ``supervisor-face3d``; short: ``r``, ``face3d``).
        device: where to put it.

    Raises:
        UsageError: no such file or name, or the file holds something else.
    """
    from mfim.supervisors import networks
    from mfim_bench import weights
    from mfim_bench.networks import files

    path = Path(name_or_path)
    if not path.is_file():
        name = str(name_or_path)
        if path.suffix or len(path.parts) > 1:
            raise UsageError(f"no file {path}; make one with mfim-bench train supervisor-r or supervisor-face3d")
        path = weights.path(ALIASES.get(name, name))
    kind = files.metadata(path).get("network")
    state = {k: v.float() if v.is_floating_point() else v for k, v in weights.load(path).items()}
    network: Supervisor
    if kind == "supervisor-r":
        network = networks.Recogniser()
    elif kind == "supervisor-face3d":
        network = networks.Face3dSupervisor.of_state(state)
    else:
        raise UsageError(f"{path} is not a supervisor's file of weights (it says {kind!r})")
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise UsageError(f"{path} was made by another version of {kind}: {reason[:200]}") from error
    return network.requires_grad_(False).eval().to(device)
