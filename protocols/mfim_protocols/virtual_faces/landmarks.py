"""Which vertices are landmarks: found once on the mean head by geometry, stored in ``head.npz``."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Ints = NDArray[np.int32]
Bytes = NDArray[np.uint8]
SKIN, EYE, EYE_CAVITY, MOUTH_CAVITY, TONGUE = range(5)
DENSE = 320


def vertex_normals(vertices: Array, triangles: Ints) -> Array:
    """(V, 3) unit normals, area-weighted."""
    a, b, c = (vertices[triangles[:, k]].T for k in range(3))
    (ux, uy, uz), (vx, vy, vz) = b - a, c - a
    out = np.empty_like(vertices)
    corners = triangles.T.reshape(-1)
    for axis, area in enumerate((uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx)):
        out[:, axis] = np.bincount(corners, np.tile(area, 3), len(vertices))
    return np.asarray(out / (np.linalg.norm(out, axis=1, keepdims=True) + 1e-12))


def of_part(count: int, triangles: Ints, part: Bytes, *which: int) -> NDArray[np.bool_]:
    """(V,) vertices that touch a triangle of the given parts."""
    mask = np.zeros(count, bool)
    mask[triangles[np.isin(part, which)]] = True
    return mask


def front_weights(mean: Array, triangles: Ints, part: Bytes) -> Array:
    """(V,) how much a vertex counts for alignment and PCA: its area, if it is skin of the front of the face."""
    normals = vertex_normals(mean, triangles)
    corners = mean[triangles]
    area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1) / 2
    weight = np.zeros(len(mean))
    for k in range(3):
        np.add.at(weight, triangles[:, k], area / 3)
    hidden = of_part(len(mean), triangles, part, EYE, EYE_CAVITY, MOUTH_CAVITY, TONGUE)
    eye_height = mean[of_part(len(mean), triangles, part, EYE), 1].mean()
    front = mean[:, 2].max() - mean[:, 2]
    face = np.clip((normals[:, 2] - 0.0) / 0.4, 0, 1) * np.clip((125 - front) / 40, 0, 1)
    face = (
        face
        * np.clip((mean[:, 1] - (eye_height - 125)) / 10, 0, 1)
        * np.clip((eye_height + 85 - mean[:, 1]) / 25, 0, 1)
    )
    weight = weight * face
    weight[hidden] = 0
    return np.asarray(weight / weight.max())


def nearest(
    points: Array, allowed: NDArray[np.bool_], wanted: Array, scale: tuple[float, float, float] = (1, 1, 1)
) -> int:
    ids = np.flatnonzero(allowed)
    return int(ids[np.argmin((((points[ids] - wanted) * np.array(scale)) ** 2).sum(1))])


def find(
    mean: Array, triangles: Ints, masks: dict[str, Bytes], expression: Array, actions: list[str]
) -> dict[str, NDArray[np.generic]]:
    """Landmark vertex ids and the few anchors that the renderer needs.

    Returns:
        ``points68`` (68,) in the iBUG 300-W order; ``points5`` (5, 4) ids whose mean is eye, eye, nose tip, mouth
        corner, mouth corner, image-left first; ``dense`` (320,); ``upper_lid`` (2, 9) and ``brow`` (2, 5) ids from the
        inner to the outer end, image-left eye first; ``eye_centre`` (2, 3) and ``eye_radius`` (2,) of the mean head;
        ``upper_jaw`` and ``lower_jaw`` ids that carry the teeth.
    """
    count = len(mean)
    part = masks["part"]
    normals = vertex_normals(mean, triangles)
    skin = of_part(count, triangles, part, SKIN)
    cavity = of_part(count, triangles, part, EYE, EYE_CAVITY, MOUTH_CAVITY, TONGUE) & ~of_part(
        count, triangles, part, SKIN
    )
    eye = of_part(count, triangles, part, EYE)
    jaw_open = -expression[actions.index("jawOpen")][:, 1]
    lips = (masks["lips"] > 90) & skin & ~cavity
    lids = (masks["eyelids"] > 90) & skin & ~cavity
    x, y, z = mean.T

    eyes, upper_lid, brow, centres, radii = [], [], [], [], []
    for side in (-1, 1):
        ball = mean[eye & (x * side > 0)]
        system = np.c_[2 * ball, np.ones(len(ball))]
        solution = np.linalg.lstsq(system, (ball**2).sum(1), rcond=None)[0]
        centres.append(solution[:3])
        radii.append(float(np.sqrt(solution[3] + (solution[:3] ** 2).sum())))
        lid = lids & (x * side > 0)
        ids = np.flatnonzero(lid)
        outer, inner = ids[np.argmax(x[ids] * side)], ids[np.argmin(x[ids] * side)]

        def line(t: float, a: np.intp = inner, b: np.intp = outer) -> Array:
            return np.asarray(mean[a] + (mean[b] - mean[a]) * t)

        def margin(
            t: float, sign: int, ids: NDArray[np.intp] = ids, inner: np.intp = inner, outer: np.intp = outer
        ) -> int:
            """The lid's edge: on its half of the band, the vertex nearest the opening that still faces the viewer."""
            at = mean[inner] + (mean[outer] - mean[inner]) * t
            half = ids[
                (y[ids] - (y[inner] + (y[outer] - y[inner]) * (x[ids] - x[inner]) / (x[outer] - x[inner]))) * sign > 0.3
            ]
            near = half[np.argsort(np.abs(x[half] - at[0]))[:8]]
            return int(near[np.argmax(z[near] - 0.35 * np.abs(x[near] - at[0]) - 0.15 * np.abs(y[near] - at[1]))])

        eyes.append((inner, outer, margin))
        upper_lid.append([margin(t, 1) for t in np.linspace(0.1, 0.95, 9)])
        front = skin & ~cavity & (normals[:, 2] > 0.1)
        arch = [
            line(t) + np.array([0, h, 8.0])
            for t, h in zip((-0.12, 0.15, 0.45, 0.8, 1.15), (17, 21, 23, 21.5, 16), strict=True)
        ]
        brow.append([nearest(mean, front, p, (1, 1, 0.2)) for p in arch])

    def lip(t: float, upper: bool, inside: bool) -> int:
        ids = np.flatnonzero(lips)
        left, right = ids[np.argmin(x[ids])], ids[np.argmax(x[ids])]
        lower = jaw_open[ids] > 0.55 * jaw_open[ids].max()
        half = ids[~lower] if upper else ids[lower]
        at = x[left] + (x[right] - x[left]) * t
        near = half[np.argsort(np.abs(x[half] - at))[:6]]
        sign = 1.0 if upper != inside else -1.0
        return int(near[np.argmax(sign * y[near] + 0.5 * z[near] - 0.6 * np.abs(x[near] - at))])

    ids = np.flatnonzero(lips)
    mouth_left, mouth_right = int(ids[np.argmin(x[ids])]), int(ids[np.argmax(x[ids])])
    nose_tip = int(np.flatnonzero(skin)[np.argmax(z[skin])])
    midline = skin & ~cavity & (np.abs(x) < 2.5) & (normals[:, 2] > 0.1)
    brow_height = np.mean([mean[b[0], 1] for b in brow]) - 8
    nose = [
        nearest(mean, midline, np.array([0, h, 0]), (1, 1, 0)) for h in np.linspace(brow_height, y[nose_tip], 4)[:3]
    ] + [nose_tip]
    lip_top = y[lip(0.5, True, False)]
    base_y = y[nose_tip] + 0.42 * (lip_top - y[nose_tip])
    front = skin & ~cavity & (normals[:, 2] > 0.05) & (masks["lips"] < 40)
    nose += [
        nearest(mean, front, np.array([dx, base_y, z[nose_tip] - 12 - 0.04 * dx**2]), (1, 1, 0.5))
        for dx in (-15, -8, 0, 8, 15)
    ]

    # The face's outline: along rays from the middle of the face, the outermost front skin above the neck.
    eye_y = float(np.mean([c[1] for c in centres]))
    chin_y = float(y[skin & (np.abs(x) < 4) & (z > z[nose_tip] - 32) & (y < lip_top - 25)].min())
    outline_ok = (
        skin
        & ~cavity
        & (masks["ears"] < 40)
        & (z > z[nose_tip] - 118)
        & (y > chin_y - 1)
        & (y < eye_y + 15)
        & (normals[:, 2] > -0.25)
    )
    centre = np.array([0.0, eye_y])
    half_width, height = 66.0, eye_y - chin_y
    jaw = []
    for angle in np.linspace(-np.pi, 0, 17):
        want = centre + np.array([np.cos(angle) * half_width, np.sin(angle) * height])
        squared = (
            np.abs(np.cos(angle)) ** 0.55 * np.sign(np.cos(angle)) * half_width
        )  # a jaw is squarer than an ellipse
        jaw.append(
            nearest(
                mean,
                outline_ok,
                np.array([0.5 * (want[0] + squared), want[1], z[nose_tip] - 70 * np.abs(np.cos(angle)) - 25]),
                (1, 1, 0.35),
            )
        )

    def eye_ring(k: int) -> list[int]:
        inner, outer, margin = eyes[k]
        top = [margin(t, 1) for t in (0.33, 0.67)]
        low = [margin(t, -1) for t in (0.33, 0.67)]
        return (
            [outer, top[1], top[0], inner, low[0], low[1]] if k == 0 else [inner, top[0], top[1], outer, low[1], low[0]]
        )

    outer_lip = (
        [lip(t, True, False) for t in (0.17, 0.35, 0.5, 0.65, 0.83)],
        [lip(t, False, False) for t in (0.83, 0.65, 0.5, 0.35, 0.17)],
    )
    inner_lip = [lip(t, True, True) for t in (0.3, 0.5, 0.7)], [lip(t, False, True) for t in (0.7, 0.5, 0.3)]
    points68 = (
        jaw + brow[0][::-1] + brow[1] + nose + eye_ring(0) + eye_ring(1)
        + [mouth_left, *outer_lip[0], mouth_right, *outer_lip[1]]
        + [mouth_left, *inner_lip[0], mouth_right, *inner_lip[1]]
    )  # fmt: skip
    five = [[e[0], e[1], e[2](0.5, 1), e[2](0.5, -1)] for e in eyes] + [
        [nose_tip] * 4,
        [mouth_left] * 4,
        [mouth_right] * 4,
    ]

    # Farthest-point sampling over the front, the 68 first.
    allowed = skin & ~cavity & (normals[:, 2] > -0.1) & (z > z[nose_tip] - 125) & (y > chin_y - 5)
    chosen = list(dict.fromkeys(points68))
    candidates = np.flatnonzero(allowed)
    distance = np.min(np.linalg.norm(mean[candidates][:, None] - mean[chosen][None], axis=2), axis=1)
    while len(chosen) < DENSE:
        pick = int(np.argmax(distance))
        chosen.append(int(candidates[pick]))
        distance = np.minimum(distance, np.linalg.norm(mean[candidates] - mean[candidates[pick]], axis=1))
    low_front = skin & ~cavity & (normals[:, 2] > 0.2) & (np.abs(x) < 18)
    return {
        "points68": np.array(points68, np.int32),
        "points5": np.array(five, np.int32),
        "dense": np.array(chosen, np.int32),
        "upper_lid": np.array(upper_lid, np.int32),
        "brow": np.array(brow, np.int32),
        "eye_centre": np.array(centres),
        "eye_radius": np.array(radii),
        "upper_jaw": np.flatnonzero(low_front & (y > lip_top) & (y < lip_top + 10)).astype(np.int32),
        "lower_jaw": np.flatnonzero(low_front & (y > chin_y) & (y < chin_y + 14)).astype(np.int32),
    }
