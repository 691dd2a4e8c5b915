"""A record says everything about one virtual photograph; drawing one, and writing it down. NumPy only.

A person (`Identity`) and the circumstances (`Scene`) are drawn from separate random streams, so light, background, hair
and camera carry no hint of who is shown. All ranges are `[own choice]`.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np

from mfim_protocols.virtual_faces.head import HeadModel

Vec = tuple[float, ...]
HAIR_STYLES = ("bald", "buzz", "short", "fade", "quiff", "fringe", "afro", "bob", "long", "bun", "receding")
HAIR_SHARES = [0.04, 0.08, 0.14, 0.1, 0.1, 0.1, 0.08, 0.11, 0.13, 0.07, 0.05]
BACKGROUNDS = ("gradient", "blobs", "bokeh", "stripes", "panels", "clouds")
# Standard deviations of the whitened shape coefficients: the first 8 move the outline of the whole head, the next 22
# features of the face, the rest fine detail. With 1.0 a recogniser trained on photographs finds virtual people more
# alike than real people are; widening the features parts them most (docs/virtual-faces.md).
SHAPE_SPREAD = np.repeat([1.6, 3.0, 0.6], [8, 22, 50])


@dataclass(frozen=True)
class Identity:
    """Who is shown: shape, skin, brows, irises.

    Attributes:
        shape: (80,) whitened coefficients.
        melanin: 0..1. redness: 0..1.6. freckles, stubble: 0..1 strength. skin_seed: pattern of spots and blotches.
        brow: thickness mm, arch mm, tilt mm, gap mm, density 0..1. brow_colour, iris: linear RGB.
        iris_size: radius in mm on the eyeball. lip: 0..1 from skin-like to deep red.
    """

    shape: Vec
    melanin: float
    redness: float
    freckles: float
    stubble: float
    skin_seed: int
    brow: Vec
    brow_colour: Vec
    iris: Vec
    iris_size: float
    lip: float


@dataclass(frozen=True)
class Scene:
    """All that a face swap must keep.

    Attributes:
        expression: (52,) actions, 0..1. gaze: (yaw, pitch) rad of both eyes. pose: (yaw, pitch, roll) rad.
        distance: camera to face in mm. view: side in mm of the square seen at the face. offset: (x, y) mm.
        key_direction: unit vector to the key light; key_colour, sky, ground, rim: linear RGB radiance; softness: rad.
        hair: style name, colour, highlight, seed and lengths. background: kind, colours, seed.
        cloth: linear RGB, pattern. exposure: factor. grain: sensor noise, sRGB units.
    """

    expression: Vec
    gaze: Vec
    pose: Vec
    distance: float
    view: float
    offset: Vec
    key_direction: Vec
    key_colour: Vec
    softness: float
    sky: Vec
    ground: Vec
    rim: Vec
    rim_direction: Vec
    hair_style: str
    hair_colour: Vec
    hair_length: float
    hair_volume: float
    hair_seed: int
    background: str
    background_colours: tuple[Vec, ...]
    background_seed: int
    cloth: Vec
    cloth_pattern: int
    body_yaw: float
    exposure: float
    grain: float


@dataclass(frozen=True)
class Record:
    """One photograph: a person in a scene; `sampling` seeds the renderer's own randomness."""

    identity: Identity
    scene: Scene
    sampling: int = 0


def to_json(record: Record) -> dict[str, Any]:
    return asdict(record)


def from_json(data: dict[str, Any]) -> Record:
    def tuples(value: Any) -> Any:
        return tuple(tuples(v) for v in value) if isinstance(value, list | tuple) else value

    parts = {}
    for name, kind in (("identity", Identity), ("scene", Scene)):
        known = {f.name for f in fields(kind)}
        if set(data[name]) != known:
            raise ValueError(f"a record's {name} must have exactly the fields {sorted(known)}")
        parts[name] = kind(**{k: tuples(v) for k, v in data[name].items()})
    return Record(parts["identity"], parts["scene"], int(data.get("sampling", 0)))  # type: ignore[arg-type]


def _floats(values: Any, digits: int = 5) -> Vec:
    return tuple(round(float(v), digits) for v in values)


HAIR_COLOURS = np.array(
    [[0.012, 0.009, 0.007], [0.03, 0.017, 0.01], [0.075, 0.036, 0.018], [0.19, 0.1, 0.045],
     [0.4, 0.27, 0.13], [0.18, 0.055, 0.02], [0.32, 0.31, 0.3]]
)  # fmt: skip
IRIS_COLOURS = np.array(
    [
        [0.05, 0.02, 0.008],
        [0.12, 0.055, 0.02],
        [0.16, 0.12, 0.05],
        [0.1, 0.15, 0.07],
        [0.1, 0.19, 0.32],
        [0.16, 0.21, 0.24],
    ]
)


