"""``swap_regression``: the baseline file, the rule for what is worse, and pytest with the plugin as users see it."""

from __future__ import annotations

import functools
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mfim_bench import audited, plugins
from mfim_bench.bench import RunSettings, run
from mfim_bench.errors import UsageError
from mfim_bench.media.images import read_image
from mfim_bench.plugins import Plugins, Registry
from mfim_bench.report.grid import HEAD
from mfim_bench.testing.baseline import Baseline
from mfim_bench.testing.pictures import SIDE, THUMBNAIL
from mfim_bench.testing.regression import own_folder
from mfim_bench.testing.verdict import SHARE, TOLERANCES, Verdict, improvements, judge, table

pytest_plugins = ["pytester"]

SOURCE, TARGET, ERROR = "tiny-source@points", "tiny-target@points", "tiny-error@l1"
MADE = {"command": "pytest --mfim-update-baseline", "date": "2026-01-01T00:00:00+00:00", "mfim_bench": "0.1.0"}
Measured = Callable[..., Baseline]


@pytest.fixture(scope="module")
def measured(site: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Measured]:
    """A real run of a method, as a baseline; each is made once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(site))
        patch.setenv("MFIM_BENCH_LOAD_PLUGINS", "tiny-faces")
        known = Registry(Plugins())
        asked = RunSettings("", "tiny", device="cpu", out=tmp_path_factory.mktemp("runs"), workers=2, references=False)

        @functools.cache
        def measure(method: str, limit: int | None = None) -> Baseline:
            return Baseline.of(run(replace(asked, method=method, limit=limit), known)[0], "test_x.py::test_x", MADE)

        yield measure
        sys.modules.pop("tiny_faces", None)


def shifted(old: Baseline, measure: str, by: Callable[[int], float]) -> Baseline:
    """The baseline with a number added to a measure's row i."""
    rows = [{**row, measure: row[measure] + by(index)} for index, row in enumerate(old.rows)]
    return replace(old, rows=rows)


def states(verdict: Verdict) -> dict[str, str]:
    return {change.measure: change.state for change in verdict.changes}


def test_the_file_says_how_it_was_made_and_is_read_as_it_was(measured: Measured, tmp_path: Path) -> None:
    old = measured("blend")
    old.write(tmp_path / "new" / "x.json")
    assert Baseline.read(tmp_path / "new" / "x.json") == old
    said = json.loads((tmp_path / "new" / "x.json").read_text())
    assert said["made"] == MADE | {"batch_size": 8, "seed": 0}
    assert said["method"] == {"name": "blend", "version": "1", "weights": {}}
    assert (said["protocol"]["name"], said["protocol"]["split"], said["pairs"]["count"]) == ("tiny", "validation", 28)
    assert len(said["protocol"]["content"]) == len(said["pairs"]["hash"]) == 64
    assert said["measures"][SOURCE]["version"] == "1/1"
    assert list(said["columns"]) == ["pair", "source_identity", "target_identity", "other_identities", SOURCE, TARGET,
                                     ERROR, "reason"]  # fmt: skip
    assert len((tmp_path / "new" / "x.json").read_text().splitlines()) < 100  # one pair a line


