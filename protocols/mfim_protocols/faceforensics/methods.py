"""The manipulated videos of FaceForensics++ as methods: a paper's baselines that are data.

``deepfakes`` and ``faceswap`` give a video another person's face, and so does ``faceshifter``. ``face2face`` and
``neuraltextures`` are reenactments: the target keeps its identity and gets the source's expression.
The result of a row is the frame of the manipulated video that has the target frame's number; which frame of the source
the row names plays no part, since these methods saw the whole video. Videos that are shorter than their target fail
the rows beyond their end.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mfim_bench.errors import UsageError
from mfim_bench.protocol import Frame, Pair
from mfim_protocols.faceforensics.layout import ORIGINAL, manipulated

if TYPE_CHECKING:
    import torch


class Manipulation:
    """Looks up frames of manipulated videos, see `mfim_bench.method.ResultsMethod`.

    Args:
        name: of the folder in ``manipulated_sequences``.
    """

    def __init__(self, name: str) -> None:
        self.name = name

    def result(self, pair: Pair) -> Frame:
        """The manipulated video's frame of the target frame's number.

        Raises:
            UsageError: the pair is none of FaceForensics++'s.
        """
        video = _video(pair, self.name)
        return Frame(f"{self.name}-{pair.id}", video, pair.source.identity, pair.target.index)


def _video(pair: Pair, name: str) -> Path:
    target, source = pair.target.path, pair.source.path
    videos = target.parent
    if (
        pair.target.index is None
        or source.parent != videos
        or videos.parts[-4:] != (*ORIGINAL.split("/"), videos.parent.name, "videos")
    ):
        raise UsageError(
            f"{name.lower()} is a part of FaceForensics++ and knows its pairs alone; run it with "
            "--protocol faceforensics++ --data DIR"
        )
    return manipulated(videos.parents[3], videos.parent.name, name, target.stem, source.stem)


def content(pairs: Sequence[Pair], argument: str) -> str:
    """sha256 over the manipulated videos of these pairs; those that are missing count as such.

    Raises:
        UsageError: the pairs are none of FaceForensics++'s.
    """
    from mfim_bench.media.hashes import hash_if_there

    videos = sorted({_video(pair, argument) for pair in pairs})
    lines = "".join(f"{video.name} {hash_if_there(video)}\n" for video in videos)
    return hashlib.sha256(lines.encode()).hexdigest()


def load(device: torch.device, argument: str) -> Manipulation:
    """Factory.

    Args:
        device: ignored.
        argument: name of the folder in ``manipulated_sequences``.
    """
    return Manipulation(argument)
