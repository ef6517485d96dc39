"""Post-processing of a network's boxes: suppression, fusion of views, rules for tooth numbers.

Boxes are (N, 4) as top, left, bottom, right; the lower ends are exclusive.
"""

from collections.abc import Sequence

import numpy as np

from dentalzoo.ops.boxes import overlaps

_SAME_TOOTH = 0.5  # IoU above which two boxes are of one tooth: neighbours seldom overlap so far
_NO_EVIDENCE = 0.01  # a score up to this says nothing of a number


def suppress(
    boxes: np.ndarray, scores: np.ndarray, iou: float, limit: int | None = None
) -> np.ndarray:
    """Return the indices that greedy non-maximum suppression keeps of the boxes of one class.

    A box goes where it overlaps a better one that stays by more than `iou`; of equal scores the
    first is the better. With a smaller `limit` the result is the beginning of the same list.

    Args:
        boxes: (N, 4).
        scores: (N,).
        iou: in [0, 1].
        limit: the maximum number of boxes that stay.

    Returns:
        (K,) int64, the best first.
    """
    order = np.argsort(-np.asarray(scores), kind="stable")
    return order[_kept(overlaps(boxes[order], boxes[order]), iou, limit)]


def suppress_at(
    boxes: np.ndarray, scores: np.ndarray, ious: Sequence[float], limit: int | None = None
) -> list[np.ndarray]:
    """Return `suppress` for several values of `iou` at the price of one table of overlaps."""
    order = np.argsort(-np.asarray(scores), kind="stable")
    table = overlaps(boxes[order], boxes[order])
    return [order[_kept(table, iou, limit)] for iou in ious]


def _kept(table: np.ndarray, iou: float, limit: int | None) -> list[int]:
    """Return the rows that stay of boxes in order, from a table (N, N) of their IoU."""
    waiting = np.ones(len(table), bool)
    kept: list[int] = []
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
    """Return the indices of the boxes that stay where each class is suppressed alone.

    Args:
        boxes, scores, classes: (N, 4), (N,) and (N,).
        iou: see `suppress`; None suppresses none.
        max_per_class: the maximum number of boxes of a class that stay.

    Returns:
        (K,) int64, the best first.
    """
    parts = [np.zeros(0, np.int64)]
    for label in np.unique(classes):
        chosen = np.flatnonzero(classes == label)
        best = suppress(boxes[chosen], scores[chosen], 1.0 if iou is None else iou, max_per_class)
        parts.append(chosen[best])
    kept = np.sort(np.concatenate(parts))
    return kept[np.argsort(-scores[kept], kind="stable")]


