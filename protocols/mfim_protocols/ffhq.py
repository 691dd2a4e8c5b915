"""FFHQ (Karras et al., CVPR 2019): target 68000 + i with source 69000 + i for i in 0..999.

The pairs are those of REFace (WACV 2025) and DreamID. Images are measured at the size they have (1,024 px where they
come from ``images1024x1024``; REFace works at 512 px). FFHQ says nothing of who is shown, so every image counts as a
person of its own. Retrieval looks among the source images. Nothing else is left open.
"""

from __future__ import annotations

import re
from pathlib import Path

from mfim_bench.errors import UsageError
from mfim_bench.protocol import DataCheck, Frame, Pair
from mfim_protocols.copies import Paired, few, strangers, troubles

PAIRS = 1_000
IMAGES, THUMBNAILS = "images1024x1024", "thumbnails128x128"
ACCESS = "its owners give access at github.com/NVlabs/ffhq-dataset"
KNOWN = re.compile(
    rf"({IMAGES}/)?(\d{{5}}/)?\d{{5}}\.png|ffhq-dataset-v\d\.json|(.*/)?(LICENSE|README)\.(txt|md)|.*\.py"
)
SKIPPED = re.compile(rf"{THUMBNAILS}|in-the-wild-images|zips|tfrecords")


class Ffhq(Paired):
    """See `mfim_protocols.copies.Paired`.

    Args:
        root: the folder of ``--data``.
        images: the folder of ``NNNNN.png``, or of folders of a thousand each (``68000/68000.png``).
    """

    def __init__(self, root: Path, images: Path) -> None:
        self.images = images
        listed = [(f"{68_000 + i}", f"{69_000 + i}") for i in range(PAIRS)]
        super().__init__(root, [Pair(f"{t}-{s}", source=self._frame(s), target=self._frame(t)) for t, s in listed])

    def _frame(self, name: str) -> Frame:
        flat = self.images / f"{name}.png"
        return Frame(name, flat if flat.is_file() else self.images / f"{name[:2]}000" / flat.name, f"image-{name}")

    def check(self, deep: bool) -> DataCheck:
        files = self.files()
        bad = troubles(self.root, files, deep)
        return DataCheck(
            (f"images of the pairs: {len(files) - len(bad)} of {len(files)}",),
            few(bad),
            strangers(self.root, KNOWN, SKIPPED),
        )


def load(data: Path | None, split: str) -> Ffhq:
    """Open a copy (the factory).

    Raises:
        UsageError: there are no images, or thumbnails alone.
    """
    if data is None:
        raise UsageError(f"FFHQ needs --data DIR, the folder of {IMAGES}; {ACCESS}")
    root = data.resolve()
    images = root / IMAGES if (root / IMAGES).is_dir() else root
    if images.name == THUMBNAILS or not _has_images(images):
        small = (
            f" but {THUMBNAILS}, which are too small"
            if (root / THUMBNAILS).is_dir() or images.name == THUMBNAILS
            else ""
        )
        raise UsageError(f"{data} has no {IMAGES}/68000/68000.png or {IMAGES}/68000.png{small}; {ACCESS}")
    return Ffhq(root, images)


def _has_images(folder: Path) -> bool:
    return any(re.fullmatch(r"\d{5}(\.png)?", path.name) for path in folder.iterdir())
