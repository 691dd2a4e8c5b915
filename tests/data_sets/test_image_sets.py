"""CelebA-HQ, FFHQ, the CASIA benchmark, and clusters of a folder: layouts, pairs, identities, checks."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from twins import data_sets

from mfim_bench.errors import UsageError
from mfim_bench.media.images import read_image
from mfim_bench.plugins import load_protocol, registry
from mfim_bench.protocol import Pair
from mfim_protocols.copies import Paired


def opened(name: str, data: Path | None) -> Paired:
    protocol = load_protocol(registry().protocol(name), data)
    assert isinstance(protocol, Paired)
    return protocol


def by_target(protocol: Paired) -> dict[str, Pair]:
    return {pair.target.id: pair for pair in protocol.pairs()}


def test_celeba_hq_pairs_by_number(celeba_hq: Path) -> None:
    assert registry().protocol("celeba-hq").name == "celeba-hq@reface"
    protocol = opened("celeba-hq", celeba_hq)
    pairs = by_target(protocol)
    assert set(pairs) == {str(number) for number in range(28_000, 29_000)}
    assert all(int(pair.source.id) == int(target) + 1_000 for target, pair in pairs.items())
    assert pairs["28123"].target.path == celeba_hq / "CelebAMask-HQ" / "CelebA-HQ-img" / "28123.jpg"
    assert protocol.check(deep=False).problems == protocol.check(deep=False).unrecognised == ()
    assert protocol.check(deep=False).present == (
        "images of the pairs: 2000 of 2000",
        "identities: by identity_CelebA.txt",
    )


def test_celeba_hq_by_chance_is_one_fixed_draw(celeba_hq: Path) -> None:
    protocol = opened("celeba-hq@simswap", celeba_hq)
    pairs = protocol.pairs()
    used = [frame.id for pair in pairs for frame in (pair.source, pair.target)]
    assert len(pairs) == 1_000
    assert len(set(used)) == 2_000
    assert {int(number) for number in used} <= set(range(30_000))
    assert min(map(int, used)) < 500, "from all of CelebA-HQ, not from its end"
    assert [pair.id for pair in pairs[:3]] == ["25392-2212", "18858-22707", "13689-27064"]
    report = protocol.check(deep=False)
    assert len(report.problems) == 11
    assert report.problems[-1].endswith("files more")


def test_celeba_hq_half_the_list_further_on(celeba_hq: Path) -> None:
    """The list is sorted as text, as the script's `os.listdir` and `sort` leave it."""
    protocol = opened("celeba-hq@faceswapping-all-in-one", celeba_hq)
    pairs = by_target(protocol)
    names = [f"{number}.jpg" for number in range(30_000)]
    names.sort()
    assert names[:5] == ["0.jpg", "1.jpg", "10.jpg", "100.jpg", "1000.jpg"]
    assert len(pairs) == len(protocol.pairs()) == 10_000
    for place in (0, 1, 4, 9_999):
        pair = pairs[names[place].removesuffix(".jpg")]
        assert pair.source.path.name == names[(place + 15_000) % 30_000]
    assert "10000" in pairs
    assert "9999" not in pairs


