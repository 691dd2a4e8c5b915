"""The crop that ReliableSwap's script measures: of targets and sources by their own points, of swaps by the target's.

Source: ``norm_crop`` with mode ``ffhq`` in ``inference/alignment.py`` of github.com/ygtxr1997/ReliableSwap, as
``inference/ffplus/dataloader.py`` calls it. Its five points are means of a 98-point detector's, ours MTCNN's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from mfim_bench.faces.templates import similarity

if TYPE_CHECKING:
    from mfim_bench.faces.detect import Face

SIDE = 256
POINTS_512 = np.array(
    [
        [192.98138, 239.94708],
        [318.90277, 240.1936],
        [256.63416, 314.01935],
        [201.26117, 371.41043],
        [313.08905, 371.15118],
    ]
)
"""Where the five points lie in a crop of 512 px."""


def cut(image: NDArray[np.uint8], face: Face) -> NDArray[np.uint8]:
    """Least-squares similarity of the points to the template at 256 px, bilinear without averaging, black outside.

    Args:
        image: uint8 RGB (H, W, 3).
        face: in it; of a swap, the target's.

    Returns:
        uint8 RGB (256, 256, 3).
    """
    matrix = similarity(face.points, POINTS_512 * (SIDE / 512))
    return np.asarray(cv2.warpAffine(image, matrix, (SIDE, SIDE)), np.uint8)
