"""Scores from counts."""

import numpy as np
import pytest

from dentalzoo.ops.scores import scores_of_counts


def test_scores_by_hand():
    values = scores_of_counts(tp=6, fp=2, fn=4, tn=8)
    expected = {"dice": 12 / 18, "iou": 6 / 12, "precision": 6 / 8, "recall": 6 / 10}
    assert values == pytest.approx(expected | {"accuracy": 14 / 20})


@pytest.mark.parametrize(
    ("counts", "value"),
    [((0, 0, 0, 80), 1.0), ((0, 8, 0, 72), 0.0), ((0, 0, 8, 72), 0.0)],
    ids=["both empty", "empty ground truth", "empty prediction"],
)
def test_scores_of_what_is_empty(counts, value):
    values = scores_of_counts(*counts)
    assert {key: float(values[key]) for key in ("dice", "iou", "precision", "recall")} == (
        dict.fromkeys(("dice", "iou", "precision", "recall"), value)
    )
    assert values["accuracy"] == counts[3] / 80


def test_scores_in_closed_form():
    counts = np.random.default_rng(0).integers(1, 10**9, (4, 500))
    values = scores_of_counts(*counts)
    harmonic = 2 / (1 / values["precision"] + 1 / values["recall"])
    np.testing.assert_allclose(values["dice"], harmonic)  # F1
    np.testing.assert_allclose(values["iou"], values["dice"] / (2 - values["dice"]))
    tp, fp, fn, _ = counts
    swapped = scores_of_counts(tp, fn, fp, 0)
    np.testing.assert_array_equal(swapped["dice"], values["dice"])
    np.testing.assert_array_equal(swapped["precision"], values["recall"])
