"""The twins, written once a session, and copies that a test may break."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from twins import data_sets

from mfim_bench.weights import CACHE_VARIABLE


@pytest.fixture(autouse=True, scope="module")
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Hashes of files are remembered in a folder of the tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(CACHE_VARIABLE, str(tmp_path_factory.mktemp("cache")))
        yield


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
