"""From settings to records: plan, swap, score, summarise; and the same again after any interruption."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from mfim_bench import weights
from mfim_bench.bench import fingerprint
from mfim_bench.bench.cache import FeatureCache
from mfim_bench.bench.eyes import Eyes
from mfim_bench.bench.frames import FrameStore
from mfim_bench.bench.lock import only_writer
from mfim_bench.bench.parts import score_schema, write_json, write_part
from mfim_bench.bench.progress import Progress
from mfim_bench.bench.record import Record
from mfim_bench.bench.scoring import Scorer, partner, region_of
from mfim_bench.bench.settings import RunSettings
from mfim_bench.bench.summary import summarise
from mfim_bench.bench.swapping import Swapper, check_mixing
from mfim_bench.bench.whole import Whole
from mfim_bench.errors import RowError, UsageError
from mfim_bench.measure import JudgeSpec, MeasureSpec
from mfim_bench.method import AnyMethod, MethodSpec, ResultsMethod
from mfim_bench.plugins import Registry, given_only, load_method, load_protocol
from mfim_bench.protocol import Frame, Pair, ProtocolSpec

TUNING = ("train", "val", "validation")
"""Splits whose scorings are not logged."""
AT_SIZE = ("target-copy", "truth")
"""References also made at the method's own size: what its resolution alone costs, and the ends of *progress*."""


@dataclass(frozen=True)
class Plan:
    """What will be done, all names looked up and all data found."""

    settings: RunSettings
    protocol: ProtocolSpec
    split: str
    content: str
    pairs: Sequence[Pair]
    measures: Sequence[MeasureSpec]
    skipped: Mapping[str, str]
    methods: Sequence[MethodSpec]
    device: torch.device
    device_name: str

    @property
    def judges(self) -> list[JudgeSpec]:
        return list({m.judge.name: m.judge for m in self.measures if m.judge is not None}.values())


def run(settings: RunSettings, registry: Registry) -> list[Record]:
    """Run a method, and the protocol's references beside it.

    Returns:
        The method's record, then the references'. Runs found complete are read, not made again.

    Raises:
        UsageError: an unknown name, missing data, no pair, a measure the protocol cannot serve, a folder that cannot
            be written, or one that another process is writing.
    """
    plan = make_plan(settings, registry)
    records: list[Record] = []
    with Workshop(plan) as workshop:
        for spec in plan.methods:
            records.append(workshop.record(spec))
    return records


def make_plan(settings: RunSettings, registry: Registry) -> Plan:
    """Look up every name and read the pair list, before anything is made."""
    method = registry.method(settings.method)
    protocol = registry.protocol(settings.protocol)
    measures, skipped = _measures(settings, protocol, registry)
    beside = _references(method, protocol, registry) if settings.references else []
    if settings.batch_size < 1:
        raise UsageError(f"--batch-size must be at least 1, not {settings.batch_size}")
    if settings.limit is not None and settings.limit < 1:
        raise UsageError(f"--limit must be at least 1, not {settings.limit}: 0 pairs cannot be measured")
    split = settings.split or protocol.splits[0]
    opened = load_protocol(protocol, settings.data, split)
    pairs = list(opened.pairs())[: settings.limit]
    if not pairs:
        raise UsageError(f"protocol {protocol.name}, split {split}: 0 pairs; nothing to measure")
    _check_pairs(pairs, protocol, measures)
    if method.only and any(pair.part(method.only) is None for pair in pairs):
        raise UsageError(
            f"{method.name}: the pairs of {protocol.name} have no part {method.only!r}; they mix no sources"
        )
    device, device_name = resolve_device(settings.device)
    return Plan(
        settings=settings,
        protocol=protocol,
        split=split,
        content=opened.content_hash(),
        pairs=pairs,
        measures=measures,
        skipped=skipped,
        methods=[method, *beside],
        device=device,
        device_name=device_name,
    )


