"""Things before and on a head that hide parts of a face: glasses, hats, hands. Simple geometry; NumPy only.

All ranges are `[own choice]`. Head space: mm, x to image right, y up, z to the viewer.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mfim_protocols.virtual_faces.head import HeadModel
from mfim_protocols.virtual_faces.record import Identity

Points = NDArray[np.float64]
Triangles = NDArray[np.int64]
PALE, DARK = np.array([0.80, 0.54, 0.42]), np.array([0.085, 0.038, 0.022])


@dataclass(frozen=True)
class Solid:
    """One coloured piece: vertices (n, 3) mm in head space, triangles (m, 3), linear RGB, strength of its highlight."""

    vertices: Points
    triangles: Triangles
    colour: tuple[float, float, float]
    gloss: float


@dataclass(frozen=True)
class Glasses:
    """Half width, half height and tube radius of the rims (mm), exponent of their superellipse, distance before the
    nose's bridge (mm), whether the lenses are dark, colour.
    """

    width: float
    height: float
    radius: float
    exponent: float
    before: float
    dark: bool
    colour: tuple[float, float, float]


@dataclass(frozen=True)
class Hat:
    """Kind (cap, beanie, brimmed), mm above the brows, slack around the skull (mm), brim (mm), tilt (rad), colour."""

    kind: str
    above: float
    slack: float
    brim: float
    tilt: float
    colour: tuple[float, float, float]


@dataclass(frozen=True)
class Hand:
    """Landmark (of the 68) it covers, mm ahead of it, direction it points to (rad from up), how far the palm lies below
    the landmark (mm), lengths of the fingers (mm), bend (rad), spread; colour, or None for the person's own skin.
    """

    landmark: int
    ahead: float
    direction: float
    below: float
    fingers: float
    bend: float
    spread: float
    colour: tuple[float, float, float] | None


@dataclass(frozen=True)
class Props:
    """What hides parts of one face."""

    glasses: Glasses | None = None
    hat: Hat | None = None
    hand: Hand | None = None


NOTHING = Props()


def _colour(rng: np.random.Generator) -> tuple[float, float, float]:
    """Mostly dull, sometimes bright."""
    colour = rng.uniform(0.02, 0.85, 3) ** 1.7
    if rng.random() < 0.5:
        colour = colour.mean() * rng.uniform(0.85, 1.15, 3)
    r, g, b = (round(float(c), 4) for c in colour)
    return r, g, b


def draw(rng: np.random.Generator) -> Props:
    """Glasses on a quarter of the faces (a third of them dark), a hat on 15 %, a hand before 18 %."""
    glasses = hat = hand = None
    if rng.random() < 0.25:
        glasses = Glasses(
            width=float(rng.uniform(21, 30)),
            height=float(rng.uniform(13, 25)),
            radius=float(rng.uniform(0.7, 2.6)),
            exponent=float(rng.uniform(2, 5)),
            before=float(rng.uniform(2, 8)),
            dark=bool(rng.random() < 0.33),
            colour=(0.01, 0.01, 0.01) if rng.random() < 0.5 else _colour(rng),
        )
    if rng.random() < 0.15:
        kind = ("cap", "beanie", "brimmed")[int(rng.integers(3))]
        hat = Hat(
            kind=kind,
            above=float(rng.uniform(6, 38)),
            slack=float(rng.uniform(7, 18)),
            brim=0.0 if kind == "beanie" else float(rng.uniform(45, 80)),
            tilt=float(rng.normal(0, 0.12)),
            colour=_colour(rng),
        )
    if rng.random() < 0.18:
        hand = Hand(
            landmark=int(rng.choice([2, 5, 8, 11, 14, 19, 24, 31, 35, 37, 44, 48, 51, 54, 57])),
            ahead=float(rng.uniform(4, 30)),
            direction=float(rng.normal(0, 0.9)),
            below=float(rng.uniform(20, 100)),
            fingers=float(rng.uniform(58, 80)),
            bend=float(rng.uniform(0, 0.7)),
            spread=float(rng.uniform(-0.02, 0.16)),
            colour=None if rng.random() < 0.75 else _colour(rng),
        )
    return Props(glasses, hat, hand)


def build(props: Props, neutral: NDArray[np.floating], identity: Identity) -> list[Solid]:
    """The pieces that the props of a head with neutral vertices (V, 3) mm are made of."""
    head = HeadModel.load()
    marks = np.asarray(neutral[head.points68], np.float64)
    out: list[Solid] = []
    if props.glasses is not None:
        out += _glasses(props.glasses, marks)
    if props.hat is not None:
        out += _hat(props.hat, marks, np.asarray(neutral, np.float64))
    if props.hand is not None:
        skin = np.exp(np.log(PALE) * (1 - identity.melanin) + np.log(DARK) * identity.melanin)
        out += _hand(props.hand, marks, (float(skin[0]), float(skin[1]), float(skin[2])))
    return out


def _grid(rows: int, columns: int, closed: bool) -> Triangles:
    """Triangles between neighbours of a (rows, columns) grid; ``closed`` joins the last column to the first."""
    i, j = np.meshgrid(np.arange(rows - 1), np.arange(columns if closed else columns - 1), indexing="ij")
    a, b = i * columns + j, i * columns + (j + 1) % columns
    quads = np.stack([a, b, b + columns, a + columns], -1).reshape(-1, 4)
    return np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]])


def _tube(line: Points, radius: NDArray[np.floating] | float, sides: int = 7) -> tuple[Points, Triangles]:
    """A tube around a polyline (n, 3); its ends are as wide as ``radius`` says there."""
    along = np.gradient(line, axis=0)
    along /= np.linalg.norm(along, axis=1, keepdims=True) + 1e-9
    other = np.where(np.abs(along[:, 1:2]) < 0.9, [[0.0, 1.0, 0.0]], [[1.0, 0.0, 0.0]])
    u = np.cross(along, other)
    u /= np.linalg.norm(u, axis=1, keepdims=True) + 1e-9
    v = np.cross(along, u)
    angle = np.arange(sides) * 2 * np.pi / sides
    around = u[:, None] * np.cos(angle)[:, None] + v[:, None] * np.sin(angle)[:, None]
    points = line[:, None] + around * np.broadcast_to(radius, len(line))[:, None, None]
    return points.reshape(-1, 3), _grid(len(line), sides, closed=True)


def _capsule(a: Points, b: Points, c: Points, radius: float) -> tuple[Points, Triangles]:
    """A finger from a over b to c, round at the ends."""
    t = np.linspace(0, 1, 9)[:, None]
    line = (1 - t) ** 2 * a + 2 * t * (1 - t) * b + t**2 * c
    axis = (c - b) / (np.linalg.norm(c - b) + 1e-9)
    line = np.concatenate([line, c + axis * radius * np.array([[0.6], [0.9], [1.0]])])
    widths = radius * np.r_[np.linspace(1.08, 0.95, 9), 0.75, 0.42, 0.02]
    return _tube(line, widths)


def _glasses(glasses: Glasses, marks: Points) -> list[Solid]:
    eyes = [marks[36:42].mean(0), marks[42:48].mean(0)]
    bridge = marks[27]
    depth = max(bridge[2], marks[19:25, 2].max() - 4) + glasses.before
    angle = np.arange(29) * 2 * np.pi / 28
    power = 2 / glasses.exponent
    x = glasses.width * np.sign(np.cos(angle)) * np.abs(np.cos(angle)) ** power
    y = glasses.height * np.sign(np.sin(angle)) * np.abs(np.sin(angle)) ** power
    half = min(glasses.width, abs(eyes[1][0] - eyes[0][0]) / 2 - 5)
    out = []
    for side, eye in zip((-1.0, 1.0), eyes, strict=True):
        # Lenses follow the curve of the face: further back at the temples.
        rim = np.stack(
            [eye[0] + x * half / glasses.width, eye[1] - 3 + y, depth - 0.0045 * (x * side + half).clip(0) ** 2], -1
        )
        out.append(Solid(*_tube(rim, glasses.radius, 6), glasses.colour, 0.8))
        if glasses.dark:
            fan = np.concatenate([rim.mean(0, keepdims=True), rim])
            n = len(rim)
            turns = np.stack([np.zeros(n - 1, int), np.arange(1, n), np.arange(2, n + 1)], -1)
            out.append(Solid(fan, turns, (0.012, 0.012, 0.014), 1.2))
        ear = marks[0 if side < 0 else 16]
        outer = rim[np.argmax(rim[:, 0] * side)] + [0, 5, 0]
        hinge = np.array([ear[0] + side * 3, outer[1] + 2, outer[2] - 18])
        end = np.array([ear[0] + side * 4, eye[1] + 2, ear[2] - 30])
        out.append(Solid(*_tube(np.stack([outer, hinge, (hinge + end) / 2, end]), glasses.radius + 0.6, 6),
                         glasses.colour, 0.8))  # fmt: skip
    inner = [eyes[0] + [half, 0, 0], eyes[1] - [half, 0, 0]]
    arch = np.array([bridge[0], (eyes[0][1] + eyes[1][1]) / 2 + 4, depth + 2])
    line = np.stack([inner[0] * [1, 1, 0] + [0, 0, depth], arch, inner[1] * [1, 1, 0] + [0, 0, depth]])
    out.append(Solid(*_tube(line, glasses.radius, 6), glasses.colour, 0.8))
    return out


def _hat(hat: Hat, marks: Points, neutral: Points) -> list[Solid]:
    base = marks[17:27, 1].max() + hat.above
    skull = neutral[neutral[:, 1] > base - 4]
    if len(skull) < 20:
        return []
    low, high = skull.min(0), skull.max(0)
    middle, half = (low + high) / 2, (high - low) / 2 + hat.slack
    rise = high[1] - base + hat.slack + (12 if hat.kind != "beanie" else 4)
    theta = np.arange(36) * 2 * np.pi / 36
    phi = np.linspace(np.pi / 2, 0.02, 12)
    flat = np.sin(phi) ** 0.7
    ring = np.stack([np.sin(theta), np.zeros_like(theta), np.cos(theta)], -1)

    def around(out: float, y: float) -> Points:
        return np.asarray(ring * [half[0] + out, 0, half[2] + out] + [middle[0], y, middle[2]])

    dome = np.stack([around(0, base) for _ in phi])
    dome = (dome - [middle[0], 0, middle[2]]) * flat[:, None, None] * [1, 0, 1]
    dome = dome + [middle[0], 0, middle[2]] + [0, 1, 0] * (base + rise * np.cos(phi) ** 0.9)[:, None, None]
    parts = [(dome.reshape(-1, 3), _grid(len(phi), len(theta), closed=True))]
    if hat.kind == "beanie":
        band = np.stack([around(2, base - 3), around(5, base + 8), around(5, base + 24), around(0, base + 28)])
        parts.append((band.reshape(-1, 3), _grid(4, len(theta), closed=True)))
    else:
        share = np.ones(len(theta)) if hat.kind == "brimmed" else np.clip((np.cos(theta) - 0.25) / 0.5, 0, 1) ** 0.5
        rows = []
        for t in (0.0, 0.5, 1.0):
            row = around(0, base) + ring * (hat.brim * t * share)[:, None]
            row[:, 1] -= 0.18 * hat.brim * t**2 * share
            rows.append(row)
        parts.append((np.stack(rows).reshape(-1, 3), _grid(3, len(theta), closed=True)))
    c, s = np.cos(hat.tilt), np.sin(hat.tilt)
    turn = np.array([[1, 0, 0], [0, c, -s], [0, s, c]])
    pivot = np.array([middle[0], base, middle[2]])
    return [Solid((points - pivot) @ turn.T + pivot, triangles, hat.colour, 0.05) for points, triangles in parts]


def _hand(hand: Hand, marks: Points, skin: tuple[float, float, float]) -> list[Solid]:
    colour = skin if hand.colour is None else hand.colour
    point = marks[hand.landmark]
    ahead = point - np.array([0.0, marks[30, 1], -70.0])
    ahead[1] *= 0.4
    ahead /= np.linalg.norm(ahead)
    up = np.array([np.sin(hand.direction), np.cos(hand.direction), 0.0])
    up -= ahead * (up @ ahead)
    up /= np.linalg.norm(up)
    side = np.cross(up, ahead)
    # The hand stays clear of the nose: it lies on the face's foremost point near it.
    reach = np.linalg.norm((marks - point)[:, :2], axis=1) < 60
    lift = max(0.0, float(((marks[reach] - point) @ ahead).max()))
    palm = point + ahead * (hand.ahead + lift + 12) - up * hand.below
    out = []

    def place(right: float, forward: float, towards: float) -> Points:
        return np.asarray(palm + side * right + up * forward + ahead * towards)

    theta, phi = np.meshgrid(np.linspace(0, 2 * np.pi, 17), np.linspace(0.02, np.pi - 0.02, 11))
    ball = np.stack([np.sin(phi) * np.cos(theta), np.cos(phi), np.sin(phi) * np.sin(theta)], -1)
    ball = np.sign(ball) * np.abs(ball) ** 0.75 * [41, 47, 13]
    points = palm + ball.reshape(-1, 3) @ np.stack([side, up, ahead])
    out.append(Solid(points, _grid(11, 17, closed=False), colour, 0.08))
    for at, (right, length) in enumerate(((-30, 0.92), (-10, 1.05), (10, 1.0), (29, 0.8))):
        reach_ = hand.fingers * length
        lean = right * (1 + hand.spread * 6)
        out.append(
            Solid(
                *_capsule(
                    place(right, 36, 0),
                    place((right + lean) / 2, 36 + reach_ * 0.6, 2),
                    place(lean, 36 + reach_ * np.cos(hand.bend), -reach_ * np.sin(hand.bend) * 0.6),
                    8.6 - 0.5 * (at == 3),
                ),
                colour,
                0.08,
            )
        )
    out.append(Solid(*_capsule(place(-34, -18, 0), place(-58, 6, 4), place(-60, 34, 2), 9.5), colour, 0.08))
    out.append(Solid(*_tube(np.stack([place(0, -30, 0), place(0, -70, 4), place(0, -260, 30)]),
                            np.array([26.0, 28.0, 36.0]), 12), colour, 0.05))  # fmt: skip
    return out
