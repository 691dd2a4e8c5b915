"""Training of a dense-landmark network with a fitted head model: the 3DMM judge, and the supervisor of another
backbone.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mfim_bench.faces.templates import crop, transform
from mfim_bench.networks.face3d import LAST, SEARCH, Face3d
from mfim_bench.networks.face3d_fit import Face, Fit, HeadFit
from mfim_bench.networks.rotations import rotation_of
from mfim_protocols.judges import augment
from mfim_protocols.judges.augment import Image, Matrix
from mfim_protocols.judges.data import Cropper, Faces
from mfim_protocols.judges.loop import Batch, autocast, images_of

GUESS_WEIGHT, POINT_WEIGHT = 1.5, 20.0
"""Of the guess's vertex-space loss and of the landmarks' distance [own choice]."""
TYPICAL = {"shape": 15.0, "expression": 2.0, "degrees": 10.0}
"""Errors are divided by these, mm and degrees: about what always saying "the mean face" costs. Without it an identity,
which moves vertices by eight times as much, would rule over an expression.
"""


def in_crop(matrix: NDArray[np.float64], points: NDArray[Any], size: int) -> NDArray[np.float64]:
    """Points (K, 2) px of the image -> units where the crop spans [-1, 1]."""
    return (transform(points, matrix) + 0.5) * (2 / size) - 1


def crop_turn(matrix: NDArray[np.float64]) -> float:
    """Radians by which a crop turns its content counter-clockwise as seen (y down)."""
    return float(-np.arctan2(matrix[1, 0], matrix[0, 0]))


@dataclass
class LandmarkTask:
    """Batches and losses.

    Attributes:
        faces: training faces.
        cropper: how crops are cut; ``cropper.size`` is the network's input side unless ``prepare`` resizes.
        prepare: images of crops -> images of the network.
    """

    faces: Faces
    cropper: Cropper
    prepare: Callable[[Tensor], Tensor] = lambda images: images
    visible: float = 1.0
    """Side of what the network sees, as a share of the crop (a centred part of it)."""
    judge: Face3d | None = None
    """Crops of validation are those in which this judge measures; it begins to seek in the cropper's."""

    def rows(self, index: NDArray[np.int64], rng: np.random.Generator, train: bool, worn: bool = False) -> Batch:
        """Crops of the given faces with their truth in the crop's axes and in the network's units."""
        landmarks, poses, angles, scales = [], [], [], []
        cuts = [self.cropper.cut(self.faces, i, rng, train, worn) for i in map(int, index)]
        crops, matrices = [list(part) for part in zip(*cuts, strict=True)]
        if self.judge is not None and not train:
            crops, matrices = self._sought(self.judge.eval(), index, matrices, worn)
        for i, matrix in zip(map(int, index), matrices, strict=True):
            landmarks.append(in_crop(matrix, self.faces.dense[i], self.cropper.size) / self.visible)
            turn = np.array([0, 0, crop_turn(matrix)], np.float32)
            poses.append(self.faces.pose[i] + turn)
            angles.append(self.faces.face_pose[i] + turn)
            scales.append(self.cropper.size * self.visible / (2 * np.hypot(matrix[0, 0], matrix[1, 0])))
        return {
            "images": images_of(crops),
            "landmarks": torch.from_numpy(np.stack(landmarks)).float(),
            "pose": torch.from_numpy(np.stack(poses)).float(),
            "angles": torch.from_numpy(np.stack(angles)).float(),
            "shape": torch.from_numpy(self.faces.shape[index]),
            "expression": torch.from_numpy(self.faces.expression[index]),
            "pixels": torch.tensor(scales),  # image pixels a unit of the crop
        }

    def _sought(
        self, judge: Face3d, index: NDArray[np.int64], matrices: list[Matrix], worn: bool, size: int = 64
    ) -> tuple[list[Image], list[Matrix]]:
        """Crops in which the judge measures and their matrices, ``size`` faces at a time."""

        def cut(images: list[Image], matrices: list[Matrix]) -> list[Image]:
            crops = [crop(i, m, self.cropper.size) for i, m in zip(images, matrices, strict=True)]
            return [augment.worn(c) for c in crops] if worn else crops

        out: tuple[list[Image], list[Matrix]] = [], []
        for k in range(0, len(index), size):
            images = [np.asarray(self.faces.images[int(i)]) for i in index[k : k + size]]
            looks = (*SEARCH[1:], LAST)
            found = judge.seek(matrices[k : k + size], lambda m, images=images: images_of(cut(images, m)), looks)  # type: ignore[misc]
            out[0].extend(cut(images, found))
            out[1].extend(found)
        return out

    def batch(self, rng: np.random.Generator, size: int) -> Batch:
        count = len(self.faces)
        return self.rows(rng.choice(count, min(size, count), replace=False), rng, train=True)

    def loss(self, model: nn.Module, batch: Batch, progress: float) -> Tensor:
        """Distance of the landmarks, likelihood of their deviations, error of the guess.

        The likelihood does not move the landmarks: it would all but forget those that are hard to find, whose
        deviations are large (M. Seitzer et al., "On the pitfalls of heteroscedastic uncertainty estimation", 2022).
        """
        assert isinstance(model, Face3d)
        with autocast(batch["images"].device):
            landmarks, log_deviation, guess = model.net(self.prepare(batch["images"]))
        off = (landmarks - batch["landmarks"]).square().sum(-1)
        value: Tensor = (2 * log_deviation + 0.5 * off.detach() * torch.exp(-2 * log_deviation)).mean()
        value = value + POINT_WEIGHT * (off + 1e-6).sqrt().mean()
        return value + GUESS_WEIGHT * guess_loss(model.fit, guess, batch)


