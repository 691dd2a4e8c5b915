"""Frames of videos in a run: each video decoded once, broken ones as failed rows; measures over galleries and sets."""

from __future__ import annotations

import itertools
import json
import shutil
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from portraits import portraits

from mfim_bench import weights
from mfim_bench.bench import Record, RunSettings, fingerprint, frames, run
from mfim_bench.bench.frames import FrameStore
from mfim_bench.bench.whole import gallery_frames
from mfim_bench.cli import run_command
from mfim_bench.errors import RowError, UsageError
from mfim_bench.media.images import read_image
from mfim_bench.plugins import Plugins, Registry
from mfim_bench.protocol import Frame
from mfim_bench.report.compare import compare, left_out, text
from mfim_bench.report.page import write_page
from mfim_bench.report.table import build
from mfim_bench.testing import check_run

HERE = Path(__file__).parent
PEOPLE = ("plain", "mirror", "tall")


@pytest.fixture(scope="session")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three films of four frames, each frame a little darker than the one before."""
    folder = tmp_path_factory.mktemp("films")
    for name in PEOPLE:
        film(folder / f"{name}.mp4", name)
    return folder


def film(path: Path, name: str, count: int = 4, crf: str = "12", side: int = 160) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": crf})
        stream.width = stream.height = side
        stream.pix_fmt = "yuv420p"
        for k in range(count):
            image = (portraits()[name] * (1 - 0.08 * k)).astype(np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))


@pytest.fixture
def registry(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Registry]:
    site = tmp_path_factory.mktemp("film-site")
    shutil.copy(HERE / "film_plugin" / "tiny_films.py", site)
    info = site / "tiny_films-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: tiny-films\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[mfim_bench]\ntiny_films = tiny_films\n")
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.setenv("MFIM_BENCH_LOAD_PLUGINS", "tiny-films")
    sys.modules.pop("tiny_films", None)
    yield Registry(Plugins())
    sys.modules.pop("tiny_films", None)


@pytest.fixture
def settings(films: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunSettings:
    monkeypatch.setenv(weights.CACHE_VARIABLE, str(tmp_path / "cache"))
    out = tmp_path / "runs"
    return RunSettings("target-copy", "films", data=films, device="cpu", out=out, workers=2, references=False)


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each video was decoded."""
    count: Counter[str] = Counter()
    honest = frames.frames_at

    def counting(path: Path, indices: object) -> object:
        count[Path(path).name] += 1
        return honest(path, indices)  # type: ignore[arg-type]

    monkeypatch.setattr(frames, "frames_at", counting)
    return count


def values(record: Record, name: str) -> list[float]:
    return [row[name] for row in record.rows]


def test_each_video_is_decoded_once_for_all_methods_and_runs(
    settings: RunSettings, registry: Registry, decoded: Counter[str]
) -> None:
    records = run(replace(settings, references=True), registry)
    run(replace(settings, method="source-copy", batch_size=3), registry)
    assert decoded == dict.fromkeys((f"{name}.mp4" for name in PEOPLE), 1)
    assert [record.summary["failed"] for record in records] == [0, 0]
    assert max(values(records[0], "film-own@grid")) == 0
    assert min(values(records[1], "film-own@grid")) > 0.05


def test_frames_are_those_of_their_number(settings: RunSettings, registry: Registry) -> None:
    record = run(settings, registry)[0]
    for pair in record.manifest["pairs"]:
        name, _, index = pair["target"].rpartition("-")
        shown = read_image(pair["target_path"]).astype(float)  # what the report shows
        expected = [(portraits()[name] * (1 - 0.08 * k)).astype(np.uint8) for k in range(4)]
        errors = [np.abs(shown - image).mean() for image in expected]
        assert int(np.argmin(errors)) == int(index)
        assert min(errors) < 4


def test_a_broken_video_costs_its_own_rows_and_is_decoded_once(
    settings: RunSettings, registry: Registry, decoded: Counter[str], films: Path, tmp_path: Path
) -> None:
    mixed = tmp_path / "mixed"
    shutil.copytree(films, mixed)
    (mixed / "broken.mp4").write_bytes((films / "tall.mp4").read_bytes()[:200])
    film(mixed / "short.mp4", "warm", count=2)
    for method in ("target-copy", "source-copy"):
        record = run(replace(settings, method=method, data=mixed), registry)[0]
        for row in record.rows:
            people = {row["source_identity"], row["target_identity"]}
            late = "short" in people and row["pair"][-1] in "23"
            assert (row["reason"] is not None) == ("broken" in people or late), row
        reasons = " ".join(record.summary["reasons"])
        assert "source: not a video: broken.mp4" in reasons
        assert "target: not a video: broken.mp4" in reasons
        assert "short.mp4 has 2 frames, no frame 2" in reasons
    assert set(decoded.values()) == {1}


