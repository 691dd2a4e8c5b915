"""Tensors out of a pickle that names Python classes, without running any of it.

NVlabs' StyleGAN2 pickles hold whole networks, each with the source text of its class, which an ordinary unpickler
executes. Here a pickle is only parsed: `parse` follows its opcodes on a stack of plain values, and whatever the file
wants to import, call or build becomes a `Node`, a record of names and values. Nothing named in the file is imported and
nothing is called. `networks` then finds the networks among the records, and `tensor` the two calls that rebuild a
tensor, whose bytes (an inner file of ``torch.save``) are read with ``weights_only=True``.
"""

from __future__ import annotations

import io
import mmap
import pickletools
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, cast

import torch
from torch import Tensor

from mfim_bench.errors import UsageError

PERSISTENT = "torch_utils.persistence._reconstruct_persistent_obj"
FROM_BYTES = "torch.storage._load_from_bytes"
NETWORKS = ("G", "D", "G_ema")
ROOTS = frozenset({"torch", "torch_utils", "dnnlib", "training", "numpy", "collections"})
SET = "builtins.set"
NAMES = frozenset({SET, "builtins.object", "builtins.slice", "copyreg._reconstructor", "_codecs.encode"})
"""What a pickle of NVlabs names. Nothing is called either way; a file that names more is something else."""
DEPTH, MODULES = 32, 20_000
"""Limits of the walk over a file's modules: a file may refer to itself, or to one part in many places."""


@dataclass(eq=False, slots=True)
class Node:
    """What the file wants imported, called or built.

    Attributes:
        name: dotted name of the class or function.
        arguments: of the call; empty = only named, or called with none.
        state: given to the object afterwards.
        items: set on it as on a mapping.
    """

    name: str
    arguments: tuple[Any, ...] = ()
    state: Any = None
    items: dict[Any, Any] = field(default_factory=dict)


class _Mark:
    pass


_VALUES = frozenset({
    "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT",
    "STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8",
    "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8",
})  # fmt: skip
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_GET, _PUT = frozenset({"GET", "BINGET", "LONG_BINGET"}), frozenset({"PUT", "BINPUT", "LONG_BINPUT"})


