"""``python tests/twins DIR``: write every twin, whole ones and spoiled ones, into a folder to look at."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from twins import data_sets

for name, write in data_sets.ALL.items():
    print(name, write(Path(sys.argv[1]) / name))