def _measures(
    settings: RunSettings, protocol: ProtocolSpec, registry: Registry
) -> tuple[list[MeasureSpec], dict[str, str]]:
    """The measures whose weights are here; and of those left out, name → why."""
    specs = {spec.name: spec for spec in map(registry.measure, settings.measures or protocol.measures)}
    lacking: dict[str, str] = {}
    for spec in specs.values():
        for name in spec.judge.weights if spec.judge else ():
            if trouble := weights.problem(registry.weights.named(name)):
                lacking.setdefault(spec.name, trouble)
    if lacking and not settings.skip_missing:
        first, trouble = next(iter(lacking.items()))
        others = f" (and {len(lacking) - 1} more measures lack theirs)" if len(lacking) > 1 else ""
        raise UsageError(f"measure {first}: {trouble}{others}; --skip-missing measures the rest")
    if len(lacking) == len(specs):
        raise UsageError(f"no measure is left: {next(iter(lacking.values()))}")
    return [spec for spec in specs.values() if spec.name not in lacking], lacking


def _references(method: MethodSpec, protocol: ProtocolSpec, registry: Registry) -> list[MethodSpec]:
    names = list(protocol.references)
    if method.size and method.template != "none":
        names += [f"{name}@{method.size}" for name in AT_SIZE if name in protocol.references]
    alone = [] if method.only or method.oracle else [given_only(method, part) for part in protocol.parts]
    return [spec for spec in (*alone, *map(registry.method, names)) if spec.name != method.name]


def _check_pairs(pairs: Sequence[Pair], protocol: ProtocolSpec, measures: Sequence[MeasureSpec]) -> None:
    seen: set[str] = set()
    for pair in pairs:
        if pair.id in seen:
            raise UsageError(f"protocol {protocol.name} has two pairs called {pair.id!r}")
        if not pair.id or Path(pair.id).name != pair.id or "\\" in pair.id or pair.id.startswith("."):
            raise UsageError(f"protocol {protocol.name}: {pair.id!r} cannot be the name of a file")
        seen.add(pair.id)
    for measure in measures:
        need = "local source" if measure.compares == "local" else str(measure.compares)
        known = any(partner(pair, measure.compares) for pair in pairs)
        if known and measure.judge is None:
            need = f"region of the part {measure.part}" if measure.part else "region"
            known = any(region_of(pair, measure) for pair in pairs)
        if not known:
            raise UsageError(f"measure {measure.name} needs a {need} of each pair; protocol {protocol.name} has none")


