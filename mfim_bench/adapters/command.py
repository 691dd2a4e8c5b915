"""A method that is a command: ``cmd:python swap.py {source} {target} {output}``.

The command gets three paths: source and target as upright 8-bit RGB PNG files of the whole frames, and the PNG file it
must write, of the target's size. It runs without a shell, in a session of its own, with a time limit.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from mfim_bench.errors import RowError, UsageError

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray

SECONDS_VARIABLE = "MFIM_BENCH_COMMAND_SECONDS"
"""Time limit of one swap in seconds."""
DEFAULT_SECONDS = 300.0


class CommandMethod:
    """Runs the command once a pair.

    Args:
        arguments: the program and its arguments; ``{source}``, ``{target}`` and ``{output}`` in them stand for paths.
        seconds: time limit of one swap. Past it, the command and every process it started are killed.
    """

    def __init__(self, arguments: list[str], seconds: float) -> None:
        self.arguments = arguments
        self.seconds = seconds

    def swap_frame(self, source: NDArray[np.uint8], target: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """See `mfim_bench.method.FrameMethod.swap_frame`.

        Raises:
            RowError: the command ran too long, failed, wrote no image, or one of another size.
        """
        from mfim_bench.media.images import read_image, write_image

        with tempfile.TemporaryDirectory(prefix="mfim-bench-") as folder:
            paths = {name: Path(folder, f"{name}.png") for name in ("source", "target", "output")}
            write_image(paths["source"], source, None)
            write_image(paths["target"], target, None)
            self._run([_filled(argument, paths) for argument in self.arguments], Path(folder))
            if not paths["output"].is_file():
                raise RowError("the command wrote no output")
            try:
                swapped = read_image(paths["output"])
            except RowError as error:
                raise RowError(f"the command's output: {error}".replace(folder + os.sep, "")) from error
        if swapped.shape != target.shape:
            made, wanted = (f"{image.shape[1]}x{image.shape[0]}" for image in (swapped, target))
            raise RowError(f"the command's output is {made} px, the target {wanted} px")
        return swapped

    def _run(self, arguments: list[str], folder: Path) -> None:
        # Files, not pipes: a grandchild that keeps a pipe open would keep us waiting after the command is dead.
        with (folder / "stderr").open("wb+") as errors:
            try:
                process = subprocess.Popen(
                    arguments,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=errors,
                    start_new_session=True,
                )
            except OSError as error:
                raise RowError(f"the command cannot be started: {error.strerror}") from error
            try:
                code = process.wait(self.seconds)
            except subprocess.TimeoutExpired:
                raise RowError(f"the command ran longer than {self.seconds:g} s and was killed") from None
            finally:
                # The session's group, so that whatever the command left running ends too.
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
            if code:
                how = f"was ended by signal {-code}" if code < 0 else f"failed with exit code {code}"
                raise RowError(f"the command {how}{_last_line(folder / 'stderr')}")


def _filled(argument: str, paths: dict[str, Path]) -> str:
    for name, path in paths.items():
        argument = argument.replace(f"{{{name}}}", str(path))
    return argument


def _last_line(path: Path) -> str:
    """``": the last line of stderr"``, where Python and most programs say what was wrong."""
    lines = [line.strip() for line in path.read_bytes()[-4000:].decode(errors="replace").splitlines() if line.strip()]
    return f": {lines[-1][:200]}" if lines else ""


def load(device: torch.device, argument: str) -> CommandMethod:
    """Factory; the device is the command's own business.

    Args:
        device: ignored.
        argument: the argument list as JSON.

    Raises:
        UsageError: `SECONDS_VARIABLE` is not a positive number.
    """
    text = os.environ.get(SECONDS_VARIABLE, "")
    try:
        seconds = float(text) if text else DEFAULT_SECONDS
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise UsageError(f"{SECONDS_VARIABLE} must be a positive number of seconds, not {text!r}")
    return CommandMethod(json.loads(argument), seconds)
