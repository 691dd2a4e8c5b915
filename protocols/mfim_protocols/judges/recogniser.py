"""``mfim-bench train judge-recogniser``: the open recogniser, by supervised contrast; supervisor R learns so too."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from mfim_bench.networks import files, recogniser
from mfim_protocols.judges import data, landmarks, loop
from mfim_protocols.judges.data import Cropper, Faces
from mfim_protocols.judges.loop import Batch

CROPPER = Cropper("ffhq", recogniser.SIZE, recogniser.ZOOM, turn=0.03)
TEMPERATURE, TOGETHER = 0.1, 4
"""Of the supervised contrastive loss; images of a person in a batch [own choice]."""


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
        cropper: how crops are cut.
    """

    faces: Faces
    cropper: Cropper
    identity: NDArray[np.int64] = field(init=False)
    images_of: list[NDArray[np.int64]] = field(init=False)

    def __post_init__(self) -> None:
        self.identity = self.faces.identity
        order = np.argsort(self.identity, kind="stable")
        self.images_of = np.split(order, np.flatnonzero(np.diff(self.identity[order])) + 1)

    def rows(self, index: NDArray[np.int64], rng: np.random.Generator, train: bool, worn: bool = False) -> Batch:
        """Crops, half of them mirrored in training, and who they show."""
        crops = [self.cropper.cut(self.faces, int(i), rng, train, worn)[0] for i in index]
        if train:
            crops = [crop[:, ::-1] if rng.random() < 0.5 else crop for crop in crops]
        return {"images": loop.images_of(crops), "identity": torch.from_numpy(self.identity[index])}

    def batch(self, rng: np.random.Generator, size: int) -> Batch:
        """Some people, `TOGETHER` images of each; images come twice where somebody has fewer."""
        count = min(len(self.images_of), max(2, size // TOGETHER))
        people = rng.choice(len(self.images_of), count, replace=False)
        index = np.concatenate([np.resize(rng.permutation(self.images_of[who]), TOGETHER) for who in people])
        return self.rows(index, rng, train=True)

    def loss(self, model: nn.Module, batch: Batch, progress: float) -> Tensor:
        """See `contrast`."""
        with loop.autocast(batch["images"].device):
            embedding = model(batch["images"])
        return contrast(embedding, batch["identity"])


def told_apart(embedding: Tensor, identity: NDArray[np.int64]) -> dict[str, float]:
    """How well embeddings (N, D) tell N images of known people apart: chance that two images of one person lie nearer
    than two of different people (AUC), share of images whose nearest other one is the same person's (of images that
    have another one), mean distances.
    """
    distances = torch.cdist(embedding.double(), embedding.double()).numpy()
    same = identity[:, None] == identity
    upper = np.triu(np.ones_like(same), 1)
    several = same.sum(1) > 1
    nearest = identity[(distances + np.where(np.eye(len(same)), np.inf, 0)).argmin(1)]
    return {
        "auc": landmarks.same_person_auc(embedding[:, :, None], identity),
        "rank1": float((nearest == identity)[several].mean()),
        "l2_same": float(distances[same & upper].mean()),
        "l2_different": float(distances[~same & upper].mean()),
    }


@torch.no_grad()
def evaluate(
    model: nn.Module, task: RecogniserTask, side: int, worn: bool, seed: int = 0, limit: int = 800
) -> dict[str, float]:
    """`told_apart` of other people, whose crops are resized to ``side`` px."""
    index = np.sort(np.random.default_rng([seed, 5]).permutation(len(task.faces))[:limit])
    who = task.identity[index]
    images = task.rows(index, np.random.default_rng([seed, 6]), False, worn)["images"]
    if side != images.shape[-1]:
        images = F.interpolate(images, size=(side, side), mode="bilinear", antialias=True, align_corners=False)
    embedding = torch.cat([model(images[k : k + 64]) for k in range(0, len(images), 64)])
    figures = {"images": len(who), "identities": len(np.unique(who)), **told_apart(embedding, who)}
    return {name: round(float(value), 4) for name, value in figures.items()}


def train(shards: Sequence[Path], val: Sequence[Path], fold: str, settings: loop.Settings) -> dict[str, object]:
    """Train, evaluate on ``val``, write the file; returns the figures that the file carries."""
    faces, validation = data.load(shards, fold), data.load(val)
    task = RecogniserTask(faces, CROPPER)
    torch.manual_seed(settings.seed)
    model = recogniser.Recogniser()
    loop.begin(model, settings.start)
    outcome = loop.train(model, task.batch, task.loss, settings)
    figures = loop.summary(faces, fold, settings, outcome)
    note: dict[str, object] = {"network": "recogniser", "figures": figures}
    files.save(outcome.network, settings.out, note)
    # Figures of the file as it will be read, in half precision.
    network, others = recogniser.load(settings.out), RecogniserTask(validation, CROPPER)
    figures["validation"] = {
        name: evaluate(network, others, recogniser.SIZE, worn) for name, worn in (("clean", False), ("degraded", True))
    }
    files.save(network, settings.out, note)
    settings.checkpoint.unlink(missing_ok=True)
    return figures
