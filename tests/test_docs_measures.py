"""Every measure that comes with the benchmark is explained in docs/."""

from __future__ import annotations

from pathlib import Path

import pytest

from mfim_bench.measure import MeasureSpec
from mfim_bench.measures import MEASURES
from mfim_bench.networks.catalogue import published

DOCS = Path(__file__).parents[1] / "docs"
PAGES = "\n".join(page.read_text(encoding="utf-8") for page in sorted(DOCS.glob("*.md")))


@pytest.mark.parametrize("measure", MEASURES, ids=lambda measure: measure.name)
def test_every_measure_is_explained(measure: MeasureSpec) -> None:
    assert f"`{measure.name}`" in PAGES
    if measure.judge and measure.judge.card:
        assert (DOCS.parent / measure.judge.card.partition("#")[0]).is_file()


def test_identity_pages_name_each_file_of_the_catalogue() -> None:
    page = (DOCS / "published-judges.md").read_text(encoding="utf-8")
    for spec in published():
        if spec.loader.rpartition(".")[2].partition(":")[0] in ("facenet", "ir", "iresnet", "sphere"):
            assert spec.name in page or f"-{spec.name.partition('-')[2]}" in page
