"""Boxes of any number of images, in the formats that other tools read."""

import csv
import io
import os
import shutil
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from dentalzoo.atomic import write_atomically
from dentalzoo.data.boxes import Box, BoxSample
from dentalzoo.data.dicom_out.writer import ImageResult
from dentalzoo.data.formats.vott import write_vott_v1, write_vott_v2
from dentalzoo.data.io.images import read_image, write_png
from dentalzoo.data.pipeline.prefetch import for_each
from dentalzoo.errors import DentalzooError
from dentalzoo.tasks.base import PredictionReport, dicom_writer, named_images, output_names
from dentalzoo.tasks.detection.drawing import overlay
from dentalzoo.tasks.detection.inference import Detections, Detector, operating_threshold
from dentalzoo.tasks.detection.results import category_ids, coco_results
from dentalzoo.tasks.options import DetectionPredictOptions
from dentalzoo.tasks.projects import write_projects

if TYPE_CHECKING:
    from dentalzoo.bundle import Bundle

_COLUMNS = ("file", "class", "score", "left", "top", "right", "bottom", "width", "height")


def predict(
    bundle: "Bundle",
    inputs: str | Path | Iterable[str | Path],
    out: str | Path,
    *,
    options: DetectionPredictOptions = DetectionPredictOptions(),
) -> PredictionReport:
    """Find boxes in images and write `out`/detections.json and `out`/detections.csv.

    detections.json is COCO's list of results: "image_id", counted from 1 in the order of the
    images, "category_id" as in the COCO data that the bundle was trained on, else from 1 in the
    order of its classes, which is logged, "bbox" (left, top, width, height in pixels of the upright
    image) and "score"; "file_name" is the image's path below the folder that holds all of them.
    detections.csv has a row for each box (left, top, right, bottom, and the image's size, in
    pixels), and one with the name and the size alone for an image without any. Both are whole or
    absent, whenever the process dies.

    Args:
        bundle: of the task "detection".
        inputs: images, and folders whose images are taken, one level deep.
        out: a folder, made where it is absent; no input may lie in it.
        options: `overlay` also writes `out`/<stem>_overlay.png, the image with its boxes, see
            `dentalzoo.tasks.base.output_names`. Without `score_threshold` the bundle's own is used,
            else 0.5. With `teeth` the boxes of an image are in the order of quadrants, 11..18,
            21..28, ... `vott` 1 and 2 also write projects that open in VoTT 1
            (`out`/vott1/<folder>.json for each folder of images) and VoTT 2
            (`out`/vott2/<name of out>.vott), to be corrected there. `dicom` also writes
            `out`/<stem>_sr.dcm and `out`/<stem>_sc.dcm for images that are DICOM; one that is not
            has its boxes as always, and its reason among those that failed. `format` also writes
            projects of annotation tools, `out`/<format>/, with the images. `anonymize` replaces the
            names, and writes their key to `out`_key.csv. For the others see `inference.Detector`.

    Returns:
        The number of images with a result, and the path and reason of each that failed, which is
        also logged in one line; the rest is still written.

    Raises:
        DentalzooError: there is no image, `out` holds inputs or cannot be written, or an option
            does not suit the bundle.
    """
    if options.anonymize and options.vott:
        raise DentalzooError(
            "vott cannot be combined with anonymize: its projects name the images by their paths; "
            'format="vott" (--format vott) writes a project with images'
        )
    threshold = operating_threshold(bundle, options.score_threshold)
    detector = Detector(bundle, options)
    out, report = Path(out), PredictionReport()
    taken = (*(("overlay",) if options.overlay else ()), *options.dicom)
    names = named_images(inputs, out, taken, options.anonymize)
    parameters = {"score_threshold": f"{threshold:g}"}
    dicom = dicom_writer(bundle, out, options, parameters)
    files = _file_names(list(names))
    if options.anonymize:
        files = {path: f"{name}{path.suffix}" for path, name in names.items()}
    ids = category_ids(detector.classes, bundle.metadata.get("training", {}).get("category_ids"))
    samples: list[BoxSample] = []
    # The JSON is kept aside, so that both files are made in one pass and in constant memory.
    with tempfile.TemporaryFile() as stream:
        entries = _text(stream)

        def write_csv(file: BinaryIO) -> None:
            table = _text(file, newline="")
            rows = csv.writer(table, lineterminator="\n")
            rows.writerow(_COLUMNS)
            separator = "[\n"
            for number, path, image, detections in _detections(
                detector, list(names), threshold, report
            ):
                height, width = image.shape[:2]
                labels = [detector.classes[label - 1] for label in detections.classes]
                rows.writerows(_rows(files[path], (height, width), labels, detections))
                for entry in coco_results(number, files[path], (height, width), detections, ids):
                    entries.write(separator + entry)
                    separator = ",\n"
                drawn = partial(
                    overlay,
                    image,
                    detections.boxes,
                    detections.classes,
                    detector.classes,
                    detections.scores,
                )
                if options.overlay:
                    write_png(out / f"{names[path]}_overlay.png", drawn())
                if dicom:
                    result = ImageResult(
                        boxes=detections.boxes,
                        scores=detections.scores,
                        labels=labels,
                        overlay=drawn,
                    )
                    dicom.write(path, names[path], result, report.failed)
                if options.vott or options.format:
                    samples.append(_sample(path, names[path], detections, labels))
                report.written += 1
            entries.write("[]\n" if separator == "[\n" else "\n]\n")
            table.flush()
            table.detach()

        write_atomically(out / "detections.csv", write_csv)
        entries.flush()
        stream.seek(0)
        write_atomically(out / "detections.json", lambda file: shutil.copyfileobj(stream, file))
        entries.detach()
    _write_vott(out, samples, detector.classes, options.vott)
    write_projects(samples, out, detector.classes, options.format)
    if dicom:
        dicom.close()
    return report


