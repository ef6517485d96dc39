"""One bundle applied to one image in memory; its result as JSON, PNG or DICOM."""

import io
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from dentalzoo import __version__
from dentalzoo.bundle.schema import cleaned
from dentalzoo.data.dicom_out.writer import DicomWriter, ImageResult
from dentalzoo.data.formats.base import Box
from dentalzoo.data.io.decode import is_image_head
from dentalzoo.data.io.images import encode_png, read_image
from dentalzoo.data.io.signatures import HEAD_BYTES
from dentalzoo.data.io.stored import StoredImage
from dentalzoo.data.teeth import tooth_numbers
from dentalzoo.errors import BadFile, DentalzooError
from dentalzoo.plots.palette import palette
from dentalzoo.plots.pixels import without_channel
from dentalzoo.tasks.detection.drawing import overlay
from dentalzoo.tasks.detector import Detections, Detector, class_names, operating_threshold
from dentalzoo.tasks.familiarity import Familiarity, image_warnings
from dentalzoo.tasks.options import BoxOptions
from dentalzoo.tasks.projects import predicted_objects
from dentalzoo.tasks.segmentation.inference import num_channels, segment

if TYPE_CHECKING:
    from dentalzoo.bundle import Bundle

NOTICE = "Research only, not for diagnosis."
JSON, PNG, DICOM = "application/json", "image/png", "application/dicom"
TASKS = ("segmentation", "detection")


class GivenImage(StoredImage):
    """An image in memory, as a path that opens as it. Nothing is written to a disk."""

    content: bytes = b""

    @classmethod
    def of(cls, content: bytes) -> "GivenImage":
        """Return the image whose file has this content."""
        image = cls("image")
        image.location, image.content = (Path(os.devnull), 0, len(content)), content
        return image

    def open(self, mode: str = "r", *args: Any, **options: Any) -> Any:
        """Open the image for reading, in binary mode."""
        return io.BytesIO(self.content)

    def is_file(self, **options: Any) -> bool:
        """Return True: it opens as one."""
        return True


class UnknownKind(BadFile):
    """A file that is no image."""


@dataclass(frozen=True)
class Prediction:
    """What a bundle found in an image.

    Attributes:
        image: (H, W, 1 or 3) uint8.
        mask: (H, W) uint8 class ids, of a bundle for segmentation.
        detections: of a bundle for detection.
        familiarity: see `tasks.familiarity`; None where the bundle has none.
    """

    image: np.ndarray
    mask: np.ndarray | None
    detections: Detections | None
    familiarity: dict[str, Any] | None


