"""The fixture ``swap_regression``: a method is held against the baseline that its test keeps."""

from __future__ import annotations

import itertools
import os
import platform
import re
import shlex
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from mfim_bench.errors import UsageError
from mfim_bench.testing.baseline import Baseline

if TYPE_CHECKING:
    from mfim_bench.bench.record import Record

FOLDER = "swap_baselines"
"""Beside the test's file."""
NOTES = "mfim-bench"
"""Key of the notes that a passing test leaves among its properties."""
_ONE_NAME = "if two tests share this name, rename one of them; else delete the file and make it again"


@contextmanager
def own_folder(out: Path) -> Iterator[Path]:
    """A folder for runs that no other process uses: each worker of pytest-xdist, and each session, has one of its own.

    What judges see is kept in it, so the lowest number that is free is taken.
    """
    from mfim_bench.bench.lock import TakenError, only_writer

    with ExitStack() as held:
        for number in itertools.count(1):
            folder = out / ("runs" if number == 1 else f"runs-{number}")
            folder.mkdir(parents=True, exist_ok=True)
            try:
                held.enter_context(only_writer(folder))
            except TakenError:
                continue
            break
        yield folder


class SwapRegression:
    """What the fixture ``swap_regression`` gives to a test."""

    def __init__(self, request: pytest.FixtureRequest, out: Path, runs: Path) -> None:
        self._node, self._config, self._out, self._runs = request.node, request.config, out, runs
        self._taken: set[Path] = set()

    def check(
        self,
        method: str,
        *,
        protocol: str = "virtual-faces",
        limit: int | None = None,
        split: str | None = None,
        data: str | Path | None = None,
        measures: Sequence[str] = (),
        tolerance: Mapping[str, float] | None = None,
        device: str = "cpu",
        batch_size: int = 8,
        seed: int = 0,
        name: str = "",
    ) -> None:
        """Run a method and fail the test if it is worse than its baseline; see ``docs/regression.md``.

        Worse = a measure's mean is worse by more than its tolerance *and* significantly so, or a pair fails that the
        baseline had scored. Swaps are always made anew; what judges see in the data set's images is kept.

        Args:
            method: name of an installed method, or ``file.py:function``, ``cmd:…``, ``dir:PATH``.
            protocol, limit, split, data, measures, device, batch_size, seed: as of ``mfim-bench run``. The device is
                the CPU by default, since a baseline of another device is refused.
            tolerance: measure, or its family, → how much worse its mean may get, in its unit; the rest keep the
                defaults (``mfim_bench.testing.verdict.TOLERANCES``).
            name: tells several checks of one test apart.
        """
        asked = {
            "method": method,
            "protocol": protocol,
            "limit": limit,
            "split": split,
            "data": Path(data) if data is not None else None,
            "measures": tuple(measures),
            "device": device,
            "batch_size": batch_size,
            "seed": seed,
            "references": False,
        }
        try:
            problem = self._check(asked, tolerance or {}, name)
        except UsageError as error:
            problem = str(error)
        if problem:
            pytest.fail(problem, pytrace=False)

    def _check(self, asked: Mapping[str, Any], tolerance: Mapping[str, float], name: str) -> str:
        """Why the test fails; empty when it passes. Without a baseline it says so before torch is imported."""
        path, test = self._place(name)
        if path in self._taken:
            return 'a test with several checks gives each a name: swap_regression.check(…, name="second")'
        self._taken.add(path)
        shutil.rmtree(self._failures(path), ignore_errors=True)
        update = self._config.getoption("mfim_update_baseline")
        if not (update or path.exists()):
            return f"no baseline {self._relative(path)}; make it with: {self._command(update=True)}"
        old = Baseline.read(path) if path.exists() and not update else None
        record, shareable = self._run(asked)
        new = Baseline.of(record, test, self._made())
        if old is None:
            return self._update(path, new, record, shareable)
        if mismatches := old.mismatches(new):
            reasons = "\n".join(f"  {mismatch}" for mismatch in mismatches)
            return (
                f"the baseline {self._relative(path)} cannot be compared with this run:\n{reasons}\n"
                f"If the test should be as it was, undo the change. Else go back to the method that you trust and "
                f"make the baseline again with: {self._command(update=True)}"
            )
        return self._hold(path, old, new, record, tolerance)

    def _hold(self, path: Path, old: Baseline, new: Baseline, record: Record, tolerance: Mapping[str, float]) -> str:
        from mfim_bench.testing import verdict as words
        from mfim_bench.testing.pictures import write_failures

        verdict = words.judge(old, new, tolerance)
        if not verdict.worse:
            said = f"{words.method(new)} keeps its baseline: {len(new.measures)} measures, {len(new.rows)} pairs"
            if better := words.improvements(verdict, new):
                said = f"better than its baseline: {better}; keep it with: {self._command(update=True)}"
            if verdict.doubtful:
                said += f"; worse, but not significantly: {', '.join(verdict.doubtful)}"
            self._note(said)
            return ""
        folder, begun = self._failures(path), self._runs / "failure"
        shutil.rmtree(begun, ignore_errors=True)
        begun.mkdir()
        record = replace(record, folder=Path(shutil.move(record.folder, begun / "run")))
        write_failures(begun, record, verdict.pairs, path.with_suffix(".webp"))
        protocol = f"{new.protocol['name']} ({new.protocol['split']}, {len(new.rows)} pairs)"
        message = "\n".join(
            [
                f"{new.method['name']} is worse than its baseline {self._relative(path)} on {protocol}",
                "",
                words.table(verdict, new),
                "",
                words.details(verdict, old, new),
                "",
                words.history(old, new),
                f"pictures (source, target, baseline, now, truth) and the run: {self._relative(folder)}",
                f"If this is wanted, make the baseline again with: {self._command(update=True)}",
            ]
        )
        (begun / "message.txt").write_text(message + "\n", encoding="utf-8")
        shutil.rmtree(folder, ignore_errors=True)  # that of another session which failed meanwhile
        folder.parent.mkdir(parents=True, exist_ok=True)
        begun.rename(folder)
        return message

    def _failures(self, path: Path) -> Path:
        """For the pictures of this check: tests of one name in two folders have two."""
        place = os.path.relpath(self._node.path.parent, self._config.rootpath)
        return self._out / "failures" / ("" if place.startswith("..") else place) / path.stem

    def _update(self, path: Path, new: Baseline, record: Record, shareable: bool) -> str:
        from mfim_bench.testing.pictures import write_thumbnails

        if not new.scored():
            reasons = "; ".join(dict.fromkeys(row["reason"] for row in new.rows))
            return f"no pair was scored, so there is no baseline to keep: {reasons}"
        fresh = not path.exists()
        try:
            found = None if fresh else Baseline.read(path)
        except UsageError:
            found = None
        if found and found.same_numbers(new):
            self._note(f"the baseline {self._relative(path)} stays as it is: nothing changed")
            return ""
        if found and found.test != new.test:
            return f"{self._relative(path)} is the baseline of {found.test}, not of {new.test}; {_ONE_NAME}"
        try:
            new.write(path, fresh)
        except FileExistsError:
            return f"another process has just written {self._relative(path)}; {_ONE_NAME}"
        if shareable:
            write_thumbnails(path.with_suffix(".webp"), record)
        else:
            path.with_suffix(".webp").unlink(missing_ok=True)
        failed = f", {len(new.rows) - len(new.scored())} of them failed" if len(new.scored()) < len(new.rows) else ""
        self._note(f"wrote the baseline {self._relative(path)}: {len(new.rows)} pairs{failed}; commit it")
        return ""

    def _run(self, asked: Mapping[str, Any]) -> tuple[Record, bool]:
        """The run, and whether its swaps may be kept beside the test: those of somebody's data set may not."""
        from mfim_bench.plugins import registry

        known = registry()
        spec = known.protocol(asked["protocol"])
        known.method(asked["method"])  # an unknown name is told before torch is imported
        from mfim_bench.bench import RunSettings, run

        # A run that was stopped, or is there already, may be of other code than the fingerprint sees (a method's
        # dependency), so it is never continued.
        shutil.rmtree(self._runs / spec.name, ignore_errors=True)
        return run(RunSettings(**asked, out=self._runs), known)[0], not spec.data_required

    def _place(self, name: str) -> tuple[Path, str]:
        """The baseline's file, and the name of the check."""
        file = self._node.path
        within = self._node.nodeid.partition("::")[2] + (f" {name}" if name else "")
        stem = re.sub(r"[^\w.-]+", "-", f"{file.stem}.{within.replace('::', '.')}").strip("-")
        return file.parent / FOLDER / f"{stem}.json", f"{file.name}::{within}"

    def _made(self) -> dict[str, Any]:
        import torch

        from mfim_bench import __version__

        return {
            "command": shlex.join(["pytest", *map(str, self._config.invocation_params.args)]),
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
            "mfim_bench": __version__,
            "platform": f"{platform.system()} {platform.machine()}",
            "python": platform.python_version(),
            "torch": torch.__version__,
        }

    def _relative(self, path: Path) -> str:
        return os.path.relpath(path, self._config.invocation_params.dir)

    def _command(self, update: bool) -> str:
        test = f"{self._relative(self._node.path)}::{self._node.nodeid.partition('::')[2]}"
        return f"pytest {'--mfim-update-baseline ' if update else ''}{shlex.quote(test)}"

    def _note(self, text: str) -> None:
        self._node.user_properties.append((NOTES, text))
