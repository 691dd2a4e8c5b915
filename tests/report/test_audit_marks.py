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
from mfim_bench.report.compare import compare_all, sheet
from mfim_bench.report.leaderboard import leaderboard
from mfim_bench.report.page import write_page
from mfim_bench.report.table import build, standings, standings_text

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


def test_marks_follow_a_failed_measure_everywhere(make: Make, verdict: Callable[[str, str, str], None]) -> None:
    verdict(IDENTITY, "fails", "1")
    verdict(POSE, "passes", "1")
    runs = [make("ours", 0.5, 2.0), make("theirs", 0.4, 2.5, seed=1)]
    told = {IDENTITY: "fails", POSE: "passes"}
    (board,) = leaderboard(runs).sheets()
    differences = sheet(compare_all([(runs[0], runs[1])])[0])
    for facts in (board.facts, differences.facts):
        assert {fact["measure"]: fact["audit"] for fact in facts} == told
    references = [make(n, v, 0.0, reference=True, seed=2) for n, v in (("target-copy", 0.9), ("truth", 0.1))]
    (standing,) = [s for s in standings(runs[0], references) if s.measure == IDENTITY]
    assert audited.FAILS in standings_text([standing])


def test_a_local_measure_has_the_verdict_of_the_global_one() -> None:
    known = registry().measures
    for name in ("identity@dlib-l2", "shape@vertex-mm"):
        assert known[f"{name}-local"].audit == known[name].audit != ""
        assert known[f"{name}-local"].card == known[name].card
        columns = {f"{name}-local": {"version": known[name].full_version}}
        assert audited.cards(columns)[f"{name}-local"] == audited.sentences(audited.shipped()["measures"][name])


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
