"""Who gives which ID level."""

from __future__ import annotations

import pytest

from mfim.mixing import assign, roles
from mfim_bench.errors import UsageError

LEVELS = (32, 64, 128, 256, 512, 1024)


def test_roles_halve_the_levels() -> None:
    assert roles((32, 64)) == {"global": (32,), "local": (64,)}
    assert roles((32, 64, 128)) == {"global": (32,), "local": (64, 128)}
    assert roles(LEVELS) == {"global": (32, 64, 128), "local": (256, 512, 1024)}
    assert roles((32,)) == {}


def test_assignments() -> None:
    assert assign(LEVELS, ["global", "local"]) == {32: 0, 64: 0, 128: 0, 256: 1, 512: 1, 1024: 1}
    assert assign(LEVELS, ["local", "global"]) == {32: 1, 64: 1, 128: 1, 256: 0, 512: 0, 1024: 0}
    assert assign((32, 64), ["64", "32"]) == {32: 1, 64: 0}
    assert assign((32, 64, 128), ["global", "128", "64"]) == {32: 0, 64: 2, 128: 1}
    assert assign((32,), ["32"]) == {32: 0}


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        (["global"], "nobody gives ID level 64; the sources give global"),
        ([], "nobody gives ID level 32, 64; the sources give none"),
        (["global", "local", "32"], "ID level 32 is given twice, by global and by 32"),
        (["32", "32"], "ID level 32 is given twice, by 32 and by 32"),
        (["32", "128"], "'128'; this model knows global (32 px), local (64 px), the ID levels 32, 64"),
        (["16", "64"], "no part of the identity is called '16'"),
        (["eyes", "local"], "no part of the identity is called 'eyes'"),
    ],
)
def test_what_is_no_assignment_is_one_line(parts: list[str], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        assign((32, 64), parts)
    assert message in str(caught.value)
