"""Your own images as a protocol: ``pairs.csv`` in a folder, with columns of paths relative to that folder.

``source,target`` are required; ``id``, ``truth``, ``region``, ``source_identity`` and ``target_identity`` may be given.
Without identities every image file counts as a person of its own.
"""

from __future__ import annotations

import csv
import hashlib
import json
import random
import re
from collections.abc import Sequence
from pathlib import Path

from mfim_bench.errors import UsageError
from mfim_bench.protocol import Frame, Pair

COLUMNS = {"id", "source", "target", "truth", "region", "source_identity", "target_identity"}
SHUFFLE = 2026


class Folder:
    """See `mfim_bench.protocol.Protocol`."""

    def __init__(self, pairs: Sequence[Pair], folder: Path) -> None:
        self._pairs, self.folder = list(pairs), folder
        random.Random(SHUFFLE).shuffle(self._pairs)

    def pairs(self) -> Sequence[Pair]:
        return self._pairs

    def _files(self) -> list[Path]:
        return sorted(
            {f for p in self._pairs for f in (p.source.path, p.target.path, p.truth, p.region) if f is not None}
        )

    def content_hash(self) -> str:
        digest = hashlib.sha256()
        for pair in self._pairs:
            fields = [pair.id, pair.source.id, pair.target.id, pair.source.identity, pair.target.identity]
            digest.update(json.dumps([*fields, str(pair.truth and pair.truth.name)]).encode())
        for path in self._files():
            digest.update(path.relative_to(self.folder).as_posix().encode())
            digest.update(hashlib.sha256(path.read_bytes()).digest() if path.is_file() else b"missing")
        return digest.hexdigest()

    def problems(self) -> Sequence[str]:
        return [f"missing {p.relative_to(self.folder)}" for p in self._files() if not p.is_file()]


def load(data: Path | None, split: str) -> Folder:
    """Read ``pairs.csv`` (the protocol's factory); UsageError with one clear line when it cannot be used."""
    if data is None:
        raise UsageError("the protocol `folder` needs --data DIR, a folder with a pairs.csv")
    root, listing = data.resolve(), data / "pairs.csv"
    if not data.is_dir():
        raise UsageError(f"no such folder: {data}")
    if not listing.is_file():
        raise UsageError(f"{data} has no pairs.csv with the columns source,target")
    with listing.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file)
        names = set(reader.fieldnames or ())
        if not {"source", "target"} <= names or not names <= COLUMNS:
            optional = ", ".join(sorted(COLUMNS - {"source", "target"}))
            found = ", ".join(sorted(names)) or "none"
            raise UsageError(f"{listing}: columns must be source,target and may be {optional}; found {found}")
        rows = list(reader)
    if not rows:
        raise UsageError(f"{listing} lists no pairs")

    def inside(text: str, line: int) -> Path:
        path = (root / text).resolve()
        if not path.is_relative_to(root):
            raise UsageError(f"{listing}, line {line}: {text!r} is outside the folder")
        return path

    pairs, seen = [], set()
    for line, row in enumerate(rows, 2):
        if not row["source"] or not row["target"]:
            raise UsageError(f"{listing}, line {line}: source or target is empty")
        source, target = inside(row["source"], line), inside(row["target"], line)
        name = row.get("id") or f"{_safe(row['target'])}-{_safe(row['source'])}"
        if name in seen or name != _safe(name):
            raise UsageError(f"{listing}, line {line}: the pair id {name!r} is taken or not a plain file name")
        seen.add(name)
        truth, region = ((inside(row[k], line) if row.get(k) else None) for k in ("truth", "region"))
        pairs.append(
            Pair(
                id=name,
                source=Frame(_safe(row["source"]), source, row.get("source_identity") or row["source"]),
                target=Frame(_safe(row["target"]), target, row.get("target_identity") or row["target"]),
                truth=truth,
                region=region,
            )
        )
    return Folder(pairs, root)


def _safe(text: str) -> str:
    """A plain file name: letters, digits, dot, dash, underscore."""
    return re.sub(r"[^A-Za-z0-9._-]+", "_", text).strip(".") or "_"
