"""What becomes of a network's boxes: suppression per class, and rules for tooth numbers.

Boxes are (N, 4) as top, left, bottom, right; the lower ends are exclusive.
"""

from collections.abc import Sequence

import numpy as np


def overlaps(boxes: np.ndarray, others: np.ndarray, of_first: bool = False) -> np.ndarray:
    """Intersection over union of each pair of boxes.

    Args:
        boxes, others: (N, 4) and (M, 4), in one unit.
        of_first: intersection over the area of the first box instead, as for crowds.

    Returns:
        (N, M) float64 in [0, 1]; 0 where both areas are 0.
    """
    boxes, others = np.float64(boxes).reshape(-1, 4), np.float64(others).reshape(-1, 4)
    low = np.maximum(boxes[:, None, :2], others[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], others[None, :, 2:])
    both = np.maximum(high - low, 0).prod(2)
    areas, other_areas = (np.maximum(b[:, 2:] - b[:, :2], 0).prod(1) for b in (boxes, others))
    whole = areas[:, None] + (0 * both if of_first else other_areas[None] - both)
    return np.divide(both, whole, out=np.zeros_like(both), where=whole > 0)


def suppress(
    boxes: np.ndarray, scores: np.ndarray, iou: float, limit: int | None = None
) -> np.ndarray:
    """Greedy non-maximum suppression of the boxes of one class.

    A box goes where it overlaps a better one that stays by more than `iou`; of equal scores the
    first is the better. With a smaller `limit` the result is the beginning of the same list.

    Args:
        boxes: (N, 4).
        scores: (N,).
        iou: in [0, 1].
        limit: how many stay at most.

    Returns:
        Indices of those that stay, the best first.
    """
    order = np.argsort(-np.asarray(scores), kind="stable")
    return order[_kept(overlaps(boxes[order], boxes[order]), iou, limit)]


def suppress_at(
    boxes: np.ndarray, scores: np.ndarray, ious: Sequence[float], limit: int | None = None
) -> list[np.ndarray]:
    """`suppress` for several values of `iou` at the price of one table of overlaps."""
    order = np.argsort(-np.asarray(scores), kind="stable")
    table = overlaps(boxes[order], boxes[order])
    return [order[_kept(table, iou, limit)] for iou in ious]


def _kept(table: np.ndarray, iou: float, limit: int | None) -> list[int]:
    waiting, kept = np.ones(len(table), bool), []
    clashes = table > iou
    for index in range(len(table)):
        if waiting[index]:
            if len(kept) == limit:
                break
            kept.append(index)
            waiting &= ~clashes[index]
    return kept


def suppress_per_class(
    boxes: np.ndarray,
    scores: np.ndarray,
    classes: np.ndarray,
    iou: float | None = None,
    max_per_class: int | None = None,
) -> np.ndarray:
    """Indices of the boxes that stay where each class is suppressed alone, the best first.

    Args:
        boxes, scores, classes: (N, 4), (N,) and (N,).
        iou: see `suppress`; None suppresses none.
        max_per_class: how many of a class stay at most.
    """
    kept = [np.zeros(0, np.int64)]
    for label in np.unique(classes):
        chosen = np.flatnonzero(classes == label)
        best = suppress(boxes[chosen], scores[chosen], 1.0 if iou is None else iou, max_per_class)
        kept.append(chosen[best])
    kept = np.sort(np.concatenate(kept))
    return kept[np.argsort(-scores[kept], kind="stable")]


def candidates(
    boxes: np.ndarray, scores: np.ndarray, most: int, least: float
) -> list[tuple[np.ndarray, np.ndarray]]:
    """The boxes before suppression that are worth keeping.

    Args:
        boxes: (A, 4), or (A, C, 4) where each class has boxes of its own.
        scores: (A, C).
        most: of a class.
        least: score.

    Returns:
        For each class (boxes (N, 4), scores (N,)), the best first.
    """
    found = []
    for column in range(scores.shape[1]):
        values = scores[:, column]
        order = np.argsort(-values, kind="stable")[:most]
        order = order[values[order] >= least]
        places = boxes if boxes.ndim == 2 else boxes[:, column]
        found.append((places[order], values[order]))
    return found


# ---- tooth numbers -------------------------------------------------------------------------------


def one_per_tooth(scores: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """Indices of the best box of each tooth, in the order of quadrants: 11..18, 21..28, ...

    Args:
        scores: (N,).
        numbers: (N,) FDI numbers.
    """
    order = np.argsort(-np.asarray(scores), kind="stable")
    _, first = np.unique(np.asarray(numbers)[order], return_index=True)
    return order[first]


def in_quadrant_order(boxes: np.ndarray, scores: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """Indices of the boxes of the greatest total score that stand as teeth do, one per tooth.

    On a radiograph the patient's right is on the left: from left to right the centres of an upper
    jaw are 18..11, 21..28, those of a lower jaw 48..41, 31..38, and deciduous teeth among them. A
    tooth that stands across another, impacted say, may lose its box.

    Args:
        boxes: (N, 4) on a radiograph that is not mirrored.
        scores: (N,), positive.
        numbers: (N,) FDI numbers.

    Returns:
        Indices in the order of quadrants.
    """
    numbers = np.asarray(numbers)
    centres = np.float64(boxes)[:, 1] + np.float64(boxes)[:, 3]
    quadrants, kinds = numbers // 10, numbers % 10
    permanent = (quadrants - 1) % 4 + 1  # 5..8 are the deciduous teeth of the quadrants 1..4
    places = np.where(np.isin(permanent, (1, 4)), -kinds, kinds)
    kept = []
    for jaw in ((1, 2), (3, 4)):
        for deciduous in (False, True):  # 55 may stand over 15
            chosen = np.flatnonzero(np.isin(permanent, jaw) & ((quadrants > 4) == deciduous))
            kept += _best_chain(centres[chosen], places[chosen], scores[chosen], chosen)
    kept = np.array(kept, np.int64)
    return kept[np.argsort(numbers[kept], kind="stable")]


def _best_chain(centres, places, scores, names) -> list[int]:
    """Names of the chain of the greatest total score whose centres and places both rise."""
    order = np.lexsort((places, centres))
    totals, before = np.float64(scores)[order], np.full(len(order), -1)
    for index in range(len(order)):
        rising = (places[order[:index]] < places[order[index]]) & (
            centres[order[:index]] < centres[order[index]]
        )
        if rising.any():
            before[index] = np.flatnonzero(rising)[np.argmax(totals[:index][rising])]
            totals[index] += totals[before[index]]
    chain, index = [], int(np.argmax(totals)) if len(order) else -1
    while index >= 0:
        chain.append(int(names[order[index]]))
        index = before[index]
    return chain
