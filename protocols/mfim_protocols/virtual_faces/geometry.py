"""From a record to one triangle mesh: head, eyes, teeth, lashes, hair, shoulders; posed for the camera. NumPy only."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mfim_protocols.virtual_faces import hair, props
from mfim_protocols.virtual_faces.head import HeadModel, rotation
from mfim_protocols.virtual_faces.landmarks import vertex_normals
from mfim_protocols.virtual_faces.props import NOTHING, Props
from mfim_protocols.virtual_faces.record import Identity, Record, Scene

Array = NDArray[np.float32]
Ints = NDArray[np.int32]
SKIN, EYE, MOUTH, TONGUE, TEETH, LASH, HAIR, CLOTH, PROP = range(9)
# The FFHQ crop of a frontal head is centred this far above the model's origin.
CENTRE_HEIGHT = 12.0


@dataclass(frozen=True)
class Portrait:
    """What the renderer draws: a neutral head (V, 3) mm, whose appearance, in which scene, hidden by what."""

    neutral: Array
    identity: Identity
    scene: Scene
    sampling: int = 0
    props: Props = NOTHING


def portrait(record: Record) -> Portrait:
    neutral = HeadModel.load().vertices(np.array(record.identity.shape))
    return Portrait(neutral, record.identity, record.scene, record.sampling)


@cache
def face_weight() -> Array:
    """(V,) 1 on the face, 0 on skull, ears and neck, smooth between: what a face swap may replace."""
    head = HeadModel.load()
    x, y, z = head.mean.T.astype(float)
    oval = np.sqrt((x / 70) ** 2 + ((y - 4) / np.where(y > 4, 91, 108)) ** 2)
    weight = _smooth((1.08 - oval) / 0.3) * _smooth((z + 82) / 45)
    # Below the jaw the neck begins: fade from the chin's underside backwards.
    weight *= np.where(y < -70, _smooth((z + 0.55 * (-70 - y) + 42) / 40), 1)
    return np.asarray(np.where(head.ears > 60, 0, weight), np.float32)


def _smooth(t: NDArray[np.floating]) -> NDArray[np.float64]:
    t = np.clip(t, 0, 1)
    return np.asarray(t * t * (3 - 2 * t))


def true_swap(source: Record, target: Record, variant: str = "face") -> Portrait:
    """What a perfect face swap would show.

    Args:
        variant: ``face`` (the default reference `truth`): the source's face-region geometry blended into the target's
            skull, ears and neck, with the source's brows and irises; ``skin``: also the source's skin; ``head``: the
            source's whole head. The target's light, gaze, expression, pose, hair, camera and background stay, and for
            ``face`` its skin.

    The source's neutral face is registered to the target's by the similarity of their five landmarks.
    """
    head = HeadModel.load()
    theirs, ours = portrait(source), portrait(target)
    p, q = head.five(theirs.neutral).astype(float), head.five(ours.neutral).astype(float)
    scale = np.linalg.norm(q - q.mean(0)) / np.linalg.norm(p - p.mean(0))
    moved = (theirs.neutral - p.mean(0)) * scale + q.mean(0)
    if variant == "head":
        return replace(ours, neutral=np.asarray(moved, np.float32), identity=theirs.identity)
    if variant not in ("face", "skin"):
        raise ValueError(f"variant must be face, skin or head, not {variant!r}")
    weight = face_weight()[:, None]
    neutral = np.asarray(ours.neutral + weight * (moved - ours.neutral), np.float32)
    a, b = source.identity, target.identity
    identity = replace(b, shape=a.shape, brow=a.brow, brow_colour=a.brow_colour, iris=a.iris, iris_size=a.iris_size)
    return replace(ours, neutral=neutral, identity=a if variant == "skin" else identity)


def true_mix(shape: Record, detail: Record, target: Record) -> Portrait:
    """What a perfect swap of a mixed identity would show: `true_swap` of ``shape`` (the global source), with the local
    source's brows (form and colour), irises (colour and size), freckles, stubble, moles, blotches and lashes.

    Skin tone, redness and lips stay the target's, as in every true swap; the eyes' form is geometry, so global.
    """
    swapped, ours = true_swap(shape, target), detail.identity
    identity = replace(
        swapped.identity,
        brow=ours.brow,
        brow_colour=ours.brow_colour,
        iris=ours.iris,
        iris_size=ours.iris_size,
        freckles=ours.freckles,
        stubble=ours.stubble,
        skin_seed=ours.skin_seed,
    )
    return replace(swapped, identity=identity)


@dataclass
class Mesh:
    """Camera space (mm, camera at the origin's +z side).

    Per vertex: canonical position or texture coordinates, and attributes (lips, eyelids, ambient visibility, hair
    cover); per triangle a material.
    """

    vertices: Array
    normals: Array
    tangents: Array
    canon: Array
    attributes: Array
    region: Array
    triangles: Ints
    material: Ints


@cache
def _ring() -> Ints:
    """The neck's cut: vertices of the skin's open border, ordered by angle."""
    head = HeadModel.load()
    edges = np.sort(
        np.concatenate([head.triangles[:, [0, 1]], head.triangles[:, [1, 2]], head.triangles[:, [2, 0]]]), 1
    )
    unique, count = np.unique(edges, axis=0, return_counts=True)
    border = np.unique(unique[count == 1])
    border = border[head.mean[border, 1] < -60]
    centre = head.mean[border].mean(0)
    return np.asarray(
        border[np.argsort(np.arctan2(head.mean[border, 0] - centre[0], head.mean[border, 2] - centre[2]))], np.int32
    )


def _torso(posed: Array, scene: Scene) -> tuple[Array, Ints, Array]:
    """A garment from the neck's cut over the shoulders, out of frame: vertices, triangles, (around, down, 0)."""
    ring = posed[_ring()].astype(float)
    centre = ring.mean(0)
    columns = 48
    angle = np.arange(columns) * 2 * np.pi / columns
    own = np.arctan2(ring[:, 0] - centre[0], ring[:, 2] - centre[2])
    order = np.argsort(own)
    start = np.stack([np.interp(angle, own[order], ring[order, k], period=2 * np.pi) for k in range(3)], -1)
    rows = []
    cy, sy = np.cos(scene.body_yaw), np.sin(scene.body_yaw)
    # (down mm, half width, half depth, share of the ellipse) of each row
    for down, wide, deep, share in [
        (-4, 0, 0, 0.0), (-3, 0, 0, 0.0), (10, 84, 74, 0.3), (24, 128, 88, 0.65),
        (44, 176, 98, 0.9), (72, 205, 108, 1), (140, 222, 118, 1), (420, 226, 120, 1),
    ]:  # fmt: skip
        x, z = wide * np.sin(angle), deep * np.cos(angle) - 12
        ellipse = np.stack([cy * x + sy * z, np.full(columns, -float(down)) - 12, -sy * x + cy * z], -1) + centre
        collar = centre + (start - centre) * (1.06 if share == 0 else 1.1)
        collar[:, 1] += 3 if share == 0 else -down
        rows.append(collar * (1 - share) + ellipse * share)
    grid = np.stack(rows, 1)
    n = len(rows)
    i, j = np.meshgrid(np.arange(columns), np.arange(n - 1), indexing="ij")
    k = (i + 1) % columns
    quads = np.stack([i * n + j, i * n + j + 1, k * n + j + 1, k * n + j], -1).reshape(-1, 4)
    triangles = np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]])
    canon = np.zeros((columns, n, 3))
    canon[..., 0], canon[..., 1] = angle[:, None], grid[..., 1] - centre[1]
    return grid.reshape(-1, 3).astype(np.float32), triangles.astype(np.int32), canon.reshape(-1, 3).astype(np.float32)


