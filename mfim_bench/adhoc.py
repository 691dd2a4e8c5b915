"""Methods that need no plugin: a Python file, a command, or a folder of results, named by a line of text.

Only the light descriptions are made here, with the standard library; `mfim_bench.adapters` does the work.
"""

from __future__ import annotations

import ast
import hashlib
import json
import re
import shlex
import shutil
from pathlib import Path
from typing import Any

from mfim_bench.errors import UsageError
from mfim_bench.method import MethodSpec

PLACEHOLDERS = ("{source}", "{target}", "{output}")
IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp"})
_FILE_SETTINGS: dict[str, type | tuple[type, ...]] = {
    "SIZE": int,
    "TEMPLATE": str,
    "SUMMARY": str,
    "LICENCE": str,
    "CITATION": str,
    "TRAINED_WITH": (tuple, list),
    "FILES": (tuple, list),
}


def recognises(text: str) -> bool:
    """Whether the text is of one of the three forms."""
    return text.startswith(("cmd:", "dir:")) or re.search(r"\.py:\w+$", text) is not None


def spec_of(text: str) -> MethodSpec:
    """The light description of ``file.py:function``, ``cmd:COMMAND`` or ``dir:PATH``.

    The version is a hash of what defines the method: the file and the files it names; the command and every argument
    that is a file; the images of the folder.

    Raises:
        UsageError: malformed, or the file, program or folder is missing.
    """
    if text.startswith("cmd:"):
        return _command(text[len("cmd:") :])
    if text.startswith("dir:"):
        return _folder(text[len("dir:") :])
    return _file(text)


def _file(text: str) -> MethodSpec:
    name, _, function = text.rpartition(":")
    path = Path(name).expanduser().resolve()
    try:
        code = path.read_bytes()
        tree = ast.parse(code, filename=str(path))
    except OSError as error:
        raise UsageError(f"cannot read {name}: {error.strerror}") from error
    except (SyntaxError, ValueError) as error:
        raise UsageError(f"{name} is not valid Python: {error}") from error
    known = [n.name for n in tree.body if isinstance(n, ast.FunctionDef | ast.ClassDef)]
    names = {
        *known,
        *(t.id for n in tree.body if isinstance(n, ast.Assign) for t in n.targets if isinstance(t, ast.Name)),
    }
    if function not in names:
        raise UsageError(f"{name} defines no {function!r}; it defines {', '.join(known) or 'no function'}")
    settings = _settings(tree, name)
    size, template = settings.get("SIZE", 256), settings.get("TEMPLATE", "ffhq")
    if template not in ("ffhq", "arcface", "none"):
        raise UsageError(f"{name}: TEMPLATE must be ffhq, arcface or none, not {template!r}")
    if not 16 <= size <= 4096:
        raise UsageError(f"{name}: SIZE must be between 16 and 4096 px, not {size}")
    digest = hashlib.sha256(code)
    for beside in settings.get("FILES", ()):
        digest.update(_hash_file(path.parent / str(beside)))
    return MethodSpec(
        name=f"file-{slug(path.stem)}-{slug(function)}",
        factory="mfim_bench.adapters.file:load",
        argument=f"{path}:{function}",
        version=digest.hexdigest()[:16],
        size=size,
        template=template,
        summary=settings.get("SUMMARY", f"{function} of {path.name}"),
        licence=settings.get("LICENCE", "unknown"),
        citation=settings.get("CITATION", ""),
        trained_with=tuple(str(judge) for judge in settings.get("TRAINED_WITH", ())),
    )


def _settings(tree: ast.Module, name: str) -> dict[str, Any]:
    """Upper-case literals at the top of the file, read without running it."""
    found: dict[str, Any] = {}
    for node in tree.body:
        if not isinstance(node, ast.Assign):
            continue
        for variable in node.targets:
            if not (isinstance(variable, ast.Name) and variable.id in _FILE_SETTINGS):
                continue
            wanted = _FILE_SETTINGS[variable.id]
            try:
                value = ast.literal_eval(node.value)
            except ValueError:
                value = None
            if not isinstance(value, wanted):
                raise UsageError(f"{name}: {variable.id} must be a literal {_type_name(wanted)}")
            found[variable.id] = value
    return found


def _type_name(wanted: type | tuple[type, ...]) -> str:
    return wanted.__name__ if isinstance(wanted, type) else " or ".join(t.__name__ for t in wanted)


def _command(text: str) -> MethodSpec:
    try:
        arguments = shlex.split(text)
    except ValueError as error:
        raise UsageError(f"cmd: cannot be split into arguments: {error}") from error
    if not arguments:
        raise UsageError("cmd: names no program")
    for placeholder in PLACEHOLDERS:
        if not any(placeholder in argument for argument in arguments):
            raise UsageError(f"cmd: has no {placeholder}; it needs {' '.join(PLACEHOLDERS)}")
    program = shutil.which(arguments[0])
    if program is None:
        raise UsageError(f"cmd: there is no program {arguments[0]!r}")
    digest = hashlib.sha256("\0".join(arguments).encode())
    files = [Path(argument) for argument in arguments[1:] if _is_file(argument)]
    for path in files:
        digest.update(_hash_file(path))
    return MethodSpec(
        name=f"cmd-{slug((files[0] if files else Path(arguments[0])).stem)}",
        factory="mfim_bench.adapters.command:load",
        argument=json.dumps(arguments),
        version=digest.hexdigest()[:16],
        size=0,
        template="none",
        summary=f"command {shlex.join(arguments)}",
    )


def _folder(text: str) -> MethodSpec:
    folder, pattern = split_pattern(text)
    if not folder.is_dir():
        raise UsageError(f"dir: there is no folder {folder}")
    digest = hashlib.sha256(pattern.encode())
    images = sorted(p for p in folder.rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES and p.is_file())
    if not images:
        raise UsageError(f"dir: there is no image in {folder}")
    for path in images:
        digest.update(str(path.relative_to(folder)).encode() + b"\0" + _hash_file(path))
    return MethodSpec(
        name=f"dir-{slug(folder.resolve().name)}",
        factory="mfim_bench.adapters.folder:load",
        argument=str(folder.resolve() / pattern) if pattern else str(folder.resolve()),
        version=digest.hexdigest()[:16],
        size=0,
        template="none",
        summary=f"results in {folder}",
    )


def split_pattern(text: str) -> tuple[Path, str]:
    """``PATH/{target}_{source}.png`` -> the folder and the pattern; a bare ``PATH`` has the empty pattern."""
    head, brace, tail = text.partition("{")
    if not brace:
        return Path(text).expanduser(), ""
    folder, _, start = head.rpartition("/")
    return Path(folder or ("/" if head.startswith("/") else ".")).expanduser(), f"{start}{{{tail}"


def _is_file(argument: str) -> bool:
    try:
        return Path(argument).is_file()
    except (OSError, ValueError):  # too long for a path, or holds a NUL
        return False


def _hash_file(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").digest()
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from error


def slug(text: str) -> str:
    """Text as the plain part of a name: lower case letters and digits, joined by ``-``."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") or "x"
