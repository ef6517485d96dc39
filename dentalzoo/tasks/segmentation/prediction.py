"""Masks of any number of images, written one by one."""

import logging
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dentalzoo.data.dicom_out.writer import ImageResult
from dentalzoo.data.formats.base import BoxSample
from dentalzoo.data.formats.outlines import objects_of_mask
from dentalzoo.data.io.images import encode_png
from dentalzoo.errors import DentalzooError
from dentalzoo.plots.palette import palette
from dentalzoo.tasks.base import PredictionReport
from dentalzoo.tasks.options import SegmentationPredictOptions
from dentalzoo.tasks.predictor import DicomPredictor, Item, Result, predict_all
from dentalzoo.tasks.projects import SampleSpool, box_of, plain_box, write_projects
from dentalzoo.tasks.segmentation.drawing import overlay
from dentalzoo.tasks.segmentation.inference import (
    THRESHOLD,
    num_channels,
    refuse_threshold,
    segment,
)

if TYPE_CHECKING:
    from dentalzoo.bundle import Bundle

_log = logging.getLogger("dentalzoo")

_TOLERANCE = 1.0  # ours, pixels: polygons along the edges of pixels have too many points to edit


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
            polygons that follow the masks within a pixel. `anonymize` replaces the names, and
            writes their key to `out`_key.csv.

    Returns:
        The number of images with a result, and the path and reason of each that failed, which is
        also logged in one line; the rest is still written.

    Raises:
        DentalzooError: there is no image, `out` holds inputs or cannot be written, a threshold is
            given for a bundle of several classes, `classes` are not as many as the bundle's, or
            an option of DICOM does not suit.
    """
    return predict_all(Predictor(bundle, options), inputs, out)


class Predictor(DicomPredictor):
    """Masks of images, see `predict`."""

    title = "segmenting"

    def __init__(self, bundle: "Bundle", options: SegmentationPredictOptions) -> None:
        refuse_threshold(bundle, options.threshold)
        self._binary = num_channels(bundle) == 1
        threshold = THRESHOLD if options.threshold is None else options.threshold
        super().__init__(bundle, options, {"threshold": f"{threshold:g}"} if self._binary else {})
        named = options.dicom or options.format or options.classes
        self._classes = _class_names(bundle, options) if named else ()

    def compute(self, item: Item, value: np.ndarray) -> np.ndarray:
        """Return the class ids, (H, W, 1) uint8."""
        return segment(self._bundle, value, self.options.threshold)

    def results(self, item: Item, value: np.ndarray, prediction: np.ndarray) -> Result:
        mask, record = prediction, dict[str, Any]()
        if self._binary:
            png = encode_png(mask * np.uint8(255))
        else:
            png = encode_png(mask, palette=palette())
        drawn = partial(overlay, value, mask)
        files = {f"{item.name}.png": png} | self._overlay_file(item, drawn)
        image = ImageResult(mask, self._classes, palette()[1:], overlay=drawn)
        more, problems = self._dicom_files(item, image, record)
        files |= more
        if self.options.format:
            objects = objects_of_mask(mask[..., 0], self._classes, _TOLERANCE)
            record["objects"] = [plain_box(box) for box in objects]
        return Result(files, record, problems)

    def combine(self, records: Iterable[tuple[Item, Mapping[str, Any]]], out: Path) -> list[Path]:
        samples = SampleSpool()
        for item, record in records:
            if self.options.format:
                boxes = tuple(box_of(values) for values in record["objects"])
                samples.append(BoxSample(item.name, item.path, boxes))
            if self._dicom:
                self._dicom.add_identity(record["identity"])
        written = write_projects(samples, out, self._classes, self.options.format)
        if self._dicom:
            self._dicom.close()
        return written


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
