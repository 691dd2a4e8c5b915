"""rosinality's StyleGAN2 from a user's checkout, with our weights. None of its code is here."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import torch
from torch import Tensor, nn

from mfim.checkpoints import stylegan2
from mfim.checkpoints.layout import Entry, restore
from mfim.checkpoints.stylegan2 import ROSINALITY, Sizes
from mfim.config import ModelConfig
from mfim.discriminator import Discriminator
from mfim.generator import Mapping, Synthesis
from mfim_bench.errors import UsageError

WHERE = "https://github.com/rosinality/stylegan2-pytorch"


def load(folder: Path, device: torch.device) -> ModuleType:
    """Their module ``model``.

    At import it compiles an extension, which only CUDA uses: on a CPU their native operators run, and nothing is
    compiled. On a GPU it is compiled, as it is for their users.

    Args:
        folder: a checkout of `WHERE`.
        device: that will run it.

    Raises:
        UsageError: no such checkout, or it cannot be imported.
    """
    if not (folder / "model.py").is_file() or not (folder / "op" / "__init__.py").is_file():
        raise UsageError(f"{folder} is no checkout of {WHERE}: it has no model.py and op/")
    with _alone(folder, compiling=device.type == "cuda"):
        try:
            return importlib.import_module("model")
        except Exception as error:  # whatever their code or a compiler raises
            raise UsageError(f"{folder}/model.py cannot be imported: {str(error).splitlines()[0]}") from error


@contextmanager
def _alone(folder: Path, *, compiling: bool) -> Iterator[None]:
    """Imports find the folder first, and its modules' general names (model, op) are free before and after."""
    from torch.utils import cpp_extension

    def free() -> dict[str, ModuleType]:
        names = [name for name in sys.modules if name.partition(".")[0] in ("model", "op")]
        return {name: sys.modules.pop(name) for name in names}

    compile_, others = cpp_extension.load, free()
    sys.path.insert(0, str(folder.resolve()))
    if not compiling:
        cpp_extension.load = lambda *_, **__: None
    try:
        yield
    finally:
        cpp_extension.load = compile_
        sys.path.pop(0)
        free()
        sys.modules.update(others)


def networks(
    module: ModuleType,
    config: ModelConfig,
    mapping: Mapping,
    synthesis: Synthesis,
    discriminator: Discriminator,
    noise: Callable[[Entry], Tensor],
) -> tuple[nn.Module, nn.Module]:
    """Their generator and discriminator, with the weights of ours.

    Args:
        module: see `load`.
        config: sizes; the channels must be theirs: base 16,384 times 1 or 2, limit 512.
        mapping, synthesis, discriminator: ours.
        noise: their constant noise image (1, 1, R, R) for an entry of the layout.
    """
    sizes, factor = Sizes.generator(config), config.channel_base // 16384
    layout = stylegan2.generator(ROSINALITY, sizes)
    ours = nn.ModuleDict({"mapping": mapping, "synthesis": synthesis}).state_dict()
    generator: nn.Module = module.Generator(sizes.size, sizes.latent, sizes.layers, factor)
    generator.load_state_dict(restore(ours, layout, noise))
    layout = stylegan2.discriminator(ROSINALITY, Sizes.discriminator(config))
    critic: nn.Module = module.Discriminator(sizes.size, factor)
    critic.load_state_dict(restore(discriminator.state_dict(), layout, noise))
    return generator, critic