def test_celeba_hq_people_are_celebas(celeba_hq: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for pair in opened("celeba-hq", celeba_hq).pairs():
        for frame in (pair.source, pair.target):
            assert frame.identity == f"celeba-{int(frame.id) % data_sets.PEOPLE + 1}"
    assert not caplog.records
    with caplog.at_level(logging.WARNING):
        alone = opened("celeba-hq", data_sets.celeba_hq(tmp_path, people=False))
    assert "every image counts as a person of its own" in caplog.text
    assert len({frame.identity for frame in alone.frames()}) == 2_000
    assert "every image counts as a person of its own" in alone.check(deep=False).present[1]


@pytest.mark.parametrize("layout", ["", "CelebA-HQ-img", "CelebAMask-HQ/CelebA-HQ-img"])
def test_celeba_hq_layouts_hold_the_same_data(celeba_hq: Path, tmp_path: Path, layout: str) -> None:
    other = opened("celeba-hq", data_sets.celeba_hq(tmp_path, layout))
    assert other.content_hash() == opened("celeba-hq", celeba_hq).content_hash()
    assert other.check(deep=False).unrecognised == ()


def test_celeba_hq_as_png(tmp_path: Path) -> None:
    protocol = opened("celeba-hq", data_sets.celeba_hq(tmp_path, "", suffix=".png"))
    assert protocol.problems() == ()
    shutil.copy(tmp_path / "28000.png", tmp_path / "28000.jpg")
    assert "28000: there is a .png and a .jpg of it" in opened("celeba-hq", tmp_path).problems()[0]


def test_celeba_hq_spoiled(tmp_path: Path) -> None:
    targets = [pair.target.id for pair in opened("celeba-hq", data_sets.celeba_hq(tmp_path)).pairs()[:4]]
    before = [pair.id for pair in opened("celeba-hq", tmp_path).pairs()]
    data_sets.spoil_celeba_hq(tmp_path, targets)
    protocol = opened("celeba-hq", tmp_path)
    assert [pair.id for pair in protocol.pairs()] == before
    inside = "CelebAMask-HQ/CelebA-HQ-img"
    lost, empty, short, _ = (f"{inside}/{target}.jpg" for target in targets)
    report = protocol.check(deep=False)
    assert set(report.problems) == {f"missing {lost}", f"empty {empty}"}
    assert report.unrecognised == (f"{inside}/thumbs.db",)
    deep = protocol.check(deep=True)
    assert deep.present[0] == "images of the pairs: 1997 of 2000"
    assert any(line.startswith(f"{short}: broken or truncated image") for line in deep.problems)


def test_celeba_hq_refuses_half_a_list_of_people(tmp_path: Path) -> None:
    data_sets.celeba_hq(tmp_path)
    path = tmp_path / "identity_CelebA.txt"
    path.write_text("\n".join(path.read_text().splitlines()[:-5]))
    with pytest.raises(UsageError, match=r"names 0\d+\.jpg, which"):
        opened("celeba-hq", tmp_path)
    path.write_text("000001.jpg\n")
    with pytest.raises(UsageError, match="2 columns"):
        opened("celeba-hq", tmp_path)
    path.write_bytes(b"\xff\xfe0\x000")
    with pytest.raises(UsageError, match=r"identity_CelebA\.txt is no text in UTF-8$"):
        opened("celeba-hq", tmp_path)


def test_ffhq_pairs_by_number_nested_or_flat(ffhq: Path, tmp_path: Path) -> None:
    protocol = opened("ffhq-1000", ffhq)
    pairs = by_target(protocol)
    assert set(pairs) == {f"{number}" for number in range(68_000, 69_000)}
    assert all(int(pair.source.id) == int(target) + 1_000 for target, pair in pairs.items())
    assert pairs["68007"].target.path == ffhq / "images1024x1024" / "68000" / "68007.png"
    flat = opened("ffhq-1000", data_sets.ffhq(tmp_path, nested=False))
    assert flat.pairs()[0].target.path.parent == tmp_path / "images1024x1024"
    direct = opened("ffhq-1000", ffhq / "images1024x1024")
    assert protocol.content_hash() == flat.content_hash() == direct.content_hash()
    for one in (protocol, flat, direct):
        assert one.check(deep=False).problems == one.check(deep=False).unrecognised == ()


def test_ffhq_thumbnails_are_never_taken(ffhq: Path, tmp_path: Path) -> None:
    image = read_image(opened("ffhq-1000", ffhq).pairs()[0].target.path)
    assert image.shape[0] != 128
    shutil.copytree(ffhq / "thumbnails128x128", tmp_path / "thumbnails128x128")
    for data in (tmp_path, tmp_path / "thumbnails128x128"):
        with pytest.raises(UsageError, match=r"thumbnails128x128, which are too small; .*NVlabs/ffhq-dataset"):
            opened("ffhq-1000", data)


@pytest.mark.parametrize(
    ("name", "pairs"), [("casia-normal", 20), ("casia-cross-ethnicity", 20), ("casia-cross-attribute", 40)]
)
def test_casia_lines_are_rows(casia: Path, name: str, pairs: int) -> None:
    protocol = opened(name, casia)
    lines = (casia / "benchmark" / f"image_pairs_{name[6:].replace('-', '_')}.txt").read_text().splitlines()
    rows = {(pair.source.path.name, pair.target.path.name) for pair in protocol.pairs()}
    assert rows == {tuple(line.split()) for line in lines}
    assert len(rows) == len(protocol.pairs()) == pairs
    assert {pair.source.identity for pair in protocol.pairs()} <= {"0041", "1268", "0065", "0683"}
    assert protocol.check(deep=True).problems == protocol.check(deep=False).unrecognised == ()


def test_casia_names_results_as_the_survey_does(casia: Path) -> None:
    pair = next(pair for pair in opened("casia-normal", casia).pairs() if pair.source.id == "0041-0_0")
    assert pair.id == "0041-0_0-1268-0_0"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no pairs"),
        ("0041-0_0.png\n", "line 1: wanted a source and a target"),
        ("0041-0_0.png 1268-0_0.png\n\n0041-0_0.png ../1268-0_0.png\n", "line 3"),
        ("0041-0_0.png 1268-0_0.png\n0041-0_0.png 1268-0_0.png\n", "line 2: this pair stands there twice"),
    ],
)
def test_casia_refuses_with_one_line(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "faces").mkdir()
    with pytest.raises(UsageError, match=r"has no image_pairs_normal\.txt"):
        opened("casia-normal", tmp_path)
    (tmp_path / "image_pairs_normal.txt").write_text(text)
    with pytest.raises(UsageError, match=message):
        opened("casia-normal", tmp_path)
    (tmp_path / "image_pairs_normal.txt").write_bytes(b"\xff" + text.encode())
    with pytest.raises(UsageError, match=r"image_pairs_normal\.txt is no text in UTF-8$"):
        opened("casia-normal", tmp_path)