class Served:
    """A bundle that is applied to images; one for all threads.

    Args:
        bundle: for segmentation or detection.

    Raises:
        DentalzooError: it is for another task.
    """

    def __init__(self, bundle: "Bundle") -> None:
        if bundle.task not in TASKS:
            raise DentalzooError(
                f"a bundle to serve must be for {' or '.join(TASKS)}. "
                f"Received: {bundle.name}, for {bundle.task}"
            )
        self.bundle, self.name, self.task = bundle, bundle.name, bundle.task
        self._familiarity = Familiarity(bundle)
        self._detector: Detector | None = None
        if self.task == "detection":
            self.classes = class_names(bundle)
            teeth = "ordered" if tooth_numbers(self.classes) else None
            self._detector = Detector(bundle, BoxOptions(teeth=teeth))
        else:
            count = max(1, num_channels(bundle) - 1)
            known = tuple(bundle.metadata.get("config", {}).get("classes") or ())
            unnamed = ("tooth",) if count == 1 else [f"class_{i}" for i in range(1, count + 1)]
            self.classes = known or tuple(unnamed)

    def about(self) -> dict[str, Any]:
        """Return what `GET /v1` lists."""
        return {
            "name": self.name,
            "task": self.task,
            "classes": list(self.classes),
            "licence": self.bundle.metadata.get("data", {}).get("licence"),
            "returns": [JSON, PNG, DICOM],
        }

    def predict(self, content: bytes, score_threshold: float | None = None) -> Prediction:
        """Apply the bundle.

        Args:
            content: of an image file, DICOM too.
            score_threshold: of boxes; None for the bundle's own.

        Raises:
            DentalzooError: the image cannot be read, or the bundle refuses it.
        """
        if not is_image_head(content[:HEAD_BYTES]):
            raise UnknownKind("image", "must be PNG, JPEG, TIFF, BMP, GIF, WebP or DICOM")
        image = read_image(GivenImage.of(content))
        mask = detections = None
        if self._detector:
            detections = self._detector(image)
            threshold = operating_threshold(self.bundle, score_threshold)
            detections = detections.take(detections.scores >= threshold)
            empty = bool(self._detector.numbers) and not len(detections)  # no tooth at all
        else:
            mask = without_channel(segment(self.bundle, image))
            empty = not mask.any()
        familiarity = None
        if self._familiarity.can_be_called():
            familiarity = self._familiarity(image, empty)
        return Prediction(image, mask, detections, familiarity)

    def objects(self, prediction: Prediction) -> list[Box]:
        """Return what was found as objects, with polygons or with scores."""
        if prediction.mask is not None:
            return predicted_objects(filled(prediction.mask), self.classes)
        found = prediction.detections
        assert found is not None
        boxes = []
        for box, score, label in zip(found.boxes, found.scores, found.classes, strict=True):
            top, left, bottom, right = (float(edge) for edge in np.clip(box, 0, 1))
            name = self.classes[label - 1]
            boxes.append(Box(name, top, left, bottom, right, score=float(score)))
        return boxes

    def as_json(self, prediction: Prediction) -> dict[str, Any]:
        """Return the result as plain values; docs/serving.md describes them."""
        height, width = prediction.image.shape[:2]
        entries = []
        for box in self.objects(prediction):
            edges = box.left * width, box.top * height, box.right * width, box.bottom * height
            entry: dict[str, Any] = {"class": box.label, "box": [round(e, 2) for e in edges]}
            if box.score is not None:
                entry["score"] = round(box.score, 6)
            elif isinstance(box.outline, tuple):
                entry["polygons"] = [list(points) for points in box.outline]
            entries.append(entry)
        known = prediction.familiarity
        content = {
            "bundle": self.name,
            "notice": NOTICE,
            "image": {"width": width, "height": height},
            "familiarity": known and {k: known[k] for k in ("verdict", "score", "reasons")},
            "objects": entries,
        }
        result: dict[str, Any] = cleaned(content)
        return result

    def as_png(self, prediction: Prediction) -> bytes:
        """Return the mask as `predict` writes it, or the image with its boxes."""
        if prediction.mask is None:
            found = prediction.detections
            assert found is not None
            drawn = overlay(
                prediction.image, found.boxes, found.classes, self.classes, found.scores
            )
            return encode_png(drawn)
        if len(self.classes) == 1:
            return encode_png(prediction.mask * np.uint8(255))
        return encode_png(prediction.mask, palette=palette())

    def as_dicom(self, prediction: Prediction, content: bytes) -> bytes:
        """Return a mask as Segmentation, boxes as Structured Report, with what is warned of.

        Raises:
            DentalzooError: the image is no DICOM file, or lacks what a result refers to.
        """
        warnings = image_warnings([prediction.familiarity])
        if prediction.mask is not None:
            kind, parameters = "seg", {}
            shown = prediction.mask, self.classes, palette()[1:]
            result = ImageResult(*shown, warnings=warnings)
        else:
            found = prediction.detections
            assert found is not None
            labels = [self.classes[label - 1] for label in found.classes]
            kind = "sr"
            parameters = {"score_threshold": f"{operating_threshold(self.bundle, None):g}"}
            result = ImageResult(
                boxes=found.boxes, scores=found.scores, labels=labels, warnings=warnings
            )
        version = f"dentalzoo {__version__}"
        writer = DicomWriter(
            Path(), (kind,), name=self.name, version=version, parameters=parameters
        )
        files, reason = writer.files(GivenImage.of(content), "result", result)
        if not files:
            raise BadFile("image", reason)
        return next(iter(files.values()))


def filled(mask: np.ndarray) -> np.ndarray:
    """Return a mask (H, W) of class ids whose areas have no holes: polygons could not tell them."""
    solid = np.zeros_like(mask)
    for label in np.unique(mask[mask > 0]):
        contours, _ = cv2.findContours(
            np.asarray(mask == label, np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE
        )
        cv2.drawContours(solid, contours, -1, int(label), cv2.FILLED)
    return np.where(mask > 0, mask, solid)
