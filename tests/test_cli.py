"""The command line: quick without torch, one line for wrong use, the exit codes, one swap."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from skimage import data

from mfim_bench.cli import run_command
from mfim_bench.media.images import read_image, read_metadata, write_image
from mfim_bench.media.video import VideoWriter, read_frames
from mfim_bench.plugins import registry
from mfim_bench.weights import CACHE_VARIABLE, WeightsSpec

Cli = Callable[..., tuple[int, str, str]]


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Cli:
    """``cli("list", "methods")`` → exit code, stdout, stderr."""

    def call(*arguments: str | Path) -> tuple[int, str, str]:
        code = run_command([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        return code, out, err

    return call


@pytest.mark.parametrize("arguments", [["--help"], ["list", "methods"], ["list", "plugins", "--json"], ["--version"]])
def test_help_and_list_import_no_torch_and_answer_at_once(arguments: list[str]) -> None:
    code = (
        "import sys; from mfim_bench.cli import run_command; code = run_command(sys.argv[1:]);"
        "heavy = {'torch', 'cv2', 'scipy', 'numpy', 'PIL', 'matplotlib', 'pyarrow'} & set(sys.modules);"
        "sys.exit(f'imported {heavy}' if heavy else code)"
    )
    before = os.times()
    start = time.monotonic()
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)
    wall, after = time.monotonic() - start, os.times()
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    # Processor time, since the machine may be busy with other tests: 0.6 s of it is the promise.
    spent = after.children_user + after.children_system - before.children_user - before.children_system
    assert spent < 0.6, f"{spent:.2f} s of processor, {wall:.2f} s in all"


def test_reading_runs_imports_no_torch(tmp_path: Path) -> None:
    """One process for all verbs that read records: what one imports, the next would hide."""
    kept = Path(__file__).parents[1] / "docs" / "ablations"
    runs = [str(next((kept / name).iterdir())) for name in ("target-copy@64", "truth@64")]
    (tmp_path / "virtual-faces").mkdir()
    for run in map(Path, runs):
        (tmp_path / "virtual-faces" / run.parent.name).symlink_to(run.parent)
    commands = [
        ["published"],
        ["compare", *runs],
        ["table", "--form", "mfim-3", *runs],
        ["leaderboard", "--common", "--out", str(tmp_path)],
        ["report", *runs, "--output", str(tmp_path / "report.html")],
    ]
    code = (
        "import json, sys; import mfim_bench.bench; from mfim_bench.cli import run_command\n"
        "for words in json.loads(sys.argv[1]):\n"
        "    code = run_command(words)\n"
        "    heavy = {'torch', 'scipy.stats'} & set(sys.modules)\n"
        "    if code or heavy: sys.exit(f'{words[0]}: exit code {code}, imported {heavy}')\n"
    )
    done = subprocess.run([sys.executable, "-c", code, json.dumps(commands)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_list_json_holds_the_specs(cli: Cli) -> None:
    for kind in ("methods", "protocols", "measures", "weights"):
        code, out, _ = cli("list", kind, "--json")
        assert code == 0
        rows = {row["name"]: row for row in json.loads(out)}
        assert set(rows) == set(getattr(registry(), kind))
        assert all(row["origin"] for row in rows.values())
    code, out, _ = cli("list", "plugins", "--json")
    assert {"references", "measures"} <= {row["name"] for row in json.loads(out)}


def test_lists_are_tables(cli: Cli) -> None:
    code, out, _ = cli("list", "methods")
    assert code == 0
    assert ["target-copy", "any"] in [line.split()[:2] for line in out.splitlines()]
    code, out, _ = cli("list", "plugins")
    assert "mfim_bench.references" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["lst"], "No such command 'lst'. Did you mean 'list'?"),
        (["list"], "Missing argument"),
        (["list", "method"], "Invalid value"),
        (["list", "methods", "--jsno"], "No such option"),
        (["check", "--method", "target-cpy"], "no method is called 'target-cpy'; did you mean target-copy"),
        (["check"], "Missing option"),
        (["check", "--method", "no/such/file.py:swap"], "cannot read no/such/file.py"),
        (["check", "--method", "target-copy", "--device", "tpu"], "--device"),
        (["data", "check", "no-such-protocol"], "no protocol is called 'no-such-protocol'"),
        (["data", "check", "folder"], "needs --data DIR"),
        (["data", "check", "folder", "--data", "/no/such/dir"], "there is no folder /no/such/dir"),
        (["weights", "path", "dlib-face-recogniton"], "did you mean dlib-face-recognition"),
        (["weights", "verify", "nothing-like-it"], "no weights file is called"),
        (["run", "--method", "target-copy", "--protocol", "no-such-protocol"], "no protocol is called"),
        (["run", "--method", "nothing"], "no method is called 'nothing'"),
    ],
)
def test_wrong_use_is_one_line_and_code_2(cli: Cli, arguments: list[str], message: str) -> None:
    code, out, err = cli(*arguments)
    assert (code, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1
    assert "Traceback" not in err


def test_a_collision_still_lists_plugins(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    from mfim_bench import plugins
    from mfim_bench.cli import listing
    from mfim_bench.errors import UsageError

    def collide() -> plugins.Registry:
        raise UsageError("two methods are called 'x'")

    monkeypatch.setattr(listing, "registry", collide)
    code, out, err = cli("list", "plugins")
    assert code == 0
    assert "references" in out
    assert "two methods are called 'x'" in err
    assert cli("list", "methods")[0] == 2


def test_check_reports(cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "m.py"
    path.write_text("SIZE = 16\ndef good(s, t):\n    return s\ndef bad(s, t):\n    return s[:1]\n")
    code, out, _ = cli("check", "--method", f"{path}:good")
    assert code == 0
    assert "keeps the contract" in out
    code, out, _ = cli("check", "--method", f"{path}:bad", "--json")
    assert code == 1
    assert {"state": "FAIL", "question": "shape", "detail": "(1, 3, 16, 16), wanted (3, 3, 16, 16)"} in json.loads(out)


def test_weights_verbs(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    digest = "a591a6d40bf420404a011733cfb7b190d62c65bf0bcda32b57b277d9ad9f146e"  # of "Hello World"
    catalogue = {
        "mine": WeightsSpec("mine", sha256=digest, url="the authors' page"),
        "open": WeightsSpec("open", filename="open.pth"),
    }
    for name in list(registry().weights):
        monkeypatch.delitem(registry().weights, name)
    for name, spec in catalogue.items():
        monkeypatch.setitem(registry().weights, name, spec)
    file = tmp_path / "file"
    file.write_text("Hello World")

    code, out, _ = cli("weights", "list")
    assert code == 0
    assert [line.split()[:2] for line in out.splitlines()[2:4]] == [["mine", "absent"], ["open", "absent"]]
    assert "the authors' page" in out
    assert "mfim-bench weights add NAME FILE" in out
    assert cli("weights", "verify") == (0, "absent  mine\nabsent  open\n", "")
    assert cli("weights", "verify", "mine")[0] == 1
    assert cli("weights", "path", "mine")[0] == 2
    assert cli("weights", "add", "mine", file)[0] == 0
    code, out, _ = cli("weights", "path", "mine")
    assert Path(out.strip()).read_text() == "Hello World"
    cli("weights", "add", "open", file)
    code, out, _ = cli("weights", "verify")
    assert code == 0
    assert f"ok      mine  {digest}" in out
    assert f"ok      open  {digest}" in out  # the hash recorded when it was added
    (tmp_path / "cache" / "weights" / "open.pth.sha256").unlink()
    assert f"no hash known open  {digest}" in cli("weights", "verify")[1]
    (tmp_path / "cache" / "weights" / "mine").write_text("changed")
    code, out, _ = cli("weights", "verify")
    assert code == 1
    assert "BAD     weights mine" in out
    assert [row["name"] for row in json.loads(cli("weights", "list", "--json")[1])] == ["mine", "open"]


# One swap -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    portrait = data.astronaut()[:256, 96:352]
    write_image(folder / "a.png", portrait)
    write_image(folder / "b.png", np.ascontiguousarray(data.astronaut()[:300, 80:360][:, ::-1]))
    write_image(folder / "noise.png", np.random.default_rng(0).integers(0, 255, (200, 200, 3), dtype=np.uint8))
    (folder / "truncated.jpg").write_bytes(_jpeg(portrait, folder)[:3000])
    (folder / "empty.png").touch()
    with VideoWriter(folder / "v.mp4", 10) as writer:
        for step in range(3):
            writer.write(np.ascontiguousarray(portrait[step : step + 250]))
        writer.write(np.full((250, 256, 3), 127, np.uint8))
    (folder / "m.py").write_text(
        "SIZE = 64\ndef mix(s, t):\n    return (s + t) / 2\ndef nan(s, t):\n    return s * float('nan')\n"
    )
    return folder


def _jpeg(image: np.ndarray, folder: Path) -> bytes:
    Image.fromarray(image).save(folder / "whole.jpg")
    return (folder / "whole.jpg").read_bytes()


def _swap(cli: Cli, photos: Path, output: Path, **options: str) -> tuple[int, str, str]:
    given = {"method": f"{photos}/m.py:mix", "source": str(photos / "a.png"), "target": str(photos / "b.png")} | options
    return cli("swap", *(part for key, value in given.items() for part in (f"--{key}", value)), "--output", output)


def test_one_image(cli: Cli, photos: Path, tmp_path: Path) -> None:
    assert _swap(cli, photos, tmp_path / "o.png") == (0, "", "")
    swapped, target = read_image(tmp_path / "o.png"), read_image(photos / "b.png")
    assert swapped.shape == target.shape
    changed = np.abs(swapped.astype(int) - target).max(2) > 2
    assert 0.05 < changed.mean() < 0.5
    assert np.array_equal(swapped[-80:], target[-80:])  # below the face
    metadata = read_metadata(tmp_path / "o.png")
    assert metadata["Method"].startswith("file-m-mix ")
    assert (metadata["Source"], metadata["Target"]) == ("a.png", "b.png")


def test_photos_of_any_kind(cli: Cli, photos: Path, tmp_path: Path) -> None:
    """Turned by EXIF, grey, 16 bits, transparent, tiny, large: what lies outside the face is as it was."""
    import cv2
    from PIL import ImageCms

    portrait = Image.fromarray(data.astronaut()[:256, 96:352])
    turned = Image.Exif()
    turned[0x0112] = 6
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    portrait.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "turned.jpg", exif=turned, icc_profile=profile)
    portrait.convert("L").save(tmp_path / "grey.png")
    portrait.convert("RGBA").save(tmp_path / "alpha.png")
    portrait.resize((30, 30)).save(tmp_path / "tiny.png")
    portrait.resize((2001, 1999)).save(tmp_path / "large.jpg")
    assert cv2.imwrite(str(tmp_path / "deep.png"), np.asarray(portrait)[..., ::-1].astype(np.uint16) * 257)
    for target in sorted(tmp_path.iterdir()):
        output = tmp_path / "o" / f"{target.stem}.png"
        output.parent.mkdir(exist_ok=True)
        assert _swap(cli, photos, output, target=str(target)) == (0, "", ""), target.name
        before, after = read_image(target), read_image(output)
        assert before.shape == after.shape
        changed = (before != after).any(axis=2)
        assert 0.03 < changed.mean() < 0.4, target.name
        assert not changed[-before.shape[0] // 4 :].any()
        assert not changed[: before.shape[0] // 20].any()
        assert Image.open(output).info.get("icc_profile") == (profile if target.stem == "turned" else None)
        assert read_metadata(output)["Target"] == target.name


def test_of_several_faces_the_largest_is_swapped(cli: Cli, photos: Path, tmp_path: Path) -> None:
    group = np.full((280, 460, 3), 127, np.uint8)
    portrait = Image.fromarray(data.astronaut()[:256, 96:352])
    group[10:170, 10:170] = np.asarray(portrait.resize((160, 160)))
    group[10:266, 190:446] = np.asarray(portrait)
    write_image(tmp_path / "group.png", group)
    code, _, err = _swap(cli, photos, tmp_path / "o.png", target=str(tmp_path / "group.png"))
    assert (code, err) == (0, "note: target: 2 faces, largest taken\n")
    changed = (read_image(tmp_path / "o.png") != group).any(axis=2)
    assert changed[:, 190:].any()
    assert not changed[:, :190].any()


def test_a_command_swaps_one_image(cli: Cli, photos: Path, tmp_path: Path) -> None:
    script = tmp_path / "copy.py"
    script.write_text("import shutil, sys\nshutil.copy(sys.argv[2], sys.argv[3])\n")
    method = f"cmd:{sys.executable} {script} {{source}} {{target}} {{output}}"
    assert _swap(cli, photos, tmp_path / "o.png", method=method)[0] == 0
    assert np.array_equal(read_image(tmp_path / "o.png"), read_image(photos / "b.png"))


def test_a_video(cli: Cli, photos: Path, tmp_path: Path) -> None:
    code, _, err = _swap(cli, photos, tmp_path / "o.mp4", target=str(photos / "v.mp4"))
    assert code == 0
    assert "1 of 4 frames are kept as they were: target: no face found (1)" in err
    before, after = (np.stack(list(read_frames(path))).astype(int) for path in (photos / "v.mp4", tmp_path / "o.mp4"))
    assert before.shape == after.shape
    change = np.abs(before - after).mean((1, 2, 3))
    assert (change[:3] > 1).all()
    assert change[3] < 0.5


@pytest.mark.parametrize(
    ("options", "output", "code", "message"),
    [
        ({"source": "gone.png"}, "o.png", 2, "--source: there is no file gone.png"),
        ({"source": "{}/truncated.jpg"}, "o.png", 2, "source: broken or truncated image"),
        ({"target": "{}/empty.png"}, "o.png", 2, "target: "),
        ({"target": "{}/noise.png"}, "o.png", 2, "target: no face found"),
        ({"method": "{}/m.py:nan"}, "o.png", 1, "not finite"),
        ({"method": "truth"}, "o.png", 2, "only be scored under a protocol"),
        ({}, "o.gif", 2, "must end in .png"),
        ({}, "no/such/o.png", 2, "there is no folder"),
        ({"target": "{}/v.mp4"}, "o.png", 2, "must end in .mkv or .mov or .mp4"),
        ({"target": "{}/v.mp4", "method": "{}/m.py:nan"}, "o.mp4", 1, "no frame of v.mp4 could be swapped"),
    ],
)
def test_bad_swaps(
    cli: Cli, photos: Path, tmp_path: Path, options: dict[str, str], output: str, code: int, message: str
) -> None:
    given = {key: value.format(photos) for key, value in options.items()}
    got, _, err = _swap(cli, photos, tmp_path / output, **given)
    assert got == code, err
    assert message in err
    assert err.count("\n") == 1
    assert not (tmp_path / output).exists()


def test_an_input_is_never_overwritten(cli: Cli, photos: Path) -> None:
    before = (photos / "b.png").read_bytes()
    assert _swap(cli, photos, photos / "b.png")[0] == 2
    assert (photos / "b.png").read_bytes() == before


def test_main_ends_with_the_code_and_a_closed_pipe_is_no_error() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "mfim_bench.cli", "nonsense"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("mfim-bench: No such command")
    piped = f"{sys.executable} -m mfim_bench.cli list methods --json | head -c 1"
    done = subprocess.run(["bash", "-o", "pipefail", "-c", piped], capture_output=True, text=True, check=False)
    assert done.stderr == ""


def test_a_traceback_on_request(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MFIM_BENCH_TRACEBACK", "1")
    with pytest.raises(Exception, match="no method is called"):
        run_command(["check", "--method", "nothing"])
