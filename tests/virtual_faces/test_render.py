"""The renderer, shards, and the commands that make them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mfim_protocols.virtual_faces import record, shards
from mfim_protocols.virtual_faces.geometry import portrait, true_swap
from mfim_protocols.virtual_faces.render import render


def test_the_same_record_gives_the_same_picture() -> None:
    drawn = portrait(record.draw(1, 1))
    assert np.array_equal(render(drawn, 64, 2).image, render(drawn, 64, 2).image)


def test_picture_is_a_face_before_a_background() -> None:
    picture = render(portrait(record.draw(2, 3)), 96, 2)
    cover = picture.cover.astype(int)
    assert picture.image.std() > 15
    assert abs(cover.sum(2)[48, 48] - 255) < 40, "the middle shows skin or hair"
    assert cover[..., 2].max() > 250, "and somewhere is background"
    x, y = picture.points5[2].round().astype(int)
    assert picture.region[y, x] > 250, "the nose belongs to the face"
    assert (picture.region > 0).mean() < 0.6


def test_resolution_does_not_move_the_landmarks_or_the_colours() -> None:
    drawn = portrait(replace(record.draw(4, 4), scene=replace(record.draw(4, 4).scene, grain=0.0)))
    small, large = render(drawn, 64, 4), render(drawn, 128, 2)
    assert np.allclose((small.points68 + 0.5) * 2 - 0.5, large.points68, atol=0.01)
    pooled = large.image.reshape(64, 2, 64, 2, 3).mean((1, 3))
    assert np.abs(pooled - small.image).mean() < 4


def test_a_true_swap_changes_the_region_and_hardly_anything_else() -> None:
    a, b = record.draw(31, 31), record.draw(32, 32)
    b = replace(b, scene=replace(b.scene, grain=0.0, hair_style="buzz"))
    target, truth = render(portrait(b), 128, 3), render(true_swap(a, b), 128, 3)
    change = np.abs(target.image.astype(float) - truth.image).mean(2)
    face = truth.region > 128
    assert change[face].mean() > 5 * change[~face].mean()
    background = (truth.cover[..., 2] == 255) & (target.cover[..., 2] == 255)
    assert change[background].max() <= 1


def test_shards_are_written_whole_resumed_and_read(tmp_path: Path) -> None:
    shards.render_shards(tmp_path, 100, 3, 2, size=32, samples=1, part=2)
    again = shards.Shards.open(tmp_path)
    assert again.images.shape == (6, 32, 32, 3)
    assert again.identity.tolist() == [100, 100, 101, 101, 102, 102]
    assert np.array_equal(again.images[[5, 0]], np.stack([again.images[5], again.images[0]]))
    before = (tmp_path / "part-0000.npz").stat().st_mtime_ns
    shards.render_shards(tmp_path, 100, 3, 2, size=32, samples=1, part=2)
    assert (tmp_path / "part-0000.npz").stat().st_mtime_ns == before
    with pytest.raises(ValueError, match="other settings"):
        shards.render_shards(tmp_path, 100, 3, 2, size=64, samples=1, part=2)
    drawn = record.draw(101, 101_001)
    assert np.allclose(again.shape[3], drawn.identity.shape)
    assert np.allclose(again.pose[3], drawn.scene.pose)


def test_swapped_shards_put_every_second_face_on_a_strangers_head() -> None:
    people = range(140_000, 140_002)
    plain, swapped = list(shards.portraits(people, 2)), list(shards.portraits(people, 2, swapped=True))
    assert [d.identity for d in swapped] == [d.identity for d in plain] == [140_000, 140_000, 140_001, 140_001]
    for ours, theirs, on_stranger in zip(plain, swapped, (False, True) * 2, strict=True):
        same = np.array_equal(render(ours.shown, 48, 1).image, render(theirs.shown, 48, 1).image)
        assert same is not on_stranger
        if on_stranger:
            assert theirs.shown.scene == ours.shown.scene
            assert theirs.shown.identity.iris == ours.shown.identity.iris  # the source's
            assert theirs.shown.identity.melanin != ours.shown.identity.melanin  # the host's


def test_shards_with_hosts_know_the_true_swap_of_each(tmp_path: Path) -> None:
    shards.render_shards(tmp_path, 140_000, 3, 2, size=48, samples=1, part=2, hosts=True)
    read = shards.Shards.open(tmp_path)
    assert read.onto.tolist() == [-1, -1, 1, -1, -1, 4, -1, -1, 7]  # counted over both parts
    assert (np.delete(read.identity, [1, 4, 7]) == np.repeat([140_000, 140_001, 140_002], 2)).all()
    swaps, hosts = read.images[[2, 5, 8]].astype(float), read.images[[1, 4, 7]].astype(float)
    moved = np.abs(swaps - hosts).mean((1, 2, 3))
    apart = np.abs(hosts - np.roll(hosts, 1, 0)).mean((1, 2, 3))
    assert (moved > 0.5).all()
    assert moved.mean() < 0.5 * apart.mean()  # a face differs, not the scene
    assert np.array_equal(read.expression[[2, 5, 8]], read.expression[[1, 4, 7]])
    assert np.array_equal(read.pose[[2, 5, 8]], read.pose[[1, 4, 7]])
    shards.render_shards(tmp_path / "plain", 140_000, 1, 2, size=48, samples=1)
    assert (shards.Shards.open(tmp_path / "plain").onto == -1).all()


def test_an_empty_folder_of_shards_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="render-shards"):
        shards.Shards.open(tmp_path)
