"""Records written with known numbers."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
from made_records import Make, write_record


@pytest.fixture
def make(tmp_path: Path) -> Make:
    return partial(write_record, tmp_path)
