"""Are virtual faces faces? A real detector and a real recogniser, trained on photographs of people, must say so."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mfim_bench.faces.detect import Detector
from mfim_bench.faces.templates import crop, crop_matrix, paste
from mfim_bench.media.images import read_image
from mfim_bench.networks.dlib_recogniser import judge
from mfim_protocols.virtual_faces import dataset, record
from mfim_protocols.virtual_faces.geometry import portrait
from mfim_protocols.virtual_faces.render import render

HELD_OUT = 2_000_000  # identities of no split
PEOPLE, SHOTS = 100, 5


@pytest.mark.slow
def test_detector_finds_the_test_faces(capsys: pytest.CaptureFixture[str]) -> None:
    """Every frame and every true swap, also at the size of the smallest bundled method: rows must not fail for what
    the data are.
    """
    pairs = dataset.load(None, "test").pairs()
    detector = Detector(torch.device("cpu"))
    lost: dict[str, list[str]] = {"frame": [], "truth": [], "frame@64": [], "truth@64": []}
    probability = []
    for pair in pairs:
        assert pair.truth is not None
        frame, truth = read_image(pair.target.path), read_image(pair.truth)
        face = detector.detect([frame])[0]
        if face is None:
            lost["frame"].append(pair.id)
            continue
        matrix = crop_matrix(face.points, "ffhq", 64, image_size=(frame.shape[1], frame.shape[0]))
        shown = {
            "truth": truth,
            "frame@64": paste(frame, crop(frame, matrix, 64), matrix),
            "truth@64": paste(frame, crop(truth, matrix, 64), matrix),
        }
        probability.append(face.probability)
        for name, image in shown.items():
            found = detector.detect([image])[0]
            if found is None:
                lost[name].append(pair.id)
            elif name == "truth":
                probability.append(found.probability)
    with capsys.disabled():
        print(f"\nMTCNN over {len(pairs)} pairs: lost {lost}, mean probability {np.mean(probability):.4f}")
    assert not any(lost.values())


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