def guess_loss(fit: HeadFit, guess: Tensor, batch: Batch) -> Tensor:
    """Error of the guess by what it moves: vertices of the aligned face and of the expression, the aligned pose; each
    as a share of what is `TYPICAL`. A little also of the shape's coefficients, for what pose can undo.
    """
    size = len(fit.basis)
    shape, expression = guess[:, : fit.shapes] - batch["shape"], guess[:, fit.shapes : size] - batch["expression"]
    tangent, _ = fit.tangents()
    errors = {
        "shape": torch.einsum("bk,kvc->bvc", shape, tangent).square().sum(-1).mean(1),
        "expression": torch.einsum("bk,kvc->bvc", expression, fit.expression_basis).square().sum(-1).mean(1),
        "degrees": ((guess[:, size:] - batch["angles"]) * (180 / np.pi)).square().mean(1),
    }
    # A root, so that the few faces seen from the side do not rule; of vertices also the square, since the variance
    # explained is a matter of squares.
    parts = [(e + 1e-2).sqrt().mean() / TYPICAL[name] for name, e in errors.items()]
    parts += [e.mean() / TYPICAL[name] ** 2 for name, e in errors.items() if name != "degrees"]
    return torch.stack(parts).sum() + 0.02 * shape.square().mean()


@dataclass(frozen=True, slots=True)
class Seen:
    """What a network says of N images: landmarks (N, K, 2), deviations (N, K), guess (N, S + E + 3)."""

    landmarks: Tensor
    deviations: Tensor
    guess: Tensor

    def of(self, rows: slice) -> Seen:
        return Seen(self.landmarks[rows], self.deviations[rows], self.guess[rows])


@torch.no_grad()
def predict(model: Face3d, images: Tensor, prepare: Callable[[Tensor], Tensor], size: int = 64) -> Seen:
    """Run the network on many images."""
    model.eval()
    parts = [model.see(prepare(images[k : k + size])) for k in range(0, len(images), size)]
    landmarks, deviations, guess = (torch.cat(column) for column in zip(*parts, strict=True))
    return Seen(landmarks, deviations.exp(), guess)


@torch.no_grad()
def solve(model: HeadFit, seen: Seen, guessed: bool = True, size: int = 32) -> Fit:
    """Fits of many images, with the guess or the training faces' mean as the prior's mean."""
    parts = []
    for k in range(0, len(seen.landmarks), size):
        rows = seen.of(slice(k, k + size))
        guess = rows.guess.double() if guessed else None
        parts.append(model.solve(rows.landmarks.double(), rows.deviations.double(), guess))
    return Fit(*(torch.cat([getattr(p, n) for p in parts]) for n in ("rotation", "camera", "shape", "expression")))


def guessed(model: HeadFit, guess: Tensor) -> Face:
    """The face that a guess (B, S + E + 3) speaks of, without any fit."""
    size = len(model.basis)
    angles = rotation_of(guess[:, size:])
    face = model.aligned(angles, guess[:, : model.shapes], guess[:, model.shapes : size])
    return Face(face.neutral, face.expression, angles)