@pytest.mark.parametrize(
    ("name", "owner"),
    [
        ("celeba-hq", "switchablenorms/CelebAMask-HQ"),
        ("celeba-hq@simswap", "switchablenorms/CelebAMask-HQ"),
        ("celeba-hq@faceswapping-all-in-one", "switchablenorms/CelebAMask-HQ"),
        ("ffhq-1000", "NVlabs/ffhq-dataset"),
        ("casia-normal", "CASIA-NLPRAI/face-swapping-survey"),
    ],
)
def test_an_unusable_folder_says_where_to_get_the_data(name: str, owner: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=owner) as caught:
        opened(name, tmp_path)
    assert "\n" not in str(caught.value)


def test_a_cluster_is_both_identities(tmp_path: Path) -> None:
    for name in "abcd":
        Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / f"{name}.png")
    listing = tmp_path / "pairs.csv"
    listing.write_text("source,target,cluster\na.png,b.png,film1\nc.png,d.png,film1\nb.png,a.png,\n")
    pairs = {pair.id: pair for pair in opened("folder", tmp_path).pairs()}
    for name in ("b.png-a.png", "d.png-c.png"):
        assert (pairs[name].source.identity, pairs[name].target.identity) == ("film1", "film1")
    assert (pairs["a.png-b.png"].source.identity, pairs["a.png-b.png"].target.identity) == ("b.png", "a.png")
    listing.write_text("source,target,cluster,source_identity\na.png,b.png,film1,me\n")
    with pytest.raises(UsageError, match="line 2: a cluster is both identities"):
        opened("folder", tmp_path)
