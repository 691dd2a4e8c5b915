"""A method against a copy of it that blurs by 2 px must be found, through the whole path: run, score, compare."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image, ImageFilter

from mfim_bench.bench import Record, RunSettings, run
from mfim_bench.plugins import registry
from mfim_bench.report.compare import Difference, compare_all

METHODS = """
from torchvision.transforms.functional import gaussian_blur

SIZE, TEMPLATE = 256, "none"


def plain(source, target):
    return target


def blurred(source, target):
    return gaussian_blur(target, 13, 2.0)
"""


def measured(method: str, out: Path, limit: int, measures: tuple[str, ...] = ()) -> Record:
    settings = RunSettings(
        method=method, protocol="virtual-faces", measures=measures, limit=limit, references=False, device="cpu", out=out
    )
    return run(settings, registry())[0]


def differences(degraded: Record, plain: Record) -> dict[str, Difference]:
    found = compare_all([(degraded, plain)])[0].differences
    return {d.measure.partition("@")[0]: d for d in found}


def test_a_blurred_target_is_found_without_a_judge(tmp_path: Path) -> None:
    file = tmp_path / "methods.py"
    file.write_text(METHODS)
    errors = "error-inside", "error-outside"
    plain, blurred = (measured(f"{file}:{name}", tmp_path / "runs", 24, errors) for name in ("plain", "blurred"))
    outside = differences(blurred, plain)["error-outside"]
    assert outside.interval.low > 0
    assert outside.p < 1e-3
    assert outside.wins.high < 0.5


@pytest.mark.slow
def test_a_blurred_swap_is_found_by_judges_too(tmp_path: Path) -> None:
    """Real swaps of `poisson` and the same files blurred, 48 pairs, every measure of the protocol."""
    plain = measured("poisson", tmp_path / "runs", 48)
    copy = tmp_path / "blurred"
    copy.mkdir()
    for file in sorted((plain.folder / "images").iterdir()):
        Image.open(file).convert("RGB").filter(ImageFilter.GaussianBlur(2)).save(copy / file.name)
    found = differences(measured(f"dir:{copy}", tmp_path / "runs", 48), plain)
    for name, d in found.items():
        print(f"{name}: {d.interval.estimate:+.4f} [{d.interval.low:+.4f}, {d.interval.high:+.4f}], p {d.p:.2g}")
    assert min(d.p for d in found.values() if d.interval.estimate > 0) < 0.05
