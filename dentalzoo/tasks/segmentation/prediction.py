"""Masks of any number of images, written one by one."""

import csv
import io
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from dentalzoo.atomic import write_atomically
from dentalzoo.data.dicom_out.writer import ImageResult
from dentalzoo.data.enhancement import enhanced
from dentalzoo.data.formats.base import Box, BoxSample
from dentalzoo.data.io.images import encode_png
from dentalzoo.errors import DentalzooError
from dentalzoo.plots.palette import palette
from dentalzoo.plots.pixels import without_channel
from dentalzoo.tasks.base import PredictionReport
from dentalzoo.tasks.options import SegmentationPredictOptions
from dentalzoo.tasks.predictor import DicomPredictor, Item, Result, predict_all
from dentalzoo.tasks.projects import (
    SampleSpool,
    box_of,
    plain_box,
    predicted_objects,
    write_projects,
)
from dentalzoo.tasks.segmentation.drawing import NO_NUMBER, numbered, overlay
from dentalzoo.tasks.segmentation.inference import (
    THRESHOLD,
    flips_of,
    num_channels,
    refuse_threshold,
    segment,
    segment_and_probabilities,
)
from dentalzoo.tasks.segmentation.instances import UNNUMBERED, Numbering, Teeth, like_teeth
from dentalzoo.tasks.tooth_order import OrderWarnings, UnnumberedWarnings, out_of_order

if TYPE_CHECKING:
    from dentalzoo.bundle import Bundle

_log = logging.getLogger("dentalzoo")

_COLUMNS = ("file", "tooth", "score", "left", "top", "right", "bottom", "area", "doubt")


def predict(
    bundle: "Bundle",
    inputs: str | Path | Iterable[str | Path],
    out: str | Path,
    *,
    options: SegmentationPredictOptions = SegmentationPredictOptions(),
) -> PredictionReport:
    """Segment images and write `out`/<stem>.png for each, at the image's own size.

    A binary mask holds 0 and 255, one of several classes is a palette PNG of class ids. Images
    that share a stem (`a.png` and `a.jpg`) keep their whole name (`a.png.png`, `a.jpg.png`), and
    where that is shared too, as many folders before it as it takes (`left_a.png.png`). An image
    given twice is written once. Every file is whole or absent, whenever the process dies.

    Args:
        bundle: of the task "segmentation".
        inputs: images, and folders whose images are taken, one level deep.
        out: a folder, made where it is absent; no input may lie in it.
        options: with `overlay` also writes `out`/<stem>_overlay.png, the image with its mask. With
            `dicom` also writes `out`/<stem>_seg.dcm, `_sr.dcm` and `_sc.dcm` for images that are
            DICOM; one that is not has its mask as always, and its reason among those that failed.
            `format` also writes projects of annotation tools, `out`/<format>/, with the images and
            polygons that follow the masks within a pixel, without areas of fewer than 16 pixels.
            `anonymize` replaces the names, and writes their key to `out`_key.csv. `instances`
            divides the mask into numbered teeth: `out`/<stem>_teeth.png holds the FDI number of
            each pixel, `out`/teeth.csv each tooth with its score, its box, its area in pixels and
            "order" as its doubt where it stands where its number cannot, which is also logged, and
            the pixels of no tooth in a row without a number; overlay, projects and DICOM have the
            teeth instead of one mask, each as one object, and what has no number as the class
            "tooth", each piece as an object. Pieces as large as teeth are logged.
            `probabilities` writes `out`/<stem>_probabilities.png, grey in 16 bits, where 65535 is
            1; of several classes `out`/<stem>_probabilities_<id>.png for each of 1..n.

    Returns:
        The number of images with a result, and the path and reason of each that failed, which is
        also logged in one line; the rest is still written.

    Raises:
        DentalzooError: there is no image, `out` holds inputs or cannot be written, a threshold is
            given for a bundle of several classes, `classes` are not as many as the bundle's,
            `instances` is no bundle that numbers teeth, or an option of DICOM does not suit.
    """
    return predict_all(Predictor(bundle, options), inputs, out)


