"""Training of the supervisors on prepared virtual faces (needs mfim-bench-protocols; using them does not)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from mfim.supervisors import load, networks
from mfim_bench.networks import files
from mfim_protocols.judges import data, landmarks, loop
from mfim_protocols.judges.data import Cropper, Faces
from mfim_protocols.judges.loop import Batch

CROPPER = Cropper("ffhq", 128, 1.0, strength=0.8, turn=0.03, scatter=0.5)
MARGIN, SCALE = 0.35, 24.0
"""Of the CosFace loss [own choice]."""
SIDES = (64, 96, 128)
"""Crop sizes seen in training; the swap's resolution is one of them or is resized anyway."""


def at_some_side(images: Tensor, rng: np.random.Generator) -> Tensor:
    """The batch at one of `SIDES`."""
    side = SIDES[int(rng.integers(len(SIDES)))]
    if side == images.shape[-1]:
        return images
    return F.interpolate(images, size=(side, side), mode="bilinear", antialias=True, align_corners=False)


class Margin(nn.Module):
    """R and the class centres of H. Wang et al., "CosFace", CVPR 2018: the true class must win by `MARGIN`."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.network = networks.Recogniser()
        self.centres = nn.Parameter(torch.randn(classes, networks.EMBEDDING) * 0.05)

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, S, S) -> (B, classes) cosines."""
        embedding: Tensor = self.network(images)
        return embedding @ F.normalize(self.centres.float(), dim=1).T


@dataclass
class RecogniserTask:
    """Batches of people and the margin loss."""

    faces: Faces
    identity: NDArray[np.int64] = field(init=False)

    def __post_init__(self) -> None:
        self.identity = self.faces.identity

    def rows(self, index: NDArray[np.int64], rng: np.random.Generator, train: bool, worn: bool = False) -> Batch:
        """``ffhq`` crops, half of them mirrored in training, and who they show."""
        crops = [CROPPER.cut(self.faces, int(i), rng, train, worn)[0] for i in index]
        if train:
            crops = [crop[:, ::-1] if rng.random() < 0.5 else crop for crop in crops]
        return {"images": loop.images_of(crops), "identity": torch.from_numpy(self.identity[index])}

    def batch(self, rng: np.random.Generator, size: int) -> Batch:
        count = len(self.faces)
        batch = self.rows(rng.choice(count, min(size, count), replace=False), rng, train=True)
        return {**batch, "images": at_some_side(batch["images"], rng)}

    def loss(self, model: nn.Module, batch: Batch, progress: float) -> Tensor:
        """CosFace; the margin grows over the first third, so that training starts as plain classification."""
        with loop.autocast(batch["images"].device):
            cosines = model(batch["images"])
        margin = MARGIN * min(1.0, 3 * progress)
        true = F.one_hot(batch["identity"], cosines.shape[1])
        return F.cross_entropy(SCALE * (cosines.float() - margin * true), batch["identity"], label_smoothing=0.05)


@torch.no_grad()
def evaluate_recogniser(model: nn.Module, faces: Faces, seed: int = 0, limit: int = 800) -> dict[str, dict[str, float]]:
    """Verification AUC and rank-1 on other people, at 128 and 64 px, clean and worn."""
    task = RecogniserTask(faces)
    index = np.sort(np.random.default_rng([seed, 5]).permutation(len(faces))[:limit])
    who = task.identity[index]
    figures = {}
    for name, worn, side in (("clean", False, 128), ("clean_64px", False, 64), ("degraded", True, 128)):
        images = task.rows(index, np.random.default_rng([seed, 6]), False, worn)["images"]
        images = F.interpolate(images, size=(side, side), mode="bilinear", antialias=True, align_corners=False)
        embedding = torch.cat([model(images[k : k + 64]) for k in range(0, len(images), 64)])
        cosines = embedding @ embedding.T
        upper = np.triu_indices(len(who), 1)
        same = who[upper[0]] == who[upper[1]]
        pairs = cosines.numpy()[upper]
        cosines.fill_diagonal_(-2)
        nearest = who[cosines.argmax(1).numpy()]
        figures[name] = {
            "images": float(len(who)),
            "identities": float(len(np.unique(who))),
            "auc": round(landmarks.same_person_auc(embedding[:, :, None], who), 4),
            "rank1": round(float((nearest == who).mean()), 4),
            "cosine_same": round(float(pairs[same].mean()), 4),
            "cosine_different": round(float(pairs[~same].mean()), 4),
        }
    return figures


