"""A method that is a folder of swaps made elsewhere: ``dir:PATH`` or ``dir:PATH/{target}_{source}.png``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mfim_bench.adhoc import IMAGE_SUFFIXES, split_pattern
from mfim_bench.errors import RowError

if TYPE_CHECKING:
    import torch

    from mfim_bench.protocol import Pair


class FolderMethod:
    """Looks up the swapped frame of a pair.

    Args:
        folder: where the images are; nothing outside it is ever read.
        pattern: path inside the folder with ``{pair}``, ``{source}`` and ``{target}`` for the ids; empty = ``{pair}``
            or ``{source}-{target}`` with the suffix of any image.
    """

    def __init__(self, folder: Path, pattern: str) -> None:
        self.folder = folder.resolve()
        self.pattern = pattern

    def result(self, pair: Pair) -> Path:
        """The image file of this pair; see `mfim_bench.method.ResultsMethod.result`.

        Raises:
            RowError: there is none, there are several, or the name leaves the folder.
        """
        if self.pattern:
            found = [path] if (path := self._inside(_filled(self.pattern, pair))).is_file() else []
            wanted = _filled(self.pattern, pair)
        else:
            stems = dict.fromkeys(_filled(pattern, pair) for pattern in ("{pair}", "{source}-{target}"))
            found = [path for stem in stems for path in self._with_suffix(stem)]
            wanted = " or ".join(f"{stem}.png" for stem in stems)
        if not found:
            raise RowError(f"no result: {wanted} is not in {self.folder.name}")
        if len(found) > 1:
            raise RowError(f"several results: {', '.join(path.name for path in found)}")
        return found[0]

    def _with_suffix(self, stem: str) -> list[Path]:
        names = [stem + suffix for suffix in (*sorted(IMAGE_SUFFIXES), *sorted(s.upper() for s in IMAGE_SUFFIXES))]
        paths = [path for name in names if (path := self._inside(name)).is_file()]
        # A file system that ignores case finds one file under two names.
        return list({path.stat().st_ino: path for path in paths}.values())

    def _inside(self, name: str) -> Path:
        path = (self.folder / name).resolve()
        if not path.is_relative_to(self.folder):
            raise RowError(f"{name} is outside {self.folder.name}")
        return path


def _filled(pattern: str, pair: Pair) -> str:
    for name, value in (("pair", pair.id), ("source", pair.source.id), ("target", pair.target.id)):
        pattern = pattern.replace(f"{{{name}}}", value)
    return pattern


def load(device: torch.device, argument: str) -> FolderMethod:
    """Factory.

    Args:
        device: ignored.
        argument: the folder, or the folder and a pattern.
    """
    return FolderMethod(*split_pattern(argument))
