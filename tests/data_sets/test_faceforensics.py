"""FaceForensics++: pairs, frames, splits, checks, and its manipulated videos as methods."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from twins import data_sets
from twins.faces import write_video

from mfim_bench.bench.whole import gallery_frames
from mfim_bench.errors import UsageError
from mfim_bench.media.frames import frames_at
from mfim_bench.method import ResultsMethod
from mfim_bench.plugins import load_method, load_protocol, registry
from mfim_bench.protocol import CheckedProtocol, Frame, Pair
from mfim_protocols.faceforensics.dataset import FaceForensics
from mfim_protocols.faceforensics.methods import content


def opened(data: Path | None, name: str = "faceforensics++", split: str | None = None) -> FaceForensics:
    protocol = load_protocol(registry().protocol(name), data, split)
    assert isinstance(protocol, FaceForensics)
    assert isinstance(protocol, CheckedProtocol)
    return protocol


def rows_of(protocol: FaceForensics, swap: str) -> list[Pair]:
    pairs = [pair for pair in protocol.pairs() if pair.id.startswith(f"{swap}-")]
    return sorted(pairs, key=lambda pair: int(pair.id.rpartition("-")[2]))


def test_the_bare_name_is_ten_even_frames_at_c23(faceforensics: Path) -> None:
    assert registry().protocol("faceforensics++").name == "faceforensics++@infoswap"
    names = {name for name in registry().protocols if name.startswith("faceforensics++")}
    rules, rates = ("infoswap", "simswap", "reliableswap", "megafs"), ("", "-c40", "-raw")
    assert names == {f"faceforensics++@{rule}{rate}" for rule in rules for rate in rates}
    assert opened(faceforensics).compression == "c23"
    c40 = opened(faceforensics, "faceforensics++@megafs-c40").pairs()[0]
    assert c40.target.path.parts[-3:-1] == ("c40", "videos")


@pytest.mark.parametrize(("split", "swaps"), [("test", 4), ("val", 2), ("train", 2), ("all", 8), (None, 4)])
def test_splits_hold_every_swap_both_ways(faceforensics: Path, split: str | None, swaps: int) -> None:
    protocol = opened(faceforensics, split=split)
    assert len(protocol.swaps) == swaps
    assert {(source, target) for target, source in protocol.swaps} == set(protocol.swaps)
    assert len(protocol.pairs()) == 3 * swaps, "clips of three frames give all they have"
    assert len({pair.id for pair in protocol.pairs()}) == 3 * swaps


def test_without_split_files_the_names_say_what_all_is(own_faceforensics: Path) -> None:
    whole = opened(own_faceforensics, split="all")
    for path in own_faceforensics.glob("*.json"):
        path.unlink()
    assert opened(own_faceforensics, split="all").content_hash() == whole.content_hash()
    with pytest.raises(UsageError, match=r"needs test\.json of its owner .* --split all"):
        opened(own_faceforensics)
    shutil.rmtree(own_faceforensics / "manipulated_sequences")
    with pytest.raises(UsageError, match="nothing says which videos are swapped"):
        opened(own_faceforensics, split="all")


def test_split_files_may_lie_where_the_owner_keeps_them(own_faceforensics: Path) -> None:
    before = opened(own_faceforensics).content_hash()
    (own_faceforensics / "dataset" / "splits").mkdir(parents=True)
    (own_faceforensics / "test.json").rename(own_faceforensics / "dataset" / "splits" / "test.json")
    assert opened(own_faceforensics).content_hash() == before
    assert opened(own_faceforensics).check(deep=False).unrecognised == ()


@pytest.mark.parametrize("text", ["{", "[]", "[[1, 2, 3]]", '[["000", "../x"]]', '["000"]', '{"a": 1}'])
def test_a_broken_split_file_is_one_line(own_faceforensics: Path, text: str) -> None:
    (own_faceforensics / "test.json").write_text(text)
    with pytest.raises(UsageError, match="is no split file") as caught:
        opened(own_faceforensics)
    assert "\n" not in str(caught.value)


@pytest.fixture(scope="module")
def long(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two videos of 25 and 20 frames, the brightness of each frame its number times nine."""
    root = tmp_path_factory.mktemp("long")
    for name, frames in (("100", 25), ("200", 20)):
        pictures = [np.full((160, 160, 3), 9 * number, np.uint8) for number in range(frames)]
        write_video(root / "original_sequences" / "youtube" / "raw" / "videos" / f"{name}.mp4", pictures, 0)
    (root / "test.json").write_text(json.dumps([["100", "200"]]))
    return root


EVEN_25, EVEN_20 = [1, 3, 6, 8, 11, 13, 16, 18, 21, 23], [1, 3, 5, 7, 9, 11, 13, 15, 17, 19]


