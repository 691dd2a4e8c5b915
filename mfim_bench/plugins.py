"""The registry: built-in and third-party plugins, loaded one by one, and what they bring."""

from __future__ import annotations

import difflib
import functools
import importlib
import logging
import os
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import metadata
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import pluggy

from mfim_bench import adhoc, hookspecs
from mfim_bench.errors import UsageError
from mfim_bench.measure import JudgeSpec, MeasureSpec
from mfim_bench.method import MethodSpec
from mfim_bench.protocol import ProtocolSpec
from mfim_bench.weights import WeightsSpec

if TYPE_CHECKING:
    import torch

    from mfim_bench.measure import Judge
    from mfim_bench.method import AnyMethod
    from mfim_bench.protocol import Protocol

log = logging.getLogger(__name__)

GROUP = "mfim_bench"
BUILT_IN = {"references": "mfim_bench.references", "measures": "mfim_bench.measures"}
"""Plugins of this distribution, by module name: they sit on higher floors, so nothing here imports them directly."""
LOAD_VARIABLE = "MFIM_BENCH_LOAD_PLUGINS"
"""Comma-separated distribution or entry-point names to load; set but empty = none but the built-in ones."""
PARTS = ("global", "local")
"""Of a mixed identity; ``NAME@PART`` is the method given this part's source alone."""
TRACE_VARIABLE = "MFIM_BENCH_TRACE_PLUGINS"
"""Any non-empty value: say on stderr what is loaded and which hook is answered by whom."""

Spec = TypeVar("Spec", MethodSpec, ProtocolSpec, MeasureSpec, WeightsSpec)
_Variants = TypeVar("_Variants", ProtocolSpec, MeasureSpec)


@dataclass(frozen=True, slots=True)
class PluginFailure:
    """A plugin that could not be loaded or asked.

    Attributes:
        name: of the entry point.
        origin: distribution, version and module.
        error: kind and message of the exception, one line.
    """

    name: str
    origin: str
    error: str


@dataclass(frozen=True, slots=True)
class Plugin:
    """A loaded plugin.

    Attributes:
        name: of the entry point.
        origin: distribution, version and module.
        hooks: names of the hooks it implements.
    """

    name: str
    origin: str
    hooks: tuple[str, ...]


def one_line(error: BaseException) -> str:
    """Kind and message of an exception on one line of at most 300 characters."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}"[:300] if text else type(error).__name__


def nearest(name: str, known: Iterable[str]) -> str:
    """``"; did you mean a, b?"`` for the names most like ``name``, else the known names."""
    known = sorted(known)
    close = difflib.get_close_matches(name.lower(), known, n=3, cutoff=0.5)
    if close:
        return f"; did you mean {', '.join(close)}?"
    return f"; known: {', '.join(known)}" if known else ""


def resolve(reference: str) -> Any:
    """The object that ``"module:attr"`` names (dots in ``attr`` are followed).

    Raises:
        UsageError: malformed, or the module or the attribute cannot be had.
    """
    module_name, colon, attribute = reference.partition(":")
    if not (module_name and colon and attribute):
        raise UsageError(f"{reference!r} is not of the form module:attr")
    try:
        return functools.reduce(getattr, attribute.split("."), importlib.import_module(module_name))
    except Exception as error:  # a plugin's module may raise anything
        raise UsageError(f"cannot load {reference}: {one_line(error)}") from error


class Plugins:
    """The plugin manager: what is installed, what failed, and one plugin's answers at a time."""

    def __init__(self) -> None:
        self.manager = pluggy.PluginManager(hookspecs.PROJECT)
        self.manager.add_hookspecs(hookspecs)
        self.loaded: list[Plugin] = []
        self.failures: list[PluginFailure] = []
        self.trace: Callable[[str], None] = _trace if os.environ.get(TRACE_VARIABLE) else _silent
        if os.environ.get(TRACE_VARIABLE):
            self.manager.add_hookcall_monitoring(_trace_call, _after_call)
        for name, module in BUILT_IN.items():
            self._load(
                name,
                f"mfim-bench {_version('mfim-bench')} ({module})",
                functools.partial(importlib.import_module, module),
            )
        for entry in _entry_points():
            self._load(entry.name, _origin(entry), entry.load)

    def _load(self, name: str, origin: str, load: Callable[[], object]) -> None:
        key = f"{name}|{origin}"
        try:
            module = load()
            self.manager.register(module, name=key)
            callers = self.manager.get_hookcallers(module) or []
            unknown = [caller.name for caller in callers if not caller.has_spec()]
            if unknown:
                hooks = [known for known in vars(hookspecs) if known.startswith("mfim_bench_")]
                raise UsageError(f"no hook is called {unknown[0]}{nearest(unknown[0], hooks)}")
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # not even a SystemExit of a plugin may stop the rest
            if self.manager.has_plugin(key):
                self.manager.unregister(name=key)
            self.fail(name, origin, error)
            return
        self.loaded.append(Plugin(name, origin, tuple(sorted(caller.name for caller in callers))))
        self.trace(f"loaded {name} from {origin}")

    def fail(self, name: str, origin: str, error: BaseException) -> None:
        """Record a plugin's first failure and say it in one warning line."""
        if any((known.name, known.origin) == (name, origin) for known in self.failures):
            return
        self.failures.append(PluginFailure(name, origin, one_line(error)))
        log.warning("warning: plugin %s of %s failed: %s", name, origin, one_line(error))

    def ask(self, plugin: Plugin, hook: str, **arguments: object) -> Any:
        """One plugin's answer to one hook; None when it does not implement it or raises (a failure then)."""
        if hook not in plugin.hooks:
            return None
        mine = self.manager.get_plugin(f"{plugin.name}|{plugin.origin}")
        others = [other for other in self.manager.get_plugins() if other is not mine]
        self.trace(f"{hook}() of {plugin.origin}")
        try:
            answers = self.manager.subset_hook_caller(hook, remove_plugins=others)(**arguments)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            self.fail(plugin.name, plugin.origin, error)
            return None
        return answers[0] if answers else None