def summary(faces: Faces, fold: str, settings: loop.Settings, outcome: loop.Outcome) -> dict[str, object]:
    """What every file says about its run."""
    return {
        "trained_on": {"images": len(faces), "identities": faces.identities, "fold": fold, "seed": settings.seed},
        "run": {"minutes": round(outcome.seconds / 60, 2), "steps": outcome.steps, "batch": settings.batch},
        "loss": {"first": round(outcome.first_loss, 4), "last": round(outcome.last_loss, 4)},
    }


def train_recogniser(
    shards: Sequence[Path], val: Sequence[Path], fold: str, settings: loop.Settings
) -> dict[str, object]:
    """Train R, evaluate it on ``val``, write the file; returns the figures that the file carries."""
    faces, validation = data.load(shards, fold), data.load(val)
    torch.manual_seed(settings.seed)
    task = RecogniserTask(faces)
    model = Margin(faces.identities)
    loop.begin(model.network, settings.start)
    outcome = loop.train(model, task.batch, task.loss, settings)
    assert isinstance(outcome.network, Margin)
    figures = summary(faces, fold, settings, outcome)
    note: dict[str, object] = {"network": "supervisor-r", "figures": figures}
    files.save(outcome.network.network, settings.out, note)
    network = load(settings.out)  # figures of the file as it will be read, in half precision
    figures["validation"] = evaluate_recogniser(network, validation)
    files.save(network, settings.out, note)
    settings.checkpoint.unlink(missing_ok=True)
    return figures


@dataclass
class Face3dTask(landmarks.LandmarkTask):
    """The judges' landmark task on ``ffhq`` crops of several sizes."""

    def batch(self, rng: np.random.Generator, size: int) -> Batch:
        batch = super().batch(rng, size)
        return {**batch, "images": at_some_side(batch["images"], rng)}


def face3d_task(faces: Faces) -> Face3dTask:
    part = networks.PART["supervisor-face3d"]
    return Face3dTask(faces, CROPPER, lambda images: networks.centre_part(images, part), networks.seen(part))


def train_face3d(shards: Sequence[Path], val: Sequence[Path], fold: str, settings: loop.Settings) -> dict[str, object]:
    """Train the 3DMM supervisor, calibrate it on held-out people, evaluate it on ``val``, write the file."""
    faces, validation = data.load(shards, fold), data.load(val)
    fitted, held = faces.hold_out(0.05)
    task = face3d_task(fitted)
    torch.manual_seed(settings.seed)
    model = networks.Face3dSupervisor(data.head_fit(fitted), landmarks.mean_landmarks(task, settings.seed))
    loop.begin(model, settings.start)

    def loss(trained: nn.Module, batch: Batch, progress: float) -> Tensor:
        assert isinstance(trained, networks.Face3dSupervisor)
        return task.loss(trained.core, batch, progress)

    outcome = loop.train(model, task.batch, loss, settings)
    network = outcome.network.cpu().float()
    assert isinstance(network, networks.Face3dSupervisor)
    figures = summary(fitted, fold, settings, outcome)
    figures["calibration"] = landmarks.calibrate(network.core, face3d_task(held), settings.seed)
    note: dict[str, object] = {"network": "supervisor-face3d", "figures": figures}
    files.save(network, settings.out, note)
    again = load(settings.out)
    assert isinstance(again, networks.Face3dSupervisor)
    figures["validation"] = landmarks.evaluate(again.core, face3d_task(validation))
    files.save(again, settings.out, note)
    settings.checkpoint.unlink(missing_ok=True)
    return figures