@pytest.mark.parametrize(
    ("rule", "ours", "theirs", "back"),
    [
        ("infoswap", EVEN_25, EVEN_20, EVEN_20),
        ("reliableswap", [0, 3, 6, 9, 12, 15, 18, 21, 24, 2], [0] * 10, list(range(0, 20, 2))),
        ("megafs", EVEN_20, EVEN_20, EVEN_20),
    ],
)
def test_which_frames(long: Path, rule: str, ours: list[int], theirs: list[int], back: list[int]) -> None:
    protocol = opened(long, f"faceforensics++@{rule}-raw")
    there = rows_of(protocol, "100_200")
    assert [pair.target.index for pair in there] == ours
    assert [pair.source.index for pair in there] == theirs
    assert [pair.target.index for pair in rows_of(protocol, "200_100")] == back


def test_reliableswap_looks_among_the_first_frames_of_the_sources(long: Path) -> None:
    """As its `_eval_id`; under the other rules sources and targets are looked among."""
    for rule in ("infoswap", "simswap", "reliableswap", "megafs"):
        spec = registry().protocol(f"faceforensics++@{rule}-raw")
        frames = gallery_frames(opened(long, spec.name).pairs(), spec.gallery)
        if rule == "reliableswap":
            assert sorted(frame.id for frame in frames) == ["100-f0000", "200-f0000"]
        else:
            assert spec.gallery == "both"
            assert len(frames) == 20


def test_frames_by_chance_are_the_same_on_every_machine_and_in_both_roles(long: Path) -> None:
    protocol = opened(long, "faceforensics++@simswap-raw")
    there, back = rows_of(protocol, "100_200"), rows_of(protocol, "200_100")
    ours = [pair.target.index for pair in there]
    assert ours == [3, 5, 9, 10, 11, 13, 14, 18, 21, 22], "Python's generator, seeded by the video's name"
    assert ours == [pair.source.index for pair in back]
    assert [pair.source.index for pair in there] == [pair.target.index for pair in back]
    assert [pair.target.index for pair in back] != ours[: len(back)], "not the same numbers in every video"


def test_a_frame_is_the_one_of_its_number(long: Path) -> None:
    pair = rows_of(opened(long, "faceforensics++@reliableswap-raw"), "100_200")[4]
    assert pair.target.index is not None
    (number, image), *_ = frames_at(pair.target.path, [pair.target.index])
    assert (pair.target.id, number) == ("100-f0012", 12)
    assert abs(float(image.mean()) - 9 * 12) < 2


def test_who_is_shown_is_the_video(faceforensics: Path) -> None:
    for pair in opened(faceforensics, split="all").pairs():
        target, _, source = pair.id.partition("-")[0].partition("_")
        assert (pair.target.identity, pair.source.identity) == (target, source)
        assert (pair.target.path.name, pair.source.path.name) == (f"{target}.mp4", f"{source}.mp4")


def test_a_broken_video_costs_no_pair(faceforensics: Path, own_faceforensics: Path) -> None:
    data_sets.spoil_faceforensics(own_faceforensics)
    originals = own_faceforensics / "original_sequences" / "youtube" / "c23" / "videos"
    (originals / "048.mp4").unlink()
    swaps = {pair.id.rpartition("-")[0] for pair in opened(own_faceforensics).pairs()}
    assert swaps == {pair.id.rpartition("-")[0] for pair in opened(faceforensics).pairs()}


def test_check_of_a_whole_copy(faceforensics: Path) -> None:
    for deep in (False, True):
        report = opened(faceforensics).check(deep)
        assert (report.problems, report.unrecognised) == ((), ())
        assert report.present == (
            "original videos c23: 4 of 4",
            "Deepfakes videos c23: 4 of 4",
            "Face2Face videos c23: 0 of 4; only the method face2face reads them",
            "FaceShifter videos c23: 4 of 4",
            "FaceSwap videos c23: 0 of 4; only the method faceswap reads them",
            "NeuralTextures videos c23: 0 of 4; only the method neuraltextures reads them",
        )