def _trace(text: str) -> None:
    print(f"plugins: {text}", file=sys.stderr)


def _silent(text: str) -> None:
    pass


def _trace_call(hook: str, implementations: Sequence[pluggy.HookImpl], arguments: Mapping[str, Any]) -> None:
    _trace(f"{hook} answered by {', '.join(impl.plugin_name for impl in implementations) or 'nobody'}")


def _after_call(*_: object) -> None:
    pass


def _version(distribution: str) -> str:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return "(not installed)"


def _origin(entry: metadata.EntryPoint) -> str:
    distribution = f"{entry.dist.name} {entry.dist.version}" if entry.dist else "unknown distribution"
    return f"{distribution} ({entry.value})"


def _entry_points() -> list[metadata.EntryPoint]:
    """Third-party entry points in a fixed order, less those that `LOAD_VARIABLE` leaves out."""
    entries = sorted(metadata.entry_points(group=GROUP), key=lambda e: (e.dist.name if e.dist else "", e.name))
    wanted = os.environ.get(LOAD_VARIABLE)
    if wanted is None:
        return entries
    names = {_normal(name) for name in wanted.split(",") if name.strip()}
    known = {_normal(name) for e in entries for name in (e.name, *([e.dist.name] if e.dist else []))}
    if missing := sorted(names - known):
        raise UsageError(f"{LOAD_VARIABLE} names {missing[0]!r}, which is not installed{nearest(missing[0], known)}")
    return [e for e in entries if _normal(e.name) in names or (e.dist and _normal(e.dist.name) in names)]


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name.strip()).lower()


@functools.cache
def plugins() -> Plugins:
    """Every installed plugin, loaded once."""
    return Plugins()


