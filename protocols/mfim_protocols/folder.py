"""Your own images as a protocol: ``pairs.csv`` in a folder, with columns of paths relative to that folder.

``source,target`` are required; ``id``, ``truth``, ``region``, and ``source_identity`` and ``target_identity``, or
``cluster``, may be given. Without identities every image file counts as a person of its own. A ``cluster`` is all that
depends on one another (a video, a session, a family): it is the identity of both of a row's roles, so that rows of one
cluster are never counted as independent. Identity retrieval then finds clusters; it looks among the source images.
"""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path

from mfim_bench.errors import UsageError
from mfim_bench.protocol import Frame, Pair
from mfim_protocols.copies import Paired, list_text

COLUMNS = {"id", "source", "target", "truth", "region", "source_identity", "target_identity", "cluster"}


def load(data: Path | None, split: str) -> Paired:
    """Read ``pairs.csv`` (the protocol's factory); UsageError with one clear line when it cannot be used."""
    if data is None:
        raise UsageError("the protocol `folder` needs --data DIR, a folder with a pairs.csv")
    root, listing = data.resolve(), data / "pairs.csv"
    if not data.is_dir():
        raise UsageError(f"no such folder: {data}")
    if not listing.is_file():
        raise UsageError(f"{data} has no pairs.csv with the columns source,target")
    reader = csv.DictReader(io.StringIO(list_text(listing)))
    try:
        names = set(reader.fieldnames or ())
        if not {"source", "target"} <= names or not names <= COLUMNS:
            optional = ", ".join(sorted(COLUMNS - {"source", "target"}))
            found = ", ".join(sorted(names)) or "none"
            raise UsageError(f"{listing}: columns must be source,target and may be {optional}; found {found}")
        rows = list(reader)
    except csv.Error as error:
        raise UsageError(f"{listing}, line {reader.reader.line_num}: {error}") from error
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
        ours, theirs = (row.get(f"{role}_identity") or row.get("cluster") or row[role] for role in ("source", "target"))
        if row.get("cluster") and (row.get("source_identity") or row.get("target_identity")):
            raise UsageError(f"{listing}, line {line}: a cluster is both identities; give one or the other")
        pairs.append(
            Pair(
                id=name,
                source=Frame(_safe(row["source"]), source, ours),
                target=Frame(_safe(row["target"]), target, theirs),
                truth=truth,
                region=region,
            )
        )
    return Paired(root, pairs)


def _safe(text: str) -> str:
    """A plain file name: letters, digits, dot, dash, underscore."""
    return re.sub(r"[^A-Za-z0-9._-]+", "_", text).strip(".") or "_"
