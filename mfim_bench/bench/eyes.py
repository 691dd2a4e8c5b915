"""Look at an image once: its content hash, the face in it, each judge's features; cached, on several threads.

Detector and judges see one image at a time, on one core, whatever the batch size or the number of workers, so that no
number depends on them. Each thread has networks of its own; plugins need not be thread-safe.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar, cast

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from mfim_bench.bench import fingerprint
from mfim_bench.bench.cache import Arrays, FeatureCache
from mfim_bench.bench.frames import FrameStore
from mfim_bench.bench.progress import Progress
from mfim_bench.errors import RowError
from mfim_bench.faces.detect import Detector, Face
from mfim_bench.measure import Judge, JudgeSpec
from mfim_bench.media.images import content_hash, read_image
from mfim_bench.plugins import load_judge, one_line
from mfim_bench.protocol import Frame

if TYPE_CHECKING:
    from mfim_bench.measure import Features

Image = NDArray[np.uint8]
T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Seen:
    """One image: its content hash, the face in it, and its width and height in pixels."""

    hash: str
    face: Face | None
    size: tuple[int, int]


class Eyes:
    """Detector and judges behind the cache.

    Args:
        judges: those that will be asked for features.
        device: where networks run.
        device_name: how the fingerprint names it.
        cache: of faces and features.
        workers: threads of `map`.
        frames: of videos; None where there are none.
    """

    def __init__(
        self,
        judges: Sequence[JudgeSpec],
        device: torch.device,
        device_name: str,
        cache: FeatureCache,
        workers: int,
        frames: FrameStore | None = None,
    ) -> None:
        self.workers = workers
        self.frames = frames
        self._judges = {judge.name: judge for judge in judges}
        self._device = device
        self._cache = cache
        self._detector_key = fingerprint.detector_key(device_name)
        self._judge_keys = {j.name: fingerprint.digest(fingerprint.judge_inputs(j, device_name)) for j in judges}
        self._thread = threading.local()
        self._pool = ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,))
        self._hashes: dict[tuple[Path, int, int], str] = {}
        self._sources: dict[Path, Sequence[Frame]] = {}
        self._busy: dict[tuple[str, str], threading.Lock] = {}

    def close(self) -> None:
        self._pool.shutdown()

    def map(self, function: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
        """``function`` of each item, on the threads, in order."""
        return self._pool.map(function, items)

    def file(self, image: Frame | Path) -> Path:
        """The image file of a frame.

        Raises:
            RowError: it is a video's that could not be decoded.
        """
        if isinstance(image, Path):
            return image
        if image.index is None:
            return image.path
        if self.frames is None:
            raise RowError(f"{image.path.name} is a video, where images were expected")
        return self.frames.file(image)

    def fetch(self, frames: Iterable[Frame]) -> None:
        """Decode what is missing of the videos' frames, several videos at a time; reasons are told by `file`."""
        todo = self.frames.missing(frames) if self.frames else {}
        if self.frames and todo:
            fetch = self.frames.fetch
            with Progress("videos: decode", len(todo)) as progress:
                for _ in self.map(lambda item: fetch(*item), todo.items()):
                    progress.advance(1)

    def hash_of(self, path: Path) -> tuple[str, Image | None]:
        """Content hash of an image file; the image too when it had to be read."""
        try:
            stat = path.stat()
        except OSError as error:
            raise RowError(f"{path.name}: {(error.strerror or 'unreadable').lower()}") from error
        key = (path, stat.st_mtime_ns, stat.st_size)
        if key in self._hashes:
            return self._hashes[key], None
        image = read_image(path)
        self._hashes[key] = content_hash(image)
        return self._hashes[key], image

    def forget(self, path: Path) -> None:
        """Drop what is remembered of a file that is gone, so that a long row of files needs no more memory."""
        for key in [key for key in self._hashes if key[0] == path]:
            del self._hashes[key]

    def look(self, path: Path, image: Image | None = None) -> Seen:
        """The face in an image file; ``image`` spares reading it again.

        Raises:
            RowError: the file cannot be read.
        """
        hashed, read = self.hash_of(path)

        def detect() -> Arrays:
            shown = next((known for known in (image, read) if known is not None), None)
            shown = read_image(path) if shown is None else shown
            return _pack(self._detector().detect([shown])[0], shown)

        return _unpack(hashed, self._once(self._detector_key, hashed, detect))

    def _once(self, key: str, hashed: str, make: Callable[[], Arrays]) -> Arrays:
        """From the cache, else made and kept: by one thread, while others that want the same wait."""
        arrays = self._cache.get(key, hashed)
        if arrays is not None:
            return arrays
        try:
            with self._busy.setdefault((key, hashed), threading.Lock()):
                arrays = self._cache.get(key, hashed)
                if arrays is None:
                    arrays = make()
                    self._cache.put(key, hashed, arrays)
                return arrays
        finally:
            self._busy.pop((key, hashed), None)

    def swapped(self, sources: Mapping[Path, Sequence[Frame]]) -> None:
        """Tell of which frames each swapped image was made; `aligned_by` asks for it."""
        self._sources.update(sources)

    def aligned_by(self, swap: Path, target: Path) -> Seen | None:
        """The target, by whose face a judge may cut a swapped frame; None for a frame that is its source's own.

        Such a frame (source-copy's) has nothing in common with the target's, so that its points lie anywhere in it.

        Raises:
            RowError: swap or target cannot be read.
        """
        hashed = self.hash_of(swap)[0]
        copied = any(self._shows(source, hashed) for source in self._sources.get(swap, ()))
        return None if copied else self.look(target)

    def _shows(self, frame: Frame, hashed: str) -> bool:
        try:
            return self.hash_of(self.file(frame))[0] == hashed
        except RowError:
            return False

    def features(self, path: Path, judges: Sequence[str], role: str, target: Path | None = None) -> dict[str, Features]:
        """Features by each named judge, every array (1, …).

        Args:
            path: of the image.
            judges: their names.
            role: of the image, for reasons.
            target: of a swapped frame: the target frame, for judges that are ``aligned_by`` it. They see the swap at
                the target's size (OpenCV's bilinear) and are given the target's face.

        Raises:
            RowError: the file cannot be read, no face is in it, or a judge failed or gave values that are not finite.
        """
        try:
            hashed, image = self.hash_of(path)
            known: dict[str, Features] = {}
            for name in judges:
                by = self.aligned_by(path, target) if target and self._judges[name].aligned_by == "target" else None
                key = f"{self._judge_keys[name]}@{by.hash}" if by else self._judge_keys[name]

                def describe(name: str = name, by: Seen | None = by) -> Arrays:
                    nonlocal image
                    image = read_image(path) if image is None else image
                    return self.judge(name, *self._shown(name, path, image, by))

                kept = self._judges[name].cached
                known[name] = cast("Features", self._once(key, hashed, describe) if kept else describe())
            return known
        except RowError as error:
            raise RowError(f"{role}: {error}") from error

    def start_anew(self) -> None:
        """Forget all images, the cache's too."""
        self._cache.clear()
        self._hashes.clear()

    def preloaded(self, wanted: Mapping[Path, Iterable[str]]) -> Callable[[], object]:
        """For timing: read images now, and look at them by the judges named when called, past the cache."""
        images = {path: read_image(path) for path in wanted}

        def describe(path: Path) -> None:
            face = self._detector().detect([images[path]])[0]
            for name in wanted[path]:
                self.judge(name, images[path], face)

        return lambda: list(self.map(describe, wanted))

    def _shown(self, judge: str, path: Path, image: Image, by: Seen | None) -> tuple[Image, Face | None]:
        """What a judge is given: the image, at the size of the one that aligns it, and the face, if it needs one."""
        if by is not None and by.size != image.shape[1::-1]:
            image = np.asarray(cv2.resize(image, by.size, interpolation=cv2.INTER_LINEAR), np.uint8)
        if not self._judges[judge].needs_face:
            return image, None
        face = (by or self.look(path, image)).face
        if face is None:
            raise RowError("no face found in its target" if by else "no face found")
        return image, face

    def judge(self, name: str, image: Image, face: Face | None) -> Arrays:
        """Features of one image by one judge, given the face in it; past the cache.

        Raises:
            RowError: the judge failed or gave values that are not finite.
        """
        judge = self._loaded(name)
        try:
            with torch.inference_mode():
                features = judge.features([image], [cast(Face, face)])
        except RowError:
            raise
        except Exception as error:
            raise RowError(f"judge {name} raised {one_line(error)}") from error
        for key, array in features.items():
            if len(array) != 1 or not np.isfinite(array).all():
                raise RowError(f"judge {name} gave {key} that is not one finite row")
        return features

    def _detector(self) -> Detector:
        if not hasattr(self._thread, "detector"):
            self._thread.detector = Detector(self._device)
        return cast(Detector, self._thread.detector)

    def _loaded(self, name: str) -> Judge:
        judges: dict[str, Judge] = self._thread.__dict__.setdefault("judges", {})
        if name not in judges:
            judges[name] = load_judge(self._judges[name], self._device)
        return judges[name]


@contextmanager
def one_core() -> Iterator[None]:
    """Torch on one core a thread; see the module's text."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _pack(face: Face | None, image: Image) -> Mapping[str, NDArray[np.generic]]:
    size = {"size": np.asarray(image.shape[1::-1], np.int64)}
    if face is None:
        return size
    return size | {
        "box": np.asarray(face.box, np.float32),
        "points": np.asarray(face.points, np.float32),
        "probability": np.asarray([face.probability], np.float64),
        "others": np.asarray([face.others], np.int64),
    }


def _unpack(hashed: str, arrays: Arrays) -> Seen:
    width, height = (int(side) for side in arrays["size"])
    if "box" not in arrays:
        return Seen(hashed, None, (width, height))
    face = Face(
        box=arrays["box"].astype(np.float32),
        points=arrays["points"].astype(np.float32),
        probability=float(arrays["probability"][0]),
        others=int(arrays["others"][0]),
    )
    return Seen(hashed, face, (width, height))