def _strip(top: NDArray[np.float64], bottom: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Two rows of n points -> vertices (2n, 3) and triangles."""
    n = len(top)
    i = np.arange(n - 1)
    quads = np.stack([i, i + n, i + n + 1, i + 1], -1)
    return np.concatenate([top, bottom]), np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]])


def _teeth(neutral: Array, moved: Array) -> list[tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.float64]]]:
    """Two dental arches: the upper follows the skull, the lower the jaw. Each (vertices, triangles, canon)."""
    head = HeadModel.load()
    mouth = head.mean[head.points68[[48, 54]]].mean(0).astype(float)
    t = np.linspace(-1, 1, 29)
    out = []
    for upper in (True, False):
        anchors = head.upper_jaw if upper else head.lower_jaw
        shift = (neutral[anchors] - head.mean[anchors]).mean(0)
        if not upper:
            shift = shift + (moved[anchors] - neutral[anchors]).mean(0)
        half = 24.0 if upper else 20.0
        x = half * np.sin(t * 1.25) / np.sin(1.25)
        front = -1.0 if upper else -5.0
        z = mouth[2] + front - 26 * (1 - np.cos(t * 1.25)) / (1 - np.cos(1.25))
        gum = mouth[1] + (9.0 if upper else -12.0)
        tip = mouth[1] + (-1.0 if upper else -3.5) + (0.9 if upper else -0.6) * np.abs(t) ** 2
        rows = [np.stack([x, np.full_like(x, gum), z - 1.5], -1), np.stack([x, tip, z], -1)]
        vertices, triangles = _strip(rows[0] + shift, rows[1] + shift)
        canon = np.concatenate(
            [np.stack([x, np.full_like(x, v), np.full_like(x, float(upper))], -1) for v in (1.0, 0.0)]
        )
        out.append((vertices, triangles, canon))
    return out


def _lashes(moved: Array, seed: int) -> list[tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.float64]]]:
    head = HeadModel.load()
    out = []
    for side, ids in zip((-1.0, 1.0), head.upper_lid, strict=True):
        control = moved[ids].astype(float)
        s = np.linspace(0, 1, 25)
        root = np.stack([np.interp(s, np.linspace(0, 1, len(ids)), control[:, k]) for k in range(3)], -1)
        root += np.array([0, -0.3, 0.5])
        fan = (s - 0.35)[:, None] * np.array([side * 5.0, 0, 0])
        length = (4.0 + 2.5 * s)[:, None]
        tip = root + fan + length * np.array([0, 0.45, 0.9])
        vertices, triangles = _strip(root, tip)
        canon = np.concatenate(
            [
                np.stack([s + (side + 1) * 2, np.full_like(s, v), np.full_like(s, float(seed % 97))], -1)
                for v in (0.0, 1.0)
            ]
        )
        out.append((vertices, triangles, canon))
    return out


def posed_head(p: Portrait) -> tuple[Array, Array]:
    """The head with its expression, (V, 3): in head space, and posed before the camera."""
    head = HeadModel.load()
    moved = p.neutral + np.tensordot(np.array(p.scene.expression, np.float32), head.expression_basis, 1)
    return moved, np.asarray(moved @ rotation(*p.scene.pose).T + _shift(p.scene), np.float32)


@cache
def _tuck() -> Array:
    """(V, 3) mm: draws the lining of the mouth inwards, so that strong expressions don't push it through the cheeks."""
    head = HeadModel.load()
    inner = np.isin(head.part, [3, 4])
    only = np.setdiff1d(np.unique(head.triangles[inner]), np.unique(head.triangles[~inner]))
    out = np.zeros_like(head.mean)
    out[only] = np.stack([-0.18 * head.mean[only, 0], np.zeros(len(only)), np.full(len(only), -4.0)], -1)
    return out


def _shift(scene: Scene) -> NDArray[np.float64]:
    return np.array([scene.offset[0], scene.offset[1] - CENTRE_HEIGHT, 0.0])


def build(p: Portrait, visibility: Array) -> Mesh:
    """Assemble the mesh; ``visibility`` (V,) is the head's ambient visibility."""
    head = HeadModel.load()
    moved, _ = posed_head(p)
    turn, shift = rotation(*p.scene.pose), _shift(p.scene)
    posed = np.asarray((moved + _tuck()) @ turn.T + shift, np.float32)
    material = np.array([SKIN, EYE, MOUTH, MOUTH, TONGUE], np.int32)[head.part]
    attributes = np.stack([head.lips / 255.0, head.eyelids / 255.0, visibility, hair.coverage(p.scene)], -1)
    blocks: list[tuple[NDArray[Any], ...]] = [
        (
            posed,
            vertex_normals(posed.astype(float), head.triangles),
            np.zeros_like(posed),
            head.mean,
            attributes,
            face_weight(),
            head.triangles,
            material,
        )
    ]

    def add(
        vertices: NDArray[np.floating],
        triangles: NDArray[np.integer],
        canon: NDArray[np.floating],
        kind: int,
        tangents: NDArray[np.floating] | None = None,
        in_head: bool = True,
        region: float = 0.0,
        gloss: float = 0.0,
    ) -> None:
        points = vertices @ turn.T + shift if in_head else vertices
        lines = np.zeros_like(points) if tangents is None else tangents @ turn.T
        flat = np.tile([gloss, 0, 1.0, 0], (len(points), 1))
        blocks.append((points, vertex_normals(points.astype(float), triangles.astype(np.int32)), lines, canon, flat,
                       np.full(len(points), region), triangles, np.full(len(triangles), kind)))  # fmt: skip

    for teeth in _teeth(p.neutral, moved):
        add(*teeth, TEETH, region=1.0)
    for lash in _lashes(moved, p.identity.skin_seed):
        add(*lash, LASH, region=1.0)
    shell = hair.build(p.scene, p.neutral)
    if shell is not None:
        add(shell.vertices, shell.triangles, np.concatenate([shell.uv, shell.edge[:, None]], 1), HAIR, shell.tangents)
    for solid in props.build(p.props, p.neutral, p.identity):
        paint = np.tile(
            solid.colour, (len(solid.vertices), 1)
        )  # a prop carries its colour where others say where they are
        add(solid.vertices, solid.triangles, paint, PROP, gloss=solid.gloss)
    vertices, triangles, canon = _torso(posed, p.scene)
    add(vertices, triangles, canon, CLOTH, in_head=False)

    offsets = np.cumsum([0] + [len(b[0]) for b in blocks])
    columns = [np.concatenate([np.asarray(b[k], np.float32) for b in blocks]) for k in range(6)]
    own, normals, tangents, canonical, marks, region = columns
    return Mesh(
        vertices=own,
        normals=normals,
        tangents=tangents,
        canon=canonical,
        attributes=marks,
        region=region,
        triangles=np.concatenate(
            [np.asarray(b[6], np.int32) + o for b, o in zip(blocks, offsets, strict=False)]
        ).astype(np.int32),
        material=np.concatenate([b[7] for b in blocks]).astype(np.int32),
    )


def project(points: NDArray[np.floating], scene: Scene, size: int) -> Array:
    """Camera-space points (…, 3) mm -> pixels (…, 2); the centre of the first pixel is (0, 0)."""
    focal = size * scene.distance / scene.view
    depth = scene.distance - points[..., 2]
    x = size / 2 + focal * points[..., 0] / depth - 0.5
    y = size / 2 - focal * points[..., 1] / depth - 0.5
    return np.stack([x, y], -1).astype(np.float32)
