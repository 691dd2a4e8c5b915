"""Pictures of what the open judges see in photographs: fitted vertices and angles, for people to look at."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import Delaunay

from mfim_bench.errors import UsageError
from mfim_bench.faces.detect import Detector
from mfim_bench.media.images import read_image
from mfim_bench.networks import hopenet
from mfim_protocols.judges.measure import open_judge
from mfim_protocols.virtual_faces.head import HeadModel

SIDE = 384


def draw(photos: list[Path], out: Path, weights: Path | None = None) -> list[str]:
    """Write one PNG: a row of the photograph's face and the fitted mesh over it for each photo.

    Returns:
        A line for each photo with the angles of `face3d` and `hopenet`.

    Raises:
        UsageError: a photo cannot be read or shows no face.
    """
    detector, three, hope = Detector(), open_judge("face3d", weights), hopenet.judge(torch.device("cpu"))
    head = HeadModel.load()
    wires = Delaunay(head.mean[head.dense][:, :2]).simplices
    rows, lines = [], []
    for photo in photos:
        image = read_image(photo)
        (face,) = detector.detect([image])
        if face is None:
            raise UsageError(f"{photo}: no face found")
        seen, angles = three.features([image], [face]), hope.features([image], [face])["pose"][0]
        points = seen["landmarks"][0].reshape(-1, 2)
        low, high = points.min(0), points.max(0)
        side = 1.35 * float((high - low).max())
        corner = (low + high) / 2 - side / 2
        matrix = np.array([[SIDE / side, 0, -corner[0] * SIDE / side], [0, SIDE / side, -corner[1] * SIDE / side]])
        plain = np.asarray(cv2.warpAffine(image, matrix, (SIDE, SIDE), flags=cv2.INTER_AREA), np.uint8)
        meshed = mesh(plain, (points - corner) * SIDE / side, wires)
        rows.append(np.concatenate([plain, meshed], 1))
        pose = np.rad2deg(seen["pose"][0])
        lines.append(
            f"{photo.name}: face3d yaw {pose[0]:+.1f}° pitch {pose[1]:+.1f}° roll {pose[2]:+.1f}°; "
            f"hopenet {angles[0]:+.1f}° {angles[1]:+.1f}° {angles[2]:+.1f}°"
        )
    out.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(out), cv2.cvtColor(np.concatenate(rows), cv2.COLOR_RGB2BGR))
    return lines


def mesh(image: NDArray[np.uint8], points: NDArray[np.floating], wires: NDArray[np.integer]) -> NDArray[np.uint8]:
    """Edges of triangles (T, 3) between points (K, 2) px, those that face the viewer drawn bright."""
    over = image.copy()
    fixed = np.round(points * 16).astype(np.int32)
    for triangle in wires:
        a, b, c = points[triangle]
        front = (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0]) < 0
        if front:
            cv2.polylines(over, [fixed[triangle]], True, (90, 255, 160), 1, cv2.LINE_AA, shift=4)
    return np.asarray(cv2.addWeighted(over, 0.7, image, 0.3, 0), np.uint8)
