"""The weights catalogue: where a file is, what its hash must be, how it is read safely.

A file ships inside an installed package, or lies in the cache where ``mfim-bench weights add`` put it. Nothing is
downloaded.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import math
import os
import re
import shutil
import tempfile
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mfim_bench.errors import UsageError

if TYPE_CHECKING:
    import torch

CACHE_VARIABLE = "MFIM_BENCH_CACHE"
"""Folder to use instead of the user's cache folder."""


@dataclass(frozen=True, slots=True)
class WeightsSpec:
    """One entry of the catalogue.

    Attributes:
        name: unique, lower case, words joined by ``-``.
        sha256: of the file, hex, or its first digits where only those are known (torchvision's file names); empty =
            unknown. Then the hash of the user's file is recorded when it is added.
        package: a file that ships inside an installed package, as ``"package:relative/path"``; resolved without
            importing the package. Empty = the user must add the file (``mfim-bench weights add``).
        filename: name of the file in the cache when it does not ship with a package.
        url: page of the owner, where the user can get it; never fetched.
        loader: ``"module:attr"`` of a callable ``(path: Path) -> torch.nn.Module`` that reads the file strictly, with a
            UsageError that lists what is missing, unexpected or of another shape. ``weights add`` calls it before it
            takes a file. Empty = any file is taken.
        layout: what the file holds, in words.
        input: shape of one input of the network, without the batch, for `golden`; empty = it takes more than one
            tensor, or is not checked so.
        golden: what `golden` gives for the owner's file, where it is known; compared when a file is added.
        licence: SPDX id or a phrase.
        summary: one line.
    """

    name: str
    sha256: str = ""
    package: str = ""
    filename: str = ""
    url: str = ""
    loader: str = ""
    layout: str = ""
    input: tuple[int, ...] = ()
    golden: tuple[float, ...] = ()
    licence: str = "unknown"
    summary: str = ""


def cache() -> Path:
    """The folder of this tool in the user's cache; `CACHE_VARIABLE` overrides it. It may not exist yet."""
    if chosen := os.environ.get(CACHE_VARIABLE):
        return Path(chosen).expanduser()
    import platformdirs

    return platformdirs.user_cache_path("mfim-bench")


def locate(spec: WeightsSpec) -> Path:
    """Where the file is, or would be; neither its existence nor its hash is checked.

    Raises:
        UsageError: the package that ships it is not installed.
    """
    if not spec.package:
        name = spec.filename or spec.name
        if Path(name).name != name:
            raise UsageError(f"weights {spec.name}: {name!r} is not a plain file name")
        return cache() / "weights" / name
    package, _, inside = spec.package.partition(":")
    # find_spec of a top-level package runs none of its code; some packages that only carry files fail to import.
    found = importlib.util.find_spec(package.partition(".")[0])
    if found is None or not found.submodule_search_locations:
        raise UsageError(f"weights {spec.name} ship with the package {package}, which is not installed")
    return Path(found.submodule_search_locations[0]).joinpath(*package.split(".")[1:], inside)


def sha256(path: Path) -> str:
    """sha256 of a file, hex; read once a process while its size and time of change stay.

    Raises:
        UsageError: it cannot be read.
    """
    try:
        stat = path.stat()
        return _sha256(path, stat.st_size, stat.st_mtime_ns)
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from error


