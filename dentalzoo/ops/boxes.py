"""Boxes in NumPy, (N, 4) as top, left, bottom, right; the lower ends are exclusive."""

import numpy as np
from numpy.typing import ArrayLike


def overlaps(boxes: ArrayLike, others: ArrayLike, of_first: bool = False) -> np.ndarray:
    """Return the intersection over union of each pair of boxes.

    Args:
        boxes, others: (N, 4) and (M, 4), in one unit.
        of_first: intersection over the area of the first box instead, as for crowds.

    Returns:
        (N, M) float64 in [0, 1]; 0 where both areas are 0.
    """
    boxes = np.asarray(boxes, np.float64).reshape(-1, 4)
    others = np.asarray(others, np.float64).reshape(-1, 4)
    low = np.maximum(boxes[:, None, :2], others[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], others[None, :, 2:])
    both = np.maximum(high - low, 0).prod(2)
    areas, other_areas = (np.maximum(b[:, 2:] - b[:, :2], 0).prod(1) for b in (boxes, others))
    whole = areas[:, None] + (0 * both if of_first else other_areas[None] - both)
    ratios: np.ndarray = np.divide(both, whole, out=np.zeros_like(both), where=whole > 0)
    return ratios