def test_a_changed_video_is_decoded_again(
    settings: RunSettings, registry: Registry, decoded: Counter[str], films: Path, tmp_path: Path
) -> None:
    """By content, not by name."""
    copy = tmp_path / "copy"
    shutil.copytree(films, copy)
    first = run(replace(settings, method="source-copy", data=copy), registry)[0]
    film(copy / "plain.mp4", "near")
    second = run(replace(settings, method="source-copy", data=copy), registry)[0]
    assert decoded["plain.mp4"] == 2
    assert decoded["tall.mp4"] == 1
    assert first.rows != second.rows


def test_results_may_be_frames_of_videos(
    settings: RunSettings, registry: Registry, decoded: Counter[str], films: Path, tmp_path: Path
) -> None:
    other = tmp_path / "others"
    other.mkdir()
    for name, shown in itertools.pairwise(PEOPLE):
        shutil.copy(films / f"{shown}.mp4", other / f"{name}.mp4")
    record = run(replace(settings, method=f"remade:{other}"), registry)[0]
    assert record.summary["reasons"] == {"no result: tall.mp4": 8}
    assert decoded == dict.fromkeys((f"{name}.mp4" for name in PEOPLE), 1)  # the same content under other names
    copies = {row["pair"]: row for row in run(replace(settings, method="source-copy"), registry)[0].rows}
    for row in record.rows:
        if row["target_identity"] == "plain" and row["source_identity"] == "mirror":
            assert row["film-own@grid"] == copies[row["pair"]]["film-own@grid"]


def test_whose_face_aligns_a_swap(settings: RunSettings, registry: Registry, films: Path, tmp_path: Path) -> None:
    """Swaps that are other people's films: the same squares of both frames are compared, or each face's own."""
    other = tmp_path / "others"
    other.mkdir()
    for name, shown in zip(PEOPLE, (*PEOPLE[1:], PEOPLE[0]), strict=True):
        shutil.copy(films / f"{shown}.mp4", other / f"{name}.mp4")
    names = ("film-own", "film-targets")
    record = run(replace(settings, method=f"remade:{other}", measures=names), registry)[0]
    # Whose result is the tall film, and not their source's.
    tall = [r for r in record.rows if (r["target_identity"], r["source_identity"]) == ("mirror", "plain")]
    assert len(tall) == 4
    assert all(abs(row["film-own@grid"] - row["film-targets@grid"]) > 0.01 for row in tall)
    from tiny_films import Pixels  # type: ignore[import-not-found]

    from mfim_bench.faces.detect import Detector

    pair = next(pair for pair in record.manifest["pairs"] if pair["id"] == tall[0]["pair"])
    target, swap = read_image(pair["target_path"]), read_image(record.folder / "images" / f"{pair['id']}.png")
    face = Detector().detect([target])
    a, b = (Pixels(True).features([image], face)["grid"] for image in (target, swap))
    assert tall[0]["film-targets@grid"] == pytest.approx(np.linalg.norm(a - b), abs=1e-6)
    shown = dict(zip(PEOPLE, (*PEOPLE[1:], PEOPLE[0]), strict=True))
    for row in record.rows:  # a swap that is its source's frame has nothing to do with the target's face
        copied = shown[row["target_identity"]] == row["source_identity"]
        assert row["note"] == ("targets: aligned by its own face, for it is the source's frame" if copied else None)
        assert (row["film-targets@grid"] == row["film-own@grid"]) == copied


def test_a_swap_of_another_size_is_resized_to_its_target_and_says_so(
    settings: RunSettings, registry: Registry, tmp_path: Path
) -> None:
    other = tmp_path / "others"
    other.mkdir()
    for name in PEOPLE:
        film(other / f"{name}.mp4", name, side=240 if name == "tall" else 160)
    names = ("film-own", "film-targets")
    record = run(replace(settings, method=f"remade:{other}", measures=names), registry)[0]
    notes = {(row["target_identity"], row["note"]) for row in record.rows}
    assert notes == {
        ("plain", None),
        ("mirror", None),
        ("tall", "targets: resized from 240x240 px to the target's 160x160 px"),
    }
    from tiny_films import Pixels  # type: ignore[import-not-found]

    from mfim_bench.faces.detect import Detector

    row = next(row for row in record.rows if row["target_identity"] == "tall")
    pair = next(pair for pair in record.manifest["pairs"] if pair["id"] == row["pair"])
    target, swap = read_image(pair["target_path"]), read_image(record.folder / "images" / f"{pair['id']}.png")
    assert swap.shape == (240, 240, 3)
    face = Detector().detect([target])
    a, b = (Pixels(True).features([image], face)["grid"] for image in (target, cv2.resize(swap, (160, 160))))
    assert row["film-targets@grid"] == pytest.approx(np.linalg.norm(a - b), abs=1e-6)
    alone = run(replace(settings, method=f"remade:{other}", measures=("film-own",)), registry)[0]
    assert {row["note"] for row in alone.rows} == {None}