class Predictor(DicomPredictor):
    """Masks of images, see `predict`."""

    title = "segmenting"

    def __init__(self, bundle: "Bundle", options: SegmentationPredictOptions) -> None:
        refuse_threshold(bundle, options.threshold)
        self._seen = flips_of(bundle, options.tta)
        self._binary = num_channels(bundle) == 1
        threshold = THRESHOLD if options.threshold is None else options.threshold
        parameters = {"threshold": f"{threshold:g}"} if self._binary else {}
        if options.tta:
            parameters["tta"] = " ".join(options.tta)
        if options.enhance:
            parameters["enhance"] = options.enhance
        self._numbering: Numbering | None = None
        if options.instances:
            self._numbering = Numbering(options.instances)
            parameters |= {
                "instances": self._numbering.bundle.name,
                "score_threshold": f"{self._numbering.threshold:g}",
            }
        super().__init__(bundle, options, parameters)
        self._planes: tuple[str, ...] = ()
        if options.probabilities:
            ids = range(1, num_channels(bundle))
            self._planes = tuple(f"probabilities_{i}" for i in ids) or ("probabilities",)
            self.taken += self._planes
        self._classes: tuple[str, ...] = ()
        if self._numbering:
            self.taken += ("teeth",)
            self._classes = (*self._numbering.classes, UNNUMBERED)
        elif options.dicom or options.format or options.classes:
            self._classes = _class_names(bundle, options)

    def compute(
        self, item: Item, value: np.ndarray
    ) -> tuple[np.ndarray, Teeth | None, np.ndarray | None]:
        """Return the class ids, (H, W, 1) uint8, and where wanted teeth and probabilities."""
        image, probabilities = enhanced(value, self.options.enhance), None
        given = self._bundle, image, self.options.threshold, self._seen
        if self.options.probabilities:
            mask, probabilities = segment_and_probabilities(*given)
        else:
            mask = segment(*given)
        teeth = self._numbering(image, mask) if self._numbering else None
        return mask, teeth, probabilities

    def results(
        self,
        item: Item,
        value: np.ndarray,
        prediction: tuple[np.ndarray, Teeth | None, np.ndarray | None],
    ) -> Result:
        mask, teeth, probabilities = prediction
        record: dict[str, Any] = {"empty": not mask.any()}
        if self._binary:
            png = encode_png(mask * np.uint8(255))
        else:
            png = encode_png(mask, palette=palette())
        files = {f"{item.name}.png": png}
        if probabilities is not None:
            for ending, plane in zip(self._planes, _planes(probabilities), strict=True):
                files[f"{item.name}_{ending}.png"] = encode_png(plane)
        drawn = partial(overlay, value, mask)
        if self._numbering and teeth:
            numbers = self._numbering.as_numbers(teeth.ids)
            files[f"{item.name}_teeth.png"] = encode_png(numbers, palette=palette())
            numbers_found = np.array(self._numbering.numbers)[teeth.classes - 1]
            doubted = out_of_order(teeth.boxes, teeth.scores, numbers_found)
            record["teeth"] = list(_rows(item.file, numbers_found, teeth, mask, doubted))
            record["out_of_order"] = numbers_found[doubted].tolist()
            unnumbered = (without_channel(mask) > 0) & (teeth.ids == 0)
            pieces = like_teeth(unnumbered, teeth.ids)
            share = float(unnumbered.sum() / max(1, int(np.count_nonzero(mask))))
            record["unnumbered"] = [int(pieces.max()), share]
            drawn = partial(numbered, value, np.where(unnumbered, NO_NUMBER, numbers), pieces)
            mask = np.where(unnumbered, len(self._classes), teeth.ids).astype(np.uint8)
        files |= self._overlay_file(item, drawn)
        warnings = self._warnings(value, record)
        image = ImageResult(mask, self._classes, palette()[1:], overlay=drawn, warnings=warnings)
        more, problems = self._dicom_files(item, image, record)
        files |= more
        if self.options.format:
            record["objects"] = [plain_box(box) for box in self._objects(without_channel(mask))]
        return Result(files, record, problems)

    def _objects(self, mask: np.ndarray) -> list[Box]:
        """Return the objects of projects: numbered teeth whole, all else piece by piece."""
        if not self._numbering:
            return predicted_objects(mask, self._classes)
        last = len(self._classes)  # of what has no number
        parts = (np.where(mask == last, 0, mask), True), (np.where(mask == last, mask, 0), False)
        return [box for ids, whole in parts for box in predicted_objects(ids, self._classes, whole)]

    def _combine(self, records: Iterator[tuple[Item, Mapping[str, Any]]], out: Path) -> list[Path]:
        samples = SampleSpool()
        warnings = OrderWarnings('see "doubt" in teeth.csv')
        pieces = UnnumberedWarnings()

        def taken() -> Iterator[Mapping[str, Any]]:
            for item, record in records:
                warnings.add(item.path, record.get("out_of_order", ()))
                pieces.add(item.path, *record.get("unnumbered", (0, 0)))
                if self.options.format:
                    boxes = tuple(box_of(values) for values in record["objects"])
                    samples.append(BoxSample(item.name, item.path, boxes))
                if self._dicom:
                    self._dicom.add_identity(record["identity"])
                yield record

        written = []
        if self._numbering:
            written.append(out / "teeth.csv")
            write_atomically(written[0], partial(_write_table, taken()))
        else:
            for _ in taken():
                pass
        warnings.close()
        pieces.close()
        written += write_projects(samples, out, self._classes, self.options.format)
        if self._dicom:
            self._dicom.close()
        return written


