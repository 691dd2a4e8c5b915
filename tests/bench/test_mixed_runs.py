"""Runs whose identities are mixed of two sources: who is given what, numbers, resuming, refusals, old records."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from mfim_bench import statistics
from mfim_bench.bench import Record, RunSettings, run
from mfim_bench.bench.record import identities
from mfim_bench.errors import UsageError
from mfim_bench.media.images import read_image, read_metadata, write_image
from mfim_bench.plugins import Registry
from mfim_bench.report.grid import HEAD, write_grid
from mfim_bench.report.page import write_page
from mfim_bench.report.table import build, standings

SOURCE, LOCAL, TARGET, ERROR = "tiny-source@points", "tiny-local@points", "tiny-target@points", "tiny-error@l1-local"


@pytest.fixture
def mixed(settings: RunSettings) -> RunSettings:
    return replace(settings, method="blend-mix", protocol="tiny-mixed", limit=6, batch_size=4)


def test_the_method_and_what_each_source_alone_gives(mixed: RunSettings, registry: Registry) -> None:
    records = {record.method: record for record in run(mixed, registry)}
    assert list(records) == [
        "blend-mix", "blend-mix@global", "blend-mix@local", "target-copy", "source-copy@global", "source-copy@local",
        "truth", "target-copy@64", "truth@64",
    ]  # fmt: skip
    assert all(record.summary["scored"] == 6 for record in records.values())
    assert [name for name, record in records.items() if not record.reference] == ["blend-mix"]
    means = {name: {k: v["mean"] for k, v in r.summary["measures"].items()} for name, r in records.items()}
    assert means["source-copy@global"][SOURCE] == means["source-copy@local"][LOCAL] == 0
    assert means["source-copy@global"][LOCAL] == means["source-copy@local"][SOURCE] > 0.02
    assert means["target-copy"][TARGET] == means["truth"][ERROR] == 0
    # Half target, and half of one source or shares of both: the images are what the method was given.
    pair = records["blend-mix"].manifest["pairs"][0]
    assert [part["part"] for part in pair["parts"]] == ["global", "local"]
    name = f"{pair['id']}.png"
    both, coarse, fine = (
        read_image(records[method].folder / "images" / name).astype(float)
        for method in ("blend-mix", "blend-mix@global", "blend-mix@local")
    )
    assert np.abs(both - (0.6 * coarse + 0.4 * fine)).max() <= 2  # rounded twice
    said = read_metadata(records["blend-mix"].folder / "images" / name)["Source"]
    assert said == f"global={pair['parts'][0]['source']}, local={pair['parts'][1]['source']}"
    assert read_metadata(records["blend-mix@local"].folder / "images" / name)["Source"] == pair["parts"][1]["source"]


def test_all_three_people_make_pairs_dependent(mixed: RunSettings, registry: Registry) -> None:
    record = run(replace(mixed, references=False), registry)[0]
    for row, pair in zip(record.rows, record.manifest["pairs"], strict=True):
        parts = [f"person-{part['source']}" for part in pair["parts"]]
        assert [row["source_identity"], *row["other_identities"]] == parts
    roles = identities(record.rows)
    assert len(roles) == 3
    cell = build([record]).lines[0].cells[SOURCE]
    assert cell.interval == statistics.mean_interval([row[SOURCE] for row in record.rows], *roles)
    summary = record.summary["measures"][SOURCE]
    assert (summary["low"], summary["high"]) == (cell.interval.low, cell.interval.high)
    assert record.summary["identities"] == len({who for role in roles for who in role})


def test_pairs_with_fewer_sources_stand_beside_others() -> None:
    rows = [
        {"source_identity": "a", "target_identity": "b", "other_identities": []},
        {"source_identity": "c", "target_identity": "d", "other_identities": ["e", "f"]},
    ]
    assert identities(rows) == [["a", "c"], ["b", "d"], ["a", "e"], ["a", "f"]]


def test_a_broken_off_run_goes_on(mixed: RunSettings, registry: Registry) -> None:
    mixed = replace(mixed, references=False)
    first = run(mixed, registry)[0]
    made = {path.name: path.read_bytes() for path in (first.folder / "images").iterdir()}
    for lost in ("parts/swap-000004.parquet", "parts/score-000000.parquet", "summary.json"):
        (first.folder / lost).unlink()
    victim = json.loads((first.folder / "manifest.json").read_text()) | {"status": "running"}
    (first.folder / "manifest.json").write_text(json.dumps(victim))
    second = run(mixed, registry)[0]
    assert second.folder == first.folder
    assert (second.rows, second.summary) == (first.rows, first.summary)
    assert {path.name: path.read_bytes() for path in (first.folder / "images").iterdir()} == made


def test_who_gives_what_is_an_input(mixed: RunSettings, registry: Registry) -> None:
    alone = run(replace(mixed, method="blend-mix@global", references=False), registry)[0]
    both = run(replace(mixed, references=False), registry)[0]
    assert alone.manifest["inputs"]["method"]["only"] == "global"
    assert alone.manifest["fingerprint"] != both.manifest["fingerprint"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"method": "blend"}, r"blend cannot mix several sources: it has no mix\(sources, target\)"),
        ({"method": "blend-mix@local", "protocol": "tiny"}, "pairs of tiny have no part 'local'"),
        (
            {"protocol": "tiny", "measures": ("tiny-local",)},
            "needs a local source of each pair; protocol tiny has none",
        ),
        ({"protocol": "tiny", "measures": ("tiny-error@l1-local",)}, "needs a region of the part local of each pair"),
    ],
)
def test_refusals_leave_nothing(
    mixed: RunSettings, registry: Registry, changes: dict[str, object], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        run(replace(mixed, **changes), registry)  # type: ignore[arg-type]
    assert not list(mixed.out.rglob("manifest.json"))


def test_every_form_of_name_takes_a_part(registry: Registry, tmp_path: Path) -> None:
    (tmp_path / "m.py").write_text("def swap(s, t): return t")
    write_image(tmp_path / "x.png", np.zeros((8, 8, 3), np.uint8))
    for name in ("blend", f"{tmp_path}/m.py:swap", "cmd:cp {target} {output} {source}", f"dir:{tmp_path}"):
        whole, part = registry.method(name), registry.method(f"{name}@local")
        assert (part.name, part.only, whole.only) == (f"{whole.name}@local", "local", "")
        assert replace(part, name=whole.name, only="") == whole
    with pytest.raises(UsageError, match="did you mean blend"):
        registry.method("blen@global")


def test_a_method_that_cannot_mix_runs_on_one_source(mixed: RunSettings, registry: Registry) -> None:
    record = run(replace(mixed, method="blend@local", references=False), registry)[0]
    assert record.summary["scored"] == 6


def test_pictures_show_every_source(mixed: RunSettings, registry: Registry, tmp_path: Path) -> None:
    records = run(mixed, registry)
    picture = read_image(write_grid(tmp_path / "grid.png", records[:2], pairs=2, side=40))
    assert picture.shape == (HEAD + 2 * 40, 6 * 40, 3)  # global, local, target, two runs, truth
    pair = records[0].manifest["pairs"][0]
    local = read_image(Path(pair["parts"][1]["source_path"]))
    tile = picture[HEAD : HEAD + 40, 40:80].astype(float)
    assert np.abs(tile.mean((0, 1)) - local.mean((0, 1))).max() < 3
    page = write_page(tmp_path / "page.html", records).read_text()
    rows = json.loads(page.partition('id="rows">')[2].partition("</script>")[0])
    assert (rows["before"], rows["after"]) == (["global", "local", "target"], ["truth"])
    assert len(rows["others"][0]) == 1
    assert [standing.measure for standing in standings(records[0], records)] == [SOURCE]


def as_schema_1(record: Record, folder: Path) -> Path:
    """The record as it was written before sources could be mixed."""
    shutil.copytree(record.folder, folder)
    for part in (folder / "parts").glob("score-*.parquet"):
        pq.write_table(pq.read_table(part).drop_columns(["other_identities"]), part)
    manifest = json.loads((folder / "manifest.json").read_text()) | {"schema": 1}
    for pair in manifest["pairs"]:
        del pair["parts"]
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


def test_records_of_one_source_a_pair_can_still_be_read(
    settings: RunSettings, registry: Registry, tmp_path: Path
) -> None:
    new = run(replace(settings, limit=6, references=False), registry)[0]
    old = Record.load(as_schema_1(new, tmp_path / "old"))
    assert old.rows == new.rows
    assert build([old]).text() == build([new]).text()
    assert read_image(write_grid(tmp_path / "grid.png", [old, new], 1, 40)).shape == (HEAD + 40, 5 * 40, 3)
    write_page(tmp_path / "page.html", [old, new])
    future = json.loads((old.folder / "manifest.json").read_text()) | {"schema": 4}
    (old.folder / "manifest.json").write_text(json.dumps(future))
    with pytest.raises(UsageError, match="another version"):
        Record.load(old.folder)
