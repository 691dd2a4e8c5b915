"""MFIM: encoder and generator together; the swap, and ID mixing over several sources."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

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

    @property
    def id_levels(self) -> tuple[int, ...]:
        """Resolutions whose codes come from the source, rising; 32, 64, ... S."""
        return tuple(sorted({code.resolution for code in self.synthesis.codes if code.resolution > TARGET_LIMIT}))

    def mix(self, sources: Sequence[Tensor], target: Tensor, levels: Mapping[int, int]) -> Tensor:
        """ID mixing: several sources share the identity codes.

        Args:
            sources: N tensors (B, 3, S, S).
            target: (B, 3, S, S).
            levels: each of `id_levels` → index of the source that gives its codes; see `mfim.mixing.assign`.

        Raises:
            ValueError: a level is missing or none of this model's, or a source does not exist or gives nothing.
        """
        if set(levels) != set(self.id_levels):
            raise ValueError(f"levels must be {list(self.id_levels)}, got {sorted(levels)}")
        if set(levels.values()) != set(range(len(sources))):
            raise ValueError(f"{len(sources)} sources, but levels come from {sorted(set(levels.values()))}")
        identities = [self.encoder(source, maps=False) for source in sources]
        return self.compose(identities, self.encoder(target, maps=self.use_maps), levels)

    def compose(
        self, identities: Sequence[Attributes], rest: Attributes, levels: Mapping[int, int] | None = None
    ) -> Tensor:
        """Draw from attributes already read; see `mix`. Without ``levels`` the first identity gives them all."""
        codes = []
        for index, spec in enumerate(self.synthesis.codes):
            ours = spec.resolution <= TARGET_LIMIT
            giver = rest if ours else identities[levels[spec.resolution] if levels else 0]
            codes.append(giver.codes[index])
        image: Tensor = self.synthesis(codes, rest.maps)
        return image
