"""Elements of DICOM files as plain numbers, read from their bytes.

pydicom converts an element when it is asked for it, and raises or warns where the bytes are not
what the value representation wants. Dental devices write decimal commas, blanks and "nan", so
numbers are parsed here, and what cannot be read is named.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dentalzoo.errors import BadFile

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_FORMATS = {"US": "H", "SS": "h", "UL": "I", "SL": "i", "FL": "f", "FD": "d", "OW": "H"}
_TEXTS = {"DS", "IS", "LO", "SH", "LT", "CS", "ST", "UT"}
_THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2},\d{3}")  # 1,024 is 1024 or 1.024


def name_of(keyword: str) -> str:
    """Return an element as messages name it: Bits Stored (0028,0101)."""
    from pydicom.datadict import dictionary_description, tag_for_keyword

    tag = tag_for_keyword(keyword) or 0
    return f"{dictionary_description(tag)} ({tag >> 16:04X},{tag & 0xFFFF:04X})"


def numbers_of(path: Path, dataset: Dataset, keyword: str) -> list[float]:
    """Return the numbers of an element; [] where it is missing or empty.

    A decimal comma is read as a point. NaN stands for an empty value among several.

    Args:
        path: the file, for messages.
        dataset: as pydicom reads it; no element is converted.
        keyword: such as "RescaleSlope".

    Raises:
        BadFile: the element holds no numbers, or commas that may separate thousands.
    """
    values = _values(dataset, keyword)
    numbers = []
    for value in values:
        text = str(value).strip(" \0")
        if _THOUSANDS.fullmatch(text):
            raise BadFile(
                path,
                f"{name_of(keyword)} must have a decimal point; write it as 1.024 or as 1024. "
                f"Received: a comma before three digits",
            )
        try:
            numbers.append(float(text.replace(",", ".") if text.count(",") == 1 else text or "nan"))
        except ValueError:
            raise BadFile(
                path, f"{name_of(keyword)} must be a number. Received: something else"
            ) from None
    return [] if all(math.isnan(n) for n in numbers) and not any(_texts(values)) else numbers


def integer_of(path: Path, dataset: Dataset, keyword: str) -> int | None:
    """Return the first number of an element as an integer; None where it is missing or empty.

    Raises:
        BadFile: it is not a whole number.
    """
    numbers = numbers_of(path, dataset, keyword)
    if not numbers:
        return None
    if not math.isfinite(numbers[0]) or numbers[0] != int(numbers[0]):
        raise BadFile(path, f"{name_of(keyword)} must be a whole number. Received: another number")
    return int(numbers[0])


def text_of(dataset: Dataset, keyword: str) -> str:
    """Return the first text of an element in capitals, "" where it is missing or empty."""
    values = _values(dataset, keyword)
    return str(values[0]).strip(" \0").upper() if values else ""


def items_of(dataset: Dataset, keyword: str) -> Sequence[Dataset]:
    """Return the items of a sequence; none where it is missing, or no sequence."""
    from pydicom.sequence import Sequence as Items

    value = dataset.get(keyword)
    return value if isinstance(value, Items) else ()


def words_of(dataset: Dataset, keyword: str) -> np.ndarray:
    """Return the content of an element as unsigned words of 16 bits, (N,) uint16.

    A last odd byte becomes a word of its own.
    """
    from pydicom.datadict import tag_for_keyword
    from pydicom.dataelem import RawDataElement

    tag = tag_for_keyword(keyword) or 0
    element = dataset.get_item(tag, keep_deferred=True) if tag in dataset else None
    if element is None or element.value is None:
        return np.zeros(0, np.uint16)
    if isinstance(element, RawDataElement):
        is_little, content = element.is_little_endian, element.value
    elif isinstance(element.value, bytes):
        is_little, content = dataset.original_encoding[1] is not False, element.value
    else:
        values = np.atleast_1d(np.asarray(element.value, np.int64))
        return (values & 0xFFFF).astype(np.uint16)
    return np.frombuffer(content + bytes(len(content) % 2), "<u2" if is_little else ">u2")


def _texts(values: Sequence[Any]) -> list[str]:
    return [str(value).strip(" \0") for value in values]


def _values(dataset: Dataset, keyword: str) -> list[Any]:
    """Return the values of an element, numbers or texts, without pydicom's conversion."""
    from pydicom.datadict import dictionary_VR, tag_for_keyword
    from pydicom.dataelem import RawDataElement

    tag = tag_for_keyword(keyword) or 0
    if tag not in dataset:
        return []
    element = dataset.get_item(tag, keep_deferred=True)
    if not isinstance(element, RawDataElement):
        value = element.value if element is not None else None
        if value is None or value == "":
            return []
        return [value] if isinstance(value, str | bytes | int | float) else list(value)
    content: bytes = element.value or b""
    kind = element.VR or "UN"
    if kind not in _FORMATS and kind not in _TEXTS:
        kind = dictionary_VR(tag)[:2]  # "US or SS" is read as US
    if kind in _FORMATS:
        order, letter = "<" if element.is_little_endian else ">", _FORMATS[kind]
        count = len(content) // struct.calcsize(letter)
        return list(struct.unpack_from(f"{order}{count}{letter}", content))
    text = content.decode("latin-1").strip(" \0")
    return text.split("\\") if text else []
