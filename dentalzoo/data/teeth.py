"""Tooth numbers of ISO 3950 (FDI): the quadrant, then the tooth counted from the midline.

The quadrants are the patient's upper right, upper left, lower left and lower right: 1 to 4 for
permanent teeth, 5 to 8 for deciduous teeth.
"""

import re
from collections.abc import Sequence

from dentalzoo.errors import DentalzooError

TEETH = 32  # of an adult
_NUMBERED = re.compile(r"((?:tooth|fdi)?[ _-]*)(\d+)", re.IGNORECASE)
_FDI = re.compile("[1-4][1-8]|[5-8][1-5]")


def tooth_numbers(classes: Sequence[str]) -> tuple[int, ...] | None:
    """Return the FDI numbers of classes named "11" or "tooth 11".

    None unless every class has a number and no two have the same.
    """
    numbers = []
    for name in classes:
        match = _NUMBERED.fullmatch(name.strip())
        if not match or not _FDI.fullmatch(match[2]):
            return None
        numbers.append(int(match[2]))
    return tuple(numbers) if numbers and len(set(numbers)) == len(numbers) else None


def mirrored(classes: Sequence[str]) -> tuple[int, ...]:
    """Return the class ids after a horizontal flip: 11 becomes 21, 31 becomes 41, 75 becomes 85.

    Args:
        classes: names of the ids 1..n; those without a number do not change.

    Returns:
        For each class the id, from 1, of its mirror image.

    Raises:
        DentalzooError: a number is not in ISO 3950, or its mirror image is not among the classes.
    """
    names = [name.strip() for name in classes]
    ids = []
    for name in names:
        match = _NUMBERED.fullmatch(name)
        if match and not _FDI.fullmatch(match[2]):
            raise DentalzooError(f"tooth numbers must be of ISO 3950. Received: {name!r}")
        if match:
            number = int(match[2])
            name = f"{match[1]}{number + 10 if number // 10 % 2 else number - 10}"
        if match and name not in names:
            raise DentalzooError(
                f"{name!r} must be among the classes too. Received: only {match[0]!r}"
            )
        ids.append(1 + names.index(name))
    return tuple(ids)


def place_of(number: int) -> float:
    """Return where a tooth stands in its jaw, in teeth from the midline, the patient's left > 0."""
    quadrant, place = divmod(number, 10)
    return place - 0.5 if quadrant in (2, 3, 6, 7) else 0.5 - place
