"""What a face-swap method is: a light description, and the object that swaps."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias, runtime_checkable

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    import torch
    from numpy.typing import NDArray

    from mfim_bench.protocol import Frame, Pair

Template: TypeAlias = Literal["ffhq", "arcface", "none"]
"""How a frame is cut before the method sees it; see `mfim_bench.faces.templates`. ``none`` = the whole frame."""


@runtime_checkable
class Method(Protocol):
    """Anything with a ``swap``."""

    def swap(self, source: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Put the source's identity on the target.

        Args:
            source: float32 RGB in [0, 1], (B, 3, S, S), cut by the method's template.
            target: the same shape and range.

        Returns:
            The swapped faces, the same shape and range. One row must never influence another.
        """
        ...


@runtime_checkable
class MixingMethod(Protocol):
    """A `Method` that can also mix the identity of several sources."""

    def mix(self, sources: Mapping[str, torch.Tensor], target: torch.Tensor) -> torch.Tensor:
        """Put an identity that several sources share on the target.

        Args:
            sources: name of a part of the identity → who gives it, float32 RGB in [0, 1], (B, 3, S, S). Every mixing
                method knows the parts ``global`` (the coarse one: the face's shape) and ``local`` (the fine one: eyes,
                brows, skin); it may know others. A model that cannot part its identity refuses both.
            target: the same shape and range.

        Returns:
            The swapped faces, the same shape and range. One row must never influence another.

        Raises:
            UsageError: a part that the method does not know, one given twice, or one that nobody gives.
        """
        ...


@runtime_checkable
class FrameMethod(Protocol):
    """A method that works on whole frames of any size: one that finds its own faces, or a program of its own.

    Its spec says ``size=0`` and ``template="none"``; nothing is detected, cut or pasted for it.
    """

    def swap_frame(self, source: NDArray[np.uint8], target: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Put the source's identity into the target frame.

        Args:
            source: uint8 RGB (H, W, 3).
            target: uint8 RGB (H', W', 3).

        Returns:
            The swapped frame, uint8 RGB, of the target's shape.

        Raises:
            RowError: this pair cannot be swapped; the message is the reason.
        """
        ...


@runtime_checkable
class FrameMixingMethod(Protocol):
    """A `FrameMethod` that can also mix the identity of several sources; see `MixingMethod`."""

    def mix_frame(self, sources: Mapping[str, NDArray[np.uint8]], target: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """As `FrameMethod.swap_frame`, with a frame for every part of the identity."""
        ...


@runtime_checkable
class ResultsMethod(Protocol):
    """Swaps made elsewhere, looked up by pair. Its spec says ``size=0`` and ``template="none"``."""

    def result(self, pair: Pair) -> Path | Frame:
        """The image file of this pair's swapped frame, or a frame of a video.

        Raises:
            RowError: there is none, or more than one.
        """
        ...


AnyMethod: TypeAlias = "Method | FrameMethod | ResultsMethod"
MethodFactory: TypeAlias = "Callable[..., AnyMethod]"
"""``(device: torch.device)``, or ``(device, argument: str)`` when the spec has an argument."""


@dataclass(frozen=True, slots=True)
class MethodSpec:
    """A light description of a method: listing it imports nothing heavy.

    Attributes:
        name: unique, lower case, words joined by ``-``.
        factory: ``"module:attr"`` of a callable ``(device: torch.device) -> Method``; resolved on first use.
        argument: what the factory gets beside the device, for factories with variants; empty = the device alone.
        with_argument: ``"module:attr"`` of a callable ``(argument: str) -> MethodSpec`` that describes
            ``NAME:ARGUMENT`` of the command line, such as a weights file; it imports nothing heavy either, and its
            ``version`` must change when what the argument names changes. Empty = the method takes none.
        variant: what this is one training run of, where several runs differ in nothing but the seed; see
            `mfim_bench.report.ablation`. Empty = a variant of its own.
        version: changes whenever the method's output could change.
        summary: one line.
        size: side S in pixels of the square crops the method works on. 0 = any size: with ``template="none"`` the
            method is a `FrameMethod` or `ResultsMethod` and gets frames as they are; ``NAME@SIZE`` asks a method of
            any size to work on aligned crops of one.
        template: how crops are cut.
        licence: of the code and weights, an SPDX id where there is one.
        citation: a reference a paper can print.
        content: ``"module:attr"`` of a callable ``(pairs: Sequence[Pair], argument: str) -> str``: a hash of the files
            that the results of these pairs are read from, for a `ResultsMethod` whose version cannot know them. Empty =
            the version knows.
        weights: names of entries of the weights catalogue that the factory reads.
        trained_with: names of the networks (`JudgeSpec.name`) that trained the method. A measure by one of these is
            marked self-judged and not ranked.
        only: of a mixed identity, the part whose source the method is given, as a plain swap; ``NAME@PART`` sets it.
            Empty = all sources.
        oracle: the method is a reference made of the protocol's known truth; `bench` reads the truth instead of
            calling ``swap``. Only references set it.
    """

    name: str
    factory: str
    version: str
    summary: str = ""
    size: int = 256
    template: Template = "ffhq"
    licence: str = "unknown"
    citation: str = ""
    weights: tuple[str, ...] = ()
    trained_with: tuple[str, ...] = ()
    oracle: bool = False
    argument: str = ""
    with_argument: str = ""
    variant: str = ""
    content: str = ""
    only: str = ""