class Catalogue(dict[str, Spec], Generic[Spec]):
    """Specs of one kind by name, with the origin of each."""

    def __init__(self, kind: str, spec_type: type[Spec], hook: str, name: re.Pattern[str]) -> None:
        super().__init__()
        self.kind, self.hook, self.name = kind, hook, name
        self.spec_type: type[Spec] = spec_type
        self.origins: dict[str, str] = {}

    def fill(self, source: Plugins) -> None:
        """Ask every plugin.

        Raises:
            UsageError: two plugins, or one twice, bring the same name.
        """
        for plugin in source.loaded:
            answer = source.ask(plugin, self.hook)
            try:
                specs = self._valid(answer)
            except (TypeError, ValueError) as error:
                source.fail(plugin.name, plugin.origin, error)
                continue
            for spec in specs:
                if spec.name in self:
                    raise UsageError(
                        f"two {self.kind}s are called {spec.name!r}: one from {self.origins[spec.name]}, "
                        f"one from {plugin.origin}; uninstall one, or name the plugins to load in {LOAD_VARIABLE}"
                    )
                self[spec.name] = spec
                self.origins[spec.name] = plugin.origin

    def _valid(self, answer: Any) -> list[Spec]:
        if answer is None:
            return []
        if not isinstance(answer, Iterable):
            raise TypeError(
                f"{self.hook} must return a sequence of {self.spec_type.__name__}, not {type(answer).__name__}"
            )
        specs = list(answer)
        for spec in specs:
            if not isinstance(spec, self.spec_type):
                raise TypeError(f"{self.hook} must return {self.spec_type.__name__} objects, not {type(spec).__name__}")
            if not self.name.fullmatch(spec.name):
                raise ValueError(f"{spec.name!r} cannot be the name of a {self.kind} (wanted {self.name.pattern})")
        return specs

    def named(self, name: str) -> Spec:
        """The spec of this name.

        Raises:
            UsageError: there is none; the message has the nearest names.
        """
        if name in self:
            return self[name]
        raise UsageError(f"no {self.kind} is called {name!r}{nearest(name, self)}")


_PLAIN = re.compile(r"[a-z0-9]+([._-][a-z0-9]+)*")
# Data sets are called as their authors call them: FaceForensics++.
_PROTOCOL = re.compile(r"[a-z0-9]+([._-][a-z0-9]+)*\+{0,2}(@[a-z0-9]+([._-][a-z0-9]+)*)?")
_MEASURE = re.compile(r"[a-z0-9]+([._-][a-z0-9]+)*@[a-z0-9]+([._-][a-z0-9]+)*")


@dataclass
class Registry:
    """Everything the installed plugins bring.

    Attributes:
        source: the plugins themselves.
        methods, protocols, measures, weights: specs by name; ``.origins[name]`` says where each comes from.
    """

    source: Plugins
    methods: Catalogue[MethodSpec] = field(
        default_factory=lambda: Catalogue("method", MethodSpec, "mfim_bench_methods", _PLAIN)
    )
    protocols: Catalogue[ProtocolSpec] = field(
        default_factory=lambda: Catalogue("protocol", ProtocolSpec, "mfim_bench_protocols", _PROTOCOL)
    )
    measures: Catalogue[MeasureSpec] = field(
        default_factory=lambda: Catalogue("measure", MeasureSpec, "mfim_bench_measures", _MEASURE)
    )
    weights: Catalogue[WeightsSpec] = field(
        default_factory=lambda: Catalogue("weights file", WeightsSpec, "mfim_bench_weights", _PLAIN)
    )

    def __post_init__(self) -> None:
        self.methods.fill(self.source)
        self.protocols.fill(self.source)
        self.measures.fill(self.source)
        self.weights.fill(self.source)

    @property
    def failures(self) -> Sequence[PluginFailure]:
        """Plugins that could not be loaded or asked."""
        return self.source.failures

    @property
    def origins(self) -> Mapping[str, Mapping[str, str]]:
        """``origins["methods"]["mfim"]`` = where it comes from; kinds are methods, protocols, measures, weights."""
        return MappingProxyType(
            {kind: getattr(self, kind).origins for kind in ("methods", "protocols", "measures", "weights")}
        )

    def method(self, name: str) -> MethodSpec:
        """A method by name, ``NAME@SIZE``, ``NAME:ARGUMENT``, ``path/to/file.py:function``, ``cmd:…`` or ``dir:PATH``.

        With ``@global`` or ``@local`` behind it: the method given that part's source alone.

        Raises:
            UsageError: unknown, malformed, or its file, program or folder is missing.
        """
        if name in self.methods:
            return self.methods[name]
        base, _, part = name.rpartition("@")
        if base and part in PARTS:
            return given_only(self.method(base), part)
        if adhoc.recognises(name):
            return adhoc.spec_of(name)
        base, colon, argument = name.partition(":")
        if colon and base in self.methods:
            return self._with_argument(self.methods[base], argument)
        base, at, size = name.rpartition("@")
        if at and base in self.methods and size.isdigit():
            return _at_size(self.methods[base], int(size))
        return self.methods.named(name)

    def _with_argument(self, base: MethodSpec, argument: str) -> MethodSpec:
        if not base.with_argument:
            raise UsageError(f"{base.name} takes no argument, so {base.name}:{argument} is no method")
        if not argument:
            raise UsageError(f"{base.name}: wants an argument after the colon, such as a file")
        spec = _build(f"method {base.name}:{argument}", base.with_argument, argument)
        if not isinstance(spec, MethodSpec):
            raise UsageError(f"{base.with_argument} must return a MethodSpec, not {type(spec).__name__}")
        # The name is a folder's and a row's of the table: plain, and nobody else's.
        if not _PLAIN.fullmatch(spec.name) or spec.name in self.methods:
            raise UsageError(f"{spec.name!r} cannot be the name of {base.name}:{argument}")
        return spec

    def measure(self, name: str) -> MeasureSpec:
        """A measure by ``family@variant``, or by its family alone: its default (or only) variant.

        Raises:
            UsageError: unknown, or the family has several variants and not one default.
        """
        return _variant(self.measures, name)

    def protocol(self, name: str) -> ProtocolSpec:
        """A protocol by name; ``faceforensics++`` alone is its default (or only) variant.

        Raises:
            UsageError: unknown, or it has several variants and not one default.
        """
        return _variant(self.protocols, name)