def candidates(
    boxes: np.ndarray, scores: np.ndarray, limit: int, min_score: float
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return the boxes before suppression that are worth keeping.

    Args:
        boxes: (A, 4), or (A, C, 4) where each class has boxes of its own.
        scores: (A, C).
        limit: the maximum number of boxes of a class.
        min_score: boxes with a lower score are left out.

    Returns:
        For each class (boxes (N, 4), scores (N,)), the best first.
    """
    kept = []
    for column in range(scores.shape[1]):
        values = scores[:, column]
        order = np.argsort(-values, kind="stable")[:limit]
        order = order[values[order] >= min_score]
        own = boxes if boxes.ndim == 2 else boxes[:, column]
        kept.append((own[order], values[order]))
    return kept


def fuse(
    boxes: np.ndarray, scores: np.ndarray, classes: np.ndarray, views: int, iou: float = 0.55
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the weighted boxes of several views of an image, which agree on an object or not.

    Boxes of a class that overlap become one: the mean of their edges, weighted by score. Its score
    is the mean of theirs, and less where not every view has one. Solovyev, Wang, Gabruseva,
    *Weighted boxes fusion*, 2021, arXiv:1910.13302, whose `iou` is 0.55.

    Args:
        boxes, scores, classes: (N, 4), (N,) and (N,), of all views together.
        views: their number.
        iou: from which boxes are of one object.

    Returns:
        boxes (K, 4) float32, scores (K,) float32 and classes (K,) int32, the best first.
    """
    fused: list[tuple[np.ndarray, float, int]] = []
    for label in np.unique(classes):
        mine = np.flatnonzero(classes == label)
        groups: list[list[int]] = []
        means = np.zeros((0, 4))
        for index in mine[np.argsort(-scores[mine], kind="stable")]:
            shared = overlaps(boxes[index : index + 1], means)[0]
            if not len(shared) or shared.max() < iou:
                groups.append([index])
                means = np.concatenate([means, boxes[index : index + 1]])
                continue
            nearest = int(np.argmax(shared))
            groups[nearest].append(index)
            means[nearest] = np.average(boxes[groups[nearest]], 0, scores[groups[nearest]])
        for group, mean in zip(groups, means, strict=True):
            score = scores[group].mean() * min(len(group), views) / views
            fused.append((mean, float(score), int(label)))
    fused.sort(key=lambda row: -row[1])
    edges, values, labels = zip(*fused, strict=True) if fused else ((), (), ())
    return (
        np.array(edges, np.float32).reshape(-1, 4),
        np.array(values, np.float32),
        np.array(labels, np.int32),
    )


# ---- tooth numbers -------------------------------------------------------------------------------


def one_per_tooth(boxes: np.ndarray, scores: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """Return the boxes that give each tooth one number, and each number to one tooth.

    Boxes that overlap by an IoU above 0.5 are of one tooth. Of all such choices it is the one with
    the greatest product of scores, where a tooth without a number counts as a score of 0.01: where
    two neighbours are taken for the same number, the one for which another is likely has that.

    Args:
        boxes: (N, 4).
        scores: (N,); boxes with 0.01 or less are not chosen.
        numbers: (N,) FDI numbers.

    Returns:
        Indices in the order 11..18, 21..28, ...
    """
    if not len(scores):
        return np.zeros(0, np.int64)
    from scipy.optimize import linear_sum_assignment  # which takes long

    places = suppress(boxes, scores, _SAME_TOOTH)
    teeth = np.argmax(overlaps(boxes, boxes[places]), axis=1)
    kinds, columns = np.unique(numbers, return_inverse=True)
    rising = np.argsort(-np.asarray(scores), kind="stable")[::-1]  # so that the best is set last
    best = np.full((len(places), len(kinds)), -1)
    best[teeth[rising], columns[rising]] = rising
    evidence = np.log(np.maximum(scores, _NO_EVIDENCE) / _NO_EVIDENCE)
    weights = np.where(best < 0, 0, evidence[best])
    rows, chosen = linear_sum_assignment(weights, maximize=True)
    likely = weights[rows, chosen] > 0
    rows, chosen = rows[likely], chosen[likely]
    return best[rows, chosen][np.argsort(chosen)]


def in_quadrant_order(boxes: np.ndarray, scores: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """Return the boxes of the greatest total score that stand as teeth do, one per tooth.

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
    numbers, edges = np.asarray(numbers), np.asarray(boxes, np.float64)
    centres = edges[:, 1] + edges[:, 3]
    quadrants, kinds = numbers // 10, numbers % 10
    permanent = (quadrants - 1) % 4 + 1  # 5..8 are the deciduous teeth of the quadrants 1..4
    positions = np.where(np.isin(permanent, (1, 4)), -kinds, kinds)
    chains: list[int] = []
    for jaw in ((1, 2), (3, 4)):
        for deciduous in (False, True):  # 55 may stand over 15
            chosen = np.flatnonzero(np.isin(permanent, jaw) & ((quadrants > 4) == deciduous))
            chains += _best_chain(centres[chosen], positions[chosen], scores[chosen], chosen)
    kept = np.array(chains, np.int64)
    return kept[np.argsort(numbers[kept], kind="stable")]


def _best_chain(
    centres: np.ndarray, positions: np.ndarray, scores: np.ndarray, indices: np.ndarray
) -> list[int]:
    """Return the indices of the chain of the greatest total score.

    Along a chain centres and positions both rise.
    """
    order = np.lexsort((positions, centres))
    totals = np.asarray(scores, np.float64)[order]
    before = np.full(len(order), -1)
    for index in range(len(order)):
        rising = (positions[order[:index]] < positions[order[index]]) & (
            centres[order[:index]] < centres[order[index]]
        )
        if rising.any():
            before[index] = np.flatnonzero(rising)[np.argmax(totals[:index][rising])]
            totals[index] += totals[before[index]]
    chain: list[int] = []
    index = int(np.argmax(totals)) if len(order) else -1
    while index >= 0:
        chain.append(int(indices[order[index]]))
        index = int(before[index])
    return chain
