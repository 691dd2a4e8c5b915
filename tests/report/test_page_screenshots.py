"""The report as a reader sees it, with rendered faces: screenshots, time to load, memory, sizes.

Figures are printed (``-rP``). ``MFIM_BENCH_SCREENSHOTS`` names a folder that keeps the screenshots.
"""

from __future__ import annotations

import io
import os
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from browsing import Meter
from page_records import Shown, write_rows
from PIL import Image
from playwright.sync_api import Page

from mfim_bench import audited
from mfim_bench.bench.record import Record
from mfim_bench.media.images import read_image, write_image
from mfim_bench.report.page import write_page
from mfim_protocols.virtual_faces import dataset

pytestmark = [pytest.mark.browser, pytest.mark.slow]
MEASURES = [name for name in audited.shipped()["measures"] if "whitened" not in name and "@l1" not in name]
PLACE = {100: "summary", 10_000: "pairs"}
"""The section that is photographed."""


def made_runs(root: Path, count: int) -> list[Record]:
    """Made distances of as many pairs, shown with the frames and true swaps that ship.

    A swap is the true one at 64 px, each time its pair comes around cut a little closer, so that no two are one file.
    """
    pairs = dataset.load(None, "test").pairs()
    (root / "swaps").mkdir(parents=True)
    shown, ids = [], []
    for i in range(count):
        pair, cut = pairs[i % len(pairs)], i // len(pairs)
        assert pair.truth is not None
        swap = Image.fromarray(read_image(pair.truth))
        file = root / "swaps" / f"{i:05d}.png"
        small = swap.resize((64, 64), box=(cut, cut, swap.width - cut, swap.height - cut))
        write_image(file, np.asarray(small))
        shown.append(Shown(pair.source.path, pair.target.path, pair.truth, file))
        ids.append(f"{i:05d}")
    people = [f"p{k:03d}" for k in range(150)]
    truth = [Shown(one.source, one.target, one.truth, one.truth) for one in shown]
    means = np.array([audited.shipped()["measures"][name]["independent"][0] for name in MEASURES])
    made = partial(write_rows, root, ids=ids, people=people, measures=MEASURES)
    return [
        made("made-swap", means=means.tolist(), fail_every=50, shown=shown),
        made("truth", means=(means * 0.8).tolist(), shown=truth, reference=True, seed=1),
    ]


def opened(page: Page, path: Path) -> str:
    """Open a page, in words."""
    meter = Meter(page)
    cost = meter.took(lambda: page.goto(path.as_uri()))
    assert page.evaluate("[...document.images].every(image => image.complete && image.naturalWidth > 0)")
    wall = page.evaluate("performance.getEntriesByType('navigation')[0].loadEventEnd") / 1000
    return f"loaded in {wall:.2f} s, {cost:.2f} s of its thread; {meter.heap() / 1e6:.1f} MB in the script"


@pytest.mark.parametrize("count", [100, 10_000])
def test_screenshots(watched: Page, tmp_path: Path, count: int) -> None:
    folder = Path(os.environ.get("MFIM_BENCH_SCREENSHOTS", tmp_path))
    records = made_runs(tmp_path, count)
    for beside in (False, True):
        start = time.perf_counter()
        path = write_page(tmp_path / "report.html", records, beside=beside)
        wrote = time.perf_counter() - start
        print(f"{count:,} pairs: written in {wrote:.1f} s, page {path.stat().st_size / 1e6:.1f} MB")
        print(f"  {opened(watched, path)}")
        if beside:
            files = list((tmp_path / "report-pictures").iterdir())
            print(f"  beside it {len(files):,} pictures, {sum(file.stat().st_size for file in files) / 1e6:.1f} MB")
    for scheme in ("light", "dark"):
        watched.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        watched.locator(f"#{PLACE[count]}").scroll_into_view_if_needed()
        watched.evaluate(f"document.getElementById('{PLACE[count]}').scrollIntoView()")
        picture = Image.open(io.BytesIO(watched.screenshot()))
        assert len(picture.convert("RGB").resize((64, 64)).getcolors(4096) or []) > 50, "there is something to see"
        picture.save(folder / f"report-{count}-{scheme}.webp", quality=75, method=6)
