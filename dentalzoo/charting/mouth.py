"""Teeth by their FDI numbers: names, places in the mouth, and what lies on which tooth."""

from collections.abc import Collection, Sequence

import numpy as np

from dentalzoo.data.teeth import place_of, tooth_numbers

PERMANENT = tuple(10 * quadrant + place for quadrant in range(1, 5) for place in range(1, 9))
# The rows of a chart, from the patient's right on the left of the image to the left.
_ROWS = ((1, 2), (5, 6), (8, 7), (4, 3))

_PERMANENT = (
    *("central incisor", "lateral incisor", "canine", "first premolar"),
    *("second premolar", "first molar", "second molar", "third molar"),
)
_DECIDUOUS = ("central incisor", "lateral incisor", "canine", "first molar", "second molar")
_SIDES = ("upper right", "upper left", "lower left", "lower right")

_LEAST_SHARED = 0.5  # of the smaller of two boxes, for a finding to lie on a tooth: ours


def is_tooth(number: int) -> bool:
    """Return True for a number of ISO 3950."""
    return tooth_numbers([str(number)]) is not None


def tooth_name(number: int) -> str:
    """Return the name of a tooth, such as "upper right first molar" for 16."""
    quadrant, place = divmod(number, 10)
    side = _SIDES[(quadrant - 1) % 4]
    if quadrant > 4:
        return f"{side} deciduous {_DECIDUOUS[place - 1]}"
    return f"{side} {_PERMANENT[place - 1]}"


def rows_of(numbers: Collection[int]) -> list[list[int]]:
    """Return the rows of a chart, upper ones first: all permanent teeth, and deciduous ones.

    A row of deciduous teeth is there where `numbers` hold any of its quadrants.
    """
    quadrants = {number // 10 for number in numbers}
    rows = []
    for right, left in _ROWS:
        last = 8 if right <= 4 else 5
        if right <= 4 or quadrants & {right, left}:
            rows.append(
                [right * 10 + place for place in range(last, 0, -1)]
                + [left * 10 + place for place in range(1, last + 1)]
            )
    return rows


def neighbours(number: int) -> list[int]:
    """Return the numbers beside a tooth in its row: one of a last molar, two of others."""
    row = next(row for row in rows_of([number]) if number in row)
    place = row.index(number)
    return row[max(0, place - 1) : place] + row[place + 1 : place + 2]


def is_upper(number: int) -> bool:
    """Return True for a tooth of the upper jaw."""
    return number // 10 in (1, 2, 5, 6)


def tooth_under(box: np.ndarray, teeth: np.ndarray) -> int | None:
    """Return the index of the tooth that a finding lies on.

    Of the teeth whose box shares half of the smaller of the two boxes it is the one whose middle is
    nearest to that of the finding, in widths of the tooth.

    Args:
        box: (4,) top, left, bottom, right of the finding.
        teeth: (K, 4) likewise.

    Returns:
        From 0; None where the finding lies on no tooth.
    """
    if not len(teeth):
        return None
    corner, end = np.maximum(teeth[:, :2], box[:2]), np.minimum(teeth[:, 2:], box[2:])
    shared = np.prod(np.maximum(end - corner, 0), axis=1)
    smaller = np.minimum(_area(teeth), _area(box[None]))
    widths = np.maximum(teeth[:, 3] - teeth[:, 1], 1e-9)
    distance = np.abs(teeth[:, 1] + teeth[:, 3] - box[1] - box[3]) / 2 / widths
    on = shared >= _LEAST_SHARED * np.maximum(smaller, 1e-12)
    return int(np.argmin(np.where(on, distance, np.inf))) if on.any() else None


def number_in_gap(box: np.ndarray, teeth: np.ndarray, numbers: Sequence[int]) -> int | None:
    """Return the number that a tooth would have where a finding lies off every tooth.

    It is that of a missing permanent tooth between the two neighbours in the jaw, by the distance
    to them. Beyond the last tooth of a jaw nothing is known.

    Args:
        box: (4,) top, left, bottom, right of the finding.
        teeth: (K, 4) likewise, of the teeth that were found.
        numbers: their K FDI numbers.

    Returns:
        None where no tooth is missing between the neighbours, or where there are none.
    """
    middles = (teeth[:, :2] + teeth[:, 2:]) / 2
    y, x = (box[:2] + box[2:]) / 2
    permanent = np.array([number < 50 for number in numbers], bool)
    upper = np.array([is_upper(number) for number in numbers], bool)
    jaws = {jaw: permanent & (upper == jaw) for jaw in (True, False)}
    if not all(chosen.any() for chosen in jaws.values()):
        return None
    jaw = min(jaws, key=lambda one: abs(float(np.median(middles[jaws[one], 0])) - y))
    columns = middles[jaws[jaw], 1]
    places = np.array([place_of(n) for n, mine in zip(numbers, jaws[jaw], strict=True) if mine])
    before, after = columns < x, columns > x
    if not before.any() or not after.any():
        return None
    left = int(np.argmax(np.where(before, columns, -np.inf)))
    right = int(np.argmin(np.where(after, columns, np.inf)))
    part = (x - columns[left]) / (columns[right] - columns[left])
    place = places[left] + part * (places[right] - places[left])
    missing = [
        number
        for number in PERMANENT
        if is_upper(number) == jaw and places[left] < place_of(number) < places[right]
    ]
    return min(missing, key=lambda number: abs(place_of(number) - place), default=None)


def _area(boxes: np.ndarray) -> np.ndarray:
    area: np.ndarray = np.prod(np.maximum(boxes[:, 2:] - boxes[:, :2], 0), axis=1)
    return area
