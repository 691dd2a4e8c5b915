"""A folder that one process at a time writes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mfim_bench.errors import UsageError


class TakenError(UsageError):
    """Another process holds the folder."""


@contextmanager
def only_writer(folder: Path) -> Iterator[None]:
    """Hold the folder's lock; the system releases it when the process dies, however it dies.

    Raises:
        TakenError: another process holds it.
        UsageError: the file system has no locks.
    """
    try:
        import fcntl
    except ImportError:  # no such locks on Windows; parts are atomic there too
        yield
        return
    with (folder / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise TakenError(f"another process is writing {folder}; wait for it") from error
        except OSError as error:
            raise UsageError(f"cannot lock {folder}: {error.strerror}") from error
        yield