def draw_identity(rng: np.random.Generator) -> Identity:
    melanin = float(rng.beta(0.5, 0.5))
    # Dark skin rarely comes with pale brows or blue eyes.
    brow_colour = HAIR_COLOURS[min(int(rng.integers(0, 5 if melanin < 0.45 else 2)), 4)] * rng.uniform(0.6, 1.1)
    iris = IRIS_COLOURS[int(rng.integers(0, 6 if melanin < 0.5 else 2))] * rng.uniform(0.7, 1.3, 3)
    shape = np.clip(rng.normal(0, SHAPE_SPREAD), -4, 4)
    return Identity(
        shape=_floats(shape),
        melanin=round(melanin, 4),
        redness=round(float(rng.uniform(0, 1.6)), 4),
        freckles=round(float(max(0.0, rng.normal(0, 0.7))), 4),
        stubble=round(float(max(0.0, rng.normal(-0.25, 0.5))), 4),
        skin_seed=int(rng.integers(1 << 30)),
        brow=_floats(
            [
                rng.uniform(1.2, 8.0),
                np.clip(rng.normal(0, 5.0), -9, 9),
                np.clip(rng.normal(0, 5.5), -10, 10),
                np.clip(rng.normal(0, 5.0), -8, 10),
                rng.uniform(0.3, 1.0),
            ]
        ),
        brow_colour=_floats(brow_colour),
        iris=_floats(iris),
        iris_size=round(float(rng.uniform(5.2, 7.2)), 3),
        lip=round(float(rng.uniform(0, 1)), 4),
    )


# Groups of actions that faces make together, in ARKit's names without side; each is drawn with a strength.
EXPRESSIONS: dict[str, dict[str, float]] = {
    "smile": {"mouthSmile": 0.8, "cheekSquint": 0.5, "eyeSquint": 0.3, "mouthDimple": 0.2},
    "grin": {"mouthSmile": 0.9, "mouthUpperUp": 0.6, "mouthLowerDown": 0.5, "jawOpen": 0.12, "cheekSquint": 0.6},
    "laugh": {"mouthSmile": 0.9, "jawOpen": 0.45, "cheekSquint": 0.8, "eyeSquint": 0.7, "mouthUpperUp": 0.4},
    "surprise": {"browInnerUp": 0.9, "browOuterUp": 0.9, "eyeWide": 0.8, "jawOpen": 0.45},
    "anger": {"browDown": 0.9, "noseSneer": 0.5, "mouthPress": 0.5, "eyeSquint": 0.4},
    "disgust": {"noseSneer": 0.9, "mouthUpperUp": 0.6, "browDown": 0.5, "mouthFrown": 0.3},
    "sadness": {"browInnerUp": 0.8, "mouthFrown": 0.8, "mouthShrugLower": 0.4},
    "fear": {"browInnerUp": 0.9, "eyeWide": 0.9, "mouthStretch": 0.7, "jawOpen": 0.2},
    "kiss": {"mouthPucker": 0.9, "mouthFunnel": 0.3},
    "oh": {"mouthFunnel": 0.9, "jawOpen": 0.35},
    "ah": {"jawOpen": 0.6},
    "blink": {"eyeBlink": 1.0},
    "puff": {"cheekPuff": 0.8, "mouthPress": 0.4},
    "rolled": {"mouthRollLower": 0.6, "mouthRollUpper": 0.5},
}  # fmt: skip


def draw_expression(rng: np.random.Generator) -> Vec:
    """A blend of up to three groups at strengths up to full, some asymmetry, a little of all, eyes often a bit shut."""
    names = HeadModel.load().action_names
    value = dict.fromkeys(names, 0.0)
    groups = list(EXPRESSIONS)
    count = int(rng.choice([0, 1, 2, 3], p=[0.12, 0.43, 0.3, 0.15]))
    for group in rng.choice(len(groups), count, replace=False):
        if groups[group] == "blink" and rng.random() < 0.6:
            continue
        strength = rng.beta(1.8, 1.6)
        skew = rng.normal(0, 0.12)
        for action, weight in EXPRESSIONS[groups[group]].items():
            for side, sign in (("", 0), ("Left", 1), ("Right", -1)):
                if action + side in value:
                    value[action + side] += weight * strength * (1 + sign * skew)
    for name in names:
        if name.startswith("eyeLook") or name == "tongueOut":
            continue
        if rng.random() < 0.12:
            value[name] += float(rng.beta(1, 3)) * (0.25 if name in ("jawOpen", "mouthClose") else 0.5)
    shut = float(np.clip(rng.normal(0.08, 0.1), 0, 0.35))
    for side in ("Left", "Right"):
        value["eyeBlink" + side] = max(value["eyeBlink" + side], shut)
        if value["eyeBlink" + side] > 0.5:
            value["eyeWide" + side] = 0.0
    # The lips may close over an open jaw, not beyond it.
    value["mouthClose"] = min(value["mouthClose"], value["jawOpen"])
    return _floats((np.clip(value[n], 0, 1) for n in names), 3)