@functools.lru_cache(maxsize=1024)
def _sha256(path: Path, size: int, changed: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def record_of(path: Path) -> Path:
    """Beside a file that was added: its sha256 then, in the form of ``sha256sum``."""
    return path.with_name(f"{path.name}.sha256")


def recorded(path: Path) -> str:
    """The sha256 that a file had when it was added; empty when nothing is recorded."""
    try:
        return record_of(path).read_text(encoding="utf-8").partition(" ")[0].strip()
    except OSError:
        return ""


def how_to_add(spec: WeightsSpec) -> str:
    """One line for a user who lacks the file: what to get, from whom, where to put it."""
    origin = f"get {spec.filename or 'it'} from {spec.url}, then: " if spec.url else ""
    return f"{origin}mfim-bench weights add {spec.name} FILE"


def problem(spec: WeightsSpec) -> str:
    """What is wrong with the file, in one line; empty when it is there and its hash is right."""
    try:
        path = locate(spec)
        if not path.is_file():
            if spec.package:
                return f"weights {spec.name}: {path} is missing; install its package again"
            return f"weights {spec.name} are not here; {how_to_add(spec)}"
        actual = sha256(path)
    except UsageError as error:
        return str(error)
    if not actual.startswith(spec.sha256):
        return f"weights {spec.name}: {path} has sha256 {actual[:16]}…, wanted {spec.sha256[:16]}…"
    if not spec.package and (then := recorded(path)) and actual != then:
        return f"weights {spec.name}: {path} has changed since it was added (sha256 {actual[:16]}…, was {then[:16]}…)"
    return ""


def path(name: str) -> Path:
    """The file of a catalogue entry, its sha256 checked once a process.

    Raises:
        UsageError: unknown name, file missing (the message says how to add it), or the wrong hash.
    """
    from mfim_bench.plugins import registry

    return _checked(registry().weights.named(name), os.environ.get(CACHE_VARIABLE))


@functools.cache
def _checked(spec: WeightsSpec, cache_folder: str | None) -> Path:
    if trouble := problem(spec):
        raise UsageError(trouble)
    return locate(spec)


@dataclass(frozen=True, slots=True)
class Added:
    """A file that was added.

    Attributes:
        path: where it lies now.
        sha256: of it.
        golden: what `golden` gives for it; empty when the entry names no loader or no input.
    """

    path: Path
    sha256: str
    golden: tuple[float, ...]


def add(name: str, file: Path) -> Added:
    """Copy a user's file into the cache as a catalogue entry, once hash, layout and golden output are checked.

    Its sha256 is recorded beside it, so that a later change is noticed.

    Raises:
        UsageError: unknown name, an entry that ships with a package, an unreadable file, the wrong hash, another
            layout, or another network than the owner's.
    """
    from mfim_bench.plugins import registry

    spec = registry().weights.named(name)
    if spec.package:
        raise UsageError(f"weights {name} ship with the package {spec.package.partition(':')[0]}; nothing to add")
    actual = sha256(file)
    if not actual.startswith(spec.sha256):
        raise UsageError(f"{file} has sha256 {actual}, but weights {name} must have {spec.sha256}")
    said = _said(spec, file)
    goal = locate(spec)
    goal.parent.mkdir(parents=True, exist_ok=True)
    _write(goal, lambda part: shutil.copyfile(file, part))
    _write(record_of(goal), lambda part: part.write_text(f"{actual}  {goal.name}\n", encoding="utf-8"))
    _checked.cache_clear()
    return Added(goal, actual, said)


def _said(spec: WeightsSpec, file: Path) -> tuple[float, ...]:
    """Read a file strictly and run the network once."""
    from mfim_bench.plugins import one_line, resolve

    if not spec.loader:
        return ()
    try:
        network = resolve(spec.loader)(file)
        said = golden(network, spec.input) if spec.input else ()
    except UsageError:
        raise
    except Exception as error:
        raise UsageError(f"{file} cannot be read as weights {spec.name}: {one_line(error)}") from error
    if spec.golden and said and not agrees(said, spec.golden):
        raise UsageError(
            f"{file} has the layout of weights {spec.name}, but is another network (golden output differs)"
        )
    return said


def _write(goal: Path, fill: Callable[[Path], object]) -> None:
    """Write a file atomically."""
    handle, name = tempfile.mkstemp(dir=goal.parent, prefix=f".{goal.name}.")
    os.close(handle)
    part = Path(name)
    try:
        fill(part)
        part.replace(goal)
    finally:
        part.unlink(missing_ok=True)


GOLDEN, GOLDEN_TOLERANCE = 8, 1e-3
"""How many numbers `golden` gives; how far they may lie from known ones (float32 on two machines: some 1e-5)."""


def golden(network: torch.nn.Module, shape: Sequence[int]) -> tuple[float, ...]:
    """What a network says of a fixed input, in few numbers.

    The input is one row whose k-th number is sin(0.7 k), on the CPU, in float32. All numbers of the output, y, enter
    each result: first the logarithm of their root mean square, then their sums with weights sin(0.3 j k + j),
    j = 1, 2, …, divided by the length of y.

    Args:
        network: takes one tensor (1, *shape); gives a tensor, or a sequence of them.
        shape: of one input.

    Raises:
        UsageError: the output is not finite, or nothing but zeros.
    """
    import torch

    x = torch.sin(0.7 * torch.arange(math.prod(shape), dtype=torch.float64)).float().reshape(1, *shape)
    with torch.inference_mode():
        output = network(x)
    tensors = [output] if isinstance(output, torch.Tensor) else list(output)
    y = torch.cat([tensor.double().flatten() for tensor in tensors])
    length = y.norm()
    if not length.isfinite() or not length:
        raise UsageError("the network's output for a plain input is not finite, or zero")
    k = torch.arange(len(y), dtype=torch.float64)
    sums = [(y * torch.sin(0.3 * j * k + j)).sum() / length for j in range(1, GOLDEN)]
    return ((length / len(y) ** 0.5).log().item(), *(value.item() for value in sums))


def agrees(one: Sequence[float], other: Sequence[float]) -> bool:
    """Whether two golden outputs are of one network."""
    return len(one) == len(other) and all(abs(a - b) <= GOLDEN_TOLERANCE for a, b in zip(one, other, strict=True))


def golden_hash(numbers: Sequence[float]) -> str:
    """Eight hex digits over the numbers, rounded to 0.01: to compare by eye. The numbers themselves decide."""
    return hashlib.sha256(" ".join(f"{round(100 * n)}" for n in numbers).encode()).hexdigest()[:8]


def load(path: Path) -> dict[str, torch.Tensor]:
    """Read tensors, and nothing that could run code.

    Args:
        path: ``*.safetensors``, or a file of ``torch.save``, which is read with ``weights_only=True``.

    Returns:
        Tensors on the CPU by key. Nested mappings, such as ``{"g_ema": {...}}``, are joined by dots; values that are
        no tensors (options, counters) are left out.

    Raises:
        UsageError: missing, broken, or not readable without running code.
    """
    import torch

    if not path.is_file():
        raise UsageError(f"there is no weights file {path}")
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        import argparse

        # A training script's options: plain data, and the one class that public StyleGAN2 checkpoints need.
        with torch.serialization.safe_globals([argparse.Namespace]), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of torch, about old formats
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise UsageError(f"{path} cannot be read safely as weights: {_reason(str(error))}") from error
    tensors = dict(_flat(content, ""))
    if not tensors:
        raise UsageError(f"{path} holds no tensors")
    return tensors


def _reason(text: str) -> str:
    """Of torch's text only what is wrong: the rest advises to read the file unsafely."""
    if named := re.search(r"GLOBAL ([\w.]+)", text):
        return f"it names {named[1]}, which is no tensor and no plain value; nothing was run"
    first = next(iter(text.strip().splitlines()), "").split(". ")[0]
    if " " not in first or first.startswith("Weights only load failed"):
        return "it is no file of torch.save, or a broken one"
    return first


def _flat(value: Any, prefix: str) -> list[tuple[str, torch.Tensor]]:
    import torch

    if isinstance(value, torch.Tensor):
        return [(prefix, value)]
    if isinstance(value, Mapping):
        join = f"{prefix}." if prefix else ""
        return [pair for key, inner in value.items() for pair in _flat(inner, f"{join}{key}")]
    return []
