"""The perceptual half of the reconstruction term: LPIPS where its trunk is on disk, else a documented stand-in.

LPIPS (Zhang et al., CVPR 2018) ships its linear heads in the package ``lpips``; its AlexNet or VGG trunk is a download.
The stand-in takes LPIPS's form - unit-normalised channels, squared differences, mean over space, mean over layers - on
the earlier layers of the two supervisors (the recogniser R and the 3DMM supervisor), which are trained on virtual faces
and are never judges.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from mfim_bench.errors import UsageError


class Layers:
    """Collects feature maps of a convolutional network as it runs, one a resolution: the last leaf of each side.

    Args:
        network: any; it is run once on a blank image to find the layers.
        size: side of its input.
        device: where the network is.

    Maps below an eighth of the input's side are left out: there R holds who it is, which must follow the source.
    """

    def __init__(self, network: nn.Module, size: int, device: torch.device) -> None:
        last: dict[int, nn.Module] = {}

        def note(module: nn.Module, _: object, out: object) -> None:
            if isinstance(out, Tensor) and out.ndim == 4 and size // 8 <= out.shape[-1] < size:
                last[out.shape[-1]] = module

        leaves = [m for m in network.modules() if not list(m.children())]
        handles = [m.register_forward_hook(note) for m in leaves]
        with torch.no_grad():
            network(torch.full((2, 3, size, size), 0.5, device=device))
        for handle in handles:
            handle.remove()
        self._found: dict[int, Tensor] = {}
        self._chosen = sorted(last, reverse=True)
        for side, module in last.items():
            module.register_forward_hook(self._keeper(side))

    def _keeper(self, side: int) -> Callable[[nn.Module, object, Tensor], None]:
        def keep(_: nn.Module, __: object, out: Tensor) -> None:
            self._found[side] = out

        return keep

    @property
    def sides(self) -> list[int]:
        """Sides of the collected maps, fine to coarse."""
        return self._chosen

    def take(self) -> list[Tensor]:
        """The maps of the last run, fine to coarse."""
        maps = [self._found[side] for side in self._chosen]
        self._found.clear()
        return maps


def feature_distance(first: list[Tensor], second: list[Tensor]) -> Tensor:
    """LPIPS's form without learned weights: (B,) from two lists of maps (B, C, h, w); 0 for equal lists, at most 4."""
    total = torch.zeros(first[0].shape[0], device=first[0].device)
    for a, b in zip(first, second, strict=True):
        total = total + (_unit(a.float()) - _unit(b.float())).square().sum(1).mean((1, 2))
    return total / len(first)


def _unit(x: Tensor) -> Tensor:
    return x * torch.rsqrt(x.square().sum(1, keepdim=True) + 1e-10)


def published_lpips(path: Path, device: torch.device) -> nn.Module:
    """LPIPS v0.1 with the AlexNet trunk read from torchvision's state dict on disk, strictly.

    Raises:
        UsageError: the file or the package is missing, or the file is no AlexNet.
    """
    if not path.is_file():
        raise UsageError(f"no LPIPS trunk at {path}")
    if importlib.util.find_spec("lpips") is None:
        raise UsageError("the package lpips is not installed")
    import lpips

    metric: nn.Module = lpips.LPIPS(net="alex", pnet_rand=True, verbose=False)
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        for part in metric.get_submodule("net").children():
            # The slices of lpips keep the numbers that torchvision's AlexNet gives its layers.
            for name, layer in part.named_children():
                prefix = f"features.{name}."
                layer.load_state_dict({k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)})
    except Exception as error:
        raise UsageError(f"{path} is no state dict of torchvision's AlexNet") from error
    return metric.eval().requires_grad_(False).to(device)
