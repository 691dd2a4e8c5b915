"""Assertions: a method keeps its contract, a plugin is whole, a run's figures are what they should be."""

from __future__ import annotations

import json
import math
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

HEAVY = ("torch", "torchvision", "cv2", "scipy", "matplotlib", "timm", "PIL")
"""What listing must not import."""


def check_method(name: str, device: str = "cpu") -> None:
    """Assert that a method keeps its contract, as ``mfim-bench check`` does.

    Args:
        name: of an installed method, or ``file.py:function``, ``cmd:…``, ``dir:PATH``.
        device: where to run it.

    Raises:
        AssertionError: it does not; the message is the whole report.
    """
    import torch

    from mfim_bench.check import check
    from mfim_bench.plugins import registry

    known = registry()
    findings = check(known.method(name), known, torch.device(device))
    report = "\n".join(f"  {f.state:4}  {f.question}: {f.detail}" for f in findings)
    assert not any(f.state == "FAIL" for f in findings), f"method {name} breaks its contract\n{report}"


def check_plugin(distribution: str, device: str = "cpu") -> None:
    """Assert that an installed plugin is whole: it loads, listing it imports nothing heavy, its methods keep their
    contract, its judges, distances and protocols that need no data load, and its weights have the stated hash.

    Args:
        distribution: name of the plugin's distribution.
        device: where to run methods and judges.

    Raises:
        AssertionError: something is not as it should be; the message says what.
    """
    import torch

    from mfim_bench import weights
    from mfim_bench.plugins import load_judge, load_protocol, registry, resolve

    known = registry()

    def ours(origin: str) -> bool:
        return origin.split(" ")[0].replace("_", "-").lower() == distribution.replace("_", "-").lower()

    broken = [failure for failure in known.failures if ours(failure.origin)]
    assert not broken, f"plugin {broken[0].name} failed: {broken[0].error}"
    assert any(ours(plugin.origin) for plugin in known.source.loaded), f"{distribution} brings no plugin"
    heavy = _imported_by_listing(distribution)
    assert not heavy, f"listing {distribution} imports {', '.join(heavy)}; import them inside functions"
    for name, entry in known.weights.items():
        if ours(known.weights.origins[name]) and entry.package:
            assert not weights.problem(entry), weights.problem(entry)
    for name, measure in known.measures.items():
        if ours(known.measures.origins[name]):
            assert callable(resolve(measure.distance)), f"measure {name}: {measure.distance} is not callable"
            if measure.judge:
                load_judge(measure.judge, torch.device(device))
    for name, protocol in known.protocols.items():
        if ours(known.protocols.origins[name]):
            assert callable(resolve(protocol.factory)), f"protocol {name}: {protocol.factory} is not callable"
            if not protocol.data_required:
                problems = list(load_protocol(protocol).problems())
                assert not problems, f"protocol {name}: {problems[0]}"
    for name in known.methods:
        if ours(known.methods.origins[name]):
            check_method(name, device)


def _imported_by_listing(distribution: str) -> list[str]:
    code = "import sys; from mfim_bench.plugins import registry; registry()"
    code += f"; print(*(module for module in {HEAVY} if module in sys.modules))"
    environment = os.environ | {
        "MFIM_BENCH_LOAD_PLUGINS": distribution,
        "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry),
    }
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def check_run(run: str | Path, limits: Mapping[str, str], failed: int = 0) -> None:
    """Assert that a run's means are what they should be: a regression check for CI.

    Args:
        run: a run's folder or its ``summary.json``.
        limits: measure → ``"<= 0.60"``, ``"< 0.60"``, ``">= 0.2"``, ``"> 0.2"`` or ``"0.58 +- 0.01"``. A family name
            stands for the run's one measure of that family.
        failed: how many pairs may have failed.

    Raises:
        AssertionError: a mean is missing or outside its limit, or more pairs failed; all of it in one message.
        ValueError: a limit that cannot be read, or a measure that the run does not have.
    """
    path = Path(run)
    summary = json.loads((path / "summary.json" if path.is_dir() else path).read_text())
    wrong = []
    if summary["failed"] > failed:
        reasons = "; ".join(f"{reason} ({count})" for reason, count in summary["reasons"].items())
        wrong.append(f"{summary['failed']} of {summary['pairs']} pairs failed, {failed} allowed: {reasons}")
    # A number of the run as a whole (FID) stands for the mean that it has not.
    numbers = {name: {"mean": entry["value"]} for name, entry in summary.get("whole", {}).items() if "value" in entry}
    for name, limit in limits.items():
        mean = _measure(summary["measures"] | numbers, name)["mean"]
        if mean is None or not _within(float(mean), limit):
            wrong.append(f"{name} is {mean}, wanted {limit}")
    assert not wrong, f"{summary['method']['name']}: " + "; ".join(wrong)


def _measure(measures: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = [key for key in measures if name in (key, key.partition("@")[0])]
    if len(found) != 1:
        raise ValueError(f"the run has {'several measures' if found else 'no measure'} {name!r}: {', '.join(measures)}")
    entry: Mapping[str, Any] = measures[found[0]]
    return entry


_NUMBER = r"([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)"
_BOUND = re.compile(rf"\s*(<=|>=|<|>)\s*{_NUMBER}\s*")
_BAND = re.compile(rf"\s*{_NUMBER}\s*(?:\+-|\+/-|±)\s*{_NUMBER}\s*")


def _within(value: float, limit: str) -> bool:
    if bound := _BOUND.fullmatch(limit):
        edge = float(bound[2])
        return {"<=": value <= edge, "<": value < edge, ">=": value >= edge, ">": value > edge}[bound[1]]
    if band := _BAND.fullmatch(limit):
        return math.isfinite(value) and abs(value - float(band[1])) <= float(band[2])
    raise ValueError(f"{limit!r} is no limit; write '<= 0.60' or '0.58 +- 0.01'")
