"""The values in masks: class ids, soft masks, FDI numbers, and masks that are suspicious."""

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from dentalzoo.data.formats.base import notice_once
from dentalzoo.data.teeth import tooth_numbers
from dentalzoo.errors import BadFile

# ours: masks of teeth blurred over 15 pixels have at most 6 %, 95 % of radiographs 16 % and more
_MAX_MIDDLE_GREY = 0.15
_FEW_VALUES = 8  # ours: antialiasing by halves and quarters has 5 and 9
# Ours, the part of the grey pixels that lies in even blocks: soft edges of few values have none in
# blocks of 3 x 3; of many values, in blocks of 5 x 5 within 6 levels, blurred masks have 2 %
# (lines blurred over 15 pixels 46 %), and classes in JPEG of quality 30 have 80 % and more.
_MAX_EVEN_OF_FEW = 0.05
_MAX_EVEN_OF_MANY = 0.6

_LOSSY = (".jpg", ".jpeg", ".jpe", ".jfif")
_LEAST_GREY = 128  # ours: ids are smaller; black and white masks are not

# ISO 3950: permanent teeth 11..48, deciduous teeth 51..85
FDI_NUMBERS = frozenset(
    quadrant * 10 + tooth
    for quadrant in range(1, 9)
    for tooth in range(1, 9 if quadrant <= 4 else 6)
)

# Ours. Teeth cover 27 % of a radiograph at most and 65 % of a photograph of one jaw, and touch no
# border there: 0.0 % of the border pixels.
_MOSTLY = 0.6
_OF_BORDER = 0.5
_FEW_INVERTED = 0.1  # ours: a folder of two annotators holds both kinds
# A single inverted mask, of 3 masks and more: the others hardly touch the border, and it covers
# nearly all of it, or half and an area whose complement is nearer to the median than itself.
_LEAST_MASKS = 3
_LITTLE_OF_BORDER, _ALL_OF_BORDER = 0.1, 0.9
_NEARER = 0.5  # of the distance between the logarithms of areas
_SAME_MASKS = 0.9  # ours: the part of the masks that are equal, of at least _LEAST_SAME
_LEAST_SAME = 10


def class_ids(
    path: Path, mask: np.ndarray, num_classes: int, numbers: Sequence[int] = ()
) -> np.ndarray:
    """Return the class ids of a stored mask.

    Args:
        path: its file, for messages.
        mask: (H, W) of an integer dtype, as stored.
        num_classes: 1 or 2 for a binary mask, else the number of class ids.
        numbers: the stored values of the ids 1..n; empty where ids are stored.

    Returns:
        (H, W) uint8, below max(num_classes, 2).

    Raises:
        BadFile: the mask holds other ids, or is not a mask.
    """
    values, counts = _histogram(mask)
    if path.suffix.lower() in _LOSSY and 0 < values[-1] < _LEAST_GREY:
        notice_once(
            "class ids in JPEG masks are changed at the edges of objects, for JPEG is lossy; store "
            "masks as PNG",
            path.parent,
        )
    if numbers:
        return _renumbered(path, mask, values, numbers)
    if values[-1] < max(num_classes, 2):
        return mask.astype(np.uint8)
    if num_classes > 2:
        unknown = [int(value) for value in values if value >= num_classes]
        hint = _fdi_hint(values)
        raise BadFile(
            path,
            f"must hold the class ids 0..{num_classes - 1} as grey levels or palette indices{hint}"
            f". Received: {_few(unknown)}",
        )
    return _binary(path, mask, values, counts)


def _fdi_hint(values: np.ndarray) -> str:
    if values[-1] < min(FDI_NUMBERS) or not {*map(int, values)} <= FDI_NUMBERS | {0}:
        return ""
    return "; FDI numbers are read where the classes are named so: classes=('11', ...)"


def _renumbered(
    path: Path, mask: np.ndarray, values: np.ndarray, numbers: Sequence[int]
) -> np.ndarray:
    unknown = [int(value) for value in values if value and value not in numbers]
    if unknown:
        raise BadFile(
            path,
            f"must hold 0 and the FDI numbers of the classes, {numbers[0]}..{numbers[-1]}, as "
            f"grey levels or palette indices. Received: {_few(unknown)}",
        )
    table = np.zeros(int(values[-1]) + 1, np.uint8)
    for index, number in enumerate(numbers, start=1):
        if number < len(table):
            table[number] = index
    return table[mask]


