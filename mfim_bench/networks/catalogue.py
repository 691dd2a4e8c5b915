"""Entries of the weights catalogue: the open judges, and networks that others publish. Light: no torch is imported."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from mfim_bench.errors import UsageError
from mfim_bench.weights import WeightsSpec

WEIGHTS: tuple[WeightsSpec, ...] = (
    WeightsSpec(
        name="face3d",
        sha256="de5af11f0951f5be6a46d81ca6e5fd462dd212f7b1706d4b8d67c971694bf4af",
        package="mfim_bench:networks/weights/face3d.safetensors",
        licence="Apache-2.0",
        summary="open 3DMM judge: dense landmarks and head model, trained on virtual faces",
    ),
    WeightsSpec(
        name="hopenet",
        sha256="0a71fa7d4ef6f90ab047112970be529de57a5b8cda50183457531f9d04b30b4a",
        package="mfim_bench:networks/weights/hopenet.safetensors",
        licence="Apache-2.0",
        summary="open HopeNet: head pose in degrees, trained on virtual faces",
    ),
    WeightsSpec(
        name="recogniser",
        sha256="8d54f393175e6e7f7c994c4881e02b4d8d178c62f0acb308aadfde7c5e9e902e",
        package="mfim_bench:networks/weights/recogniser.safetensors",
        licence="Apache-2.0",
        summary="open recogniser: identity, trained on virtual faces",
    ),
)
"""``sha256`` is set when a file is shipped; `mfim_bench.weights.path` checks it."""


PUBLISHED = Path(__file__).parent / "published" / "catalogue.toml"


def published(file: Path = PUBLISHED) -> tuple[WeightsSpec, ...]:
    """The entries of a catalogue in TOML: a table a file, whose keys are the fields of `WeightsSpec`.

    Raises:
        UsageError: it is no TOML, or a table has a key that is no field.
    """
    try:
        tables: dict[str, dict[str, Any]] = tomllib.loads(file.read_text(encoding="utf-8"))
        return tuple(
            WeightsSpec(name, **{key: _plain(v) for key, v in table.items()}) for name, table in tables.items()
        )
    except (tomllib.TOMLDecodeError, TypeError) as error:
        raise UsageError(f"{file.name}: {error}") from error


def _plain(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