def resolve_device(name: str) -> tuple[torch.device, str]:
    """The device, and its name in the fingerprint."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise UsageError(f"--device {name!r} is none; use auto, cpu, cuda or cuda:N") from error
    if device.type == "cuda":
        if not torch.cuda.is_available() or (device.index or 0) >= torch.cuda.device_count():
            raise UsageError(f"--device {name}: there is no such GPU here")
        return device, f"cuda {torch.cuda.get_device_name(device)}"
    if device.type != "cpu":
        raise UsageError(f"--device {name!r} is not supported; use auto, cpu, cuda or cuda:N")
    return device, "cpu"


class Workshop:
    """The out folder, and what all runs under it share: the feature cache, judges and threads, loaded on first use."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.out = plan.settings.out
        self._eyes: Eyes | None = None
        self._cache: FeatureCache | None = None

    def __enter__(self) -> Workshop:
        return self

    def __exit__(self, *_: object) -> None:
        if self._eyes is not None:
            self._eyes.close()
        if self._cache is not None:
            self._cache.close()

    @property
    def eyes(self) -> Eyes:
        if self._eyes is None:
            plan = self.plan
            self._cache = FeatureCache(self.out / "features.sqlite")
            workers = plan.settings.workers or (1 if plan.device.type == "cuda" else min(4, os.cpu_count() or 1))
            store = FrameStore(self.out / "frames" / fingerprint.frames_key())
            self._eyes = Eyes(plan.judges, plan.device, plan.device_name, self._cache, workers, store)
            frames = (
                frame for pair in plan.pairs for frame in (pair.source, pair.target, *(p.frame for p in pair.parts))
            )
            self._eyes.fetch(frames)
        return self._eyes

    def record(self, spec: MethodSpec) -> Record:
        """One method's record: read when complete, else made or continued."""
        inputs = self._inputs(spec)
        mark = fingerprint.fingerprint(inputs)
        folder = self.out / self.plan.protocol.name / spec.name / mark
        if _status(folder) == "complete":
            return _asked(Record.load(folder), self.plan.skipped)
        with _exact_arithmetic():
            method = load_method(spec, self.plan.device)
        if any(pair.parts for pair in self.plan.pairs):
            check_mixing(spec, method)
        try:
            for name in ("parts", "images"):
                (folder / name).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(f"cannot write the run folder {folder}: {error.strerror}") from error
        with only_writer(folder):
            _sweep(folder)
            manifest = self._manifest(spec, inputs, mark)
            _write(folder, manifest)
            self._log_scoring(manifest)
            rows, whole = self._make(spec, method, folder)
            order = {pair.id: index for index, pair in enumerate(self.plan.pairs)}
            rows.sort(key=lambda row: order[row["pair"]])
            write_json(folder / "summary.json", summarise(manifest, rows, whole))
            write_json(folder / "manifest.json", manifest | {"status": "complete"})
        return Record.load(folder)

    def _make(
        self, spec: MethodSpec, method: AnyMethod, folder: Path
    ) -> tuple[list[dict[str, Any]], dict[str, dict[str, Any]]]:
        """All rows, and what `Whole.run` says."""
        plan, total = self.plan, len(self.plan.pairs)
        if isinstance(method, ResultsMethod) and spec.template == "none":
            self.eyes.fetch(_results(method, plan.pairs))
        with _exact_arithmetic():
            swapper = Swapper(spec, method, plan.device, self.eyes, plan.settings.batch_size, plan.settings.seed)
            with Progress(f"{spec.name}: swap", total) as progress:
                swaps = swapper.run(plan.pairs, folder, progress.advance)
            del swapper
            with Progress(f"{spec.name}: score", total) as progress:
                rows = Scorer(plan.measures, self.eyes).run(plan.pairs, swaps, folder, progress.advance)
            whole = Whole(plan.measures, self.eyes, plan.protocol.gallery).run(plan.pairs, rows, folder)
        if any(measure.over == "gallery" for measure in plan.measures):
            names = [measure.name for measure in plan.measures if measure.over != "set"]
            write_part(folder / "parts" / "whole-000000.parquet", rows, score_schema(names))
        return rows, whole

    def _inputs(self, spec: MethodSpec) -> dict[str, Any]:
        plan = self.plan
        return fingerprint.run_inputs(
            spec,
            plan.protocol,
            plan.split,
            plan.content,
            plan.pairs,
            plan.measures,
            device=plan.device_name,
            batch_size=plan.settings.batch_size,
            seed=plan.settings.seed,
        )

    def _manifest(self, spec: MethodSpec, inputs: dict[str, Any], mark: str) -> dict[str, Any]:
        plan = self.plan
        return {
            "schema": fingerprint.SCHEMA,
            "status": "running",
            "fingerprint": mark,
            "reference": bool(spec.oracle or spec.only or spec.name.partition("@")[0] in plan.protocol.references),
            "summary": spec.summary,
            "licence": spec.licence,
            "citation": spec.citation,
            "measures": [_measure_entry(m, spec, plan.protocol) for m in plan.measures],
            "skipped": dict(plan.skipped),
            "pairs": [self._pair_entry(pair) for pair in plan.pairs],
            "limit": plan.settings.limit,
            "environment": {"git_commit": git_commit(), "threads": torch.get_num_threads(), "command": sys.argv[1:]},
            "started": datetime.now(UTC).isoformat(timespec="seconds"),
            "inputs": inputs,
        }

    def _pair_entry(self, pair: Pair) -> dict[str, Any]:
        def place(frame: Frame) -> str | None:
            """The image; None for a video's frame that could not be decoded."""
            try:
                return str(self.eyes.file(frame).absolute())
            except RowError:
                return None

        return {
            "id": pair.id,
            "source": pair.source.id,
            "target": pair.target.id,
            "source_path": place(pair.source),
            "target_path": place(pair.target),
            "truth_path": str(pair.truth.absolute()) if pair.truth else None,
            "parts": [
                {"part": part.name, "source": part.frame.id, "source_path": place(part.frame)} for part in pair.parts
            ],
        }

    def _log_scoring(self, manifest: dict[str, Any]) -> None:
        """Every scoring of what may be a test split leaves a line: tuning on it would show."""
        if self.plan.split in TUNING:
            return
        line = {
            "time": manifest["started"],
            "protocol": self.plan.protocol.name,
            "split": self.plan.split,
            "method": manifest["inputs"]["method"]["name"],
            "version": manifest["inputs"]["method"]["version"],
            "fingerprint": manifest["fingerprint"],
            "pairs": len(self.plan.pairs),
            "git_commit": manifest["environment"]["git_commit"],
        }
        with (self.out / "scorings.jsonl").open("a") as file:
            file.write(json.dumps(line) + "\n")


