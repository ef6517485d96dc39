"""DICOM radiographs as 8-bit images. No element with personal data is read."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from dentalzoo.errors import BadFile, DentalzooError, require

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_ELEMENTS = [
    *("Rows", "Columns", "SamplesPerPixel", "NumberOfFrames", "PhotometricInterpretation"),
    *("BitsAllocated", "BitsStored", "PixelRepresentation", "PixelPaddingValue"),
    *("ModalityLUTSequence", "RescaleSlope", "RescaleIntercept"),
    *("VOILUTSequence", "VOILUTFunction", "WindowCenter", "WindowWidth"),
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
        BadFile: no image, several frames, no decoder, a program in the preamble, or damage. The
            message quotes nothing from the file but sizes and the transfer syntax.
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
        return _to_uint8(dataset, stored, pixels)
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


def _to_uint8(dataset: Dataset, stored: np.ndarray, pixels: ModuleType) -> np.ndarray:
    """Convert stored values (H, W) or (H, W, 3) to (H, W, 1 or 3) uint8."""
    kind = dataset.PhotometricInterpretation
    if kind == "PALETTE COLOR":
        stored = pixels.apply_color_lut(stored, dataset)
        top = 65535 if stored.dtype == np.uint16 else 255
        return _scale(stored / top)
    if stored.ndim == 3:
        return _scale(stored / (2**dataset.BitsStored - 1))
    grey = _scale(_fraction_of_white(dataset, stored))
    return (255 - grey if kind == "MONOCHROME1" else grey)[..., None]


def _scale(fraction: np.ndarray) -> np.ndarray:
    return np.rint(np.clip(fraction, 0, 1) * 255).astype(np.uint8)


def _fraction_of_white(dataset: Dataset, stored: np.ndarray) -> np.ndarray:
    """Convert stored grey values to brightness, 0 for black and 1 for white, not yet clipped."""
    values, rescaled = _modality(dataset, stored)
    if tables := dataset.get("VOILUTSequence"):
        return _look_up(dataset, tables[0], values)
    if (window := _window(dataset)) is not None:
        centre, width, function = window
        if function == "SIGMOID":
            return 1 / (1 + np.exp(-4 * (values - centre) / width))
        if function == "LINEAR_EXACT":
            return (values - centre) / width + 0.5
        return (values - centre + 0.5) / (width - 1) + 0.5 if width > 1 else values >= centre - 0.5
    if dataset.BitsStored <= 8 and not dataset.PixelRepresentation and not rescaled:
        return values / (2**dataset.BitsStored - 1)
    inside = values[stored != dataset.get("PixelPaddingValue")]
    low, high = (inside.min(), inside.max()) if inside.size else (0, 0)
    return (values - low) / max(high - low, np.finfo(np.float64).tiny)


def _modality(dataset: Dataset, stored: np.ndarray) -> tuple[np.ndarray, bool]:
    """Apply the modality LUT or the rescale; return float64 values and whether any changed."""
    values = stored.astype(np.float64)
    if tables := dataset.get("ModalityLUTSequence"):
        return _look_up(dataset, tables[0], values) * (2 ** tables[0].LUTDescriptor[2] - 1), True
    slope, intercept = dataset.get("RescaleSlope"), dataset.get("RescaleIntercept")
    if slope is None or intercept is None or (slope, intercept) == (1, 0):
        return values, False
    return values * float(slope) + float(intercept), True


def _look_up(dataset: Dataset, item: Dataset, values: np.ndarray) -> np.ndarray:
    """Apply a DICOM look-up table, PS3.3 C.11.1.1, scaled so that its largest entry is 1.

    pydicom's own function (3.0) wraps inputs above 255 around where the entries have 8 bits.
    """
    entries, first, bits = item.LUTDescriptor
    data = item.LUTData
    if isinstance(data, bytes):
        order = ">" if dataset.original_encoding[1] is False else "<"
        data = np.frombuffer(data, np.uint8 if len(data) == (entries or 65536) else f"{order}u2")
    table = np.asarray(data, np.float64)
    return table[np.clip(np.rint(values) - first, 0, len(table) - 1).astype(int)] / (2**bits - 1)


def _window(dataset: Dataset) -> tuple[float, float, str] | None:
    """Return (centre, width, function) of the first window; None without a usable one."""
    try:
        centre, width = (
            float(_first(dataset.get(keyword))) for keyword in ("WindowCenter", "WindowWidth")
        )
    except (TypeError, ValueError, IndexError):
        return None
    function = str(dataset.get("VOILUTFunction") or "LINEAR")
    smallest = 1 if function == "LINEAR" else np.finfo(np.float64).tiny
    return (centre, width, function) if smallest <= width < np.inf else None


def _first(value: Any) -> Any:
    """Return the first value of an element that may have several."""
    return value if np.isscalar(value) or isinstance(value, str) else value[0]
