"""``mfim-bench swap`` with several sources, and the mixing protocol, with the weights that ship."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from mfim_bench.bench.record import Record
from mfim_bench.cli import run_command
from mfim_bench.media.images import read_image, read_metadata, write_image
from mfim_bench.media.video import VideoWriter, read_frames
from mfim_protocols.virtual_faces.dataset import home

COARSE, FINE, TARGET = (home("test", None) / "frames" / f"{name}.webp" for name in ("p000f0", "p012f0", "p020f0"))


def swap(output: Path, *sources: str, method: str = "mfim", target: Path = TARGET) -> int:
    given = [part for source in sources for part in ("--source", source)]
    return run_command(["swap", "-m", method, *given, "-t", str(target), "-o", str(output)])


def made(output: Path, *sources: str) -> np.ndarray:
    assert swap(output, *sources) == 0
    return read_image(output).astype(int)


def test_sources_share_the_identity(tmp_path: Path) -> None:
    mixed = made(tmp_path / "mixed.png", f"global={COARSE}", f"local={FINE}")
    assert read_metadata(tmp_path / "mixed.png")["Source"] == "global=p000f0.webp, local=p012f0.webp"
    levels = made(tmp_path / "levels.png", f"64={FINE}", f"32={COARSE}")
    assert np.array_equal(levels, mixed)
    assert read_metadata(tmp_path / "levels.png")["Source"] == "64=p012f0.webp, 32=p000f0.webp"
    coarse, fine = (made(tmp_path / f"{path.stem}.png", str(path)) for path in (COARSE, FINE))
    assert read_metadata(tmp_path / "p000f0.png")["Source"] == "p000f0.webp"
    assert np.abs(mixed - coarse).max() > 8
    assert np.abs(mixed - fine).max() > 8
    one = made(tmp_path / "one.png", f"global={COARSE}", f"local={COARSE}")
    assert np.abs(one - coarse).max() <= 1


def test_a_video_gets_a_mixed_identity(tmp_path: Path) -> None:
    frame = read_image(TARGET)
    with VideoWriter(tmp_path / "v.mp4", 25) as writer:
        for _ in range(2):
            writer.write(frame)
    assert swap(tmp_path / "o.mp4", f"global={COARSE}", f"local={FINE}", target=tmp_path / "v.mp4") == 0
    assert swap(tmp_path / "p.mp4", str(COARSE), target=tmp_path / "v.mp4") == 0
    mixed, plain = (list(read_frames(tmp_path / name)) for name in ("o.mp4", "p.mp4"))
    assert len(mixed) == 2
    assert np.abs(mixed[0].astype(int) - plain[0]).max() > 8
    assert b"source global=p000f0.webp, local=p012f0.webp" in (tmp_path / "o.mp4").read_bytes()


@pytest.mark.parametrize(
    ("sources", "message"),
    [
        (["global=A"], "nobody gives ID level 64; the sources give global"),
        (["32=A"], "nobody gives ID level 64"),
        (["A", "B"], "several sources each say which part they give, like global=IMAGE, not "),
        (["global=A", "B"], "several sources each say which part they give"),
        (["global=A", "global=B"], "--source: global is given twice"),
        (["global=A", "local=B", "64=B"], "ID level 64 is given twice, by local and by 64"),
        (
            ["global=A", "eyes=B"],
            "no part of the identity is called 'eyes'; this model knows global (32 px), local (64",
        ),
        (["global=A", "128=B"], "no part of the identity is called '128'"),
        (["global=A", "local=nowhere.png"], "--source: there is no file nowhere.png"),
        (["global=A", "local=N"], "source local: no face found"),
    ],
)
def test_wrong_sources_are_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], sources: list[str], message: str
) -> None:
    write_image(tmp_path / "noise.png", np.random.default_rng(0).integers(0, 255, (160, 160, 3), dtype=np.uint8))
    files = {"A": COARSE, "B": FINE, "N": tmp_path / "noise.png"}

    def path(text: str) -> str:
        part, equals, name = text.rpartition("=")
        return f"{part}{equals}{files.get(name, name)}"

    assert swap(tmp_path / "o.png", *map(path, sources)) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
    assert not (tmp_path / "o.png").exists()


def test_a_method_that_cannot_mix(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert swap(tmp_path / "o.png", f"global={COARSE}", f"local={FINE}", method="poisson") == 2
    assert "poisson cannot mix several sources: it has no mix(sources, target)" in capsys.readouterr().err
    assert swap(tmp_path / "o.png", str(COARSE), method="mfim@local") == 2
    assert "mfim@local needs pairs with a part 'local'" in capsys.readouterr().err
    arguments = ["run", "-m", "poisson", "-p", "virtual-faces-mixing", "--limit", "1", "--out", str(tmp_path / "runs")]
    assert run_command(arguments) == 2
    assert "a protocol that mixes runs it on one source with @global or" in capsys.readouterr().err


def test_a_plain_source_may_hold_an_equals_sign(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_image(tmp_path / "a=b.png", read_image(COARSE))
    monkeypatch.chdir(tmp_path)
    assert swap(tmp_path / "o.png", "a=b.png") == 0
    assert read_metadata(tmp_path / "o.png")["Source"] == "a=b.png"


def test_the_protocol_measures_both_sources(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["run", "-m", "mfim", "-p", "virtual-faces-mixing", "--limit", "3", "--json"]
    assert run_command([*arguments, "--out", str(tmp_path)]) == 0
    found = {summary["method"]["name"]: summary for summary in json.loads(capsys.readouterr().out)}
    assert list(found) == [
        "mfim", "mfim@global", "mfim@local", "target-copy", "source-copy@global", "source-copy@local", "truth",
        "target-copy@64", "truth@64",
    ]  # fmt: skip
    mean = {name: {key: value["mean"] for key, value in s["measures"].items()} for name, s in found.items()}
    assert all(summary["pairs"] == 3 for summary in found.values())
    assert all(found[name]["scored"] == 3 for name in found if not name.startswith("mfim@"))
    assert mean["source-copy@global"]["identity@dlib-l2"] == mean["source-copy@global"]["shape@vertex-mm"] == 0
    assert (
        mean["source-copy@local"]["identity@dlib-l2-local"] == mean["source-copy@local"]["shape@vertex-mm-local"] == 0
    )
    assert mean["truth"]["error-local@l1"] == mean["target-copy"]["expression@vertex-mm"] == 0
    assert 0 < mean["truth@64"]["error-local@l1"] < mean["mfim"]["error-local@l1"]
    folders = [next((tmp_path / "virtual-faces-mixing" / name).iterdir()) for name in ("mfim", "mfim@global")]
    rows = Record.load(folders[0]).rows
    assert all(len({r["source_identity"], *r["other_identities"], r["target_identity"]}) == 3 for r in rows)
    picture = tmp_path / "grid.png"
    assert run_command(["grid", *map(str, folders), "-o", str(picture), "--pairs", "2", "--side", "32"]) == 0
    assert read_image(picture).shape == (18 + 2 * 32, 6 * 32, 3)
