"""CelebA-HQ (Karras et al., ICLR 2018) as CelebAMask-HQ (Lee et al., CVPR 2020) gives it: 30,000 images by number.

- ``@reface`` (the default): target 28000 + i with source 29000 + i for i in 0..999, as the code of REFace (WACV 2025)
  pairs them. REFace works at 512 px; here every image is measured at the size it has.
- ``@simswap``: 1,000 pairs by chance, as SimSwap's paper says. Open there: the draw, and whether an image may come
  twice. Ours is 2,000 different images of all 30,000 by a fixed seed [own choice].
- ``@faceswapping-all-in-one``: target i with source (i + N/2) mod N of the N = 30,000 images, i from 0 to 9,999, as the
  code of FaceSwappingAllInOne (github.com/ygtxr1997) pairs and counts them. i is an image's place in the list of file
  names *sorted as text* (0.jpg, 1.jpg, 10.jpg, 100.jpg, ...), not its number.

Left out: ReliableSwap's random pairs. Its code states the generator (NumPy's, seed 38), but the numbers drawn are
places in a list of the 29,893 crops in which its detector found a face, and that list is not published.

Left open by all, and chosen here: who is shown. Where CelebA's ``identity_CelebA.txt`` and CelebAMask-HQ's
``CelebA-HQ-to-CelebA-mapping.txt`` lie in the data folder, identities are CelebA's; else every image counts as a person
of its own (intervals are then a little too narrow), and a warning says so. The pairs are the same either way, so a few
may show one person twice. Retrieval looks among the source images.
"""

from __future__ import annotations

import logging
import random
import re
from pathlib import Path

from mfim_bench.errors import UsageError
from mfim_bench.protocol import DataCheck, Frame, Pair
from mfim_protocols.copies import Paired, few, list_text, strangers, troubles

log = logging.getLogger(__name__)

IMAGES = 30_000
PAIRS = 1_000
SEED = 2026
FOLDERS = ("CelebAMask-HQ/CelebA-HQ-img", "CelebA-HQ-img", "")
MAPPING, IDENTITIES = "CelebA-HQ-to-CelebA-mapping.txt", "identity_CelebA.txt"
LIST_FOLDERS = ("", "CelebAMask-HQ", "Anno", "CelebAMask-HQ/Anno")
ACCESS = "its owners give access at github.com/switchablenorms/CelebAMask-HQ"
KNOWN = re.compile(
    rf"((CelebAMask-HQ/)?CelebA-HQ-img/)?\d+\.(jpg|png)|((CelebAMask-HQ/)?(Anno/)?)({MAPPING}|{IDENTITIES})"
    r"|(CelebAMask-HQ/)?(CelebAMask-HQ-(attribute|pose)-anno\.txt|README\.(txt|md)|list_eval_partition\.txt)"
)
SKIPPED = re.compile(r"(CelebAMask-HQ/)?CelebAMask-HQ-mask-anno")


def reface() -> list[tuple[int, int]]:
    """(target, source)."""
    return [(28_000 + i, 29_000 + i) for i in range(PAIRS)]


def simswap() -> list[tuple[int, int]]:
    """(target, source)."""
    drawn = random.Random(SEED).sample(range(IMAGES), 2 * PAIRS)
    return list(zip(drawn[:PAIRS], drawn[PAIRS:], strict=True))


def faceswapping_all_in_one() -> list[tuple[int, int]]:
    """(target, source)."""
    listed = sorted(range(IMAGES), key=lambda number: f"{number}.jpg")
    return [(listed[i], listed[(i + IMAGES // 2) % IMAGES]) for i in range(10 * PAIRS)]


RULES = {"reface": reface, "simswap": simswap, "faceswapping-all-in-one": faceswapping_all_in_one}


class CelebaHq(Paired):
    """See `mfim_protocols.copies.Paired`.

    Args:
        root: the folder of ``--data``.
        images: folder of ``<index>.jpg`` or ``.png``.
        people: number of an image → who is shown; None where nobody says.
        listed: (target, source) numbers.
    """

    def __init__(self, root: Path, images: Path, people: dict[int, str] | None, listed: list[tuple[int, int]]) -> None:
        self.images, self.people = images, people
        super().__init__(root, [Pair(f"{t}-{s}", source=self._frame(s), target=self._frame(t)) for t, s in listed])

    def _frame(self, index: int) -> Frame:
        png = self.images / f"{index}.png"
        path = png if png.is_file() else self.images / f"{index}.jpg"
        alone = f"image-{index}"
        return Frame(str(index), path, alone if self.people is None else self.people.get(index, alone))

    def check(self, deep: bool) -> DataCheck:
        files = self.files()
        bad = troubles(self.root, files, deep)
        twice = [path.stem for path in files if path.with_suffix(".jpg").is_file() and path.suffix == ".png"]
        people = "unknown, every image counts as a person of its own" if self.people is None else f"by {IDENTITIES}"
        return DataCheck(
            (f"images of the pairs: {len(files) - len(bad)} of {len(files)}", f"identities: {people}"),
            few([*bad, *(f"{stem}: there is a .png and a .jpg of it; the .png is taken" for stem in twice)]),
            strangers(self.root, KNOWN, SKIPPED),
        )


def load(data: Path | None, split: str, argument: str) -> CelebaHq:
    """Open a copy (the factory of all ``celeba-hq`` protocols; ``argument`` is the rule of `RULES`).

    Raises:
        UsageError: there are no images by number.
    """
    if data is None:
        raise UsageError(f"CelebA-HQ needs --data DIR, the folder of CelebAMask-HQ; {ACCESS}")
    root = data.resolve()
    images = next((root / name for name in FOLDERS if _numbered(root / name)), None)
    if images is None:
        raise UsageError(f"{data} has no CelebAMask-HQ/CelebA-HQ-img/<0…29999>.jpg and is no such folder; {ACCESS}")
    people = _people(root)
    if people is None:
        log.warning(
            "CelebA-HQ: %s or %s is not in %s; every image counts as a person of its own", MAPPING, IDENTITIES, data
        )
    return CelebaHq(root, images, people, RULES[argument]())


def _numbered(folder: Path) -> bool:
    return folder.is_dir() and any(
        path.stem.isdecimal() and path.suffix in (".jpg", ".png") for path in folder.iterdir()
    )


def _people(root: Path) -> dict[int, str] | None:
    mapping, identities = (_find(root, name) for name in (MAPPING, IDENTITIES))
    if mapping is None or identities is None:
        return None
    names = dict(_rows(identities, 2))
    found = {}
    for index, _, file in _rows(mapping, 3):
        if index.isdecimal():  # the first line names the columns
            if file not in names:
                raise UsageError(f"{mapping} names {file}, which {identities} does not know")
            found[int(index)] = f"celeba-{names[file]}"
    return found


def _find(root: Path, name: str) -> Path | None:
    return next((path for folder in LIST_FOLDERS if (path := root / folder / name).is_file()), None)


def _rows(path: Path, columns: int) -> list[list[str]]:
    rows = [line.split() for line in list_text(path).splitlines() if line.strip()]
    if any(len(row) != columns for row in rows):
        raise UsageError(f"{path}: every line must have {columns} columns")
    return rows
