"""Wide scenes: what judges are trained and measured on."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mfim_protocols.virtual_faces import geometry, props, record, shards, wide
from mfim_protocols.virtual_faces.render import render


def test_the_person_is_the_protocols_and_the_scene_is_drawn_again_the_same() -> None:
    one, again, standard = wide.draw(7, 7003), wide.draw(7, 7003), record.draw(7, 7003)
    assert one.identity == again.identity == standard.identity
    assert (one.scene, one.props) == (again.scene, again.props)
    assert geometry.portrait(standard).props == props.NOTHING


def test_ranges_and_shares() -> None:
    drawn = [wide.draw(600_000, k) for k in range(600)]
    pose = np.abs(np.rad2deg([d.scene.pose for d in drawn]))
    assert (pose.max(0) <= [60.01, 30.01, 30.01]).all()  # records are rounded
    assert (pose[:, 0] > 45).mean() > 0.1
    assert (pose[:, 1:] > 20).mean() > 0.1
    for name, share in (("glasses", 0.25), ("hat", 0.15), ("hand", 0.18)):
        assert np.mean([getattr(d.props, name) is not None for d in drawn]) == pytest.approx(share, abs=0.06)
    assert all(d.scene.hair_style in wide.UNDER_HATS for d in drawn if d.props.hat is not None)


@pytest.mark.parametrize("landmark", [30, 8, 44])
def test_a_hand_hides_the_landmark_it_is_held_before(landmark: int) -> None:
    drawn = geometry.portrait(record.draw(3, 3))
    drawn = replace(drawn, scene=replace(drawn.scene, pose=(0.0, 0.0, 0.0), hair_style="bald", grain=0.0))
    hand = props.Hand(landmark, 10.0, 0.0, 10.0, 65.0, 0.2, 0.0, None)
    bare, hidden = render(drawn, 96, 2), render(replace(drawn, props=props.Props(hand=hand)), 96, 2)
    np.testing.assert_array_equal(bare.points68, hidden.points68)
    x, y = bare.points68[landmark].round().astype(int)
    assert hidden.region[y, x] == 0
    assert bare.region[y, x] > 0
    assert (hidden.region > 0).sum() < 0.97 * (bare.region > 0).sum()


@pytest.mark.parametrize("kind", ["cap", "beanie", "brimmed"])
def test_hats_leave_eyes_and_mouth_free(kind: str) -> None:
    drawn = geometry.portrait(record.draw(5, 5))
    drawn = replace(drawn, scene=replace(drawn.scene, pose=(0.0, 0.0, 0.0), hair_style="buzz", grain=0.0))
    hat = props.Hat(kind, 20.0, 10.0, 0.0 if kind == "beanie" else 60.0, 0.0, (0.1, 0.5, 0.2))
    bare, covered = render(drawn, 96, 2), render(replace(drawn, props=props.Props(hat=hat)), 96, 2)
    assert (bare.image.astype(int) - covered.image).any()
    for point in covered.points5:
        x, y = point.round().astype(int)
        assert covered.region[y, x] > 200


def test_dark_glasses_hide_the_eyes_and_frames_do_not() -> None:
    drawn = geometry.portrait(record.draw(9, 9))
    drawn = replace(drawn, scene=replace(drawn.scene, pose=(0.0, 0.0, 0.0), hair_style="bald", grain=0.0))
    seen = {}
    for dark in (False, True):
        worn = props.Props(glasses=props.Glasses(26.0, 18.0, 1.5, 3.0, 4.0, dark, (0.2, 0.1, 0.1)))
        picture = render(replace(drawn, props=worn), 128, 2)
        x, y = picture.points5[0].round().astype(int)
        seen[dark] = picture.region[y - 2 : y + 3, x - 2 : x + 3].mean()
    assert seen[True] < 20 < 200 < seen[False]


def test_wide_shards_say_so(tmp_path: Path) -> None:
    shards.render_shards(tmp_path, 100, 1, 2, size=48, samples=1, wide=True)
    again = shards.Shards.open(tmp_path)
    assert again.meta["wide"] is True
    assert np.allclose(again.pose[1], wide.draw(100, 100_001).scene.pose)
    with pytest.raises(ValueError, match="other settings"):
        shards.render_shards(tmp_path, 100, 1, 2, size=48, samples=1, wide=False)


def test_workers_find_the_note_whole(tmp_path: Path) -> None:
    """Written once, by renaming: one that writes it anew lets another read an empty file, and die."""

    def fill(worker: int) -> None:
        shards.render_shards(tmp_path, 100, 0, 2, size=48, samples=1, worker=worker, workers=8)

    with ThreadPoolExecutor(8) as pool:
        for _ in range(20):
            list(pool.map(fill, range(8)))
            (tmp_path / "meta.json").unlink()
    fill(0)
    inode = (tmp_path / "meta.json").stat().st_ino
    fill(1)
    assert (tmp_path / "meta.json").stat().st_ino == inode
    assert [p.name for p in tmp_path.iterdir()] == ["meta.json"]


def test_stored_images_are_near_what_was_drawn_and_join(tmp_path: Path) -> None:
    picture = render(wide.draw(11, 11), 64, 2).image
    labels = {name: np.zeros((2, 1), np.float32) for name in shards.LABELS}
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "meta.json").write_text("{}")
        shards.write_part(tmp_path / name, 0, [picture, picture[:, ::-1]], labels)
    first, second = (shards.Shards.open(tmp_path / name).images for name in ("one", "two"))
    assert np.abs(first[0].astype(int) - picture).mean() < 3
    joined = shards.Images.join([first, second]).take(np.array([3, 0]))
    assert len(joined) == 2
    np.testing.assert_array_equal(joined[0], second[1])
    np.testing.assert_array_equal(joined[:], np.stack([second[1], first[0]]))
