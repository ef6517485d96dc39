"""Suppression with the operations that XLA has equals TensorFlow's own."""

import numpy as np
import pytest

from dentalzoo.ops import suppression


def both(monkeypatch, *arguments):
    """What both forms return: boxes, scores, classes, num."""
    one = [np.array(part) for part in suppression.suppress(*arguments)]
    monkeypatch.setattr(suppression, "in_xla", lambda: True)
    two = [np.array(part) for part in suppression.suppress(*arguments)]
    monkeypatch.undo()
    assert [part.dtype for part in one] == [part.dtype for part in two]
    return one, two


def candidates(classes_with_boxes, anchors=40, classes=3):
    random = np.random.RandomState(1)
    low = random.uniform(0, 0.7, (2, anchors, classes_with_boxes, 2))
    boxes = np.concatenate([low, low + random.uniform(0.1, 0.3, low.shape)], -1)
    scores = random.permutation(2 * anchors * classes).reshape(2, anchors, classes)
    return boxes.astype(np.float32), (scores / scores.max()).astype(np.float32)


@pytest.mark.parametrize("classes_with_boxes", [1, 3])
@pytest.mark.parametrize(
    ("per_class", "total", "iou", "score"),
    [(40, 60, 0.3, 0.0), (4, 9, 0.1, 0.5), (5, 50, 0.5, 0.9), (64, 10, 0.01, 0.2)],
)
def test_both_forms_are_the_same(monkeypatch, classes_with_boxes, per_class, total, iou, score):
    boxes, scores = candidates(classes_with_boxes)
    one, two = both(monkeypatch, boxes, scores, per_class, total, iou, score)
    for expected, result in zip(one, two, strict=True):
        assert expected.shape == result.shape
        assert result == pytest.approx(expected, abs=1e-6)


def test_boxes_without_area_and_scores_of_zero(monkeypatch):
    boxes, scores = candidates(1)
    boxes[:, ::2, :, 2:] = boxes[:, ::2, :, :2]
    scores[1] = 0.0
    one, two = both(monkeypatch, boxes, scores, 10, 20, 0.3, 0.0)
    assert one[3].tolist() == two[3].tolist() and two[3][1] == 0
    for expected, result in zip(one, two, strict=True):
        assert result == pytest.approx(expected, abs=1e-6)
