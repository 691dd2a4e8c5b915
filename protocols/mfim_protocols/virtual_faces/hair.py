"""Hair as a shell over the skull: columns run from the crown along the scalp to a hairline, and may hang beyond it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, map_coordinates

from mfim_protocols.virtual_faces.head import HeadModel
from mfim_protocols.virtual_faces.record import Scene

Array = NDArray[np.float32]
Ints = NDArray[np.int32]
CENTRE = np.array([0.0, 45.0, -75.0])
COLUMNS, ROWS, GRID = 128, 40, (97, 73)
# Where hair ends on the head, as the angle from straight up, by the angle around the head (0 = forehead, 180 = nape).
HAIRLINE = np.array(
    [
        [0, 60],
        [25, 62],
        [42, 67],
        [55, 82],
        [66, 101],
        [76, 112],
        [84, 100],
        [108, 98],
        [125, 122],
        [150, 138],
        [180, 143],
    ],
    float,
)


@dataclass(frozen=True)
class Style:
    """In mm. ``hang``: free length below the hairline from ``hang_from`` degrees backwards, at length 0 and 1."""

    top: float = 8.0
    side: float = 6.0
    hang: tuple[float, float] = (0.0, 0.0)
    hang_from: float = 180.0
    hairline: tuple[float, float] = (0.0, 0.0)  # shift in degrees at the forehead, and at the temples
    lumps: float = 0.12
    curly: bool = False
    ramp: float = 0.12  # share of a column over which the shell rises from the skin at the hairline


STYLES = {
    "buzz": Style(top=2.2, side=2.0, lumps=0.02, ramp=0.05),
    "short": Style(top=14, side=8),
    "fade": Style(top=16, side=1.5, lumps=0.15),
    "quiff": Style(top=30, side=5, lumps=0.15, ramp=0.06),
    "fringe": Style(top=14, side=10, hairline=(14, 5), ramp=0.01),
    "afro": Style(top=42, side=36, lumps=0.22, curly=True, ramp=0.18),
    "bob": Style(top=16, side=17, hang=(70, 110), hang_from=58, ramp=0.1),
    "long": Style(top=15, side=17, hang=(150, 230), hang_from=60, ramp=0.1),
    "bun": Style(top=6, side=5, ramp=0.1),
    "receding": Style(top=7, side=7, hairline=(-24, -18)),
}


@dataclass(frozen=True)
class Shell:
    """A mesh: ``uv`` = (turns around, 0 at the crown .. 1 at the tip), ``edge`` = 0 at the tip's edge .. 1 inside."""

    vertices: Array
    triangles: Ints
    uv: Array
    edge: Array
    tangents: Array


@cache
def _scalp_grid() -> tuple[Ints, Array]:
    """Rays from the middle of the mean head: per (angle around, angle from up), the vertices hit and their weights."""
    head = HeadModel.load()
    keep = (head.part == 0) & (head.ears[head.triangles].max(1) < 30)
    triangles = head.triangles[keep]
    a, b, c = (head.mean[triangles[:, k]].astype(float) for k in range(3))
    around, down = np.meshgrid(np.linspace(0, 2 * np.pi, GRID[0]), np.linspace(0, np.pi * 0.86, GRID[1]), indexing="ij")
    rays = np.stack([np.sin(down) * np.sin(around), np.cos(down), np.sin(down) * np.cos(around)], -1).reshape(-1, 3)
    e1, e2 = b - a, c - a
    ids = np.zeros((len(rays), 3), np.int32)
    weights = np.zeros((len(rays), 3), np.float32)
    for i, d in enumerate(rays):  # Möller–Trumbore against all triangles; the outermost hit
        p = np.cross(d, e2)
        det = (e1 * p).sum(1)
        inverse = 1 / np.where(np.abs(det) < 1e-9, 1e-9, det)
        t = CENTRE - a
        u = (t * p).sum(1) * inverse
        q = np.cross(t, e1)
        v = (q @ d) * inverse
        distance = (e2 * q).sum(1) * inverse
        good = (u >= -1e-4) & (v >= -1e-4) & (u + v <= 1 + 1e-4) & (distance > 0)
        k = int(np.argmax(np.where(good, distance, -1))) if good.any() else -1
        if k < 0:  # below the neck's cut: repeat the row above
            ids[i], weights[i] = ids[i - 1], weights[i - 1]
        else:
            ids[i], weights[i] = triangles[k], (1 - u[k] - v[k], u[k], v[k])
    return ids, weights


