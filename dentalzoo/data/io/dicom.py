"""DICOM radiographs as 8-bit images. No element with personal data is read."""

from __future__ import annotations

import logging
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from dentalzoo.data.io.dicom_colour import PALETTE_ELEMENTS, palette_colours, without_chroma
from dentalzoo.data.io.dicom_elements import integer_of, name_of, numbers_of, text_of
from dentalzoo.data.io.dicom_grey import GREY_ELEMENTS, GreyImage, to_grey
from dentalzoo.data.io.dicom_pixels import (
    PIXEL_ELEMENTS,
    Pixels,
    decode_pixels,
    described_pixels,
    missing_element,
)
from dentalzoo.data.io.file_warnings import warn_of_file
from dentalzoo.data.io.signatures import is_dicom_head, is_media_directory, is_without_preamble
from dentalzoo.data.io.stored import StoredImage, content_of
from dentalzoo.errors import BadFile, DentalzooError, TooManyPixels, require

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_ELEMENTS = [
    *("SOPClassUID", "Manufacturer", "Rows", "Columns", "NumberOfFrames"),
    *PIXEL_ELEMENTS,
    *GREY_ELEMENTS,
    *PALETTE_ELEMENTS,
    *("PixelSpacing", "ImagerPixelSpacing", "PixelAspectRatio"),
]
# Programs can hide in the 128 bytes before a DICOM header: PE, ELF, Mach-O, script.
_PROGRAMS = (
    b"MZ",
    b"\x7fELF",
    b"\xcf\xfa\xed\xfe",
    b"\xce\xfa\xed\xfe",
    b"\xca\xfe\xba\xbe",
    b"#!",
)
_DEFLATED = "1.2.840.10008.1.2.1.99"  # PS3.5 A.5
# Pixels of these SOP classes are results: segmentations and parametric maps, radiotherapy.
_DERIVED = (
    "1.2.840.10008.5.1.4.1.1.66.",
    "1.2.840.10008.5.1.4.1.1.30",
    "1.2.840.10008.5.1.4.1.1.481.",
)
_ASPECTS = ("PixelSpacing", "ImagerPixelSpacing", "PixelAspectRatio")  # the first one counts
_SQUARE = 1.05  # ours
_thread = threading.local()
_HEAD = 1024  # bytes in which a DICOMDIR shows
_MAX_BARE = 16  # bytes per pixel allowed of a file without preamble, which is read whole


def read_dicom(path: str | Path, max_pixels: int) -> np.ndarray:
    """Read a single-frame DICOM image as it is meant to be displayed.

    Grey: stored values -> modality LUT or rescale -> the first usable VOI LUT, else the first
    usable window (LINEAR, LINEAR_EXACT, SIGMOID of PS3.3 C.11.2.1), else 8 stored bits unchanged,
    else the smallest value becomes 0 and the largest 255, without padding and outliers (see
    `grey_levels.robust_range`) -> presentation LUT;
    MONOCHROME1 and a presentation LUT shape of INVERSE are inverted last, once. Colour: RGB.

    What is ignored because it would leave nothing to see is logged, once for each file. Warnings
    of pydicom are silenced from the first call on: their content is checked here.

    Args:
        path: the file, with or without the preamble.
        max_pixels: a larger image is refused before it is decoded.

    Returns:
        (H, W, 1) or (H, W, 3) uint8.

    Raises:
        BadFile: no image, a segmentation or another result, several frames, no decoder, a program
            in the preamble, a missing or invalid element, or damage. The message quotes nothing
            from the file but numbers, the kind of object and the transfer syntax.
        DentalzooError: pydicom is not installed.
    """
    path = path if isinstance(path, Path) else Path(path)  # a subclass may point into another file
    with path.open("rb") as stream:
        head = stream.read(_HEAD)
    _check_head(path, head)
    pydicom = require("pydicom", "dicom")
    pixels = require("pydicom.pixels", "dicom")
    try:
        with quiet_pydicom():
            return _read(path, head, max_pixels, pydicom, pixels)
    except DentalzooError:
        raise
    except MemoryError:
        raise BadFile(path, "the image must fit in memory. Received: MemoryError") from None
    except Exception as error:  # pydicom raises errors of any type, which may quote the file
        raise BadFile(
            path,
            "damaged, or without pixel data; save it again with the program that wrote it. "
            f"Received: {type(error).__name__}",
        ) from None


def _read(
    path: Path, head: bytes, max_pixels: int, pydicom: ModuleType, pixels: ModuleType
) -> np.ndarray:
    source = _with_preamble(path, max_pixels) if is_without_preamble(head) else content_of(path)
    if _syntax(pydicom, source) == _DEFLATED:  # pydicom inflates all of it, without a limit
        raise BadFile(path, "must not be deflated; save it uncompressed. Received: deflated")
    header = pydicom.dcmread(_rewound(source), stop_before_pixels=True, specific_tags=[*_ELEMENTS])
    _require_single_image(path, header, max_pixels)
    described = described_pixels(path, header)
    dataset = pydicom.dcmread(
        _rewound(source),
        specific_tags=[*_ELEMENTS, "PixelData", "FloatPixelData", "DoubleFloatPixelData"],
    )
    stored = decode_pixels(described, dataset, pixels)
    return _to_uint8(described, dataset, stored, pixels)