def _asked(record: Record, skipped: Mapping[str, str]) -> Record:
    """A complete record, saying of the measures left out what this command says: they are no input."""
    if record.manifest.get("skipped", {}) == dict(skipped):
        return record
    for name, content in (("manifest", record.manifest), ("summary", record.summary)):
        write_json(record.folder / f"{name}.json", {**content, "skipped": dict(skipped)})
    return Record.load(record.folder)


def _measure_entry(measure: MeasureSpec, method: MethodSpec, protocol: ProtocolSpec) -> dict[str, Any]:
    judge = measure.judge
    return {
        "name": measure.name,
        "compares": measure.compares,
        "unit": measure.unit,
        "digits": measure.digits,
        "lower_is_better": measure.lower_is_better,
        "over": measure.over,
        "summary": measure.summary,
        "version": measure.full_version,
        "judge": judge.name if judge else None,
        "self_judged": judge is not None and judge.taught(method.trained_with),
        "in_domain": judge is not None and bool(protocol.domain) and protocol.domain in judge.lineage,
    }


def _results(method: ResultsMethod, pairs: Sequence[Pair]) -> Iterator[Frame]:
    """The frames of videos among a method's results."""
    for pair in pairs:
        try:
            result = method.result(pair)
        except RowError:
            continue  # told again in the pair's row
        if isinstance(result, Frame):
            yield result


def _status(folder: Path) -> str | None:
    try:
        status = json.loads((folder / "manifest.json").read_bytes()).get("status")
    except (OSError, ValueError):
        return None
    return str(status)


def _write(folder: Path, manifest: dict[str, Any]) -> None:
    try:
        write_json(folder / "manifest.json", manifest)
    except OSError as error:
        raise UsageError(f"cannot write the run folder {folder}: {error.strerror}") from error


def _sweep(folder: Path) -> None:
    """Remove files that a killed process had begun to write under a temporary name."""
    for begun in (*folder.glob(".*.*"), *folder.glob("*/.*")):
        begun.unlink(missing_ok=True)


@contextmanager
def _exact_arithmetic() -> Iterator[None]:
    """float32 as it is named: no TF32, no algorithm chosen by a race."""
    switches: list[tuple[Any, str]] = [
        (torch.backends.cuda.matmul, "allow_tf32"),
        (torch.backends.cudnn, "allow_tf32"),
        (torch.backends.cudnn, "benchmark"),
    ]
    before = [getattr(owner, name) for owner, name in switches]
    for owner, name in switches:
        setattr(owner, name, False)
    try:
        yield
    finally:
        for (owner, name), value in zip(switches, before, strict=True):
            setattr(owner, name, value)


@lru_cache
def git_commit() -> str | None:
    """Commit of the checkout this package runs from, with ``+`` when files differ from it; None outside one."""
    here = Path(__file__).resolve().parents[2]
    if not (here / ".git").exists():
        return None
    ask: Callable[..., str] = lambda *a: subprocess.run(  # noqa: E731
        ["git", "-C", str(here), *a], capture_output=True, text=True, timeout=10, check=True
    ).stdout.strip()
    try:
        return ask("rev-parse", "HEAD") + ("+" if ask("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.SubprocessError):
        return None
