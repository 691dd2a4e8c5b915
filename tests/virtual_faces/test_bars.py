"""Are virtual faces faces? A real detector and a real recogniser, trained on photographs of people, must say so."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mfim_bench.faces.detect import Detector
from mfim_bench.media.images import read_image
from mfim_bench.networks.dlib_recogniser import judge
from mfim_protocols.virtual_faces import dataset, record
from mfim_protocols.virtual_faces.geometry import portrait
from mfim_protocols.virtual_faces.render import render

HELD_OUT = 2_000_000  # identities of no split
PEOPLE, SHOTS = 100, 5


@pytest.mark.slow
def test_detector_finds_the_test_faces(capsys: pytest.CaptureFixture[str]) -> None:
    pairs = dataset.load(None, "test").pairs()
    paths = sorted({p.target.path for p in pairs} | {p.truth for p in pairs if p.truth})
    detector = Detector(torch.device("cpu"))
    faces = [detector.detect([read_image(path)])[0] for path in paths]
    found = [f for f in faces if f is not None]
    with capsys.disabled():
        print(
            f"\nMTCNN: {len(found)} of {len(paths)} test frames and true swaps, "
            f"mean probability {np.mean([f.probability for f in found]):.4f}"
        )
    assert len(found) >= 0.995 * len(paths)


@pytest.mark.slow
def test_recogniser_tells_people_apart(capsys: pytest.CaptureFixture[str]) -> None:
    """One gallery image and four probes of each of 100 people, all nuisances varied."""
    detector, recogniser = Detector(torch.device("cpu")), judge(torch.device("cpu"))
    embeddings = np.full((PEOPLE, SHOTS, 128), np.nan)
    for i in range(PEOPLE):
        for k in range(SHOTS):
            image = render(portrait(record.draw(HELD_OUT + i, HELD_OUT * 10 + i * SHOTS + k)), 256, 2).image
            face = detector.detect([image])[0]
            if face is not None:
                embeddings[i, k] = recogniser.features([image], [face])["embedding"][0]
    distance = np.linalg.norm(
        embeddings[:, None, :, None] - embeddings[None, :, None], axis=-1
    )  # person, person, shot, shot
    lost = int(np.isnan(embeddings[..., 0]).sum())
    # A face that was not found is a miss: its distances count as the worst.
    same = np.concatenate([distance[i, i][np.triu_indices(SHOTS, 1)] for i in range(PEOPLE)])
    different = np.concatenate([distance[i, j].ravel() for i in range(PEOPLE) for j in range(i)])
    same, different = np.nan_to_num(same, nan=9.0), different[np.isfinite(different)]
    auc = np.searchsorted(np.sort(different), same, "right")
    area = float(1 - auc.mean() / len(different))
    gallery = np.nan_to_num(distance[:, :, 1:, 0], nan=9.0)  # probes of i against everyone's first shot
    rank1 = float((gallery.argmin(1) == np.arange(PEOPLE)[:, None]).mean())
    with capsys.disabled():
        print(
            f"\ndlib: rank-1 {rank1:.3f}, AUC {area:.4f}, same {same[same < 9].mean():.3f}, "
            f"different {different.mean():.3f}, {lost} of {PEOPLE * SHOTS} not found"
        )
    assert rank1 >= 0.90
    assert area >= 0.985
    assert different.mean() >= 0.65
