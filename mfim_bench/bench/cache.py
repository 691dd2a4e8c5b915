"""What was found in an image, kept by the image's content: one small database for all runs under an out folder."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load, save

from mfim_bench.errors import UsageError

Arrays = Mapping[str, NDArray[np.generic]]

TOGETHER = 64
"""Entries written in one transaction: each waits for the disk. A process that dies loses fewer than these."""


class FeatureCache:
    """(key, content hash) → named arrays.

    The key is a hash of all that the arrays depend on beside the image: the judge, its weights, code, libraries and
    device. SQLite's journal keeps the file whole when a process dies, and lets runs share it.
    """

    def __init__(self, path: Path) -> None:
        self._lock = threading.Lock()
        self._waiting: dict[tuple[str, str], bytes] = {}
        try:
            self._db = sqlite3.connect(path, timeout=60, check_same_thread=False)
            self._db.execute("PRAGMA synchronous = NORMAL")
            self._db.execute(
                "CREATE TABLE IF NOT EXISTS features "
                "(key TEXT, image TEXT, arrays BLOB, PRIMARY KEY (key, image)) WITHOUT ROWID"
            )
            self._db.commit()
        except sqlite3.Error as error:
            raise UsageError(f"cannot use the feature cache {path}: {error}; delete it to start a new one") from error

    def get(self, key: str, image: str) -> Arrays | None:
        with self._lock:
            blob = self._waiting.get((key, image))
            if blob is None:
                question = "SELECT arrays FROM features WHERE key = ? AND image = ?"
                (blob,) = self._db.execute(question, (key, image)).fetchone() or (None,)
        return None if blob is None else dict(load(blob))

    def put(self, key: str, image: str, arrays: Arrays) -> None:
        blob = save({name: np.ascontiguousarray(array) for name, array in arrays.items()})
        with self._lock:
            self._waiting[key, image] = blob
            if len(self._waiting) >= TOGETHER:
                self._write()

    def clear(self) -> None:
        with self._lock, self._db:
            self._waiting.clear()
            self._db.execute("DELETE FROM features")

    def close(self) -> None:
        with self._lock:
            self._write()
            self._db.close()

    def _write(self) -> None:
        with self._db:
            rows = [(*names, blob) for names, blob in self._waiting.items()]
            self._db.executemany("INSERT OR REPLACE INTO features VALUES (?, ?, ?)", rows)
        self._waiting.clear()