def test_the_sources_frame_is_aligned_by_its_own_face(
    settings: RunSettings, registry: Registry, films: Path, tmp_path: Path
) -> None:
    """Whatever its size, and in retrieval too: as a reference it stays the source itself."""
    mixed = tmp_path / "mixed"
    shutil.copytree(films, mixed)
    film(mixed / "tall.mp4", "tall", side=200)
    names = ("film-own", "film-targets", "film-found-targets")
    record = run(replace(settings, method="source-copy", data=mixed, measures=names), registry)[0]
    assert record.summary["failed"] == 0
    assert set(values(record, "film-found-targets@top1")) == {1.0}
    for row in record.rows:
        assert row["note"] == "targets: aligned by its own face, for it is the source's frame"
        assert row["film-targets@grid"] == row["film-own@grid"]


def test_a_judge_that_needs_no_face_fails_no_frame_without_one(
    settings: RunSettings, registry: Registry, films: Path, tmp_path: Path
) -> None:
    blank = tmp_path / "blank"
    blank.mkdir()
    for name in PEOPLE:
        with av.open(str(blank / f"{name}.mp4"), "w") as container:
            stream = container.add_stream("libx264", rate=25)
            stream.width = stream.height = 160
            stream.pix_fmt = "yuv420p"
            for _ in range(4):
                image = np.full((160, 160, 3), 90, np.uint8)
                container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
            container.mux(stream.encode(None))
    without = replace(settings, method=f"remade:{blank}", measures=("film-whole",))
    assert run(without, registry)[0].summary["failed"] == 0
    with_face = run(replace(without, measures=("film-whole", "film-own")), registry)[0]
    assert with_face.summary["reasons"] == {"swap: no face found": 24}


def test_retrieval_and_sets(settings: RunSettings, registry: Registry, films: Path) -> None:
    names = ("film-whole", "film-found", "film-apart")
    settings = replace(settings, measures=names)
    source, target = (run(replace(settings, method=m), registry)[0] for m in ("source-copy", "target-copy"))
    assert set(values(source, "film-found@top1")) == {1.0}  # each nearest frame is the source's own
    assert set(values(target, "film-found@top1")) == {0.0}
    assert source.summary["measures"]["film-found@top1"]["mean"] == 1
    assert source.summary["whole"]["film-found@top1"]["compared"] == 12
    apart = [record.summary["whole"]["film-apart@means"] for record in (source, target)]
    assert [entry["value"] for entry in apart] == [pytest.approx(0, abs=1e-6)] * 2  # every film is both, equally often
    assert "film-apart@means" not in source.measures
    assert "film-apart@means" not in source.rows[0]
    table = build([source, target])
    assert list(table.measures) == ["film-whole@grid", "film-found@top1", "film-apart@means"]
    printed = table.text()
    assert "film-found ↑" in printed
    assert "film-found@top1: among 12 frames" in printed
    assert "film-apart@means: one number a run, against 12 images" in printed
    assert [d.measure for d in compare(source, target)] == ["film-whole@grid", "film-found@top1"]
    assert write_page(source.folder / "report.html", [source, target]).is_file()
    again = Record.load(source.folder)
    assert (again.rows, again.summary) == (source.rows, source.summary)


def test_a_set_of_some_pairs_has_another_number(settings: RunSettings, registry: Registry) -> None:
    settings = replace(settings, method="source-copy", measures=("film-apart", "film-found"))
    whole, part = (run(replace(settings, limit=limit), registry)[0] for limit in (None, 5))
    assert part.summary["whole"]["film-apart@means"]["value"] > 0.01
    assert part.summary["whole"]["film-apart@means"]["swaps"] == 5
    assert part.summary["whole"]["film-found@top1"]["compared"] < whole.summary["whole"]["film-found@top1"]["compared"]
    one = run(replace(settings, limit=1), registry)[0]
    assert one.summary["whole"]["film-apart@means"]["value"] is None  # no set of one
    assert "–" in build([one]).text()


