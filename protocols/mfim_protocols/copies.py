"""What all protocols share that pair up the files of a data set's copy: order, hash, and the look at what is there."""

from __future__ import annotations

import hashlib
import json
import os
import random
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from mfim_bench.errors import RowError, UsageError
from mfim_bench.media.hashes import hash_if_there
from mfim_bench.media.images import read_image
from mfim_bench.protocol import DataCheck, Frame, Pair

SHUFFLE = 2026
LISTED = 10
"""Files named in a report; the rest is counted."""


class Paired:
    """A protocol whose pairs name files of one folder; see `mfim_bench.protocol.Protocol` and `CheckedProtocol`.

    Files that are missing or broken change no pair: the rows of a run say what is wrong with them.

    Args:
        root: of the copy.
        pairs: in an order that does not depend on the file system; they are shuffled here, always alike.
    """

    def __init__(self, root: Path, pairs: Sequence[Pair]) -> None:
        self.root, self._pairs = root, list(pairs)
        random.Random(SHUFFLE).shuffle(self._pairs)

    def pairs(self) -> Sequence[Pair]:
        return self._pairs

    def frames(self) -> Iterator[Frame]:
        """Sources and targets, each once."""
        seen: set[str] = set()
        for pair in self._pairs:
            for frame in (pair.source, pair.target):
                if frame.id not in seen:
                    seen.add(frame.id)
                    yield frame

    def files(self) -> list[Path]:
        """Every file that the pairs need, sorted."""
        other = {path for pair in self._pairs for path in (pair.truth, pair.region) if path is not None}
        return sorted({frame.path for frame in self.frames()} | other)

    def content_hash(self) -> str:
        """sha256 over ids, people and order of the pairs and the bytes of their files, wherever these lie.

        Files are read once: `mfim_bench.media.hashes.file_hash` remembers them.
        """
        digest, bytes_of = hashlib.sha256(), {path: hash_if_there(path) for path in self.files()}
        for pair in self._pairs:
            shown = [[f.id, f.identity, f.index, bytes_of[f.path]] for f in (pair.source, pair.target)]
            others = [path and bytes_of[path] for path in (pair.truth, pair.region)]
            digest.update(json.dumps([pair.id, shown, others]).encode())
        return digest.hexdigest()

    def problems(self) -> Sequence[str]:
        return self.check(deep=False).problems

    def check(self, deep: bool) -> DataCheck:
        """What is there and what is missing; ``deep`` decodes every file, one at a time."""
        files = self.files()
        broken = troubles(self.root, files, deep)
        return DataCheck(present=(f"files: {len(files) - len(broken)} of {len(files)}",), problems=few(broken))


def troubles(root: Path, files: Iterable[Path], deep: bool) -> list[str]:
    """One line for each file that is missing, empty or (``deep``) not to be decoded to its end."""
    return [line for path in files if (line := _trouble(path, path.relative_to(root).as_posix(), deep))]


def _trouble(path: Path, name: str, deep: bool) -> str | None:
    try:
        if not path.is_file():
            return f"missing {name}"
        if path.stat().st_size == 0:
            return f"empty {name}"
        if deep and path.suffix.lower() == ".mp4":
            from mfim_bench.media.video import read_pictures

            for _ in read_pictures(path):
                pass
        elif deep:
            read_image(path)
    except (RowError, OSError) as error:
        return f"{name}: {str(error).replace(f': {path.name}', '', 1)}"
    return None


def list_text(path: Path) -> str:
    """The text of a list of pairs or people.

    Raises:
        UsageError: it is no UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeError as error:
        raise UsageError(f"{path} is no text in UTF-8") from error


def few(lines: Sequence[str]) -> tuple[str, ...]:
    """The first lines, and how many more there are."""
    more = (f"and {len(lines) - LISTED} files more",) if len(lines) > LISTED else ()
    return (*lines[:LISTED], *more)


def strangers(root: Path, known: re.Pattern[str], skipped: re.Pattern[str]) -> tuple[str, ...]:
    """Files that belong to no part of a data set, relative to its folder; a folder of nothing else is one line.

    Args:
        root: of the copy.
        known: matches the relative path of each file that may be there.
        skipped: matches the relative path of each folder that is not looked into.
    """
    return few(_strangers(root, "", known, skipped)[0])


def _strangers(folder: Path, inside: str, known: re.Pattern[str], skipped: re.Pattern[str]) -> tuple[list[str], bool]:
    """The lines of one folder, and whether anything in it is known."""
    lines: list[str] = []
    familiar = False
    with os.scandir(folder) as entries:
        found = sorted(entries, key=lambda entry: entry.name)
    for entry in found:
        name = f"{inside}{entry.name}"
        if entry.is_dir():
            if skipped.fullmatch(name) or entry.name.startswith("."):
                familiar = True
                continue
            deeper, good = _strangers(Path(entry.path), f"{name}/", known, skipped)
            familiar |= good
            lines += deeper if good or not deeper else [f"{name}/"]
        elif known.fullmatch(name):
            familiar = True
        elif not entry.name.startswith("."):
            lines.append(name)
    return lines, familiar
