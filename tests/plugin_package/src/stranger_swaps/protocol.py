"""Each image of a folder, as the source, on the next one."""

import hashlib

from mfim_bench.errors import UsageError
from mfim_bench.protocol import Frame, Pair


class Neighbours:
    def __init__(self, data, split) -> None:
        self.images = sorted(data.glob("*.png"))
        if len(self.images) < 2:
            raise UsageError(f"stranger-pairs needs at least two PNG files in {data}")

    def pairs(self):
        frames = [Frame(path.stem, path, path.stem) for path in self.images]
        return [Pair(f"{a.id}-{b.id}", a, b) for a, b in zip(frames, frames[1:] + frames[:1], strict=True)]

    def content_hash(self):
        digest = hashlib.sha256()
        for path in self.images:
            digest.update(path.name.encode() + hashlib.sha256(path.read_bytes()).digest())
        return digest.hexdigest()

    def problems(self):
        return [f"{path.name} is empty" for path in self.images if not path.stat().st_size]
