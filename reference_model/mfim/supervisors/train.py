"""Training of the supervisors on prepared virtual faces (needs mfim-bench-protocols; using them does not)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mfim.supervisors import load, networks
from mfim_bench.networks import files
from mfim_protocols.judges import data, landmarks, loop, recogniser
from mfim_protocols.judges.data import Cropper, Faces
from mfim_protocols.judges.loop import Batch

CROPPER = Cropper("ffhq", 128, 1.0, strength=0.8, turn=0.03, scatter=0.5)
SIDES = (64, 96, 128)
"""Crop sizes seen in training; the swap's resolution is one of them or is resized anyway."""


def at_some_side(images: Tensor, rng: np.random.Generator) -> Tensor:
    """The batch at one of `SIDES`."""
    side = SIDES[int(rng.integers(len(SIDES)))]
    if side == images.shape[-1]:
        return images
    return F.interpolate(images, size=(side, side), mode="bilinear", antialias=True, align_corners=False)


@dataclass
class RecogniserTask(recogniser.RecogniserTask):
    """People at several sizes of crop, perturbed.

    Attributes:
        radius: root mean square, in [0, 1] units of the pixels, of the largest perturbation that R learns to bear; 0 =
            none. A generator that is trained against R finds faint patterns that R takes for a face, unless R has
            learned to bear them; its gradients then show what a person would change (S. Santurkar et al., "Image
            Synthesis with a Single (Robust) Classifier", NeurIPS 2019).
    """

    cropper: Cropper = CROPPER
    radius: float = 0.0

    def batch(self, rng: np.random.Generator, size: int) -> Batch:
        batch = super().batch(rng, size)
        return {**batch, "images": at_some_side(batch["images"], rng)}

    def loss(self, model: nn.Module, batch: Batch, progress: float) -> Tensor:
        """Of images perturbed along the loss's own gradient by up to the radius."""
        images = batch["images"]
        if self.radius:
            images = images.detach().requires_grad_()
            (gradient,) = torch.autograd.grad(super().loss(model, {**batch, "images": images}, progress), images)
            unit = gradient / (gradient.square().mean((1, 2, 3), keepdim=True).sqrt() + 1e-12)
            share = torch.rand(len(images), 1, 1, 1, device=images.device)
            images = (images + self.radius * share * unit).detach()
        return super().loss(model, {**batch, "images": images}, progress)


def evaluate_recogniser(model: nn.Module, faces: Faces) -> dict[str, dict[str, float]]:
    """Figures on other people, at 128 and 64 px, clean and worn; see `recogniser.evaluate`."""
    task = RecogniserTask(faces)
    kinds = (("clean", 128, False), ("clean_64px", 64, False), ("degraded", 128, True))
    return {name: recogniser.evaluate(model, task, side, worn) for name, side, worn in kinds}


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
    task = RecogniserTask(faces, radius=radius)
    model = networks.Recogniser()
    loop.begin(model, settings.start)
    outcome = loop.train(model, task.batch, task.loss, settings)
    figures = loop.summary(faces, fold, settings, outcome)
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
    figures = loop.summary(fitted, fold, settings, outcome)
    figures["calibration"] = landmarks.calibrate(network.core, face3d_task(held), settings.seed)
    note: dict[str, object] = {"network": "supervisor-face3d", "figures": figures}
    files.save(network, settings.out, note)
    again = load(settings.out)
    assert isinstance(again, networks.Face3dSupervisor)
    figures["validation"] = landmarks.evaluate(again.core, face3d_task(validation))
    files.save(again, settings.out, note)
    settings.checkpoint.unlink(missing_ok=True)
    return figures
