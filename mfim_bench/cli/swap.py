"""``mfim-bench swap``: one swap, for people."""

from __future__ import annotations

import os
import re
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
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
    from mfim_bench.protocol import Frame, Pair

_PART = re.compile(r"(?P<part>[a-z0-9-]+)=(?P<path>.+)")
_INPUT = re.compile(r"(?P<role>source(?: [a-z0-9-]+)?|target):")
"""How a reason or a note begins that is about an input; see `mfim_bench.bench.swapping.role_of`."""
VIDEO_SUFFIXES = frozenset({".mp4", ".m4v", ".mov", ".mkv", ".avi", ".webm"})
WRITABLE_VIDEO = frozenset({".mp4", ".mov", ".mkv"})


def swap(
    method: Annotated[str, typer.Option("--method", "-m", help="NAME, NAME@SIZE, file.py:function or cmd:…")],
    source: Annotated[
        list[str],
        typer.Option(
            "--source",
            "-s",
            help="Image that gives the identity; or, several times, PART=IMAGE: global=a.jpg, local=b.jpg, 32=a.jpg …",
        ),
    ],
    target: Annotated[Path, typer.Option("--target", "-t", help="Image or video that gives all else.")],
    output: Annotated[Path, typer.Option("--output", "-o", help=".png, or .mp4, .mov, .mkv for a video.")],
    device: Annotated[str, typer.Option("--device", help="auto, cpu, cuda or cuda:N.")] = "auto",
    batch_size: Annotated[int, typer.Option("--batch-size", min=1, help="Video frames a call.")] = 8,
    seed: Annotated[int, typer.Option("--seed", help="Seeds torch and numpy before every batch.")] = 0,
) -> None:
    """Put the face of one image on another image or on a video. The output says in its metadata that it is a swap.

    Where the method can, several images share the identity: ``--source global=a.jpg --source local=b.jpg``.
    """
    from mfim_bench.plugins import registry

    spec = registry().method(method)
    if spec.oracle or method.startswith("dir:"):
        raise UsageError(f"{method} makes no swaps of its own; it can only be scored under a protocol")
    video = target.suffix.lower() in VIDEO_SUFFIXES
    sources = _sources(source)
    _check_paths(sources, target, output, WRITABLE_VIDEO if video else frozenset({".png"}))

    with tempfile.TemporaryDirectory(prefix="mfim-bench-") as folder:
        work = Path(folder)
        for name in ("parts", "images"):
            (work / name).mkdir()
        swapper = _swapper(spec, work, device, batch_size, seed, mixes="" not in sources)
        try:
            if video:
                _swap_video(swapper, spec, sources, target, output, work)
            else:
                _swap_image(swapper, sources, target, output, work)
        finally:
            swapper.eyes.close()


def _sources(given: Sequence[str]) -> dict[str, Path]:
    """``--source`` values → part of the identity and its image; the only, plain image has the part ``""``.

    Raises:
        UsageError: several values of which one names no part, or a part named twice.
    """
    if len(given) == 1 and (Path(given[0]).is_file() or not _PART.fullmatch(given[0])):
        return {"": Path(given[0])}
    sources: dict[str, Path] = {}
    for text in given:
        named = _PART.fullmatch(text)
        if named is None:
            raise UsageError(f"--source: several sources each say which part they give, like global=IMAGE, not {text}")
        if named["part"] in sources:
            raise UsageError(f"--source: {named['part']} is given twice")
        sources[named["part"]] = Path(named["path"])
    return sources


def _check_paths(sources: Mapping[str, Path], target: Path, output: Path, suffixes: frozenset[str]) -> None:
    for role, path in [*(("source", path) for path in sources.values()), ("target", target)]:
        if not path.is_file():
            raise UsageError(f"--{role}: there is no file {path}")
    if output.suffix.lower() not in suffixes:
        raise UsageError(f"--output: {output.name} must end in {' or '.join(sorted(suffixes))}")
    folder = output.absolute().parent
    if not folder.is_dir():
        raise UsageError(f"--output: there is no folder {folder}")
    if not os.access(folder, os.W_OK) or output.is_dir():
        raise UsageError(f"--output: {output} cannot be written")
    if output.resolve() in {path.resolve() for path in (*sources.values(), target)}:
        raise UsageError("--output would overwrite an input")


