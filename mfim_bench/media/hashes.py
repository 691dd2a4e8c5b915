"""sha256 of large files, remembered by path, size and time of change: a data set is read once, not for every run."""

from __future__ import annotations

import hashlib
import json
import sqlite3
import threading
import time
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

from mfim_bench import weights
from mfim_bench.errors import RowError

SETTLED = 2.0
"""Seconds since its last change after which a file is remembered: clocks of file systems are coarse, and a second
change within one tick would go unseen."""

_lock = threading.Lock()


def file_hash(path: Path) -> str:
    """sha256 (hex) of a file's bytes.

    Remembered in the user's cache folder under the file's absolute path, size and time of last change; a change that
    keeps all three is not seen.

    Raises:
        RowError: it is missing or cannot be read.
    """
    try:
        stat = path.stat()
    except FileNotFoundError:
        raise RowError(f"missing file: {path.name}") from None
    except OSError as error:
        raise RowError(f"cannot read {path.name}: {error.strerror}") from None
    key = json.dumps([str(path.absolute()), stat.st_size, stat.st_mtime_ns])
    known = _database(weights.cache() / "hashes.sqlite")
    row = None
    with suppress(sqlite3.Error), _lock:  # a memory that fails is no reason not to read the file
        row = known.execute("SELECT hash FROM files WHERE file = ?", (key,)).fetchone()
    if row:
        return str(row[0])
    try:
        found = _digest(path)
    except OSError as error:
        raise RowError(f"cannot read {path.name}: {error.strerror}") from None
    if time.time() - stat.st_mtime > SETTLED:
        with suppress(sqlite3.Error), _lock, known:
            known.execute("INSERT OR REPLACE INTO files VALUES (?, ?)", (key, found))
    return found


def hash_if_there(path: Path) -> str | None:
    """`file_hash`; None for a file that is missing or cannot be read."""
    try:
        return file_hash(path)
    except RowError:
        return None


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@lru_cache
def _database(path: Path) -> sqlite3.Connection:
    """The database; one in memory where the cache folder cannot be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return _opened(str(path))
    except (OSError, sqlite3.Error):
        return _opened(":memory:")


def _opened(name: str) -> sqlite3.Connection:
    database = sqlite3.connect(name, timeout=60, check_same_thread=False)
    database.execute("PRAGMA journal_mode=WAL")
    database.execute("PRAGMA synchronous=NORMAL")  # else every file waits for the disk
    database.execute("CREATE TABLE IF NOT EXISTS files (file TEXT PRIMARY KEY, hash TEXT) WITHOUT ROWID")
    return database
