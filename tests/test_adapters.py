"""Methods from a file, a command and a folder, and all the ways in which they fail."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from mfim_bench import adhoc
from mfim_bench.adapters.command import CommandMethod
from mfim_bench.adapters.folder import FolderMethod
from mfim_bench.check import drawn
from mfim_bench.errors import RowError, UsageError
from mfim_bench.media.images import write_image
from mfim_bench.method import FrameMethod, Method, ResultsMethod
from mfim_bench.plugins import load_method, registry
from mfim_bench.protocol import Frame, Pair

CPU = torch.device("cpu")
FILE = """
import helper
from dataclasses import dataclass

SIZE = 32
TEMPLATE = "arcface"
TRAINED_WITH = ["dlib"]
FILES = ["weights.bin"]
raise_at_import = False

def swap(source, target):
    return helper.mix(source, target)

@dataclass
class Made:
    device: object
    def swap(self, source, target):
        return target

def make(device):
    return Made(device)

def odd(a, b, c):
    return a

number = 3
"""


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "helper.py").write_text("def mix(source, target):\n    return (source + target) / 2\n")
    (tmp_path / "weights.bin").write_bytes(b"1")
    path = tmp_path / "my_swap.py"
    path.write_text(FILE)
    return path


def test_a_file_is_described_without_running_it(file: Path) -> None:
    file.write_text(FILE + "\nraise RuntimeError('run')\n")
    spec = registry().method(f"{file}:swap")
    assert (spec.name, spec.size, spec.template) == ("file-my-swap-swap", 32, "arcface")
    assert spec.trained_with == ("dlib",)
    with pytest.raises(UsageError, match=r"my_swap\.py could not be run: RuntimeError: run"):
        load_method(spec, CPU)


def test_a_function_a_class_and_a_factory_swap(file: Path) -> None:
    source, target = torch.zeros(2, 3, 32, 32), torch.ones(2, 3, 32, 32)
    for name, value in {"swap": 0.5, "Made": 1.0, "make": 1.0}.items():
        method = load_method(registry().method(f"{file}:{name}"), CPU)
        assert isinstance(method, Method)
        assert float(method.swap(source, target).mean()) == value


def test_the_version_follows_the_file_and_the_files_it_names(file: Path) -> None:
    versions = {adhoc.spec_of(f"{file}:swap").version}
    (file.parent / "weights.bin").write_bytes(b"2")
    versions.add(adhoc.spec_of(f"{file}:swap").version)
    file.write_text(FILE + "#")
    versions.add(adhoc.spec_of(f"{file}:swap").version)
    assert len(versions) == 3


@pytest.mark.parametrize(
    ("change", "name", "message"),
    [
        (("", ""), "nothing", "defines no 'nothing'"),
        (("def swap(", "def swap(("), "swap", "not valid Python"),
        (("SIZE = 32", "SIZE = 7"), "swap", "SIZE must be between"),
        (("SIZE = 32", "SIZE = side()"), "swap", "SIZE must be a literal int"),
        (('"arcface"', '"box"'), "swap", "TEMPLATE must be"),
        (("weights.bin", "gone.bin"), "swap", r"cannot read .*gone\.bin"),
        (("", ""), "odd", "must take"),
        (("", ""), "number", "is a int, not a function"),
    ],
)
def test_a_wrong_file_is_one_line(file: Path, change: tuple[str, str], name: str, message: str) -> None:
    file.write_text(FILE.replace(*change))
    with pytest.raises(UsageError, match=message) as caught:
        load_method(registry().method(f"{file}:{name}"), CPU)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_one_line() -> None:
    with pytest.raises(UsageError, match="No such file"):
        registry().method("nowhere/x.py:swap")


# A command ----------------------------------------------------------------------------------------------------------

BODY = {
    "copy": "shutil.copy(target, output)",
    "fails": "sys.stderr.write('first\\nmodel file missing\\n'); sys.exit(3)",
    "silent": "pass",
    "garbage": "open(output, 'w').write('no image')",
    "small": "Image.open(target).resize((8, 8)).save(output)",
    "hangs": "subprocess.Popen([sys.executable, '-c', {child!r}]); time.sleep(60)",
    "leaves": "shutil.copy(target, output); subprocess.Popen([sys.executable, '-c', {child!r}]); time.sleep(1)",
    "dies": "os.kill(os.getpid(), 11)",
}
HEAD = "import os, shutil, subprocess, sys, time\nfrom PIL import Image\nsource, target, output = sys.argv[1:]\n"


def _command(tmp_path: Path, kind: str, seconds: float = 20) -> CommandMethod:
    child = f"import os, time; open({str(tmp_path / 'child')!r}, 'w').write(str(os.getpid())); time.sleep(60)"
    script = tmp_path / f"{kind} it.py"
    script.write_text(HEAD + BODY[kind].format(child=child) + "\n")
    return CommandMethod([sys.executable, str(script), "{source}", "{target}", "{output}"], seconds)


def test_a_command_swaps(tmp_path: Path) -> None:
    method = _command(tmp_path, "copy")
    assert isinstance(method, FrameMethod)
    target = drawn(1, 40, 30)
    assert np.array_equal(method.swap_frame(drawn(0, 20, 20), target), target)


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("fails", "failed with exit code 3: model file missing"),
        ("silent", "wrote no output"),
        ("garbage", r"not an image: output\.png"),
        ("small", "output is 8x8 px, the target 30x40 px"),
        ("dies", "ended by signal 11"),
    ],
)
def test_a_failing_command_is_a_row_error(tmp_path: Path, kind: str, reason: str) -> None:
    with pytest.raises(RowError, match=reason) as caught:
        _command(tmp_path, kind).swap_frame(drawn(0), drawn(1, 40, 30))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("kind", "seconds"), [("hangs", 3.0), ("leaves", 20.0)])
def test_a_command_and_all_it_started_are_killed(tmp_path: Path, kind: str, seconds: float) -> None:
    start = time.monotonic()
    expected = pytest.raises(RowError, match="ran longer than 3 s") if kind == "hangs" else contextlib.nullcontext()
    with expected:
        _command(tmp_path, kind, seconds).swap_frame(drawn(0), drawn(1))
    assert time.monotonic() - start < 15
    child = int((tmp_path / "child").read_text())
    deadline = time.monotonic() + 5
    while _runs(child) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not _runs(child)


def _runs(pid: int) -> bool:
    """Whether a process lives; one that is dead and not yet reaped by its new parent does not."""
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False


def test_arguments_are_not_read_by_a_shell(tmp_path: Path) -> None:
    script = tmp_path / "args.py"
    script.write_text(
        HEAD.replace("source, target, output", "*rest, source, target, output") + "shutil.copy(target, output)\n"
    )
    text = f"cmd:{sys.executable} {script} '; touch {tmp_path}/ran; $(id)' {{source}} {{target}} {{output}}"
    method = load_method(registry().method(text), CPU)
    assert isinstance(method, FrameMethod)
    method.swap_frame(drawn(0), drawn(1))
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("cmd:", "names no program"),
        ("cmd:no-such-program {source} {target} {output}", "there is no program 'no-such-program'"),
        ("cmd:python {source} {target}", r"has no \{output\}"),
        ("cmd:python '{source} {target} {output}", "cannot be split"),
    ],
)
def test_a_wrong_command_is_one_line(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        registry().method(text)


def test_the_time_limit_must_be_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = registry().method("cmd:python x.py {source} {target} {output}")
    for value in ("soon", "-1", "inf", "nan"):
        monkeypatch.setenv("MFIM_BENCH_COMMAND_SECONDS", value)
        with pytest.raises(UsageError, match="positive number of seconds"):
            load_method(spec, CPU)
    monkeypatch.setenv("MFIM_BENCH_COMMAND_SECONDS", "7.5")
    assert load_method(spec, CPU).seconds == 7.5  # type: ignore[union-attr]


# A folder -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def pair() -> Pair:
    return Pair("p1", Frame("s1", Path("s"), "a"), Frame("t1", Path("t"), "b"))


def test_a_folder_finds_results_by_pair_or_by_its_frames(tmp_path: Path, pair: Pair) -> None:
    write_image(tmp_path / "p1.png", drawn(0))
    method = load_method(registry().method(f"dir:{tmp_path}"), CPU)
    assert isinstance(method, ResultsMethod)
    assert method.result(pair) == tmp_path / "p1.png"
    (tmp_path / "p1.png").rename(tmp_path / "s1-t1.JPG")
    assert method.result(pair) == tmp_path / "s1-t1.JPG"
    (tmp_path / "p1.webp").touch()
    with pytest.raises(RowError, match="several results"):
        method.result(pair)


def test_a_pattern_says_how_results_are_named(tmp_path: Path, pair: Pair) -> None:
    (tmp_path / "t1").mkdir()
    write_image(tmp_path / "t1" / "t1_s1.png", drawn(0))
    method = load_method(registry().method(f"dir:{tmp_path}/{{target}}/{{target}}_{{source}}.png"), CPU)
    assert isinstance(method, ResultsMethod)
    assert method.result(pair) == tmp_path / "t1" / "t1_s1.png"


def test_nothing_outside_the_folder_is_read(tmp_path: Path, pair: Pair) -> None:
    inside = tmp_path / "inside"
    inside.mkdir()
    write_image(tmp_path / "p1.png", drawn(0))
    with pytest.raises(RowError, match="outside"):
        FolderMethod(inside, "../{pair}.png").result(pair)
    (inside / "p1.png").symlink_to(tmp_path / "p1.png")
    with pytest.raises(RowError, match="outside"):
        FolderMethod(inside, "").result(pair)


def test_missing_results(tmp_path: Path, pair: Pair) -> None:
    with pytest.raises(UsageError, match="there is no folder"):
        registry().method(f"dir:{tmp_path / 'gone'}")
    with pytest.raises(UsageError, match="there is no image"):
        registry().method(f"dir:{tmp_path}")
    write_image(tmp_path / "other.png", drawn(0))
    first = registry().method(f"dir:{tmp_path}")
    with pytest.raises(RowError, match=r"no result: p1\.png or s1-t1\.png"):
        load_method(first, CPU).result(pair)  # type: ignore[union-attr]
    write_image(tmp_path / "other.png", drawn(1))
    assert registry().method(f"dir:{tmp_path}").version != first.version
