"""What the audit changes: records with chosen factors redrawn, and paths of swaps known to get better.

Person k of an audit is a *base* record and a *donor* record, two people in two scenes drawn from the protocol's prior.
Redrawing a factor takes its fields from the donor. Every field of a record belongs to one factor, so redrawing all of
them gives a face that shares nothing with the base.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from mfim_bench.errors import UsageError
from mfim_protocols.virtual_faces import record as records
from mfim_protocols.virtual_faces.dataset import SIZE
from mfim_protocols.virtual_faces.geometry import Portrait, portrait, true_swap
from mfim_protocols.virtual_faces.record import Record
from mfim_protocols.virtual_faces.shards import scene_of

FIRST, MOST_PEOPLE, SEEDS = 330_000, 1_000, 35
"""First identity; people a seed; seeds. Inside the validation range of `dataset`, outside its split and outside the
people of `judges.heldout`: no judge was trained or tuned on them, and none is of the test split."""

ANGLES = ("yaw", "pitch", "roll")
FIELDS: dict[str, tuple[str, ...]] = {
    "shape": ("shape",),
    "skin": ("melanin", "redness", "freckles", "stubble", "skin_seed", "lip"),
    "brows": ("brow", "brow_colour", "iris", "iris_size"),
    "expression": ("expression",),
    "gaze": ("gaze",),
    **{angle: (angle,) for angle in ANGLES},
    "light": ("key_direction", "key_colour", "softness", "sky", "ground", "rim", "rim_direction", "exposure"),
    "background": ("background", "background_colours", "background_seed", "cloth", "cloth_pattern", "body_yaw"),
    "hair": ("hair_style", "hair_colour", "hair_length", "hair_volume", "hair_seed"),
    "camera": ("distance", "view", "offset", "grain"),
}
"""Factor → fields of a record; an angle is one of the three numbers of ``pose``."""
DAMAGES = ("blur", "jpeg", "resolution", "crop")
"""What happens to a picture once it is taken; see `pictures.damaged` and `pictures.misplaced`."""
PERSON = ("shape", "skin", "brows")
OF_PERSON = frozenset(name for factor in PERSON for name in FIELDS[factor])

STEPS = (0.0, 0.25, 0.5, 0.75, 1.0)


@dataclass(frozen=True)
class Subject:
    """What the measures of one family should see, by names of pictures.

    Attributes:
        wanted: the factors they should respond to.
        alone: the picture in which all of these are redrawn, and nothing else.
        rest: the picture in which everything else is.
        path: pictures of swaps from worse to better.
        reference: what these are compared with: the target (``base``) or the source (``all``).
    """

    wanted: tuple[str, ...]
    alone: str
    rest: str
    path: tuple[str, ...]
    reference: str


def _path(name: str) -> tuple[str, ...]:
    return tuple(f"{name}-{k}" for k in range(len(STEPS)))


_POSE = Subject(ANGLES, "pose", "not-pose", _path("pose-path"), "base")
SUBJECTS = {
    "identity": Subject(PERSON, "person", "not-person", _path("identity-path"), "all"),
    "shape": Subject(("shape",), "shape", "not-shape", _path("identity-path"), "all"),
    "expression": Subject(("expression",), "expression", "not-expression", _path("expression-path"), "base"),
    "pose": _POSE,
    "pose-hn": _POSE,
}
"""Family of a measure → what it should see."""

AGAIN = ("again-0", "again-1")
"""The base rendered again: the floor."""
TRUTH = "truth"


def redrawn(base: Record, donor: Record, factors: Sequence[str]) -> Record:
    """The base with the fields of some factors taken from the donor."""
    parts: dict[str, dict[str, Any]] = {"identity": {}, "scene": {}}
    pose = list(base.scene.pose)
    for factor in factors:
        for name in FIELDS[factor]:
            if name in ANGLES:
                pose[ANGLES.index(name)] = donor.scene.pose[ANGLES.index(name)]
            else:
                part = "identity" if name in OF_PERSON else "scene"
                parts[part][name] = getattr(getattr(donor, part), name)
    scene = replace(base.scene, pose=tuple(pose), **parts["scene"])
    return replace(base, identity=replace(base.identity, **parts["identity"]), scene=scene)


def pair(person: int, seed: int) -> tuple[Record, Record]:
    """Base and donor of a person.

    Raises:
        UsageError: there is no such person or seed.
    """
    if not (0 <= seed < SEEDS and 0 <= person < MOST_PEOPLE):
        raise UsageError(f"an audit has at most {MOST_PEOPLE} people, and its seed is 0 to {SEEDS - 1}")
    first = FIRST + 2 * (MOST_PEOPLE * seed + person)
    base, donor = (records.draw(who, scene_of(who, 0)) for who in (first, first + 1))
    return base, donor


def rerendered(drawn: Portrait, name: str) -> Portrait:
    """The same with other rays, another pattern of grain, and a shift of up to half a pixel: what must not matter."""
    rng = np.random.default_rng([4, drawn.sampling, zlib.crc32(name.encode())])
    x, y = np.array(drawn.scene.offset) + rng.uniform(-0.5, 0.5, 2) * drawn.scene.view / SIZE
    return replace(drawn, scene=replace(drawn.scene, offset=(float(x), float(y))), sampling=int(rng.integers(1 << 30)))


def variations() -> dict[str, tuple[str, ...]]:
    """Name of a picture → factors redrawn in it, of all that are the base's record with factors redrawn."""
    found = dict.fromkeys(AGAIN, ()) | {factor: (factor,) for factor in FIELDS} | {"all": tuple(FIELDS)}
    for subject in SUBJECTS.values():
        found[subject.alone] = subject.wanted
        found[subject.rest] = tuple(factor for factor in FIELDS if factor not in subject.wanted)
    return found


