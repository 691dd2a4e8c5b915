"""The real recogniser through the real pipeline."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mfim_bench.bench import RunSettings, run
from mfim_bench.plugins import Registry


def test_identity_by_dlib(settings: RunSettings, registry: Registry) -> None:
    """The copies show one person: to a recogniser nearly all pairs are the same (dlib's own threshold is .6)."""
    measures = ("identity", "error-inside", "error-outside")
    records = run(replace(settings, measures=measures, limit=8, method="target-copy@128"), registry)
    by_name = {record.method: record for record in records}
    identity = by_name["target-copy"].summary["measures"]["identity@dlib-l2"]
    assert 0.02 < identity["mean"] < 0.6
    assert not identity["in_domain"]
    assert by_name["source-copy"].summary["measures"]["identity@dlib-l2"]["mean"] == 0
    resampled = by_name["target-copy@128"].summary["measures"]["identity@dlib-l2"]["mean"]
    np.testing.assert_allclose(resampled, identity["mean"], atol=0.06)
    assert by_name["truth"].summary["measures"]["error-inside@l1"]["mean"] == 0
