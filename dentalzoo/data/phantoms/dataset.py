"""Writes drawn films as a data set for segmentation and detection."""

import csv
import json
from pathlib import Path

import cv2
import numpy as np

from dentalzoo.data.images import write_png
from dentalzoo.data.phantoms.film import FINDINGS, Finding, panoramic
from dentalzoo.data.phantoms.shapes import LOWER, UPPER
from dentalzoo.errors import DentalzooError
from dentalzoo.folders import whole_folder


def write_panoramic_dataset(
    out_dir,
    count: int,
    seed: int = 0,
    height: int = 512,
    width: int = 1024,
    val_fraction: float = 0.2,
    **rates: float,
) -> Path:
    """Draws films `seed`, `seed + 1`, ... and writes them in the layout of `panoramic_teeth`.

    `images/NNNN.png` are the grey films, `masks/NNNN.png` their teeth (0 or 255),
    `teeth/NNNN.png` the FDI numbers as a palette picture, `split.csv` (id,split) says train or
    val, and `annotations.coco.json` holds the findings as COCO boxes and polygons.

    Args:
        out_dir: absent, empty, or an older data set of this function, which is replaced.
        count: how many films, at least 1.
        seed: the first film's seed.
        height, width: pixels of each film.
        val_fraction: the part for validation, in [0, 1): the last films.
        rates: passed on to `panoramic`.

    Returns:
        The folder.

    Raises:
        DentalzooError: count or val_fraction is out of range, `out_dir` holds something else, or
            what `panoramic` refuses.
    """
    if count < 1:
        raise DentalzooError(f"count must be at least 1. Received: {count!r}")
    if not 0 <= val_fraction < 1:
        raise DentalzooError(f"val_fraction must be in [0, 1). Received: {val_fraction!r}")
    categories = [{"id": i, "name": name} for i, name in enumerate(FINDINGS, 1)]
    coco = {"images": [], "annotations": [], "categories": categories}
    num_train = count - round(count * val_fraction)
    with (
        whole_folder(out_dir, "write_panoramic_dataset") as folder,
        open(folder / "split.csv", "w", newline="") as stream,
    ):
        for name in ("images", "masks", "teeth"):
            (folder / name).mkdir()
        table = csv.writer(stream, lineterminator="\n")
        table.writerow(("id", "split"))
        for index in range(count):
            film = panoramic(seed + index, height, width, **rates)
            name = f"{index:04d}"
            write_png(folder / "images" / f"{name}.png", film.image)
            write_png(folder / "masks" / f"{name}.png", film.tooth_mask.astype(np.uint8) * 255)
            write_png(folder / "teeth" / f"{name}.png", film.teeth, palette=fdi_palette())
            table.writerow((name, "train" if index < num_train else "val"))
            coco["images"].append(
                {"id": index + 1, "file_name": f"{name}.png", "height": height, "width": width}
            )
            for finding in film.findings:
                entry = {"id": len(coco["annotations"]) + 1, "image_id": index + 1}
                coco["annotations"].append(entry | _coco(finding))
        (folder / "annotations.coco.json").write_text(json.dumps(coco))
    return Path(out_dir)


def fdi_palette() -> list[tuple[int, int, int]]:
    """The colour (r, g, b) of each value from 0 to 48: one per FDI number, black for the rest.

    The hue tells the quadrant, the lightness the place in it.
    """
    palette = [(0, 0, 0)] * (max(LOWER) + 1)
    for fdi in (*UPPER, *LOWER):
        quadrant, kind = divmod(fdi, 10)
        hsv = (45 * quadrant % 180 + 2 * kind, 120 + 60 * (kind % 3), 255 - 18 * kind)
        palette[fdi] = tuple(cv2.cvtColor(np.uint8([[hsv]]), cv2.COLOR_HSV2RGB)[0, 0].tolist())
    return palette


def _coco(finding: Finding) -> dict:
    """A finding as the fields of a COCO annotation, in pixels; `fdi` is our own addition."""
    row, column = finding.corner
    rows, columns = finding.crop.shape
    doubled = np.kron(finding.crop.astype(np.uint8), np.ones((2, 2), np.uint8))
    outlines, _ = cv2.findContours(doubled, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    polygons = [((o[:, 0] + 0.5) / 2 + (column, row)).ravel().tolist() for o in outlines]
    return {
        "category_id": 1 + FINDINGS.index(finding.name),
        "bbox": [column, row, columns, rows],
        "area": int(finding.crop.sum()),
        "segmentation": polygons,
        "iscrowd": 0,
        "fdi": finding.fdi,
    }
