"""What the audit of judges found stands beside every measure: in the registry, in lists and in tables."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from made_records import IDENTITY, POSE, Make
from markupsafe import escape

from mfim_bench import audited
from mfim_bench.measure import JudgeSpec, MeasureSpec
from mfim_bench.plugins import registry
from mfim_bench.report.page import write_page
from mfim_bench.report.table import build

NET = JudgeSpec(name="net", factory="nowhere:judge", version="1")
SPEC = MeasureSpec(name=IDENTITY, distance="nowhere:l2", compares="source", unit="1", version="1", judge=NET)


@pytest.fixture
def verdict(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str, str], None]:
    """Let the registry hold a measure of this name, verdict and version."""

    def put(name: str, audit: str, version: str) -> None:
        spec = replace(SPEC, name=name, audit=audit, version=version)
        monkeypatch.setitem(registry().measures, name, spec)

    return put


def test_what_fails_is_marked_and_told(make: Make, verdict: Callable[[str, str, str], None]) -> None:
    verdict(IDENTITY, "fails", "1")
    verdict(POSE, "passes", "1")
    table = build([make("ours", 0.5, 2.0)])
    heads = table.headers()
    assert audited.FAILS in heads[1]
    assert audited.FAILS not in heads[2]
    (why,) = [line for line in table.legend if line.startswith(audited.FAILS)]
    assert "fails its audit" in why
    assert f"audit of judges ({audited.PAGE}): passes: {POSE}; fails: {IDENTITY}" in table.legend


@pytest.mark.parametrize(("audit", "version"), [("weak", "1"), ("passes", "1"), ("fails", "2"), ("", "1")])
def test_nothing_else_is_marked(make: Make, verdict: Callable[[str, str, str], None], audit: str, version: str) -> None:
    verdict(IDENTITY, audit, version)
    table = build([make("ours", 0.5, 2.0)])
    assert not any(audited.FAILS in text for text in (*table.headers(), *table.legend))
    told = [line for line in table.legend if IDENTITY in line]
    assert bool(told) == (audit in ("weak", "passes") and version == "1")


def test_a_verdict_is_of_one_version_of_measure_and_judge(monkeypatch: pytest.MonkeyPatch) -> None:
    figures = {"version": SPEC.full_version, "verdict": "weak"}
    monkeypatch.setattr(audited, "shipped", lambda: {"measures": {IDENTITY: figures}})
    found = audited.audited(SPEC)
    assert (found.audit, found.card) == ("weak", "docs/audit.md#identitynet-l2")
    assert replace(found, audit="", card="") == SPEC
    for other in (replace(SPEC, version="0"), replace(SPEC, judge=replace(NET, version="0")), replace(SPEC, name=POSE)):
        assert audited.audited(other) == other


def test_every_shipped_verdict_is_of_a_measure_as_it_is_now() -> None:
    page = (Path(__file__).parents[2] / audited.PAGE).read_text(encoding="utf-8")
    for name, figures in audited.shipped()["measures"].items():
        assert registry().measures[name].audit == figures["verdict"], f"{name} changed: audit it again"
        assert f"\n### {name}\n" in page


def test_the_page_holds_the_card_of_every_audited_measure(
    make: Make, verdict: Callable[[str, str, str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "identity@dlib-l2"
    figures = {**audited.shipped()["measures"][name], "verdict": "fails"}
    monkeypatch.setattr(audited, "shipped", lambda: {"measures": {IDENTITY: figures}})
    verdict(IDENTITY, "fails", "1")
    record = make("ours", 0.5, 2.0)
    page = write_page(record.folder / "report.html", [record]).read_text("utf-8")
    assert page.count('href="#card-0"') == page.count('id="card-0"') == 1
    assert "#card-1" not in page
    for line in audited.sentences(figures):
        assert str(escape(line)) in page
