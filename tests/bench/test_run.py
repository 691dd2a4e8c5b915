"""A run end to end on real pixels: numbers, failures, resuming, batch sizes, refusals."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from mfim_bench.bench import Record, RunSettings, run
from mfim_bench.bench.cache import TOGETHER, FeatureCache
from mfim_bench.errors import UsageError
from mfim_bench.media.images import read_image, read_metadata
from mfim_bench.plugins import Registry


def by_name(records: list[Record]) -> dict[str, Record]:
    return {record.method: record for record in records}


def test_references_beside_the_method(settings: RunSettings, registry: Registry) -> None:
    records = by_name(run(replace(settings, limit=10), registry))
    assert list(records) == ["blend", "target-copy", "source-copy", "truth", "target-copy@64", "truth@64"]
    means = {name: {k: v["mean"] for k, v in r.summary["measures"].items()} for name, r in records.items()}
    assert means["target-copy"]["tiny-target@points"] == 0
    assert means["source-copy"]["tiny-source@points"] == 0
    assert means["truth"]["tiny-error@l1"] == 0
    assert means["target-copy"]["tiny-source@points"] == means["source-copy"]["tiny-target@points"] > 0.05
    assert 0 < means["truth@64"]["tiny-error@l1"] < means["blend"]["tiny-error@l1"]
    assert all(r.summary["scored"] == 10 and r.summary["failed"] == 0 for r in records.values())
    assert not records["blend"].reference
    assert records["truth@64"].reference
    marks = records["blend"].measures["tiny-source@points"]
    assert marks["in_domain"]
    assert not marks["self_judged"]


def test_swapped_images_say_what_they_are(settings: RunSettings, registry: Registry) -> None:
    record = run(replace(settings, limit=2, references=False), registry)[0]
    for pair in record.manifest["pairs"]:
        path = record.folder / "images" / f"{pair['id']}.png"
        said = read_metadata(path)
        assert said["Method"].startswith("blend ")
        assert (said["Source"], said["Target"]) == (pair["source"], pair["target"])
        assert read_image(path).shape == (160, 160, 3)


@pytest.mark.parametrize("batch_size", [7, 32])
def test_batch_size_changes_no_distance(settings: RunSettings, registry: Registry, batch_size: int) -> None:
    """The tolerance is that of a swap rounded to 8 bits; judges see one image at a time."""
    one = run(replace(settings, batch_size=1, limit=20, references=False, workers=1), registry)[0]
    other = run(replace(settings, batch_size=batch_size, limit=20, references=False, workers=3), registry)[0]
    assert one.folder != other.folder
    for name in one.measures:
        a, b = ([row[name] for row in record.rows] for record in (one, other))
        np.testing.assert_allclose(a, b, atol=1e-5)


def test_the_limit_takes_the_first_pairs_of_one_order(settings: RunSettings, registry: Registry) -> None:
    few = run(replace(settings, limit=5, references=False), registry)[0]
    more = run(replace(settings, limit=9, references=False), registry)[0]
    assert few.rows == more.rows[:5]


def test_the_same_command_answers_from_the_record(settings: RunSettings, registry: Registry) -> None:
    settings = replace(settings, limit=4, split="test", references=False)
    first = run(settings, registry)[0]
    files = {p: p.stat().st_mtime_ns for p in first.folder.rglob("*") if p.is_file()}
    second = run(settings, registry)[0]
    assert second.summary == first.summary
    assert {p: p.stat().st_mtime_ns for p in first.folder.rglob("*") if p.is_file()} == files
    log = [json.loads(line) for line in (settings.out / "scorings.jsonl").read_text().splitlines()]
    assert [(line["method"], line["split"], line["pairs"]) for line in log] == [("blend", "test", 4)]


def test_scorings_of_other_splits_are_not_logged(settings: RunSettings, registry: Registry) -> None:
    run(replace(settings, limit=2, references=False), registry)
    assert not (settings.out / "scorings.jsonl").exists()


@pytest.mark.parametrize("trouble", ["nan", "range", "shape", "raise"])
def test_a_bad_row_is_a_row_with_a_reason(settings: RunSettings, registry: Registry, trouble: str) -> None:
    good = run(replace(settings, limit=16, references=False), registry)[0]
    record = run(replace(settings, method=f"blend-{trouble}", limit=16, references=False), registry)[0]
    words = {"nan": "not finite", "range": "wanted [0, 1]", "shape": "shape (1, 3, 64, 63)", "raise": "too dark for me"}
    dark = [row for row in record.rows if row["pair"].endswith("-dark")]
    assert dark
    assert {row["pair"] for row in record.rows if row["reason"]} == {row["pair"] for row in dark}
    assert all(words[trouble] in row["reason"] and "\n" not in row["reason"] for row in dark)
    assert record.summary["failed"] == len(dark)
    assert record.summary["scored"] == 16 - len(dark)
    assert sum(record.summary["reasons"].values()) == len(dark)
    assert all(row["tiny-source@points"] is None for row in dark)
    expected = {row["pair"]: row for row in good.rows}
    for row in record.rows:
        if row["reason"] is None:
            assert row["tiny-source@points"] == pytest.approx(expected[row["pair"]]["tiny-source@points"], abs=1e-5)


def test_no_face_is_a_failed_row_and_enters_no_mean(settings: RunSettings, noisy_registry: Registry) -> None:
    records = by_name(run(settings, noisy_registry))
    for name in ("blend", "source-copy", "target-copy"):
        record = records[name]
        bad = [row for row in record.rows if "noise" in row["pair"]]
        assert bad
        assert all("no face found" in row["reason"] for row in bad), [row["reason"] for row in bad]
        values = [r["tiny-source@points"] for r in record.rows if r["reason"] is None]
        summary = record.summary["measures"]["tiny-source@points"]
        assert summary["n_failed"] == record.summary["failed"] >= len(bad)
        assert summary["n_scored"] == len(values) == len(record.rows) - record.summary["failed"]
        assert summary["mean"] == pytest.approx(np.mean(values))


def test_an_interrupted_run_continues(
    settings: RunSettings, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = run(replace(settings, limit=20, references=False), registry)[0]
    expected = (whole.folder / "summary.json").read_bytes()
    other = replace(settings, limit=20, references=False, out=settings.out.with_name("other"))
    from mfim_bench.bench import scoring

    real = scoring.Scorer._row
    calls = 0

    def dies(*arguments: object) -> object:
        nonlocal calls
        calls += 1
        if calls > 17:
            raise KeyboardInterrupt
        return real(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(scoring.Scorer, "_row", dies)
    with pytest.raises(KeyboardInterrupt):
        run(other, registry)
    monkeypatch.undo()
    folder = other.out / whole.folder.relative_to(settings.out)
    assert len(list((folder / "parts").glob("score-*"))) == 1
    with pytest.raises(UsageError, match="not finished"):
        Record.load(folder)
    next((folder / "images").glob("*.png")).unlink()  # lost after its part was written: made again
    next((folder / "parts").glob("swap-*")).write_bytes(b"PAR1 damaged")
    assert run(other, registry)[0].folder == folder
    assert (folder / "summary.json").read_bytes() == expected


def test_data_set_images_are_described_once(settings: RunSettings, registry: Registry) -> None:
    run(replace(settings, limit=10, references=False), registry)

    def count() -> int:
        with sqlite3.connect(settings.out / "features.sqlite") as database:
            return int(database.execute("SELECT COUNT(*) FROM features").fetchone()[0])

    before = count()
    run(replace(settings, method="target-copy", limit=10, references=False), registry)
    assert count() == before  # the swap is the target, known by its content under another name


def test_cache_is_by_content_and_key(tmp_path: Path) -> None:
    cache = FeatureCache(tmp_path / "f.sqlite")
    cache.put("judge-1", "image", {"x": np.arange(3, dtype=np.float32)})
    assert cache.get("judge-2", "image") is None
    assert cache.get("judge-1", "other") is None
    for number in range(TOGETHER):
        cache.put("many", str(number), {"x": np.array([number])})
    for opened in (cache, FeatureCache(tmp_path / "f.sqlite")):  # another sees all but those that wait
        again = opened.get("judge-1", "image")
        assert again is not None
        np.testing.assert_array_equal(again["x"], [0, 1, 2])
    last = str(TOGETHER - 1)
    waiting = cache.get("many", last)
    assert waiting is not None
    assert waiting["x"] == [TOGETHER - 1]
    cache.close()
    assert FeatureCache(tmp_path / "f.sqlite").get("many", last) is not None


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"method": "blent"}, "did you mean blend"),
        ({"protocol": "tinny"}, "did you mean tiny"),
        ({"measures": ("tiny-sauce",)}, "tiny-source"),
        ({"split": "train"}, "no split"),
        ({"data": Path("nowhere")}, "no folder nowhere"),
        ({"limit": 0}, "0 pairs"),
        ({"batch_size": 0}, "--batch-size"),
        ({"device": "tpu9"}, "--device"),
        ({"method": "dir:nowhere"}, "no folder"),
    ],
)
def test_wrong_use_is_one_clear_line(
    settings: RunSettings, registry: Registry, change: dict[str, object], words: str
) -> None:
    with pytest.raises(UsageError, match=words) as caught:
        run(replace(settings, **change), registry)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


def test_a_folder_that_cannot_be_written(settings: RunSettings, registry: Registry) -> None:
    settings.out.write_text("a file stands here")
    with pytest.raises(UsageError, match="cannot write"):
        run(settings, registry)


def test_two_writers_are_refused(settings: RunSettings, registry: Registry) -> None:
    import fcntl

    record = run(replace(settings, limit=2, references=False), registry)[0]
    manifest = dict(record.manifest) | {"status": "running"}
    (record.folder / "manifest.json").write_text(json.dumps(manifest))
    with (record.folder / ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(UsageError, match="another process"):
            run(replace(settings, limit=2, references=False), registry)


def test_images_made_elsewhere(settings: RunSettings, registry: Registry, tmp_path: Path) -> None:
    made = run(replace(settings, limit=6, references=False), registry)[0]
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    for row in made.rows[1:]:
        image = read_image(made.folder / "images" / f"{row['pair']}.png")
        cv2.imwrite(str(folder / f"{row['pair']}.png"), image[..., ::-1])
    record = run(replace(settings, method=f"dir:{folder}", limit=6, references=False), registry)[0]
    assert record.rows[0]["reason"] is not None
    for mine, theirs in zip(record.rows[1:], made.rows[1:], strict=True):
        assert mine["tiny-source@points"] == theirs["tiny-source@points"]


def test_every_input_changes_the_fingerprint(settings: RunSettings, registry: Registry) -> None:
    base = replace(settings, limit=2, references=False)
    changes = [{}, {"seed": 1}, {"batch_size": 2}, {"limit": 1}, {"split": "test"}, {"measures": ("tiny-source",)}]
    changes += [{"method": "target-copy@64"}, {"method": "target-copy@32"}]
    marks = {run(replace(base, **change), registry)[0].folder.name for change in changes}  # type: ignore[arg-type]
    assert len(marks) == len(changes)
