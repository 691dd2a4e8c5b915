"""Copies of one real portrait that stand for people. A module of its own: each folder of tests has a `conftest`."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray
from skimage import data


def portraits() -> dict[str, NDArray[np.uint8]]:
    """Eight copies of the astronaut, uint8 RGB 160 px."""
    whole = data.astronaut()
    plain = whole[:256, 96:352]
    turn = cv2.getRotationMatrix2D((128, 110), 12, 1)
    copies = {
        "plain": plain,
        "mirror": plain[:, ::-1],
        "wide": whole[:256, 136:312],
        "tall": whole[30:210, 90:350],
        "turned": cv2.warpAffine(plain, turn, (256, 256), borderMode=cv2.BORDER_REFLECT),
        "warm": np.clip(plain * np.array([1.1, 0.95, 0.7]), 0, 255),
        "dark": plain * 0.35,
        "near": whole[20:220, 120:320],
    }
    return {
        name: cv2.resize(np.ascontiguousarray(copy).astype(np.uint8), (160, 160), interpolation=cv2.INTER_AREA)
        for name, copy in copies.items()
    }
