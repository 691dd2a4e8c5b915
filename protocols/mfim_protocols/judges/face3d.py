"""``mfim-bench train judge-face3d``: the open 3DMM judge."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from mfim_bench.networks import face3d, files
from mfim_protocols.judges import data, landmarks, loop

TIGHT = 0.65
"""Share of training crops that scatter little, as those do that the judge sought; the others are a detector's [own
choice].
"""


def train(shards: Sequence[Path], val: Sequence[Path], fold: str, settings: loop.Settings) -> dict[str, object]:
    """Train, calibrate on held-out training identities, evaluate on ``val``, write the file.

    Returns:
        The figures that the file carries.
    """
    faces = data.load(shards, fold)
    fitted, held = faces.hold_out(0.05)
    cropper = data.Cropper("box", face3d.SIZE, face3d.ZOOM, tight=TIGHT)
    seeking = data.Cropper("box", face3d.SIZE, face3d.SEARCH[0])
    task = landmarks.LandmarkTask(fitted, cropper)
    torch.manual_seed(settings.seed)
    model = face3d.build(data.head_fit(fitted), landmarks.mean_landmarks(task, settings.seed))
    loop.begin(model, settings.start)
    outcome = loop.train(model, task.batch, task.loss, settings)
    network = outcome.network.cpu().float()
    assert isinstance(network, face3d.Face3d)
    task = landmarks.LandmarkTask(held, seeking, judge=network)
    calibration = landmarks.calibrate(network, task, settings.seed)
    figures = loop.summary(fitted, fold, settings, outcome)
    figures["calibration"] = calibration
    files.save(network, settings.out, {"network": "face3d", "figures": figures})
    # Figures of the file as it will be read, in half precision.
    validation = data.load(val)
    network = face3d.load(settings.out)
    figures["validation"] = landmarks.evaluate(network, landmarks.LandmarkTask(validation, seeking, judge=network))
    files.save(face3d.load(settings.out), settings.out, {"network": "face3d", "figures": figures})
    settings.checkpoint.unlink(missing_ok=True)
    return figures
