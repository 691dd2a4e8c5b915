"""Wide scenes with glasses, hats and hands, which judges learn from; the protocol's own scenes have none."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mfim_protocols.virtual_faces import props, record, wide
from mfim_protocols.virtual_faces.geometry import Portrait, portrait, true_swap
from mfim_protocols.virtual_faces.head import HeadModel
from mfim_protocols.virtual_faces.props import Glasses, Hand, Hat, Props
from mfim_protocols.virtual_faces.render import render

NOSE_TIP = 30
HAND = Hand(
    landmark=NOSE_TIP, ahead=15, direction=0.2, below=40, fingers=70, bend=0.3, spread=0.05, colour=(0.0, 0.2, 0.6)
)
GLASSES = Glasses(width=26, height=19, radius=1.5, exponent=3, before=5, dark=False, colour=(0.01, 0.01, 0.01))


@pytest.fixture(scope="module")
def drawn() -> list[Portrait]:
    return [wide.draw(600_000 + k, 600_000 + k) for k in range(300)]


def test_the_same_seeds_give_the_same_picture() -> None:
    one, other = wide.draw(5, 9), wide.draw(5, 9)
    assert (one.identity, one.scene, one.sampling, one.props) == (
        other.identity,
        other.scene,
        other.sampling,
        other.props,
    )
    assert np.array_equal(render(one, 64, 1).image, render(other, 64, 1).image)


def test_the_protocol_s_portraits_have_no_props() -> None:
    assert portrait(record.draw(7, 7)).props == Props()
    assert props.build(Props(), HeadModel.load().mean, record.draw(7, 7).identity) == []


def test_a_true_swap_keeps_what_the_target_wears() -> None:
    source, target = record.draw(1, 1), record.draw(2, 2)
    for variant in ("face", "skin", "head"):
        assert replace(true_swap(source, target, variant), props=Props(GLASSES)).props.glasses == GLASSES


def test_poses_are_wide_and_props_have_their_shares(drawn: list[Portrait]) -> None:
    yaw, pitch, roll = np.degrees([p.scene.pose for p in drawn]).T
    assert yaw.min() < -45
    assert yaw.max() > 45
    assert np.abs(yaw).max() <= 60.01
    assert max(np.abs(pitch).max(), np.abs(roll).max()) <= 30.01
    # Bands of about four standard deviations of a share among 300.
    for name, low, high in (("glasses", 0.15, 0.35), ("hat", 0.07, 0.24), ("hand", 0.09, 0.27)):
        assert low < np.mean([getattr(p.props, name) is not None for p in drawn]) < high, name
    assert any(p.props == Props() for p in drawn)


def test_expressions_stay_within_what_the_actions_allow(drawn: list[Portrait]) -> None:
    names = HeadModel.load().action_names
    value = np.array([p.scene.expression for p in drawn])
    assert value.min() >= 0
    assert value.max() <= 1
    assert (value[:, names.index("mouthClose")] <= value[:, names.index("jawOpen")]).all()


def test_a_hand_before_the_face_hides_it_and_moves_no_landmark() -> None:
    bare = portrait(record.draw(3, 8))
    free, hidden = render(bare, 96, 1), render(replace(bare, props=Props(hand=HAND)), 96, 1)
    x, y = free.points68[NOSE_TIP].round().astype(int)
    assert free.region[y, x] > 250
    assert hidden.region[y, x] == 0, "a hand is not face"
    assert tuple(hidden.cover[y, x] > 128) == (False, True, False), "nor skin or background"
    face = free.region > 250
    moved = np.abs(free.image.astype(int) - hidden.image).max(2) > 20
    assert moved[face].mean() > 0.2
    assert not moved[face].all()
    for name in ("points5", "points68", "dense"):
        assert np.array_equal(getattr(free, name), getattr(hidden, name)), name


def test_props_say_nothing_about_who_is_shown() -> None:
    for scene in range(40):
        one, other = wide.draw(11, scene), wide.draw(12, scene)
        assert one.identity != other.identity
        assert one.props == other.props
        assert one.scene == other.scene
        assert one.identity == record.draw(11, 0).identity


def test_solids_are_sound_and_few(drawn: list[Portrait]) -> None:
    for p in drawn:
        solids = props.build(p.props, p.neutral, p.identity)
        assert bool(solids) == (p.props != Props())
        assert sum(len(s.triangles) for s in solids) < 3000
        for solid in solids:
            assert np.isfinite(solid.vertices).all()
            assert solid.triangles.min() >= 0
            assert solid.triangles.max() < len(solid.vertices)


def test_glasses_sit_on_the_eyes_and_a_hat_above_the_brows() -> None:
    person = record.draw(4, 4)
    neutral = portrait(person).neutral
    marks = neutral[HeadModel.load().points68]
    rims = props.build(Props(GLASSES), neutral, person.identity)[::2][:2]
    for rim, eye in zip(rims, (marks[36:42], marks[42:48]), strict=True):
        assert np.abs(rim.vertices.mean(0) - eye.mean(0))[:2].max() < 8
        assert rim.vertices[:, 2].max() > eye[:, 2].max()
    hat = Hat(kind="beanie", above=20, slack=10, brim=0, tilt=0, colour=(0.2, 0.2, 0.2))
    low = min(s.vertices[:, 1].min() for s in props.build(Props(hat=hat), neutral, person.identity))
    assert low > marks[17:27, 1].max()
