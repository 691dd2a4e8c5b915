"""``mfim-bench swap``: one swap, for people."""

from __future__ import annotations

import os
import tempfile
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mfim_bench.errors import RowError, UsageError

if TYPE_CHECKING:
    from mfim_bench.bench.parts import Row
    from mfim_bench.bench.swapping import Swapper
    from mfim_bench.media.pictures import Picture
    from mfim_bench.method import MethodSpec

VIDEO_SUFFIXES = frozenset({".mp4", ".m4v", ".mov", ".mkv", ".avi", ".webm"})
WRITABLE_VIDEO = frozenset({".mp4", ".mov", ".mkv"})


def swap(
    method: Annotated[str, typer.Option("--method", "-m", help="NAME, NAME@SIZE, file.py:function or cmd:…")],
    source: Annotated[Path, typer.Option("--source", "-s", help="Image that gives the identity.")],
    target: Annotated[Path, typer.Option("--target", "-t", help="Image or video that gives all else.")],
    output: Annotated[Path, typer.Option("--output", "-o", help=".png, or .mp4, .mov, .mkv for a video.")],
    device: Annotated[str, typer.Option("--device", help="auto, cpu, cuda or cuda:N.")] = "auto",
    batch_size: Annotated[int, typer.Option("--batch-size", min=1, help="Video frames a call.")] = 8,
    seed: Annotated[int, typer.Option("--seed", help="Seeds torch and numpy before every batch.")] = 0,
) -> None:
    """Put the face of one image on another image or on a video. The output says in its metadata that it is a swap."""
    from mfim_bench.plugins import registry

    spec = registry().method(method)
    if spec.oracle or method.startswith("dir:"):
        raise UsageError(f"{method} makes no swaps of its own; it can only be scored under a protocol")
    video = target.suffix.lower() in VIDEO_SUFFIXES
    _check_paths(source, target, output, WRITABLE_VIDEO if video else frozenset({".png"}))

    with tempfile.TemporaryDirectory(prefix="mfim-bench-") as folder:
        work = Path(folder)
        for name in ("parts", "images"):
            (work / name).mkdir()
        swapper = _swapper(spec, work, device, batch_size, seed)
        try:
            if video:
                _swap_video(swapper, spec, source, target, output, work)
            else:
                _swap_image(swapper, source, target, output, work)
        finally:
            swapper.eyes.close()


def _check_paths(source: Path, target: Path, output: Path, suffixes: frozenset[str]) -> None:
    for role, path in (("source", source), ("target", target)):
        if not path.is_file():
            raise UsageError(f"--{role}: there is no file {path}")
    if output.suffix.lower() not in suffixes:
        raise UsageError(f"--output: {output.name} must end in {' or '.join(sorted(suffixes))}")
    folder = output.absolute().parent
    if not folder.is_dir():
        raise UsageError(f"--output: there is no folder {folder}")
    if not os.access(folder, os.W_OK) or output.is_dir():
        raise UsageError(f"--output: {output} cannot be written")
    if output.resolve() in (source.resolve(), target.resolve()):
        raise UsageError("--output would overwrite an input")


def _swapper(spec: MethodSpec, work: Path, device: str, batch_size: int, seed: int) -> Swapper:
    from mfim_bench.bench.cache import FeatureCache
    from mfim_bench.bench.eyes import Eyes
    from mfim_bench.bench.runner import resolve_device
    from mfim_bench.bench.swapping import Swapper
    from mfim_bench.plugins import load_method

    torch_device, name = resolve_device(device)
    method = load_method(spec, torch_device)
    eyes = Eyes([], torch_device, name, FeatureCache(work / "features.sqlite"), workers=1)
    return Swapper(spec, method, torch_device, eyes, batch_size, seed, oval=True, level=1)


def _swap_image(swapper: Swapper, source: Path, target: Path, output: Path, work: Path) -> None:
    from mfim_bench.media.images import read_image, read_metadata, read_profile, write_image
    from mfim_bench.protocol import Frame, Pair

    pair = Pair("swap", Frame(source.name, source, "source"), Frame(target.name, target, "target"))
    row = swapper.run([pair], work, lambda _: None)[pair.id]
    _say(row)
    made = work / "images" / f"{pair.id}.png"
    write_image(output, read_image(made), read_metadata(made), read_profile(target))


def _say(row: Row) -> None:
    """Print the row's note; raise its reason: bad input is wrong use, all else a failed swap."""
    if row["note"]:
        typer.echo(f"note: {row['note']}", err=True)
    if row["reason"]:
        raise (UsageError if row["reason"].startswith(("source:", "target:")) else RowError)(row["reason"])


def _swap_video(swapper: Swapper, spec: MethodSpec, source: Path, target: Path, output: Path, work: Path) -> None:
    from mfim_bench.bench.progress import Progress
    from mfim_bench.bench.swapping import resize
    from mfim_bench.media.images import read_image, write_image
    from mfim_bench.media.video import VideoWriter, video_info
    from mfim_bench.protocol import Frame, Pair

    try:
        info = video_info(target)
        read_image(source)
    except RowError as error:
        raise UsageError(str(error)) from error
    comment = f"Synthetic: a face swap by {spec.name} {spec.version} (mfim-bench), source {source.name}"
    pictures = _pictures(target)
    kept, several = Counter[str](), Counter[str]()
    count = 0
    with (
        VideoWriter(output, info.rate, metadata={"comment": comment}, sound=target) as writer,
        Progress(f"{spec.name}: swap", info.frames or 1) as progress,
    ):
        while batch := list(islice(pictures, swapper.batch_size)):
            pairs = []
            for picture in batch:
                name = f"{count:08d}"
                count += 1
                write_image(work / f"{name}.png", picture.rgb, level=0)
                pairs.append(Pair(name, Frame(source.name, source, "s"), Frame(name, work / f"{name}.png", "t")))
            # Parts are named by their place in a run: each batch of a video is a run of its own.
            rows = swapper.run(pairs, _fresh(work), progress.advance)
            for pair, picture in zip(pairs, batch, strict=True):
                reason, note = rows[pair.id]["reason"], rows[pair.id]["note"] or ""
                made = work / "images" / f"{pair.id}.png"
                if reason and reason.startswith("source:"):
                    raise UsageError(reason)
                height, width = picture.rgb.shape[:2]
                writer.write(picture.rgb if reason else resize(read_image(made), (width, height)), picture)
                kept.update([reason] if reason else [])
                several.update(role for role in ("source", "target") if f"{role}:" in note)
                for file in (pair.target.path, made):
                    file.unlink(missing_ok=True)
                swapper.eyes.forget(pair.target.path)
        if kept.total() == count:
            raise RowError(f"no frame of {target.name} could be swapped: {next(iter(kept), 'it has none')}")
    notes = list(writer.notes)
    if kept:
        reasons = ", ".join(f"{reason} ({number})" for reason, number in kept.most_common(3))
        notes.append(f"{kept.total()} of {count} frames are kept as they were: {reasons}")
    if several["source"]:
        notes.append("source: several faces, largest taken")
    if several["target"]:
        notes.append(f"target: several faces in {several['target']} of {count} frames, largest taken")
    for note in notes:
        typer.echo(f"note: {note}", err=True)


def _pictures(target: Path) -> Iterator[Picture]:
    """The frames of the target; a video that breaks off is wrong use."""
    from mfim_bench.media.video import read_pictures

    try:
        yield from read_pictures(target)
    except RowError as error:
        raise UsageError(f"target: {error}") from error


def _fresh(work: Path) -> Path:
    for part in (work / "parts").iterdir():
        part.unlink()
    return work


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command()(swap)