def _text(stream: BinaryIO, newline: str | None = None) -> io.TextIOWrapper:
    return io.TextIOWrapper(stream, "utf-8", errors="backslashreplace", newline=newline)


def _detections(
    detector: Detector, images: Sequence[Path], threshold: float, report: PredictionReport
) -> Iterator[tuple[int, Path, np.ndarray, Detections]]:
    """Yield number, path, image and boxes; an image that fails keeps its number."""

    def detect(_: tuple[int, Path], image: np.ndarray) -> Detections:
        detections = detector(image)
        detections = detections.take(detections.scores >= threshold)
        if detector.numbers:
            numbers = np.array(detector.numbers)[detections.classes - 1]
            detections = detections.take(np.argsort(numbers, kind="stable"))
        return detections

    for (number, path), image, detections in for_each(
        list(enumerate(images, 1)),
        lambda item: read_image(item[1]),
        detect,
        title="detecting",
        failed=report.failed,
        name=lambda item: str(item[1]),
    ):
        yield number, path, image, detections


def _rows(
    file: str, size: tuple[int, int], labels: Sequence[str], detections: Detections
) -> Iterator[list[object]]:
    """Yield the rows of an image in the table; one with its size alone where it has no box."""
    height, width = size
    edges = np.asarray(detections.boxes, np.float64) * [*size, *size]
    for name, score, box in zip(labels, detections.scores, edges, strict=True):
        top, left, bottom, right = (f"{edge:.2f}" for edge in box)
        yield [file, name, f"{score:.6g}", left, top, right, bottom, width, height]
    if not len(detections):
        yield [file, *[""] * 6, width, height]


def _file_names(images: Sequence[Path]) -> dict[Path, str]:
    """Return the paths below the folder that holds all images."""
    folder = os.path.commonpath([path.absolute().parent for path in images])
    return {path: path.absolute().relative_to(folder).as_posix() for path in images}


def _sample(path: Path, name: str, detections: Detections, labels: Sequence[str]) -> BoxSample:
    boxes = tuple(
        Box(label, top, left, bottom, right, score=round(float(score), 6))
        for label, (top, left, bottom, right), score in zip(
            labels, detections.boxes.tolist(), detections.scores, strict=True
        )
    )
    return BoxSample(name=name, image=path, boxes=boxes, group=name, split="")


def _write_vott(
    out: Path, samples: Sequence[BoxSample], classes: Sequence[str], versions: Sequence[int]
) -> None:
    folders: dict[Path, list[BoxSample]] = defaultdict(list)
    for sample in samples:
        folders[sample.image.absolute().parent].append(sample)
    if 1 in versions:
        names = output_names([folder / "project" for folder in folders])
        for name, (folder, mine) in zip(names, folders.items(), strict=True):
            name = folder.name if len(folders) == 1 else name.removesuffix("_project")
            write_vott_v1(out / "vott1" / f"{name}.json", mine, classes)
    if 2 in versions and samples:
        write_vott_v2(out / "vott2", samples, classes, out.resolve().name)
