"""Configurations: TOML files in ``configs/`` or anywhere, checked on reading.

A file may begin with ``extends = "virtual-64"``: a bundled name, or a path ending in .toml from the file's own folder.
It then holds what differs, and a ``name`` and a ``summary`` of its own.
A value the paper does not give carries the comment ``[own choice]`` in the file.
"""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from mfim_bench.errors import UsageError


class Part(BaseModel):
    """Frozen, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class ModelConfig(Part):
    """Sizes of the networks; see `mfim.generator`, `mfim.discriminator`, `mfim.encoder`."""

    size: int
    channel_base: int
    channel_limit: int
    discriminator_base: int
    z_size: int
    w_size: int
    mapping_layers: int
    body_widths: tuple[int, int, int, int]
    body_units: tuple[int, int, int, int]
    encoder_width: int
    map_dividers: tuple[int, ...]
    style_maps: bool


class GanConfig(Part):
    """Stage one: the generator as a GAN.

    Attributes:
        steps: length of the stage.
        batch: rows of a step, over all processes.
        learning_rate, discriminator_rate: of Adam.
        betas: of Adam.
        r1_gamma, r1_interval: weight and laziness of R1.
        ema_half_life: of the averaged generator, in images; see `mfim.training.run.Ema`.
        style_mixing: share of batches whose codes come from two latents.
        augment: what the discriminator's inputs go through, real and fake alike: translate, colour, cutout. Flips of
            the data are always on.
    """

    steps: int = Field(gt=0)
    batch: int = Field(gt=1)
    learning_rate: float
    discriminator_rate: float
    betas: tuple[float, float]
    r1_gamma: float
    r1_interval: int = Field(gt=0)
    ema_half_life: float = Field(gt=0)
    style_mixing: float
    augment: tuple[Literal["translate", "colour", "cutout"], ...]


class LossConfig(Part):
    """The lambdas of the seven-term objective; lpips is relative to the L1 inside the reconstruction term."""

    id: float
    recon: float
    lpips: float
    adv: float
    r1: float
    shape: float
    pose: float
    exp: float


class SwapConfig(Part):
    """Stage two: the encoder against the generator.

    Attributes:
        batch: rows of a step, over all processes.
        norm_rows: rows whose source and target the encoder's batch norm normalises together, a multiple of the
            discriminator's 4; a batch is spread over processes and passes in such groups.
        generator: "finetune" trains it along, "frozen" keeps it as stage one left it, but for the maps' strengths.
        generator_rate: its learning rate when fine-tuned.
        ema_half_life: of the averaged model, in images.
        critic_first: steps at the beginning in which the discriminator learns alone.
        same_identity: share of rows whose source is another image of the target's own identity.
        true: share of rows whose true swap is known and stands in the place of the target in the reconstruction term
            and as the discriminator's real image; shards without true swaps can't give any.
        focus: by how much more a pixel that the true swap changes counts in the reconstruction's L1, see
            `mfim.losses.focus_weights`; 0 = like every other.
        recon_ramp: (first, last) step between which the reconstruction weight of cross pairs rises from
            ``recon_start`` times its value to its value; pairs of one identity and true swaps have the full
            weight always.
        perceptual: "lpips:PATH" (trunk's state dict on disk) or "supervisors" (stand-in, see `mfim.perceptual`).
        views: strength of the random views through which the supervisors see swaps and targets, see
            `mfim.augment.view`; 0 = as they are.
        recogniser, face3d: names or paths of the supervisors; the recogniser also "irse50:PATH", the published IR-SE50,
            and several of them between commas, whose losses are averaged.
        guard_*: see `mfim.training.guard`.
    """

    steps: int = Field(gt=0)
    batch: int = Field(gt=1)
    norm_rows: int = Field(gt=0, multiple_of=4)
    learning_rate: float
    generator: Literal["finetune", "frozen"]
    generator_rate: float
    discriminator_rate: float
    betas: tuple[float, float]
    critic_first: int = Field(ge=0)
    decay_from: float = Field(ge=0, le=1)
    r1_interval: int = Field(gt=0)
    ema_half_life: float = Field(gt=0)
    same_identity: float = Field(ge=0, lt=1)
    true: float = Field(ge=0, le=1)
    focus: float = Field(ge=0)
    recon_start: float
    recon_ramp: tuple[int, int]
    perceptual: str
    views: float = Field(ge=0)
    recogniser: str
    face3d: str
    weights: LossConfig
    validate_every: int = Field(gt=0)
    guard_from: int
    guard_progress: float
    guard_patience: int = Field(gt=0)

    @model_validator(mode="after")
    def _shares(self) -> Self:
        if self.same_identity + self.true > 1:
            raise ValueError(
                f"same_identity + true are shares of one batch, not {self.same_identity + self.true:g} of it"
            )
        return self


class Config(Part):
    """A whole configuration."""

    name: str
    summary: str
    seed: int
    precision: Literal["float32", "bfloat16"]
    checkpoint_every: int = Field(gt=0)
    picture_every: int = Field(gt=0)
    model: ModelConfig
    gan: GanConfig
    swap: SwapConfig


GONE = {
    "ema": "say ema_half_life, in images, which is batch x ln 2 / -ln ema (0.998 at a batch of 16: 5500)",
    "r1_rows": "R1 sees all rows of the step",
}
"""Keys of older files and overrides, and what to write instead."""


def names() -> list[str]:
    """Names of the bundled configurations."""
    return sorted(p.name.removesuffix(".toml") for p in resources.files("mfim").joinpath("configs").iterdir())


def load(name: str | Path, overrides: Sequence[str] = ()) -> Config:
    """Read a bundled configuration by name, or a file by path.

    Args:
        name: of a bundled one, or a path ending in .toml.
        overrides: ``"swap.weights.id=10"`` and the like, the value in TOML's syntax (a bare word is a string).

    Raises:
        UsageError: unknown name, unreadable file, or a wrong or missing key.
    """
    values = _read(str(name), ())
    for override in overrides:
        _set(values, override)
    for section, key in ((s, k) for s in ("gan", "swap") for k in GONE if k in values.get(s, ())):
        raise UsageError(f"{name}: {section}.{key} is gone: {GONE[key]}")
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        raise UsageError(f"{name}: {'.'.join(str(part) for part in first['loc'])}: {first['msg']}") from error


def _read(name: str, extending: tuple[str, ...]) -> dict[str, Any]:
    """The values of a configuration laid over those of the one it extends; ``extending`` led here."""
    path = Path(name)
    if path.suffix == ".toml":
        if not path.is_file():
            raise UsageError(f"no such configuration file: {path}")
        name, text = str(path.resolve()), path.read_text()
    elif name in names():
        text = resources.files("mfim").joinpath("configs", f"{name}.toml").read_text()
    else:
        by = f", which {extending[-1]} extends" if extending else ""
        raise UsageError(f"unknown configuration {name!r}{by}; known: {', '.join(names())}, or a path ending in .toml")
    if name in extending:
        raise UsageError(f"configurations extend each other in a circle: {' -> '.join((*extending, name))}")
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{name}: not TOML: {error}") from error
    if "extends" not in values:
        return values
    base = values.pop("extends")
    if not isinstance(base, str):
        raise UsageError(f"{name}: extends must be the name of a configuration, or a path ending in .toml")
    if base.endswith(".toml") and path.suffix == ".toml":
        base = str(path.parent / base)
    below = _read(base, (*extending, name))
    # A variant that has forgotten its name must not pass for what it extends.
    for own in ("name", "summary"):
        below.pop(own, None)
    return _over(below, values)


def _over(below: dict[str, Any], values: dict[str, Any]) -> dict[str, Any]:
    """``values`` over ``below``, section by section."""
    merged = dict(below)
    for key, value in values.items():
        known = merged.get(key)
        merged[key] = _over(known, value) if isinstance(known, dict) and isinstance(value, dict) else value
    return merged


def _set(values: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals:
        raise UsageError(f"an override reads key=value, not {override!r}")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text
    *path, last = key.strip().split(".")
    for part in path:
        values = values.setdefault(part, {})
        if not isinstance(values, dict):
            raise UsageError(f"{override!r}: {part} is no section")
    values[last] = value
