"""Boxes of any number of images, in the formats that other tools read."""

import csv
import io
import json
import logging
import os
import shutil
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from dentalzoo.atomic import write_atomically
from dentalzoo.data.boxes import Box, BoxSample
from dentalzoo.data.formats.vott_writer import write_vott_v1, write_vott_v2
from dentalzoo.data.io.images import list_images, read_image, write_png
from dentalzoo.data.pipeline.prefetch import read_ahead
from dentalzoo.errors import BadFile, DentalzooError
from dentalzoo.output_dirs import make_folder
from dentalzoo.tasks.base import PredictionReport, output_names
from dentalzoo.tasks.detection.coco_scores import to_pixels
from dentalzoo.tasks.detection.drawing import overlay as draw_overlay
from dentalzoo.tasks.detection.inference import Detections, Detector, threshold_of

_log = logging.getLogger("dentalzoo")
_COLUMNS = ("file", "class", "score", "left", "top", "right", "bottom", "width", "height")


def predict(
    bundle,
    inputs: str | Path | Iterable[str | Path],
    out: str | Path,
    overlay: bool = False,
    *,
    score_threshold: float | None = None,
    nms_iou: float | None = None,
    max_per_class: int | None = None,
    teeth: str | None = None,
    vott: Sequence[int] = (),
) -> PredictionReport:
    """Finds boxes in images and writes `out`/detections.json and `out`/detections.csv.

    detections.json is COCO's list of results: "image_id", counted from 1 in the order of the
    images, "category_id" from 1, "bbox" (left, top, width, height in pixels of the upright
    image) and "score"; "file_name" says which image, from the folder that holds all of them.
    detections.csv has a row for each box (left, top, right, bottom, and the image's size, in
    pixels), and one with the name and the size alone for an image without any. Both are whole or
    absent, whenever the process dies.

    Args:
        bundle: a `Bundle` of the task "detection".
        inputs: images, and folders whose images are taken, one level deep.
        out: a folder, made where it is absent; no input may lie in it.
        overlay: write also `out`/<stem>_overlay.png, the image with its boxes; names as for
            `dentalzoo.tasks.segmentation.predict`.
        score_threshold: boxes with a lower score are left out, in [0, 1]; None for the bundle's
            own, else 0.5.
        nms_iou, max_per_class, teeth: other than the bundle's own, see `inference.Detector`;
            with `teeth` the boxes of an image are in the order of quadrants, 11..18, 21..28, ...
        vott: 1 and 2 write projects that open in VoTT 1 (`out`/vott1/<folder>.json for each folder
            of images) and VoTT 2 (`out`/vott2/<name of out>.vott), to be corrected there.

    Returns:
        What was written and what failed. An image that cannot be read is logged in one line and
        the rest goes on.

    Raises:
        DentalzooError: there is no image, `out` holds inputs or cannot be written, or an option
            is out of place.
    """
    threshold = threshold_of(bundle, score_threshold)
    detector = Detector(bundle, nms_iou, max_per_class, teeth)
    if not set(vott) <= {1, 2}:
        raise DentalzooError(f"vott is 1, 2 or both. Received: {vott!r}")
    out = Path(out)
    images = list({path.resolve(): path for path in list_images(inputs)}.values())
    if not images:
        raise DentalzooError(f"expected images or folders of images. Received: {inputs!r}")
    make_folder(out, images)
    report, samples = PredictionReport(), []
    names = dict(zip(images, output_names(images, ("overlay",) if overlay else ()), strict=True))
    files = _file_names(images)
    with tempfile.TemporaryFile() as boxes:
        text = io.TextIOWrapper(boxes, "utf-8", errors="backslashreplace")

        def write_csv(stream) -> None:
            table = io.TextIOWrapper(stream, "utf-8", errors="backslashreplace", newline="")
            rows = csv.writer(table, lineterminator="\n")
            rows.writerow(_COLUMNS)
            separator = "[\n"
            for number, path, image, found in _found(detector, images, threshold, report):
                size, labels = image.shape[:2], found.classes
                edges = np.float64(found.boxes) * [*size, *size]
                shown = [detector.classes[label - 1] for label in labels]
                for name, score, box in zip(shown, found.scores, edges, strict=True):
                    top, left, bottom, right = (f"{edge:.2f}" for edge in box)
                    place = (left, top, right, bottom, size[1], size[0])
                    rows.writerow([files[path], name, f"{score:.6g}", *place])
                if not len(found):
                    rows.writerow([files[path], *[""] * 6, size[1], size[0]])
                for label, score, box in zip(
                    labels, found.scores, to_pixels(found.boxes, size), strict=True
                ):
                    entry = {
                        "image_id": number,
                        "category_id": int(label),
                        "bbox": [round(float(part), 3) for part in box],
                        "score": round(float(score), 6),
                        "file_name": files[path],
                    }
                    text.write(separator + json.dumps(entry, ensure_ascii=False))
                    separator = ",\n"
                if overlay:
                    drawn = draw_overlay(image, found.boxes, labels, detector.classes, found.scores)
                    write_png(out / f"{names[path]}_overlay.png", drawn)
                if vott:
                    samples.append(_sample(path, names[path], found, shown))
                report.written += 1
            text.write("[]\n" if separator == "[\n" else "\n]\n")
            table.flush()
            table.detach()

        write_atomically(out / "detections.csv", write_csv)
        text.flush()
        boxes.seek(0)
        write_atomically(out / "detections.json", lambda file: shutil.copyfileobj(boxes, file))
        text.detach()
    _write_vott(out, samples, detector.classes, vott)
    return report


