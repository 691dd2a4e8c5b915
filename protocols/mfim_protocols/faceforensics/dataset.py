"""The protocols on FaceForensics++: ten frames a video, each with a frame of the video whose face it gets.

Every rule takes the swaps of the split files in both directions. What one row is, by rule:

=================  ==========================================  ==========================================
variant            target frames                               source frame
=================  ==========================================  ==========================================
``@infoswap``      ten even ones (InfoSwap, CVPR 2021)         the k-th even one for the k-th [own choice]
``@simswap``       ten by chance (SimSwap, MM 2020)            the k-th of the source's ten [own choice]
``@reliableswap``  every ceil(n/10)-th (ReliableSwap's code)   the first of its video (ReliableSwap's code)
``@megafs``        ten even ones of the shorter of the two     the frame of the same number (MegaFS, CVPR
                   videos [own choice: ten, even]              2021)
=================  ==========================================  ==========================================

Left open by the sources, and chosen here:

- *even*: the middles of ten equal parts of the video; a video of fewer frames gives all it has.
- *by chance*: SimSwap prints no seed; ours is the video's name, so one video gives the same frames in every pair.
- MegaFS takes the most frontal frame instead where no face is found in frame N. We do not: that is a failed row.
- ReliableSwap's code takes the next frame instead where no face is found, of targets and sources. We do not: that is a
  failed row. As there, a video has ten rows: beyond its end the steps are counted on from its beginning. The code as
  published stops after the first 400 targets; ``--split all`` goes on to the last.
- HifiFace's ten thousand frames are ten a video of all thousand; how they lie is not said: ``@infoswap --split all``.
- The papers score all 1,000 swaps; some do not say so. The default split is ``test`` (140 swaps), ``all`` is theirs.
- Identity is the video. The thousand videos show fewer people (papers count 883 to 889) but no list of them is
  published, so two videos of one person count as two people.
- Compression: most papers do not name theirs. c23 unless the protocol's name ends in ``-c40`` or ``-raw``.
- Retrieval looks among the source and target frames of all pairs, which are original frames of all videos of the
  split. Under ``@reliableswap`` it looks among the source frames, the first of each video, as its code does.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from mfim_bench.errors import RowError, UsageError
from mfim_bench.protocol import DataCheck, Frame, Pair
from mfim_protocols.copies import Paired, few, strangers, troubles
from mfim_protocols.faceforensics.layout import (
    ACCESS,
    COMPRESSIONS,
    KNOWN,
    MANIPULATIONS,
    ORIGINAL,
    SKIPPED,
    SPLITS,
    manipulated,
    original,
    swaps,
)

FRAMES = 10
"""A video."""
Rule = Callable[[str, int, str, int], "list[tuple[int, int]]"]
"""(target, its frames, source, its frames) → (number of the target frame, of the source frame) of each row."""


def _even(target: str, length: int, source: str, other: int) -> list[tuple[int, int]]:
    from mfim_bench.media.frames import even_frames

    return list(zip(even_frames(length, FRAMES), even_frames(other, FRAMES), strict=False))


def _random(target: str, length: int, source: str, other: int) -> list[tuple[int, int]]:
    from mfim_bench.media.frames import random_frames

    ours, theirs = random_frames(length, FRAMES, target), random_frames(other, FRAMES, source)
    return list(zip(ours, theirs, strict=False))


def _stepped(target: str, length: int, source: str, other: int) -> list[tuple[int, int]]:
    from mfim_bench.media.frames import stepped_frames

    return [(number, 0) for number in stepped_frames(length, FRAMES)]


def _same(target: str, length: int, source: str, other: int) -> list[tuple[int, int]]:
    from mfim_bench.media.frames import even_frames

    return [(number, number) for number in even_frames(min(length, other), FRAMES)]


RULES: dict[str, Rule] = {"infoswap": _even, "simswap": _random, "reliableswap": _stepped, "megafs": _same}


def frame_count(video: Path) -> int | None:
    """Frames that the header of a video states; None when it cannot be read. Nothing is decoded."""
    from mfim_bench.media.video import video_info

    try:
        return video_info(video).frames or None
    except RowError:
        return None


class FaceForensics(Paired):
    """One split at one compression, see `mfim_protocols.copies.Paired`.

    Args:
        root: the download script's output folder.
        compression: of the videos, originals and manipulated ones alike.
        listed: (target, source) of each swap, sorted.
        rule: which frames.
    """

    def __init__(self, root: Path, compression: str, listed: list[tuple[str, str]], rule: Rule) -> None:
        self.compression, self.swaps = compression, listed
        self.videos = sorted({video for swap in listed for video in swap})
        self._original = partial(original, root, compression)
        lengths = {video: frame_count(self._original(video)) for video in self.videos}
        pairs = []
        for target, source in listed:
            # A video that cannot be read keeps its rows, which then fail: nobody's swaps get fewer by it.
            rows = rule(target, lengths[target] or FRAMES, source, lengths[source] or FRAMES)
            pairs += [
                Pair(f"{target}_{source}-{k}", source=self._frame(source, theirs), target=self._frame(target, ours))
                for k, (ours, theirs) in enumerate(rows)
            ]
        super().__init__(root, pairs)

    def _frame(self, video: str, index: int) -> Frame:
        return Frame(f"{video}-f{index:04d}", self._original(video), identity=video, index=index)

    def check(self, deep: bool) -> DataCheck:
        originals = [self._original(video) for video in self.videos]
        bad = self._troubles(originals, deep)
        present = [f"original videos {self.compression}: {len(originals) - len(bad)} of {len(originals)}"]
        for manipulation in MANIPULATIONS:
            paths = [manipulated(self.root, self.compression, manipulation, *swap) for swap in self.swaps]
            there = [path for path in paths if path.is_file()]
            wrong = self._troubles(paths, deep) if there else []
            bad += wrong
            unused = "" if there else f"; only the method {manipulation.lower()} reads them"
            count = len(paths) - len(wrong) if there else 0
            present.append(f"{manipulation} videos {self.compression}: {count} of {len(paths)}{unused}")
        return DataCheck(tuple(present), few(bad), strangers(self.root, KNOWN, SKIPPED))

    def _troubles(self, videos: list[Path], deep: bool) -> list[str]:
        """As `troubles`, and the videos whose header cannot be read, such as those whose end is lost."""
        bad = troubles(self.root, videos, deep)
        for video in videos:
            name = video.relative_to(self.root).as_posix()
            if not any(name in line for line in bad) and frame_count(video) is None:
                bad.append(f"{name}: its header cannot be read, so it is no video")
        return bad


def load(data: Path | None, split: str, argument: str) -> FaceForensics:
    """Open a copy (the factory of all ``faceforensics++`` protocols).

    Args:
        data: folder that holds ``original_sequences`` and, for the methods that read them, ``manipulated_sequences``.
        split: test, val, train or all.
        argument: the rule of `RULES` and the compression, with a space between.

    Raises:
        UsageError: no such videos, or nothing that says which are swapped.
    """
    rule, _, compression = argument.partition(" ")
    if data is None:
        raise UsageError(f"FaceForensics++ needs --data DIR, the folder of original_sequences; {ACCESS}")
    if split not in SPLITS:
        raise UsageError(f"FaceForensics++ has no split {split!r}; choose from {', '.join(SPLITS)}")
    root = data.resolve()
    if not (root / ORIGINAL / compression / "videos").is_dir():
        others = [name for name in COMPRESSIONS if (root / ORIGINAL / name / "videos").is_dir()]
        there = f"; it has {' and '.join(others)}, which are protocols of their own" if others else f"; {ACCESS}"
        raise UsageError(f"{data} has no {ORIGINAL}/{compression}/videos{there}")
    return FaceForensics(root, compression, swaps(root, compression, split), RULES[rule])
