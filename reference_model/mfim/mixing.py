"""ID mixing: which source gives the codes of which resolution. Imports nothing heavy."""

from __future__ import annotations

from collections.abc import Sequence

from mfim_bench.errors import UsageError


def roles(levels: Sequence[int]) -> dict[str, tuple[int, ...]]:
    """The parts that have a name: ``global``, the coarser half of the ID levels, and ``local``, the finer half.

    That a global source gives the coarse codes and a local one the fine is the paper's; where the one ends and the
    other begins is unknown, so the middle is `[own choice]` (of an odd number, the local part has one more).

    Args:
        levels: resolutions whose codes come from a source, rising.
    """
    middle = len(levels) // 2
    return {"global": tuple(levels[:middle]), "local": tuple(levels[middle:])} if middle else {}


def assign(levels: Sequence[int], parts: Sequence[str]) -> dict[int, int]:
    """Who gives each ID level.

    Args:
        levels: the model's ID levels, rising.
        parts: of each source, what it gives: ``global``, ``local``, or a level such as ``32``.

    Returns:
        ID level → index of the part that gives it.

    Raises:
        UsageError: a part that is none, a level that two parts give, or one that nobody gives.
    """
    named = {**roles(levels), **{str(level): (level,) for level in levels}}
    givers: dict[int, int] = {}
    for index, part in enumerate(parts):
        if part not in named:
            known = [f"{name} ({_listed(given)} px)" for name, given in roles(levels).items()]
            known += [f"the ID levels {_listed(levels)}"]
            raise UsageError(f"no part of the identity is called {part!r}; this model knows {', '.join(known)}")
        for level in named[part]:
            if level in givers:
                raise UsageError(f"ID level {level} is given twice, by {parts[givers[level]]} and by {part}")
            givers[level] = index
    if missing := [level for level in levels if level not in givers]:
        raise UsageError(f"nobody gives ID level {_listed(missing)}; the sources give {', '.join(parts) or 'none'}")
    return givers


def _listed(levels: Sequence[int]) -> str:
    return ", ".join(map(str, levels))