def draw_scene(rng: np.random.Generator) -> Scene:
    azimuth, elevation = rng.normal(0, 0.75), rng.uniform(-0.1, 1.1)
    key = np.array([np.sin(azimuth) * np.cos(elevation), np.sin(elevation), np.cos(azimuth) * np.cos(elevation)])
    warm = rng.normal(0, 0.12)
    tint = np.array([1 + warm, 1.0, 1 - warm]) * rng.uniform(0.97, 1.03, 3)
    contrast = rng.uniform(0.25, 0.95)
    sky_tint = np.array([1 - 0.6 * warm, 1.0, 1 + 0.6 * warm]) * rng.uniform(0.92, 1.08, 3)
    rim_side = rng.choice([-1.0, 1.0])
    lid = rng.normal(0, [0.22, 0.13])
    yaw = float(np.clip(rng.normal(0, 0.24), -0.65, 0.65))
    pitch = float(np.clip(rng.normal(0, 0.11), -0.33, 0.33))
    roll = float(np.clip(rng.normal(0, 0.11), -0.35, 0.35))
    hair = HAIR_COLOURS[int(rng.integers(len(HAIR_COLOURS)))] * rng.uniform(0.7, 1.3)
    palette = rng.uniform(0.02, 0.9, (3, 3)) ** 1.6
    if rng.random() < 0.5:  # most rooms are not colourful
        palette = palette.mean(1, keepdims=True) * rng.uniform(0.85, 1.15, (3, 3))
    return Scene(
        expression=draw_expression(rng),
        gaze=_floats(np.clip(lid, -0.5, 0.5)),
        pose=_floats([yaw, pitch, roll]),
        distance=round(float(np.exp(rng.uniform(np.log(450), np.log(1800)))), 1),
        view=round(float(rng.uniform(255, 318)), 1),
        offset=_floats(rng.normal(0, 7, 2), 2),
        key_direction=_floats(key),
        key_colour=_floats(tint * contrast * 3.0),
        softness=round(float(rng.uniform(0.03, 0.4)), 4),
        sky=_floats(sky_tint * (1.35 - contrast) * 0.7 * rng.uniform(0.55, 1.0)),
        ground=_floats(sky_tint[::-1] * (1.35 - contrast) * 0.7 * rng.uniform(0.15, 0.6)),
        rim=_floats(tint[::-1] * max(0.0, rng.normal(0, 0.6))),
        rim_direction=_floats(np.array([rim_side * 0.8, 0.3, -0.5]) / np.linalg.norm([0.8, 0.3, 0.5])),
        hair_style=HAIR_STYLES[int(rng.choice(len(HAIR_STYLES), p=HAIR_SHARES))],
        hair_colour=_floats(hair),
        hair_length=round(float(rng.uniform(0, 1)), 4),
        hair_volume=round(float(rng.uniform(0.6, 1.5)), 4),
        hair_seed=int(rng.integers(1 << 30)),
        background=BACKGROUNDS[int(rng.integers(len(BACKGROUNDS)))],
        background_colours=tuple(_floats(c) for c in palette),
        background_seed=int(rng.integers(1 << 30)),
        cloth=_floats(rng.uniform(0.02, 0.8, 3) ** 1.5),
        cloth_pattern=int(rng.integers(0, 4)),
        body_yaw=round(float(yaw * rng.uniform(0, 0.8)), 4),
        exposure=round(float(np.exp(rng.normal(0.12, 0.17))), 4),
        grain=round(float(abs(rng.normal(0, 0.008))), 5),
    )  # fmt: skip


def draw(identity_seed: int, scene_seed: int) -> Record:
    """A record from two independent seeds."""
    identity = draw_identity(np.random.default_rng([1, identity_seed]))
    return Record(identity, draw_scene(np.random.default_rng([2, scene_seed])), scene_seed % (1 << 30))
