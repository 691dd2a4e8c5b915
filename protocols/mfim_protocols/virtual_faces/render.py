"""Ray-cast a portrait with Warp, on CPU or CUDA: soft shadows, ambient visibility, alpha-tested hair and lashes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import warp as wp
from numpy.typing import NDArray

from mfim_protocols.virtual_faces import background, geometry, shading
from mfim_protocols.virtual_faces.geometry import Mesh, Portrait
from mfim_protocols.virtual_faces.head import HeadModel
from mfim_protocols.virtual_faces.landmarks import vertex_normals

Array = NDArray[np.float32]


@dataclass(frozen=True)
class Picture:
    """A rendered portrait.

    Attributes:
        image: (S, S, 3) uint8 sRGB.
        region: (S, S) uint8, 255 where the pixel shows the face that a swap replaces.
        cover: (S, S, 3) uint8: skin (with eyes and mouth), hair, background.
        points5, points68, dense: (…, 2) float32 pixels; the centre of the first pixel is (0, 0).
    """

    image: NDArray[np.uint8]
    region: NDArray[np.uint8]
    cover: NDArray[np.uint8]
    points5: Array
    points68: Array
    dense: Array


@cache
def _start() -> None:
    wp.config.log_level = wp.LOG_WARNING
    wp.init()


@cache
def visibility(device: str = "cpu") -> Array:
    """(V,) share of the sky that each vertex of the mean head sees, 96 cosine-weighted rays of 90 mm."""
    _start()
    head = HeadModel.load()
    mesh = wp.Mesh(
        wp.array(head.mean, dtype=wp.vec3, device=device),
        wp.array(head.triangles.reshape(-1), dtype=int, device=device),
    )
    normals = vertex_normals(head.mean.astype(float), head.triangles).astype(np.float32)
    out = wp.zeros(len(head.mean), dtype=float, device=device)
    arrays = [wp.array(a, dtype=wp.vec3, device=device) for a in (head.mean, normals)]
    wp.launch(shading.ambient, len(head.mean), [mesh.id, *arrays, 96, 90.0, out], device=device)
    return np.asarray(out.numpy(), np.float32)


def _vec(values: Any) -> Any:
    return wp.vec3(*[float(v) for v in values])


def _look(p: Portrait, size: int, samples: int) -> Any:
    """Fill the kernel's parameter struct."""
    i, s = p.identity, p.scene
    head = HeadModel.load()
    light = shading.Look()
    light.size, light.samples, light.seed = size, samples, int(p.sampling) + 1
    light.distance, light.focal = s.distance, s.distance / s.view
    light.key, light.key_colour, light.softness = _vec(s.key_direction), _vec(s.key_colour), s.softness
    light.sky, light.ground, light.rim, light.rim_direction = (
        _vec(s.sky),
        _vec(s.ground),
        _vec(s.rim),
        _vec(s.rim_direction),
    )
    # Between a light and a dark skin, linearly in optical density.
    pale, dark = np.array([0.80, 0.54, 0.42]), np.array([0.085, 0.038, 0.022])
    skin = np.exp(np.log(pale) * (1 - i.melanin) + np.log(dark) * i.melanin)
    light.skin, light.melanin, light.redness = _vec(skin), i.melanin, i.redness
    light.freckles, light.stubble, light.lip, light.skin_seed = i.freckles, i.stubble, i.lip, i.skin_seed % 9973
    light.iris, light.iris_size = _vec(i.iris), i.iris_size
    light.brow_colour, light.brow_thick, light.brow_density = _vec(i.brow_colour), i.brow[0], i.brow[4]
    gaze_yaw, gaze_pitch = s.gaze[0], s.gaze[1]
    light.gaze = _vec(
        [np.sin(gaze_yaw) * np.cos(gaze_pitch), np.sin(gaze_pitch), np.cos(gaze_yaw) * np.cos(gaze_pitch)]
    )
    light.eye_left, light.eye_right = _vec(head.eye_centre[0]), _vec(head.eye_centre[1])
    light.eye_radius = float(head.eye_radius.mean())
    light.hair_colour, light.hair_seed = _vec(s.hair_colour), s.hair_seed % 9973
    light.curly = int(s.hair_style == "afro")
    light.cloth, light.cloth_pattern = _vec(s.cloth), s.cloth_pattern
    light.exposure = s.exposure
    return light


def _brows(p: Portrait) -> Array:
    """(2, 5, 3) polylines in canonical space, inner to outer."""
    line = HeadModel.load().mean[HeadModel.load().brow].copy()
    _, arch, tilt, gap, _ = p.identity.brow
    t = np.linspace(0, 1, line.shape[1])
    # The mesh is coarse here: fair the line along the brow before shaping it.
    for side, sign in ((0, -1.0), (1, 1.0)):
        line[side, :, 0] = sign * (11.0 + 38.0 * t + gap * (1 - t))
        line[side, :, 1] = np.polyval(np.polyfit(t, line[:, :, 1].mean(0), 2), t)
        line[side, :, 1] += arch * np.sin(np.pi * t) + tilt * (t - 0.5)
    return np.asarray(line, np.float32)


def render(p: Portrait, size: int, samples: int = 4, device: str = "cpu") -> Picture:
    """Draw a portrait: size² pixels, samples² rays each. On one machine, equal arguments give equal pictures."""
    _start()
    mesh: Mesh = geometry.build(p, visibility(device))

    def vec(a: Array) -> Any:
        return wp.array(np.ascontiguousarray(a, np.float32), dtype=wp.vec3, device=device)

    points = vec(mesh.vertices)
    bvh = wp.Mesh(points, wp.array(mesh.triangles.reshape(-1), dtype=int, device=device))
    n = size * size
    behind = vec(background.draw(p.scene, size).reshape(-1, 3))
    colour, cover = wp.zeros(n, dtype=wp.vec3, device=device), wp.zeros(n, dtype=wp.vec4, device=device)
    wp.launch(
        shading.shade,
        n,
        [
            bvh.id, _look(p, size, samples), vec(mesh.normals), vec(mesh.tangents), vec(mesh.canon),
            wp.array(mesh.attributes, dtype=wp.vec4, device=device), wp.array(mesh.region, dtype=float, device=device),
            wp.array(mesh.triangles, dtype=wp.vec3i, device=device), wp.array(mesh.material, dtype=int, device=device),
            vec(_brows(p).reshape(-1, 3)), behind, colour, cover,
        ],
        device=device,
    )  # fmt: skip
    linear = colour.numpy().reshape(size, size, 3)
    cover_ = cover.numpy().reshape(size, size, 4)
    srgb = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * np.maximum(linear, 1e-6) ** (1 / 2.4) - 0.055)
    if p.scene.grain:
        srgb = srgb + np.random.default_rng([3, p.sampling]).normal(0, p.scene.grain, srgb.shape)
    _, posed = geometry.posed_head(p)
    head = HeadModel.load()
    pixels = geometry.project(posed, p.scene, size)

    def eight(a: Array) -> NDArray[np.uint8]:
        return np.asarray(np.clip(np.round(a * 255), 0, 255), np.uint8)

    return Picture(
        eight(srgb),
        eight(cover_[..., 0]),
        eight(cover_[..., 1:]),
        head.five(pixels),
        pixels[head.points68],
        pixels[head.dense],
    )
