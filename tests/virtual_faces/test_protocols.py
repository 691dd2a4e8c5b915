"""The protocols virtual-faces and folder."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mfim_bench.errors import UsageError
from mfim_bench.plugins import load_protocol, registry
from mfim_protocols import folder
from mfim_protocols.virtual_faces import dataset
from mfim_protocols.virtual_faces.geometry import portrait, true_swap
from mfim_protocols.virtual_faces.render import render


def test_test_split_is_complete_and_is_the_published_one() -> None:
    protocol = load_protocol(registry().protocol("virtual-faces"), None, "test")
    assert list(protocol.problems()) == []
    assert protocol.content_hash() == dataset.PUBLISHED["test"] != ""
    files = list((Path(dataset.__file__).parent / "test").rglob("*.*"))
    assert sum(f.stat().st_size for f in files) <= 10e6


def test_a_changed_file_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import shutil

    shutil.copytree(dataset.home("test", None), tmp_path / "test")
    opened = dataset.load(tmp_path, "test")
    victim = opened.pairs()[0].truth
    assert victim is not None
    Image.new("RGB", (256, 256)).save(victim)
    assert opened.content_hash() != dataset.PUBLISHED["test"]
    monkeypatch.setattr(dataset, "home", lambda split, data: tmp_path / "test")
    assert "not the published" in dataset.VirtualFaces(tmp_path / "test", "test").problems()[0]
    victim.unlink()
    assert "missing truth/" in opened.problems()[0]


def test_pairs_cover_every_frame_once_in_each_role() -> None:
    for split in dataset.SPLITS:
        pairs = dataset.pair_list(split)
        sources, targets = zip(*pairs, strict=True)
        assert set(Counter(sources).values()) == set(Counter(targets).values()) == {1}
        assert set(sources) == set(targets)
        assert all(s[:4] != t[:4] for s, t in pairs)
    assert len(dataset.pair_list("test")) == 300
    assert len({t[:4] for _, t in dataset.pair_list("test")}) >= 100


def test_splits_share_no_identity_and_training_is_kept_out_of_them() -> None:
    spans = [range(s.first, s.first + s.identities) for s in dataset.SPLITS.values()] + [range(100_000, 300_000)]
    for i, a in enumerate(spans):
        for b in spans[i + 1 :]:
            assert a.stop <= b.start or b.stop <= a.start


def test_shipped_frames_are_what_the_renderer_draws() -> None:
    pair = dataset.load(None, "test").pairs()[0]
    ours = dataset.record("test", pair.target.id)
    theirs = dataset.record("test", pair.source.id)
    for path, drawn in ((pair.target.path, portrait(ours)), (pair.truth, true_swap(theirs, ours))):
        assert path is not None
        shipped = np.asarray(Image.open(path).convert("RGB")).astype(float)
        again = render(drawn, dataset.SIZE, dataset.SAMPLES).image
        assert np.abs(shipped - again).mean() < 3, "8-bit units; WebP and the last bit of another machine"


def test_unknown_split_and_missing_validation_say_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no split 'dev'"):
        dataset.load(None, "dev")
    with pytest.raises(UsageError, match="data render --split validation"):
        dataset.load(tmp_path, "validation")


def _folder(tmp_path: Path, text: str) -> Path:
    for name in ("a.png", "b.png"):
        Image.new("RGB", (8, 8)).save(tmp_path / name)
    (tmp_path / "pairs.csv").write_text(text)
    return tmp_path


def test_folder_reads_pairs(tmp_path: Path) -> None:
    opened = folder.load(_folder(tmp_path, "source,target\na.png,b.png\nb.png,a.png\n"), "test")
    assert {p.id for p in opened.pairs()} == {"b.png-a.png", "a.png-b.png"}
    assert list(opened.problems()) == []
    before = opened.content_hash()
    Image.new("RGB", (8, 8), "red").save(tmp_path / "a.png")
    assert opened.content_hash() != before
    (tmp_path / "a.png").unlink()
    assert list(opened.problems()) == ["missing a.png"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("source\na.png\n", "columns must be"),
        ("source,target\n", "no pairs"),
        ("source,target\na.png,\n", "line 2: source or target is empty"),
        ("source,target\n../../etc/passwd,a.png\n", "outside the folder"),
        ("source,target\na.png,b.png\na.png,b.png\n", "taken"),
        ("id,source,target\n../x,a.png,b.png\n", "not a plain file name"),
    ],
)
def test_folder_refuses_with_one_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        folder.load(_folder(tmp_path, text), "test")


def test_folder_refuses_a_file_that_is_no_csv_with_one_line(tmp_path: Path) -> None:
    listing = _folder(tmp_path, f"source,target\na.png,b.png\n{'a' * 140_000},b.png\n") / "pairs.csv"
    with pytest.raises(UsageError, match=r"pairs\.csv, line 3: field larger than"):
        folder.load(tmp_path, "test")
    listing.write_bytes("source,target\nä.png,b.png\n".encode("latin-1"))
    with pytest.raises(UsageError, match=r"pairs\.csv is no text in UTF-8$"):
        folder.load(tmp_path, "test")


def test_folder_needs_data(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--data"):
        folder.load(None, "test")
    with pytest.raises(UsageError, match="no such folder"):
        folder.load(tmp_path / "nowhere", "test")
    with pytest.raises(UsageError, match=r"no pairs\.csv"):
        folder.load(tmp_path, "test")
