"""IR-SE50 (ArcFace, as TreB1eN published it and pSp uses it): layouts, and the network as a recogniser."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mfim.checkpoints.layout import Entry
from mfim.encoder import Body
from mfim_bench.networks.published import ir
from mfim_bench.networks.published.strict import is_counter

WIDTHS, UNITS = ir.WIDTHS, ir.UNITS_50
INPUT = 112
ALIGNED, ROWS, COLUMNS = 256, slice(35, 223), slice(32, 220)
"""The part of an ``ffhq`` crop at 256 px that pSp's identity loss looks at."""


class Recogniser(nn.Module):
    """R of the training objective, on ``ffhq`` crops."""

    def __init__(self) -> None:
        super().__init__()
        self.network = ir.IRSE50(WIDTHS, UNITS)

    def forward(self, images: Tensor) -> Tensor:
        """Args: images (B, 3, S, S) in [0, 1]. Returns (B, 512) of length one."""
        embedding: Tensor = self.network(self.cut(images))
        return embedding

    def features(self, images: Tensor) -> list[Tensor]:
        """(B, 3, S, S) in [0, 1] -> feature maps, fine to coarse."""
        return self.network.stages(self.cut(images))

    @staticmethod
    def cut(images: Tensor) -> Tensor:
        """The face's part of an ``ffhq`` crop, as pSp cuts it: (B, 3, S, S) in [0, 1] to (B, 3, 112, 112) in
        [-1, 1].
        """
        images = images * 2.0 - 1.0
        if images.shape[-1] > ALIGNED:
            images = F.adaptive_avg_pool2d(images, ALIGNED)
        elif images.shape[-1] < ALIGNED:
            images = F.interpolate(images, (ALIGNED, ALIGNED), mode="bilinear", align_corners=False)
        return F.adaptive_avg_pool2d(images[..., ROWS, COLUMNS], INPUT)


def _entries(network: nn.Module) -> list[Entry]:
    return [
        Entry(name, tuple(value.shape), name, optional=is_counter(name), floating=value.is_floating_point())
        for name, value in network.state_dict().items()
    ]


def recogniser() -> list[Entry]:
    """The whole file ``model_ir_se50.pth``: 397 entries."""
    with torch.device("meta"):
        return _entries(ir.IRSE50(WIDTHS, UNITS))


def body() -> list[Entry]:
    """Its body, which is ours: 385 entries."""
    with torch.device("meta"):
        return _entries(Body(WIDTHS, UNITS))


def psp_encoder(styles: int) -> list[Entry]:
    """pSp's GradualStyleEncoder: the same body, and a pyramid with one head a style vector, for which we have no place.

    Args:
        styles: how many; 18 at 1024 px, which makes 621 entries.
    """
    width = WIDTHS[-1]
    entries = body()
    for k in range(styles):
        # Coarse, middle and fine heads read 16, 32 and 64 px, and halve them until one pixel is left.
        for conv in range(4 if k < 3 else 5 if k < 7 else 6):
            entries.append(Entry(f"styles.{k}.convs.{2 * conv}.weight", (width, width, 3, 3)))
            entries.append(Entry(f"styles.{k}.convs.{2 * conv}.bias", (width,)))
        entries.append(Entry(f"styles.{k}.linear.weight", (width, width)))
        entries.append(Entry(f"styles.{k}.linear.bias", (width,)))
    for name, inputs in (("latlayer1", WIDTHS[2]), ("latlayer2", WIDTHS[1])):
        entries += [Entry(f"{name}.weight", (width, inputs, 1, 1)), Entry(f"{name}.bias", (width,))]
    return entries
