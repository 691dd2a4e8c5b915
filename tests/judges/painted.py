"""Virtual faces painted with flat triangles: real geometry and true labels, in milliseconds and without the
renderer; and how trained files compare.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import torch

from mfim_bench import weights
from mfim_protocols.judges.data import Faces
from mfim_protocols.virtual_faces.head import HeadModel, rotation


def paint(identities: int, views: int, seed: int, size: int = 128) -> Faces:
    """Faces of ``identities`` people, ``views`` of each, as a folder of shards would give them."""
    head = HeadModel.load()
    rng = np.random.default_rng(seed)
    light = np.array([0.3, 0.5, 0.8])
    rows = []
    for person in range(identities):
        shape = rng.normal(0, 1.25, 80).astype(np.float32)
        skin = rng.uniform(60, 200) * np.array([1.0, 0.8, 0.7]) * rng.uniform(0.9, 1.1, 3)
        for _ in range(views):
            expression = (rng.random(52) * (rng.random(52) < 0.15)).astype(np.float32)
            pose = rng.normal(0, [0.35, 0.2, 0.15]).clip(-0.8, 0.8).astype(np.float32)
            vertices = head.vertices(shape, expression).astype(np.float64)
            turned = vertices @ rotation(*map(float, pose)).T
            distance = np.exp(rng.uniform(np.log(500), np.log(1500)))
            depth = distance / (distance - turned[:, 2])
            scale = size / rng.uniform(270, 320)
            middle = (size - 1) / 2 + rng.normal(0, 2, 2)
            flat = np.stack([middle[0] + scale * turned[:, 0] * depth, middle[1] - scale * turned[:, 1] * depth], -1)
            corners = turned[head.triangles]
            normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
            normal /= np.linalg.norm(normal, axis=1, keepdims=True) + 1e-9
            shade = 0.35 + 0.65 * np.clip(normal @ light, 0, 1)
            tint = np.where(head.part[:, None] == 1, 230.0, skin)
            tint = np.where(head.part[:, None] >= 3, skin * [0.7, 0.25, 0.25], tint)
            lips = head.lips[head.triangles].mean(1)[:, None] / 255
            tint = tint * (1 - lips * np.array([0.1, 0.5, 0.5]))
            image = np.full((size, size, 3), rng.uniform(0, 255, 3), np.uint8)
            facing = np.flatnonzero(normal[:, 2] > 0)
            order = facing[np.argsort(corners[facing, :, 2].mean(1))]
            colours = (tint * shade[:, None]).clip(0, 255)
            fixed = np.round(flat * 16).astype(np.int32)
            for t in order:
                cv2.fillConvexPoly(image, fixed[head.triangles[t]], colours[t].tolist(), shift=4)
            rows.append((image, 1000 * seed + person, shape, expression, pose, head.five(flat), flat[head.dense]))
    images, number, *columns = zip(*rows, strict=True)
    return Faces(list(images), np.array(number), *(np.stack(c).astype(np.float32) for c in columns))


def assert_same_weights(first: Path, second: Path) -> None:
    """What gradients move is equal in two files of weights: not statistics, not a fit's priors."""
    one, two = weights.load(first), weights.load(second)
    assert one.keys() == two.keys()
    learned = [k for k in one if not any(part in k for part in ("running_", "num_", "fit."))]
    assert learned
    for name in learned:
        torch.testing.assert_close(two[name], one[name], rtol=0, atol=0, msg=name)
