"""Does a method keep its contract? Asked on tiny inputs, before a long run finds out."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from mfim_bench import weights
from mfim_bench.bench.swapping import RANGE, resize
from mfim_bench.errors import RowError, UsageError
from mfim_bench.faces.detect import Detector
from mfim_bench.faces.templates import crop, crop_matrix
from mfim_bench.media.images import read_image
from mfim_bench.method import FrameMethod, Method, MethodSpec, MixingMethod, ResultsMethod
from mfim_bench.plugins import Registry, load_method, load_protocol, one_line

Image: TypeAlias = NDArray[np.uint8]

HALF_STEP = 0.5 / 255
"""Two outputs that differ by less are the same 8-bit image, but for rounding."""
BATCH = 3


@dataclass(frozen=True, slots=True)
class Finding:
    """The answer to one question.

    Attributes:
        state: ``FAIL`` = the contract is broken; ``note`` = worth knowing, allowed.
        question: what was asked, a word or two.
        detail: what was seen.
    """

    state: Literal["ok", "note", "FAIL"]
    question: str
    detail: str


def check(spec: MethodSpec, registry: Registry, device: torch.device, seed: int = 0) -> list[Finding]:
    """Ask a method everything; it is loaded once and called a handful of times on at most three pairs.

    The pairs come from the first installed protocol that needs no data of the user's, cut by the method's template, or
    are drawn when there is none.

    Args:
        spec: the method.
        registry: where protocols, judges and weights are known.
        device: where it runs.
        seed: set before each call, as a run does before each batch.

    Returns:
        Findings in the order asked; the method passes when none is a ``FAIL``.
    """
    return list(_ask(spec, registry, device, seed))


def _ask(spec: MethodSpec, registry: Registry, device: torch.device, seed: int) -> Iterator[Finding]:
    if spec.oracle:
        yield Finding("note", "reference", "made of a protocol's known truth; nothing to run outside a protocol")
        return
    judges = {measure.judge.name for measure in registry.measures.values() if measure.judge}
    for name in spec.trained_with:
        if name not in judges:
            yield Finding("note", "trained_with", f"{name!r} is the name of no installed judge")
    for name in spec.weights:
        try:
            yield Finding("ok", "weights", str(weights.path(name)))
        except UsageError as error:
            yield Finding("FAIL", "weights", str(error))
    try:
        method = load_method(spec, device)
    except UsageError as error:
        yield Finding("FAIL", "loads", str(error))
        return
    yield Finding("ok", "loads", f"{spec.factory} made a {type(method).__name__}")
    if isinstance(method, ResultsMethod):
        yield Finding("note", "results", "a folder of results; `mfim-bench score` says which pairs it lacks")
    elif spec.size == 0:
        if isinstance(method, FrameMethod):
            yield from _frames(method, shipped_frames(registry) or drawn_frames(), seed)
        else:
            yield Finding("FAIL", "kind", "size=0 wants swap_frame(source, target); for crops give the spec a size")
    elif isinstance(method, Method):
        yield from _crops(method, spec, registry, device, seed)
    else:
        yield Finding("FAIL", "kind", f"size={spec.size} wants swap(source, target), which the method lacks")


# Methods on crops ---------------------------------------------------------------------------------------------------


def _crops(method: Method, spec: MethodSpec, registry: Registry, device: torch.device, seed: int) -> Iterator[Finding]:
    source, target = (torch.stack(side).to(device) for side in crops(spec, registry))
    before = source.clone(), target.clone()

    def swap(s: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        _seed(seed)
        with torch.inference_mode():
            return method.swap(s, t)

    try:
        out = swap(source, target)
    except Exception as error:
        yield Finding("FAIL", "runs", f"swap of {BATCH} pairs raised {one_line(error)}")
        return
    yield Finding("ok", "runs", f"{BATCH} pairs of {spec.size} px, template {spec.template}")
    if not isinstance(out, torch.Tensor):
        yield Finding("FAIL", "type", f"swap returned {type(out).__name__}, wanted a torch.Tensor")
        return
    yield _is(out.shape == target.shape, "shape", f"{tuple(out.shape)}", f", wanted {tuple(target.shape)}")
    yield _is(out.dtype == torch.float32, "dtype", f"{out.dtype}", ", wanted torch.float32")
    same = torch.equal(source, before[0]) and torch.equal(target, before[1])
    yield _is(same, "inputs", "left as they were" if same else "swap changed its inputs in place")
    out = out.detach().float()
    finite = bool(torch.isfinite(out).all())
    yield _is(finite, "finite", "no NaN or infinity" if finite else "swap returned NaN or infinity")
    if out.shape != target.shape or not finite:
        return
    yield _range(out)
    source, target = before
    yield from _rows(swap, out, source, target)
    yield from _remarks(out, source, target)
    if isinstance(method, MixingMethod):
        yield from _mixing(method, out, source, target, seed)


def _range(out: torch.Tensor) -> Finding:
    low, high = float(out.min()), float(out.max())
    otherwise = ", wanted [0, 1]"
    if high > RANGE[1] and high <= 256:
        otherwise += "; is it [0, 255]?"
    elif low < RANGE[0] and low >= -1.5 and high <= RANGE[1]:
        otherwise += "; is it [-1, 1]?"
    elif low >= RANGE[0] and high <= RANGE[1]:
        otherwise += "; a run clips it"
    return _is(low >= -HALF_STEP and high <= 1 + HALF_STEP, "range", f"{low:.3f} … {high:.3f}", otherwise)


def _rows(
    swap: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    out: torch.Tensor,
    source: torch.Tensor,
    target: torch.Tensor,
) -> Iterator[Finding]:
    """Determinism, and independence of a row from the others: their number, their order and their content."""
    try:
        again = swap(source.clone(), target.clone()).float()
        difference = float((again - out).abs().max())
        yield _is(difference <= 1e-5, "deterministic", f"the same call again differs by {difference:.2g}", ", wanted 0")
        alone = torch.cat([swap(source[i : i + 1], target[i : i + 1]).float() for i in range(BATCH)])
        turned = swap(source.flip(0), target.flip(0)).float().flip(0)
        seen = {
            "alone": float((alone - out).abs().max()),
            "in another order": float((turned - out).abs().max()),
        }
        extreme_s, extreme_t = source.clone(), target.clone()
        extreme_s[1:], extreme_t[1:] = 1.0, 0.0
        with contextlib.suppress(RowError):  # it may refuse what holds no face; a run then tries each row alone
            beside = swap(extreme_s, extreme_t).float()[:1]
            seen["beside black and white images"] = float((beside - out[:1]).abs().max())
    except Exception as error:
        yield Finding("FAIL", "rows", f"swap of one pair, or of the same pairs again, raised {one_line(error)}")
        return
    worst = max(seen, key=lambda key: seen[key])
    text = f"a row changes by {seen[worst]:.2g} at most"
    if not seen[worst] <= HALF_STEP:
        text = f"a row {worst} changes by {seen[worst]:.2g}, wanted {HALF_STEP:.2g} at most; is it in eval() mode?"
    yield _is(seen[worst] <= HALF_STEP, "row independence", text)


def _mixing(
    method: MixingMethod, out: torch.Tensor, source: torch.Tensor, target: torch.Tensor, seed: int
) -> Iterator[Finding]:
    """Of a method that mixes: a source that gives every part should give its swap, and every part should count."""

    def mix(coarse: torch.Tensor, fine: torch.Tensor) -> torch.Tensor:
        _seed(seed)
        with torch.inference_mode():
            return method.mix({"global": coarse, "local": fine}, target.clone())

    other = source.roll(1, 0)
    try:
        same, fine, coarse = mix(source, source), mix(source, other), mix(other, source)
    except UsageError as error:  # such as a model whose identity has one level only
        yield Finding("note", "mixes", f"does not mix global and local: {error}")
        return
    except Exception as error:
        yield Finding("FAIL", "mixes", f"mix of the parts global and local raised {one_line(error)}")
        return
    for image in (same, fine, coarse):
        if not isinstance(image, torch.Tensor) or image.shape != target.shape or not torch.isfinite(image).all():
            yield Finding("FAIL", "mixes", f"mix returned another shape than {tuple(target.shape)}, or NaN or infinity")
            return
    yield Finding("ok", "mixes", "parts global and local")
    difference = float((same - out).abs().max())
    if difference > HALF_STEP:
        yield Finding("note", "mixes", f"one source as both parts differs from its swap by {difference:.2g}")
    for part, image in (("local", fine), ("global", coarse)):
        if float((image - same).abs().max()) <= HALF_STEP:
            yield Finding("note", "mixes", f"the {part} source changes nothing")


def _remarks(out: torch.Tensor, source: torch.Tensor, target: torch.Tensor) -> Iterator[Finding]:
    if float((out - target).abs().max()) <= HALF_STEP:
        yield Finding("note", "effect", "returns the target unchanged")
    elif float((out - source).abs().max()) <= HALF_STEP:
        yield Finding("note", "effect", "returns the source unchanged")
    straight, flipped = (float((out - image).abs().mean()) for image in (target, target.flip(1)))
    if flipped < 0.7 * straight:
        yield Finding("note", "colour", "nearer to the target with red and blue exchanged; does it return BGR?")


def crops(spec: MethodSpec, registry: Registry) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """`BATCH` source and target crops as the method wants them, each float32 (3, S, S) in [0, 1]."""
    sides: tuple[list[torch.Tensor], list[torch.Tensor]] = ([], [])
    shipped = shipped_frames(registry) if spec.template != "none" else []
    detector = Detector(torch.device("cpu")) if shipped else None
    for pair in shipped or drawn_frames():
        for side, frame in zip(sides, pair, strict=True):
            face = detector.detect([frame])[0] if detector else None
            if face is not None:
                height, width = frame.shape[:2]
                matrix = crop_matrix(face.points, spec.template, spec.size, image_size=(width, height))
                cut = crop(frame, matrix, spec.size)
            else:
                cut = resize(frame, (spec.size, spec.size))
            side.append(torch.from_numpy(cut.copy()).permute(2, 0, 1).float() / 255)
    return sides


# Methods on frames --------------------------------------------------------------------------------------------------


def _frames(method: FrameMethod, pairs: Sequence[tuple[Image, Image]], seed: int) -> Iterator[Finding]:
    def swap(source: Image, target: Image) -> Image | str:
        _seed(seed)
        try:
            return method.swap_frame(source, target)
        except RowError as error:
            return str(error)
        except Exception as error:
            return f"raised {one_line(error)}"

    results = []
    unchanged = True
    for source, target in pairs:
        given = source.copy(), target.copy()
        results.append(swap(*given))
        unchanged &= np.array_equal(given[0], source) and np.array_equal(given[1], target)
    refused = [result for result in results if isinstance(result, str)]
    if len(refused) == len(results):
        yield Finding("FAIL", "runs", f"no pair could be swapped: {refused[0]}")
        return
    yield Finding("note" if refused else "ok", "runs", f"{len(results) - len(refused)} of {len(results)} pairs swapped")
    if refused:
        yield Finding("note", "refused", refused[0])
    yield _is(unchanged, "inputs", "left as they were" if unchanged else "swap_frame changed its inputs in place")
    made = [(r, pair) for r, pair in zip(results, pairs, strict=True) if not isinstance(r, str)]
    for result, (source, target) in made:
        if not isinstance(result, np.ndarray) or result.dtype != np.uint8:
            kind = f"{result.dtype}" if isinstance(result, np.ndarray) else type(result).__name__
            yield Finding("FAIL", "dtype", f"{kind}, wanted a numpy array of uint8")
            return
        if result.shape != target.shape and not np.array_equal(result, source):
            yield Finding("FAIL", "shape", f"{result.shape}, wanted that of the target, {target.shape}")
            return
    yield Finding("ok", "dtype", "uint8")
    yield Finding("ok", "shape", ", ".join(str(result.shape) for result, _ in made))
    first, (source, target) = made[0]
    again = swap(source.copy(), target.copy())
    same = isinstance(again, np.ndarray) and np.array_equal(again, first)
    text = "the same call again, after others, gives the same frame"
    yield _is(same, "deterministic", text if same else "the same call again gives another frame")
    if all(np.array_equal(result, target) for result, (_, target) in made):
        yield Finding("note", "effect", "returns the target unchanged")
    elif all(np.array_equal(result, source) for result, (source, _) in made):
        yield Finding("note", "effect", "returns the source unchanged")


def shipped_frames(registry: Registry) -> list[tuple[Image, Image]]:
    """`BATCH` pairs of frames, uint8 RGB (H, W, 3), from a protocol that ships its images; empty without one."""
    for spec in registry.protocols.values():
        if spec.data_required:
            continue
        try:
            pairs = load_protocol(spec).pairs()[:BATCH]
            found = [(read_image(pair.source.path), read_image(pair.target.path)) for pair in pairs]
        except (UsageError, RowError):
            continue
        if len(found) == BATCH:
            return found
    return []


def drawn_frames() -> list[tuple[Image, Image]]:
    """`BATCH` pairs of frames, each `drawn`."""
    return [(drawn(2 * index), drawn(2 * index + 1)) for index in range(BATCH)]


def drawn(seed: int, height: int = 144, width: int = 128) -> Image:
    """A face as a child draws it: enough for a method that asks for none, uint8 RGB (height, width, 3)."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    u, v = (x - width / 2) / width, (y - height / 2) / height
    image = np.empty((height, width, 3))
    image[:] = rng.uniform(40, 200, 3) + 30 * v[..., None]
    skin, dark = rng.uniform((170, 110, 80), (230, 170, 140)), rng.uniform(20, 90, 3)
    image[(u / 0.3) ** 2 + (v / 0.38) ** 2 < 1] = skin
    for centre in (-0.12, 0.12):
        image[((u - centre) / 0.05) ** 2 + ((v + 0.06) / 0.025) ** 2 < 1] = dark
    image[(u / 0.1) ** 2 + ((v - 0.2) / 0.03) ** 2 < 1] = (150, 50, 60)
    image[(np.abs(u) < 0.015) & (np.abs(v - 0.03) < 0.07)] = 0.85 * skin
    return np.clip(image, 0, 255).astype(np.uint8)


def _seed(seed: int) -> None:
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - for methods that use the old global generator
    torch.manual_seed(seed)


def _is(passed: bool, question: str, detail: str, otherwise: str = "") -> Finding:
    return Finding("ok", question, detail) if passed else Finding("FAIL", question, detail + otherwise)
