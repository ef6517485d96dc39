"""Grey DICOM images as they are meant to be displayed: stored values to brightness.

An element that makes nothing visible, such as a slope of 0, is ignored, and the next rule decides;
a note says so.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dentalzoo.data.io.dicom_elements import (
    integer_of,
    items_of,
    name_of,
    numbers_of,
    text_of,
    words_of,
)
from dentalzoo.data.io.grey_levels import robust_range
from dentalzoo.errors import BadFile

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

# The elements that are read here.
GREY_ELEMENTS = (
    *("PixelPaddingValue", "PixelPaddingRangeLimit"),
    *("ModalityLUTSequence", "RescaleSlope", "RescaleIntercept"),
    *("VOILUTSequence", "VOILUTFunction", "WindowCenter", "WindowWidth"),
    *("PresentationLUTSequence", "PresentationLUTShape"),
)
_FUNCTIONS = ("LINEAR", "LINEAR_EXACT", "SIGMOID")
_ALIKE = 16  # ours: the mean step between entries of 8 bits; it is about 85 for random bytes
_WIDEST = 2.5  # ours: a window wider than so many times all values of the bits is of other bits
_VISIBLE = 0.1  # ours: a window that saturates 9 of 10 pixels is wrong


@dataclass
class GreyImage:
    """A grey image in the making.

    Attributes:
        path: the file, for messages.
        dataset: its elements.
        stored: (H, W) integers as stored.
        bits: Bits Stored.
        signed: whether Pixel Representation is 1.
        notes: what was ignored or assumed, for one warning.
    """

    path: Path
    dataset: Dataset
    stored: np.ndarray
    bits: int
    signed: bool
    notes: list[str] = field(default_factory=list)


def to_grey(image: GreyImage) -> np.ndarray:
    """Convert stored values to (H, W) uint8, see `read_dicom` for the rules.

    Raises:
        BadFile: an element that is needed is invalid.
    """
    fraction = np.clip(_fraction_of_white(image), 0, 1)
    inverse = text_of(image.dataset, "PresentationLUTShape") == "INVERSE"
    is_monochrome1 = text_of(image.dataset, "PhotometricInterpretation") == "MONOCHROME1"
    if tables := items_of(image.dataset, "PresentationLUTSequence"):
        if is_monochrome1:
            raise BadFile(
                image.path,
                f"{name_of('PresentationLUTSequence')} must not be combined with MONOCHROME1; save "
                "the image as MONOCHROME2. Received: both",
            )
        # Its input is the whole range of what comes before, PS3.3 C.11.6.1.
        last = table_descriptor(image.path, tables[0], "LUTDescriptor")[0] - 1
        found, table, bits = look_up(
            image, tables[0], np.rint(fraction * last), "PresentationLUTSequence"
        )
        return _scale(_share(found, table, bits))
    if inverse and not is_monochrome1:
        image.notes.append(f"inverted, as {name_of('PresentationLUTShape')} INVERSE says")
    grey = _scale(fraction)
    return 255 - grey if inverse or is_monochrome1 else grey


def _scale(fraction: np.ndarray) -> np.ndarray:
    return np.rint(np.clip(fraction, 0, 1) * 255).astype(np.uint8)


def _fraction_of_white(image: GreyImage) -> np.ndarray:
    """Convert stored values to brightness, 0 for black and 1 for white, not yet clipped."""
    inside = _inside(image)
    values, changed, units_known, (lowest, highest) = _modality(image)
    for item in items_of(image.dataset, "VOILUTSequence"):
        fraction = _share(*look_up(image, item, values, "VOILUTSequence", highest))
        if _is_visible(fraction, values, inside):
            return fraction
        image.notes.append(f"{name_of('VOILUTSequence')} leaves nothing to see and is ignored")
    for centre, width, function in _windows(image) if units_known else ():
        fraction = _windowed(values, centre, width, function)
        too_wide = width > _WIDEST * (highest - lowest)
        if not too_wide and _is_visible(fraction, values, inside):
            return fraction
        image.notes.append(f"window {centre:g}/{width:g} leaves nothing to see and is ignored")
    if image.bits <= 8 and not image.signed and not changed:
        return values / (2**image.bits - 1)
    shown = values[inside]
    low, high = robust_range(shown)
    return (values - low) / max(high - low, np.finfo(np.float64).tiny)


def _is_visible(fraction: np.ndarray, values: np.ndarray, inside: np.ndarray) -> bool:
    """Return whether a window or table leaves grey values where the pixels have some.

    The smallest and the largest value are often background and burnt-in letters: they do not count.
    """
    shown, grey = values[inside], _scale(fraction)[inside]
    if not shown.size or (low := shown.min()) == (high := shown.max()):
        return True
    if grey.min() == grey.max():
        return False
    between = (shown > low) & (shown < high)
    if not between.any():
        return True
    visible = (grey > 0) & (grey < 255) & between
    return bool(visible.sum() >= _VISIBLE * between.sum())


def _inside(image: GreyImage) -> np.ndarray:
    """Return where pixels are no padding, PS3.3 C.7.5.1.1.2; limits of any order are included."""
    everywhere = np.ones(image.stored.shape, bool)
    first = integer_of(image.path, image.dataset, "PixelPaddingValue")
    if first is None:
        return everywhere
    second = integer_of(image.path, image.dataset, "PixelPaddingRangeLimit")
    ends = [_as_stored(image, end) for end in (first, first if second is None else second)]
    inside = (image.stored < min(ends)) | (image.stored > max(ends))
    if not inside.any():
        image.notes.append("all pixels are padding, which is ignored")
        return everywhere
    return inside


def _as_stored(image: GreyImage, value: int) -> int:
    """Return a 16-bit value with the sign that the pixels have, whatever representation told it."""
    value %= 1 << 16
    return value - (1 << 16) if image.signed and value >= 1 << 15 else value


# ---- modality ------------------------------------------------------------------------------------


def _modality(image: GreyImage) -> tuple[np.ndarray, bool, bool, tuple[float, float]]:
    """Apply the modality LUT or the rescale.

    Returns:
        float64 values, whether any changed, whether windows refer to them, and the lowest and the
        highest value that pixels of these bits can have.
    """
    values = image.stored.astype(np.float64)
    half = 2 ** (image.bits - 1)
    limits = (-half, half - 1) if image.signed else (0, 2 * half - 1)
    if items := items_of(image.dataset, "ModalityLUTSequence"):
        found, table, _ = look_up(image, items[0], values, "ModalityLUTSequence")
        if table.min() < table.max():
            return found, True, True, (table.min(), table.max())
        image.notes.append(f"{name_of('ModalityLUTSequence')} is flat and is ignored")
        return values, False, False, limits
    slope, intercept = (
        next(iter(numbers_of(image.path, image.dataset, keyword)), default)
        for keyword, default in (("RescaleSlope", 1.0), ("RescaleIntercept", 0.0))
    )
    # Beyond 1e30 float64 has no more room for what follows.
    if not math.isfinite(intercept) or not math.isfinite(slope) or not 1e-30 < abs(slope) < 1e30:
        image.notes.append(
            f"{name_of('RescaleSlope')} {slope:g} and intercept {intercept:g} are ignored"
        )
        return values, False, intercept == 0, limits
    if abs(intercept) > 1e12 * abs(slope):  # the values would be lost beside it
        image.notes.append(f"{name_of('RescaleIntercept')} {intercept:g} is ignored")
        return values, False, False, limits
    if (slope, intercept) == (1, 0):
        return values, False, True, limits
    low, high = sorted(limit * slope + intercept for limit in limits)
    return values * slope + intercept, True, True, (low, high)


# ---- windows and tables --------------------------------------------------------------------------


def _windows(image: GreyImage) -> list[tuple[float, float, str]]:
    """Return (centre, width, function) of the windows that can be used, PS3.3 C.11.2.1."""
    centres, widths = (
        numbers_of(image.path, image.dataset, keyword)
        for keyword in ("WindowCenter", "WindowWidth")
    )
    function = text_of(image.dataset, "VOILUTFunction") or "LINEAR"
    if function not in _FUNCTIONS:
        raise BadFile(
            image.path,
            f"{name_of('VOILUTFunction')} must be one of {', '.join(_FUNCTIONS)}. "
            "Received: another function",
        )
    if bool(centres) != bool(widths):
        image.notes.append("a window without its centre or width is ignored")
    smallest = 1 if function == "LINEAR" else np.finfo(np.float64).tiny
    usable = []
    for centre, width in zip(centres, widths, strict=False):
        if math.isfinite(centre) and smallest <= width < math.inf:
            usable.append((centre, width, function))
        elif width != 0 and not (math.isnan(centre) and math.isnan(width)):  # empty ones
            image.notes.append(f"window {centre:g}/{width:g} is ignored")
    return usable


def _windowed(values: np.ndarray, centre: float, width: float, function: str) -> np.ndarray:
    if function == "SIGMOID":
        return 1 / (1 + np.exp(np.clip(-4 * ((values - centre) / width), -700, 700)))
    if function == "LINEAR_EXACT":
        return (values - centre) / width + 0.5
    if width <= 1:
        return np.where(values >= centre - 0.5, 1.0, 0.0)
    return (values - centre + 0.5) / (width - 1) + 0.5


def _share(entries: np.ndarray, table: np.ndarray, bits: int) -> np.ndarray:
    """Divide entries of a table by the largest that it can have.

    Many writers tell 16 bits and fill 12: where the entries that pixels can reach do not use the
    uppermost bit, or do not fit the bits, the largest of those counts, as in other viewers.
    """
    largest, top = table.max(), 2**bits - 1
    return entries / (top if top // 2 < largest <= top else max(largest, 1))


def look_up(
    image: GreyImage,
    item: Dataset,
    values: np.ndarray,
    keyword: str,
    reachable: float = math.inf,
) -> tuple[np.ndarray, np.ndarray, int]:
    """Apply a look-up table of PS3.3 C.11.1.1 or C.11.2.1.1.

    Values before the first entry take the first, values behind the last one the last.

    Args:
        image: the image.
        item: the item of the table's sequence.
        values: (H, W) float64.
        keyword: the sequence, for messages.
        reachable: the highest value that pixels can have.

    Returns:
        (H, W) entries as stored, the entries that pixels can reach of float64, and the bits of the
        descriptor.

    Raises:
        BadFile: the descriptor or the data is missing or invalid, or the table is shorter than its
            descriptor says and pixels need the rest.
    """
    count, first, bits = table_descriptor(image.path, item, "LUTDescriptor", keyword)
    table = table_data(image.path, item, "LUTData", count, bits)
    lowest, highest = values.min(), values.max()
    if first >= 1 << 15 and (image.signed or lowest < 0):
        first -= 1 << 16
    elif first < 0 and not image.signed and lowest >= 0 and first + count <= 0:
        first += 1 << 16
    if len(table) < count and highest - first > len(table) - 1:
        raise BadFile(
            image.path,
            f"{name_of('LUTData')} of {name_of(keyword)} must have {count} entries. "
            f"Received: {len(table)}",
        )
    index = np.clip(np.rint(values) - first, 0, len(table) - 1).astype(int)
    return table[index], table[: int(max(min(reachable - first + 1, len(table)), 1))], bits


def table_descriptor(
    path: Path, item: Dataset, keyword: str, owner: str = ""
) -> tuple[int, int, int]:
    """Return the number of entries, the first mapped value and the bits of a look-up table.

    Args:
        path: the file, for messages.
        item: the dataset that holds the table.
        keyword: the descriptor's element.
        owner: the sequence of `item`, for messages.

    Raises:
        BadFile: there are no three numbers.
    """
    descriptor = numbers_of(path, item, keyword)
    if len(descriptor) != 3 or not all(math.isfinite(number) for number in descriptor):
        where = f" of {name_of(owner)}" if owner else ""
        raise BadFile(
            path,
            f"{name_of(keyword)}{where} must have three numbers. Received: {len(descriptor)}",
        )
    count, first, bits = (int(number) for number in descriptor)
    # 0 entries stand for 65536; signed representations wrap.
    return count % (1 << 16) or 1 << 16, first, bits if 1 <= bits <= 16 else 16


def table_data(
    path: Path, item: Dataset, keyword: str, count: int, bits: int, is_curve: bool = True
) -> np.ndarray:
    """Return the entries of a table, of 8 or of 16 bits, whatever its VR says.

    Half as many words as entries are entries of 8 bits, two in a word. Where the descriptor has
    more than 8 bits, that counts only if neighbours are alike, as they are in a curve.

    Args:
        path: the file, for messages.
        item: the dataset that holds the table.
        keyword: the element, such as "LUTData".
        count: the entries that the descriptor has.
        bits: its bits.
        is_curve: whether neighbours must be alike; colours need not be.

    Returns:
        (N,) float64 with 1 <= N <= count.

    Raises:
        BadFile: there is no data.
    """
    words = words_of(item, keyword).astype(np.int64)
    if not len(words):
        raise BadFile(path, f"{name_of(keyword)} must have entries. Received: none")
    if len(words) == (count + 1) // 2 and count > 1:
        # PS3.3 C.11.1.1.1; the first entry is in the lower byte.
        packed = np.stack([words & 255, words >> 8], axis=1).reshape(-1)[:count]
        if bits <= 8 or not is_curve or np.abs(np.diff(packed)).mean() < _ALIKE:
            words = packed
    return words[:count].astype(np.float64)
