"""Bootstrap intervals against those of SciPy."""

import numpy as np
import pytest
from scipy import stats

from dentalzoo.ops.intervals import interval, mean_of


def test_intervals_are_those_of_scipy():
    values = np.random.default_rng(0).normal(0.9, 0.05, 40)
    mine = interval(mean_of(values), 40, 0)
    theirs = stats.bootstrap(
        (values,), np.mean, n_resamples=5000, method="percentile", rng=0
    ).confidence_interval
    assert mine["value"] == pytest.approx(values.mean(), abs=1e-6)
    assert (mine["low"], mine["high"]) == pytest.approx(tuple(theirs), abs=2e-3)
    assert interval(mean_of(values[:1]), 1, 0)["low"] is None
    assert interval(mean_of(np.array([np.nan, np.nan])), 2, 0)["value"] is None
