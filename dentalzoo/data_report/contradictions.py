"""Annotations that a bundle's predictions contradict."""

from array import array
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from dentalzoo.data.box_findings import BoxFinding
from dentalzoo.data.formats.base import Box
from dentalzoo.errors import DentalzooError
from dentalzoo.ops.boxes import overlaps
from dentalzoo.ops.scores import scores_of_counts
from dentalzoo.tasks.detector import Detections, Detector, operating_threshold
from dentalzoo.tasks.segmentation.inference import num_channels, segment

if TYPE_CHECKING:
    from dentalzoo.bundle import Bundle

SURE = 0.9  # ours: a prediction with this score is confident, whatever the others have
# Ours, of predictions: scores of detectors are often far from probabilities, and those of one that
# never reaches 0.9 are compared with each other. Of a released bundle, before its
# scores were calibrated, the score so found was 0.64, and 97 % of the predictions above it agreed
# with a box.
_MOST_SURE = 0.25
_SAME = 0.5  # IoU of a prediction and the box that it is about, as PASCAL VOC
_BESIDE = 0.2  # ours: below this IoU with every box, a prediction stands where there is none
# Ours: an image is far below the others where its Dice is this much and this many times the median
# absolute deviation below the median, among so many images or more.
_FAR, _SPREADS, _LEAST = 0.1, 6.0, 8


class BoxCritic:
    """A detector against the boxes of a data set.

    Args:
        bundle: of the task "detection".

    Raises:
        DentalzooError: it is of another task.
    """

    def __init__(self, bundle: "Bundle"):
        _check_task(bundle, "detection", "boxes")
        self._detector = Detector(bundle)
        self._threshold = operating_threshold(bundle, None)
        self._scores = array("f")

    def check_classes(self, classes: Sequence[str]) -> None:
        """Check that the data and the bundle have a class in common.

        Raises:
            DentalzooError: they have none.
        """
        if not {*classes} & {*self._detector.classes}:
            raise DentalzooError(
                "the bundle must have a class of the data in common. Received: "
                f"{', '.join(self._detector.classes)}; the data has {', '.join(classes)}"
            )

    def __call__(self, image: np.ndarray, boxes: Sequence[Box]) -> list[tuple[BoxFinding, Box]]:
        """Return what predictions contradict, with the box predicted, whose score may be too low.

        A prediction in a place without any box, or on a box of another class (IoU of at least 0.5)
        where no box has its own. Classes that the bundle does not know are not judged.
        """
        found = self._detector(image)
        found = found.take(found.scores >= self._threshold)
        self._scores.extend(found.scores.tolist())
        return self.contradictions(found, boxes)

    def confident_from(self) -> float:
        """Return the score from which predictions are confident.

        It is 0.9, or where less than a quarter of all predictions seen reach that, the score that a
        quarter of them reach.
        """
        if not self._scores:
            return SURE
        return min(SURE, float(np.quantile(np.asarray(self._scores), 1 - _MOST_SURE)))

    def contradictions(
        self, found: Detections, boxes: Sequence[Box]
    ) -> list[tuple[BoxFinding, Box]]:
        """Return the findings of predictions, each with the box predicted."""
        edges = np.array([(b.top, b.left, b.bottom, b.right) for b in boxes]).reshape(-1, 4)
        table = overlaps(found.boxes, edges)
        result: list[tuple[BoxFinding, Box]] = []
        for predicted, score, label, row in zip(
            found.boxes, found.scores, found.classes, table, strict=True
        ):
            name = self._detector.classes[label - 1]
            top, left, bottom, right = map(float, predicted)
            box = Box(name, top, left, bottom, right, score=float(score))
            near = np.flatnonzero(row >= _SAME).tolist()
            labels = [boxes[index].label for index in near]
            if not (row >= _BESIDE).any():
                text = f"no box where the model is sure of {name} ({score:.2f})"
                result.append((BoxFinding("model: no box", text, ()), box))
            elif near and name not in labels and {*labels} <= {*self._detector.classes}:
                text = f"labelled {' and '.join(labels)}, the model is sure of {name} ({score:.2f})"
                result.append((BoxFinding("model: another class", text, tuple(near)), box))
        return result


class MaskCritic:
    """A segmentation bundle against the masks of a data set.

    Args:
        bundle: of the task "segmentation".

    Raises:
        DentalzooError: it is of another task.
    """

    def __init__(self, bundle: "Bundle"):
        _check_task(bundle, "segmentation", "masks")
        self._bundle = bundle
        self._dice: dict[str, float] = {}

    def check_classes(self, classes: Sequence[str]) -> None:
        """Check that the bundle has as many classes as the data.

        Raises:
            DentalzooError: it has not.
        """
        number = max(num_channels(self._bundle) - 1, 1)
        if len(classes) != number:
            raise DentalzooError(
                f"the bundle must have the {len(classes)} classes of the data. Received: {number}"
            )

    def __call__(self, name: str, image: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, float]:
        """Return the predicted mask (H, W) of an image, and its Dice over all classes pooled."""
        predicted, drawn = segment(self._bundle, image)[..., 0], mask[..., 0]
        tp = np.count_nonzero((predicted == drawn) & (drawn > 0))
        fp, fn = np.count_nonzero(predicted) - tp, np.count_nonzero(drawn) - tp
        dice = float(scores_of_counts(tp, fp, fn)["dice"])
        self._dice[name] = dice
        return predicted, dice

    def scores(self) -> list[float]:
        """Return the Dice of each image seen."""
        return [*self._dice.values()]

    def findings(self) -> list[list[str]]:
        """Return [name, what] of the images whose Dice is far below that of the others."""
        if len(self._dice) < _LEAST:
            return []
        values = np.array([*self._dice.values()])
        median = float(np.median(values))
        spread = float(np.median(np.abs(values - median)))
        limit = median - max(_FAR, _SPREADS * spread)
        return [
            [name, f"Dice {dice:.3f} between mask and model, median {median:.3f}"]
            for name, dice in sorted(self._dice.items(), key=lambda item: item[1])
            if dice < limit
        ]


def _check_task(bundle: "Bundle", task: str, kind: str) -> None:
    if bundle.metadata.get("task") != task:
        raise DentalzooError(
            f"the bundle for {kind} must be of the task {task!r}. "
            f"Received: {bundle.name}, of {bundle.metadata.get('task')!r}"
        )