def _found(
    detector: Detector, images: list[Path], threshold: float, report: PredictionReport
) -> Iterator[tuple[int, Path, np.ndarray, Detections]]:
    """Yields number, path, image and boxes; tells of what fails."""
    reading = read_ahead(read_image, images)
    with logging_redirect_tqdm():
        bar = tqdm(reading, "detecting", len(images), disable=None, unit="image")
        for number, (path, image) in enumerate(bar, 1):
            try:
                if isinstance(image, DentalzooError):
                    raise image
                found = detector(image)
            except DentalzooError as error:
                reason = error.reason if isinstance(error, BadFile) else str(error)
                _log.warning("%s: %s", path, reason)
                report.failed.append((str(path), reason))
                continue
            found = found.take(found.scores >= threshold)
            if detector.numbers:
                numbers = np.array(detector.numbers)[found.classes - 1]
                found = found.take(np.argsort(numbers, kind="stable"))
            yield number, path, image, found


def _file_names(images: Sequence[Path]) -> dict[Path, str]:
    """The paths from the folder that holds all images."""
    folder = os.path.commonpath([path.absolute().parent for path in images])
    return {path: path.absolute().relative_to(folder).as_posix() for path in images}


def _sample(path: Path, name: str, found: Detections, labels: Sequence[str]) -> BoxSample:
    boxes = tuple(
        Box(label, *(float(edge) for edge in box))
        for label, box in zip(labels, found.boxes, strict=True)
    )
    return BoxSample(name=name, image=path, boxes=boxes, group=name, split="")


def _write_vott(
    out: Path, samples: Sequence[BoxSample], classes: Sequence[str], versions: Sequence[int]
) -> None:
    folders = defaultdict(list)
    for sample in samples:
        folders[sample.image.absolute().parent].append(sample)
    if 1 in versions:
        names = output_names([folder / "project" for folder in folders])
        for name, (folder, mine) in zip(names, folders.items(), strict=True):
            name = folder.name if len(folders) == 1 else name.removesuffix("_project")
            write_vott_v1(out / "vott1" / f"{name}.json", mine, classes)
    if 2 in versions and samples:
        write_vott_v2(out / "vott2", samples, classes, out.resolve().name)
