from __future__ import annotations

import numpy as np
import pytest
from skimage import data

from mfim_bench.faces.detect import Detector, Face


@pytest.fixture(scope="session")
def astronaut() -> np.ndarray:
    """A public-domain portrait (NASA), 512 x 512, one face of about 110 px."""
    return np.asarray(data.astronaut())


@pytest.fixture(scope="session")
def detector() -> Detector:
    return Detector("cpu")


@pytest.fixture(scope="session")
def face(detector: Detector, astronaut: np.ndarray) -> Face:
    found = detector.detect([astronaut])[0]
    assert found is not None
    return found
