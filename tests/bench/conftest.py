"""The tiny plugin, installed as a distribution with an entry point; its images made from a real portrait."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from portraits import portraits

from mfim_bench import plugins
from mfim_bench.bench.settings import RunSettings
from mfim_bench.media.images import write_image
from mfim_bench.plugins import Plugins, Registry

HERE = Path(__file__).parent


def install(site: Path, noise: bool = False) -> None:
    """What a package manager would leave in a site folder: the module, its data and its metadata."""
    images = site / "tiny_images"
    images.mkdir(parents=True)
    shutil.copy(HERE / "tiny_plugin" / "tiny_faces.py", site)
    for name, image in portraits().items():
        write_image(images / f"{name}.png", image)
        write_image(images / f"truth-{name}.png", cv2.GaussianBlur(image, (0, 0), 1.5))
    if noise:
        pixels = np.random.default_rng(0).integers(0, 255, (160, 160, 3), dtype=np.uint8)
        write_image(images / "noise.png", pixels)
        write_image(images / "truth-noise.png", pixels)
    region = cv2.ellipse(np.zeros((160, 160, 3), np.uint8), (80, 70), (30, 42), 0, 0, 360, (255, 255, 255), -1)
    write_image(images / "region.png", region)
    info = site / "tiny_faces-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: tiny-faces\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[mfim_bench]\ntiny = tiny_faces\n")


@pytest.fixture(autouse=True)
def _fresh_registry() -> Iterator[None]:
    """What these tests load as all plugins there are must not stay in the process's registry."""
    yield
    plugins.registry.cache_clear()
    plugins.plugins.cache_clear()


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A site folder with the plugin."""
    folder = tmp_path_factory.mktemp("site")
    install(folder)
    return folder


@pytest.fixture(scope="session")
def noisy_site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with one frame that holds no face."""
    folder = tmp_path_factory.mktemp("noisy-site")
    install(folder, noise=True)
    return folder


def load(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Registry:
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setenv("MFIM_BENCH_LOAD_PLUGINS", "tiny-faces")
    sys.modules.pop("tiny_faces", None)
    return Registry(Plugins())


@pytest.fixture
def registry(site: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Registry]:
    yield load(site, monkeypatch)
    sys.modules.pop("tiny_faces", None)


@pytest.fixture
def noisy_registry(noisy_site: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Registry]:
    yield load(noisy_site, monkeypatch)
    sys.modules.pop("tiny_faces", None)


@pytest.fixture
def settings(tmp_path: Path) -> RunSettings:
    return RunSettings(method="blend", protocol="tiny", device="cpu", out=tmp_path / "runs", workers=2)
