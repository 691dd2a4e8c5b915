"""Thumbnails of a page: within it, as many as a budget of bytes allows, or all of them in a folder beside it."""

from __future__ import annotations

import base64
import hashlib
import io
import os
import re
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import quote

from PIL import Image

from mfim_bench.errors import RowError, UsageError
from mfim_bench.media.images import read_image

SIDE = 160
"""Most width and height, pixels."""
BUDGET = 6_000_000
"""Bytes of a page that pictures may take."""
CHUNK = 64
_NAMES = re.compile(r"[0-9a-f]{32}\.webp")


class Pictures:
    """Thumbnails in the order in which they are added, each once.

    Args:
        page: that shows them.
        beside: write them to the folder ``<page's stem>-pictures`` beside it, without a budget.

    Attributes:
        addresses: of each picture, for ``src``.
        left_out: files that no longer fitted.
    """

    def __init__(self, page: Path, beside: bool = False) -> None:
        self.addresses: list[str] = []
        self.left_out = 0
        self.folder = page.with_name(f"{page.stem}-pictures") if beside else None
        self._of_name: dict[str, int] = {}
        self._of_path: dict[str, int | None] = {}
        self._left = BUDGET
        if self.folder is not None:
            try:
                self.folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise UsageError(f"cannot write the folder {self.folder}: {error.strerror}") from error

    def __getitem__(self, path: str | None) -> int | None:
        """Index in `addresses`; None of a file that is not there, cannot be read, or no longer fitted."""
        return None if path is None else self._of_path.get(path)

    def add(self, paths: Iterable[str]) -> None:
        """Add files, the more important ones first."""
        new = list(dict.fromkeys(path for path in paths if path not in self._of_path))
        with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
            for start in range(0, len(new), CHUNK):
                if self.folder is None and self._left <= 0:
                    self.left_out += len(new) - start
                    return
                chunk = new[start : start + CHUNK]
                for path, blob in zip(chunk, pool.map(thumbnail, chunk), strict=True):
                    self._of_path[path] = None if blob is None else self._place(blob)

    def finish(self) -> None:
        """Remove thumbnails that an earlier page left in the folder."""
        if self.folder is not None:
            for old in self.folder.iterdir():
                if _NAMES.fullmatch(old.name) and old.name not in self._of_name:
                    old.unlink()

    def _place(self, blob: bytes) -> int | None:
        name = f"{hashlib.sha256(blob).hexdigest()[:32]}.webp"
        if name not in self._of_name:
            if self.folder is None:
                address = "data:image/webp;base64," + base64.b64encode(blob).decode()
                self._left -= len(address)
                if self._left < 0:
                    self.left_out += 1
                    return None
            else:
                (self.folder / name).write_bytes(blob)
                address = f"{quote(self.folder.name)}/{name}"
            self._of_name[name] = len(self.addresses)
            self.addresses.append(address)
        return self._of_name[name]


def thumbnail(path: str) -> bytes | None:
    """A file's thumbnail as WebP; None where there is no readable image."""
    try:
        picture = Image.fromarray(read_image(Path(path)))
    except (RowError, OSError):
        return None
    picture.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    sink = io.BytesIO()
    picture.save(sink, "WEBP", quality=75, method=4)
    return sink.getvalue()
