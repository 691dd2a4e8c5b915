"""The twins, written once a session, and copies that a test may break."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from twins import data_sets


@pytest.fixture(autouse=True, scope="session")
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Hashes of files are remembered in a folder of the tests."""
    import os

    os.environ["MFIM_BENCH_CACHE"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def faceforensics(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return data_sets.faceforensics(tmp_path_factory.mktemp("faceforensics"))


@pytest.fixture
def own_faceforensics(faceforensics: Path, tmp_path: Path) -> Path:
    return shutil.copytree(faceforensics, tmp_path / "copy")


@pytest.fixture(scope="session")
def celeba_hq(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return data_sets.celeba_hq(tmp_path_factory.mktemp("celeba-hq"))


@pytest.fixture(scope="session")
def ffhq(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return data_sets.ffhq(tmp_path_factory.mktemp("ffhq"))


@pytest.fixture(scope="session")
def casia(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return data_sets.casia(tmp_path_factory.mktemp("casia"))