def _planes(probabilities: np.ndarray) -> Iterator[np.ndarray]:
    """Yield the probabilities of each class but the background, (H, W) uint16, 65535 for 1.

    Args:
        probabilities: (H, W, K) in [0, 1]; K = 1: of the foreground.
    """
    foreground = probabilities[..., 1:] if probabilities.shape[-1] > 1 else probabilities
    for plane in np.moveaxis(foreground, -1, 0):
        yield np.round(np.clip(plane, 0, 1) * 65535).astype(np.uint16)


def _rows(
    file: str, numbers: np.ndarray, teeth: Teeth, mask: np.ndarray, doubted: Sequence[int]
) -> Iterator[list[Any]]:
    """Yield the rows of an image in the table of teeth, at last that of the pixels of none."""
    height, width = teeth.ids.shape
    areas = np.bincount(teeth.ids.ravel(), minlength=256)
    edges = teeth.boxes.astype(np.float64) * [height, width, height, width]
    for index, (number, label) in enumerate(zip(numbers.tolist(), teeth.classes, strict=True)):
        top, left, bottom, right = (f"{edge:.2f}" for edge in edges[index])
        score, doubt = f"{teeth.scores[index]:.6g}", "order" if index in doubted else ""
        yield [file, number, score, left, top, right, bottom, int(areas[label]), doubt]
    yield [file, *[""] * 6, int(np.count_nonzero(mask) - areas[1:].sum()), ""]


def _write_table(records: Iterable[Mapping[str, Any]], stream: BinaryIO) -> None:
    text = io.TextIOWrapper(stream, "utf-8", errors="backslashreplace", newline="")
    table = csv.writer(text, lineterminator="\n")
    table.writerow(_COLUMNS)
    for record in records:
        table.writerows(record["teeth"])
    text.flush()
    text.detach()


def _class_names(bundle: "Bundle", options: SegmentationPredictOptions) -> tuple[str, ...]:
    """Return the names of the ids 1..n; a binary mask without a name is of teeth."""
    number = max(1, num_channels(bundle) - 1)
    known = options.classes or tuple(bundle.metadata.get("config", {}).get("classes") or ())
    if known and len(known) != number:
        raise DentalzooError(
            f"classes must be the {number} of {bundle.name}. Received: {', '.join(known)}"
        )
    if not known:
        known = ("tooth",) if number == 1 else tuple(f"class_{i}" for i in range(1, number + 1))
        _log.info("%s has no names of classes; taken: %s", bundle.name, ", ".join(known))
    return known
