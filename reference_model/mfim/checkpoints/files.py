"""Opens a public checkpoint, whatever its kind, and says how each of its networks differs from its layout."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from mfim.checkpoints import irse, pickles, stylegan2
from mfim.checkpoints.layout import Entry
from mfim.checkpoints.stylegan2 import NVLABS, ROSINALITY, Sizes
from mfim.config import ModelConfig
from mfim_bench import weights
from mfim_bench.errors import UsageError
from mfim_bench.networks.published.strict import Difference, compare

ZIP, LEGACY = b"PK\x03\x04", b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
"""How the two formats of ``torch.save`` begin; NVlabs' pickles are neither."""
PSP, IRSE50 = "psp", "irse50"
TITLES = {
    ROSINALITY: "StyleGAN2, rosinality's layout",
    NVLABS: "StyleGAN2, NVlabs' pickle",
    PSP: "pSp's encoder and decoder",
    IRSE50: "IR-SE50",
}
GENERATOR, DISCRIMINATOR, ENCODER, RECOGNISER = "generator", "discriminator", "encoder", "recogniser"


@dataclass(frozen=True, slots=True)
class Network:
    """One network of a file.

    Attributes:
        part: its name there; empty = the file is this network.
        role: generator, discriminator, encoder or recogniser.
        kind: of layout: rosinality, nvlabs, psp or irse50.
        tensors: by key.
        sizes: of a generator or discriminator, as its tensors say; None where they are of no such network.
    """

    part: str
    role: str
    kind: str
    tensors: dict[str, Tensor]
    sizes: Sizes | None = None

    def layout(self, sizes: Sizes | None = None) -> list[Entry]:
        """Its layout, for its own sizes or others; empty where neither is known."""
        sizes = sizes or self.sizes
        if self.role == RECOGNISER:
            return irse.recogniser()
        if self.role == ENCODER:
            styles = {name.split(".")[1] for name in self.tensors if name.startswith("styles.")}
            return irse.psp_encoder(len(styles))
        if sizes is None:
            return []
        return (stylegan2.generator if self.role == GENERATOR else stylegan2.discriminator)(self.kind, sizes)

    def difference(self, sizes: Sizes | None = None) -> Difference:
        """How its tensors differ from `layout`."""
        return compare(self.tensors, self.layout(sizes))


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a file holds.

    Attributes:
        path: of the file.
        kind: see `TITLES`.
        networks: those with a layout known here.
        rest: how many tensors stand under each other top-level name; they are not read.
    """

    path: Path
    kind: str
    networks: tuple[Network, ...]
    rest: dict[str, int]

    def network(self, *parts: str) -> Network | None:
        """The first of these parts that the file has."""
        named = {network.part: network for network in self.networks}
        return next((named[part] for part in parts if part in named), None)


def open_checkpoint(path: Path) -> Checkpoint:
    """Open a file of any of the public layouts. Nothing in it is run.

    Raises:
        UsageError: no such file, broken, not readable without running code, or of no layout known here.
    """
    if not path.is_file():
        raise UsageError(f"there is no checkpoint {path}")
    with path.open("rb") as file:
        head = file.read(len(LEGACY))
    if head[:1] == b"\x80" and head != LEGACY:
        parts = dict(pickles.networks(path))
        return Checkpoint(path, NVLABS, tuple(_stylegan2(NVLABS, name, t) for name, t in parts.items()), {})
    tensors = weights.load(path)
    if "input_layer.0.weight" in tensors and any(name.startswith("body.") for name in tensors):
        return Checkpoint(path, IRSE50, (Network("", RECOGNISER, IRSE50, tensors),), {})
    parts = _parts(tensors)
    if "state_dict" in parts:
        inner = _parts(parts.pop("state_dict"))
        networks = []
        if "encoder" in inner:
            networks.append(Network("encoder", ENCODER, PSP, inner.pop("encoder")))
        if "decoder" in inner:
            networks.append(_stylegan2(ROSINALITY, "decoder", inner.pop("decoder")))
        kind, parts = PSP, {**parts, **inner}
    else:
        kind = ROSINALITY
        networks = [_stylegan2(kind, name, parts.pop(name)) for name in ("g_ema", "g", "d") if name in parts]
    if not networks:
        raise UsageError(f"{path} is of no layout known here ({'; '.join(TITLES.values())}); it has {_some(parts)}")
    return Checkpoint(path, kind, tuple(networks), {name: len(part) for name, part in parts.items()})


def inspection(checkpoint: Checkpoint, config: ModelConfig | None = None) -> list[dict[str, Any]]:
    """A row a network: part, role, keys, numbers, sizes, state (one line), and the four lists of `Difference`.

    Args:
        checkpoint: opened.
        config: sizes to compare generators and discriminators with; None = those that their tensors say.
    """
    rows = []
    for network in checkpoint.networks:
        wanted = None
        if config and network.role in (GENERATOR, DISCRIMINATOR):
            wanted = (Sizes.generator if network.role == GENERATOR else Sizes.discriminator)(config)
        difference = network.difference(wanted)
        state = str(difference)
        if network.sizes is None and wanted is None and network.role in (GENERATOR, DISCRIMINATOR):
            state = f"no {network.role} of StyleGAN2"
        rows.append(
            {"part": network.part, "role": network.role, "keys": len(network.tensors)}
            | {"numbers": sum(tensor.numel() for tensor in network.tensors.values())}
            | {"sizes": str(network.sizes or ""), "state": state}
            | asdict(difference)
        )
    return rows


def _stylegan2(kind: str, part: str, tensors: dict[str, Tensor]) -> Network:
    if part.lower() == "d":
        return Network(part, DISCRIMINATOR, kind, tensors, stylegan2.discriminator_sizes(kind, tensors))
    return Network(part, GENERATOR, kind, tensors, stylegan2.generator_sizes(kind, tensors))


def _parts(tensors: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    parts: dict[str, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        part, _, rest = name.partition(".")
        parts.setdefault(part, {})[rest] = tensor
    return parts


def _some(parts: Mapping[str, object]) -> str:
    names = sorted(parts)
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
