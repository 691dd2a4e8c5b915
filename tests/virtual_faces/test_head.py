"""The head model, records and their independence."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from mfim_protocols.virtual_faces import hair, record
from mfim_protocols.virtual_faces.geometry import face_weight, portrait, posed_head, project, true_swap
from mfim_protocols.virtual_faces.head import HeadModel, rotation


def test_model_has_the_documented_shapes() -> None:
    head = HeadModel.load()
    count = len(head.mean)
    assert head.shape_basis.shape == (80, count, 3)
    assert head.expression_basis.shape == (52, count, 3)
    assert len(set(head.action_names)) == 52
    assert len(head.dense) == 320 == len(set(head.dense.tolist()))
    assert head.triangles.max() == count - 1
    assert 2 * 10 < np.ptp(head.mean[:, 1]) / 10 < 2 * 15, "a head is about 25 cm high, in mm"


def test_shape_components_are_ordered_and_whitened() -> None:
    energy = np.linalg.norm(HeadModel.load().shape_basis, axis=(1, 2))
    assert energy[0] > 3 * energy[20] > 3 * energy[60]
    assert (energy > 0).all()


def test_jaw_open_lowers_the_chin_and_not_the_brow() -> None:
    head = HeadModel.load()
    moved = head.expression_basis[head.action_names.index("jawOpen")]
    assert moved[head.points68[8], 1] < -15
    assert abs(moved[head.points68[19], 1]) < 1


@pytest.mark.parametrize(("angles", "axis", "sign"), [((0.3, 0, 0), 0, 1), ((0, 0.3, 0), 1, 1)])
def test_positive_yaw_turns_the_nose_right_and_positive_pitch_lifts_it(
    angles: tuple[float, float, float], axis: int, sign: int
) -> None:
    nose = rotation(*angles) @ np.array([0, 0, 1.0])
    assert np.sign(nose[axis]) == sign
    assert abs(nose[1 - axis]) < 1e-12


def test_positive_roll_is_counter_clockwise_in_the_image() -> None:
    right_ear = rotation(0, 0, 0.3) @ np.array([1.0, 0, 0])
    assert right_ear[1] > 0
    assert np.allclose(rotation(0.2, -0.1, 0.4) @ rotation(0.2, -0.1, 0.4).T, np.eye(3))


def test_landmarks_of_a_frontal_face_are_where_they_should_be() -> None:
    drawn = record.draw(5, 5)
    scene = replace(drawn.scene, pose=(0.0, 0.0, 0.0), offset=(0.0, 0.0), expression=(0.0,) * 52)
    _, posed = posed_head(portrait(replace(drawn, scene=scene)))
    pixels = project(posed, scene, 256)
    left_eye, right_eye, nose, left_mouth, right_mouth = HeadModel.load().five(pixels)
    assert left_eye[0] < nose[0] < right_eye[0]
    assert left_mouth[0] < nose[0] < right_mouth[0]
    assert left_eye[1] < nose[1] < left_mouth[1]
    assert 90 < right_eye[0] + left_eye[0] - 128 < 166


def test_record_survives_json_and_refuses_unknown_fields() -> None:
    drawn = record.draw(3, 4)
    data = json.loads(json.dumps(record.to_json(drawn)))
    assert record.from_json(data) == drawn
    data["scene"]["surprise"] = 1
    with pytest.raises(ValueError, match="exactly the fields"):
        record.from_json(data)


def test_identity_and_scene_come_from_separate_streams() -> None:
    assert record.draw(1, 10).identity == record.draw(1, 11).identity
    assert record.draw(1, 10).scene == record.draw(2, 10).scene
    assert record.draw(1, 10).identity != record.draw(2, 10).identity


def test_scenes_carry_no_hint_of_the_identity() -> None:
    """Skin tone, which shows most, correlates with no light, hair or background number beyond chance."""
    drawn = [record.draw(i, 50_000 + i) for i in range(400)]
    skin = np.array([r.identity.melanin for r in drawn])
    for values in (
        [r.scene.exposure for r in drawn],
        [r.scene.key_colour[1] for r in drawn],
        [r.scene.hair_colour[0] for r in drawn],
        [record.HAIR_STYLES.index(r.scene.hair_style) for r in drawn],
        [r.scene.background_colours[0][0] for r in drawn],
        [r.scene.view for r in drawn],
    ):
        assert abs(np.corrcoef(skin, np.array(values))[0, 1]) < 0.17  # 3.4 standard errors


def test_expressions_are_natural_and_some_are_strong() -> None:
    values = np.array([record.draw(0, s).scene.expression for s in range(300)])
    assert values.min() >= 0
    assert values.max() <= 1
    assert np.median((values > 0.1).sum(1)) >= 4, "several actions together"
    assert (values.max(1) > 0.7).mean() > 0.2, "strong ones too"


def test_every_hair_style_has_a_shape_of_its_own() -> None:
    base = record.draw(7, 7)
    head = portrait(base).neutral
    extents = {}
    for style in record.HAIR_STYLES:
        shell = hair.build(replace(base.scene, hair_style=style), head)
        if style == "bald":
            assert shell is None
            continue
        assert shell is not None
        assert np.isfinite(shell.vertices).all()
        extents[style] = tuple(np.round(np.ptp(shell.vertices, axis=0)).tolist())
    assert len(set(extents.values())) == len(extents)
    assert extents["long"][1] > extents["bob"][1] > extents["short"][1]
    assert extents["afro"][0] > extents["buzz"][0] + 40


def test_a_swap_with_oneself_is_oneself() -> None:
    a = record.draw(11, 12)
    swapped = true_swap(a, a)
    assert np.allclose(swapped.neutral, portrait(a).neutral, atol=1e-3)
    assert swapped.identity == a.identity


def test_true_swap_takes_the_face_and_leaves_the_rest() -> None:
    a, b = record.draw(21, 21), record.draw(22, 22)
    swapped, target = true_swap(a, b), portrait(b)
    weight = face_weight()
    assert np.array_equal(swapped.neutral[weight == 0], target.neutral[weight == 0])
    moved = np.linalg.norm(swapped.neutral - target.neutral, axis=1)
    assert np.median(moved[weight == 1]) > 1, "mm"
    assert swapped.scene == b.scene
    assert swapped.identity.iris == a.identity.iris
    assert swapped.identity.melanin == b.identity.melanin
    assert true_swap(a, b, "skin").identity.melanin == a.identity.melanin
    assert not np.allclose(true_swap(a, b, "head").neutral[weight == 0], target.neutral[weight == 0], atol=0.5)
    with pytest.raises(ValueError, match="variant"):
        true_swap(a, b, "torso")
