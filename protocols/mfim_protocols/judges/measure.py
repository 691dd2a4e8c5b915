"""A judge measured from nothing: errors on held-out faces, how they grow with yaw, low resolution and blur, what the
circumstances alone do to a distance, and what an image costs. `docs/judges.md` says what each figure means.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from mfim_bench.errors import UsageError
from mfim_bench.networks import face3d, hopenet, recogniser
from mfim_bench.networks.face3d_fit import Face as TrueFace
from mfim_bench.networks.rotations import rotation_of
from mfim_protocols.judges import data, heldout, landmarks
from mfim_protocols.judges.recogniser import told_apart

if TYPE_CHECKING:
    from mfim_bench.faces.detect import Face
    from mfim_bench.measure import Features, Judge

Figures = dict[str, dict[str, float]]
SIDES, SIGMAS = (64, 96, 128, 192, 256), (1.0, 2.0, 4.0)
"""Pixels of a frame's side; deviation of a Gaussian blur in pixels of a 256 px frame."""
YAWS = (0, 15, 30, 45, 60)
BAR_YAW = 45.0
ANGLES = ("yaw", "pitch", "roll")
NETWORKS: dict[str, tuple[Callable[[torch.device], Judge], Callable[[Path], Any], Callable[..., Judge]]] = {
    "face3d": (face3d.judge, face3d.load, face3d.Face3dJudge),
    "hopenet": (hopenet.judge, hopenet.load, hopenet.HopeNetJudge),
    "recogniser": (recogniser.judge, recogniser.load, recogniser.RecogniserJudge),
}


def open_judge(name: str, weights: Path | None) -> Judge:
    """The judge with the weights that ship, or with those of a file.

    Raises:
        UsageError: there is no such judge or file, or the file holds another network.
    """
    if name not in NETWORKS:
        raise UsageError(f"no open judge {name!r}; choose from {', '.join(NETWORKS)}")
    shipped, load, judge = NETWORKS[name]
    if weights is None:
        return shipped(torch.device("cpu"))
    if not weights.is_file():
        raise UsageError(f"no file {weights}")
    try:
        network = load(weights)
    except (KeyError, RuntimeError) as error:  # a missing tensor, by name or by load_state_dict
        reason = " ".join(str(error).split())
        raise UsageError(f"{weights} holds no network of {name} as it is now: {reason[:200]}") from error
    return judge(network, torch.device("cpu"))


def measure(name: str, judge: Judge, folder: Path | None, workers: int = 2) -> Figures:
    """All figures of a judge."""
    held = heldout.held_out(folder, workers)
    return {
        **errors(judge, held),
        **once(judge, held),
        "protocol": protocol_errors(judge, heldout.floor_pairs(folder)),
        "cost": cost(judge, held),
    }


def errors(judge: Judge, held: heldout.Held) -> Figures:
    """Figures by yaw, resolution and blur; ``all`` and ``within_45`` (degrees of yaw) are of the frames as they are."""
    truth, faces = held.seen()
    images = [truth.images[k] for k in range(len(truth))]
    true = true_faces(truth)
    identity = truth.identity
    yaw = np.abs(np.rad2deg(true.angles[:, 0].numpy()))
    near = yaw <= BAR_YAW

    def figures(found: Features, rows: NDArray[np.bool_]) -> dict[str, float]:
        some = {k: v[rows] for k, v in found.items()}
        return of_features(some, pick(true, rows), identity[rows])

    def judged(pictures: Sequence[NDArray[np.uint8]], where: Sequence[Face]) -> Features:
        return judge.features(pictures, where)

    plain = judged(images, faces)
    out: Figures = {
        "all": {"not_found": float(len(held.found) - len(faces)), **figures(plain, yaw >= 0)},
        "within_45": figures(plain, near),
        "bare": figures(plain, near & heldout.bare(held.truth)[[face is not None for face in held.found]]),
    }
    for low, high in pairwise(YAWS):
        out[f"yaw_{low}_{high}"] = figures(plain, (yaw >= low) & (yaw < high))
    for side in SIDES[:-1]:
        small = [cv2.resize(i, (side, side), interpolation=cv2.INTER_AREA) for i in images]
        moved = [heldout.scaled(f, side / heldout.SIZE) for f in faces]
        out[f"side_{side}"] = figures(judged([np.asarray(i, np.uint8) for i in small], moved), near)
    for sigma in SIGMAS:
        soft = [np.asarray(cv2.GaussianBlur(i, (0, 0), sigma), np.uint8) for i in images]
        out[f"blur_{sigma:g}"] = figures(judged(soft, faces), near)
    return out