class _Machine:
    """The stack of one pickle."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    def since_mark(self) -> list[Any]:
        at = next(k for k in range(len(self.stack) - 1, -1, -1) if isinstance(self.stack[k], _Mark))
        values = self.stack[at + 1 :]
        del self.stack[at:]
        return values

    def step(self, name: str, argument: Any) -> None:
        """Follow one opcode.

        Raises:
            IndexError, StopIteration, KeyError, TypeError, ValueError: the pickle is malformed, or holds an opcode
                that no pickle of networks needs.
        """
        stack = self.stack
        if name in _VALUES:
            stack.append(argument)
        elif name in _CONSTANTS:
            stack.append(_CONSTANTS[name])
        elif name in _GET:
            stack.append(self.memo[argument])
        elif name in _PUT or name == "MEMOIZE":
            self.memo[len(self.memo) if argument is None else argument] = stack[-1]
        elif name == "MARK":
            stack.append(_Mark())
        elif name == "POP":
            stack.pop()
        elif name == "POP_MARK":
            self.since_mark()
        elif name == "DUP":
            stack.append(stack[-1])
        elif name in ("EMPTY_TUPLE", "TUPLE", *_TUPLES):
            count = _TUPLES.get(name)
            if name == "EMPTY_TUPLE":
                stack.append(())
            elif count is None:
                stack.append(tuple(self.since_mark()))
            else:
                stack.append(tuple([stack.pop() for _ in range(count)][::-1]))
        else:
            self._build(name, argument)

    def _build(self, name: str, argument: Any) -> None:
        stack = self.stack
        if name in ("EMPTY_LIST", "EMPTY_DICT", "EMPTY_SET"):
            stack.append({} if name == "EMPTY_DICT" else [])
        elif name in ("LIST", "FROZENSET"):
            stack.append(self.since_mark())
        elif name == "DICT":
            stack.append(_pairs(self.since_mark()))
        elif name in ("APPEND", "APPENDS", "ADDITEMS"):
            values = [stack.pop()] if name == "APPEND" else self.since_mark()
            if isinstance(stack[-1], list):
                stack[-1].extend(values)
        elif name in ("SETITEM", "SETITEMS"):
            values = [stack.pop(), stack.pop()][::-1] if name == "SETITEM" else self.since_mark()
            goal = stack[-1].items if isinstance(stack[-1], Node) else stack[-1]
            goal.update(_pairs(values))
        elif name in ("GLOBAL", "STACK_GLOBAL"):
            if name == "GLOBAL":
                dotted = ".".join(argument.split(" ", 1))
            else:
                attribute, module = stack.pop(), stack.pop()
                dotted = f"{module}.{attribute}"
            if dotted.partition(".")[0] not in ROOTS and dotted not in NAMES:
                raise UsageError(f"it names {dotted[:80]}, which no pickle of networks does; nothing was run")
            stack.append(Node(dotted))
        elif name in ("REDUCE", "NEWOBJ"):
            arguments, function = stack.pop(), stack.pop()
            # In a whole pickle arguments are a tuple; nothing else is looked into.
            arguments = arguments if isinstance(arguments, tuple) else ()
            stack.append(Node(function.name if isinstance(function, Node) else "", arguments))
        elif name == "NEWOBJ_EX":
            raise ValueError("a call with named arguments")
        elif name == "BUILD":
            state = stack.pop()
            if isinstance(stack[-1], Node):
                stack[-1].state = state
        elif name not in ("PROTO", "FRAME"):
            raise ValueError(f"opcode {name} at this place")


def _pairs(values: list[Any]) -> dict[Any, Any]:
    # A tuple of tuples of ... overflows the stack when it is hashed.
    if not all(isinstance(key, str | bytes | int | float | None) for key in values[::2]):
        raise ValueError("a key that is no plain value")
    return dict(zip(values[::2], values[1::2], strict=True))


def parse(path: Path) -> Any:
    """The value a pickle describes, of plain values and `Node`; nothing of it is imported or called.

    Raises:
        UsageError: no pickle, a truncated or malformed one, or one that names what no pickle of networks does.
    """
    machine = _Machine()
    try:
        # A memory map gives no more bytes than the file has, whatever length the pickle claims.
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            for opcode, argument, _ in pickletools.genops(cast("IO[bytes]", data)):
                if opcode.name == "STOP":
                    return machine.stack.pop()
                machine.step(opcode.name, argument)
    except UsageError as error:
        raise UsageError(f"{path} is refused: {error}") from error
    except Exception as error:
        reason = " ".join(str(error).split())[:100] or type(error).__name__
        raise UsageError(f"{path} is no whole pickle: {reason}") from error
    raise UsageError(f"{path} is no whole pickle: it does not end")


def networks(path: Path) -> dict[str, dict[str, Tensor]]:
    """The networks G, D and G_ema of a pickle of stylegan2-ada-pytorch or stylegan3: tensors by key, a network.

    Raises:
        UsageError: see `parse`; or the pickle holds no such networks, or is one of the TensorFlow versions.
    """
    value = parse(path)
    if isinstance(value, tuple) and any(isinstance(x, Node) and x.name.startswith("dnnlib.tflib") for x in value):
        raise UsageError(f"{path} is a pickle of the TensorFlow versions; convert it with legacy.py of stylegan3 first")
    content = mapping(value)
    found = {name: node for name in NETWORKS if isinstance(node := content.get(name), Node)}
    if not found:
        raise UsageError(f"{path} is a pickle without networks of StyleGAN2 (none of {', '.join(NETWORKS)})")
    budget = iter(range(MODULES))
    storages: dict[int, Tensor] = {}
    try:
        return {
            name: {key: tensor(record, storages) for key, record in _tensors(node, "", 0, budget)}
            for name, node in found.items()
        }
    except UsageError as error:
        raise UsageError(f"{path} is refused: {error}") from error


def mapping(value: Any) -> dict[Any, Any]:
    """The items of a mapping or of a `Node` that had items set (EasyDict, OrderedDict); else nothing."""
    if isinstance(value, Node):
        return value.items
    return value if isinstance(value, dict) else {}


def _members(value: Any) -> list[Any]:
    """The members of a set: an opcode of its own since protocol 4, a call of ``set`` before."""
    if isinstance(value, Node) and value.name == SET:
        value = next(iter(value.arguments), [])
    return value if isinstance(value, list) else []


def _tensors(node: Node, prefix: str, depth: int, budget: Iterator[int]) -> Iterator[tuple[str, Any]]:
    """Records of parameters and persistent buffers below a module, by key as in its state dict."""
    if depth > DEPTH or next(budget, None) is None:
        raise UsageError("its modules refer to each other without end")
    state = node.state
    if node.name == PERSISTENT and len(node.arguments) == 1:
        state = mapping(node.arguments[0]).get("state")
    members = mapping(state)
    hidden = _members(members.get("_non_persistent_buffers_set"))
    for kind in ("_parameters", "_buffers"):
        for name, record in mapping(members.get(kind)).items():
            if record is not None and name not in hidden:
                yield f"{prefix}{name}", record
    for name, module in mapping(members.get("_modules")).items():
        if isinstance(module, Node):
            yield from _tensors(module, f"{prefix}{name}.", depth + 1, budget)


def tensor(record: Any, storages: dict[int, Tensor]) -> Tensor:
    """Rebuild one tensor from its record.

    Args:
        record: the call that would rebuild a tensor or a parameter.
        storages: flat tensors already read, by the identity of their record; filled here.

    Raises:
        UsageError: the record is something else, or its numbers do not fit its bytes.
    """
    while isinstance(record, Node) and record.name == "torch._utils._rebuild_parameter" and record.arguments:
        record = record.arguments[0]
    arguments = record.arguments if isinstance(record, Node) else ()
    name = record.name if isinstance(record, Node) else type(record).__name__
    if name != "torch._utils._rebuild_tensor_v2" or len(arguments) < 4:
        raise UsageError(f"a weight is made by {name[:80]}, not by torch")
    storage, offset, size, stride = arguments[:4]
    try:
        if id(storage) not in storages:
            storages[id(storage)] = _storage(storage)
        return torch.as_strided(storages[id(storage)], size, stride, offset)
    except UsageError:
        raise
    except Exception as error:
        raise UsageError("a weight's shape does not fit its bytes") from error


def _storage(record: Any) -> Tensor:
    arguments = record.arguments if isinstance(record, Node) and record.name == FROM_BYTES else ()
    if len(arguments) != 1 or not isinstance(arguments[0], bytes):
        raise UsageError("a weight's bytes are not stored as torch stores them")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch, about typed storages
        try:
            stored = torch.load(io.BytesIO(arguments[0]), map_location="cpu", weights_only=True)
            return torch.tensor([], dtype=stored.dtype).set_(stored.untyped())
        except Exception as error:
            raise UsageError("a weight's bytes cannot be read without running code") from error