def portraits(base: Record, donor: Record) -> Iterator[tuple[str, Portrait]]:
    """Name and portrait of every picture that is rendered; each but ``base`` and ``truth`` is `rerendered`."""
    truth = true_swap(donor, base)
    yield "base", portrait(base)
    yield TRUTH, truth
    for name, factors in variations().items():
        yield name, rerendered(portrait(redrawn(base, donor, factors)), name)
    for path, make in (("identity", nearer), ("expression", calmer), ("pose", straighter)):
        for k, t in enumerate(STEPS):
            name = f"{path}-path-{k}"
            yield name, rerendered(make(base, donor, truth, t), name)


def _between(a: Sequence[float], b: Sequence[float], t: float) -> tuple[float, ...]:
    return tuple(float(v) for v in np.array(a) * (1 - t) + np.array(b) * t)


def nearer(base: Record, donor: Record, truth: Portrait, t: float) -> Portrait:
    """From the target (0) to the true swap (1): the head's form, brows and irises on the straight line between."""
    ours, theirs = portrait(base), truth.identity
    numbers = {
        name: _between(getattr(ours.identity, name), getattr(theirs, name), t)
        for name in ("shape", "brow", "brow_colour", "iris")
    }
    size = ours.identity.iris_size * (1 - t) + theirs.iris_size * t
    neutral = np.asarray(ours.neutral * (1 - t) + truth.neutral * t, np.float32)
    identity = replace(ours.identity, iris_size=size, **numbers)  # type: ignore[arg-type]
    return replace(ours, neutral=neutral, identity=identity)


def calmer(base: Record, donor: Record, truth: Portrait, t: float) -> Portrait:
    """The true swap, its expression from the source's (0) to the target's (1)."""
    expression = _between(donor.scene.expression, base.scene.expression, t)
    return replace(truth, scene=replace(truth.scene, expression=expression))


def straighter(base: Record, donor: Record, truth: Portrait, t: float) -> Portrait:
    """The true swap, its pose from the source's (0) to the target's (1)."""
    return replace(truth, scene=replace(truth.scene, pose=_between(donor.scene.pose, base.scene.pose, t)))
