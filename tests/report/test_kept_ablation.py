"""The records of the ablation that are kept in docs/ablations say what its page prints."""

from __future__ import annotations

from pathlib import Path

from mfim_bench.bench.record import Record
from mfim_bench.report.ablation import ablation

DOCS = Path(__file__).parents[2] / "docs"


def kept() -> list[Record]:
    return [Record.load(path.parent) for path in sorted((DOCS / "ablations").glob("*/*/manifest.json"))]


def test_the_page_prints_what_the_records_say() -> None:
    groups: dict[str, list[Record]] = {}
    references = []
    for record in kept():
        if record.reference:
            references.append(record)
        else:  # mfim-no-maps-0: the run of seed 0 of ablation-no-maps
            variant = record.method.removeprefix("mfim-").rpartition("-")[0]
            groups.setdefault(f"ablation-{variant}", []).append(record)
    text = ablation(groups, "ablation-full", references).text("github")
    assert text in (DOCS / "ablations.md").read_text(encoding="utf-8")


def test_records_hold_all_pairs_and_no_path_of_a_machine() -> None:
    records = kept()
    assert len(records) == 15
    for record in records:
        assert len(record.rows) == 300
        assert '":"/' not in (record.folder / "manifest.json").read_text(encoding="utf-8")