def test_a_damaged_file_is_told_in_one_line(measured: Measured, tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    measured("blend", limit=2).write(path)
    for damaged in (path.read_text()[:-9], path.read_text().replace('"schema": 1', '"schema": 9'), "[]", "{}"):
        path.write_text(damaged)
        with pytest.raises(UsageError, match=r"the baseline x\.json cannot be read") as caught:
            Baseline.read(path)
        assert "\n" not in str(caught.value)


def test_nothing_changed(measured: Measured) -> None:
    old = measured("blend")
    verdict = judge(old, old, {})
    assert set(states(verdict).values()) == {"the same"}
    assert not verdict.worse
    assert improvements(verdict, old) == ""
    assert not old.mismatches(old)
    assert old.same_numbers(replace(old, made={}))


def test_another_method_is_worse_where_it_is(measured: Measured, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two real methods: a copy of the target at 16 px against one at 64."""
    old, new = measured("target-copy@64"), measured("target-copy@16")
    verdict = judge(old, new, {})
    assert states(verdict) == {SOURCE: "WORSE", TARGET: "WORSE", ERROR: "WORSE"}
    assert verdict.worse
    losses = [new.scored()[pair][SOURCE] - old.scored()[pair][SOURCE] for pair in verdict.worst[SOURCE]]
    assert losses == sorted(losses, reverse=True)
    first = list(dict.fromkeys(worst[0] for worst in verdict.worst.values()))
    assert verdict.pairs[: len(first)] == first
    back = judge(new, old, {})
    assert set(states(back).values()) == {"better"}
    assert not back.worse
    assert f"{SOURCE} 0." in improvements(back, old)
    assert "warning: only 8 identities" in table(verdict, new)
    assert audited.FAILS not in table(verdict, new)
    monkeypatch.setattr(audited, "verdicts", lambda columns: dict.fromkeys(columns, "passes") | {SOURCE: "fails"})
    assert f"{SOURCE} ↓{audited.FAILS} " in table(verdict, new)
    assert f"{TARGET} ↓ " in table(verdict, new)
    assert f"\n\n{audited.FAILS} fails its audit" in table(verdict, new)
    assert states(judge(old, new, {"tiny-source": 1.0}))[SOURCE] == "within tolerance"


def test_worse_is_significant_and_more_than_the_tolerance(measured: Measured) -> None:
    old = measured("blend")
    mean = np.mean([row[ERROR] for row in old.rows])
    assert states(judge(old, shifted(old, ERROR, lambda _: 0.009 * mean), {}))[ERROR] == "within tolerance"
    assert states(judge(old, shifted(old, ERROR, lambda _: 0.011 * mean), {}))[ERROR] == "WORSE"
    assert states(judge(old, shifted(old, ERROR, lambda _: -0.011 * mean), {}))[ERROR] == "better"
    assert states(judge(old, shifted(old, ERROR, lambda _: 2.0), {ERROR: 2.1}))[ERROR] == "within tolerance"
    odd = shifted(old, ERROR, lambda index: 100.0 if index == 0 else 0.0)
    assert states(judge(old, odd, {}))[ERROR] == "not significant"
    assert not judge(old, odd, {}).worse
    assert judge(old, odd, {}).doubtful == [ERROR]


def test_a_higher_value_may_be_the_better_one(measured: Measured) -> None:
    old = measured("blend")
    upward = old.measures | {ERROR: {**old.measures[ERROR], "lower_is_better": False}}
    old = replace(old, measures=upward)
    assert states(judge(old, shifted(old, ERROR, lambda _: 2.0), {}))[ERROR] == "better"
    down = judge(old, shifted(old, ERROR, lambda index: -2.0 - index), {})
    assert states(down)[ERROR] == "WORSE"
    assert down.worst[ERROR][0] == old.rows[-1]["pair"]
    assert f"{ERROR} ↑" in table(down, old)


def test_without_an_interval_the_tolerance_decides(measured: Measured) -> None:
    """One person in every pair: nothing tells how far another would move the mean."""
    old = measured("blend")
    old = replace(old, rows=[{**row, "source_identity": "one"} for row in old.rows])
    assert states(judge(old, shifted(old, ERROR, lambda index: 2.0 + index), {}))[ERROR] == "WORSE"
    assert "nan" in table(judge(old, shifted(old, ERROR, lambda index: 2.0 + index), {}), old)


def test_rows_that_fail_now_are_worse_and_rows_that_do_not_are_better(measured: Measured) -> None:
    old, new = measured("blend"), measured("blend-nan")
    verdict = judge(old, new, {})
    dark = {row["pair"] for row in old.rows if row["target_identity"] == "person-dark"}
    assert verdict.worse
    assert verdict.newly_failed.keys() == dark
    assert verdict.pairs == list(verdict.newly_failed)[:5]
    assert set(states(verdict).values()) == {"the same"}, "the rows that both scored did not change"
    back = judge(new, old, {})
    assert not back.worse
    assert improvements(back, old) == f"{len(dark)} pairs scored that had failed"
    assert not judge(new, new, {}).worse
    none = replace(old, rows=[{**row, "reason": "no face"} for row in old.rows])
    assert judge(old, none, {}).worse
    assert not judge(old, none, {}).changes


@pytest.mark.parametrize(
    ("tolerance", "message"),
    [({"identity": 0.1}, "'identity' names 0 of the measures"), ({ERROR: -1.0}, "must be 0 or more"),
     ({ERROR: float("nan")}, "must be 0 or more")],
)  # fmt: skip
def test_a_tolerance_that_cannot_be(measured: Measured, tolerance: dict[str, float], message: str) -> None:
    old = measured("blend", limit=2)
    with pytest.raises(UsageError, match=message):
        judge(old, old, tolerance)


@pytest.mark.parametrize(
    ("part", "key", "value", "message"),
    [
        ("method", "name", "bland", "method: bland in the baseline, blend now"),
        ("protocol", "name", "huge", "protocol: huge in the baseline, tiny now"),
        ("protocol", "version", "0", "protocol's version: 0 in the baseline, 1 now"),
        ("protocol", "split", "test", "split: test in the baseline, validation now"),
        ("protocol", "content", "ab" * 32, "images (content hash): abababababab in the baseline"),
        ("pairs", "hash", "ab" * 32, "pair list: 4 pairs, hash abababababab in the baseline, 4 pairs"),
        ("measures", ERROR, None, f"measures: {SOURCE}, {TARGET} in the baseline, {SOURCE}, {TARGET}, {ERROR} now"),
        ("measures", SOURCE, {"version": "1/0", "weights": {}}, f"version of {SOURCE}: 1/0 in the baseline, 1/1 now"),
        ("measures", SOURCE, {"version": "1/1", "weights": {"w": "a"}}, f"{SOURCE}: the weights of its judge"),
    ],
)
def test_other_conditions_are_named(measured: Measured, part: str, key: str, value: object, message: str) -> None:
    now = measured("blend", limit=4)
    changed = {**getattr(now, part), key: value}
    old = replace(now, **{part: {k: v for k, v in changed.items() if v is not None}})
    (found,) = old.mismatches(now)
    assert found.startswith(message)


def test_another_device_or_test_is_another_baseline(measured: Measured) -> None:
    now = measured("blend", limit=2)
    assert replace(now, device="cuda").mismatches(now) == ["device: cuda in the baseline, cpu now"]
    assert replace(now, test="a.py::b").mismatches(now) == ["test: a.py::b in the baseline, test_x.py::test_x now"]


def test_the_page_states_the_tolerances() -> None:
    page = (Path(__file__).parents[2] / "docs" / "regression.md").read_text()
    stated = re.findall(r"^\| ((?:`\S+@\S+`(?:, )?)+) \| ([\d.]+)", page, re.MULTILINE)
    assert {name: float(value) for names, value in stated for name in re.findall(r"`(\S+)`", names)} == TOLERANCES
    assert f"{SHARE:.0%}".replace("%", " %") + " of the baseline's mean" in page


# As a user sees it --------------------------------------------------------------------------------------------------

METHOD = """
SIZE = 64


def swap(source, target):
    return (source + target) / 2
"""
TESTS = """
def test_swap(swap_regression):
    swap_regression.check("swap.py:swap", protocol="tiny", limit=28)

def test_copies(swap_regression):
    swap_regression.check("target-copy", protocol="tiny", limit=2, name="a")
    swap_regression.check("source-copy", protocol="tiny", limit=2, name="b")

def test_copied(swap_regression):
    swap_regression.check("target-copy", protocol="tiny", limit=3)

def test_twice(swap_regression):
    swap_regression.check("target-copy", protocol="tiny", limit=1)
    swap_regression.check("target-copy", protocol="tiny", limit=1)

def test_unknown(swap_regression):
    swap_regression.check("target-cpoy", protocol="tiny", name="[odd/name]")
"""
BASELINE = Path("swap_baselines", "test_it.test_swap.json")


def pytest_says(pytester: pytest.Pytester, *arguments: str) -> tuple[dict[str, int], str]:
    result = pytester.runpytest_inprocess("-p", "no:cacheprovider", "--mfim-out", "out", *arguments)
    return result.parseoutcomes(), result.stdout.str()


def test_from_no_baseline_to_red_and_back(pytester: pytest.Pytester, measured: Measured) -> None:
    measured("blend", limit=2)  # imports torch and the rest here: an inner session forgets what it imports
    plugins.registry.cache_clear()
    plugins.plugins.cache_clear()
    method = pytester.makepyfile(swap=METHOD)
    whole = method.read_text()
    pytester.makepyfile(test_it=TESTS)
    failures = pytester.path / "out" / "failures" / "test_it.test_swap"

    outcomes, said = pytest_says(pytester)
    assert outcomes == {"failed": 5}
    assert f"\nno baseline {BASELINE}; make it with: pytest --mfim-update-baseline test_it.py::test_swap\n" in said
    assert "Traceback" not in said

    outcomes, said = pytest_says(pytester, "--mfim-update-baseline", "-k", "not copied")
    assert outcomes == {"passed": 2, "failed": 2, "deselected": 1}
    assert f"test_it.py::test_swap: wrote the baseline {BASELINE}: 28 pairs; commit it" in said
    assert '\na test with several checks gives each a name: swap_regression.check(…, name="second")\n' in said
    assert "\nno method is called 'target-cpoy'; did you mean target-copy, source-copy?\n" in said
    written = Baseline.read(pytester.path / BASELINE)
    assert written.test == "test_it.py::test_swap"
    assert "--mfim-update-baseline -k 'not copied'" in written.made["command"]
    assert written.made["platform"]
    assert read_image((pytester.path / BASELINE).with_suffix(".webp")).shape == (5 * THUMBNAIL, 6 * THUMBNAIL, 3)
    names = {path.name for path in (pytester.path / "swap_baselines").iterdir()}
    stems = ("test_swap", "test_copies-a", "test_copies-b", "test_twice")
    assert names == {f"test_it.{stem}.{end}" for stem in stems for end in ("json", "webp")}

    # One session with what is worse, what is as it was, and what cannot be compared.
    method.write_text(whole.replace("SIZE = 64", "SIZE = 16"))
    other = BASELINE.with_name("test_it.test_copied.json")
    shutil.copy(pytester.path / BASELINE.with_name("test_it.test_copies-a.json"), pytester.path / other)
    outcomes, said = pytest_says(pytester, "-k", "swap or copies or copied")
    assert outcomes == {"passed": 1, "failed": 2, "deselected": 2}
    assert said.count("test_it.py::test_copies: target-copy 1 keeps its baseline: 3 measures, 2 pairs") == 1
    assert f"\nthe baseline {other} cannot be compared with this run:\n  test: test_it.py::test_copies a in" in said
    assert "\n  pair list: 2 pairs, hash " in said
    assert "make the baseline again with: pytest --mfim-update-baseline test_it.py::test_copied\n" in said
    assert f"file-swap-swap is worse than its baseline {BASELINE} on tiny (validation, 28 pairs)" in said
    assert "now − baseline [95 %]" in said
    assert f"worst pairs in {ERROR}:" in said
    assert f"and the run: {failures.relative_to(pytester.path)}\n" in said
    assert (failures / "message.txt").read_text().splitlines()[0] in said
    pictures = sorted(failures.glob("*.png"))
    worst = said.partition("worst pairs in ")[2].partition("\n  ")[2].partition(":")[0]
    assert pictures[0].name == f"01-{worst}.png"
    shown = read_image(pictures[0])
    assert shown.shape == (HEAD + SIDE, 5 * SIDE, 3)  # source, target, baseline, now, truth
    baseline, now = (shown[HEAD + 40 : -40, at * SIDE + 40 : (at + 1) * SIDE - 40].astype(float) for at in (2, 3))
    assert np.abs(baseline - now).mean() > 3
    assert (failures / "run" / "manifest.json").is_file()

    # The method is as it was: so are its numbers, and the file is left alone.
    method.write_text(whole)
    before = (pytester.path / BASELINE).read_bytes()
    outcomes, said = pytest_says(pytester, "--mfim-update-baseline", "test_it.py::test_swap")
    assert outcomes == {"passed": 1}
    assert "stays as it is: nothing changed" in said
    assert (pytester.path / BASELINE).read_bytes() == before
    assert not failures.exists()


def test_two_tests_of_one_name_and_sessions_of_one_folder(pytester: pytest.Pytester, measured: Measured) -> None:
    measured("blend", limit=2)  # as above
    plugins.registry.cache_clear()
    plugins.plugins.cache_clear()
    check = "swap_regression.check('target-copy', protocol='tiny', limit={})\n"
    pytester.makepyfile(
        test_it="import pytest\n@pytest.mark.parametrize('name', ['a b', 'a-b'])\n"
        "def test_same(swap_regression, name):\n    " + check.format("2 if name == 'a b' else 3")
    )
    update = "--mfim-update-baseline"
    with own_folder(pytester.path / "out") as taken:  # as by another session
        outcomes, said = pytest_says(pytester, update)
        assert not (taken / "tiny").exists()
    assert outcomes == {"passed": 1, "failed": 1}
    assert "is the baseline of test_it.py::test_same[a b], not of test_it.py::test_same[a-b]; if two tests" in said
    assert (pytester.path / "out" / "runs-2" / "tiny").is_dir()
    kept = Baseline.read(pytester.path / "swap_baselines" / "test_it.test_same-a-b.json")
    assert (kept.test, len(kept.rows)) == ("test_it.py::test_same[a b]", 2)


def test_what_another_process_wrote_meanwhile_is_kept(measured: Measured, tmp_path: Path) -> None:
    measured("blend", limit=2).write(tmp_path / "x.json", fresh=True)
    before = (tmp_path / "x.json").read_bytes()
    with pytest.raises(FileExistsError):
        measured("blend", limit=3).write(tmp_path / "x.json", fresh=True)
    assert (tmp_path / "x.json").read_bytes() == before
    measured("blend", limit=3).write(tmp_path / "x.json")
    assert len(Baseline.read(tmp_path / "x.json").rows) == 3


def test_failures_of_one_name_in_two_folders_are_both_kept(pytester: pytest.Pytester, measured: Measured) -> None:
    measured("blend", limit=2)  # as above
    plugins.registry.cache_clear()
    plugins.plugins.cache_clear()
    method = pytester.makepyfile(swap=METHOD)
    for folder in ("a", "b"):
        (pytester.path / folder).mkdir()
        (pytester.path / folder / "__init__.py").touch()
        (pytester.path / folder / "test_it.py").write_text(TESTS.partition("def test_copies")[0])
    assert pytest_says(pytester, "--mfim-update-baseline")[0] == {"passed": 2}
    method.write_text(method.read_text().replace("SIZE = 64", "SIZE = 16"))
    assert pytest_says(pytester)[0] == {"failed": 2}
    for folder in ("a", "b"):
        left = pytester.path / "out" / "failures" / folder / "test_it.test_swap"
        assert (left / "run" / "manifest.json").is_file()
        assert list(left.glob("01-*.png"))


def test_the_plugin_is_cheap_to_import() -> None:
    code = "import sys, mfim_bench.testing.plugin; print(*({'torch', 'numpy', 'scipy', 'PIL'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ)
    assert done.stdout == "\n"