def angles(points: NDArray[np.floating]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(…, 3) mm -> degrees around the head (0 = front, ±180 = back) and down from the crown."""
    d = points - CENTRE
    around = np.degrees(np.arctan2(d[..., 0], d[..., 2]))
    down = np.degrees(np.arccos(np.clip(d[..., 1] / (np.linalg.norm(d, axis=-1) + 1e-9), -1, 1)))
    return around, down


def hairline(around: NDArray[np.floating], style: Style) -> NDArray[np.float64]:
    """Degrees from straight up at which hair ends."""
    a = np.abs((np.asarray(around, float) + 180) % 360 - 180)
    front, temple = style.hairline
    return np.asarray(
        np.interp(a, HAIRLINE[:, 0], HAIRLINE[:, 1])
        + front * np.clip((48 - a) / 20, 0, 1)
        + temple * np.exp(-(((a - 48) / 14) ** 2))
    )


def coverage(scene: Scene) -> Array:
    """(V,) 0..1: how much of the skin at each vertex of the head lies under hair."""
    if scene.hair_style == "bald":
        return np.zeros(len(HeadModel.load().mean), np.float32)
    around, down = angles(HeadModel.load().mean)
    limit = hairline(around, STYLES[scene.hair_style])
    under = np.clip((limit - 1.5 - down) / 5 + 0.5, 0, 1)
    return np.asarray(under * (HeadModel.load().ears < 60), np.float32)


def build(scene: Scene, head: Array) -> Shell | None:
    """The shell for this head (V, 3) at zero pose; None for a bald one."""
    if scene.hair_style == "bald":
        return None
    style = STYLES[scene.hair_style]
    rng = np.random.default_rng(scene.hair_seed)
    ids, weights = _scalp_grid()
    grid = (head[ids] * weights[..., None]).sum(1).reshape(*GRID, 3)
    theta = np.arange(COLUMNS) * 360.0 / COLUMNS
    a = np.abs((theta + 180) % 360 - 180)
    jag = gaussian_filter(rng.normal(0, 1, COLUMNS), 1.0, mode="wrap") * 1.6
    limit = hairline(theta, style) + jag
    part = rng.choice([-1, 0, 1]) * 22.0  # a side parting slants the lengths of the two sides
    hang = np.zeros(COLUMNS)
    if style.hang[1] > 0:
        length = style.hang[0] + (style.hang[1] - style.hang[0]) * scene.hair_length
        hang = (
            length
            * np.clip((a - style.hang_from + 6) / 12, 0, 1)
            * (1 + 0.05 * gaussian_filter(rng.normal(0, 1, COLUMNS), 2, mode="wrap"))
        )
    if scene.hair_style == "fringe":
        limit = limit + np.where(a < 45, 6 * scene.hair_length, 0) + part * 0.12 * np.sin(np.radians(theta)) * (a < 60)

    scalp_rows = ROWS * 5 // 8 if hang.any() else ROWS
    t = np.linspace(0, 1, scalp_rows)
    down = limit[:, None] * t[None] ** 0.9
    coords = np.stack(
        [np.broadcast_to(theta[:, None] / 360 * (GRID[0] - 1), down.shape), down / (0.86 * 180) * (GRID[1] - 1)]
    )
    root = np.stack([map_coordinates(grid[..., k], coords, order=1, mode="nearest") for k in range(3)], -1)
    outward = root - CENTRE
    outward /= np.linalg.norm(outward, axis=-1, keepdims=True)

    field = gaussian_filter(
        rng.normal(0, 1, (COLUMNS, scalp_rows)), (1.2, 1.2) if style.curly else (2.5, 5.0), mode=("wrap", "nearest")
    )
    field /= field.std() + 1e-9
    up = np.clip(outward[..., 1] * 1.4 - 0.15, 0, 1)
    thick = (style.side + (style.top - style.side) * up) * scene.hair_volume * (1 + style.lumps * field)
    if scene.hair_style == "quiff":
        thick *= 0.55 + 0.75 * np.clip((outward[..., 2] + 0.1) / 0.8, 0, 1)
    rise = np.clip((1 - t[None]) / style.ramp, 0, 1) ** 0.5
    rise = np.maximum(rise, np.clip(hang / 25, 0, 1)[:, None])  # hanging hair leaves the hairline at full thickness
    strands = gaussian_filter(rng.normal(0, 1, COLUMNS), 0.7, mode="wrap")[:, None] * min(1.2, 0.08 * style.top)
    grown = root + outward * ((thick + (0 if style.curly else strands)) * rise + 0.6)[..., None]

    if hang.any():
        flat = outward[:, -1] * np.array([1, 0, 1])
        flat /= np.linalg.norm(flat, axis=-1, keepdims=True)
        s = np.linspace(0, 1, ROWS - scalp_rows + 1)[1:]
        wave = gaussian_filter(rng.normal(0, 1, (COLUMNS, len(s))), (3, 2), mode=("wrap", "nearest"))
        # Over the ears, then falling with a slight flare.
        out = 13 * np.exp(-(((a - 95) / 28) ** 2))[:, None] * np.clip(s[None] * 5, 0, 1) + (
            7 * s[None] ** 2 + 7 * wave * s[None]
        )
        fall = (
            grown[:, -1:, :]
            + np.array([0, -1, 0]) * (hang[:, None] * s[None])[..., None]
            + flat[:, None] * (out * np.clip(hang / 40, 0, 1)[:, None])[..., None]
        )
        grown = np.concatenate([grown, fall], 1)
    rows = grown.shape[1]
    tangents = np.gradient(grown, axis=1)
    tangents /= np.linalg.norm(tangents, axis=-1, keepdims=True) + 1e-9
    if style.curly:
        tangents = np.zeros_like(tangents)
    u = np.broadcast_to((np.arange(COLUMNS) / COLUMNS)[:, None], (COLUMNS, rows))
    v = np.broadcast_to(np.linspace(0, 1, rows)[None], (COLUMNS, rows))
    i, j = np.meshgrid(np.arange(COLUMNS), np.arange(rows - 1), indexing="ij")
    n = (i + 1) % COLUMNS
    quads = np.stack([i * rows + j, i * rows + j + 1, n * rows + j + 1, n * rows + j], -1).reshape(-1, 4)
    triangles = np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]])
    shell = Shell(
        grown.reshape(-1, 3).astype(np.float32),
        triangles.astype(np.int32),
        np.stack([u, v], -1).reshape(-1, 2).astype(np.float32),
        np.clip((1 - v) * 6, 0, 1).reshape(-1).astype(np.float32),
        tangents.reshape(-1, 3).astype(np.float32),
    )
    return _with_bun(shell, rng, grid) if scene.hair_style == "bun" else shell


def _with_bun(shell: Shell, rng: np.random.Generator, grid: Array) -> Shell:
    """Add a knot of hair on the crown."""
    centre = grid[0, 0] + np.array([0, 14, rng.uniform(-35, -5)])
    a, d = np.meshgrid(np.linspace(0, 2 * np.pi, 33), np.linspace(0, np.pi, 17), indexing="ij")
    radius = rng.uniform(24, 36) * (1 + 0.06 * np.sin(5 * a + 3 * d))
    points = centre + np.stack([np.sin(d) * np.sin(a), 0.8 * np.cos(d), np.sin(d) * np.cos(a)], -1) * radius[..., None]
    i, j = np.meshgrid(np.arange(32), np.arange(16), indexing="ij")
    quads = np.stack([i * 17 + j, i * 17 + j + 1, (i + 1) * 17 + j + 1, (i + 1) * 17 + j], -1).reshape(-1, 4) + len(
        shell.vertices
    )
    tangent = np.stack([np.cos(a), 0 * a, -np.sin(a)], -1)
    return Shell(
        np.concatenate([shell.vertices, points.reshape(-1, 3)]).astype(np.float32),
        np.concatenate([shell.triangles, quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]]).astype(np.int32),
        np.concatenate([shell.uv, np.stack([d / np.pi, 0 * a + 0.4], -1).reshape(-1, 2)]).astype(np.float32),
        np.concatenate([shell.edge, np.ones(points.size // 3)]).astype(np.float32),
        np.concatenate([shell.tangents, tangent.reshape(-1, 3)]).astype(np.float32),
    )
