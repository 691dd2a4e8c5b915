"""A suite of tests that any method can inherit: one test for each promise of the contract."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, NoReturn

import pytest

from mfim_bench.errors import UsageError

if TYPE_CHECKING:
    from mfim_bench.check import Finding


ENDING = {"weights", "loads", "kind", "runs", "type", "shape", "finite"}
"""Questions whose failure keeps later ones from being asked."""


class MethodConformance:
    """Inherit it in a class whose name begins with ``Test``, and say which method.

    The questions are those of ``mfim-bench check``, asked once for the whole class. What does not apply to a kind of
    method passes: one on whole frames takes no batch.

    Attributes:
        method: name of an installed method, or ``file.py:function``, ``cmd:…``.
        device: where it runs: ``cpu``, ``cuda``, ``cuda:N`` or ``auto``.
    """

    method: ClassVar[str]
    device: ClassVar[str] = "cpu"

    def test_loads(self) -> None:
        """Its weights are here with the stated hash, and its factory makes something that swaps."""
        self._holds("weights", "loads", "kind")

    def test_runs(self) -> None:
        """It swaps several pairs in one call."""
        asked = self._holds("runs", "type")
        if "runs" not in asked:
            _fail(f"{self.method} runs nothing: it reads results or is made of a protocol's truth")

    def test_shape(self) -> None:
        """The swap has the target's shape."""
        self._holds("shape")

    def test_dtype(self) -> None:
        """Crops are float32, frames are uint8."""
        self._holds("dtype")

    def test_range(self) -> None:
        """Values are finite and in [0, 1], but for half a step of 8 bits."""
        self._holds("range")

    def test_inputs_are_left_alone(self) -> None:
        """Source and target are the same after the call."""
        self._holds("inputs")

    def test_determinism(self) -> None:
        """The same call gives the same swap."""
        self._holds("deterministic")

    def test_one_pair_and_many(self) -> None:
        """A batch of one pair is taken, as one of several is."""
        self._holds("rows")

    def test_batch_independence(self) -> None:
        """A row's swap depends neither on the number, nor the order, nor the content of the other rows."""
        self._holds("row independence")

    def test_mixing(self) -> None:
        """Where the method has ``mix``, it takes the parts ``global`` and ``local``."""
        self._holds("mixes")

    def _holds(self, *questions: str) -> set[str]:
        """Fail if an answer to these is a failure, or what kept them from being asked; returns what was asked."""
        name = getattr(self, "method", None)
        if not name:
            _fail(f'{type(self).__name__} names no method; write method = "my-swap"')
        try:
            findings = _findings(name, self.device)
        except UsageError as error:
            _fail(str(error))
        asked = {finding.question for finding in findings}
        failed = [finding for finding in findings if finding.state == "FAIL"]
        mine = [finding for finding in failed if finding.question in questions]
        if not asked.intersection(questions):
            mine = [finding for finding in failed if finding.question in ENDING]
        if mine:
            _fail(f"{name}: " + "; ".join(f"{finding.question}: {finding.detail}" for finding in mine))
        return asked


def _fail(reason: str) -> NoReturn:
    """One clear line: there is nothing to see in a traceback through this file."""
    pytest.fail(reason, pytrace=False)


@functools.cache
def _findings(method: str, device: str) -> Sequence[Finding]:
    from mfim_bench.bench.runner import resolve_device
    from mfim_bench.check import check
    from mfim_bench.plugins import registry

    known = registry()
    return check(known.method(method), known, resolve_device(device)[0])
