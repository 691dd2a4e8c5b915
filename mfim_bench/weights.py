"""The weights catalogue: where a file is, what its hash must be, how it is read safely.

A file ships inside an installed package, or lies in the cache where ``mfim-bench weights add`` put it. Nothing is
downloaded.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import os
import re
import shutil
import tempfile
import warnings
from collections.abc import Mapping
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
        sha256: of the file, hex; empty = unknown (the user's own file; its hash is recorded in the run).
        package: a file that ships inside an installed package, as ``"package:relative/path"``; resolved without
            importing the package. Empty = the user must add the file (``mfim-bench weights add``).
        filename: name of the file in the cache when it does not ship with a package.
        url: where the user can get it; never fetched without being asked for.
        loader: ``"module:attr"`` of a callable ``(path: Path) -> torch.nn.Module`` that reads the file strictly, with a
            UsageError that lists what is missing, unexpected or of another shape. ``weights add`` calls it before it
            takes a file. Empty = any file is taken.
        licence: SPDX id or a phrase.
        summary: one line.
    """

    name: str
    sha256: str = ""
    package: str = ""
    filename: str = ""
    url: str = ""
    loader: str = ""
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
    """sha256 of a file, hex.

    Raises:
        UsageError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from error


def how_to_add(spec: WeightsSpec) -> str:
    """One line for a user who lacks the file."""
    origin = f" (get it from {spec.url})" if spec.url else ""
    return f"mfim-bench weights add {spec.name} FILE{origin}"


def problem(spec: WeightsSpec) -> str:
    """What is wrong with the file, in one line; empty when it is there and its hash is right."""
    try:
        path = locate(spec)
    except UsageError as error:
        return str(error)
    if not path.is_file():
        if spec.package:
            return f"weights {spec.name}: {path} is missing; install its package again"
        return f"weights {spec.name} are not here; add them with: {how_to_add(spec)}"
    if spec.sha256 and (actual := sha256(path)) != spec.sha256:
        return f"weights {spec.name}: {path} has sha256 {actual[:16]}…, wanted {spec.sha256[:16]}…"
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


def add(name: str, file: Path) -> Path:
    """Copy a user's file into the cache as a catalogue entry, once its sha256 is checked; written atomically.

    Returns:
        Where it lies now.

    Raises:
        UsageError: unknown name, an entry that ships with a package, an unreadable file, or the wrong hash.
    """
    from mfim_bench.plugins import registry

    spec = registry().weights.named(name)
    if spec.package:
        raise UsageError(f"weights {name} ship with the package {spec.package.partition(':')[0]}; nothing to add")
    actual = sha256(file)
    if spec.sha256 and actual != spec.sha256:
        raise UsageError(f"{file} has sha256 {actual}, but weights {name} must have {spec.sha256}")
    goal = locate(spec)
    goal.parent.mkdir(parents=True, exist_ok=True)
    handle, part = tempfile.mkstemp(dir=goal.parent, prefix=f".{goal.name}.")
    os.close(handle)
    try:
        shutil.copyfile(file, part)
        os.replace(part, goal)  # noqa: PTH105
    finally:
        Path(part).unlink(missing_ok=True)
    _checked.cache_clear()
    return goal


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