def _variant(catalogue: Catalogue[_Variants], name: str) -> _Variants:
    """By ``family@variant``, or by the family alone."""
    if name in catalogue or "@" in name:
        return catalogue.named(name)
    family = [spec for spec in catalogue.values() if spec.family == name]
    defaults = [spec for spec in family if spec.default] or family
    if len(defaults) == 1:
        return defaults[0]
    if family:
        raise UsageError(f"{name!r} has several variants, name one: {', '.join(spec.name for spec in family)}")
    known = {*catalogue, *(spec.family for spec in catalogue.values())}
    raise UsageError(f"no {catalogue.kind} is called {name!r}{nearest(name, known)}")


def _at_size(spec: MethodSpec, size: int) -> MethodSpec:
    if spec.size:
        raise UsageError(f"{spec.name} works at {spec.size} px; only methods of any size take @SIZE")
    if not 16 <= size <= 4096:
        raise UsageError(f"{spec.name}@{size}: the size must be between 16 and 4096 px")
    return replace(spec, name=f"{spec.name}@{size}", size=size, template="ffhq")


def given_only(spec: MethodSpec, part: str) -> MethodSpec:
    """The method as ``NAME@PART``: of a mixed identity, it is given this part's source alone."""
    return replace(spec, name=f"{spec.name}@{part}", only=part)


@functools.cache
def registry() -> Registry:
    """What all installed plugins bring; read once a process.

    Raises:
        UsageError: two plugins bring the same name.
    """
    return Registry(plugins())


def load_method(spec: MethodSpec, device: torch.device) -> AnyMethod:
    """Build the method on a device.

    Raises:
        UsageError: it cannot be built; one line says why.
    """
    arguments = (device, spec.argument) if spec.argument else (device,)
    method = _build(f"method {spec.name}", spec.factory, *arguments)
    if not any(callable(getattr(method, verb, None)) for verb in ("swap", "swap_frame", "result")):
        raise UsageError(f"method {spec.name}: {spec.factory} made a {type(method).__name__} without swap()")
    return method  # type: ignore[no-any-return]


def load_judge(spec: JudgeSpec, device: torch.device) -> Judge:
    """Build a judge on a device.

    Raises:
        UsageError: it cannot be built; one line says why.
    """
    return _build(f"judge {spec.name}", spec.factory, device)  # type: ignore[no-any-return]


def load_protocol(spec: ProtocolSpec, data: Path | None = None, split: str | None = None) -> Protocol:
    """Open a protocol's data; ``split=None`` = the first.

    Raises:
        UsageError: the data is missing, or no such split.
    """
    split = split or spec.splits[0]
    if split not in spec.splits:
        raise UsageError(f"protocol {spec.name} has no split {split!r}{nearest(split, spec.splits)}")
    if spec.data_required and data is None:
        raise UsageError(f"protocol {spec.name} needs --data DIR, the folder of its data set")
    if data is not None and not data.is_dir():
        raise UsageError(f"--data: there is no folder {data}")
    arguments = (data, split, spec.argument) if spec.argument else (data, split)
    return _build(f"protocol {spec.name}", spec.factory, *arguments)  # type: ignore[no-any-return]


def _build(what: str, factory: str, *arguments: object) -> Any:
    try:
        return resolve(factory)(*arguments)
    except UsageError:
        raise
    except Exception as error:
        raise UsageError(f"{what} could not be loaded: {one_line(error)}") from error
