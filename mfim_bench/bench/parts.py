"""Rows of a run in parquet files, each written once by an atomic rename."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

Row = dict[str, Any]

SWAP_SCHEMA = pa.schema([("pair", pa.string()), ("reason", pa.string()), ("note", pa.string())])
"""``reason`` is null where the swap was made."""


def score_schema(measures: Sequence[str]) -> pa.Schema:
    """One row a pair: its identities (the clusters; the others are further sources'), each distance, or the reason why
    there is none."""
    columns = [("pair", pa.string()), ("source_identity", pa.string()), ("target_identity", pa.string())]
    columns += [("other_identities", pa.list_(pa.string()))]
    columns += [(name, pa.float64()) for name in measures]
    return pa.schema([*columns, ("reason", pa.string()), ("note", pa.string())])


def write_atomic(path: Path, data: bytes) -> None:
    """Write a file so that at any moment it is either absent (or the old one) or complete."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    write_atomic(path, (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode())


def write_part(path: Path, rows: Sequence[Row], schema: pa.Schema) -> None:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(list(rows), schema=schema), sink)
    write_atomic(path, sink.getvalue().to_pybytes())


def read_part(path: Path) -> list[Row]:
    """Rows of one part; none when it is absent or damaged, so that it is made again."""
    try:
        return list(pq.ParquetFile(path).read().to_pylist())
    except (FileNotFoundError, pa.ArrowInvalid):
        return []


def read_parts(folder: Path, prefix: str) -> list[Row]:
    """Rows of all parts ``<prefix>-*.parquet``, in order of their names."""
    return [row for path in sorted(folder.glob(f"{prefix}-*.parquet")) for row in read_part(path)]
