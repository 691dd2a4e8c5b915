"""Training of a dense-landmark network with a fitted head model: the 3DMM judge, and the supervisor of another
backbone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mfim_bench.faces.templates import transform
from mfim_bench.networks.face3d import Face3d, LandmarkNet
from mfim_bench.networks.face3d_fit import Fit, HeadFit, rotation_of
from mfim_protocols.judges.data import Cropper, Faces
from mfim_protocols.judges.loop import Batch, autocast, images_of

FIT_FROM, FIT_WEIGHT = 0.3, 0.1
"""The vertex-space loss enters after this share of the run, with this weight [own choice]."""


def head_fit(faces: Faces) -> HeadFit:
    """The head model at the dense vertices, with the training faces' own spread as the prior."""
    from mfim_protocols.virtual_faces.head import HeadModel

    head = HeadModel.load()

    def tensor(values: NDArray[Any]) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32))

    fit = HeadFit(
        tensor(head.mean[head.dense]),
        tensor(head.shape_basis[:, head.dense]),
        tensor(head.expression_basis[:, head.dense]),
        tensor(faces.expression.mean(0)),
        tensor(np.cov(faces.expression.T)),
    )
    fit.shape_deviation.copy_(tensor(faces.shape.std(0)))
    return fit


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

    def rows(self, index: NDArray[np.int64], rng: np.random.Generator, train: bool, worn: bool = False) -> Batch:
        """Crops of the given faces with their truth in the crop's axes and in the network's units."""
        crops, landmarks, poses, scales = [], [], [], []
        for i in map(int, index):
            crop, matrix = self.cropper.cut(self.faces, i, rng, train, worn)
            crops.append(crop)
            landmarks.append(in_crop(matrix, self.faces.dense[i], self.cropper.size) / self.visible)
            poses.append(self.faces.pose[i] + np.array([0, 0, crop_turn(matrix)], np.float32))
            scales.append(self.cropper.size * self.visible / (2 * np.hypot(matrix[0, 0], matrix[1, 0])))
        return {
            "images": images_of(crops),
            "landmarks": torch.from_numpy(np.stack(landmarks)).float(),
            "pose": torch.from_numpy(np.stack(poses)).float(),
            "shape": torch.from_numpy(self.faces.shape[index]),
            "expression": torch.from_numpy(self.faces.expression[index]),
            "pixels": torch.tensor(scales),  # image pixels a unit of the crop
        }

    def batch(self, rng: np.random.Generator, size: int) -> Batch:
        count = len(self.faces)
        return self.rows(rng.choice(count, min(size, count), replace=False), rng, train=True)

    def loss(self, model: nn.Module, batch: Batch, progress: float) -> Tensor:
        """Gaussian negative log likelihood of the landmarks; later also the error of the head they lead to."""
        assert isinstance(model, Face3d)
        with autocast(batch["images"].device):
            landmarks, log_deviation = model.net(self.prepare(batch["images"]))
        off = (landmarks - batch["landmarks"]).square().sum(-1)
        value: Tensor = (2 * log_deviation + 0.5 * off * torch.exp(-2 * log_deviation)).mean()
        if progress >= FIT_FROM:
            value = value + FIT_WEIGHT * fit_loss(model.fit, landmarks, log_deviation.exp(), batch)
        return value


def fit_loss(fit: HeadFit, landmarks: Tensor, deviations: Tensor, batch: Batch) -> Tensor:
    """How far one Gauss-Newton step from the truth is drawn away by the landmarks' errors: mm of shape and
    expression, degrees.

    The step is the fit's own, linearised where the truth is known, so no iteration is needed; what it moves is
    weighed by
    what it moves (vertices), not by coefficient.
    """
    with torch.no_grad():
        truth = fit.camera_of(batch["landmarks"], batch["pose"], batch["shape"], batch["expression"])
    delta = fit.newton(truth, landmarks, deviations.detach().clamp_min(0.01))
    at = delta.shape[1] - fit.actions
    shape = torch.einsum("bk,kvc->bvc", delta[:, at - fit.shapes : at], fit.shape_basis)
    expression = torch.einsum("bk,kvc->bvc", delta[:, at:], fit.expression_basis)
    degrees = delta[:, :3] * (180 / np.pi)
    errors = [shape.square().sum(-1).mean(1), 2 * expression.square().sum(-1).mean(1), degrees.square().mean(1)]
    # A root, so that the few faces seen from the side do not rule.
    return torch.stack([(e + 1e-2).sqrt().mean() for e in errors]).sum()


@torch.no_grad()
def predict(
    model: Face3d, images: Tensor, prepare: Callable[[Tensor], Tensor], size: int = 64
) -> tuple[Tensor, Tensor]:
    """Landmarks and deviations of many images."""
    model.eval()
    parts = [model.net(prepare(images[k : k + size])) for k in range(0, len(images), size)]
    return torch.cat([p for p, _ in parts]), torch.cat([d for _, d in parts]).exp()


@torch.no_grad()
def solve(model: Face3d, landmarks: Tensor, deviations: Tensor, size: int = 32) -> Fit:
    """Fits of many images."""
    parts = [
        model.fit.solve(landmarks[k : k + size].double(), deviations[k : k + size].double())
        for k in range(0, len(landmarks), size)
    ]
    return Fit(*(torch.cat([getattr(p, n) for p in parts]) for n in ("rotation", "camera", "shape", "expression")))


