"""The twins. Each function fills a folder with a whole data set and returns it; `spoil_*` breaks known members.

The layouts are written out here from the owners' READMEs and share no code with the readers that they test.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

from PIL import Image

from twins.faces import RGB, face, moved, noise, swapped, write_video

RATES = {"c23": 23, "c40": 40, "raw": 0}
SPLITS = {"test": [("000", "003"), ("048", "029")], "val": [("012", "026")], "train": [("071", "054")]}
VIDEOS = sorted({video for pairs in SPLITS.values() for pair in pairs for video in pair})
SWAPPERS = ("Deepfakes", "FaceShifter")
PEOPLE = 7
"""Of the image twins. A thousand is no multiple of it, so nobody is swapped with themselves."""


def faceforensics(
    root: Path, frames: int = 3, compressions: tuple[str, ...] = ("c23", "c40"), swappers: tuple[str, ...] = SWAPPERS
) -> Path:
    """FaceForensics++: eight videos, their swaps both ways, split files."""
    for compression in compressions:
        originals = root / "original_sequences" / "youtube" / compression / "videos"
        for video in VIDEOS:
            write_video(originals / f"{video}.mp4", clip(face(int(video)), frames), RATES[compression])
        for swapper in swappers:
            folder = root / "manipulated_sequences" / swapper / compression / "videos"
            for target, source in both_ways(pair for pairs in SPLITS.values() for pair in pairs):
                # Deepfakes here is the true swap, FaceShifter half of the way there.
                image = swapped(int(target), int(source))
                if swapper != "Deepfakes":
                    image = ((image.astype(int) + face(int(target))) // 2).astype("uint8")
                write_video(folder / f"{target}_{source}.mp4", clip(image, frames), RATES[compression])
    for split, pairs in SPLITS.items():
        (root / f"{split}.json").write_text(json.dumps(pairs))
    return root


def spoil_faceforensics(root: Path) -> dict[str, str]:
    """Break the c23 videos of the test split; what → words of the reason.

    A truncated original (029), a lost FaceShifter video, an original of whose frames one has no face (003), and a file
    that belongs to nothing.
    """
    originals = root / "original_sequences" / "youtube" / "c23" / "videos"
    whole = (originals / "029.mp4").read_bytes()
    (originals / "029.mp4").write_bytes(whole[: len(whole) // 2])
    images = clip(face(3), 3)
    images[1] = noise(3)
    write_video(originals / "003.mp4", images, 23)
    (root / "manipulated_sequences" / "FaceShifter" / "c23" / "videos" / "000_003.mp4").unlink()
    (originals / "notes.txt").write_text("mine")
    return {"029.mp4": "not a video", "000_003.mp4": "missing"}


def celeba_hq(
    root: Path, layout: str = "CelebAMask-HQ/CelebA-HQ-img", suffix: str = ".jpg", people: bool = True
) -> Path:
    """The last two thousand images of CelebA-HQ, in CelebAMask-HQ's folders or (``layout=""``) in one folder."""
    images = root / layout
    _fill(images, [f"{number}{suffix}" for number in range(28_000, 30_000)])
    if people:
        beside = root / "CelebAMask-HQ" if layout.startswith("CelebAMask") else root
        lines = ["    idx    orig_idx    orig_file"]
        lines += [f"{number:8d}{number + 7:12d}    {number + 8:06d}.jpg" for number in range(28_000, 30_000)]
        (beside / "CelebA-HQ-to-CelebA-mapping.txt").write_text("\n".join(lines) + "\n")
        names = [f"{number + 8:06d}.jpg {number % PEOPLE + 1}" for number in range(28_000, 30_000)]
        (root / "identity_CelebA.txt").write_text("\n".join(names) + "\n")
    return root


def spoil_celeba_hq(root: Path, targets: list[str]) -> dict[str, str]:
    """Break four images, given by number: lost, empty, truncated, without a face; number → words of the reason."""
    images = root / "CelebAMask-HQ" / "CelebA-HQ-img"
    lost, empty, short, faceless = (images / f"{target}.jpg" for target in targets)
    whole = short.read_bytes()
    for path in (lost, empty, short, faceless):
        path.unlink()  # it is a link to the image of others
    empty.write_bytes(b"")
    short.write_bytes(whole[: len(whole) // 3])
    Image.fromarray(noise(4)).save(faceless)
    (images / "thumbs.db").write_bytes(b"x")
    words = ("missing", "empty", "truncated", "no face found")
    return dict(zip(targets, words, strict=True))


def ffhq(root: Path, nested: bool = True) -> Path:
    """The last two thousand images of FFHQ, beside thumbnails of other people under the same names."""
    numbers = range(68_000, 70_000)
    folder = {number: f"{number // 1000 * 1000:05d}/" if nested else "" for number in numbers}
    _fill(root / "images1024x1024", [f"{folder[number]}{number:05d}.png" for number in numbers])
    (root / "images1024x1024" / "LICENSE.txt").write_text("CC BY-NC-SA 4.0")
    _fill(root / "thumbnails128x128", [f"{folder[number]}{number:05d}.png" for number in numbers], first=3, size=128)
    return root


def casia(root: Path, frames: int = 10) -> Path:
    """The CASIA benchmark: faces, and pair files with each pair both ways, a line a frame."""
    people = ("0041", "1268", "0065", "0683")
    for index, person in enumerate(people):
        for video in (0, 1):
            for frame in range(frames):
                path = root / "faces" / f"{person}-{video}_{frame}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(moved(face(index, video), frame)).save(path)
    (root / "benchmark").mkdir()
    kinds = {"normal": (0, 0), "cross_ethnicity": (0, 0), "cross_attribute": (1, 0)}
    for (kind, (theirs, ours)), pairs in zip(kinds.items(), ([(0, 1)], [(2, 3)], [(0, 1), (2, 3)]), strict=True):
        lines = [
            f"{people[source]}-{theirs}_{frame}.png {people[target]}-{ours}_{frame}.png"
            for source, target in both_ways(pairs)
            for frame in range(frames)
        ]
        (root / "benchmark" / f"image_pairs_{kind}.txt").write_text("\n".join(lines) + "\n")
    return root


def both_ways(pairs):  # type: ignore[no-untyped-def]
    """Each pair and its reverse."""
    return [way for first, second in pairs for way in ((first, second), (second, first))]


def clip(image: RGB, frames: int) -> list[RGB]:
    return [moved(image, number) for number in range(frames)]


def _fill(folder: Path, names: list[str], first: int = 0, size: int | None = None) -> None:
    """Images of seven people under many names: written once, linked else."""
    made: dict[int, Path] = {}
    for number, name in enumerate(names):
        path, person = folder / name, (number + first) % PEOPLE
        path.parent.mkdir(parents=True, exist_ok=True)
        if person not in made:
            image = Image.fromarray(face(person))
            (image.resize((size, size)) if size else image).save(path, quality=95)
            made[person] = path
            continue
        try:
            os.link(made[person], path)
        except OSError:
            shutil.copyfile(made[person], path)


def _spoiled_faceforensics(root: Path) -> Path:
    spoil_faceforensics(faceforensics(root))
    return root


ALL: dict[str, Callable[[Path], Path]] = {
    "faceforensics": faceforensics,
    "faceforensics-spoiled": _spoiled_faceforensics,
    "celeba-hq": celeba_hq,
    "ffhq": ffhq,
    "casia": casia,
}
