"""Do judge and supervisor err alike? Errors of both on the same held-out faces, and how they correlate.

A method trained against a supervisor can please a judge that makes the same mistakes; this measures how far that goes.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from mfim.supervisors import load, networks
from mfim_bench.errors import UsageError
from mfim_bench.faces.templates import crop, crop_matrix
from mfim_protocols.judges import heldout, landmarks, measure

SIDE = 128
"""Pixels of the ``ffhq`` crops that the supervisor sees."""
Array = NDArray[np.float64]


def correlate(supervisor: Path, data: Path | None = None, workers: int = 2) -> dict[str, dict[str, float]]:
    """Errors of the open judges and of a 3DMM supervisor, and their correlation.

    Returns:
        For shape and expression (mm, RMS over vertices) and pose (degrees, mean of the angles) of `face3d`, and for the
        pose of `hopenet` (``pose-hn``): ``judge`` and ``supervisor``, the mean errors; ``errors``, Pearson's
        correlation of the errors themselves, over vertices or angles and images, the mean error over images taken out;
        ``sizes``, that of their sizes an image.

    Raises:
        UsageError: the file is no 3DMM supervisor.
    """
    network = load(supervisor)
    if not isinstance(network, networks.Face3dSupervisor):
        raise UsageError(f"{supervisor} is not a 3DMM supervisor")
    truth, faces = heldout.held_out(data, workers).seen()
    images = [truth.images[k] for k in range(len(truth))]
    true = measure.true_faces(truth)
    angles = true.angles.numpy()
    judged = measure.open_judge("face3d", None).features(images, faces)
    neutral, moved = (v.flatten(1).numpy() for v in (true.neutral, true.expression))
    ours = {
        "shape": judged["shape_vertices"] - neutral,
        "expression": judged["expression_vertices"] - moved,
        "pose": wrapped(judged["pose"] - angles),
        "pose-hn": wrapped(np.deg2rad(measure.open_judge("hopenet", None).features(images, faces)["pose"]) - angles),
    }
    crops, turns = [], []
    for image, face in zip(images, faces, strict=True):
        height, width = image.shape[:2]
        matrix = crop_matrix(face.points, "ffhq", SIDE, image_size=(width, height))
        crops.append(crop(image, matrix, SIDE))
        turns.append([0.0, 0.0, landmarks.crop_turn(matrix)])
    tensor = torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2).float() / 255
    parts = [network(tensor[k : k + 32]) for k in range(0, len(tensor), 32)]
    seen = {name: torch.cat([p[name] for p in parts]).double().numpy() for name in ("shape", "expression", "pose")}
    root = (neutral.shape[1] / 3) ** 0.5
    theirs = {
        "shape": seen["shape"] * root - neutral,
        "expression": seen["expression"] * root - moved,
        "pose": wrapped(seen["pose"] - np.array(turns) - angles),
    }
    theirs["pose-hn"] = theirs["pose"]
    return {name: compared(ours[name], theirs[name], name) for name in ours}


def wrapped(angles: Array) -> Array:
    """Radians brought to within half a turn."""
    return np.asarray((angles + np.pi) % (2 * np.pi) - np.pi)


def compared(ours: Array, theirs: Array, name: str) -> dict[str, float]:
    """Mean sizes of errors (N, D) of one kind, and their correlations."""
    if name.startswith("pose"):
        sizes = [np.rad2deg(np.abs(e)).mean(1) for e in (ours, theirs)]
    else:
        sizes = [np.sqrt((e**2).sum(1) / (e.shape[1] / 3)) for e in (ours, theirs)]
    centred = [(e - e.mean(0)).ravel() for e in (ours, theirs)]
    return {
        "judge": float(sizes[0].mean()),
        "supervisor": float(sizes[1].mean()),
        "errors": float(np.corrcoef(*centred)[0, 1]),
        "sizes": float(np.corrcoef(*sizes)[0, 1]),
    }
