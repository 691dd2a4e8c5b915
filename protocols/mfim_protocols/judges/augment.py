"""What happens to a crop before a network sees it in training: jitter of the crop, and the damage real frames carry.

Cheap on purpose (OpenCV on uint8, one image at a time): two CPU cores have to train on it. All ranges are `[own
choice]`.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
Matrix = NDArray[np.float64]
_NOISE = np.random.default_rng(0).standard_normal(1 << 20).astype(np.float32)


GOOD, POOR, POOR_SHARE = (0.09, 0.012), (0.25, 0.07), 0.28
"""Deviation of a find's scale (natural logarithm) and of its shift (share of the crop's side), good and poor ones.

MTCNN on 400 wide training frames: half of the finds are off by less than 8 % in scale and 1 % in place, a tenth by more
than 28 % and 5 %, a thirtieth by more than 40 % and 15 %.
"""


def detected(matrix: Matrix, size: int, rng: np.random.Generator, scatter: float = 1.0, turn: float = 0.0) -> Matrix:
    """The crop as a detector would have cut it: scaled, shifted and turned about its centre.

    Args:
        matrix: (2, 3), of the true crop.
        size: of the crop, pixels.
        scatter: factor on the detector's errors.
        turn: deviation in radians.
    """
    scale, shift = POOR if rng.random() < POOR_SHARE else GOOD
    factor, angle = np.exp(rng.normal(0, scatter * scale)), rng.normal(0, turn) if turn else 0.0
    c, s = factor * np.cos(angle), factor * np.sin(angle)
    centre = (size - 1) / 2
    linear = np.array([[c, -s], [s, c]])
    out = linear @ matrix
    out[:, 2] += centre - linear @ [centre, centre] + rng.normal(0, scatter * shift * size, 2)
    return out


def degrade(image: Image, rng: np.random.Generator, strength: float = 1.0) -> Image:
    """Resolution (a face crop of 48 px to the full size), blur, noise, JPEG and colour, each with its own chance.

    Args:
        image: (S, S, 3) uint8.
        strength: factor on every chance.
    """
    size = image.shape[0]
    if rng.random() < 0.8 * strength:
        image = colour(image, rng)
    if rng.random() < 0.45 * strength:
        small = int(rng.uniform(min(44, size), size))
        image = cv2.resize(image, (small, small), interpolation=cv2.INTER_AREA)
        up = (cv2.INTER_LINEAR, cv2.INTER_CUBIC)[int(rng.integers(2))]
        image = cv2.resize(image, (size, size), interpolation=up)
    if rng.random() < 0.25 * strength:
        image = cv2.GaussianBlur(image, (0, 0), float(rng.uniform(0.3, 1.6)))
    if rng.random() < 0.3 * strength:
        start = int(rng.integers(len(_NOISE) - image.size))
        noise = _NOISE[start : start + image.size].reshape(image.shape) * np.float32(rng.uniform(1, 10))
        image = np.clip(image + noise, 0, 255).astype(np.uint8)
    if rng.random() < 0.35 * strength:
        image = jpeg(image, int(rng.integers(30, 96)))
    return image


def colour(image: Image, rng: np.random.Generator) -> Image:
    """Exposure, contrast, white balance and saturation, through one lookup table a channel; grey now and then."""
    level = np.arange(256, dtype=np.float32) / 255
    gamma, contrast = np.exp(rng.normal(0, 0.2)), np.exp(rng.normal(0, 0.15))
    gains = np.exp(rng.normal(0, 0.15) + rng.normal(0, 0.06, 3))
    table = np.stack([((level**gamma * gain - 0.5) * contrast + 0.5) for gain in gains], -1)
    out = cv2.LUT(image, np.clip(table * 255, 0, 255).astype(np.uint8)[None])
    saturation = 0.0 if rng.random() < 0.04 else float(np.exp(rng.normal(0, 0.2)))
    grey = cv2.cvtColor(cv2.cvtColor(out, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    return np.asarray(cv2.addWeighted(out, saturation, grey, 1 - saturation, 0), np.uint8)


def jpeg(image: Image, quality: int) -> Image:
    """Through JPEG and back."""
    coded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return np.asarray(cv2.imdecode(coded, cv2.IMREAD_COLOR), np.uint8)


def worn(image: Image) -> Image:
    """The fixed damage of the "degraded" figures on the cards: half the resolution, then JPEG at quality 40."""
    size = image.shape[0]
    small = cv2.resize(image, (size // 2, size // 2), interpolation=cv2.INTER_AREA)
    return jpeg(np.asarray(cv2.resize(small, (size, size), interpolation=cv2.INTER_CUBIC), np.uint8), 40)
