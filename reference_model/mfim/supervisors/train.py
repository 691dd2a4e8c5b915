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
TEMPERATURE, TOGETHER = 0.1, 4
"""Of the supervised contrastive loss; images of a person in a batch [own choice]."""
SIDES = (64, 96, 128)
"""Crop sizes seen in training; the swap's resolution is one of them or is resized anyway."""


def at_some_side(images: Tensor, rng: np.random.Generator) -> Tensor:
    """The batch at one of `SIDES`."""
    side = SIDES[int(rng.integers(len(SIDES)))]
    if side == images.shape[-1]:
        return images
    return F.interpolate(images, size=(side, side), mode="bilinear", antialias=True, align_corners=False)


def contrast(embedding: Tensor, identity: Tensor) -> Tensor:
    """P. Khosla et al., "Supervised Contrastive Learning", NeurIPS 2020, L_out: an image finds its person's other
    images among all of the batch. Unlike a loss with a centre a class, it learns from thousands of people who have
    four images each.

    Args:
        embedding: (B, D) of unit length.
        identity: (B,); everyone at least twice.
    """
    own = torch.eye(len(identity), dtype=torch.bool, device=embedding.device)
    cosines = (embedding @ embedding.T / TEMPERATURE).masked_fill(own, -torch.inf)
    positive = (identity[:, None] == identity) & ~own
    rows = cosines.log_softmax(1).masked_fill(~positive, 0.0).sum(1) / positive.sum(1)
    return -rows.mean()


@dataclass
class RecogniserTask:
    """Batches of people and the contrastive loss.

    Attributes:
        faces: who is learned.
        radius: root mean square, in [0, 1] units of the pixels, of the largest perturbation that R learns to bear; 0 =
            none. A generator that is trained against R finds faint patterns that R takes for a face, unless R has
            learned to bear them; its gradients then show what a person would change (S. Santurkar et al., "Image
            Synthesis with a Single (Robust) Classifier", NeurIPS 2019).
    """

    faces: Faces
    radius: float = 0.0
    identity: NDArray[np.int64] = field(init=False)
    images_of: list[NDArray[np.int64]] = field(init=False)

    def __post_init__(self) -> None:
        self.identity = self.faces.identity
        order = np.argsort(self.identity, kind="stable")
        self.images_of = np.split(order, np.flatnonzero(np.diff(self.identity[order])) + 1)

    def rows(self, index: NDArray[np.int64], rng: np.random.Generator, train: bool, worn: bool = False) -> Batch:
        """``ffhq`` crops, half of them mirrored in training, and who they show."""
        crops = [CROPPER.cut(self.faces, int(i), rng, train, worn)[0] for i in index]
        if train:
            crops = [crop[:, ::-1] if rng.random() < 0.5 else crop for crop in crops]
        return {"images": loop.images_of(crops), "identity": torch.from_numpy(self.identity[index])}

    def batch(self, rng: np.random.Generator, size: int) -> Batch:
        """Some people, `TOGETHER` images of each; images come twice where somebody has fewer."""
        count = min(len(self.images_of), max(2, size // TOGETHER))
        people = rng.choice(len(self.images_of), count, replace=False)
        index = np.concatenate([np.resize(rng.permutation(self.images_of[who]), TOGETHER) for who in people])
        batch = self.rows(index, rng, train=True)
        return {**batch, "images": at_some_side(batch["images"], rng)}

    def loss(self, model: nn.Module, batch: Batch, progress: float) -> Tensor:
        """See `contrast`; of images perturbed along the loss's own gradient by up to the radius."""
        images = batch["images"]
        if self.radius:
            images = images.detach().requires_grad_()
            (gradient,) = torch.autograd.grad(self._contrast(model, images, batch["identity"]), images)
            unit = gradient / (gradient.square().mean((1, 2, 3), keepdim=True).sqrt() + 1e-12)
            share = torch.rand(len(images), 1, 1, 1, device=images.device)
            images = (images + self.radius * share * unit).detach()
        return self._contrast(model, images, batch["identity"])

    @staticmethod
    def _contrast(model: nn.Module, images: Tensor, identity: Tensor) -> Tensor:
        with loop.autocast(images.device):
            embedding = model(images)
        return contrast(embedding, identity)


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
    shards: Sequence[Path], val: Sequence[Path], fold: str, settings: loop.Settings, radius: float = 0.0
) -> dict[str, object]:
    """Train R, evaluate it on ``val``, write the file; returns the figures that the file carries.

    Args:
        shards, val, fold: see `data.load`.
        settings: of the run.
        radius: see `RecogniserTask`.
    """
    faces, validation = data.load(shards, fold), data.load(val)
    torch.manual_seed(settings.seed)
    task = RecogniserTask(faces, radius)
    model = networks.Recogniser()
    loop.begin(model, settings.start)
    outcome = loop.train(model, task.batch, task.loss, settings)
    figures = summary(faces, fold, settings, outcome)
    note: dict[str, object] = {"network": "supervisor-r", "figures": figures}
    files.save(outcome.network, settings.out, note)
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
