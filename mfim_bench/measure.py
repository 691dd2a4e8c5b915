"""What a measure is: a judge network, a role to compare with, a distance, a unit."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray

    from mfim_bench.faces.detect import Face

    Features: TypeAlias = Mapping[str, NDArray[np.float32]]

Role: TypeAlias = Literal["source", "local", "target", "truth"]
"""Of a mixed identity, ``source`` is the first (the global) source and ``local`` that of the part ``local``."""


class Judge(Protocol):
    """A network used to measure."""

    def features(self, images: Sequence[NDArray[np.uint8]], faces: Sequence[Face]) -> Features:
        """Describe N faces; no image influences another's row.

        Args:
            images: N frames, uint8 RGB (H, W, 3); sizes may differ.
            faces: the face found in each frame (box and five points in pixels of that frame), or the target's for a
                judge that is `JudgeSpec.aligned_by` it. A judge with ``needs_face=False`` must not read them.

        Returns:
            Named float32 arrays whose first axis is N. They are cached by the frame's content and the judge's version.
        """
        ...


@dataclass(frozen=True, slots=True)
class JudgeSpec:
    """A light description of a judge.

    Attributes:
        name: unique; methods name it in ``trained_with`` when it trained them.
        twins: networks made as this judge was, of like data by a like loss, by the names that methods give them in
            ``trained_with``: what pleases a twin pleases the judge, so a method that one trained is self-judged too.
        factory: ``"module:attr"`` of a callable ``(device: torch.device) -> Judge``.
        version: changes whenever a feature could change (weights, crop, normalisation).
        lineage: kinds of data that trained it, e.g. ``"virtual-faces"``; the protocol's domain among them = in-domain.
        weights: names in the weights catalogue.
        aligned_by: whose face aligns a swapped frame: its own, or that found in the target frame, which is many public
            scripts' habit; then a swap of another size is resized to the target's first, as they do. A swap that is its
            source's frame, pixel for pixel, is aligned by its own face all the same: nothing in it lies where it lies
            in the target. Sources and targets are aligned by their own.
        needs_face: False for a judge that takes the frame as it is; then a frame without a face is no failure.
        cached: False for features larger than their image, such as LPIPS's; they are made anew when they are needed.
        card: path of its card inside the repository or package, or an address.
    """

    name: str
    factory: str
    version: str
    lineage: tuple[str, ...] = ()
    weights: tuple[str, ...] = ()
    card: str = ""
    aligned_by: Literal["own", "target"] = "own"
    needs_face: bool = True
    cached: bool = True
    twins: tuple[str, ...] = ()

    def taught(self, trained_with: Sequence[str]) -> bool:
        """Whether this judge, or a twin of it, is among the networks that trained a method."""
        return not {self.name, *self.twins}.isdisjoint(trained_with)


JudgeFactory: TypeAlias = "Callable[[torch.device], Judge]"
Distance: TypeAlias = "Callable[[Features, Features], NDArray[np.float64]]"
"""(features of N swaps, features of their N partners) -> N distances."""
GalleryDistance: TypeAlias = "Callable[[Features, Features, Sequence[str], Sequence[str]], NDArray[np.float64]]"
"""(features of N swaps, features of M gallery frames, their M identities, the N identities wanted) -> N values."""
SetDistance: TypeAlias = "Callable[[Features, Features], float]"
"""(features of N swaps, features of M frames they are compared with) -> one number for the whole run."""
PixelDistance: TypeAlias = "Callable[[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint8]], float]"
"""(swapped frame, partner frame, region mask; all of one size) -> distance. For measures without a judge."""


@dataclass(frozen=True, slots=True)
class MeasureSpec:
    """A light description of a measure.

    Attributes:
        name: ``family@variant``.
        distance: ``"module:attr"`` of a `Distance`, or of a `PixelDistance` when ``judge`` is None; of a
            `GalleryDistance` or `SetDistance` where ``over`` says so.
        compares: whom the swap is compared with.
        unit: of the distance.
        version: changes whenever the number could (the judge's version is recorded beside it).
        judge: the network; None = compares pixels within and outside the pair's region mask.
        over: what one value is of: a pair; a pair among all frames of the protocol's gallery (identity retrieval); or
            the set of all swaps (FID), which has no rows and no dyadic interval.
        part: of a mixed identity, the part whose region mask a measure without a judge takes; empty = the pair's own.
        default: the bare family name means this variant.
        lower_is_better: direction.
        digits: decimals to print.
        summary: one line.
        audit: verdict of the audit of judges: ``passes``, ``weak``, ``fails`` (then tables mark it) or ``undecided``
            (of too few people); empty = not audited.
        card: where it is told how well it measures: a path inside the repository, or an address.
    """

    name: str
    distance: str
    compares: Role
    unit: str
    version: str
    judge: JudgeSpec | None = None
    default: bool = False
    lower_is_better: bool = True
    digits: int = 3
    summary: str = ""
    part: str = ""
    over: Literal["pair", "gallery", "set"] = "pair"
    audit: str = ""
    card: str = ""

    @property
    def family(self) -> str:
        return self.name.partition("@")[0]

    @property
    def variant(self) -> str:
        return self.name.partition("@")[2]

    @property
    def full_version(self) -> str:
        """The version, and behind a slash the judge's: as records hold it."""
        return f"{self.version}/{self.judge.version}" if self.judge else self.version
