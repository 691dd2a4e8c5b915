"""What the supervisors (never judges) see in an image: R's embedding; the 3DMM's shape, expression, pose; features."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from mfim.config import SwapConfig
from mfim.data import Faces, save_array
from mfim.perceptual import Layers, feature_distance, published_lpips
from mfim.training.run import autocast
from mfim_bench.errors import UsageError


@dataclass(frozen=True, slots=True)
class Seen:
    """Of a batch: embedding (B, D) of unit length, shape and expression (B, ·) mm, pose (B, 3) radians."""

    embedding: Tensor
    shape: Tensor
    expression: Tensor
    pose: Tensor

    def rows(self, index: Tensor | slice) -> Seen:
        """Some rows."""
        return Seen(*(getattr(self, f.name)[index] for f in fields(self)))

    def to(self, device: torch.device) -> Seen:
        """The same elsewhere."""
        return Seen(*(getattr(self, f.name).to(device) for f in fields(self)))


class Supervision:
    """Runs both supervisors on images in [-1, 1] and compares images as LPIPS does.

    Args:
        recogniser: (B, 3, S, S) in [0, 1] to (B, D).
        face3d: the same to a dict of shape, expression, pose.
        size: side S.
        device: of both.
        precision: of the forward passes.
        lpips: the published metric, or None for the stand-in on the supervisors' layers.
    """

    def __init__(
        self,
        recogniser: nn.Module,
        face3d: nn.Module,
        size: int,
        device: torch.device,
        precision: str = "float32",
        lpips: nn.Module | None = None,
    ) -> None:
        self.recogniser = recogniser.eval().requires_grad_(False)
        self.face3d = face3d.eval().requires_grad_(False)
        self.lpips = lpips
        self.device = device
        self.precision = precision
        self._layers = [] if lpips else [Layers(self.recogniser, size, device), Layers(self.face3d, size, device)]

    @classmethod
    def load(cls, config: SwapConfig, size: int, device: torch.device, precision: str) -> Supervision:
        """Load the supervisors that a configuration names.

        Raises:
            UsageError: one is missing, or the perceptual distance is unknown.
        """
        from mfim.checkpoints.conversion import load_recogniser
        from mfim.supervisors import load
        from mfim.supervisors.networks import Recognisers

        kind, _, path = config.perceptual.partition(":")
        if kind not in ("lpips", "supervisors"):
            raise UsageError(f"unknown perceptual distance {config.perceptual!r}: lpips:PATH or supervisors")
        lpips = published_lpips(Path(path), device) if kind == "lpips" else None

        def one(name: str) -> nn.Module:
            kind, _, path = name.partition(":")
            return load_recogniser(Path(path), device) if kind == "irse50" else load(name, device)

        several = [one(name) for name in config.recogniser.split(",")]
        recogniser = several[0] if len(several) == 1 else Recognisers(several)
        return cls(recogniser, load(config.face3d, device), size, device, precision, lpips)

    def look(self, images: Tensor) -> tuple[Seen, list[Tensor]]:
        """Args: images (B, 3, S, S) in [-1, 1]. Returns what is seen and the layers for `distance` (none for LPIPS)."""
        unit = self._unit(images)
        with autocast(self.device, self.precision):
            embedding = self.recogniser(unit)
            params = self.face3d(unit)
        seen = Seen(embedding.float(), params["shape"].float(), params["expression"].float(), params["pose"].float())
        return seen, self._taken()

    @torch.no_grad()
    def layers(self, images: Tensor) -> list[Tensor]:
        """Only the layers for `distance`, without gradients: a network's ``features`` leave out its costly head."""
        unit = self._unit(images)
        with autocast(self.device, self.precision):
            for network in (self.recogniser, self.face3d):
                getattr(network, "features", network)(unit)
        return self._taken()

    @staticmethod
    def _unit(images: Tensor) -> Tensor:
        return (images * 0.5 + 0.5).contiguous(memory_format=torch.channels_last)

    def _taken(self) -> list[Tensor]:
        return [feature for layers in self._layers for feature in layers.take()]

    def distance(self, swap: Tensor, target: Tensor, swap_layers: list[Tensor]) -> Tensor:
        """Perceptual distance a row (B,) of two images in [-1, 1]; ``swap_layers`` come from `look` at the swap."""
        if self.lpips is not None:
            rows: Tensor = self.lpips(swap, target)
            return rows.flatten()
        return feature_distance(swap_layers, self.layers(target))

    def fingerprint(self) -> str:
        """Hash of both networks' weights."""
        digest = hashlib.sha256(self.precision.encode())
        for network in (self.recogniser, self.face3d):
            for name, value in network.state_dict().items():
                digest.update(name.encode() + np.ascontiguousarray(value.cpu().float().numpy()).tobytes())
        return digest.hexdigest()[:16]

    @torch.no_grad()
    def table(self, faces: Faces, cache: Path | None = None, batch: int = 64) -> Seen:
        """What is seen in every variant of every image (2N rows, see `Faces.batch`), computed once and cached."""
        path = cache and cache / f"seen-{faces.key}-{len(faces)}-{self.fingerprint()}.npy"
        if path is not None and path.exists():
            stored = torch.from_numpy(np.load(path))
        else:
            parts = []
            for start in range(0, 2 * len(faces), batch):
                index = np.arange(start, min(start + batch, 2 * len(faces)))
                seen, _ = self.look(faces.batch(index).to(self.device))
                parts.append(torch.cat([seen.embedding, seen.shape, seen.expression, seen.pose], 1).cpu())
            stored = torch.cat(parts)
            if path is not None:
                save_array(path, stored.numpy())
        one, _ = self.look(faces.batch(np.zeros(1, np.int64)).to(self.device))
        widths = [getattr(one, f.name).shape[1] for f in fields(one)]
        return Seen(*(part.contiguous() for part in torch.split(stored, widths, 1)))