def once(judge: Judge, held: heldout.Held) -> Figures:
    """Figures within ±45° of yaw of a judge that seeks the face itself, had it measured in the detector's crop."""
    if not isinstance(judge, face3d.Face3dJudge):
        return {}
    truth, faces = held.seen()
    true = true_faces(truth)
    near = np.abs(np.rad2deg(true.angles[:, 0].numpy())) <= BAR_YAW
    rows = np.flatnonzero(near)
    single = face3d.Face3dJudge(judge.network, judge.device, search=())
    found = single.features([truth.images[int(k)] for k in rows], [faces[k] for k in rows])
    return {"one_look": of_features(found, pick(true, near), truth.identity[near])}


def protocol_errors(judge: Judge, held: heldout.Held) -> dict[str, float]:
    """Figures on frames of the protocol's kind."""
    truth, faces = held.seen()
    found = judge.features([truth.images[k] for k in range(len(truth))], faces)
    return of_features(found, true_faces(truth), truth.identity)


def true_faces(truth: data.Faces) -> TrueFace:
    """Aligned faces of the truth, float64."""
    fit = data.head_fit()
    parts = []
    for k in range(0, len(truth), 500):
        shape, expression, pose = (
            torch.from_numpy(column[k : k + 500]).double() for column in (truth.shape, truth.expression, truth.pose)
        )
        parts.append(fit.aligned(rotation_of(pose), shape, expression))
    return TrueFace(*(torch.cat([getattr(p, n) for p in parts]) for n in ("neutral", "expression", "rotation")))


def pick(face: TrueFace, rows: NDArray[np.bool_]) -> TrueFace:
    """Some rows."""
    index = torch.from_numpy(np.flatnonzero(rows))
    return TrueFace(face.neutral[index], face.expression[index], face.rotation[index])


def of_features(found: Features, true: TrueFace, identity: NDArray[np.int64]) -> dict[str, float]:
    """Figures of what a judge returned: of embeddings, of angles alone (degrees), or of all that `face3d` sees."""
    count = {"images": float(len(identity))}
    if "embedding" in found:
        return count | told_apart(torch.from_numpy(found["embedding"]), identity)
    if "shape_vertices" not in found:
        off = (found["pose"] - np.rad2deg(true.angles.numpy()) + 180) % 360 - 180
        degrees = np.abs(off).mean(0)
        bias = off.mean(0)
        return (
            count
            | {f"{n}_degrees": float(d) for n, d in zip(ANGLES, degrees, strict=True)}
            | {f"{n}_bias": float(b) for n, b in zip(ANGLES, bias, strict=True)}
        )
    shape, expression = (
        torch.from_numpy(found[f"{n}_vertices"]).double().reshape(len(identity), -1, 3) for n in ("shape", "expression")
    )
    rotation = rotation_of(torch.from_numpy(found["pose"]).double())
    return count | landmarks.compare(TrueFace(shape, expression, rotation), true, identity)


