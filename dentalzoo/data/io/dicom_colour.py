"""Palettes of DICOM images."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np

from dentalzoo.data.io.dicom_grey import table_data, table_descriptor

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_COLOURS = ("Red", "Green", "Blue")
PALETTE_ELEMENTS = (
    *(f"{colour}PaletteColorLookupTableDescriptor" for colour in _COLOURS),
    *(f"{colour}PaletteColorLookupTableData" for colour in _COLOURS),
    *(f"Segmented{colour}PaletteColorLookupTableData" for colour in _COLOURS),
)


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
