"""Finding the largest face of a frame and its five points.

Detector: MTCNN (K. Zhang et al., "Joint face detection and alignment using multi-task cascaded convolutional networks",
IEEE SPL 2016) as ``facenet-pytorch`` implements it, with the weights in its wheel.

Two things are added, both measured on a portrait cut at 60 random scales and offsets:

- **Search.** A pyramid that starts at a fifth of the frame's short side is a fraction of the work of one that starts at
  20 px. Only when it finds nothing the search goes on: a frame with a margin around it (faces that fill the frame),
  then down to 20 px on the whole frame, then the mirrored frame, then the frame stretched sideways (MTCNN misses very
  long faces), then the same at 1.5 times the size with lower thresholds, each also mirrored; at last the frame with
  its local contrast raised (MTCNN misses dark faces and faces in flat light), there also with a finer pyramid and lower
  thresholds of the first two stages, so that the third stage, which errs least, sees what they would not pass on.
- **Points.** MTCNN's points move by 2 % of the eye distance when the frame is shifted or scaled, because its last stage
  sees one crop cut at whole pixels. Here the last stage looks again at four shifted crops and their mirror images, cut
  at sub-pixel positions, and the mean is taken: six times less scatter (0.94 to 0.15 px at an eye distance of 43 px).
  MTCNN's coordinates, which count from 1 and round down, are brought to the centre of the first pixel = (0, 0).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
from facenet_pytorch import MTCNN
from numpy.typing import NDArray

from mfim_bench.faces.templates import crop

VERSION = "mtcnn-5"
"""Changes whenever a box or a point could."""

COARSE_SHARE = 0.2
"""Faces smaller than this share of the frame's short side are searched only when no larger one is found."""
MARGIN = 0.3
"""Added on each side, as a share of the frame, for faces that fill it."""
FINE_PIXELS = 20.0
"""Smallest face of the last search, pixels."""
SURE = 0.9
"""Among faces at least this probable the largest is taken; if there is none, the most probable."""
MAX_SIDE = 1920
"""Larger frames are reduced to this long side for the search."""
MIN_SIDE = 96
"""Smaller frames are enlarged to this short side for the search."""

THRESHOLDS, LENIENT = (0.6, 0.7, 0.7), (0.6, 0.7, 0.5)
"""Of MTCNN's three stages; the second only in the last searches."""
SENSITIVE, FAINT = (0.3, 0.4, 0.7), (0.3, 0.4, 0.5)
"""Of the very last searches."""
PYRAMID, FINE_PYRAMID = 0.709, 0.85
"""Factor between two levels."""


class Search(NamedTuple):
    """How a frame is searched again: factors of width and height, mirrored or not, thresholds, pyramid, contrast."""

    wide: float = 1.0
    high: float = 1.0
    mirrored: bool = False
    thresholds: tuple[float, float, float] = THRESHOLDS
    pyramid: float = PYRAMID
    equalised: bool = False


LAST_SEARCHES = (
    Search(mirrored=True),
    Search(1.2),
    Search(1.2, mirrored=True),
    Search(1.8, 1.5, False, LENIENT),
    Search(1.8, 1.5, True, LENIENT),
    Search(mirrored=True, thresholds=LENIENT),
    Search(equalised=True),
    Search(mirrored=True, equalised=True),
    Search(1.2, equalised=True),
    *(
        Search(wide, 1.0, mirrored, thresholds, FINE_PYRAMID, True)
        for thresholds in (SENSITIVE, FAINT)
        for wide in (1.0, 1.2)
        for mirrored in (False, True)
    ),
)
"""In this order, until one finds a face."""
CLIP_LIMIT, TILES = 2.0, 4
"""Of the contrast-limited adaptive histogram equalisation (K. Zuiderveld, in Graphics Gems IV, 1994)."""
LAST_SIDE = 512
"""These searches are for faces that are large in the frame, so larger frames are reduced to this long side first."""

_SHIFT = 0.05  # of the box side
_MIRRORED = [1, 0, 2, 4, 3]  # the points of a mirrored face, in order


@dataclass(frozen=True)
class Face:
    """A face in a frame; pixels, the centre of the first pixel is (0, 0).

    Attributes:
        box: float32 (4,), x0 y0 x1 y1; may reach outside the frame.
        points: float32 (5, 2): eye at the image's left, eye at its right, nose tip, mouth corner left, right.
        probability: that it is a face, by MTCNN.
        others: how many more faces this search found; the largest was taken.
    """

    box: NDArray[np.float32]
    points: NDArray[np.float32]
    probability: float
    others: int


