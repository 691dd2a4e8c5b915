"""The weights catalogue: where a file is, what its hash must be, how it is read safely."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class WeightsSpec:
    """One entry of the catalogue.

    Attributes:
        name: unique, lower case, words joined by ``-``.
        sha256: of the file, hex; empty = unknown (the user's own file; its hash is recorded in the run).
        package: a file that ships inside an installed package, as ``"package:relative/path"``; resolved without
            importing the package. Empty = the user must add the file (``mfim-bench weights add``).
        filename: name of the file in the cache when it does not ship with a package.
        url: where the user can get it; never fetched without being asked for.
        licence: SPDX id or a phrase.
        summary: one line.
    """

    name: str
    sha256: str = ""
    package: str = ""
    filename: str = ""
    url: str = ""
    licence: str = "unknown"
    summary: str = ""
