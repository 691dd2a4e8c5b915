"""Aligned photographs on disk as training data: FFHQ's own layout, or any folder of square images.

Images are decoded when they are drawn, so memory does not grow with the data set. Who they show is not known: each
image is a person of its own, and a pair of one identity is the image with itself or its mirror.
"""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from mfim.data import Faces
from mfim_bench.errors import RowError, UsageError
from mfim_bench.media.images import read_image

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")
FFHQ = "images1024x1024"
"""Where FFHQ's download puts the aligned images: ``images1024x1024/00000/00000.png``."""
THREADS = 16


class FolderImages:
    """N images (size, size, 3) uint8 RGB, decoded when asked for, with an integer array for a stack.

    Args:
        files: of square images, ``size`` px or more.
        size: to which they are reduced, by the mean over the area.
    """

    def __init__(self, files: list[Path], size: int) -> None:
        self._files, self._size = files, size
        self._pool = ThreadPoolExecutor(THREADS, "decode")

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self._files), self._size, self._size, 3)

    def __len__(self) -> int:
        return len(self._files)

    def take(self, index: NDArray[np.int64]) -> FolderImages:
        """The images of these numbers, not decoded."""
        return FolderImages([self._files[int(k)] for k in index], self._size)

    def __getitem__(self, index: Any) -> NDArray[np.uint8]:
        """One image or a stack.

        Raises:
            UsageError: a file is unreadable, not square or too small.
        """
        if isinstance(index, int | np.integer):
            return self._one(int(index))
        return np.stack(list(self._pool.map(self._one, np.arange(len(self))[index].tolist())))

    def _one(self, index: int) -> NDArray[np.uint8]:
        file = self._files[index]
        try:
            image = read_image(file)
        except RowError as error:
            raise UsageError(f"{file}: {error}") from error
        height, width, _ = image.shape
        if height != width or height < self._size:
            raise UsageError(f"{file} is {width}x{height}: aligned images are square, {self._size} px or more")
        if height == self._size:
            return image
        return np.asarray(cv2.resize(image, (self._size, self._size), interpolation=cv2.INTER_AREA), np.uint8)


def open_folder(folder: Path, size: int) -> Faces:
    """Training data of a folder of aligned images, in any depth of folders; of FFHQ's folder, its 1024 px images.

    Args:
        folder: of ``ffhq`` crops.
        size: of the model.

    Raises:
        UsageError: no such folder, no images, or the first one is unreadable, not square or too small.
    """
    if not folder.is_dir():
        raise UsageError(f"no such folder of images: {folder}")
    root = folder / FFHQ if (folder / FFHQ).is_dir() else folder
    files = sorted(path for path in root.rglob("*") if path.suffix.lower() in SUFFIXES)
    if not files:
        raise UsageError(f"no images ({', '.join(SUFFIXES)}) in {root}")
    images = FolderImages(files, size)
    first = hashlib.sha256(images[0].tobytes()).hexdigest()
    names = "\n".join(f"{path.relative_to(root)} {path.stat().st_size}" for path in files)
    key = hashlib.sha256(f"{first}\n{size}\n{names}".encode()).hexdigest()[:16]
    return Faces(images, np.arange(len(files)), key)
