"""What an evaluation protocol is: which images, which pairs, which measures and references."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias, runtime_checkable
from typing import Protocol as TypingProtocol


@dataclass(frozen=True, slots=True)
class Frame:
    """One image of a data set.

    Attributes:
        id: unique within the protocol, safe as a file name.
        path: the image file, or the video where ``index`` is given.
        identity: who is shown; statistics treat pairs that share an identity, in either role, as dependent.
        index: number of the frame in the video, from 0 in the order in which frames are shown. None for an image.
    """

    id: str
    path: Path
    identity: str
    index: int | None = None


@dataclass(frozen=True, slots=True)
class Part:
    """Who gives one part of a mixed identity.

    Attributes:
        name: of the part, as the method's ``mix`` knows it: ``global``, ``local``, or a resolution such as ``32``.
        frame: the source.
        region: image file (as `Pair.region`) of where this part shows in the truth; None where unknown.
    """

    name: str
    frame: Frame
    region: Path | None = None


@dataclass(frozen=True, slots=True)
class Pair:
    """One swap to make and measure.

    Attributes:
        id: unique within the protocol, stable between releases, safe as a file name.
        source: gives the identity; of a mixed one, the first part's frame.
        target: gives all else.
        truth: image file of what a perfect swap would be, registered to the target frame; None where unknown.
        region: image file (8-bit grey, same size as the truth, 255 = face) of where the truth is the source's face;
            measures that compare with the truth split their error by it. None where unknown.
        parts: who gives which part of a mixed identity; empty where ``source`` gives all of it.
    """

    id: str
    source: Frame
    target: Frame
    truth: Path | None = None
    region: Path | None = None
    parts: tuple[Part, ...] = ()

    def part(self, name: str) -> Part | None:
        """The part of this name."""
        return next((part for part in self.parts if part.name == name), None)


@dataclass(frozen=True, slots=True)
class DataCheck:
    """What a copy of a data set holds.

    Attributes:
        present: what is there, one line a kind (``videos c23: 1000 of 1000``).
        problems: what is missing or broken, one line each; empty when complete.
        unrecognised: files and folders that are no part of the data set, relative to its folder.
    """

    present: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    unrecognised: tuple[str, ...] = ()


@runtime_checkable
class CheckedProtocol(TypingProtocol):
    """A protocol that knows its data set well enough to say more than what is missing."""

    def check(self, deep: bool) -> DataCheck:
        """Look at the copy of the data: names and sizes alone, or (``deep``) every file opened and decoded."""
        ...


class Protocol(TypingProtocol):
    """A protocol with its data at hand."""

    def pairs(self) -> Sequence[Pair]:
        """All pairs in a fixed shuffled order, so that the first N are a fair sample."""
        ...

    def content_hash(self) -> str:
        """sha256 hex over the pair list and everything that defines the images (their bytes, or a published hash)."""
        ...

    def problems(self) -> Sequence[str]:
        """What is missing or broken in this copy of the data, one line each; empty when complete."""
        ...


ProtocolFactory: TypeAlias = "Callable[..., Protocol]"
"""``(data: Path | None, split: str)``, or ``(data, split, argument: str)`` when the spec has an argument."""


@dataclass(frozen=True, slots=True)
class ProtocolSpec:
    """A light description of a protocol.

    Attributes:
        name: unique, lower case, words joined by ``-``, and ``@variant`` behind it where one data set is sampled in
            several ways.
        factory: ``"module:attr"`` of a callable ``(data: Path | None, split: str) -> Protocol``. Raises
            `mfim_bench.errors.UsageError` with one clear line when the data is missing.
        argument: what the factory gets beside data and split, for factories with variants; empty = those alone.
        default: the name without its variant means this one.
        version: changes whenever a pair, an image or an order changes.
        summary: one line.
        measures: names of the measures scored by default.
        references: names of the methods scored beside the method by default.
        parts: names of the parts that each pair's identity is mixed of; empty = one source gives all. Beside the method
            itself, the same method given one part's source alone is scored as ``NAME@PART``.
        domain: name of the kind of data; a judge whose lineage holds it is marked in-domain.
        splits: the first is the default.
        gallery: the frames among which identity retrieval looks for a swap's nearest: those of the pairs' sources,
            targets, or both; each once. A hit is a frame of the source's identity.
        data_required: ``--data`` must be given.
        licence: of the data.
        citation: a reference a paper can print.
    """

    name: str
    factory: str
    version: str
    summary: str = ""
    measures: tuple[str, ...] = ("identity", "shape", "expression", "pose", "pose-hn")
    references: tuple[str, ...] = ("target-copy", "source-copy")
    parts: tuple[str, ...] = ()
    domain: str = ""
    splits: tuple[str, ...] = ("test",)
    gallery: Literal["sources", "targets", "both"] = "both"
    data_required: bool = True
    licence: str = "unknown"
    citation: str = ""
    argument: str = ""
    default: bool = False

    @property
    def family(self) -> str:
        return self.name.partition("@")[0]
