"""Boxes that are worth a look: tiny, huge, twice there, of two classes in one place, or teeth on
the other side.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dentalzoo.data.formats.base import Box
from dentalzoo.data.teeth import number_of, place_of, tooth_numbers

# Ours. Of 6,383 boxes on radiographs none has a side below 0.3 % of the image or covers 60 % of it.
_TINY = 0.003  # the shorter side, as a part of the image's
_HUGE = 0.6  # of the image's area
_SAME_PLACE = 0.8  # IoU
# Ours: of the boxes of one class in a data set, by area. Teeth of one class differ by a factor of
# 3 to 5.
_FAR = 25.0  # times the median, or a part of it
_LEAST = 20  # boxes of a class that have a median
_LEAST_TEETH = 2  # of a side


@dataclass(frozen=True)
class BoxFinding:
    """Something about one box of an image.

    Attributes:
        kind: "tiny", "huge", "duplicate", "overlapping classes", "tooth twice", "other side", or of
            a model.
        text: in words, with the numbers.
        boxes: the indices of the boxes in their image that it is about.
    """

    kind: str
    text: str
    boxes: tuple[int, ...]

    @property
    def is_wrong(self) -> bool:
        """Whether it is wrong in any data set: an object that counts twice."""
        return self.kind == "duplicate"


def box_findings(images: Sequence[Sequence[Box]]) -> list[list[BoxFinding]]:
    """Return what is worth a look about the boxes of each image.

    Tiny: a side below 0.3 % of the image. Huge: above 60 % of its area. Both too: 25 times smaller
    or larger than the median box of its class, of 20 boxes or more. Duplicate: two boxes of one
    class with an IoU of at least 0.8; overlapping classes: of two classes. Tooth twice: where all
    classes are FDI numbers, one number in two places. Other side: the teeth of a jaw whose numbers
    of the patient's right lie to the right of those of the left. Crowds are left out.

    Args:
        images: the boxes of each.
    """
    medians = _median_areas(images)
    labels = {box.label for boxes in images for box in boxes}
    numbered = bool(labels) and tooth_numbers(sorted(labels)) is not None
    return [
        [
            *_sizes(boxes, medians),
            *_overlaps(boxes),
            *(_twice(boxes) if numbered else ()),
            *_sides(boxes),
        ]
        for boxes in images
    ]


def _median_areas(images: Sequence[Sequence[Box]]) -> dict[str, float]:
    areas: dict[str, list[float]] = {}
    for boxes in images:
        for box in boxes:
            if not box.crowd:
                areas.setdefault(box.label, []).append(_area(box))
    return {k: float(np.median(values)) for k, values in areas.items() if len(values) >= _LEAST}


def _area(box: Box) -> float:
    return (box.bottom - box.top) * (box.right - box.left)


def _sizes(boxes: Sequence[Box], medians: dict[str, float]) -> list[BoxFinding]:
    found = []
    for index, box in enumerate(boxes):
        if box.crowd:
            continue
        area, median = _area(box), medians.get(box.label)
        size = f"{box.right - box.left:.1%} x {box.bottom - box.top:.1%} of the image"
        if min(box.bottom - box.top, box.right - box.left) < _TINY or (
            median and area < median / _FAR
        ):
            found.append(BoxFinding("tiny", f"tiny: {box.label} of {size}", (index,)))
        elif area > _HUGE or (median and area > median * _FAR):
            found.append(BoxFinding("huge", f"huge: {box.label} of {size}", (index,)))
    return found


def _overlaps(boxes: Sequence[Box]) -> list[BoxFinding]:
    edges = np.array([(b.top, b.left, b.bottom, b.right) for b in boxes]).reshape(-1, 4)
    found = []
    areas = (edges[:, 2:] - edges[:, :2]).prod(1)
    for one in range(len(boxes) - 1):  # row by row: an image may hold thousands
        low = np.maximum(edges[one, :2], edges[one + 1 :, :2])
        high = np.minimum(edges[one, 2:], edges[one + 1 :, 2:])
        both = np.maximum(high - low, 0).prod(1)
        iou = both / np.maximum(areas[one] + areas[one + 1 :] - both, 1e-12)
        for other in (np.flatnonzero(iou >= _SAME_PLACE) + one + 1).tolist():
            first, second = boxes[one], boxes[other]
            if first.crowd or second.crowd:
                continue
            shared = f"IoU {iou[other - one - 1]:.2f}"
            if first.label == second.label:
                text = f"duplicate: two boxes of {first.label}, {shared}"
                found.append(BoxFinding("duplicate", text, (one, other)))
            else:
                text = f"overlapping classes: {first.label} and {second.label}, {shared}"
                found.append(BoxFinding("overlapping classes", text, (one, other)))
    return found


def _twice(boxes: Sequence[Box]) -> list[BoxFinding]:
    """Return the numbers of teeth that stand in two places, which are not duplicates."""
    places: dict[str, list[int]] = {}
    for index, box in enumerate(boxes):
        if not box.crowd:
            places.setdefault(box.label, []).append(index)
    doubled = {one.boxes for one in _overlaps(boxes) if one.is_wrong}
    return [
        BoxFinding("tooth twice", f"tooth twice: {len(where)} boxes of {label}", tuple(where))
        for label, where in places.items()
        if len(where) > 1 and tuple(where) not in doubled
    ]


def _sides(boxes: Sequence[Box]) -> list[BoxFinding]:
    """Return the jaws whose quadrants are exchanged, as a radiograph shows the patient from before.

    A jaw with two teeth on each side at least tells.
    """
    found = []
    numbers = [None if box.crowd else number_of(box.label) for box in boxes]
    for jaw, quadrants in (("upper", (1, 2, 5, 6)), ("lower", (3, 4, 7, 8))):
        teeth = [i for i, number in enumerate(numbers) if number and number // 10 in quadrants]
        middle = np.array([boxes[i].left + boxes[i].right for i in teeth])
        left = np.array([place_of(numbers[i] or 0) > 0 for i in teeth], bool)
        if min(left.sum(), (~left).sum()) < _LEAST_TEETH:
            continue
        if np.median(middle[~left]) > np.median(middle[left]):
            text = f"other side: {jaw} teeth of the patient's right lie right of the left ones"
            found.append(BoxFinding("other side", text, tuple(teeth)))
    return found
