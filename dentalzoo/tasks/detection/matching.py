"""Assignment of detections to objects: the rule of PASCAL VOC, for every score but COCO's.

The detections of a class, the best first, each look for the object of their class that they
overlap most. Where that IoU reaches 0.5 the first to come is a true positive and the others are
false positives; detections of difficult objects and of crowds are ignored. Areas are those of the
boxes without the devkit's extra pixel, since boxes are continuous here.
"""

from dataclasses import dataclass, field

import numpy as np

from dentalzoo.ops.boxes import overlaps

IOU = 0.5  # PASCAL VOC
TRUE_POSITIVE, FALSE_POSITIVE, IGNORED = 1, 0, -1


@dataclass(frozen=True)
class Case:
    """The ground truth and the detections of an image.

    Attributes:
        name: of the image.
        size: height and width in pixels.
        gt_boxes, gt_classes: (N, 4) and (N,) of the annotated objects; boxes are top, left, bottom,
            right in [0, 1], classes start at 1.
        ignored, crowd: (N,) bool; an ignored object is no target, and every crowd is ignored.
        boxes, scores, classes: (K, 4), (K,) and (K,) of the detections, the best first.
    """

    name: str
    size: tuple[int, int]
    gt_boxes: np.ndarray
    gt_classes: np.ndarray
    ignored: np.ndarray
    crowd: np.ndarray
    boxes: np.ndarray
    scores: np.ndarray
    classes: np.ndarray


def match(case: Case, iou: float = IOU) -> tuple[np.ndarray, np.ndarray]:
    """Return the kind of each detection of an image, and its object.

    Returns:
        (K,) int8, TRUE_POSITIVE, FALSE_POSITIVE or IGNORED, and (K,) int64, the index of the object
        of a TRUE_POSITIVE, else -1.
    """
    kinds = np.full(len(case.scores), FALSE_POSITIVE, np.int8)
    objects = np.full(len(case.scores), -1)
    order = np.argsort(-case.scores, kind="stable")
    for label in np.unique(case.classes):
        mine = order[case.classes[order] == label]
        single = np.flatnonzero((case.gt_classes == label) & ~case.crowd)
        crowds = np.flatnonzero((case.gt_classes == label) & case.crowd)
        table = overlaps(case.boxes[mine], case.gt_boxes[single])
        inside = overlaps(case.boxes[mine], case.gt_boxes[crowds], of_first=True)
        taken: set[int] = set()
        for index, row, shared in zip(mine, table, inside, strict=True):
            best = int(np.argmax(row)) if len(row) else -1
            if best >= 0 and row[best] >= iou:
                target = int(single[best])
                if case.ignored[target]:
                    kinds[index] = IGNORED
                elif target not in taken:
                    taken.add(target)
                    kinds[index], objects[index] = TRUE_POSITIVE, target
            elif (shared >= iou).any():
                kinds[index] = IGNORED
    return kinds, objects


@dataclass
class Matches:
    """The detections of a data set with their kinds, gathered image by image.

    Attributes:
        num_classes: n.
    """

    num_classes: int
    _rows: list[np.ndarray] = field(default_factory=list, init=False)
    _objects: list[np.ndarray] = field(default_factory=list, init=False)

    @property
    def images(self) -> int:
        """The number of images."""
        return len(self._objects)

    @property
    def objects(self) -> np.ndarray:
        """(n + 1,) int64, the number of target objects of each class, 0 for the background."""
        return np.asarray(self.objects_per_image().sum(0))

    def objects_per_image(self) -> np.ndarray:
        """Return (images, n + 1) int64, see `objects`."""
        return np.asarray(self._objects, np.int64).reshape(-1, self.num_classes + 1)

    def add(self, case: Case, iou: float = IOU) -> None:
        """Add the detections and objects of an image."""
        kinds, _ = match(case, iou)
        objects = np.bincount(case.gt_classes[~case.ignored], minlength=self.num_classes + 1)
        ranks = np.zeros(len(kinds), np.int64)
        for label in np.unique(case.classes):
            mine = np.flatnonzero(case.classes == label)
            ranks[mine[np.argsort(-case.scores[mine], kind="stable")]] = np.arange(len(mine))
        image = np.full(len(kinds), self.images)
        order = np.argsort(-case.scores, kind="stable")
        rows = np.stack([image, case.classes, ranks, kinds, case.scores], 1)
        self._rows.append(rows.astype(np.float64)[order])
        self._objects.append(objects)

    def rows(self) -> np.ndarray:
        """Return (D, 5) float64: image, class, rank in its class and image, kind, score."""
        return np.concatenate([np.zeros((0, 5)), *self._rows])
