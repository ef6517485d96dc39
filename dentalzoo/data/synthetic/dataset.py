"""Write synthetic radiographs as a data set for segmentation and detection, jaws as Teeth3DS."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from tqdm import tqdm

from dentalzoo.data.io.images import write_png
from dentalzoo.data.io.mesh_files import write_obj
from dentalzoo.data.synthetic.crowns import crown_row, read_crown_model
from dentalzoo.data.synthetic.jaw import Jaw, upper_jaw
from dentalzoo.data.synthetic.radiograph import FINDINGS, Finding, panoramic
from dentalzoo.data.synthetic.scan import upper_scan
from dentalzoo.data.synthetic.shapes import LOWER, UPPER
from dentalzoo.errors import DentalzooError
from dentalzoo.output_dirs import whole_folder


def write_panoramic_dataset(
    out_dir: str | Path,
    count: int,
    seed: int = 0,
    height: int = 512,
    width: int = 1024,
    val_fraction: float = 0.2,
    **rates: float,
) -> Path:
    """Generate radiographs `seed`, `seed + 1`, ... and write them in the layout `panoramic_teeth`.

    `images/NNNN.png` are the grey radiographs, `masks/NNNN.png` their teeth (0 or 255),
    `teeth/NNNN.png` the FDI numbers as a palette image, `split.csv` (id,split) the split, train or
    val, and `annotations.coco.json` the findings as COCO boxes and polygons.

    Args:
        out_dir: absent, empty, or an older data set of this function, which is replaced.
        count: number of radiographs, at least 1.
        seed: seed of the first radiograph.
        height, width: pixels of each radiograph.
        val_fraction: validation fraction, in [0, 1): the last radiographs.
        rates: passed on to `panoramic`.

    Returns:
        The folder.

    Raises:
        DentalzooError: count or val_fraction is out of range, `out_dir` holds other files, or as
            `panoramic`.
    """
    _check(count, val_fraction)
    categories = [{"id": i, "name": name} for i, name in enumerate(FINDINGS, 1)]
    coco: dict[str, list[dict[str, Any]]] = {
        "images": [],
        "annotations": [],
        "categories": categories,
    }
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
            radiograph = panoramic(seed + index, height, width, **rates)
            name = f"{index:04d}"
            write_png(folder / "images" / f"{name}.png", radiograph.image)
            write_png(
                folder / "masks" / f"{name}.png", radiograph.tooth_mask.astype(np.uint8) * 255
            )
            write_png(folder / "teeth" / f"{name}.png", radiograph.teeth, palette=fdi_palette())
            table.writerow((name, "train" if index < num_train else "val"))
            coco["images"].append(
                {"id": index + 1, "file_name": f"{name}.png", "height": height, "width": width}
            )
            for finding in radiograph.findings:
                entry = {"id": len(coco["annotations"]) + 1, "image_id": index + 1}
                coco["annotations"].append(entry | _coco(finding))
        (folder / "annotations.coco.json").write_text(json.dumps(coco))
    return Path(out_dir)


def write_jaw_dataset(
    out_dir: str | Path, count: int, seed: int = 0, val_fraction: float = 0.2, **options: float
) -> Path:
    """Generate jaws `seed`, `seed + 1`, ... and write them in the layout of Teeth3DS.

    `upper/NNNN/NNNN_upper.obj` are the meshes, `upper/NNNN/NNNN_upper.json` their FDI numbers, and
    `split/training_upper.txt` and `split/validation_upper.txt` the lists of the splits.

    Args:
        out_dir: absent, empty, or an older data set of this function, which is replaced.
        count: number of jaws, at least 1.
        seed: seed of the first jaw.
        val_fraction: validation fraction, in [0, 1): the last jaws.
        options: passed on to `upper_jaw`.

    Returns:
        The folder.

    Raises:
        DentalzooError: count or val_fraction is out of range, `out_dir` holds other files, or as
            `upper_jaw`.
    """

    def generate(seed: int) -> Jaw:
        return upper_jaw(seed, **options)

    return _write_jaws(out_dir, "write_jaw_dataset", "", generate, count, seed, val_fraction)


def write_crown_rows(
    out_dir: str | Path,
    model_file: str | Path,
    count: int,
    seed: int = 0,
    val_fraction: float = 0.2,
) -> Path:
    """Generate rows of crowns `seed`, `seed + 1`, ... and write them as `write_jaw_dataset` does.

    Their names are `row_NNNN_upper`, so that one folder can hold both rows and jaws.

    Args:
        out_dir: absent, empty, or an older data set of this function, which is replaced.
        model_file: of `dentalzoo.data.synthetic.read_crown_model`.
        count: number of rows, at least 1.
        seed: seed of the first row.
        val_fraction: validation fraction, in [0, 1): the last rows.

    Returns:
        The folder.

    Raises:
        DentalzooError: count, seed or val_fraction is out of range, or `out_dir` holds other files.
        BadFile: the model cannot be used.
    """
    model = read_crown_model(model_file)

    def generate(seed: int) -> Jaw:
        return crown_row(model, seed)

    return _write_jaws(out_dir, "write_crown_rows", "row_", generate, count, seed, val_fraction)


def write_jaw_scans(
    out_dir: str | Path,
    count: int,
    seed: int = 0,
    val_fraction: float = 0.2,
    model_file: str | Path | None = None,
) -> Path:
    """Generate scans `seed`, `seed + 1`, ... and write them as `write_jaw_dataset` does.

    Their names are `scan_NNNN_upper`.

    Args:
        out_dir, count, seed, val_fraction: of `write_jaw_dataset`.
        model_file: of `dentalzoo.data.synthetic.read_crown_model`; None: no crowns of real shape.

    Returns:
        The folder.

    Raises:
        DentalzooError, BadFile: as `write_crown_rows`.
    """
    model = None if model_file is None else read_crown_model(model_file)

    def generate(seed: int) -> Jaw:
        return upper_scan(seed, model)

    return _write_jaws(out_dir, "write_jaw_scans", "scan_", generate, count, seed, val_fraction)


def _write_jaws(
    out_dir: str | Path,
    writer: str,
    prefix: str,
    generate: Callable[[int], Jaw],
    count: int,
    seed: int,
    val_fraction: float,
) -> Path:
    """Write the jaws that `generate` returns for `seed`, `seed + 1`, ... as Teeth3DS."""
    _check(count, val_fraction)
    num_train = count - round(count * val_fraction)
    names = [f"{prefix}{index:04d}" for index in range(count)]
    with whole_folder(out_dir, writer) as folder:
        for index, name in enumerate(tqdm(names, "generating", leave=False, disable=None)):
            jaw = generate(seed + index)
            stem = folder / "upper" / name / f"{name}_upper"
            stem.parent.mkdir(parents=True)
            write_obj(stem.with_suffix(".obj"), jaw.vertices, jaw.faces)
            number = {0: 0} | {fdi: i for i, fdi in enumerate(jaw.teeth, 1)}
            labels = jaw.labels.tolist()
            about = {"id_patient": name, "jaw": "upper", "labels": labels}
            about["instances"] = [number[fdi] for fdi in labels]
            stem.with_suffix(".json").write_text(json.dumps(about))
        (folder / "split").mkdir()
        for list_name, part in (("training", names[:num_train]), ("validation", names[num_train:])):
            rows = "".join(f"{name}_upper\n" for name in part)
            (folder / "split" / f"{list_name}_upper.txt").write_text(rows)
    return Path(out_dir)


def fdi_palette() -> list[tuple[int, int, int]]:
    """Return the colour (r, g, b) of each value from 0 to 48: black for all but FDI numbers.

    The hue is by the quadrant, the lightness by the position in it.
    """
    palette = [(0, 0, 0)] * (max(LOWER) + 1)
    for fdi in (*UPPER, *LOWER):
        quadrant, kind = divmod(fdi, 10)
        hsv = (45 * quadrant % 180 + 2 * kind, 120 + 60 * (kind % 3), 255 - 18 * kind)
        pixel = np.array([[hsv]], np.uint8)
        red, green, blue = cv2.cvtColor(pixel, cv2.COLOR_HSV2RGB)[0, 0].tolist()
        palette[fdi] = red, green, blue
    return palette


def _coco(finding: Finding) -> dict[str, Any]:
    """Return the fields of a COCO annotation for a finding, in pixels; `fdi` is our addition."""
    row, column = finding.corner
    rows, columns = finding.crop.shape
    doubled: np.ndarray = np.kron(finding.crop.astype(np.uint8), np.ones((2, 2), np.uint8))
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


def _check(count: int, val_fraction: float) -> None:
    if count < 1:
        raise DentalzooError(f"count must be at least 1. Received: {count!r}")
    if not 0 <= val_fraction < 1:
        raise DentalzooError(f"val_fraction must be in [0, 1). Received: {val_fraction!r}")
