"""Boxes of an image, for measuring and applying a bundle."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from dentalzoo.data.teeth import tooth_numbers
from dentalzoo.errors import DentalzooError
from dentalzoo.tasks import postprocessing
from dentalzoo.tasks.calibration import scaling_of
from dentalzoo.tasks.flips import Flip, flips_of
from dentalzoo.tasks.options import BoxOptions

if TYPE_CHECKING:
    from dentalzoo.bundle import Bundle

SCORE_THRESHOLD = 0.5  # what the TF Object Detection API draws (min_score_thresh)
MAX_CANDIDATES, MIN_SCORE = 1000, 0.01  # of a class before suppression: ours


@dataclass(frozen=True)
class Detections:
    """The boxes of an image, the best first.

    Attributes:
        boxes: (K, 4) float32, top, left, bottom, right in [0, 1] of the image.
        scores: (K,) float32 in [0, 1].
        classes: (K,) int32, from 1.
    """

    boxes: np.ndarray
    scores: np.ndarray
    classes: np.ndarray

    def __len__(self) -> int:
        return len(self.scores)

    def take(self, chosen: np.ndarray) -> "Detections":
        """Return those of indices or of a mask."""
        return Detections(self.boxes[chosen], self.scores[chosen], self.classes[chosen])


class Detector:
    """A bundle as a function from an image to its boxes, with its own settings or with others.

    Args:
        bundle: of the task "detection".
        options: `nms_iou` and `max_per_class` other than the bundle's own work on the signature
            `raw` where the bundle has it; without it, on what the bundle kept, and then a value
            above its own changes nothing. `teeth` is for classes that are FDI numbers: "single"
            gives each tooth one number of its own, see `one_per_tooth`, "ordered" keeps of these
            only boxes that stand as teeth do, see `in_quadrant_order`; None and "all" keep all.
            `tta` sees the image flipped too and fuses the boxes, see `postprocessing.fuse`; their
            scores then say how far the views agree. `enhance` is for who reads the images.

    Raises:
        DentalzooError: the bundle has no names of classes, or `teeth` is given and these are no FDI
            numbers.
    """

    def __init__(self, bundle: "Bundle", options: BoxOptions = BoxOptions()):
        self.bundle = bundle
        self.nms_iou, self.max_per_class = options.nms_iou, options.max_per_class
        self.teeth = None if options.teeth == "all" else options.teeth
        self.classes = class_names(bundle)
        self.tta, self.enhance = options.tta, options.enhance
        self._flips = flips_of(self.tta, self.classes, bundle.name)
        self.numbers = tooth_numbers(self.classes) if self.teeth else None
        if self.teeth and self.numbers is None:
            raise DentalzooError(
                f"teeth must be None for {bundle.name}, whose classes are no FDI numbers (11 to "
                f"48). Received: {self.teeth!r} for the classes {', '.join(self.classes)}"
            )

    @property
    def settings(self) -> dict[str, Any]:
        """The settings that differ from the bundle's own, as plain values; None for the others."""
        return {
            "nms_iou": self.nms_iou,
            "max_per_class": self.max_per_class,
            "teeth": self.teeth,
            "tta": list(self.tta) or None,
            "enhance": self.enhance,
        }

    def __call__(self, image: np.ndarray) -> Detections:
        """Return the boxes of an image (H, W, 1 or 3) uint8.

        Raises:
            DentalzooError: the bundle refuses the image or returns NaN or infinite values.
        """
        return self.chosen(self.before_choice(image))

    def before_choice(self, image: np.ndarray) -> Detections:
        """Return the boxes before `teeth` chooses among them; as `__call__`."""
        views = [self._seen(image, flip) for flip in self._flips]
        detections = views[0]
        if len(views) > 1:
            boxes = np.concatenate([view.boxes for view in views])
            scores = np.concatenate([view.scores for view in views])
            classes = np.concatenate([view.classes for view in views])
            detections = Detections(*postprocessing.fuse(boxes, scores, classes, len(views)))
        return detections

    def chosen(self, detections: Detections) -> Detections:
        """Return the boxes that `teeth` keeps."""
        if self.numbers is not None:
            numbers = np.array(self.numbers)[detections.classes - 1]
            chosen = postprocessing.one_per_tooth(detections.boxes, detections.scores, numbers)
            if self.teeth == "ordered":
                ordered = postprocessing.in_quadrant_order(
                    detections.boxes[chosen], detections.scores[chosen], numbers[chosen]
                )
                chosen = chosen[ordered]
            detections = detections.take(np.sort(chosen))
        return detections

    def _seen(self, image: np.ndarray, flip: Flip) -> Detections:
        """Return the boxes of an image, which the network sees flipped."""
        changed = self.nms_iou is not None or self.max_per_class is not None
        find = self._from_raw if changed and has_raw(self.bundle) else self._kept
        found = find(flip.image(image))
        classes = flip.classes(found.classes, self.classes)
        return Detections(flip.boxes(found.boxes), found.scores, classes)

    def _kept(self, image: np.ndarray) -> Detections:
        results = self.bundle.detect(image)
        count = int(np.ravel(results["num"])[0])
        detections = Detections(
            np.asarray(results["boxes"][:count], np.float32),
            np.asarray(results["scores"][:count], np.float32),
            np.asarray(results["classes"][:count], np.int32),
        )
        self._check(detections.boxes, detections.scores)
        labels = detections.classes
        if count and not 1 <= labels.min() <= labels.max() <= len(self.classes):
            raise DentalzooError(
                f"{self.bundle.name} must return classes from 1 to {len(self.classes)}. "
                f"Received: {sorted(set(labels.tolist()))}"
            )
        if self.nms_iou is None and self.max_per_class is None:
            return detections.take(np.argsort(-detections.scores, kind="stable"))
        return detections.take(
            postprocessing.suppress_per_class(
                detections.boxes, detections.scores, labels, self.nms_iou, self.max_per_class
            )
        )

    def _from_raw(self, image: np.ndarray) -> Detections:
        config = self.bundle.metadata.get("config", {})
        limit = self.max_per_class or config.get("max_per_class")
        iou = config.get("nms_iou", 1.0) if self.nms_iou is None else self.nms_iou
        min_score = max(MIN_SCORE, config.get("score_threshold") or 0)  # of the network itself
        parts = []
        for label, (boxes, scores) in enumerate(self.candidates(image, min_score), 1):
            best = postprocessing.suppress(boxes, scores, iou, limit)
            parts.append((boxes[best], scores[best], np.full(len(best), label, np.int32)))
        detections = Detections(*map(np.concatenate, zip(*parts, strict=True)))
        order = np.argsort(-detections.scores, kind="stable")
        return detections.take(order[: config.get("max_detections")])

    def candidates(
        self, image: np.ndarray, min_score: float = MIN_SCORE
    ) -> list[tuple[np.ndarray, np.ndarray]]:
        """Return the boxes before suppression of each class: (boxes (N, 4), scores (N,)).

        They are those of `raw` whose score was at least `min_score` before calibration, the best
        1000 of a class, or what the bundle kept where it has no `raw`; the best first.
        """
        if not has_raw(self.bundle):
            kept = self._kept(image)
            mine = [kept.classes == label for label in range(1, len(self.classes) + 1)]
            return [(kept.boxes[part], kept.scores[part]) for part in mine]
        results = self.bundle.raw(image)
        boxes = np.asarray(results["boxes"], np.float32)
        scores = np.asarray(results["scores"], np.float32)
        self._check(boxes, scores)
        if scores.shape[-1] != len(self.classes):
            raise DentalzooError(
                f"{self.bundle.name} must return raw scores of {len(self.classes)} classes. "
                f"Received: shape {scores.shape}"
            )
        least = scaling_of(self.bundle).of(min_score)
        return postprocessing.candidates(boxes, scores, MAX_CANDIDATES, least)

    def _check(self, boxes: np.ndarray, scores: np.ndarray) -> None:
        for name, values in (("boxes", boxes), ("scores", scores)):
            if not np.isfinite(values).all():
                raise DentalzooError(f"{self.bundle.name} returned NaN or infinite {name}")


def has_raw(bundle: "Bundle") -> bool:
    """Return True where a bundle has the boxes before suppression as a signature."""
    return "raw" in bundle.metadata.get("signatures", {})


def class_names(bundle: "Bundle") -> tuple[str, ...]:
    """Return the names of a bundle's classes 1..n.

    Raises:
        DentalzooError: its metadata have none.
    """
    classes = bundle.metadata.get("config", {}).get("classes")
    if not classes:
        raise DentalzooError(
            f"{bundle.name}: config must hold the names of its classes. Received: {classes!r}"
        )
    return tuple(classes)


def operating_threshold(bundle: "Bundle", given: float | None) -> float:
    """Return the confidence threshold: the given one, else the bundle's own, else 0.5.

    The bundle's own is `operating_threshold` of its config.
    """
    own = bundle.metadata.get("config", {}).get("operating_threshold")
    thresholds = (given, own, SCORE_THRESHOLD)
    return next(float(value) for value in thresholds if value is not None)
