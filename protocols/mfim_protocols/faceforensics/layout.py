"""Where FaceForensics++ keeps its videos, and which of them are swapped with which.

Source: the owner's README and download script (github.com/ondyari/FaceForensics, ``dataset/``). The videos are named
``000.mp4`` … ``999.mp4``; ``<target>_<source>.mp4`` is a video of the first with the face of the second. The split
files list pairs of videos, each of which was swapped both ways: 720, 140 and 140 swaps.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

from mfim_bench.errors import UsageError

ORIGINAL = "original_sequences/youtube"
MANIPULATED = "manipulated_sequences"
MANIPULATIONS = ("Deepfakes", "Face2Face", "FaceShifter", "FaceSwap", "NeuralTextures")
COMPRESSIONS = ("c23", "c40", "raw")
SPLITS = ("test", "val", "train", "all")
SPLIT_FOLDERS = ("", "splits", "dataset/splits")
"""Where the owner's split files are looked for."""
ACCESS = "the owner gives access by the form at github.com/ondyari/FaceForensics"
KNOWN = re.compile(
    rf"{ORIGINAL}/(raw|c0|c23|c40)/videos/\d{{3}}\.mp4"
    rf"|{MANIPULATED}/({'|'.join(MANIPULATIONS)})/(raw|c0|c23|c40)/videos/\d{{3}}_\d{{3}}\.mp4"
    r"|((dataset/)?splits/)?(train|val|test)\.json|conversion_dict\.json|README\.md|LICENSE|[^/]*\.py"
)
SKIPPED = re.compile(
    r"downloaded_videos[^/]*|original_sequences/actors|manipulated_sequences/DeepFakeDetection"
    r"|(original|manipulated)_sequences/.*/(images|masks|models)"
)


def original(root: Path, compression: str, video: str) -> Path:
    """An original video."""
    return root / ORIGINAL / compression / "videos" / f"{video}.mp4"


def manipulated(root: Path, compression: str, manipulation: str, target: str, source: str) -> Path:
    """The target video with the source's face (or, of the two reenactments, with its expression)."""
    return root / MANIPULATED / manipulation / compression / "videos" / f"{target}_{source}.mp4"


def swaps(root: Path, compression: str, split: str) -> list[tuple[str, str]]:
    """(target, source) of every swap of a split, sorted.

    ``all`` is all three split files where they are there, else whatever the names of the manipulated videos say.

    Raises:
        UsageError: a split file is missing or is none, or no manipulated video is there.
    """
    if split != "all":
        return _both_ways(_split_file(root, split))
    names = [name for name in SPLITS if name != "all"]
    if all(_find(root, name) for name in names):
        return sorted(swap for name in names for swap in _both_ways(_split_file(root, name)))
    found = {
        (path.stem[:3], path.stem[4:])
        for manipulation in MANIPULATIONS
        for path in (root / MANIPULATED / manipulation / compression / "videos").glob("*.mp4")
        if re.fullmatch(r"\d{3}_\d{3}", path.stem)
    }
    if not found:
        raise UsageError(
            f"{root} has neither the split files train.json, val.json and test.json nor a manipulated video of "
            f"{compression}, so nothing says which videos are swapped"
        )
    return sorted(found)


def _both_ways(pairs: list[tuple[str, str]]) -> list[tuple[str, str]]:
    return sorted({*pairs, *((second, first) for first, second in pairs)})


def _find(root: Path, split: str) -> Path | None:
    places = (root / folder / f"{split}.json" for folder in SPLIT_FOLDERS)
    return next((path for path in places if path.is_file()), None)


def _split_file(root: Path, split: str) -> list[tuple[str, str]]:
    path = _find(root, split)
    if path is None:
        raise UsageError(
            f"the split {split} of FaceForensics++ needs {split}.json of its owner (github.com/ondyari/FaceForensics, "
            f"dataset/splits) in {root}; without it there is --split all"
        )
    try:
        pairs = json.loads(path.read_bytes())
        listed = [(str(first), str(second)) for first, second in pairs]
        good = all(re.fullmatch(r"\d{3}", video) for pair in listed for video in pair) and bool(listed)
    except (OSError, ValueError, TypeError):
        good = False
    if not good:
        raise UsageError(f"{path} is no split file of FaceForensics++: a list of pairs of names such as 012")
    return listed
