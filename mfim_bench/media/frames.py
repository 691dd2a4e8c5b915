"""Chosen frames of a video, exact to the number: 0 is the first frame shown.

Seeking lands on key frames and on time stamps that containers round, so the frames are counted while they are decoded,
and decoding ends with the last one wanted. Which ones to take is a protocol's business; the usual choices stand here.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from pathlib import Path

from mfim_bench.errors import RowError
from mfim_bench.media.images import MAX_PIXELS, RGB
from mfim_bench.media.video import read_pictures


def frames_at(path: Path | str, indices: Iterable[int], max_pixels: int = MAX_PIXELS) -> Iterator[tuple[int, RGB]]:
    """Decode a video once and yield the frames wanted, in order.

    Args:
        path: of the video.
        indices: numbers of frames, from 0; the same number twice counts once.
        max_pixels: see `mfim_bench.media.video.read_pictures`.

    Yields:
        Number and frame, uint8 (H, W, 3) RGB, rotated as displayed.

    Raises:
        RowError: as `read_pictures`, or the video ends before the last one wanted. Frames before that are yielded. Of a
            Matroska file cut within its last second, which goes unnoticed, the last few may be later ones.
    """
    wanted = sorted(set(indices))
    if not wanted:
        return
    if wanted[0] < 0:
        raise ValueError(f"frames are counted from 0, not {wanted[0]}")
    waiting = iter(wanted)
    following, count = next(waiting), 0
    for number, picture in enumerate(read_pictures(path, max_pixels)):
        count = number + 1
        if number == following:
            yield number, picture.rgb
            if number == wanted[-1]:
                return
            following = next(waiting)
    raise RowError(f"{Path(path).name} has {count} frames, no frame {following}")


def even_frames(count: int, n: int) -> list[int]:
    """``n`` frames spread evenly over ``count``: the middles of ``n`` equal parts; all where there are fewer."""
    return list(range(count)) if count <= n else [(2 * k + 1) * count // (2 * n) for k in range(n)]


def stepped_frames(count: int, n: int) -> list[int]:
    """Every ``ceil(count / n)``-th frame from the first on: always ``n``, counted on from 0 beyond the end.

    Where ``n`` steps pass the end, frames come twice, or lie between earlier ones.
    """
    step = -(-count // n)
    return [k * step % count for k in range(n)] if count else []


def random_frames(count: int, n: int, seed: str) -> list[int]:
    """``n`` different frames by chance, the same for the same seed on every machine; all where there are fewer."""
    return sorted(random.Random(seed).sample(range(count), min(n, count)))
