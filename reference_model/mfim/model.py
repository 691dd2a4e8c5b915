"""MFIM: encoder and generator together; the swap, and ID mixing over several sources."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mfim.config import ModelConfig
from mfim.encoder import TARGET_LIMIT, Attributes, Encoder
from mfim.generator import Synthesis


class MFIM(nn.Module):
    """The swapping network. Images are (B, 3, S, S) in [-1, 1] here; the Method works in [0, 1].

    Args:
        config: sizes of encoder and generator.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.size = config.size
        self.synthesis = Synthesis(config.size, config.channel_base, config.channel_limit)
        self.encoder = Encoder(
            min(config.size, 256),
            self.synthesis.codes,
            config.body_widths,
            config.body_units,
            config.encoder_width,
            config.map_dividers,
        )
        self.use_maps = config.style_maps
        self.synthesis.use(noise=False, maps=self.map_indices)

    @property
    def map_indices(self) -> list[int]:
        """Indices of the codes whose layers take a style map."""
        return [k for group in self.encoder.map_indices.values() for k in group] if self.use_maps else []

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        """Swap: codes up to 16 px and the style maps of the target, codes from 32 px of the source.

        Args:
            source: (B, 3, S, S) in [-1, 1].
            target: the same.

        Returns:
            (B, 3, S, S) float32, nominally in [-1, 1].
        """
        both = self.encoder(torch.cat([source, target]), maps=self.use_maps)
        batch = source.shape[0]
        identity = Attributes([code[:batch] for code in both.codes], {})
        rest = Attributes([code[batch:] for code in both.codes], {k: m[batch:] for k, m in both.maps.items()})
        return self.compose([identity], rest)

    def mix(self, sources: Sequence[Tensor], target: Tensor, cuts: Sequence[int]) -> Tensor:
        """ID mixing: several sources share the identity codes, the first the coarsest ("global"), the last the finest.

        Args:
            sources: N tensors (B, 3, S, S).
            target: (B, 3, S, S).
            cuts: N - 1 rising resolutions above 32; source k + 1 gives the codes from ``cuts[k]`` px on. Where
                global ends and local begins is not known of the paper: `[own choice]` of the caller.
        """
        identities = [self.encoder(source, maps=False) for source in sources]
        return self.compose(identities, self.encoder(target, maps=self.use_maps), cuts)

    def compose(self, identities: Sequence[Attributes], rest: Attributes, cuts: Sequence[int] = ()) -> Tensor:
        """Draw from attributes already read; see `mix`."""
        if len(cuts) != len(identities) - 1:
            raise ValueError(f"{len(identities)} sources need {len(identities) - 1} cuts, got {len(cuts)}")
        if list(cuts) != sorted(cuts):
            raise ValueError(f"cuts must rise, got {list(cuts)}")
        codes = []
        for index, spec in enumerate(self.synthesis.codes):
            if spec.resolution <= TARGET_LIMIT:
                codes.append(rest.codes[index])
            else:
                giver = identities[sum(spec.resolution >= cut for cut in cuts)]
                codes.append(giver.codes[index])
        image: Tensor = self.synthesis(codes, rest.maps)
        return image