def calibrate(model: Face3d, task: LandmarkTask, seed: int, limit: int = 800) -> dict[str, float]:
    """Set the camera's prior, the correlation of errors and their overall size, on faces the network was not trained
    on.
    """
    rng = np.random.default_rng([seed, 77])
    index = rng.permutation(len(task.faces))[:limit]
    half = len(index) // 2
    data = [task.rows(index[:half], rng, False), task.rows(index[half:], rng, False, worn=True)]
    batch = {k: torch.cat([d[k] for d in data]) for k in data[0]}
    landmarks, deviations = predict(model, batch["images"], task.prepare)
    truth = model.fit.camera_of(*(batch[k].double() for k in ("landmarks", "pose", "shape", "expression")))
    inverse = truth.camera[:, 3]
    model.fit.inverse_distance.copy_(torch.stack([inverse.mean(), inverse.std().clamp_min(1e-5)]))
    model.fit.calibrate_noise(((landmarks - batch["landmarks"]) / deviations[..., None]).flatten(1))
    # The covariance was learned from few images, and landmark errors are not quite Gaussian: one factor more, by
    # search.
    floor, gains = model.fit.noise_floor.clone(), model.fit.noise_gains.clone()
    few = slice(0, None, max(len(landmarks) // 160, 1))
    best = (float("inf"), 1.0)
    for factor in (0.35, 0.5, 0.7, 1.0, 1.4, 2.0):
        model.fit.noise_floor.copy_(floor / factor)
        model.fit.noise_gains.copy_(gains / factor)
        fit = solve(model, landmarks[few], deviations[few])
        shape, expression = vertex_errors(model.fit, fit, batch["shape"][few], batch["expression"][few])
        best = min(best, (float(shape.mean() + 2 * expression.mean()), factor))
    model.fit.noise_floor.copy_(floor / best[1])
    model.fit.noise_gains.copy_(gains / best[1])
    return {"error_factor": best[1], "images": float(len(index))}


def rms(displacement: Tensor) -> Tensor:
    """(B, K, 3) mm -> (B,) root mean square over vertices."""
    return displacement.square().sum(-1).mean(-1).sqrt()


def vertex_errors(model: HeadFit, fit: Fit, shape: Tensor, expression: Tensor) -> tuple[Tensor, Tensor]:
    """(B,) mm each: error of the neutral head, and of the expression's displacement."""
    wrong_shape = torch.einsum("bk,kvc->bvc", fit.shape.float() - shape, model.shape_basis)
    wrong_expression = torch.einsum("bk,kvc->bvc", fit.expression.float() - expression, model.expression_basis)
    return rms(wrong_shape), rms(wrong_expression)


def correlation(a: Tensor, b: Tensor) -> float:
    """Pearson, over all elements."""
    return float(torch.corrcoef(torch.stack([a.flatten(), b.flatten()]))[0, 1])


def evaluate(model: Face3d, task: LandmarkTask, seed: int = 0, limit: int = 400) -> dict[str, dict[str, float]]:
    """Figures on faces of other identities, on clean and on worn crops; see the card for their meaning."""
    index = np.random.default_rng([seed, 5]).permutation(len(task.faces))[:limit]
    figures = {}
    for name, worn in (("clean", False), ("degraded", True)):
        batch = task.rows(index, np.random.default_rng([seed, 6]), False, worn)
        landmarks, deviations = predict(model, batch["images"], task.prepare)
        fit = solve(model, landmarks, deviations)
        off = fit.rotation.float() @ rotation_of(batch["pose"]).transpose(1, 2)
        wrong = (fit.angles.float() - batch["pose"] + np.pi).remainder(2 * np.pi) - np.pi
        degrees = wrong.abs().mean(0).rad2deg()
        shape_error, expression_error = vertex_errors(model.fit, fit, batch["shape"], batch["expression"])
        shapes = torch.einsum("bk,kvc->bvc", fit.shape.float(), model.fit.shape_basis)
        true_shapes = torch.einsum("bk,kvc->bvc", batch["shape"], model.fit.shape_basis)
        moves = torch.einsum("bk,kvc->bvc", fit.expression.float(), model.fit.expression_basis)
        true_moves = torch.einsum("bk,kvc->bvc", batch["expression"], model.fit.expression_basis)
        typical = torch.einsum("k,kvc->vc", model.fit.expression_mean, model.fit.expression_basis)
        pixels = (landmarks - batch["landmarks"]).norm(dim=-1).mean(1) * batch["pixels"]
        figures[name] = {
            "images": len(index),
            "yaw_degrees": float(degrees[0]),
            "pitch_degrees": float(degrees[1]),
            "roll_degrees": float(degrees[2]),
            "rotation_degrees": float(
                ((off.diagonal(dim1=1, dim2=2).sum(1) - 1) / 2).clamp(-1, 1).acos().mean().rad2deg()
            ),
            "landmark_px": float(pixels.mean()),
            "shape_mm": float(shape_error.mean()),
            "shape_mm_of_mean_head": float(rms(true_shapes).mean()),
            "shape_correlation": correlation(shapes, true_shapes),
            "shape_auc": same_person_auc(shapes, task.faces.identity[index]),
            "expression_mm": float(expression_error.mean()),
            "expression_mm_of_zero": float(rms(true_moves).mean()),
            "expression_mm_of_mean": float(rms(true_moves - typical).mean()),
            "expression_correlation": correlation(moves - typical, true_moves - typical),
        }
    return {k: {n: round(v, 4) for n, v in f.items()} for k, f in figures.items()}


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


__all__ = ["LandmarkNet", "LandmarkTask", "calibrate", "evaluate", "head_fit", "mean_landmarks"]
