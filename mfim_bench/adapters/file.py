"""A method in a single Python file: a function of ``(source, target)``, or a factory of ``(device)``."""

from __future__ import annotations

import importlib.util
import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mfim_bench.errors import UsageError
from mfim_bench.plugins import one_line

if TYPE_CHECKING:
    import torch

    from mfim_bench.method import AnyMethod


class FunctionMethod:
    """Wraps a function of ``(source, target)``."""

    def __init__(self, function: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]) -> None:
        self.function = function

    def swap(self, source: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """See `mfim_bench.method.Method.swap`."""
        return self.function(source, target)


def load(device: torch.device, argument: str) -> AnyMethod:
    """Run the file and take the method out of it.

    Its folder is put first on ``sys.path``, as Python does for a script, so it may import its neighbours.

    Args:
        device: what a factory gets.
        argument: ``"/absolute/path.py:name"``. The name is a function of two arguments (source, target: float32 RGB in
            [0, 1], (B, 3, S, S)), or a function or class of one argument (device) that makes an object with ``swap``.

    Raises:
        UsageError: the file raises, or the name is neither.
    """
    name, _, attribute = argument.rpartition(":")
    path = Path(name)
    made = getattr(_run(path), attribute, None)
    if made is None:
        raise UsageError(f"{path.name} defines no {attribute!r}")
    if hasattr(made, "swap") and not isinstance(made, type):
        return made  # type: ignore[no-any-return]
    if not callable(made):
        raise UsageError(f"{path.name}:{attribute} is a {type(made).__name__}, not a function")
    count = _required(made)
    if not isinstance(made, type) and count == 2:
        return FunctionMethod(made)
    if count == 1:
        return made(device)  # type: ignore[no-any-return]
    if isinstance(made, type) and count == 0:
        return made()  # type: ignore[no-any-return]
    raise UsageError(f"{path.name}:{attribute} must take (source, target), or (device) and make an object with swap()")


def _run(path: Path) -> Any:
    folder = str(path.parent)
    if folder not in sys.path:
        sys.path.insert(0, folder)
    spec = importlib.util.spec_from_file_location(f"_mfim_bench_file_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise UsageError(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses and pickling look their module up
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[spec.name]
        raise UsageError(f"{path.name} could not be run: {one_line(error)}") from error
    return module


def _required(callable_: Callable[..., Any]) -> int:
    """How many positional arguments it must be given."""
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    parameters = inspect.signature(callable_).parameters.values()
    return sum(p.kind in kinds and p.default is inspect.Parameter.empty for p in parameters)
