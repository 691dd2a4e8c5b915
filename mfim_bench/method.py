"""What a face-swap method is: a light description, and the object that swaps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias, runtime_checkable

if TYPE_CHECKING:
    import torch

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


MethodFactory: TypeAlias = "Callable[[torch.device], Method]"


@dataclass(frozen=True, slots=True)
class MethodSpec:
    """A light description of a method: listing it imports nothing heavy.

    Attributes:
        name: unique, lower case, words joined by ``-``.
        factory: ``"module:attr"`` of a callable ``(device: torch.device) -> Method``; resolved on first use.
        version: changes whenever the method's output could change.
        summary: one line.
        size: side S in pixels of the square crops the method works on.
        template: how crops are cut.
        licence: of the code and weights, an SPDX id where there is one.
        citation: a reference a paper can print.
        weights: names of entries of the weights catalogue that the factory reads.
        trained_with: names of the networks (`JudgeSpec.name`) that trained the method. A measure by one of these is
            marked self-judged and not ranked.
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
