"""The open 3DMM judge: dense landmarks with their uncertainty, and a head model fitted to them.

Crop: the ``box`` template (upright, no roll removed), `SIZE` px, RGB in [0, 1], (x - 0.5) / 0.25. A small ResNet
states for each of K vertices where it is and how sure that is, and guesses the head's coefficients and pose;
`face3d_fit.HeadFit` turns that into a head. A detector's five points scatter, so the judge first seeks the face, three
times, each around what it saw before (`SEARCH`), then measures (`LAST`, `PART`, both also in a mirror). Features are in
millimetres at the K vertices (the front of the face), so that their RMS is the distance, whatever the coefficients.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mfim_bench.faces.templates import crop, crop_matrix, invert, transform
from mfim_bench.networks.face3d_fit import Face, Fit, HeadFit
from mfim_bench.networks.folded import Folded
from mfim_bench.networks.views import inner

if TYPE_CHECKING:
    from mfim_bench.faces.detect import Face as FoundFace
    from mfim_bench.measure import Features

SIZE, ZOOM = 192, 0.9
SEARCH, LAST, PART = (1.5, ZOOM, ZOOM), 1.03, 0.88
"""Zooms of the crops in which the judge seeks the face, each around what it saw in the one before; of the crop in which
it measures; and the centred part of that which is measured too [own choice, on training people held out].
"""
BACKBONE, CHANNELS, FOLD = "resnet18", (32, 64, 128, 256), 2
FINE, CODE = 16, 64
"""Channels of the squeezed map before the last, and numbers of its code [own choice]."""
CHUNK = 32
"""Images a forward pass; fixed, so that memory does not grow with the number of frames."""


class LandmarkNet(nn.Module):
    """Image -> K landmarks and their log deviations, in units where the crop spans [-1, 1], and a guess of the head.

    Blocks of ``fold`` x ``fold`` pixels enter as channels, so that a large crop costs what a small one does. The last
    feature map is squeezed to a few channels and flattened, not averaged: where things are is the question. So is the
    one before, further still, to a short code: small motions are better seen in it.

    Args:
        start: (K, 2) mean landmarks, the output of an untrained network.
        guesses: how many numbers to guess, `HeadFit.guesses`.
        backbone: name of a timm network that takes ``features_only``.
        arguments: for timm.
        size: side S of the square input.
        fold: see above; divides ``size``.
        squeeze: channels left of the last map.
    """

    def __init__(
        self,
        start: Tensor,
        guesses: int,
        backbone: str,
        arguments: dict[str, Any],
        size: int,
        fold: int = 1,
        squeeze: int = 80,
    ) -> None:
        super().__init__()
        self.size = size
        self.backbone = Folded(backbone, fold, features_only=True, **arguments)
        told = self.backbone.network.feature_info
        finer, channels = told.channels()[-2:]
        sides = [-(-size // (r * fold)) for r in told.reduction()[-2:]]
        self.squeeze = nn.Sequential(nn.Conv2d(channels, squeeze, 1, bias=False), nn.BatchNorm2d(squeeze), nn.ReLU())
        self.fine = nn.Sequential(
            nn.Conv2d(finer, FINE, 1, bias=False), nn.BatchNorm2d(FINE), nn.ReLU(), nn.Flatten(),
            nn.Linear(FINE * sides[0] ** 2, CODE),
        )  # fmt: skip
        wide = squeeze * sides[1] ** 2 + CODE
        self.points = nn.Linear(wide, start.numel())
        self.deviation = nn.Linear(channels, len(start))
        self.guess = nn.Sequential(nn.Linear(wide, 256), nn.ReLU(), nn.Linear(256, guesses))
        nn.init.normal_(self.points.weight, std=1e-3)
        nn.init.normal_(self.deviation.weight, std=1e-3)
        with torch.no_grad():
            self.points.bias.copy_(start.flatten())
            self.deviation.bias.fill_(-2.5)

    def stages(self, images: Tensor) -> list[Tensor]:
        """(B, 3, S, S) in [0, 1] -> the backbone's feature maps, finest first."""
        maps: list[Tensor] = self.backbone((images - 0.5) / 0.25)
        return maps

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(B, 3, S, S) in [0, 1] -> landmarks (B, K, 2), log deviations (B, K), guess (B, G); float32."""
        *_, finer, last = self.stages(images)
        flat = torch.cat([self.squeeze(last).flatten(1), self.fine(finer)], 1)
        points = self.points(flat).float()
        deviation = self.deviation(last.mean((2, 3))).float()
        return points.unflatten(1, (-1, 2)), deviation.clamp(-7.0, 1.0), self.guess(flat).float()


class Face3d(nn.Module):
    """`LandmarkNet` and `HeadFit` as one set of weights.

    Args:
        net, fit: the two.
        part: look at every image, at its centred ``part``, and at both in a mirror, and take the mean; four times the
            network's cost, the fit's once. None = look once.
    """

    def __init__(self, net: LandmarkNet, fit: HeadFit, part: float | None = None) -> None:
        super().__init__()
        self.net, self.fit, self.part = net, fit, part

    def see(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(B, 3, S, S) in [0, 1] -> landmarks (B, K, 2), log deviations (B, K), guess (B, G); float32."""
        if self.part is None:
            seen: tuple[Tensor, Tensor, Tensor] = self.net(images)
            return seen
        landmarks, deviation, guess = self._both(images)
        inner_landmarks, inner_deviation, inner_guess = self._both(inner(images, self.part))
        return (
            (landmarks + self.part * inner_landmarks) / 2,
            (deviation + inner_deviation + math.log(self.part)) / 2,
            (guess + inner_guess) / 2,
        )

    @torch.no_grad()
    def seek(
        self, matrices: list[NDArray[np.float64]], cut: Callable[[list[NDArray[np.float64]]], Tensor],
        zooms: Sequence[float],
    ) -> list[NDArray[np.float64]]:  # fmt: skip
        """From crop to crop, each around the five points that the network saw in the one before.

        Args:
            matrices: (2, 3) each, frame pixels to pixels of the first crops.
            cut: such matrices -> images (B, 3, S, S) in [0, 1].
            zooms: of the crops after the first.

        Returns:
            Matrices of the last crops.
        """
        for zoom in zooms:
            five = (self.fit.points5 @ self.net(cut(matrices))[0] + 1) * (SIZE / 2) - 0.5
            seen = zip(five.cpu().numpy(), matrices, strict=True)
            matrices = [crop_matrix(transform(f, invert(m)), "box", SIZE, zoom=zoom) for f, m in seen]
        return matrices

    def _both(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The mean of what the images and their mirror images show."""
        landmarks, deviation, guess = self.net(images)
        other_landmarks, other_deviation, other_guess = self.net(images.flip(-1))
        paired, twin = self.fit.twin >= 0, self.fit.twin.clamp_min(0)
        other_landmarks = other_landmarks[:, twin] * landmarks.new_tensor([-1.0, 1.0])
        return (
            torch.where(paired[:, None], (landmarks + other_landmarks) / 2, landmarks),
            torch.where(paired, (deviation + other_deviation[:, twin]) / 2, deviation),
            (guess + other_guess @ self.fit.mirrored.T) / 2,
        )

    def forward(self, images: Tensor, iterations: int = 8) -> tuple[Fit, Face]:
        """(B, 3, S, S) in [0, 1] -> fitted heads and what is reported of them.

        In float64, autocast or not: the normal equations lose digits in float32.
        """
        seen = self.see(images)
        with torch.autocast(images.device.type, enabled=False):
            landmarks, deviations, guess = (part.double() for part in seen)
            fit: Fit = self.fit(landmarks, deviations.exp(), guess, iterations)
            return fit, self.fit.face(fit, guess)


def build(fit: HeadFit, start: Tensor | None = None) -> Face3d:
    """The judge's architecture around a head model."""
    if start is None:
        start = torch.zeros(len(fit.mean), 2)
    net = LandmarkNet(start, fit.guesses, BACKBONE, {"channels": CHANNELS}, SIZE, FOLD)
    return Face3d(net, fit, PART)


def empty_fit(state: dict[str, Tensor], prefix: str = "fit.") -> HeadFit:
    """A `HeadFit` of the sizes found in a file of weights."""
    basis, actions = state[f"{prefix}basis"], len(state[f"{prefix}expression_mean"])
    zeros = torch.zeros_like(basis, dtype=torch.float32)
    return HeadFit(
        torch.zeros_like(zeros[0]),
        zeros[:-actions],
        zeros[-actions:],
        torch.zeros(actions),
        torch.zeros(actions, actions),
        rank=state[f"{prefix}noise_vectors"].shape[1],
    )


class Face3dJudge:
    """Implements `mfim_bench.measure.Judge`; see `features`.

    Args:
        network: trained.
        device: to run on.
        search: see `SEARCH`; empty = measure in the detector's crop, for showing what the search is worth.
    """

    def __init__(self, network: Face3d, device: torch.device, search: Sequence[float] = SEARCH) -> None:
        self.network = network.eval().to(device)
        self.device, self.zooms = device, (*search, LAST)

    @torch.no_grad()
    def features(self, images: Sequence[NDArray[np.uint8]], faces: Sequence[FoundFace]) -> Features:
        """Heads of N frames.

        Args:
            images: N frames, uint8 RGB (H, W, 3).
            faces: the face found in each.

        Returns:
            ``shape_vertices`` (N, 3K) mm: the neutral face, moved onto the mean face by a similarity;
            ``expression_vertices`` (N, 3K) mm: how the expression displaces it; ``pose`` (N, 3) radians: yaw, pitch,
            roll of the face so moved, in the frame's axes; ``landmarks`` (N, 2K) px of the frame;
            ``shape_whitened`` (N, S) and ``expression_whitened`` (N, E): coefficients over their deviation among the
            training faces; 0 for actions that those never show (eyes look by rotation).
        """
        matrices = [crop_matrix(face.points, "box", SIZE, zoom=self.zooms[0]) for face in faces]
        model = self.network.fit
        size, deviation = 3 * len(model.mean), model.expression_covariance.diagonal().sqrt().double()
        widths = {
            "shape_vertices": size,
            "expression_vertices": size,
            "pose": 3,
            "shape_whitened": model.shapes,
            "expression_whitened": model.actions,
        }
        columns: dict[str, list[Tensor]] = {name: [] for name in (*widths, "landmarks")}
        for start in range(0, len(images), CHUNK):
            rows = slice(start, start + CHUNK)
            cut = partial(self._crops, images[rows])
            matrices[rows] = self.network.seek(matrices[rows], cut, self.zooms[1:])
            fit, face = self.network(cut(matrices[rows]))
            columns["shape_vertices"].append(face.neutral.flatten(1))
            columns["expression_vertices"].append(face.expression.flatten(1))
            columns["pose"].append(face.angles)
            columns["shape_whitened"].append(fit.shape / model.shape_deviation.double())
            columns["expression_whitened"].append(torch.where(deviation > 0.01, fit.expression / deviation, 0.0))
            columns["landmarks"].append(model.project(fit))
        out = {
            name: torch.cat(columns[name]).float().cpu().numpy() if columns[name] else np.zeros((0, width), np.float32)
            for name, width in widths.items()
        }
        points = np.zeros((len(images), len(model.mean), 2))
        for row, (crop_points, matrix) in enumerate(
            zip(torch.cat(columns["landmarks"]).cpu().numpy() if columns["landmarks"] else [], matrices, strict=True)
        ):
            points[row] = transform((crop_points + 1) * (SIZE / 2) - 0.5, invert(matrix))
        out["landmarks"] = points.reshape(len(images), 2 * len(model.mean)).astype(np.float32)
        return out

    def _crops(self, images: Sequence[NDArray[np.uint8]], matrices: list[NDArray[np.float64]]) -> Tensor:
        """(B, 3, S, S) in [0, 1]."""
        crops = np.stack([crop(image, matrix, SIZE) for image, matrix in zip(images, matrices, strict=True)])
        return torch.from_numpy(crops).to(self.device).permute(0, 3, 1, 2).float() / 255


def load(path: Path) -> Face3d:
    """A trained network, on the CPU, in float32."""
    from mfim_bench import weights

    state = dict(weights.load(path))
    network = build(empty_fit(state))
    network.load_state_dict({k: v.float() if v.is_floating_point() else v for k, v in state.items()})
    return network.eval()


def judge(device: torch.device) -> Face3dJudge:
    """The judge with the weights that ship."""
    from mfim_bench import weights

    return Face3dJudge(load(weights.path("face3d")), device)
