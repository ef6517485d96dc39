"""DICOM radiographs as 8-bit images. No element with personal data is read."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np

from dentalzoo.data.io.dicom_grey import GREY_ELEMENTS, GreyImage, to_grey
from dentalzoo.data.io.file_warnings import warn_of_file
from dentalzoo.errors import BadFile, DentalzooError, require

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_ELEMENTS = [
    *("Rows", "Columns", "SamplesPerPixel", "NumberOfFrames", "PhotometricInterpretation"),
    *("BitsAllocated", "BitsStored", "PixelRepresentation"),
    *("SOPClassUID", "Manufacturer"),
    *GREY_ELEMENTS,
    *(f"{c}PaletteColorLookupTableDescriptor" for c in ("Red", "Green", "Blue")),
    *(f"{c}PaletteColorLookupTableData" for c in ("Red", "Green", "Blue")),
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
# PS3.4 B.5: Segmentation Storage and Label Map Segmentation Storage
_SEGMENTATIONS = ("1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7")


def read_dicom(path: str | Path, max_pixels: int) -> np.ndarray:
    """Read a single-frame DICOM image as it is meant to be displayed.

    Grey: stored values -> modality LUT or rescale -> the first VOI LUT, else the first window
    (LINEAR, LINEAR_EXACT, SIGMOID of PS3.3 C.11.2.1), else 8 stored bits unchanged, else the
    smallest value becomes 0 and the largest 255, without padding; MONOCHROME1 is inverted last.
    Colour: RGB.

    Args:
        path: the file.
        max_pixels: a larger image is refused before it is decoded.

    Returns:
        (H, W, 1) or (H, W, 3) uint8.

    Raises:
        BadFile: no image, a segmentation or a result of dentalzoo, several frames, no decoder, a
            program in the preamble, or damage. The message quotes nothing from the file but sizes
            and the transfer syntax.
        DentalzooError: pydicom is not installed.
    """
    path = Path(path)
    with path.open("rb") as stream:
        head = stream.read(132)
    if head.startswith(_PROGRAMS):
        raise BadFile(
            path, "the preamble of a DICOM file must hold no program. Received: an executable"
        )
    if head[128:] != b"DICM":
        raise BadFile(path, "must have DICM at byte 128. Received: no DICOM header")
    pydicom = require("pydicom", "dicom")
    pixels = require("pydicom.pixels", "dicom")
    try:
        syntax = pydicom.filereader.read_file_meta_info(path).get("TransferSyntaxUID")
        if syntax == _DEFLATED:  # pydicom inflates all of it, without a limit
            raise BadFile(path, "must not be deflated; save it uncompressed. Received: deflated")
        dataset = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=_ELEMENTS)
        _require_single_image(path, dataset, max_pixels)
        try:
            stored = pixels.pixel_array(path)
        except RuntimeError as error:
            raise BadFile(
                path,
                "cannot be decompressed; install pylibjpeg and its plugins, or save "
                f"it uncompressed. Received: {getattr(syntax, 'name', 'no transfer syntax')}",
            ) from error
        return _to_uint8(path, dataset, stored, pixels)
    except DentalzooError:
        raise
    except Exception as error:  # pydicom raises errors of any type, which may quote the file
        raise BadFile(
            path, f"damaged, or without pixel data. Received: {type(error).__name__}"
        ) from None


def _require_single_image(path: Path, dataset: Dataset, max_pixels: int) -> None:
    rows, columns = dataset.get("Rows"), dataset.get("Columns")
    if not rows or not columns:
        raise BadFile(path, "must hold an image. Received: a DICOM file without one")
    if dataset.get("SOPClassUID") in _SEGMENTATIONS or dataset.get("Manufacturer") == "dentalzoo":
        raise BadFile(path, "must be a radiograph. Received: a result, such as a segmentation")
    if rows * columns > max_pixels:
        raise BadFile(
            path,
            f"the image must have at most {max_pixels:,} pixels. "
            f"Received: {columns} x {rows} (width x height)",
        )
    frames = int(dataset.get("NumberOfFrames") or 1)
    if frames > 1:
        raise BadFile(
            path, f"must have one frame; save it as a separate file. Received: {frames} frames"
        )


def _to_uint8(path: Path, dataset: Dataset, stored: np.ndarray, pixels: ModuleType) -> np.ndarray:
    """Convert stored values (H, W) or (H, W, 3) to (H, W, 1 or 3) uint8."""
    kind = dataset.PhotometricInterpretation
    if kind == "PALETTE COLOR":
        stored = pixels.apply_color_lut(stored, dataset)
        top = 65535 if stored.dtype == np.uint16 else 255
        return _scale(stored / top)
    if stored.ndim == 3:
        return _scale(stored / (2**dataset.BitsStored - 1))
    image = GreyImage(path, dataset, stored, dataset.BitsStored, bool(dataset.PixelRepresentation))
    grey = to_grey(image)
    if image.notes:
        warn_of_file(path, "; ".join(image.notes))
    return grey[..., None]


def _scale(fraction: np.ndarray) -> np.ndarray:
    return np.rint(np.clip(fraction, 0, 1) * 255).astype(np.uint8)