def _swapper(spec: MethodSpec, work: Path, device: str, batch_size: int, seed: int, mixes: bool) -> Swapper:
    from mfim_bench.bench.cache import FeatureCache
    from mfim_bench.bench.eyes import Eyes
    from mfim_bench.bench.runner import resolve_device
    from mfim_bench.bench.swapping import Swapper, check_mixing
    from mfim_bench.plugins import load_method

    torch_device, name = resolve_device(device)
    method = load_method(spec, torch_device)
    if mixes:
        check_mixing(spec, method)
    eyes = Eyes([], torch_device, name, FeatureCache(work / "features.sqlite"), workers=1)
    return Swapper(spec, method, torch_device, eyes, batch_size, seed, oval=True, level=1)


def _pair(name: str, sources: Mapping[str, Path], target: Frame) -> Pair:
    from mfim_bench.protocol import Frame, Pair, Part

    frames = {part: Frame(path.name, path, f"source {part}") for part, path in sources.items()}
    parts = tuple(Part(part, frame) for part, frame in frames.items() if part)
    return Pair(name, next(iter(frames.values())), target, parts=parts)


def _swap_image(swapper: Swapper, sources: Mapping[str, Path], target: Path, output: Path, work: Path) -> None:
    from mfim_bench.media.images import read_image, read_metadata, read_profile, write_image
    from mfim_bench.protocol import Frame

    pair = _pair("swap", sources, Frame(target.name, target, "target"))
    row = swapper.run([pair], work, lambda _: None)[pair.id]
    _say(row)
    made = work / "images" / f"{pair.id}.png"
    write_image(output, read_image(made), read_metadata(made), read_profile(target))


def _say(row: Row) -> None:
    """Print the row's note; raise its reason: bad input is wrong use, all else a failed swap."""
    if row["note"]:
        typer.echo(f"note: {row['note']}", err=True)
    if row["reason"]:
        raise (UsageError if _INPUT.match(row["reason"]) else RowError)(row["reason"])


def _swap_video(
    swapper: Swapper, spec: MethodSpec, sources: Mapping[str, Path], target: Path, output: Path, work: Path
) -> None:
    from mfim_bench.bench.progress import Progress
    from mfim_bench.bench.swapping import named_sources, resize, sources_of
    from mfim_bench.media.images import read_image, write_image
    from mfim_bench.media.video import VideoWriter, video_info
    from mfim_bench.protocol import Frame

    try:
        info = video_info(target)
        for path in sources.values():
            read_image(path)
    except RowError as error:
        raise UsageError(str(error)) from error
    given = named_sources(sources_of(_pair("", sources, Frame("", target, "t")), spec))
    comment = f"Synthetic: a face swap by {spec.name} {spec.version} (mfim-bench), source {given}"
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
                pairs.append(_pair(name, sources, Frame(name, work / f"{name}.png", "t")))
            # Parts are named by their place in a run: each batch of a video is a run of its own.
            rows = swapper.run(pairs, _fresh(work), progress.advance)
            for pair, picture in zip(pairs, batch, strict=True):
                reason, note = rows[pair.id]["reason"], rows[pair.id]["note"] or ""
                made = work / "images" / f"{pair.id}.png"
                if reason and _INPUT.match(reason) and not reason.startswith("target:"):
                    raise UsageError(reason)
                height, width = picture.rgb.shape[:2]
                writer.write(picture.rgb if reason else resize(read_image(made), (width, height)), picture)
                kept.update([reason] if reason else [])
                several.update(match["role"] for match in _INPUT.finditer(note))
                for file in (pair.target.path, made):
                    file.unlink(missing_ok=True)
                swapper.eyes.forget(pair.target.path)
        if kept.total() == count:
            raise RowError(f"no frame of {target.name} could be swapped: {next(iter(kept), 'it has none')}")
    notes = list(writer.notes)
    if kept:
        reasons = ", ".join(f"{reason} ({number})" for reason, number in kept.most_common(3))
        notes.append(f"{kept.total()} of {count} frames are kept as they were: {reasons}")
    notes += [f"{role}: several faces, largest taken" for role in several if role != "target"]
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
