"""Tooth numbers of ISO 3950 (FDI): the quadrant, then the place in it from the midline on.

The quadrants are the patient's upper right, upper left, lower left and lower right: 1 to 4 of
permanent teeth, 5 to 8 of deciduous ones.
"""

import re
from collections.abc import Sequence

from dentalzoo.errors import DentalzooError

TEETH = 32  # in a mouth
_NUMBERED = re.compile(r"((?:tooth|fdi)?[ _-]*)(\d+)", re.IGNORECASE)
_FDI = re.compile("[1-4][1-8]|[5-8][1-5]")


def tooth_numbers(classes: Sequence[str]) -> tuple[int, ...] | None:
    """The FDI numbers that all classes are named after ("11" or "tooth 11"), or None."""
    found = []
    for name in classes:
        match = _NUMBERED.fullmatch(name.strip())
        if not match or not _FDI.fullmatch(match[2]):
            return None
        found.append(int(match[2]))
    return tuple(found) if found and len(set(found)) == len(found) else None


def mirrored(classes: Sequence[str]) -> tuple[int, ...]:
    """What the classes are in a mirror, where left is right: 11 is 21, 31 is 41, 75 is 85.

    Args:
        classes: names of 1..n; those without a number are the same in a mirror.

    Returns:
        For each class the id from 1 of its mirror image.

    Raises:
        DentalzooError: a number is none of ISO 3950, or its mirror image is no class.
    """
    names = [name.strip() for name in classes]
    found = []
    for name in names:
        match = _NUMBERED.fullmatch(name)
        if match and not _FDI.fullmatch(match[2]):
            raise DentalzooError(f"a tooth number of ISO 3950 was expected. Received: {name!r}")
        if match:
            number = int(match[2])
            name = f"{match[1]}{number + 10 if number // 10 % 2 else number - 10}"
        if name not in names:
            raise DentalzooError(
                f"{name!r} was expected among the classes. Received: {match[0]!r} alone"
            )
        found.append(1 + names.index(name))
    return tuple(found)
