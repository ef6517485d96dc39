"""Palettes of DICOM images."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np

from dentalzoo.data.io.dicom_grey import table_data, table_descriptor

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

    from dentalzoo.data.io.dicom_pixels import Pixels

_COLOURS = ("Red", "Green", "Blue")
PALETTE_ELEMENTS = (
    *(f"{colour}PaletteColorLookupTableDescriptor" for colour in _COLOURS),
    *(f"{colour}PaletteColorLookupTableData" for colour in _COLOURS),
    *(f"Segmented{colour}PaletteColorLookupTableData" for colour in _COLOURS),
)


_NO_COLOUR = 3  # ours, of 255: what JPEG changes of samples without colour
_MIN_SPREAD = 16  # ours, of 255: less is no image


def without_chroma(described: Pixels, colours: np.ndarray) -> np.ndarray:
    """Return a grey image where luminance and chrominance without colour were described as RGB.

    Then all pixels have 128 in the second and the third sample. A note in `described` says so.

    Args:
        described: of the file.
        colours: (H, W, 3) integers of Bits Stored, as decoded; or (H, W).

    Returns:
        (H, W, 3) or (H, W) as given, or (H, W) luminance.
    """
    if described.kind != "RGB" or colours.ndim == 2:
        return colours
    unit = (1 << described.bits_stored) / 256
    first, chroma = colours[..., 0], colours[..., 1:].astype(np.int64) - int(128 * unit)
    spread = int(first.max()) - int(first.min())
    if np.abs(chroma).max() > _NO_COLOUR * unit or spread < _MIN_SPREAD * unit:
        return colours
    described.notes.append("read as grey: what is described as RGB is luminance and chrominance")
    return first


def from_ybr(described: Pixels, samples: np.ndarray, pixels: ModuleType) -> np.ndarray:
    """Convert luminance and chrominance to RGB; grey where they are equal, which no colour is.

    A note in `described` says the latter.

    Args:
        described: of the file.
        samples: (H, W, 3) uint8 or uint16.
        pixels: the module `pydicom.pixels`, which converts.

    Returns:
        (H, W, 3) RGB, or (H, W) grey.
    """
    first = samples[..., 0]
    is_grey = (samples == samples[..., :1]).all()
    if is_grey and int(first.max()) - int(first.min()) >= _MIN_SPREAD:
        described.notes.append(f"read as grey: what is described as {described.kind} is RGB")
        return first
    return np.asarray(pixels.convert_color_space(samples, described.kind, "RGB"))


def palette_colours(
    path: Path, dataset: Dataset, stored: np.ndarray, pixels: ModuleType
) -> np.ndarray:
    """Return the colours of a palette image, PS3.3 C.7.6.3.1.5 and C.7.6.3.1.6.

    Entries are of 8 or of 16 bits as their data shows, whatever the descriptors say: 16 bits if
    any entry of the three tables is larger than 255.

    Args:
        path: the file, for messages.
        dataset: its elements.
        stored: (H, W) integers.
        pixels: the module `pydicom.pixels`, which expands segmented palettes.

    Returns:
        (H, W, 3) uint8.

    Raises:
        BadFile: a table is missing or has no entries.
    """
    if "SegmentedRedPaletteColorLookupTableData" in dataset:
        colours = np.asarray(pixels.apply_color_lut(stored, dataset), np.float64)
    else:
        bands = []
        for colour in _COLOURS:
            keyword = f"{colour}PaletteColorLookupTable"
            count, first, bits = table_descriptor(path, dataset, f"{keyword}Descriptor")
            table = table_data(path, dataset, f"{keyword}Data", count, bits, is_curve=False)
            first -= 1 << 16 if first >= 1 << 15 and stored.min() < 0 else 0
            bands.append(table[np.clip(stored.astype(np.int64) - first, 0, len(table) - 1)])
        colours = np.stack(bands, axis=-1)
    top = 65535 if colours.max() > 255 else 255
    return np.rint(colours * (255 / top)).astype(np.uint8)
