"""The ablation's tables, from records written here with known numbers."""

from __future__ import annotations

import json

import numpy as np
import pytest
from made_records import IDENTITY, POSE, Make, N

from mfim_bench import statistics
from mfim_bench.bench.record import identities
from mfim_bench.errors import UsageError
from mfim_bench.report.ablation import ONE_RUN, ablation, averaged
from mfim_bench.report.table import SELF_JUDGED


def test_a_variant_is_the_mean_of_its_runs_on_the_same_pairs(make: Make) -> None:
    runs = [make("full-0", 0.4, 2.0, seed=1, failed=3), make("full-1", 0.5, 2.0, seed=2)]
    found = ablation({"full": runs}, "full")
    (variant,), (line,) = found.variants, found.table.lines
    rows = [list(run.rows[3:]) for run in runs]
    values = np.array([[row[IDENTITY] for row in side] for side in rows])
    assert line.cells[IDENTITY].interval == statistics.mean_interval(values.mean(0), *identities(rows[0]))
    assert (line.scored, line.failed) == (N - 3, 3), "a pair that failed in one run has failed"
    assert variant.run_means(IDENTITY, list(variant.mean.scored())) == pytest.approx(values.mean(1))
    assert variant.spread(IDENTITY) == pytest.approx(abs(values.mean(1)[0] - values.mean(1)[1]) / np.sqrt(2))
    assert found.contrasts == []


def test_differences_are_paired_and_corrected_over_the_whole_table(make: Make) -> None:
    groups = {
        "worse": [make("worse-0", 0.5, 2.0, seed=3)],
        "full": [make("full-0", 0.4, 2.0, seed=1), make("full-1", 0.41, 2.0, seed=2)],
        "same": [make("same-0", 0.405, 2.0, seed=4)],
    }
    found = ablation(groups, "full")
    assert [variant.name for variant in found.variants] == ["full", "worse", "same"]
    by_place = {(c.variant, c.measure): c for c in found.contrasts}
    worse = by_place["worse", IDENTITY]
    assert worse.differs
    base = np.mean([[row[IDENTITY] for row in run.rows] for run in groups["full"]], 0)
    mine = [row[IDENTITY] for row in groups["worse"][0].rows]
    assert worse.interval == statistics.paired_difference(mine, base, *identities(groups["worse"][0].rows))
    assert [c.p for c in found.contrasts] == statistics.holm([c.interval.p for c in found.contrasts])
    assert not by_place["same", POSE].differs


def test_one_odd_training_is_no_difference(make: Make) -> None:
    """Whatever the interval over people says, when one of the baseline's runs lies beyond the variant's."""
    full = [make("full-0", 0.40, 2.0, seed=1), make("full-1", 0.60, 2.0, seed=2)]
    found = ablation({"full": full, "other": [make("other-0", 0.55, 2.0, seed=3)]}, "full")
    contrast = found.contrasts[0]
    assert contrast.p < 1e-6
    assert not contrast.agree
    assert not contrast.differs


def test_text_markdown_and_json_say_the_same(make: Make) -> None:
    groups = {
        "full": [make("full-0", 0.4, 2.0, seed=1), make("full-1", 0.41, 2.0, seed=2)],
        "no-maps": [make("no-maps-0", 0.5, 2.0, seed=3, self_judged=True)],
    }
    found = ablation(groups, "full", [make("copy", 0.6, 0.1, seed=4, reference=True)])
    text, markdown = found.text(), found.text("github")
    rows = {line.split("|")[1].strip(): line for line in markdown.splitlines() if line.startswith("|")}
    assert "2 runs" in rows["full"]
    assert ONE_RUN in next(line for line in text.splitlines() if line.startswith("no-maps"))
    assert "| reference " in rows["copy"]
    assert "identity ↓, net-l2, 1" in rows["variant"]
    assert SELF_JUDGED in text
    assert "no-maps: no-maps-0 (made no-maps-0), run no-maps-0" in text
    told = json.loads(json.dumps(found.as_json(), allow_nan=False))
    assert [row["name"] for row in told["rows"]] == ["full", "no-maps", "copy"]
    full, one, copy = (row["measures"][IDENTITY] for row in told["rows"])
    assert len(full["run_means"]) == 2
    assert full["mean"] == pytest.approx(np.mean(full["run_means"]))
    assert one["run_sd"] is None
    assert "run_means" not in copy
    assert f"{full['mean']:.3f}" in text
    difference = told["differences"][0]
    assert (difference["variant"], difference["n"]) == ("no-maps", N)
    assert difference["mean"] == pytest.approx(one["mean"] - full["mean"])
    for shown in (text, markdown):
        assert f"{difference['mean']:+.3f}" in shown


def test_a_variant_that_always_fails_is_a_row_and_no_difference(make: Make) -> None:
    groups = {"full": [make("full-0", 0.4, 2.0)], "broken": [make("broken-0", 0.4, 2.0, seed=1, failed=N)]}
    for baseline in groups:
        found = ablation(groups, baseline)
        assert found.contrasts == []
        row = next(line.split() for line in found.text().splitlines() if line.startswith("broken"))
        assert row[-4:] == ["–", "–", "0", str(N)]
        json.dumps(found.as_json(), allow_nan=False)


def test_what_cannot_be_averaged_is_refused(make: Make) -> None:
    one = make("one", 0.4, 2.0)
    with pytest.raises(UsageError, match="same distance in every pair"):
        averaged("full", [one, make("copy-of-one", 0.4, 2.0)])
    with pytest.raises(UsageError, match="different images"):
        averaged("full", [one, make("elsewhere", 0.4, 2.0, seed=1, content="other")])
    other = make("other", 0.4, 2.0, seed=1)
    other.manifest["inputs"]["pairs"]["hash"] = "y"
    with pytest.raises(UsageError, match="different pairs"):
        averaged("full", [one, other])
