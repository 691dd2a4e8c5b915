"""Hashes of files are remembered, and never stale."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from mfim_bench import weights
from mfim_bench.errors import RowError
from mfim_bench.media.hashes import file_hash


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(weights.CACHE_VARIABLE, str(tmp_path / "cache"))


def test_a_file_is_read_once_and_again_when_it_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(b"one")
    os.utime(path, ns=(0, 0))
    assert file_hash(path) == hashlib.sha256(b"one").hexdigest()
    read: list[Path] = []
    honest = weights.sha256
    monkeypatch.setattr(weights, "sha256", lambda p: read.append(p) or honest(p))
    assert file_hash(path) == hashlib.sha256(b"one").hexdigest()
    assert not read
    path.write_bytes(b"two")  # of the same length
    os.utime(path, ns=(1, 1))
    assert file_hash(path) == hashlib.sha256(b"two").hexdigest()
    assert read == [path]


def test_a_missing_file_is_a_reason(tmp_path: Path) -> None:
    with pytest.raises(RowError, match=r"missing file: a\.bin"):
        file_hash(tmp_path / "a.bin")


def test_a_cache_folder_that_cannot_be_written_costs_only_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv(weights.CACHE_VARIABLE, str(tmp_path / "file" / "cache"))
    path = tmp_path / "a.bin"
    path.write_bytes(b"one")
    assert file_hash(path) == hashlib.sha256(b"one").hexdigest()
