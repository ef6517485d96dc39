"""Boxes of any number of images, in the formats that other tools read."""

import csv
import io
import shutil
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from dentalzoo.atomic import write_atomically
from dentalzoo.data.boxes import Box, BoxSample
from dentalzoo.data.dicom_out.writer import ImageResult
from dentalzoo.data.enhancement import enhanced
from dentalzoo.data.formats.vott import write_vott_v1, write_vott_v2
from dentalzoo.data.io.stored import StoredImage
from dentalzoo.data.teeth import tooth_numbers
from dentalzoo.errors import DentalzooError
from dentalzoo.tasks.base import PredictionReport, output_names
from dentalzoo.tasks.detection.drawing import overlay
from dentalzoo.tasks.detection.results import category_ids, coco_results
from dentalzoo.tasks.detector import (
    Detections,
    Detector,
    class_names,
    operating_threshold,
)
from dentalzoo.tasks.options import DetectionPredictOptions
from dentalzoo.tasks.predictor import DicomPredictor, Item, Plan, Result, predict_all
from dentalzoo.tasks.projects import SOURCE, SampleSpool, write_projects
from dentalzoo.tasks.tooth_order import OrderWarnings, out_of_order

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
            else 0.5. Unless `teeth` is "all", boxes of FDI classes are one for each tooth, in the
            order of quadrants, 11..18, 21..28, ..., and numbers that stand where they cannot are
            logged. `vott` 1 and 2 also write projects for VoTT 1
            (`out`/vott1/<folder>.json for each folder of images) and VoTT 2
            (`out`/vott2/<name of out>.vott), to be corrected there. `dicom` also writes
            `out`/<stem>_sr.dcm and `out`/<stem>_sc.dcm for images that are DICOM; one that is not
            has its boxes as always, and its reason among those that failed. `format` also writes
            projects of annotation tools, `out`/<format>/, with the images. `anonymize` replaces the
            names, and writes their key to `out`_key.csv. For the others see `detector.Detector`.

    Returns:
        The number of images with a result, and the path and reason of each that failed, which is
        also logged in one line; the rest is still written.

    Raises:
        DentalzooError: there is no image, `out` holds inputs or cannot be written, or an option
            does not suit the bundle.
    """
    return predict_all(Predictor(bundle, options), inputs, out)


class Predictor(DicomPredictor):
    """Boxes of images, see `predict`."""

    title = "detecting"

    def __init__(self, bundle: "Bundle", options: DetectionPredictOptions) -> None:
        if options.anonymize and options.vott:
            raise DentalzooError(
                "vott cannot be combined with anonymize: its projects name the images by their "
                'paths; format="vott" (--format vott) writes a project with images'
            )
        self._threshold = operating_threshold(bundle, options.score_threshold)
        super().__init__(bundle, options, {"score_threshold": f"{self._threshold:g}"})
        if options.teeth is None and tooth_numbers(class_names(bundle)) is not None:
            options = replace(options, teeth="single")
        self._detector = Detector(bundle, options)
        self._classes = self._detector.classes

    def plan(self, inputs: str | Path | Iterable[str | Path], out: Path) -> Plan:
        plan = super().plan(inputs, out)
        if self.options.vott and any(isinstance(item.path, StoredImage) for item in plan.items):
            raise DentalzooError(
                "vott must be given images that are files, which its projects name; "
                'format="vott" (--format vott) writes a project with images'
            )
        return plan

    def compute(self, item: Item, value: np.ndarray) -> Detections:
        detections = self._detector(enhanced(value, self.options.enhance))
        detections = detections.take(detections.scores >= self._threshold)
        if self._detector.numbers:
            detections = detections.take(np.argsort(self._numbers(detections), kind="stable"))
        return detections

    def _numbers(self, detections: Detections) -> np.ndarray:
        return np.array(self._detector.numbers)[detections.classes - 1]

    def results(self, item: Item, value: np.ndarray, prediction: Detections) -> Result:
        boxes, scores, classes = prediction.boxes, prediction.scores, prediction.classes
        record: dict[str, Any] = {
            "size": [*value.shape[:2]],
            "boxes": boxes.tolist(),
            "scores": scores.tolist(),
            "classes": classes.tolist(),
            "empty": bool(self._detector.numbers) and not len(prediction),  # no tooth at all
        }
        if self._detector.numbers:
            numbers = self._numbers(prediction)
            record["out_of_order"] = numbers[out_of_order(boxes, scores, numbers)].tolist()
        drawn = partial(overlay, value, boxes, classes, self._classes, scores)
        files = self._overlay_file(item, drawn)
        image = ImageResult(
            boxes=boxes,
            scores=scores,
            labels=self._labels(prediction),
            overlay=drawn,
            warnings=self._warnings(value, record),
        )
        more, problems = self._dicom_files(item, image, record)
        files |= more
        return Result(files, record, problems)

    def _combine(self, records: Iterator[tuple[Item, Mapping[str, Any]]], out: Path) -> list[Path]:
        samples = SampleSpool()
        known = self._bundle.metadata.get("training", {}).get("category_ids")
        ids = category_ids(self._classes, known)
        warnings = OrderWarnings("--teeth ordered leaves them out")
        # The JSON is kept aside, so that both files are made in one pass and in constant memory.
        with tempfile.TemporaryFile() as stream:
            entries = _text(stream)

            def write_csv(file: BinaryIO) -> None:
                table = _text(file, newline="")
                rows = csv.writer(table, lineterminator="\n")
                rows.writerow(_COLUMNS)
                separator = "[\n"
                for item, record in records:
                    warnings.add(item.path, record.get("out_of_order", ()))
                    detections, size = _detections(record), (record["size"][0], record["size"][1])
                    labels = self._labels(detections)
                    rows.writerows(_rows(item.file, size, labels, detections))
                    for entry in coco_results(item.number, item.file, size, detections, ids):
                        entries.write(separator + entry)
                        separator = ",\n"
                    if self._dicom:
                        self._dicom.add_identity(record["identity"])
                    if self.options.vott or self.options.format:
                        samples.append(_sample(item, detections, labels))
                entries.write("[]\n" if separator == "[\n" else "\n]\n")
                table.flush()
                table.detach()

            write_atomically(out / "detections.csv", write_csv)
            entries.flush()
            stream.seek(0)
            write_atomically(out / "detections.json", lambda file: shutil.copyfileobj(stream, file))
            entries.detach()
        warnings.close()
        written = [out / "detections.csv", out / "detections.json"]
        written += _write_vott(out, samples, self._classes, self.options.vott)
        written += write_projects(samples, out, self._classes, self.options.format)
        if self._dicom:
            self._dicom.close()
        return written

    def _labels(self, detections: Detections) -> list[str]:
        return [self._classes[label - 1] for label in detections.classes]


def _detections(record: Mapping[str, Any]) -> Detections:
    """Return the boxes that a record describes."""
    return Detections(
        np.array(record["boxes"], np.float32).reshape(-1, 4),
        np.array(record["scores"], np.float32),
        np.array(record["classes"], np.int32),
    )


def _text(stream: BinaryIO, newline: str | None = None) -> io.TextIOWrapper:
    return io.TextIOWrapper(stream, "utf-8", errors="backslashreplace", newline=newline)


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


def _sample(item: Item, detections: Detections, labels: Sequence[str]) -> BoxSample:
    boxes = tuple(
        Box(label, top, left, bottom, right, score=round(float(score), 6), source=SOURCE)
        for label, (top, left, bottom, right), score in zip(
            labels, detections.boxes.tolist(), detections.scores, strict=True
        )
    )
    return BoxSample(name=item.name, image=item.path, boxes=boxes, group=item.name, split="")


def _write_vott(
    out: Path, samples: Sequence[BoxSample], classes: Sequence[str], versions: Sequence[int]
) -> list[Path]:
    written = []
    if 1 in versions:
        folders: dict[Path, list[int]] = defaultdict(list)
        for index, sample in enumerate(samples):
            folders[sample.image.absolute().parent].append(index)
        names = output_names([folder / "project" for folder in folders])
        for name, (folder, mine) in zip(names, folders.items(), strict=True):
            name = folder.name if len(folders) == 1 else name.removesuffix("_project")
            written.append(out / "vott1" / f"{name}.json")
            write_vott_v1(written[-1], (samples[index] for index in mine), classes)
    if 2 in versions and samples:
        written.append(write_vott_v2(out / "vott2", samples, classes, out.resolve().name))
    return written