def _binary(path: Path, mask: np.ndarray, values: np.ndarray, counts: np.ndarray) -> np.ndarray:
    full = 255 if values[-1] <= 255 else 65535
    between = (values > 0) & (values < full)
    if not between.any():
        return (mask > 0).astype(np.uint8)
    middle = (values > full // 5) & (values < full - full // 5)
    share = counts[middle].sum() / mask.size
    dark_alone = values[between][-1] < full // 8  # ids, with or without a bright "ignore" label
    if dark_alone or values[-1] <= full // 2 or _are_classes(mask, values, full):
        raise BadFile(
            path,
            "must be a binary mask (0 and 1, or 0 and 255); for several classes name them "
            f"(classes=...) and store ids 0..n{_fdi_hint(values)}. "
            f"Received: {_few(values.tolist())}",
        )
    if share > _MAX_MIDDLE_GREY:
        raise BadFile(
            path,
            "must be a mask, nearly all black and white; is it the image itself? "
            f"Received: {share:.0%} middle grey",
        )
    notice_once("soft or lossy masks are thresholded at > 0.5", path.parent)
    return (mask > full // 2).astype(np.uint8)


def _are_classes(mask: np.ndarray, values: np.ndarray, full: int) -> bool:
    """Return whether grey levels fill regions, as classes do, and not only soft edges.

    Three values are always classes: soft edges have more levels.
    """
    few = len(values) <= _FEW_VALUES
    if len(values) == 3 and values[0] == 0 and values[-1] == full:
        return True
    side, levels = (3, 0) if few else (5, 6 * full // 255)
    kernel = np.ones((side, side), np.uint8)
    stored = mask if mask.dtype == np.uint8 else mask.astype(np.uint16)
    highest, lowest = (f(stored, kernel) for f in (cv2.dilate, cv2.erode))
    low, high = (0, full) if few else (full // 6, full - full // 6)
    grey = (mask > low) & (mask < high)
    even = grey & (highest - lowest <= levels)
    most = _MAX_EVEN_OF_FEW if few else _MAX_EVEN_OF_MANY
    return bool(even.sum() > most * grey.sum() and even.any())


def _histogram(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    if mask.dtype != np.uint8:
        return np.unique(mask, return_counts=True)
    counts = np.bincount(mask.ravel(), minlength=256)
    values = np.flatnonzero(counts)
    return values, counts[values]


def _few(values: Sequence[int]) -> str:
    more = f" and {len(values) - 8} more" if len(values) > 8 else ""
    return "the values " + ", ".join(map(str, values[:8])) + more


# ---- FDI numbers ---------------------------------------------------------------------------------


def fdi_values(
    classes: Sequence[str], masks: Iterable[Path], read: Callable[[Path], np.ndarray]
) -> tuple[int, ...]:
    """Return the FDI numbers that masks store in place of the ids 1..n; empty where they store ids.

    Only where every class is named by its FDI number, see `tooth_numbers`. One rule for the whole
    data set: masks are read until one holds a value that is no id (FDI numbers) or no FDI number
    (ids); where every value is both, they are FDI numbers.

    Args:
        classes: the names of the ids 1..n.
        masks: the files of masks.
        read: reads a mask; raises BadFile.
    """
    numbers = tooth_numbers(classes)
    if numbers is None:
        return ()
    for path in masks:
        try:
            values = {*map(int, _histogram(read(path))[0])} - {0}
        except BadFile:
            continue
        if not values <= {*numbers}:
            return () if max(values) <= len(numbers) else numbers
        if max(values, default=0) > len(numbers):
            return numbers
    return numbers


# ---- masks that are suspicious -------------------------------------------------------------------


@dataclass(frozen=True)
class MaskFacts:
    """What `MaskStatistics` counts of one mask.

    Attributes:
        present: (256,) bool, the ids that it holds.
        area, border: the parts of all pixels, and of those of the border, that are foreground.
        digest: the same for equal masks, in every process; b"" for an empty one.
    """

    present: np.ndarray
    area: float
    border: float
    digest: bytes

    @property
    def inverted(self) -> bool:
        """Whether it is mostly foreground and touches the border."""
        return self.area > _MOSTLY and self.border > _OF_BORDER


def facts_of(mask: np.ndarray) -> MaskFacts:
    """Return the facts of a mask of class ids, (H, W) or (H, W, 1) uint8."""
    present = np.bincount(mask.ravel(), minlength=256)[:256] > 0
    if not present[1:].any():
        return MaskFacts(present, 0.0, 0.0, b"")
    inside = mask > 0
    border = np.concatenate([inside[0], inside[-1], inside[:, 0], inside[:, -1]])
    digest = hashlib.blake2b(repr(mask.shape).encode() + mask.tobytes(), digest_size=8).digest()
    return MaskFacts(present, float(inside.mean()), float(border.mean()), digest)


def inverted_masks(facts: Mapping[str, MaskFacts]) -> list[list[str]]:
    """Return [name, reason] of single masks that are black on white among others that are not.

    Args:
        facts: name -> the facts of its mask, of a whole data set.
    """
    filled = {name: one for name, one in facts.items() if one.area}
    if len(filled) < _LEAST_MASKS:
        return []
    area = float(np.median([one.area for one in filled.values()]))
    border = float(np.median([one.border for one in filled.values()]))
    if border > _LITTLE_OF_BORDER:
        return []
    return [
        [
            name,
            f"its mask covers {one.area:.0%} of the image and {one.border:.0%} of the border, the "
            f"median {area:.0%} and {border:.0%}: is it black on white?",
        ]
        for name, one in filled.items()
        if one.border > _ALL_OF_BORDER
        or (one.border > _OF_BORDER and _complement_is_nearer(one.area, area))
    ]


def _complement_is_nearer(area: float, median: float) -> bool:
    """Return whether all but an area is much nearer to the median than the area itself."""
    if area >= 1:
        return False
    return abs(np.log((1 - area) / median)) < _NEARER * abs(np.log(area / median))


class MaskStatistics:
    """Counts over the masks of a data set, and what is suspicious about them.

    Args:
        classes: the names of the ids 1..n.
    """

    def __init__(self, classes: Sequence[str] = ("foreground",)):
        self._classes = tuple(classes)
        self._of_class = np.zeros(256, np.int64)
        self._equal: dict[bytes, int] = {}
        self._inverted = 0
        self.masks = 0
        self.empty = 0

    def add(self, mask: np.ndarray) -> None:
        """Count a mask of class ids, (H, W) uint8."""
        self.add_facts(facts_of(mask))

    def add_facts(self, facts: MaskFacts) -> None:
        """Count a mask by its facts."""
        self.masks += 1
        self._of_class += facts.present
        self._inverted += facts.inverted
        if facts.digest:
            self._equal[facts.digest] = self._equal.get(facts.digest, 0) + 1
        else:
            self.empty += 1

    def per_class(self) -> dict[str, int]:
        """Return the number of masks that hold each class."""
        return {name: int(self._of_class[i]) for i, name in enumerate(self._classes, start=1)}

    def problems(self) -> list[str]:
        """Return a phrase for each thing that is suspicious; empty for nothing."""
        if not self.masks:
            return []
        if self.empty == self.masks:
            return [f"no mask holds an object: all {self.masks} are empty"]
        lines = []
        if self._inverted > _FEW_INVERTED * self.masks:
            binary = "objects must be white on black; are they black on white?"
            question = binary if len(self._classes) == 1 else "is 0 the background?"
            lines.append(
                f"{self._inverted} of {self.masks} masks are mostly foreground and touch the "
                f"border: {question}"
            )
        absent = [name for name, count in self.per_class().items() if not count]
        if absent:
            more = f" and {len(absent) - 8} more" if len(absent) > 8 else ""
            shown = ", ".join(absent[:8]) + more
            lines.append(f"none of {self.masks} masks holds the class {shown}")
        most = max(self._equal.values())
        if self.masks >= _LEAST_SAME and most > _SAME_MASKS * self.masks:
            lines.append(f"{most} of {self.masks} masks are equal")
        return lines
