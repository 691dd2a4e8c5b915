"""The audit's factors change what they say and nothing else."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest

from mfim_bench.errors import UsageError
from mfim_protocols.judges import heldout
from mfim_protocols.virtual_faces import dataset
from mfim_protocols.virtual_faces.audit import factors, pictures
from mfim_protocols.virtual_faces.geometry import portrait, true_swap
from mfim_protocols.virtual_faces.record import Identity, Record, Scene

BASE, DONOR = factors.pair(3, 1)


def values(record: Record) -> dict[str, object]:
    """Every field by its name, each angle by its own."""
    found = {f.name: getattr(record.identity, f.name) for f in fields(Identity)}
    found |= {f.name: getattr(record.scene, f.name) for f in fields(Scene)}
    return found | dict(zip(factors.ANGLES, found.pop("pose"), strict=True))


def test_every_field_belongs_to_one_factor() -> None:
    named = [name for names in factors.FIELDS.values() for name in names]
    assert sorted(named) == sorted(values(BASE))


@pytest.mark.parametrize("factor", factors.FIELDS)
def test_a_factor_changes_its_fields_alone(factor: str) -> None:
    changed, base, donor = (values(r) for r in (factors.redrawn(BASE, DONOR, [factor]), BASE, DONOR))
    for name in base:
        assert changed[name] == (donor if name in factors.FIELDS[factor] else base)[name], name
    assert any(changed[name] != base[name] for name in factors.FIELDS[factor])


def test_all_factors_together_are_the_donor() -> None:
    assert factors.redrawn(BASE, DONOR, list(factors.FIELDS)) == replace(DONOR, sampling=BASE.sampling)


def test_pictures_are_what_their_names_say_but_for_rays_and_half_a_pixel() -> None:
    drawn = dict(factors.portraits(BASE, DONOR))
    assert [*drawn, "blur", "jpeg", "resolution"] == pictures.names()
    assert drawn["base"].scene == BASE.scene
    for name, redrawn in factors.variations().items():
        wanted, found = portrait(factors.redrawn(BASE, DONOR, redrawn)), drawn[name]
        assert np.array_equal(found.neutral, wanted.neutral)
        assert found.identity == wanted.identity
        assert replace(found.scene, offset=(0.0, 0.0)) == replace(wanted.scene, offset=(0.0, 0.0))
        moved = np.abs(np.subtract(found.scene.offset, wanted.scene.offset))
        assert 0 < moved.max() <= 0.5 * wanted.scene.view / dataset.SIZE
        assert found.sampling != wanted.sampling
    assert drawn["again-0"].sampling != drawn["again-1"].sampling


def test_what_is_wanted_and_the_rest_are_everything() -> None:
    made = factors.variations()
    for subject in factors.SUBJECTS.values():
        assert made[subject.alone] == subject.wanted
        assert sorted((*made[subject.alone], *made[subject.rest])) == sorted(factors.FIELDS)


def test_paths_lead_from_what_is_worse_to_the_true_swap() -> None:
    drawn, truth = dict(factors.portraits(BASE, DONOR)), true_swap(DONOR, BASE)
    last = len(factors.STEPS) - 1
    for path in ("identity", "expression", "pose"):
        end = drawn[f"{path}-path-{last}"]
        assert np.allclose(end.neutral, truth.neutral, atol=1e-4)
        assert np.allclose(end.scene.expression, truth.scene.expression)
        assert np.allclose(end.scene.pose, truth.scene.pose)
        assert np.allclose(end.identity.brow, truth.identity.brow)
    start = drawn["identity-path-0"]
    assert np.allclose(start.neutral, portrait(BASE).neutral)
    assert start.identity == replace(BASE.identity)
    assert np.allclose(drawn["expression-path-0"].scene.expression, DONOR.scene.expression)
    assert np.allclose(drawn["pose-path-0"].scene.pose, DONOR.scene.pose)
    half = drawn["pose-path-2"].scene.pose
    assert np.allclose(half, np.mean([BASE.scene.pose, DONOR.scene.pose], axis=0), atol=1e-6)


def test_people_are_of_no_split_and_no_judge() -> None:
    audited = range(factors.FIRST, factors.FIRST + 2 * factors.MOST_PEOPLE * factors.SEEDS)
    taken = [range(made.first, made.first + made.identities) for made in dataset.SPLITS.values()]
    taken += [range(heldout.FIRST, heldout.FIRST + heldout.PEOPLE)]
    taken += [range(heldout.FLOOR_FIRST, heldout.FLOOR_FIRST + heldout.FLOOR_PEOPLE), range(100_000, 300_000)]
    assert not any(set(audited) & set(others) for others in taken)
    assert audited.stop <= 400_000  # the validation range ends there
    with pytest.raises(UsageError, match="0 to 34"):
        factors.pair(0, factors.SEEDS)


def test_damage_is_by_chance_and_the_same_again() -> None:
    image = np.random.default_rng(0).integers(0, 255, (256, 256, 3)).astype(np.uint8)
    for name in ("blur", "jpeg", "resolution"):
        first, again = (pictures.damaged(image, name, pictures.rng_of(name, 2, 0)) for _ in range(2))
        assert first.shape == image.shape
        assert np.array_equal(first, again)
        assert not np.array_equal(first, image)
        assert not np.array_equal(first, pictures.damaged(image, name, pictures.rng_of(name, 3, 0)))
