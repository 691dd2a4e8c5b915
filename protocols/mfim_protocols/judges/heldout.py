"""The faces that judges are measured on: rendered again from nothing, of people no training and no split ever shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mfim_protocols.judges import data
from mfim_protocols.virtual_faces import dataset, props, record, shards, wide
from mfim_protocols.virtual_faces.geometry import portrait
from mfim_protocols.virtual_faces.shards import Images

if TYPE_CHECKING:
    from mfim_bench.faces.detect import Face

FIRST, PEOPLE, EACH = 310_000, 200, 5
"""Identities of the held-out faces: inside the validation range, outside the validation split."""
FLOOR_FIRST, FLOOR_PEOPLE = 320_000, 120
"""Identities of the pairs that differ in circumstances only."""
SIZE, SAMPLES = dataset.SIZE, 2


@dataclass(frozen=True)
class Held:
    """Faces with their truth, and what the detector found in each (None: nothing)."""

    truth: data.Faces
    found: list[Face | None]

    def seen(self) -> tuple[data.Faces, list[Face]]:
        """Those in which a face was found."""
        truth = self.truth.take(np.array([face is not None for face in self.found]))
        return truth, [face for face in self.found if face is not None]


def home(folder: Path | None) -> Path:
    """Where the renders are kept: the given folder, or the cache."""
    if folder is not None:
        return folder
    import platformdirs

    return Path(platformdirs.user_cache_dir("mfim-bench")) / "judges"


def held_out(folder: Path | None, workers: int = 2, people: int = PEOPLE, each: int = EACH) -> Held:
    """``people`` × ``each`` wide portraits; rendered and searched for faces on the first call."""
    from mfim_protocols.virtual_faces.commands import in_parallel

    where = home(folder) / "wide"
    in_parallel(
        shards.render_shards,
        [(where, FIRST, people, each, SIZE, SAMPLES, 25, True, False, False, w, workers) for w in range(workers)],
    )
    truth = data.load([where])
    return Held(truth, detect(truth.images, where / "found.npz"))


def bare(truth: data.Faces) -> NDArray[np.bool_]:
    """(N,) of `held_out`'s faces: nothing is worn on and held before it (`props`)."""
    times: dict[int, int] = {}
    out = []
    for number in map(int, truth.number):
        times[number] = k = times.get(number, -1) + 1
        out.append(wide.draw(number, shards.scene_of(number, k)).props == props.NOTHING)
    return np.array(out)


def floor_pairs(folder: Path | None, people: int = FLOOR_PEOPLE) -> Held:
    """2 × ``people`` portraits of the protocol's kind: each person twice, with one expression, gaze and pose, under
    another light, background, hair, clothing and camera.
    """
    where = home(folder) / "floor"
    where.mkdir(parents=True, exist_ok=True)
    if not (where / "part-0000.npz").exists():
        drawn = [p for k in range(people) for p in twice(FLOOR_FIRST + k)]
        shards.render_part(where, 0, drawn, SIZE, SAMPLES)
    (where / "meta.json").write_text("{}\n")
    truth = data.load([where])
    return Held(truth, detect(truth.images, where / "found.npz"))


def twice(identity: int) -> list[shards.Drawn]:
    """One person, expression, gaze and pose in two circumstances."""
    first, second = (record.draw(identity, shards.scene_of(identity, k)) for k in range(2))
    kept = {name: getattr(first.scene, name) for name in ("expression", "gaze", "pose")}
    second = replace(second, scene=replace(second.scene, **kept))
    return [shards.Drawn(identity, portrait(r)) for r in (first, second)]


def detect(images: Images | Sequence[NDArray[np.uint8]], cache: Path) -> list[Face | None]:
    """The largest face of each image as in any run, kept in ``cache``."""
    from mfim_bench.faces.detect import VERSION, Detector, Face

    if cache.exists():
        with np.load(cache) as stored:
            if str(stored["version"]) == VERSION and len(stored["probability"]) == len(images):
                return [
                    Face(box, points, float(p), int(n)) if p > 0 else None
                    for box, points, p, n in zip(
                        stored["box"], stored["points"], stored["probability"], stored["others"], strict=True
                    )
                ]
    detector = Detector()
    found: list[Face | None] = []
    for k in range(0, len(images), 8):
        found += detector.detect([images[i] for i in range(k, min(k + 8, len(images)))])
    empty = Face(np.zeros(4, np.float32), np.zeros((5, 2), np.float32), 0.0, 0)
    rows = [f or empty for f in found]
    np.savez(
        cache,
        version=VERSION,
        box=np.stack([f.box for f in rows]),
        points=np.stack([f.points for f in rows]),
        probability=np.array([f.probability for f in rows]),
        others=np.array([f.others for f in rows]),
    )
    return found


def scaled(face: Face, factor: float) -> Face:
    """The same face in an image of ``factor`` times the size; pixel edges, not centres, map onto each other."""
    return replace(face, box=(face.box + 0.5) * factor - 0.5, points=(face.points + 0.5) * factor - 0.5)
