"""``mfim-bench train judge-hopenet``: the open HopeNet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from mfim_bench.networks import files, hopenet
from mfim_protocols.judges import data, loop
from mfim_protocols.judges.data import Cropper, Faces
from mfim_protocols.judges.loop import Batch

REGRESSION = 0.01
"""Weight of the squared error of the expected degrees beside the cross-entropies; the paper tries 0.01 to 2."""


@dataclass
class PoseTask:
    """Batches and loss."""

    faces: Faces
    cropper: Cropper

    def rows(self, index: NDArray[np.int64], rng: np.random.Generator, train: bool, worn: bool = False) -> Batch:
        """Crops with yaw, pitch, roll in degrees; in training half of them mirrored, which negates yaw and roll."""
        crops, poses = [], []
        for i in map(int, index):
            crop, _ = self.cropper.cut(self.faces, i, rng, train, worn)
            pose = np.rad2deg(self.faces.face_pose[i])
            if train and rng.random() < 0.5:
                crop, pose = crop[:, ::-1], pose * np.array([-1, 1, -1], np.float32)
            crops.append(crop)
            poses.append(pose)
        return {"images": loop.images_of(crops), "pose": torch.from_numpy(np.stack(poses)).float()}

    def batch(self, rng: np.random.Generator, size: int) -> Batch:
        count = len(self.faces)
        return self.rows(rng.choice(count, min(size, count), replace=False), rng, train=True)

    def loss(self, model: nn.Module, batch: Batch, progress: float) -> Tensor:
        """Cross-entropy of each angle's bin plus squared error of the expected degrees (Ruiz et al., equation 1)."""
        with loop.autocast(batch["images"].device):
            logits = model(batch["images"])
        logits = logits.float()
        bins = ((batch["pose"] - hopenet.FIRST) / hopenet.WIDTH).floor().long().clamp(0, hopenet.BINS - 1)
        entropy = F.cross_entropy(logits.flatten(0, 1), bins.flatten())
        return entropy + REGRESSION * F.mse_loss(hopenet.degrees(logits), batch["pose"])


@torch.no_grad()
def evaluate(model: hopenet.HopeNet, task: PoseTask, seed: int = 0, limit: int = 800) -> dict[str, dict[str, float]]:
    """Mean absolute error in degrees on faces of other identities, clean and worn, beside that of always saying zero;
    the crops are to be cut at `hopenet.VIEW`.
    """
    index = np.random.default_rng([seed, 5]).permutation(len(task.faces))[:limit]
    figures = {}
    for name, worn in (("clean", False), ("degraded", True)):
        batch = task.rows(index, np.random.default_rng([seed, 6]), False, worn)
        images = batch["images"]
        found = torch.cat([hopenet.pose(model, images[k : k + 64]) for k in range(0, len(images), 64)])
        error, zero = (found - batch["pose"]).abs().mean(0), batch["pose"].abs().mean(0)
        figures[name] = {"images": float(len(index))}
        for k, angle in enumerate(("yaw", "pitch", "roll")):
            figures[name][f"{angle}_degrees"] = round(float(error[k]), 3)
            figures[name][f"{angle}_degrees_of_zero"] = round(float(zero[k]), 3)
        figures[name]["mean_degrees"] = round(float(error.mean()), 3)
    return figures


def train(shards: Sequence[Path], val: Sequence[Path], fold: str, settings: loop.Settings) -> dict[str, object]:
    """Train, evaluate on ``val``, write the file; returns the figures that the file carries."""
    faces, validation = data.load(shards, fold), data.load(val)
    cropper = Cropper("box", hopenet.SIZE, hopenet.ZOOM)
    task = PoseTask(faces, cropper)
    torch.manual_seed(settings.seed)
    model = hopenet.HopeNet()
    loop.begin(model, settings.start)
    outcome = loop.train(model, task.batch, task.loss, settings)
    figures = loop.summary(faces, fold, settings, outcome)
    files.save(outcome.network, settings.out, {"network": "hopenet", "figures": figures})
    # Figures of the file as it will be read, in half precision.
    viewed = Cropper("box", hopenet.SIZE, hopenet.VIEW)
    figures["validation"] = evaluate(hopenet.load(settings.out), PoseTask(validation, viewed))
    files.save(hopenet.load(settings.out), settings.out, {"network": "hopenet", "figures": figures})
    settings.checkpoint.unlink(missing_ok=True)
    return figures
