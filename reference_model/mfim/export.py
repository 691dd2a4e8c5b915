"""Weights as safetensors: float16 on disk (a batch norm's statistics float32), float32 in use, with metadata."""

from __future__ import annotations

import json
import os
from pathlib import Path

import torch
from safetensors.torch import save_file

from mfim.config import Config, ModelConfig
from mfim.exported import FORMAT, teachers
from mfim.exported import metadata as metadata
from mfim.model import MFIM
from mfim.training.run import read
from mfim_bench.errors import UsageError
from mfim_bench.networks.files import half_precision


def export_checkpoint(checkpoint: Path, config: Config, path: Path) -> str:
    """Write the averaged weights of a stage-two checkpoint.

    Returns:
        One line: file, size, sha256.

    Raises:
        UsageError: no such checkpoint, or one of stage one.
    """
    from mfim_bench.weights import sha256

    state = read(checkpoint)
    if "mfim_ema" not in state:
        raise UsageError(f"{checkpoint} is no checkpoint of stage two")
    model = MFIM(ModelConfig.model_validate_json(state["model"]))
    model.load_state_dict(state["mfim_ema"])
    trained = json.loads(state.get("config", config.model_dump_json()))
    about = {
        "config": json.dumps(trained),
        "steps": str(state["step"]),
        "trained_on": "virtual faces" if trained["name"].startswith(("virtual-", "ablation-")) else trained["name"],
        "trained_with": json.dumps(teachers(trained["swap"])),
        "licence": "Apache-2.0",
    }
    write(model, path, ModelConfig.model_validate_json(state["model"]), about)
    return f"{path}: {path.stat().st_size / 1e6:.2f} MB, sha256 {sha256(path)}"


def write(model: MFIM, path: Path, config: ModelConfig, about: dict[str, str]) -> None:
    """Write a model, atomically.

    Raises:
        UsageError: see `mfim_bench.networks.files.half_precision`.
    """
    tensors = half_precision(model)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}-{os.getpid()}")
    save_file(tensors, partial, metadata={"format": FORMAT, "model": config.model_dump_json(), **about})
    partial.replace(path)


def load(path: Path, device: torch.device) -> MFIM:
    """Read a model: float32, evaluation mode, without gradients.

    Raises:
        UsageError: unreadable, not ours, other tensors than its sizes ask for, or one that is not finite.
    """
    from safetensors.torch import load_file

    config = ModelConfig.model_validate(json.loads(metadata(path)["model"]))
    model = MFIM(config)
    model.encoder.to(memory_format=torch.channels_last)
    try:
        model.load_state_dict(load_file(path))
    except RuntimeError as error:
        raise UsageError(f"{path}: {str(error).splitlines()[-1].strip()}") from error
    broken = [name for name, value in model.state_dict().items() if not value.isfinite().all()]
    if broken:
        raise UsageError(f"{path}: {broken[0]} holds a value that is not finite")
    return model.float().eval().requires_grad_(False).to(device)