@contextmanager
def quiet_pydicom() -> Iterator[None]:
    """Keep pydicom, which quotes elements of files and tracebacks, from logging and warning.

    Log records are dropped in this thread only. For warnings of pydicom's modules there is a filter
    for good, since `warnings.catch_warnings` is not safe with threads.
    """
    for name in [name for name in logging.root.manager.loggerDict if name.startswith("pydicom")]:
        if _drop not in (logger := logging.getLogger(name)).filters:
            logger.addFilter(_drop)  # a filter of "pydicom" does not see what its children log
    if not any(
        f[0] == "ignore" and getattr(f[3], "pattern", f[3]) == "pydicom" for f in _filters()
    ):
        warnings.filterwarnings("ignore", module="pydicom")
    before, _thread.is_reading = getattr(_thread, "is_reading", False), True
    try:
        yield
    finally:
        _thread.is_reading = before


def _drop(record: logging.LogRecord) -> bool:
    return not getattr(_thread, "is_reading", False)


def _filters() -> Sequence[Any]:
    return warnings.filters


def _check_head(path: Path, head: bytes) -> None:
    if head.startswith(_PROGRAMS):
        raise BadFile(
            path, "the preamble of a DICOM file must hold no program. Received: an executable"
        )
    if not is_dicom_head(head):
        raise BadFile(
            path,
            "must have DICM at byte 128, or begin with elements of group 0002 or 0008; export the "
            "image again from the program that took it. Received: no DICOM header",
        )
    if is_media_directory(head):
        raise BadFile(
            path, "must hold an image. Received: a DICOMDIR, which lists the files of a CD"
        )


def _with_preamble(path: Path, max_pixels: int) -> BytesIO:
    """Return the content of a file that lacks its preamble, with one."""
    size = path.size if isinstance(path, StoredImage) else path.stat().st_size
    if size > max_pixels * _MAX_BARE:
        raise BadFile(
            path,
            "a file without a preamble must be smaller; save it as a complete DICOM file. "
            f"Received: {size:,} bytes",
        )
    return BytesIO(bytes(128) + b"DICM" + path.read_bytes())


def _rewound(source: Path | BytesIO) -> Path | BytesIO:
    if isinstance(source, BytesIO):
        source.seek(0)
    return source


def _syntax(pydicom: ModuleType, source: Path | BytesIO) -> str:
    if isinstance(source, Path):
        meta = pydicom.filereader.read_file_meta_info(source)
    else:
        stop = lambda tag, vr, length: tag >> 16 != 2  # noqa: E731
        meta = pydicom.filereader.read_partial(_rewound(source), stop).file_meta
    return str(meta.get("TransferSyntaxUID", ""))


def _require_single_image(path: Path, header: Dataset, max_pixels: int) -> None:
    rows, columns = (integer_of(path, header, keyword) for keyword in ("Rows", "Columns"))
    if bool(rows) != bool(columns):
        raise missing_element(path, "Columns" if rows else "Rows")
    if not rows or not columns:
        kind = kind_of_object(header)
        raise BadFile(
            path, f"must hold an image. Received: a DICOM file without one{kind and f', {kind}'}"
        )
    if rows * columns > max_pixels:
        raise TooManyPixels(
            path,
            f"the image must have at most {max_pixels:,} pixels. "
            f"Received: {columns} x {rows} (width x height)",
        )
    own = text_of(header, "Manufacturer") == "DENTALZOO"
    if own or text_of(header, "SOPClassUID").startswith(_DERIVED):
        raise BadFile(
            path,
            "must be a radiograph. Received: a result, such as a segmentation"
            f"{'' if own else f', {kind_of_object(header)}'}",
        )
    frames = integer_of(path, header, "NumberOfFrames") or 1
    if frames > 1:
        raise BadFile(
            path, f"must have one frame; save it as a separate file. Received: {frames} frames"
        )


def kind_of_object(header: Dataset) -> str:
    """Return the name of a file's SOP class, "" for one that PS3.6 does not name."""
    from pydicom.uid import UID

    uid = UID(text_of(header, "SOPClassUID"))
    return str(uid.name) if uid and uid.name != uid else ""


def _note_aspect(described: Pixels, dataset: Dataset) -> None:
    """Note pixels that are not square, which are read as stored."""
    for keyword in _ASPECTS:
        try:
            sides = numbers_of(described.path, dataset, keyword)
        except BadFile:  # the size in mm does not count here
            continue
        if len(sides) == 2 and all(0 < side < np.inf for side in sides):
            if not 1 / _SQUARE < sides[0] / sides[1] < _SQUARE:
                described.notes.append(
                    f"its pixels are not square ({name_of(keyword)} {sides[0]:g} x {sides[1]:g}), "
                    "and the image is read without a correction"
                )
            return


def _to_uint8(
    described: Pixels, dataset: Dataset, stored: np.ndarray, pixels: ModuleType
) -> np.ndarray:
    """Convert stored values (H, W) or (H, W, 3) to (H, W, 1 or 3) uint8."""
    _note_aspect(described, dataset)
    if described.kind == "PALETTE COLOR":
        image = palette_colours(described.path, dataset, stored, pixels)
    elif described.samples == 3:
        fraction = without_chroma(described, stored) / (2**described.bits_stored - 1)
        image = np.rint(np.clip(fraction, 0, 1) * 255).astype(np.uint8)
    else:
        image = to_grey(
            GreyImage(
                described.path,
                dataset,
                stored,
                described.bits_stored,
                described.signed,
                described.notes,
            )
        )
    if described.notes:
        warn_of_file(described.path, "; ".join(described.notes))
    return image if image.ndim == 3 else image[..., None]