def test_gallery_frames_that_cannot_be_read_are_counted(
    settings: RunSettings, registry: Registry, films: Path, tmp_path: Path
) -> None:
    mixed = tmp_path / "mixed"
    shutil.copytree(films, mixed)
    (mixed / "broken.mp4").write_bytes(b"nothing")
    record = run(replace(settings, method="source-copy", data=mixed, measures=("film-found",)), registry)[0]
    entry = record.summary["whole"]["film-found@top1"]
    assert (entry["compared"], entry["failed"]) == (12, 4)
    assert "broken.mp4" in entry["reasons"][0]
    assert "among 12 frames (4 more could not be described)" in build([record]).text()


def test_what_a_gallery_holds(films: Path, registry: Registry) -> None:
    from tiny_films import Films

    pairs = [pair for pair in Films(films).pairs() if pair.source.identity == "plain"]
    assert {frame.identity for frame in gallery_frames(pairs, "sources")} == {"plain"}
    assert {frame.identity for frame in gallery_frames(pairs, "targets")} == {"mirror", "tall"}
    assert len(gallery_frames(pairs, "both")) == 12


def test_an_interrupted_run_goes_on(settings: RunSettings, registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    from mfim_bench.bench import runner

    settings = replace(settings, method="source-copy", measures=("film-whole", "film-found", "film-apart"))
    complete = run(replace(settings, out=settings.out.with_name("other")), registry)[0]

    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(runner, "summarise", stop)
        with pytest.raises(KeyboardInterrupt):
            run(settings, registry)
    record = run(settings, registry)[0]
    assert record.rows == complete.rows
    assert record.summary == complete.summary


def test_absent_weights(settings: RunSettings, registry: Registry) -> None:
    settings = replace(settings, measures=("film-whole", "film-absent"))
    with pytest.raises(
        UsageError, match=r"film-absent@grid: .*example.org.*weights add nobody-has-it FILE.*--skip-missing"
    ):
        run(settings, registry)
    record = run(replace(settings, skip_missing=True), registry)[0]
    assert list(record.measures) == ["film-whole@grid"]
    assert list(record.summary["skipped"]) == ["film-absent@grid"]
    assert "not measured: film-absent@grid (weights nobody-has-it are not here" in build([record]).text()
    with pytest.raises(UsageError, match="no measure is left"):
        run(replace(settings, measures=("film-absent",), skip_missing=True), registry)


def test_gallery_and_set_beside_measures_of_pairs_in_every_output(
    settings: RunSettings, registry: Registry, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = replace(settings, measures=("film-whole", "film-found", "film-apart"))
    source, target = (run(replace(settings, method=m), registry)[0] for m in ("source-copy", "target-copy"))
    said = text(source, target, compare(source, target))
    assert "not compared: film-apart@means (one number a run, without rows to pair: A 0.000, B 0.000)" in said
    assert run_command(["compare", str(source.folder), str(target.folder), "--json"]) == 0
    shown = capsys.readouterr()
    assert [d["measure"] for d in json.loads(shown.out)] == ["film-whole@grid", "film-found@top1"]
    assert "not compared: film-apart@means" in shown.err
    assert run_command(["leaderboard", "--protocol", "films", "--split", "test", "--out", str(settings.out)]) == 0
    assert "film-apart@means: one number a run" in capsys.readouterr().out
    check_run(source.folder, {"film-apart": "<= 0.001", "film-found": ">= 1"})
    with pytest.raises(AssertionError, match="film-apart is"):
        check_run(source.folder, {"film-apart": "> 0.1"})
    assert "higher is better" in build([source]).text()
    assert "lower is better" in build([source]).text()


def test_a_gallery_of_other_pairs_is_neither_ranked_nor_compared(settings: RunSettings, registry: Registry) -> None:
    """The first five pairs' frames are fewer to be found among: the same swaps get other values."""
    settings = replace(settings, measures=("film-whole", "film-found"))
    part = run(replace(settings, method="source-copy", limit=5), registry)[0]
    whole = run(replace(settings, method="target-copy"), registry)[0]
    assert [d.measure for d in compare(part, whole)] == ["film-whole@grid"]
    assert left_out(part, whole) == {"film-found@top1": "compared with different galleries"}
    methods = [Record(r.folder, {**r.manifest, "reference": False}, r.rows, r.summary) for r in (part, whole)]
    table = build(methods, common=True)
    best = {name: [line.cells[name].best for line in table.lines] for name in table.measures}
    assert any(best["film-whole@grid"])
    assert not any(best["film-found@top1"])
    assert "film-found@top1 is not ranked" in table.text()


def test_a_run_of_nothing_but_a_set(settings: RunSettings, registry: Registry) -> None:
    only = replace(settings, method="source-copy", measures=("film-apart",))
    record, other = (run(replace(only, method=m), registry)[0] for m in ("source-copy", "target-copy"))
    assert record.rows[0]["reason"] is None
    assert "film-apart ↓" in build([record]).text()
    assert write_page(record.folder / "report.html", [record]).is_file()
    with pytest.raises(UsageError, match=r"no scored measure .*film-apart@means: one number a run"):
        compare(record, other)


def test_a_row_without_a_value_in_the_gallery_fails_whole(
    settings: RunSettings, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    import tiny_films

    honest = tiny_films.nearest

    def some(swaps: object, gallery: object, identities: list[str], wanted: list[str]) -> object:
        found = honest(swaps, gallery, identities, wanted)
        found[:3] = np.nan
        return found

    monkeypatch.setattr(tiny_films, "nearest", some)
    record = run(replace(settings, measures=("film-whole", "film-apart", "film-found")), registry)[0]
    failed = [row for row in record.rows if row["reason"] is not None]
    assert {row["reason"] for row in failed} == {"film-found@top1 gave nan"}
    assert (len(failed), record.summary["failed"]) == (3, 3)
    assert all(row[name] is None for row in failed for name in ("film-whole@grid", "film-found@top1"))
    assert record.summary["whole"]["film-apart@means"]["swaps"] == len(record.rows) - 3  # the failed are no members


def test_a_second_method_costs_only_its_own_images(
    settings: RunSettings, registry: Registry, films: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import tiny_films

    asked: list[int] = []
    honest = tiny_films.Pixels.features

    def counting(self: object, images: list[object], faces: list[object]) -> object:
        asked.append(len(images))
        return honest(self, images, faces)

    monkeypatch.setattr(tiny_films.Pixels, "features", counting)
    settings = replace(settings, measures=("film-own", "film-targets", "film-found", "film-apart"))
    run(settings, registry)  # three judges and the twelve frames, which are the swaps too
    # `targets` is also asked for the swaps by their targets' faces, which are the same faces under another key.
    assert sum(asked) == 12 * 3 + 12, asked
    asked.clear()
    darker = tmp_path / "darker"
    darker.mkdir()
    for name in PEOPLE:
        film(darker / f"{name}.mp4", name, crf="30")
    record = run(replace(settings, method=f"remade:{darker}"), registry)[0]
    assert record.summary["failed"] == 0
    different = 12  # results, each the swap of two pairs
    assert sum(asked) == different * 3


def test_a_reason_is_kept_where_the_file_is_broken_and_not_where_the_system_failed(
    films: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    video, frame = tmp_path / "film.mp4", Frame("plain", tmp_path / "film.mp4", "plain", 1)
    shutil.copy(films / "plain.mp4", video)
    store = FrameStore(tmp_path / "frames")
    with monkeypatch.context() as patch:

        def opened(*_: object) -> None:
            raise PermissionError(13, "no access")

        patch.setattr(av, "open", opened)
        store.fetch(video, [frame])
    with pytest.raises(RowError, match=r"film.mp4 .*no access"):
        store.file(frame)
    assert store.missing([frame]) == {}  # one try a command
    again = FrameStore(tmp_path / "frames")
    again.fetch(*next(iter(again.missing([frame]).items())))
    assert again.file(frame).is_file()

    video.write_bytes((films / "plain.mp4").read_bytes()[:200])
    store.fetch(*next(iter(store.missing([frame]).items())))
    assert FrameStore(tmp_path / "frames").missing([frame]) == {}


def test_frames_of_another_decoder_are_other_frames(
    settings: RunSettings, registry: Registry, decoded: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run(settings, registry)
    real = fingerprint._version
    monkeypatch.setattr(fingerprint, "_version", lambda name: "0" if name == "av" else real(name))
    for cached in (fingerprint.library_versions, fingerprint.frames_key):
        cached.cache_clear()
    try:
        run(settings, registry)
    finally:
        for cached in (fingerprint.library_versions, fingerprint.frames_key):
            cached.cache_clear()
    assert decoded == dict.fromkeys((f"{name}.mp4" for name in PEOPLE), 2)


def test_a_record_says_what_the_last_command_left_out(settings: RunSettings, registry: Registry) -> None:
    asked = [("film-own",), ("film-own", "film-absent"), ("film-own",)]
    records = [run(replace(settings, measures=names, skip_missing=True), registry)[0] for names in asked]
    assert len({record.folder for record in records}) == 1
    assert [list(record.summary["skipped"]) for record in records] == [[], ["film-absent@grid"], []]
    assert "film-absent@grid" in build([records[1]]).text()
    assert "film-absent" not in build([Record.load(records[0].folder)]).text()
