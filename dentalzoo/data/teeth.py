"""What the names of classes say of teeth and sides: ISO 3950 (FDI) numbers, left and right.

A number of ISO 3950 is the quadrant, then the tooth counted from the midline. The quadrants are the
patient's upper right, upper left, lower left and lower right: 1 to 4 for permanent teeth, 5 to 8
for deciduous teeth.
"""

import re
from collections.abc import Sequence

from dentalzoo.errors import DentalzooError

TEETH = 32  # of an adult
_NUMBERED = re.compile(r"((?:tooth|fdi)?[ _-]*)(\d+)", re.IGNORECASE)
_FDI = re.compile("[1-4][1-8]|[5-8][1-5]")
_LONE_FDI = re.compile(rf"(?<![\d.,])(?:{_FDI.pattern})(?!\d|[.,]\d|\s*(?:%|mm|cm))")
# What the name of a tooth may hold besides its number, as "11 - Central Incisor" does.
_OF_A_TOOTH = frozenset(
    (
        *("tooth", "teeth", "fdi", "no", "nr", "number", "central", "lateral", "incisor", "canine"),
        *("cuspid", "premolar", "bicuspid", "molar", "wisdom", "first", "second", "third"),
        *("1st", "2nd", "3rd", "upper", "lower", "left", "right", "maxillary", "mandibular"),
        *("permanent", "deciduous", "primary"),
    )
)
_SIDES = (
    *(("left", "right"), ("links", "rechts"), ("linke", "rechte"), ("gauche", "droite")),
    *(("izquierdo", "derecho"), ("izquierda", "derecha"), ("esquerdo", "direito")),
    *(("esquerda", "direita"), ("sinistro", "destro"), ("sinistra", "destra"), ("左", "右")),
)
_OTHER_SIDE = {one: other for pair in _SIDES for one, other in (pair, pair[::-1])}
_SIDE = re.compile(rf"(?<![a-z])(?:{'|'.join(_OTHER_SIDE)})(?![a-z])", re.IGNORECASE)
_PALMER = re.compile(r"(?<![a-z])([ul])([lr])(?=[ _-]*[1-8a-e]?(?![a-z0-9]))", re.IGNORECASE)
_QUADRANT = re.compile(r"(?<![a-z])(q|quad|quadrant)([ _-]*)([1-4])(?!\d)", re.IGNORECASE)


def tooth_numbers(classes: Sequence[str]) -> tuple[int, ...] | None:
    """Return the FDI numbers of classes named "11", "tooth 11" or "11 - Central Incisor".

    None unless every class has a number and no two have the same.
    """
    numbers = [number_of(name) for name in classes]
    known = tuple(number for number in numbers if number is not None)
    return known if known and len(set(known)) == len(classes) else None


def number_of(name: str) -> int | None:
    """Return the FDI number of a class that is a tooth, see `tooth_numbers`."""
    if match := _NUMBERED.fullmatch(name.strip()):
        return int(match[2]) if _FDI.fullmatch(match[2]) else None
    words = re.findall(r"[^\W_]+", name.casefold())
    numbers = [word for word in words if word.isdecimal()]
    if len(numbers) != 1 or not _FDI.fullmatch(numbers[0]):
        return None
    return int(numbers[0]) if _OF_A_TOOTH.issuperset({*words} - {numbers[0]}) else None


def mirrored(classes: Sequence[str]) -> tuple[int, ...]:
    """Return the class ids after a horizontal flip: 11 becomes 21, 31 becomes 41, 75 becomes 85.

    So do other names of a side, in several languages: "caries 11", "left condyle", "UR1" and
    "quadrant 1" become "caries 21", "right condyle", "UL1" and "quadrant 2".

    Args:
        classes: names of the ids 1..n; those without a side do not change.

    Returns:
        For each class the id, from 1, of its mirror image.

    Raises:
        DentalzooError: a number is not in ISO 3950, or a mirror image is not among the classes.
    """
    names = [name.strip() for name in classes]
    labels = {name.casefold(): label for label, name in enumerate(names, 1)}
    labels |= {name: label for label, name in enumerate(names, 1)}
    numbers = [number_of(name) for name in names]
    ids = []
    for name, number in zip(names, numbers, strict=True):
        other = _other_side(name)
        found = labels.get(other) or labels.get(other.casefold())
        if not found and number and numbers.count(number) == 1:
            image = _other_number(number)
            found = 1 + numbers.index(image) if numbers.count(image) == 1 else None
        if not found:
            raise DentalzooError(
                f"{other!r} must be among the classes too. Received: only {name!r}"
            )
        ids.append(found)
    return tuple(ids)


def have_sides(classes: Sequence[str]) -> bool:
    """Return whether a mirror image would change a class, or its class is not there."""
    try:
        return mirrored(classes) != tuple(range(1, 1 + len(classes)))
    except DentalzooError:
        return True


def place_of(number: int) -> float:
    """Return where a tooth stands in its jaw, in teeth from the midline, the patient's left > 0."""
    quadrant, place = divmod(number, 10)
    return place - 0.5 if quadrant in (2, 3, 6, 7) else 0.5 - place


def _other_number(number: int) -> int:
    return number + 10 if number // 10 % 2 else number - 10


def _other_side(name: str) -> str:
    """Return the name of the mirror image of a class, its own if it has no side."""
    if match := _NUMBERED.fullmatch(name):
        if not _FDI.fullmatch(match[2]):
            raise DentalzooError(f"tooth numbers must be of ISO 3950. Received: {name!r}")
        return f"{match[1]}{_other_number(int(match[2]))}"
    if len(_LONE_FDI.findall(name)) == 1:
        name = _LONE_FDI.sub(lambda match: str(_other_number(int(match[0]))), name)
    name = _SIDE.sub(lambda match: _like(match[0], _OTHER_SIDE[match[0].casefold()]), name)
    name = _PALMER.sub(
        lambda match: match[1] + _like(match[2], "l" if match[2] in "rR" else "r"), name
    )
    quadrants = {"1": "2", "2": "1", "3": "4", "4": "3"}
    return _QUADRANT.sub(lambda match: match[1] + match[2] + quadrants[match[3]], name)


def _like(word: str, other: str) -> str:
    """Return another word in capitals where a word is."""
    if word.isupper():
        return other.upper()
    return other.capitalize() if word[0].isupper() else other