def ceiling(folder: Path | None) -> dict[str, float]:
    """What the fit makes of true landmarks, each taken for 0.2 px of 192 sure: the best such a network could do."""
    held = heldout.held_out(folder)
    task = landmarks.LandmarkTask(held.truth, data.Cropper("box", face3d.SIZE, face3d.ZOOM))
    batch = task.rows(np.arange(len(held.truth)), np.random.default_rng(0), False)
    batch.pop("images")
    fit = data.head_fit(held.truth)
    truth = fit.camera_of(*(batch[k].double() for k in ("landmarks", "pose", "shape", "expression")))
    inverse = truth.camera[:, 3]
    fit.inverse_distance.copy_(torch.stack([inverse.mean(), inverse.std()]))
    found, true = landmarks.ceiling(fit, batch), landmarks.true_face(fit, batch)
    fit.calibrate_sight(fit.face(found).rotation, true.rotation)
    return landmarks.compare(fit.face(found), true, held.truth.identity)


def floors(folder: Path | None) -> Figures:
    """Of every measure of pairs with a judge whose weights are here: its mean distance between one person's two
    photographs that differ in light, background, hair, clothing and camera only (the floor), between random pairs of
    them, and the ratio.
    """
    from mfim_bench import weights
    from mfim_bench.plugins import load_judge, registry, resolve

    catalogue = registry().weights
    held = heldout.floor_pairs(folder)
    images, found = held.truth.images, held.found
    pairs = [k for k in range(0, len(images), 2) if found[k] is not None and found[k + 1] is not None]
    rows = [k + side for k in pairs for side in (0, 1)]
    frames = [images[k] for k in rows]
    faces = [face for face in (found[k] for k in rows) if face is not None]
    other = np.roll(np.arange(len(pairs)), 1)  # nobody is compared with themselves
    out: Figures = {}
    cache: dict[str, Features] = {}
    for spec in registry().measures.values():
        if spec.judge is None or spec.over != "pair" or spec.compares == "local":
            continue  # a local source is compared as the source is
        if any(weights.problem(catalogue.named(name)) for name in spec.judge.weights):
            continue  # a network that others publish and that is not here
        if spec.judge.name not in cache:
            cache[spec.judge.name] = load_judge(spec.judge, torch.device("cpu")).features(frames, faces)
        features, distance = cache[spec.judge.name], resolve(spec.distance)
        first, second = ({k: v[side::2] for k, v in features.items()} for side in (0, 1))
        floor = distance(first, second)
        random = distance(first, {k: v[other] for k, v in second.items()})
        out[spec.name] = {
            "pairs": float(len(pairs)),
            "floor": float(floor.mean()),
            "random": float(random.mean()),
            "ratio": float(random.mean() / floor.mean()),
        }
    return out


def cost(judge: Judge, held: heldout.Held) -> dict[str, float]:
    """Milliseconds an image, crops included, alone and in a batch of 32, on one CPU thread; median of seven calls."""
    rows = [k for k, face in enumerate(held.found) if face is not None][:32]
    images, faces = [held.truth.images[k] for k in rows], [f for f in (held.found[k] for k in rows) if f is not None]
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    out = {}
    try:
        for count in (1, 32):
            took = []
            for _ in range(8):
                begun = time.perf_counter()
                judge.features(images[:count], faces[:count])
                took.append(time.perf_counter() - begun)
            out[f"ms_at_{count}"] = float(np.median(took[1:]) * 1000 / min(count, len(images)))
    finally:
        torch.set_num_threads(threads)
    return out


def rounded(figures: Figures) -> Figures:
    """Four digits after the point, as cards hold them."""
    return {name: {k: round(float(v), 4) for k, v in row.items()} for name, row in figures.items()}


def differences(ours: Figures, card: Figures, relative: float = 0.05, absolute: float = 0.02) -> list[str]:
    """One line for each figure that differs from the card's by more than the tolerances; costs are not compared."""
    out = []
    for name, row in card.items():
        if name == "cost":
            continue
        for key, value in row.items():
            now = ours.get(name, {}).get(key)
            if now is None or abs(now - value) > absolute + relative * abs(value):
                out.append(f"{name}.{key}: measured {now}, the card says {value}")
    return out
