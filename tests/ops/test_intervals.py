"""Bootstrap intervals against those of SciPy, and against the truth where it is known."""

import numpy as np
import pytest
from scipy import stats

from dentalzoo.ops import intervals
from dentalzoo.ops.intervals import (
    RESAMPLES,
    Resamples,
    bounds,
    cell_text,
    interval,
    mean_of,
    median_of,
    ratio_of,
    wilson,
)


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


def coverage(draw, images):
    """The part of 400 data sets whose interval of the mean holds the true mean, 0."""
    inside = 0
    for seed in range(400):
        row = interval(mean_of(draw(np.random.default_rng(seed))), images, seed=0)
        inside += row["low"] <= 0 <= row["high"]
    return inside / 400


def test_the_truth_lies_in_95_percent_of_the_intervals():
    assert 0.92 <= coverage(lambda rng: rng.normal(size=60), 60) <= 0.975


def test_images_of_one_patient_are_drawn_together():
    """Five images of each of 30 patients, alike but for little noise."""
    patients = [f"patient {number // 5}" for number in range(150)]

    def draw(rng):
        return np.repeat(rng.normal(size=30), 5) + rng.normal(scale=0.1, size=150)

    assert 0.90 <= coverage(draw, patients) <= 0.975
    assert coverage(draw, 150) < 0.75  # as if they were 150 patients: far too narrow


def test_resamples_are_the_same_whatever_the_blocks(monkeypatch):
    groups = list("aabbbcddef")
    whole = np.concatenate(list(Resamples(groups, 3).blocks()))
    monkeypatch.setattr(intervals, "_BLOCK", 7)
    intervals._drawn.cache_clear()
    np.testing.assert_array_equal(np.concatenate(list(Resamples(groups, 3).blocks())), whole)
    assert whole.shape == (1 + RESAMPLES, 10) and (whole[0] == 1).all()
    assert (whole[:, 0] == whole[:, 1]).all()
    assert (whole[1:, [0, 2, 5, 6, 8, 9]].sum(1) == 6).all()  # as many groups as there are
    intervals._drawn.cache_clear()


def test_statistics_are_those_of_the_copies():
    rng = np.random.default_rng(0)
    values, wholes = rng.normal(size=(2, 9))
    times = rng.integers(0, 4, (50, 9)).astype(float)
    for row, mean, median, ratio in zip(
        times,
        mean_of(values)(times),
        median_of(values)(times),
        ratio_of(values, wholes)(times),
        strict=True,
    ):
        copies = np.repeat(values, row.astype(int))
        assert mean == pytest.approx(copies.mean()) and median == pytest.approx(np.median(copies))
        assert ratio == pytest.approx(copies.sum() / np.repeat(wholes, row.astype(int)).sum())
    assert np.isnan(median_of(values)(np.zeros((1, 9)))).all()


def test_one_group_has_no_interval_and_an_undefined_number_no_value():
    assert interval(mean_of(np.array([1.0, 2.0])), ["a", "a"]) == {
        "value": 1.5,
        "low": None,
        "high": None,
    }
    assert cell_text(bounds(np.array([0.5]))) == "0.5000"
    assert cell_text(bounds(np.array([np.nan, 0.5]))) == "-"
    assert cell_text(bounds(np.array([0.5, 0.25, np.nan, 0.75]))) == "0.5000 (0.2625 to 0.7375)"


def test_a_share_has_wilsons_interval():
    for hits in (0, 3, 15):
        theirs = stats.binomtest(hits, 15).proportion_ci(method="wilson")
        mine = wilson(hits, 15)
        assert [mine["low"], mine["high"]] == pytest.approx([theirs.low, theirs.high], abs=1e-6)
    assert wilson(0, 0)["value"] is None
