"""MFIM as a method of mfim-bench."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from mfim.export import load as load_model
from mfim.mixing import assign
from mfim.model import MFIM
from mfim.plugin import WEIGHTS
from mfim_bench import weights


class MFIMMethod:
    """Swaps crops of the template ffhq.

    Rows pass one by one: kernels sum in another order in another batch, and a last bit becomes a grey level of the
    image and 0.01 mm of a distance.

    Args:
        model: in evaluation mode.
        device: of the model; inputs may be anywhere, outputs are on the input's device.
    """

    def __init__(self, model: MFIM, device: torch.device) -> None:
        self.model = model
        self.device = device

    @torch.inference_mode()
    def swap(self, source: Tensor, target: Tensor) -> Tensor:
        """See `mfim_bench.method.Method.swap`; S is the model's size."""
        rows = zip(torch.split(self._signed(source), 1), torch.split(self._signed(target), 1), strict=True)
        return self._unit(torch.cat([self.model(*row) for row in rows]), target)

    @torch.inference_mode()
    def mix(self, sources: Mapping[str, Tensor], target: Tensor) -> Tensor:
        """ID mixing; see `mfim_bench.method.MixingMethod.mix`. A part is ``global``, ``local`` or an ID level such as
        ``32``; see `mfim.mixing.assign`."""
        levels = assign(self.model.id_levels, list(sources))
        rows = zip(*(torch.split(self._signed(images), 1) for images in (*sources.values(), target)), strict=True)
        return self._unit(torch.cat([self.model.mix(row[:-1], row[-1], levels) for row in rows]), target)

    def _signed(self, images: Tensor) -> Tensor:
        return images.to(self.device, torch.float32) * 2.0 - 1.0

    @staticmethod
    def _unit(images: Tensor, like: Tensor) -> Tensor:
        return (images * 0.5 + 0.5).clamp(0.0, 1.0).to(like.device)


def load(device: torch.device, argument: str = "") -> MFIMMethod:
    """The method ``mfim`` with the weights that ship, or ``mfim:FILE`` with those of a file."""
    return load_file(Path(argument) if argument else weights.path(WEIGHTS.name), device)


def load_file(path: Path, device: torch.device) -> MFIMMethod:
    """The method with weights written by ``mfim-bench train mfim --export``."""
    return MFIMMethod(load_model(path, device), device)