def test_check_of_a_spoiled_copy(own_faceforensics: Path) -> None:
    data_sets.spoil_faceforensics(own_faceforensics)
    inside = "original_sequences/youtube/c23/videos"
    # Its index is at the end of the file, so half a file is noticed without decoding. Damage in the middle is not.
    damaged = own_faceforensics / inside / "048.mp4"
    whole = bytearray(damaged.read_bytes())
    start = whole.index(b"mdat") + 4
    whole[start : start + 2000] = bytes(2000)
    damaged.write_bytes(whole)
    swap = own_faceforensics / "manipulated_sequences" / "Deepfakes" / "c23" / "videos" / "003_000.mp4"
    swap.write_bytes(swap.read_bytes()[: swap.stat().st_size // 2])
    report = opened(own_faceforensics).check(deep=False)
    assert report.present[:2] == ("original videos c23: 3 of 4", "Deepfakes videos c23: 3 of 4")
    assert report.problems == (
        f"{inside}/029.mp4: its header cannot be read, so it is no video",
        "manipulated_sequences/Deepfakes/c23/videos/003_000.mp4: its header cannot be read, so it is no video",
        "missing manipulated_sequences/FaceShifter/c23/videos/000_003.mp4",
    )
    assert report.unrecognised == (f"{inside}/notes.txt",)
    deep = opened(own_faceforensics).check(deep=True)
    assert [line.partition(":")[0] for line in deep.problems] == [
        f"{inside}/029.mp4",
        f"{inside}/048.mp4",
        "manipulated_sequences/Deepfakes/c23/videos/003_000.mp4",
        "missing manipulated_sequences/FaceShifter/c23/videos/000_003.mp4",
    ]
    assert deep.present[0] == "original videos c23: 2 of 4"


def test_a_strange_folder_is_one_line(own_faceforensics: Path) -> None:
    for number in range(30):
        path = own_faceforensics / "holiday" / "2024" / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    (own_faceforensics / "original_sequences" / "youtube" / "c23" / "images" / "000").mkdir(parents=True)
    assert opened(own_faceforensics).check(deep=False).unrecognised == ("holiday/",)


def test_an_unusable_folder_says_where_to_get_the_data(faceforensics: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no original_sequences/youtube/c23/videos; .*ondyari/FaceForensics"):
        opened(tmp_path)
    with pytest.raises(UsageError, match=r"youtube/raw/videos; it has c23 and c40"):
        opened(faceforensics, "faceforensics++@simswap-raw")
    with pytest.raises(UsageError, match="--data"):
        opened(None)
    with pytest.raises(UsageError, match="no split 'dev'"):
        opened(faceforensics, split="dev")


def test_the_hash_is_of_content_wherever_it_lies(own_faceforensics: Path, tmp_path: Path) -> None:
    before = opened(own_faceforensics).content_hash()
    other = shutil.copytree(own_faceforensics, tmp_path / "elsewhere")
    assert opened(other).content_hash() == before
    videos = other / "original_sequences" / "youtube" / "c23" / "videos"
    (videos / "012.mp4").write_bytes(b"not of this split")
    assert opened(other).content_hash() == before
    size = (videos / "000.mp4").stat().st_size
    (videos / "000.mp4").write_bytes(bytes(size))
    changed = opened(other).content_hash()
    assert changed != before
    (videos / "000.mp4").unlink()
    assert opened(other).content_hash() not in (before, changed)


def test_manipulated_videos_are_methods(faceforensics: Path) -> None:
    pair = rows_of(opened(faceforensics, "faceforensics++@reliableswap"), "000_003")[2]
    for name in data_sets.SWAPPERS:
        spec = registry().method(name.lower())
        method = load_method(spec, torch.device("cpu"))
        assert isinstance(method, ResultsMethod)
        assert (spec.size, spec.template) == (0, "none")
        result = method.result(pair)
        video = faceforensics / "manipulated_sequences" / name / "c23" / "videos" / "000_003.mp4"
        assert isinstance(result, Frame)
        assert (result.path, result.index, result.identity) == (video, 2, "003")
    c40 = rows_of(opened(faceforensics, "faceforensics++@infoswap-c40"), "003_000")[0]
    result = method.result(c40)
    assert isinstance(result, Frame)
    assert result.path.parts[-3:] == ("c40", "videos", "003_000.mp4")


def test_faceshifter_is_marked_where_arcface_judges_it() -> None:
    judges = {m.judge.name: m.judge for m in registry().measures.values() if m.judge}
    arcface = {"arcface-irse50", "insightface-iresnet50", "insightface-iresnet100"}  # entries of the catalogue
    family = {name for name, judge in judges.items() if arcface & set(judge.weights)}
    assert len(family) == 5
    assert set(registry().method("faceshifter").trained_with) == family
    assert registry().method("deepfakes").trained_with == ()


def test_other_videos_are_another_run(own_faceforensics: Path) -> None:
    pairs = opened(own_faceforensics).pairs()
    before = content(pairs, "Deepfakes")
    assert content(pairs, "FaceShifter") != before
    video = own_faceforensics / "manipulated_sequences" / "Deepfakes" / "c23" / "videos" / "000_003.mp4"
    video.write_bytes(bytes(video.stat().st_size))
    assert content(pairs, "Deepfakes") != before


def test_elsewhere_they_are_one_clear_line(tmp_path: Path) -> None:
    pair = load_protocol(registry().protocol("virtual-faces")).pairs()[0]
    with pytest.raises(UsageError, match=r"a part of FaceForensics\+\+"):
        load_method(registry().method("deepfakes"), torch.device("cpu")).result(pair)  # type: ignore[union-attr]
    video = Frame("a", tmp_path / "000.mp4", "a", 3)
    with pytest.raises(UsageError, match=r"--protocol faceforensics\+\+"):
        content([Pair("a", video, video)], "Deepfakes")