def true_face(model: HeadFit, batch: Batch) -> Face:
    """The aligned face of the truth."""
    return model.aligned(rotation_of(batch["pose"].double()), batch["shape"].double(), batch["expression"].double())


def calibrate(model: Face3d, task: LandmarkTask, seed: int, limit: int = 4000) -> dict[str, float]:
    """Set the camera's prior and the covariances of the errors, on faces the network was not trained on."""
    rng = np.random.default_rng([seed, 77])
    index = rng.permutation(len(task.faces))[:limit]
    half = len(index) // 2
    data = [task.rows(index[:half], rng, False), task.rows(index[half:], rng, False, worn=True)]
    batch = {k: torch.cat([d[k] for d in data]) for k in data[0]}
    seen = predict(model, batch["images"], task.prepare)
    truth = model.fit.camera_of(*(batch[k].double() for k in ("landmarks", "pose", "shape", "expression")))
    inverse = truth.camera[:, 3]
    fit = model.fit
    fit.inverse_distance.copy_(torch.stack([inverse.mean(), inverse.std().clamp_min(1e-5)]))
    fit.calibrate_noise(((seen.landmarks - batch["landmarks"]) / seen.deviations[..., None]).flatten(1))
    fit.calibrate_guess(seen.guess[:, : len(fit.basis)] - torch.cat([batch["shape"], batch["expression"]], 1))
    # Neither error is quite Gaussian, and one network made both: a factor on each, by search.
    floor, gains, covariance = fit.noise_floor.clone(), fit.noise_gains.clone(), fit.guess_covariance.clone()
    few = slice(0, None, max(len(index) // 240, 1))
    sample, true = seen.of(few), true_face(fit, {k: v[few] for k, v in batch.items()})

    def apply(landmark_factor: float, guess_factor: float) -> None:
        fit.noise_floor.copy_(floor / landmark_factor)
        fit.noise_gains.copy_(gains / landmark_factor)
        fit.guess_covariance.copy_(covariance * guess_factor**2)

    def cost(factors: tuple[float, float]) -> float:
        apply(*factors)
        found = fit.face(solve(fit, sample))
        off = rms(found.neutral - true.neutral).mean() + 2 * rms(found.expression - true.expression).mean()
        return float(off + degrees_between(found, true).mean())

    # One after the other: the landmarks' factor without much of a guess, then the guess's, then the first again.
    best = (1.0, 1.0)
    for side in (0, 1, 0):
        tried = [(f, best[1]) if side == 0 else (best[0], f) for f in (0.5, 0.7, 1.0, 1.4, 2.0, 3.0, 4.5)]
        best = min(tried, key=cost)
    apply(*best)
    # What else is learned here wants more faces than the two factors did.
    many = slice(0, None, max(len(index) // 1200, 1))
    more = {k: v[many] for k, v in batch.items()}
    sample, true = seen.of(many), true_face(fit, more)
    found = solve(fit, sample)
    fit.calibrate_shares(found, sample.guess.double(), more["shape"].double(), more["expression"].double())
    fit.calibrate_sight(fit.face(found).rotation, true.rotation)
    fit.calibrate_blend(fit.face(found).rotation, sample.guess[:, -3:], true.rotation)
    return {"landmark_factor": best[0], "guess_factor": best[1], "images": float(len(index))}


def rms(displacement: Tensor) -> Tensor:
    """(B, K, 3) mm -> (B,) root mean square over vertices."""
    return displacement.square().sum(-1).mean(-1).sqrt()


def degrees_between(found: Face, true: Face) -> Tensor:
    """(B, 3) degrees: absolute errors of yaw, pitch and roll."""
    return ((found.angles - true.angles + np.pi).remainder(2 * np.pi) - np.pi).abs().rad2deg()


def explained(found: Tensor, true: Tensor, typical: Tensor) -> float:
    """Share of the variance of ``true`` (B, K, 3) about ``typical`` (K, 3) that ``found`` explains; 0 = as good as
    always saying ``typical``.
    """
    return float(1 - (found - true).square().sum() / (true - typical).square().sum())


def correlation(a: Tensor, b: Tensor) -> float:
    """Pearson, over all elements."""
    return float(torch.corrcoef(torch.stack([a.flatten(), b.flatten()]))[0, 1])


def compare(found: Face, true: Face, identity: NDArray[np.int64]) -> dict[str, float]:
    """Figures of faces found against the true ones; `docs/judges.md` says what each means."""
    degrees = degrees_between(found, true).mean(0)
    off = found.rotation @ true.rotation.transpose(1, 2)
    whole = ((off.diagonal(dim1=1, dim2=2).sum(1) - 1) / 2).clamp(-1, 1).acos().rad2deg()
    mean, typical = true.neutral.mean(0), true.expression.mean(0)
    return {
        "yaw_degrees": float(degrees[0]),
        "pitch_degrees": float(degrees[1]),
        "roll_degrees": float(degrees[2]),
        "rotation_degrees": float(whole.mean()),
        "shape_mm": float(rms(found.neutral - true.neutral).mean()),
        "shape_mm_of_mean": float(rms(true.neutral - mean).mean()),
        "shape_explained": explained(found.neutral, true.neutral, mean),
        "shape_correlation": correlation(found.neutral - mean, true.neutral - mean),
        "shape_auc": same_person_auc(found.neutral, identity),
        "expression_mm": float(rms(found.expression - true.expression).mean()),
        "expression_mm_of_mean": float(rms(true.expression - typical).mean()),
        "expression_explained": explained(found.expression, true.expression, typical),
        "expression_correlation": correlation(found.expression - typical, true.expression - typical),
    }


def evaluate(model: Face3d, task: LandmarkTask, seed: int = 0, limit: int = 1000) -> dict[str, dict[str, float]]:
    """Figures on faces of other identities: clean and worn crops; and on the clean ones, of what else was tried.

    ``fit_alone`` has no guess in it, ``guess_alone`` no fit, ``ceiling`` fits true landmarks.
    """
    index = np.random.default_rng([seed, 5]).permutation(len(task.faces))[:limit]
    identity = task.faces.identity[index]
    figures: dict[str, dict[str, float]] = {}
    fit = model.fit
    for name, worn in (("clean", False), ("degraded", True)):
        batch = task.rows(index, np.random.default_rng([seed, 6]), False, worn)
        seen, true = predict(model, batch["images"], task.prepare), true_face(fit, batch)
        found = solve(fit, seen)
        pixels = (seen.landmarks - batch["landmarks"]).norm(dim=-1).mean(1) * batch["pixels"]
        figures[name] = {"images": len(index), "landmark_px": float(pixels.mean())}
        figures[name] |= compare(fit.face(found, seen.guess), true, identity)
        if worn:
            continue
        alone = solve(fit, seen, guessed=False)
        figures["fit_alone"] = compare(fit.face(alone), true, identity)
        figures["guess_alone"] = compare(guessed(fit, seen.guess.double()), true, identity)
        figures["ceiling"] = compare(fit.face(ceiling(fit, batch)), true, identity)
    return {k: {n: round(v, 4) for n, v in f.items()} for k, f in figures.items()}


def ceiling(fit: HeadFit, batch: Batch, deviation: float = 0.002) -> Fit:
    """Heads fitted to the true landmarks, each taken for ``deviation`` sure (0.2 px of 192)."""
    plain = copy.deepcopy(fit)  # the network's errors hang together, these have none
    plain.noise_gains.zero_()
    plain.noise_floor.fill_(1.0)
    exact = Seen(batch["landmarks"], torch.full_like(batch["landmarks"][..., 0], deviation), batch["shape"])
    return solve(plain, exact, guessed=False)


def same_person_auc(shapes: Tensor, identity: NDArray[np.int64]) -> float:
    """Chance that two images of one person lie nearer than two images of different people."""
    from scipy.stats import rankdata

    distances = torch.cdist(shapes.flatten(1), shapes.flatten(1)).numpy()
    upper = np.triu_indices(len(identity), 1)
    same = identity[upper[0]] == identity[upper[1]]
    if same.all() or not same.any():
        return float("nan")
    ranks = rankdata(-distances[upper])
    n = int(same.sum())
    return float((ranks[same].sum() - n * (n + 1) / 2) / (n * (len(same) - n)))


def mean_landmarks(task: LandmarkTask, seed: int, count: int = 256) -> Tensor:
    """(K, 2) where an untrained network starts."""
    rng = np.random.default_rng([seed, 3])
    index = rng.choice(len(task.faces), min(count, len(task.faces)), replace=False)
    return torch.from_numpy(
        np.mean(
            [
                in_crop(task.cropper.cut(task.faces, int(i), rng, True)[1], task.faces.dense[int(i)], task.cropper.size)
                for i in index
            ],
            0,
        )
        / task.visible
    ).float()
