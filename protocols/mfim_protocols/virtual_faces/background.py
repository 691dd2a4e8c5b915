"""What stands behind the head: soft, out of focus, independent of who is shown."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from mfim_protocols.virtual_faces.record import Scene

Array = NDArray[np.float32]


def draw(scene: Scene, size: int) -> Array:
    """(size, size, 3) linear RGB. Drawn at one fixed size and resampled, so that it does not change with resolution."""
    rng = np.random.default_rng(scene.background_seed)
    n = 128
    a, b, c = (np.array(x, np.float32) for x in scene.background_colours)
    y, x = np.mgrid[0:n, 0:n].astype(np.float32) / n
    kind = scene.background
    if kind == "gradient":
        direction = rng.uniform(0, 2 * np.pi)
        mix = (np.cos(direction) * (x - 0.5) + np.sin(direction) * (y - 0.5)) + 0.5
        vignette = 1 - 0.5 * ((x - 0.5) ** 2 + (y - 0.5) ** 2)
        image = (a + (b - a) * mix[..., None]) * vignette[..., None]
    elif kind in ("blobs", "clouds"):
        field = np.zeros((n, n, 3), np.float32)
        for octave in range(2, 4 if kind == "blobs" else 7):
            noise = rng.uniform(0, 1, (2**octave, 2**octave, 2)).astype(np.float32)
            noise = cv2.resize(noise, (n, n), interpolation=cv2.INTER_CUBIC)
            weight = 0.55 ** (octave - 2)
            field += weight * (noise[..., :1] * (a - c) + noise[..., 1:] * (b - c))
        image = c + field / 1.8
    elif kind == "bokeh":
        image = np.broadcast_to(a * 0.4, (n, n, 3)).copy()
        for _ in range(int(rng.integers(8, 30))):
            centre, radius = rng.uniform(0, n, 2), rng.uniform(3, 14)
            colour = (b, c, a)[int(rng.integers(3))] * rng.uniform(0.3, 1.3)
            disk = np.clip(radius - np.hypot(x * n - centre[0], y * n - centre[1]), 0, 1)[..., None]
            image = image + disk * colour * 0.6
    elif kind == "stripes":
        direction, frequency = rng.uniform(0, np.pi), rng.uniform(3, 14)
        wave = np.sin(2 * np.pi * frequency * (np.cos(direction) * x + np.sin(direction) * y) + rng.uniform(0, 6))
        image = a + (b - a) * (0.5 + 0.5 * np.tanh(3 * wave))[..., None]
    else:  # panels: walls, windows, shelves
        image = np.broadcast_to(a, (n, n, 3)).copy()
        for _ in range(int(rng.integers(4, 12))):
            x0, y0 = rng.uniform(-0.2, 0.9, 2)
            w, h = rng.uniform(0.08, 0.6, 2)
            inside = (x > x0) & (x < x0 + w) & (y > y0) & (y < y0 + h)
            image[inside] = (b, c, a)[int(rng.integers(3))] * rng.uniform(0.5, 1.4)
    blur = float(rng.uniform(0.6, 4.0))
    image = cv2.GaussianBlur(np.asarray(image, np.float32), (0, 0), blur)
    image = cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA if size < n else cv2.INTER_LINEAR)
    return np.asarray(np.clip(image, 0.002, 1.2), np.float32)
