"""Scores from counts of true and false positives and negatives, of pixels or of boxes."""

import numpy as np
from numpy.typing import ArrayLike


def scores_of_counts(
    tp: ArrayLike, fp: ArrayLike, fn: ArrayLike, tn: ArrayLike = 0
) -> dict[str, np.ndarray]:
    """Return dice (of boxes: F1), iou, precision, recall and accuracy.

    dice = 2 tp / (2 tp + fp + fn), iou = tp / (tp + fp + fn), precision = tp / (tp + fp),
    recall = tp / (tp + fn), accuracy = (tp + tn) / all. 0/0 is 1 where tp = fp = fn = 0, else 0.

    Args:
        tp, fp, fn, tn: numbers or arrays of one shape: true positives, false positives, false
            negatives, true negatives.

    Returns:
        float64 arrays of the counts' shape, in [0, 1].
    """
    tp, fp, fn, tn = (np.asarray(count, np.float64) for count in (tp, fp, fn, tn))
    nothing = tp + fp + fn == 0

    def ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
        return np.where(whole > 0, part / np.where(whole > 0, whole, 1), nothing)

    return {
        "dice": ratio(2 * tp, 2 * tp + fp + fn),
        "iou": ratio(tp, tp + fp + fn),
        "precision": ratio(tp, tp + fp),
        "recall": ratio(tp, tp + fn),
        "accuracy": ratio(tp + tn, tp + fp + fn + tn),
    }
