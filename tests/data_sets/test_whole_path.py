"""From ``data check`` to the table, on twins with spoiled members: every row is there, scored or with its reason."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from twins import data_sets

from mfim_bench.bench import Record
from mfim_bench.cli import run_command
from mfim_bench.media import frames as media_frames
from mfim_bench.plugins import load_protocol, registry

FAMILIES = {"identity", "shape", "expression", "pose", "pose-hn", "retrieval"}


def mfim_bench(*arguments: object) -> int:
    return run_command([str(argument) for argument in arguments])


def records(out: Path, protocol: str) -> dict[str, Record]:
    folders = [manifest.parent for manifest in (out / protocol).glob("*/*/manifest.json")]
    return {record.method: record for record in map(Record.load, folders)}


def failed(record: Record) -> dict[str, str]:
    return {row["pair"]: row["reason"] for row in record.rows if row["reason"]}


def assert_complete(record: Record, rows: int) -> None:
    """Every row is there, every measure counts all of them, and a failed row has no number."""
    assert len(record.rows) == rows
    assert {name.partition("@")[0] for name in record.summary["measures"]} == FAMILIES
    for name, entry in record.summary["measures"].items():
        assert entry["n_scored"] + entry["n_failed"] == rows
        assert entry["n_failed"] == len(failed(record))
        assert all((row[name] is None) == (row["reason"] is not None) for row in record.rows)


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs")


def test_faceforensics(
    tmp_path: Path, out: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    data = data_sets.faceforensics(tmp_path, compressions=("c23",))
    data_sets.spoil_faceforensics(data)
    assert mfim_bench("data", "check", "faceforensics++", "--data", data, "--split", "test") == 1
    told = capsys.readouterr().out
    for words in ("original videos c23: 3 of 4", "029.mp4", "missing manipulated", "not recognised: original_seq"):
        assert words in told

    decoded: Counter[str] = Counter()
    real = media_frames.read_pictures

    def counting(path: Any, *rest: Any) -> Any:
        decoded[Path(path).relative_to(data).as_posix()] += 1
        return real(path, *rest)

    monkeypatch.setattr(media_frames, "read_pictures", counting)
    methods = ("mfim", "deepfakes", "faceshifter")
    options = ("--protocol", "faceforensics++", "--data", data, "--out", out, "--device", "cpu")
    for method in methods:
        assert mfim_bench("run", "--method", method, *options) == 1, "rows failed"
        told = capsys.readouterr().out
        assert method in told
        assert "target-copy" in told
        assert "3 failed" in told or "6 failed" in told
    assert decoded
    assert set(decoded.values()) == {1}, "a video is decoded once for all methods"

    found = records(out, "faceforensics++@infoswap")
    assert {*methods, "target-copy", "source-copy"} <= set(found)
    broken = {f"{swap}-{k}" for swap in ("048_029", "029_048") for k in range(3)}
    faceless = {f"{swap}-1" for swap in ("000_003", "003_000")}
    lost = {f"000_003-{k}" for k in range(3)}
    wanted = {
        "mfim": broken | faceless,
        "target-copy": broken | faceless,
        # What a manipulated video shows has a face, whatever the original shows; but its partners have none.
        "deepfakes": broken | faceless,
        "faceshifter": broken | faceless | lost,
    }
    for method, pairs in wanted.items():
        record = found[method]
        assert_complete(record, rows=12)
        reasons = failed(record)
        assert set(reasons) == pairs, method
        assert all("029.mp4" in reasons[pair] for pair in broken)
        assert all("no face found" in reasons[pair] for pair in faceless - (lost if method == "faceshifter" else set()))
    assert all("missing file: 000_003.mp4" in failed(found["faceshifter"])[pair] for pair in lost)

    def mean(method: str, family: str) -> float:
        measures = found[method].summary["measures"]
        return float(next(entry["mean"] for name, entry in measures.items() if name.partition("@")[0] == family))

    # `deepfakes` is the true swap here: a frame of another number, of another video, or a colour channel gone astray
    # would bring it no nearer to the source, or move the target's head.
    assert mean("deepfakes", "identity") < mean("target-copy", "identity") - 0.1
    assert mean("deepfakes", "pose-hn") < mean("source-copy", "pose-hn") / 2
    assert mean("target-copy", "expression") == 0


def test_celeba_hq(tmp_path: Path, out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = data_sets.celeba_hq(tmp_path)
    first = load_protocol(registry().protocol("celeba-hq"), data).pairs()[:6]
    broken = data_sets.spoil_celeba_hq(data, [pair.target.id for pair in first[:4]])
    assert mfim_bench("data", "check", "celeba-hq", "--data", data, "--deep") == 1
    told = capsys.readouterr().out
    assert "images of the pairs: 1997 of 2000" in told
    assert "identities: by identity_CelebA.txt" in told
    assert "thumbs.db" in told
    options = ("--protocol", "celeba-hq", "--data", data, "--out", out, "--device", "cpu", "--limit", 6)
    assert mfim_bench("run", "--method", "mfim", *options) == 1
    found = records(out, "celeba-hq@reface")
    for method in ("mfim", "target-copy", "source-copy"):
        assert_complete(found[method], rows=6)
    for method in ("mfim", "target-copy"):
        reasons = {pair.partition("-")[0]: reason for pair, reason in failed(found[method]).items()}
        assert set(reasons) == set(broken)
        assert all(words in reasons[target] for target, words in broken.items())


@pytest.mark.parametrize(("protocol", "write"), [("ffhq-1000", data_sets.ffhq), ("casia-normal", data_sets.casia)])
def test_other_image_sets(protocol: str, write: Any, tmp_path: Path, out: Path) -> None:
    data = write(tmp_path)
    options = ("--protocol", protocol, "--data", data, "--out", out, "--device", "cpu", "--limit", 3)
    assert mfim_bench("data", "check", protocol, "--data", data) == 0
    assert mfim_bench("run", "--method", "target-copy", "--no-references", *options) == 0
    record = records(out, protocol)["target-copy"]
    assert_complete(record, rows=3)
    assert not failed(record)


def test_manipulated_videos_know_one_data_set(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert mfim_bench("run", "--method", "deepfakes", "--limit", 2, "--no-references", "--out", out) == 2
    told = capsys.readouterr().err.strip()
    assert "a part of FaceForensics++" in told
    assert "\n" not in told
