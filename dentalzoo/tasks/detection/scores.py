"""Scores of matched detections: PASCAL VOC, FROC, one operating point, and confusion.

A class without any object has no score: None. Precision, recall and F1 of 0/0 are 1 where there is
neither an object nor a detection, else 0, as for masks.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dentalzoo.ops.boxes import overlaps
from dentalzoo.ops.scores import scores_of_counts
from dentalzoo.tasks.detection.matching import (
    FALSE_POSITIVE,
    IGNORED,
    IOU,
    TRUE_POSITIVE,
    Case,
    Matches,
    match,
)

# False positives per image of a FROC curve's points: the CAD challenges' (LUNA16)
RATES = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
_EPS = 1e-12  # 0.3 is not 3 * 0.1


@dataclass(frozen=True)
class Curve:
    """Numbers of true and false positives above each score.

    Attributes:
        scores: (D,), falling.
        true_positives, false_positives: (D,), their numbers among the detections with this score
            or a better one.
        objects: the number of target objects.
        images: the number of images.
    """

    scores: np.ndarray
    true_positives: np.ndarray
    false_positives: np.ndarray
    objects: int
    images: int

    @property
    def recall(self) -> np.ndarray:
        """(D,) in [0, 1]."""
        return np.asarray(self.true_positives / max(self.objects, 1))

    @property
    def precision(self) -> np.ndarray:
        """(D,) in [0, 1]."""
        positives = self.true_positives + self.false_positives
        return np.asarray(self.true_positives / np.maximum(positives, 1))

    @property
    def false_positives_per_image(self) -> np.ndarray:
        """(D,), at least 0."""
        return np.asarray(self.false_positives / max(self.images, 1))

    def thresholds(self) -> "Curve":
        """Return the points that a threshold can reach: of equal scores the last."""
        keep = np.zeros(0, np.int64)
        if len(self.scores):
            keep = np.flatnonzero(np.append(np.diff(self.scores), -1))
        return Curve(
            self.scores[keep],
            self.true_positives[keep],
            self.false_positives[keep],
            self.objects,
            self.images,
        )


def curve(matches: Matches, label: int | None = None, rows: np.ndarray | None = None) -> Curve:
    """Return the curve of a class, or of all classes together.

    Args:
        rows: some of `matches.rows()`; None for all.
    """
    rows = matches.rows() if rows is None else rows
    rows = rows if label is None else rows[rows[:, 1] == label]
    rows = rows[rows[:, 3] != IGNORED]
    rows = rows[np.argsort(-rows[:, 4], kind="stable")]
    objects = matches.objects[1:].sum() if label is None else matches.objects[label]
    hits = rows[:, 3] == TRUE_POSITIVE
    return Curve(rows[:, 4], np.cumsum(hits), np.cumsum(~hits), int(objects), matches.images)


def average_precision(points: Curve) -> float | None:
    """Return the area under the precision, made falling, over the recall: PASCAL VOC since 2010."""
    if not points.objects:
        return None
    precision = np.maximum.accumulate(points.precision[::-1])[::-1]
    return float((np.diff(points.recall, prepend=0.0) * precision).sum())


def average_precision_11(points: Curve) -> float | None:
    """Return the mean of the best precisions at recalls of 0, 0.1, ..., 1: PASCAL VOC 2007."""
    if not points.objects:
        return None
    reached = [points.precision[points.recall >= at - _EPS] for at in np.arange(11) / 10]
    return float(np.mean([part.max() if len(part) else 0.0 for part in reached]))


def precision_at(points: Curve, recalls: np.ndarray) -> np.ndarray:
    """Return the best precision at each recall or beyond it, 0 where none reaches it: a curve."""
    best = np.maximum.accumulate(points.precision[::-1])[::-1]
    index = np.searchsorted(points.recall, recalls - _EPS, side="left")
    return np.append(best, 0.0)[index]


def sensitivity(points: Curve, rates: Sequence[float] = RATES) -> list[float] | None:
    """Return FROC: the best recall with at most so many false positives per image.

    Returns:
        For each rate, in [0, 1]; None where there is no object.
    """
    if not points.objects:
        return None
    points = points.thresholds()
    recalls = np.concatenate([[0.0], points.recall])
    reached = points.false_positives_per_image
    return [float(recalls[np.count_nonzero(reached <= rate + _EPS)]) for rate in rates]


def at_threshold(points: Curve, threshold: float) -> dict[str, float]:
    """Return precision, recall, F1 and false positives per image at a confidence threshold."""
    count = np.count_nonzero(points.scores >= threshold)
    tp = int(points.true_positives[count - 1]) if count else 0
    fp = int(points.false_positives[count - 1]) if count else 0
    values = scores_of_counts(tp, fp, points.objects - tp)
    return {
        "precision": float(values["precision"]),
        "recall": float(values["recall"]),
        "f1": float(values["dice"]),
        "false_positives_per_image": fp / max(points.images, 1),
    }


def best_threshold(points: Curve) -> float | None:
    """Return the confidence threshold of the best F1, rounded down to 6 digits.

    So it may be written and still keeps the same boxes. The highest of several; None where there is
    no object or no detection.
    """
    points = points.thresholds()
    if not points.objects or not len(points.scores):
        return None
    tp, fp = points.true_positives, points.false_positives
    f1 = 2 * tp / (tp + fp + points.objects)
    return float(np.floor(points.scores[np.argmax(f1)] * 1e6) / 1e6)


# ---- one image -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Outcome:
    """Detections and objects of an image, judged at one confidence threshold.

    Attributes:
        shown: (K,) bool, the detections with at least that score.
        kinds: (K,) int8, TRUE_POSITIVE, FALSE_POSITIVE or IGNORED.
        false_negative: (N,) bool, target objects without a true positive.
        confused: (object, detection): a false negative under a false positive of another class.
    """

    shown: np.ndarray
    kinds: np.ndarray
    false_negative: np.ndarray
    confused: list[tuple[int, int]]

    def of_kind(self, kind: int) -> np.ndarray:
        """Return (K,) bool, the shown detections of a kind."""
        return np.asarray(self.shown & (self.kinds == kind))

    def counts(self) -> dict[str, int]:
        """Return the numbers of true positives, false positives and false negatives."""
        return {
            "true_positives": int(self.of_kind(TRUE_POSITIVE).sum()),
            "false_positives": int(self.of_kind(FALSE_POSITIVE).sum()),
            "false_negatives": int(self.false_negative.sum()),
        }


def judge(case: Case, threshold: float, iou: float = IOU) -> Outcome:
    """Judge an image's detections with a score of at least `threshold`.

    A false positive and a false negative that overlap by `iou` or more are a confusion of their
    classes, the closest pairs first.
    """
    kinds, objects = match(case, iou)
    shown = case.scores >= threshold
    false_negative = ~case.ignored
    false_negative[objects[shown & (kinds == TRUE_POSITIVE)]] = False
    fn, fp = np.flatnonzero(false_negative), np.flatnonzero(shown & (kinds == FALSE_POSITIVE))
    table = overlaps(case.gt_boxes[fn], case.boxes[fp])
    table[case.gt_classes[fn][:, None] == case.classes[fp][None]] = 0
    confused = []
    while table.size and table.max() >= iou:
        row, column = np.unravel_index(np.argmax(table), table.shape)
        confused.append((int(fn[row]), int(fp[column])))
        table[row], table[:, column] = 0, 0
    return Outcome(shown, kinds, false_negative, confused)


def confusion(case: Case, outcome: Outcome, num_classes: int) -> np.ndarray:
    """Return how often an object of a class (rows) was detected as one (columns).

    The last row and column are the background: false positives without an object are in its row,
    false negatives without a detection in its column.

    Returns:
        (n + 1, n + 1) int64, the classes 1..n and then the background.
    """
    counts = np.zeros((num_classes + 1, num_classes + 1), np.int64)
    right = case.classes[outcome.of_kind(TRUE_POSITIVE)] - 1
    np.add.at(counts, (right, right), 1)
    fp, fn = outcome.of_kind(FALSE_POSITIVE), outcome.false_negative.copy()
    for target, detection in outcome.confused:
        counts[case.gt_classes[target] - 1, case.classes[detection] - 1] += 1
        fp[detection], fn[target] = False, False
    np.add.at(counts, (case.gt_classes[fn] - 1, num_classes), 1)
    np.add.at(counts, (num_classes, case.classes[fp] - 1), 1)
    return counts
