"""What an exported weights file says about itself, and the method ``mfim:FILE`` that it makes. Imports no torch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from safetensors import SafetensorError, safe_open

from mfim.config import ModelConfig
from mfim.plugin import METHOD, PAPER, VERSION
from mfim_bench.adhoc import slug
from mfim_bench.errors import UsageError
from mfim_bench.method import MethodSpec
from mfim_bench.weights import sha256

FORMAT = "mfim-1"


def metadata(path: Path) -> dict[str, str]:
    """What a file of ours says about itself.

    Raises:
        UsageError: unreadable, or not ours.
    """
    try:
        with safe_open(path, framework="np") as file:
            found = dict(file.metadata() or {})
    except (SafetensorError, OSError) as error:
        raise UsageError(f"{path} is no readable safetensors file") from error
    if found.get("format") != FORMAT:
        raise UsageError(f"{path} holds no weights of mfim (format {FORMAT})")
    return found


def teachers(swap: Mapping[str, Any]) -> list[str]:
    """Names of the networks in the losses of a configuration's section ``swap``; a file counts by its stem.

    The perceptual stand-in reads both supervisors, so both are named whatever the terms' weights are.
    """
    kinds = [str(swap[key]).partition(":") for key in ("recogniser", "face3d", "perceptual")]
    names = [kind if colon else Path(kind).stem for kind, colon, _ in kinds]
    return [name for name in names if name != "supervisors"]


def method(argument: str) -> MethodSpec:
    """The method ``mfim:FILE``.

    Args:
        argument: path of a file written by ``mfim-bench train mfim --export``.

    Returns:
        Named ``mfim-<stem>``. The version holds the file's sha256; the variant is the name of the configuration.

    Raises:
        UsageError: there is no such file, or it is not ours.
    """
    path = Path(argument).expanduser().resolve()
    if not path.is_file():
        raise UsageError(f"mfim:{argument}: there is no such file")
    if path.suffix == ".pt":
        raise UsageError(f"mfim:{argument} is a checkpoint: write its weights with `mfim-bench train mfim --export`")
    about = metadata(path)
    try:
        size = ModelConfig.model_validate_json(about["model"]).size
        config = json.loads(about.get("config", "{}"))
        seen = json.loads(about["trained_with"]) if "trained_with" in about else None
    except (KeyError, ValueError, ValidationError) as error:
        raise UsageError(f"{path}: what it says about its model cannot be read") from error
    # Files written before they said so name their supervisors in the configuration; the first ones had none.
    if seen is None:
        seen = teachers(config["swap"]) if "swap" in config else METHOD.trained_with
    name = str(config.get("name", ""))
    told = [name, f"seed {config['seed']}" if "seed" in config else "", f"{about.get('steps', '?')} steps", path.name]
    return replace(
        METHOD,
        name=f"mfim-{slug(path.stem)}",
        argument=str(path),
        version=f"{VERSION}+{sha256(path)}",
        summary=", ".join(part for part in told if part),
        size=size,
        licence=about.get("licence", "unknown"),
        citation=f"{PAPER}; weights {path.name}.",
        weights=(),
        trained_with=tuple(seen),
        with_argument="",
        variant=name,
    )
