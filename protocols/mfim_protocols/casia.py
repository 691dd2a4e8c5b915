"""The benchmark of the CASIA survey "Towards High-Fidelity Face Swapping" (arXiv 2605.00883).

Source: github.com/CASIA-NLPRAI/face-swapping-survey, ``benchmark/image_pairs_*.txt`` (a line: ``source target``, such
as ``0041-0_0.png 1268-0_0.png``) and its README; images are ``faces/<video>_<frame>.png``. The files hold ten lines for
every pair that the README counts: 45,000, 12,000 and 43,000. All lines are rows here.

Identity is the number before the dash, as in the survey's own retrieval (video ``0041-0`` shows person ``0041``). So
the ten frames of a video, and a pair and its reverse, are never counted as independent. Open, and chosen here:
retrieval looks among the source images of the pairs; the survey's gallery is one frame of each person.
Results made by the survey's rules, ``<source>-<target>.png``, are read by ``--method dir:PATH`` as they are.
"""

from __future__ import annotations

import re
from pathlib import Path

from mfim_bench.errors import UsageError
from mfim_bench.protocol import DataCheck, Frame, Pair
from mfim_protocols.copies import Paired, few, list_text, strangers, troubles

FACES = ("faces", "CASIA_FaceSwapping/faces")
LISTS = ("", "benchmark", "face-swapping-survey/benchmark")
OWNER = "github.com/CASIA-NLPRAI/face-swapping-survey"
ACCESS = f"its owners give access by a signed agreement, see {OWNER}"
NAME = re.compile(r"(\d{4})-\d+_\d+")
KNOWN = re.compile(
    rf"(CASIA_FaceSwapping/)?faces/{NAME.pattern}\.png|((face-swapping-survey/)?benchmark/)?"
    r"((image|video)_pairs_\w+\.txt|anno\.csv)|README\.md"
)
SKIPPED = re.compile(
    r"(CASIA_FaceSwapping/)?(faces_landmarks|videos|pretrained_models)|face-swapping-survey/(?!bench).*"
)


class Casia(Paired):
    """See `mfim_protocols.copies.Paired`.

    Args:
        root: the folder of ``--data``.
        faces: the folder of images.
        listed: (source, target) names of images, without suffix.
    """

    def __init__(self, root: Path, faces: Path, listed: list[tuple[str, str]]) -> None:
        self.faces = faces
        super().__init__(root, [Pair(f"{s}-{t}", source=self._frame(s), target=self._frame(t)) for s, t in listed])

    def _frame(self, name: str) -> Frame:
        return Frame(name, self.faces / f"{name}.png", identity=name[:4])

    def check(self, deep: bool) -> DataCheck:
        files = self.files()
        bad = troubles(self.root, files, deep)
        return DataCheck(
            (f"images of the pairs: {len(files) - len(bad)} of {len(files)}", f"pairs: {len(self.pairs())}"),
            few(bad),
            strangers(self.root, KNOWN, SKIPPED),
        )


def load(data: Path | None, split: str, argument: str) -> Casia:
    """Open a copy (the factory of the three protocols; ``argument`` is the pair file's last word).

    Raises:
        UsageError: no faces, no pair file, or a line that is no pair.
    """
    if data is None:
        raise UsageError(f"the CASIA benchmark needs --data DIR, the folder of faces; {ACCESS}")
    root = data.resolve()
    faces = next((root / name for name in FACES if (root / name).is_dir()), None)
    if faces is None:
        raise UsageError(f"{data} has no faces/<video>_<frame>.png; {ACCESS}")
    name = f"image_pairs_{argument}.txt"
    listing = next((path for folder in LISTS if (path := root / folder / name).is_file()), None)
    if listing is None:
        raise UsageError(f"{data} has no {name}; it is in the folder benchmark of {OWNER}")
    return Casia(root, faces, _read(listing))


def _read(listing: Path) -> list[tuple[str, str]]:
    found: dict[tuple[str, str], None] = {}
    for number, line in enumerate(list_text(listing).splitlines(), 1):
        if not line.strip():
            continue
        names = [name.removesuffix(".png") for name in line.split()]
        if len(names) != 2 or not all(NAME.fullmatch(name) for name in names):
            raise UsageError(f"{listing}, line {number}: wanted a source and a target such as 0041-0_0.png")
        pair = (names[0], names[1])
        if pair in found:
            raise UsageError(f"{listing}, line {number}: this pair stands there twice")
        found[pair] = None
    if not found:
        raise UsageError(f"{listing} lists no pairs")
    return list(found)
