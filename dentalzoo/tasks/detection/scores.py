"""Scores of matched detections: PASCAL VOC, FROC, one operating point, and confusion.

A class without any object has no score: None. Precision, recall and F1 of 0/0 are 1 where nothing
was wanted and nothing found, else 0, as for masks.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dentalzoo.ops.scores import scores_of_counts
from dentalzoo.tasks.detection.matching import FOUND, IGNORED, IOU, WRONG, Case, Matches, match
from dentalzoo.tasks.detection.postprocessing import overlaps

# False positives per image of a FROC curve's points: the CAD challenges' (LUNA16)
RATES = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
_EPS = 1e-12  # 0.3 is not 3 * 0.1


@dataclass(frozen=True)
class Curve:
    """What is found above each score.

    Attributes:
        scores: (D,), falling.
        found, wrong: (D,), how many detections with this score or a better one are so.
        wanted: how many objects there are.
        images: on how many images.
    """

    scores: np.ndarray
    found: np.ndarray
    wrong: np.ndarray
    wanted: int
    images: int

    @property
    def recall(self) -> np.ndarray:
        """(D,) in [0, 1]."""
        return self.found / max(self.wanted, 1)

    @property
    def precision(self) -> np.ndarray:
        """(D,) in [0, 1]."""
        return self.found / np.maximum(self.found + self.wrong, 1)

    def thresholds(self) -> "Curve":
        """The points that a threshold can reach: of equal scores the last."""
        last = np.flatnonzero(np.append(np.diff(self.scores), -1)) if len(self.scores) else []
        keep = np.asarray(last, np.int64)
        return Curve(
            self.scores[keep], self.found[keep], self.wrong[keep], self.wanted, self.images
        )


def curve(matches: Matches, label: int | None = None, rows: np.ndarray | None = None) -> Curve:
    """The curve of a class, or of all classes together.

    Args:
        rows: some of `matches.rows()`; None for all.
    """
    rows = matches.rows() if rows is None else rows
    rows = rows if label is None else rows[rows[:, 1] == label]
    rows = rows[rows[:, 3] != IGNORED]
    rows = rows[np.argsort(-rows[:, 4], kind="stable")]
    wanted = matches.wanted[1:].sum() if label is None else matches.wanted[label]
    found = rows[:, 3] == FOUND
    return Curve(rows[:, 4], np.cumsum(found), np.cumsum(~found), int(wanted), matches.images)


def average_precision(points: Curve) -> float | None:
    """The area under the precision, made falling, over the recall: PASCAL VOC since 2010."""
    if not points.wanted:
        return None
    precision = np.maximum.accumulate(points.precision[::-1])[::-1]
    return float((np.diff(points.recall, prepend=0.0) * precision).sum())


def average_precision_11(points: Curve) -> float | None:
    """The mean of the best precisions at recalls of 0, 0.1, ..., 1: PASCAL VOC 2007."""
    if not points.wanted:
        return None
    reached = [points.precision[points.recall >= at - _EPS] for at in np.arange(11) / 10]
    return float(np.mean([part.max() if len(part) else 0.0 for part in reached]))


def precision_at(points: Curve, recalls: np.ndarray) -> np.ndarray:
    """The best precision at each recall or beyond it, 0 where none reaches it: a curve to draw."""
    best = np.maximum.accumulate(points.precision[::-1])[::-1]
    place = np.searchsorted(points.recall, recalls - _EPS, side="left")
    return np.append(best, 0.0)[place]


def sensitivity(points: Curve, rates: Sequence[float] = RATES) -> list[float] | None:
    """FROC: the best recall with at most so many false positives per image.

    Returns:
        Of each rate, in [0, 1]; None where nothing is wanted.
    """
    if not points.wanted:
        return None
    points = points.thresholds()
    wrong = points.wrong / max(points.images, 1)
    recalls = np.concatenate([[0.0], points.recall])
    return [float(recalls[np.count_nonzero(wrong <= rate + _EPS)]) for rate in rates]


def at_threshold(points: Curve, threshold: float) -> dict[str, float]:
    """Precision, recall, F1 and false positives per image of the detections from a score on."""
    count = np.count_nonzero(points.scores >= threshold)
    found = int(points.found[count - 1]) if count else 0
    wrong = int(points.wrong[count - 1]) if count else 0
    values = scores_of_counts(found, wrong, points.wanted - found, 0)
    return {
        "precision": float(values["precision"]),
        "recall": float(values["recall"]),
        "f1": float(values["dice"]),
        "false_positives_per_image": wrong / max(points.images, 1),
    }


def best_threshold(points: Curve) -> float | None:
    """The score from which on F1 is best, rounded down to 6 digits so that it may be written.

    The highest of several; None where nothing is wanted or detected.
    """
    points = points.thresholds()
    if not points.wanted or not len(points.scores):
        return None
    f1 = 2 * points.found / (points.found + points.wrong + points.wanted)
    return float(np.floor(points.scores[np.argmax(f1)] * 1e6) / 1e6)


# ---- one image ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Outcome:
    """What became of the objects and the detections of an image, from one score on.

    Attributes:
        shown: (K,) bool, the detections that count.
        kinds: (K,) int8, FOUND, WRONG or IGNORED.
        missed: (N,) bool, objects that are wanted and not found.
        confused: (object, detection): a missed object under a wrong detection of another class.
    """

    shown: np.ndarray
    kinds: np.ndarray
    missed: np.ndarray
    confused: list[tuple[int, int]]

    def counts(self) -> tuple[int, int, int]:
        """How many are found, wrong and missed."""
        kinds = self.kinds[self.shown]
        return int((kinds == FOUND).sum()), int((kinds == WRONG).sum()), int(self.missed.sum())


def judge(case: Case, threshold: float, iou: float = IOU) -> Outcome:
    """Judges an image's detections with a score of at least `threshold`.

    A wrong detection and a missed object that overlap by `iou` or more are a confusion of their
    classes, the closest pairs first.
    """
    kinds, objects = match(case, iou)
    shown = case.scores >= threshold
    missed = ~case.ignored
    missed[objects[shown & (kinds == FOUND)]] = False
    lost, wrong = np.flatnonzero(missed), np.flatnonzero(shown & (kinds == WRONG))
    table = overlaps(case.boxes[lost], case.found[wrong])
    table[case.labels[lost][:, None] == case.classes[wrong][None]] = 0
    confused = []
    while table.size and table.max() >= iou:
        row, column = np.unravel_index(np.argmax(table), table.shape)
        confused.append((int(lost[row]), int(wrong[column])))
        table[row], table[:, column] = 0, 0
    return Outcome(shown, kinds, missed, confused)


def confusion(case: Case, outcome: Outcome, num_classes: int) -> np.ndarray:
    """How often an object of a class (rows) was detected as one (columns); the last is background:
    what was missed is in its column, what is not there in its row.

    Returns:
        (n + 1, n + 1) int64, the classes 1..n and then the background.
    """
    counts = np.zeros((num_classes + 1, num_classes + 1), np.int64)
    found = case.classes[outcome.shown & (outcome.kinds == FOUND)] - 1
    np.add.at(counts, (found, found), 1)
    wrong = outcome.shown & (outcome.kinds == WRONG)
    missed = outcome.missed.copy()
    for thing, detection in outcome.confused:
        counts[case.labels[thing] - 1, case.classes[detection] - 1] += 1
        wrong[detection], missed[thing] = False, False
    np.add.at(counts, (case.labels[missed] - 1, num_classes), 1)
    np.add.at(counts, (num_classes, case.classes[wrong] - 1), 1)
    return counts
