"""Several runs compared: together corrected, in every format, with the pairs that differ most and their pictures."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from made_records import IDENTITY, POSE, Make, N

from mfim_bench.cli import run_command
from mfim_bench.errors import UsageError
from mfim_bench.media.images import read_image, write_image
from mfim_bench.report.compare import compare_all, couples, extremes, holds
from mfim_bench.report.grid import HEAD


def folders(make: Make) -> list[str]:
    records = make("a", 0.4, 2.0), make("b", 0.3, 2.0, seed=1, failed=2), make("c", 0.39, 2.5, seed=2)
    return [str(record.folder) for record in records]


def test_the_first_with_each_or_each_with_the_baseline(make: Make) -> None:
    a, b, c = (make(name, 0.4, 2.0, seed=i) for i, name in enumerate("abc"))
    assert couples([a, b, c]) == [(a, b), (a, c)]
    assert couples([a, b, c], b) == [(a, b), (c, b)]


def test_p_values_are_corrected_over_measures_and_methods(make: Make) -> None:
    a, b, c = make("a", 0.4, 2.0), make("b", 0.3, 2.0, seed=1), make("c", 0.392, 2.0, seed=2)
    both = compare_all(couples([a, b, c]))
    alone = compare_all([(a, c)])
    assert len(both) == 2
    assert both[1].differences[0].p > alone[0].differences[0].p
    assert both[1].differences[0].interval == alone[0].differences[0].interval


def test_effect_wins_and_bootstrap(make: Make) -> None:
    d = compare_all([(make("a", 0.4, 2.0), make("b", 0.39, 2.0, seed=1))], draws=400, seed=3)[0].differences[0]
    assert d.bootstrap
    assert d.effect == pytest.approx(d.interval.estimate / (0.02 * 2**0.5), rel=0.2)
    assert 0.2 < d.wins.estimate < 0.5  # A is a little worse, and lower is better
    assert d.bootstrap.estimate == d.interval.estimate
    assert d.bootstrap.half_width > d.interval.half_width
    assert d.detectable == pytest.approx(2.8 * d.interval.se, rel=0.1)


def test_text_names_runs_and_warns_of_few_people(make: Make, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["compare", *folders(make), "--worst", "2", "--bootstrap", "50"]) == 0
    out = capsys.readouterr().out
    assert f"A = a, B = b: {N - 2} pairs that both scored" in out
    assert f"A = a, B = c: {N} pairs that both scored" in out
    assert "warning: only 20 identities" in out
    assert "Pairs that differ most, A = a, B = c" in out
    assert "resampling identities" in out


def test_a_baseline_by_name_or_folder(make: Make, capsys: pytest.CaptureFixture[str]) -> None:
    runs = folders(make)
    for baseline in ("b", runs[1]):
        assert run_command(["compare", *runs, "--baseline", baseline, "--json"]) == 0
        found = json.loads(capsys.readouterr().out)
        assert {(fact["method_a"], fact["method_b"]) for fact in found} == {("a", "b"), ("c", "b")}
    assert run_command(["compare", *runs, "--baseline", "d"]) == 2
    assert "names 0 of the runs; they are of a, b, c" in capsys.readouterr().err
    assert run_command(["compare", runs[0]]) == 2


def test_fail_if_holds_of_any(make: Make, capsys: pytest.CaptureFixture[str]) -> None:
    a, b, c = folders(make)
    assert run_command(["compare", a, c, "--fail-if", "identity > +10%"]) == 0
    assert run_command(["compare", a, b, c, "--fail-if", "identity > +10%"]) == 1
    assert "identity > +10% holds" in capsys.readouterr().err


def test_a_percentage_of_nothing_is_refused(make: Make) -> None:
    nothing = make("copy", 0.3, -100.0, reference=True)  # its poses are cut at 0
    assert run_command(["compare", str(make("a", 0.4, 2.0).folder), str(nothing.folder), "--fail-if", "pose > 1%"]) == 2


def test_what_has_no_interval_passes_no_check(make: Make) -> None:
    """One source in every pair: the mean is known, how sure it is is not."""
    one, other = (
        replace(record, rows=[{**row, "source_identity": "p0"} for row in record.rows])
        for record in (make("a", 0.4, 2.0), make("b", 0.2, 2.0, seed=1))
    )
    differences = compare_all([(one, other)])[0].differences
    assert holds("identity > 0", differences)
    for expression in ("identity.low > 0", "identity > 9 and identity.p < 0.05"):
        with pytest.raises(UsageError, match="cannot be told: the pairs compared give identity no interval"):
            holds(expression, differences)


def test_csv_and_json_hold_the_same_facts(make: Make, capsys: pytest.CaptureFixture[str]) -> None:
    runs = folders(make)
    assert run_command(["compare", *runs, "--format", "json", "--worst", "1"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert run_command(["compare", *runs, "--format", "csv", "--worst", "1"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [row["kind"] for row in rows] == [fact["kind"] for fact in facts]
    assert [fact["kind"] for fact in facts] == ["difference", "difference", "pair", "pair"] * 2
    for row, fact in zip(rows, facts, strict=True):
        assert float(row["difference"]) == fact["difference"]


def test_latex_is_booktabs_in_ascii(make: Make, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["compare", *folders(make)[:2], "--format", "latex"]) == 0
    lines = capsys.readouterr().out.splitlines()
    body = [line for line in lines if not line.startswith("%")]
    assert "\\toprule" in body
    assert "\\bottomrule" in body
    assert r"A $-$ B [95 \%]" in "\n".join(body)
    assert "\n".join(body).isascii()


def test_markdown_is_a_table(make: Make, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["compare", *folders(make)[:2], "--format", "markdown"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("**A = a, B = b")
    assert len([line for line in out.splitlines() if line.startswith("|")]) == 4


def test_pairs_that_differ_most_and_their_pictures(make: Make, tmp_path: Path) -> None:
    a, b = make("a", 0.4, 2.0), make("b", 0.3, 2.0, seed=1)
    one = compare_all([(a, b)])[0]
    found = extremes(one, 2)
    assert [e.measure for e in found] == [IDENTITY, IDENTITY, POSE, POSE]
    for measure in (IDENTITY, POSE):
        apart = sorted((abs(x[measure] - y[measure]) for x, y in zip(a.rows, b.rows, strict=True)), reverse=True)
        assert [abs(e.a - e.b) for e in found if e.measure == measure] == apart[:2]
    red = np.zeros((64, 64, 3), np.uint8)
    red[..., 0] = 255
    write_image(b.folder / "images" / f"{found[0].pair}.png", red)
    file = tmp_path / "worst.png"
    arguments = ["--pictures", str(file), "--worst", "2", "--side", "64"]
    assert run_command(["compare", str(a.folder), str(b.folder), *arguments]) == 0
    picture = read_image(file)
    rows = len({e.pair for e in found})
    assert picture.shape == (HEAD + rows * (HEAD + 64), 5 * 64, 3)
    first = picture[2 * HEAD : 2 * HEAD + 64]
    assert (first[:, 3 * 64 : 4 * 64] == [255, 0, 0]).all(), "B's swap of the pair that differs most"


def test_self_judged_differences_are_marked(make: Make, capsys: pytest.CaptureFixture[str]) -> None:
    runs = make("a", 0.2, 2.0, self_judged=True), make("b", 0.3, 2.0, seed=1)
    assert run_command(["compare", *(str(run.folder) for run in runs)]) == 0
    out = capsys.readouterr().out
    assert f"{IDENTITY} ↓†" in out
    assert "† self-judged" in out
