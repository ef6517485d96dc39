"""Numbers beside the boxes and polygons of YOLO lines: confidences, track ids, and their places.

Tools put them after the box (Ultralytics, YOLOv5) or before it. All lines of a data set decide.
"""

from collections.abc import Mapping

import numpy as np

SLACK = 0.02  # ours: by which edges may leave [0, 1]
_BOX_AND_ONE, _BOX_AND_TWO = 6, 7
_ADVICE = "remove the other numbers, or put them last"


def in_parts(values: np.ndarray) -> bool:
    """Return whether all numbers are in [0, 1]."""
    return bool(((values >= 0) & (values <= 1)).all())


def in_image(values: np.ndarray) -> np.ndarray:
    """Return (N,) bool: the numbers after the class are a box inside the image."""
    centre, size = values[:, 1:3], values[:, 3:5]
    low, high = centre - size / 2, centre + size / 2
    return np.asarray(((low >= -SLACK) & (high <= 1 + SLACK) & (size > 0)).all(1))


def trailing(values: np.ndarray) -> tuple[int, str]:
    """Return how many of the last numbers are no coordinates by their values, and what they are."""
    last, before = values[:, -1], values[:, -2]
    ids = _integers(last) and bool((last >= 1).all())
    if values.shape[1] % 2:  # a last y of 1 lies on the border
        fits = values.shape[1] == _BOX_AND_TWO and any(
            in_image(one).all() for one in (values, np.delete(values, 1, axis=1))
        )
        if _integers(before) and bool((before >= 1).all()) and in_parts(last):
            return (2, "track ids and confidences") if fits or before.max() > 1 else (0, "")
        ids &= bool(last.max() > 1) or fits
        return (2, "confidences and track ids") if ids and in_parts(before) else (0, "")
    if ids and last.max() > 1:
        return 1, "track ids"
    return (1, "confidences") if in_parts(last) else (0, "")


def misplaced(groups: Mapping[int, np.ndarray], task: str) -> str:
    """Return why lines with such numbers are refused; "" where they stand after the box.

    - The number after the class is an integer in every line of 6 or 7: an id, and no centre.
    - The box of 4 numbers after it leaves fewer images than the box that follows the class: the
      number is a confidence. Where both leave as many, either may be it.
    - Polygons of even counts: the numbers after the first make shorter outlines than the numbers
      before the last.

    Args:
        groups: count of numbers -> the lines of so many.
        task: "segment", "detect", ... or "" where no file says.
    """
    six = groups.get(_BOX_AND_ONE)
    seven = groups.get(_BOX_AND_TWO)
    for values in (six, seven):
        if values is None or (values is seven and task == "segment"):
            continue
        moved = np.delete(values, 1, axis=1)
        if _integers(values[:, 1]) and in_image(moved).all() and in_parts(moved[:, 5:]):
            return f"an id before the box is not read; {_ADVICE}. Received: {len(values)} lines"
    boxes = [six] if six is not None else []
    if seven is not None and task != "segment" and trailing(seven)[0]:
        boxes.append(seven[:, :_BOX_AND_ONE])
    if boxes:
        return _box_after_confidence(np.concatenate(boxes))
    return ""


def _box_after_confidence(values: np.ndarray) -> str:
    """Return why lines `class, 5 numbers` are refused; "" for a box and a confidence."""
    moved = np.delete(values, 1, axis=1)
    outside, outside_moved = (int((~in_image(one)).sum()) for one in (values, moved))
    if not in_parts(values[:, 1]) or outside < outside_moved:
        return ""
    fit = "fit" if not outside_moved else "fit better"
    which = "as well" if outside == outside_moved else "alone" if not outside_moved else ""
    return (
        f"must be `class cx cy w h confidence`, but all lines {fit} as "
        f"`class confidence cx cy w h`{which and ' '}{which}; {_ADVICE}. "
        f"Received: {len(values)} lines"
    )


def polygon_after_confidence(groups: Mapping[int, np.ndarray]) -> str:
    """Return why polygons of even counts are refused; "" where a confidence stands last.

    A number that is no coordinate lies off the outline: with it, the outline is longer.
    """
    first = sum(_length(values[:, 1:-1]) for values in groups.values())
    second = sum(_length(values[:, 2:]) for values in groups.values())
    if first < second:
        return ""
    lines = sum(map(len, groups.values()))
    return (
        "must be a class, points `x y` and a confidence, but the confidence seems to stand before "
        f"the points; {_ADVICE}. Received: {lines} lines"
    )


def _length(flat: np.ndarray) -> float:
    """Return the length of all closed outlines (N, 2 * points)."""
    points = flat.reshape(len(flat), -1, 2)
    return float(np.hypot(*np.moveaxis(points - np.roll(points, 1, axis=1), 2, 0)).sum())


def _integers(values: np.ndarray) -> bool:
    return bool((values == np.round(values)).all())
