"""Which detection is which object: the rule of PASCAL VOC, for every score but COCO's.

The detections of a class, the best first, each look for the object of their class that they
overlap most. Where the overlap reaches 0.5 the first to come has found it and the others are wrong;
objects that are difficult or crowds are neither wanted nor wrong. Areas are those of the boxes
without the devkit's extra pixel, since boxes are continuous here.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from dentalzoo.tasks.detection.postprocessing import overlaps

IOU = 0.5  # PASCAL VOC
FOUND, WRONG, IGNORED = 1, 0, -1


@dataclass(frozen=True)
class Case:
    """The truth and the detections of an image.

    Attributes:
        name: of the image.
        size: height and width in pixels.
        boxes, labels: (N, 4) and (N,) of the annotated objects; boxes lie in [0, 1], labels start
            at 1.
        ignored, crowd: (N,) bool; what is ignored is not wanted, and a crowd is one of these.
        found, scores, classes: (K, 4), (K,) and (K,) of the detections, the best first.
    """

    name: str
    size: tuple[int, int]
    boxes: np.ndarray
    labels: np.ndarray
    ignored: np.ndarray
    crowd: np.ndarray
    found: np.ndarray
    scores: np.ndarray
    classes: np.ndarray


def match(case: Case, iou: float = IOU) -> tuple[np.ndarray, np.ndarray]:
    """What each detection of an image is.

    Returns:
        (K,) int8, FOUND, WRONG or IGNORED, and (K,) int64, the object of one that is FOUND, else
        -1.
    """
    outcomes = np.full(len(case.scores), WRONG, np.int8)
    objects = np.full(len(case.scores), -1)
    order = np.argsort(-case.scores, kind="stable")
    for label in np.unique(case.classes):
        mine = order[case.classes[order] == label]
        single = np.flatnonzero((case.labels == label) & ~case.crowd)
        crowds = np.flatnonzero((case.labels == label) & case.crowd)
        table = overlaps(case.found[mine], case.boxes[single])
        inside = overlaps(case.found[mine], case.boxes[crowds], of_first=True)
        taken = set()
        for index, row, shared in zip(mine, table, inside, strict=True):
            best = int(np.argmax(row)) if len(row) else -1
            if best >= 0 and row[best] >= iou:
                thing = single[best]
                if case.ignored[thing]:
                    outcomes[index] = IGNORED
                elif thing not in taken:
                    taken.add(thing)
                    outcomes[index], objects[index] = FOUND, thing
            elif (shared >= iou).any():
                outcomes[index] = IGNORED
    return outcomes, objects


@dataclass
class Matches:
    """The detections of a data set with what they are, gathered image by image.

    Attributes:
        num_classes: n.
    """

    num_classes: int
    _rows: list[np.ndarray] = field(default_factory=list, init=False)
    _wanted: list[np.ndarray] = field(default_factory=list, init=False)

    @property
    def images(self) -> int:
        """How many there are."""
        return len(self._wanted)

    @property
    def wanted(self) -> np.ndarray:
        """(n + 1,) int64, objects of each class, 0 for the background."""
        return self.wanted_per_image().sum(0)

    def wanted_per_image(self) -> np.ndarray:
        """(images, n + 1) int64."""
        return np.reshape(self._wanted, (-1, self.num_classes + 1)).astype(np.int64)

    def add(self, case: Case, iou: float = IOU) -> np.ndarray:
        """Adds an image; returns what its detections are, as `match` does."""
        outcomes, _ = match(case, iou)
        wanted = np.bincount(case.labels[~case.ignored], minlength=self.num_classes + 1)
        ranks = np.zeros(len(outcomes), np.int64)
        for label in np.unique(case.classes):
            mine = np.flatnonzero(case.classes == label)
            ranks[mine[np.argsort(-case.scores[mine], kind="stable")]] = np.arange(len(mine))
        image = np.full(len(outcomes), self.images)
        order = np.argsort(-case.scores, kind="stable")
        rows = np.stack([image, case.classes, ranks, outcomes, case.scores], 1)
        self._rows.append(np.float64(rows)[order])
        self._wanted.append(wanted)
        return outcomes

    def rows(self) -> np.ndarray:
        """(D, 5) float64: image, class, rank in its class and image, outcome, score."""
        return np.concatenate([np.zeros((0, 5)), *self._rows])


def gather(cases: Iterable[Case], num_classes: int, iou: float = IOU) -> Matches:
    """The matches of all images."""
    matches = Matches(num_classes)
    for case in cases:
        matches.add(case, iou)
    return matches
