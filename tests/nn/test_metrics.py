"""Streaming metrics: the same for every batch size, and hand-counted values."""

import numpy as np
import pytest

from dentalzoo.nn import metrics


def values(gt, pred, batch, num_channels=1):
    found_metrics = metrics.segmentation_metrics(num_channels)
    for start in range(0, len(gt), batch):
        for metric in found_metrics:
            metric.update_state(gt[start : start + batch], pred[start : start + batch])
    return {metric.name: float(metric.result()) for metric in found_metrics}


def column(*rows):
    return np.array(rows, np.float32)[:, :, None, None]


def test_hand_counted():
    gt = column([1, 1, 1, 0, 0, 0])
    pred = column([0.9, 0.6, 0.1, 0.7, 0.2, 0.5])  # 0.5 itself is not above the threshold
    assert values(gt, pred, 1) == pytest.approx(
        {"accuracy": 4 / 6, "dice": 4 / 6, "iou": 2 / 4, "precision": 2 / 3, "recall": 2 / 3}
    )


def test_the_batch_size_does_not_matter():
    rng = np.random.default_rng(0)
    gt = (rng.random((7, 8, 8, 1)) > 0.7).astype(np.float32)
    gt[2] = 0
    pred = rng.random((7, 8, 8, 1)).astype(np.float32)
    one, three, seven = (values(gt, pred, batch) for batch in (1, 3, 7))
    assert one == pytest.approx(three, abs=1e-6) and one == pytest.approx(seven, abs=1e-6)


def test_empty_against_empty_is_one_and_empty_against_something_is_zero():
    nothing, something = column([0, 0, 0]), column([0.9, 0, 0])
    assert set(values(nothing, nothing, 1).values()) == {1.0}
    false_positives = values(nothing, something, 1)
    assert [false_positives[key] for key in ("dice", "iou", "precision", "recall")] == [0, 0, 0, 0]
    false_negatives = values(column([1, 1, 0]), nothing, 1)
    assert [false_negatives[key] for key in ("dice", "iou", "precision", "recall")] == [0, 0, 0, 0]


def test_several_classes_leave_the_background_out():
    gt = column([0, 1, 1, 3])
    pred = np.eye(4, dtype=np.float32)[[0, 1, 3, 3]][None, :, None]
    got = values(gt, pred, 1, num_channels=4)
    # Class 1: TP 1, FN 1. Class 2 does not occur. Class 3: TP 1, FP 1.
    assert got == pytest.approx(
        {"accuracy": 3 / 4, "dice": 2 / 3, "iou": 1 / 2, "precision": 3 / 4, "recall": 3 / 4}
    )


def test_counts_do_not_saturate():
    metric = metrics.Dice("dice")
    metric.tp.assign([2**24])  # float32 would stay there
    metric.update_state(column([1]), column([1]))
    assert int(metric.tp[0]) == 2**24 + 1