class Detector:
    """Finds the largest face of each frame. Frames never influence each other: they are searched one by one."""

    version = VERSION

    def __init__(self, device: torch.device | str = "cpu") -> None:
        self.device = torch.device(device)
        self._mtcnn: Any = MTCNN(keep_all=True, device=self.device)

    def detect(self, images: Sequence[NDArray[np.uint8]]) -> list[Face | None]:
        """Find a face in each frame.

        Args:
            images: uint8 (H, W, 3) RGB; sizes may differ.

        Returns:
            One entry a frame; None where no face was found.
        """
        return [self._detect(image) for image in images]

    def _detect(self, image: NDArray[np.uint8]) -> Face | None:
        height, width = image.shape[:2]
        scale = min(max(1.0, MIN_SIDE / min(height, width)), MAX_SIDE / max(height, width))
        work = _resize(image, scale)
        coarse = max(COARSE_SHARE * min(work.shape[:2]), FINE_PIXELS)
        face, seen = self._search(work, coarse, 0), work
        if face is None:
            margin = round(MARGIN * max(work.shape[:2]))
            face = self._search(work, coarse, margin)
        if face is None and coarse > FINE_PIXELS:
            face = self._search(work, FINE_PIXELS, 0)
        if face is None:
            equalised = _equalise(work)
            for search in LAST_SEARCHES:
                seen = equalised if search.equalised else work
                face = self._search_again(seen, search)
                if face is not None:
                    break
        if face is None:
            return None
        points = self._refine(seen, face)
        # Enlarging moves pixel centres: u = (x + 0.5) scale - 0.5.
        sx, sy = work.shape[1] / width, work.shape[0] / height
        factor = np.array([sx, sy])
        return Face(
            box=((face.box.reshape(2, 2) + 0.5) / factor - 0.5).reshape(4).astype(np.float32),
            points=((points + 0.5) / factor - 0.5).astype(np.float32),
            probability=face.probability,
            others=face.others,
        )

    def _search(self, image: NDArray[np.uint8], smallest: float, margin: int) -> Face | None:
        """The largest sure face, or None; ``margin`` pixels of grey are put around the frame first."""
        if margin:
            image = np.pad(image, ((margin, margin), (margin, margin), (0, 0)), constant_values=127)
        if min(image.shape[:2]) < smallest:
            return None
        self._mtcnn.min_face_size = smallest
        boxes, probabilities, points = self._mtcnn.detect(np.ascontiguousarray(image), landmarks=True)
        if boxes is None or len(boxes) == 0:
            return None
        boxes, points = np.asarray(boxes, np.float64), np.asarray(points, np.float64)
        probabilities = np.asarray(probabilities, np.float64)
        area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
        sure = probabilities >= SURE
        best = int(np.argmax(np.where(sure, area, -1.0))) if sure.any() else int(np.argmax(probabilities))
        # Boxes count pixels from 1; points are cut from boxes rounded down, half a pixel more on average.
        return Face(
            box=(boxes[best] - 1 - margin).astype(np.float32),
            points=(points[best] - 1 - margin).astype(np.float32),
            probability=float(probabilities[best]),
            others=int(max(sure.sum() - 1, 0)),
        )

    def _search_again(self, image: NDArray[np.uint8], search: Search) -> Face | None:
        """`_search` in the image stretched and perhaps mirrored; the face in the image's own pixels."""
        height, width = image.shape[:2]
        shrink = min(1.0, LAST_SIDE / max(height, width))
        side = (max(round(width * search.wide * shrink), 1), max(round(height * search.high * shrink), 1))
        stretched = np.asarray(cv2.resize(image, side, interpolation=cv2.INTER_LINEAR), dtype=np.uint8)
        if search.mirrored:
            stretched = np.ascontiguousarray(stretched[:, ::-1])
        self._mtcnn.thresholds, self._mtcnn.factor = list(search.thresholds), search.pyramid
        try:
            face = self._search(stretched, max(COARSE_SHARE * min(side), FINE_PIXELS), 0)
        finally:
            self._mtcnn.thresholds, self._mtcnn.factor = list(THRESHOLDS), PYRAMID
        if face is None:
            return None
        factor = np.array([side[0] / width, side[1] / height], np.float32)
        box, points = (face.box.reshape(2, 2) + 0.5) / factor - 0.5, (face.points + 0.5) / factor - 0.5
        if search.mirrored:
            box[:, 0] = width - 1 - box[::-1, 0]
            points = points[_MIRRORED]
            points[:, 0] = width - 1 - points[:, 0]
        return Face(box.reshape(4).astype(np.float32), points.astype(np.float32), face.probability, face.others)

    def _refine(self, image: NDArray[np.uint8], face: Face) -> NDArray[np.float64]:
        """The mean of the last stage's points over four shifted crops and their mirror images; (5, 2)."""
        centre = (face.box[:2] + face.box[2:]).astype(np.float64) / 2
        side = max(float((face.box[2:] - face.box[:2]).max()), 1.0)
        shifts = np.array([[-1, -1], [1, -1], [-1, 1], [1, 1]]) * (_SHIFT * side)
        corners = centre + shifts - side / 2 - 0.5  # where each crop's first edge lies
        scale = 48 / side
        crops = np.stack(
            [
                crop(image, np.array([[scale, 0, -x * scale - 0.5], [0, scale, -y * scale - 0.5]]), 48, reflect=False)
                for x, y in corners
            ]
        )
        batch = torch.from_numpy(crops).to(self.device).permute(0, 3, 1, 2).float().sub(127.5).mul(1 / 128)
        with torch.inference_mode():
            raw = self._mtcnn.onet(torch.cat([batch, batch.flip(3)]))[1].double().cpu().numpy()
        relative = np.stack([raw[:, :5], raw[:, 5:]], axis=-1)  # of the crop's side, from its first edge
        plain, mirrored = relative[:4], relative[4:][:, _MIRRORED]
        mirrored[..., 0] = 1 - mirrored[..., 0]
        points: NDArray[np.float64] = (corners[:, None] + side * (plain + mirrored) / 2).mean(0)
        return points


def _equalise(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Raise the local contrast of the lightness, colours as they are."""
    lab = cv2.cvtColor(image, cv2.COLOR_RGB2LAB)
    lab[..., 0] = cv2.createCLAHE(CLIP_LIMIT, (TILES, TILES)).apply(lab[..., 0])
    return np.asarray(cv2.cvtColor(lab, cv2.COLOR_LAB2RGB), dtype=np.uint8)


def _resize(image: NDArray[np.uint8], scale: float) -> NDArray[np.uint8]:
    if scale == 1:
        return image
    size = (max(round(image.shape[1] * scale), 1), max(round(image.shape[0] * scale), 1))
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(image, size, interpolation=how), dtype=np.uint8)
