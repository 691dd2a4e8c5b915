"""Portraits far wider than the protocol's, to train and test judges on: turned heads, strong expressions, things before
the face. The protocol's own pictures are drawn by `record.draw` and do not change with this file.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mfim_protocols.virtual_faces import props, record
from mfim_protocols.virtual_faces.geometry import Portrait
from mfim_protocols.virtual_faces.head import HeadModel
from mfim_protocols.virtual_faces.record import Scene, Vec

UNDER_HATS = ("bald", "buzz", "fade")


def draw(identity_seed: int, scene_seed: int) -> Portrait:
    """A portrait of the person that `record.draw` gives to this seed, in a wider scene. All ranges `[own choice]`.

    Yaw to ±60°, pitch and roll to ±30°, in two mixed halves: even over the range, and gathered around zero.
    """
    drawn = record.draw(identity_seed, scene_seed)
    rng = np.random.default_rng([4, scene_seed])
    scene = drawn.scene
    yaw = _angle(rng, 60, 14, 0.7)
    pitch, roll = _angle(rng, 30, 11, 0.5), _angle(rng, 30, 11, 0.5)
    exposure = scene.exposure
    if rng.random() < 0.2:
        exposure *= float(rng.uniform(0.45, 0.8) if rng.random() < 0.5 else rng.uniform(1.2, 1.5))
    scene = replace(
        scene,
        pose=(yaw, pitch, roll),
        body_yaw=round(yaw * float(rng.uniform(0, 0.8)), 4),
        offset=(round(float(rng.normal(0, 9)), 2), round(float(rng.normal(0, 9)), 2)),
        expression=_stronger(scene, rng) if rng.random() < 0.3 else scene.expression,
        exposure=round(exposure, 4),
    )
    worn = props.draw(rng)
    if worn.hat is not None and scene.hair_style not in UNDER_HATS:
        scene = replace(scene, hair_style=UNDER_HATS[int(rng.integers(len(UNDER_HATS)))])
    return Portrait(
        HeadModel.load().vertices(np.array(drawn.identity.shape)),
        drawn.identity,
        scene,
        drawn.sampling,
        worn,
    )


def _angle(rng: np.random.Generator, limit: float, deviation: float, even: float) -> float:
    """Radians: even over ±``limit`` degrees with that chance, else normal and cut off there."""
    degrees = rng.uniform(-limit, limit) if rng.random() < even else np.clip(rng.normal(0, deviation), -limit, limit)
    return round(float(np.deg2rad(degrees)), 5)


def _stronger(scene: Scene, rng: np.random.Generator) -> Vec:
    """The scene's expression exaggerated, within what the actions allow."""
    names = HeadModel.load().action_names
    value = np.clip(np.array(scene.expression) * rng.uniform(1.1, 1.5), 0, 1)
    close, jaw = names.index("mouthClose"), names.index("jawOpen")
    value[close] = min(value[close], value[jaw])
    return tuple(round(float(v), 3) for v in value)
