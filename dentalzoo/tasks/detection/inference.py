"""What measuring and applying a bundle share: boxes of an image."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dentalzoo.data.teeth import tooth_numbers
from dentalzoo.errors import DentalzooError
from dentalzoo.tasks.detection import postprocessing

SCORE_THRESHOLD = 0.5  # what the TF Object Detection API draws (min_score_thresh)
RULES = ("single", "ordered")
_MOST, _LEAST = 1000, 0.01  # candidates of a class and their score before suppression: ours


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
        """Those of indices or a mask."""
        return Detections(self.boxes[chosen], self.scores[chosen], self.classes[chosen])


class Detector:
    """Finds boxes with a bundle, and with other settings than its own where these are given.

    Args:
        bundle: a `Bundle` of the task "detection".
        nms_iou: of two boxes of a class that overlap by more, the better one stays; None for the
            bundle's own.
        max_per_class: at most so many boxes of a class; None for the bundle's own. Both work on the
            signature `raw` where the bundle has it; without it, on what the bundle kept, and then a
            value above its own changes nothing.
        teeth: where the classes are FDI numbers: "single" keeps the best box of each tooth,
            "ordered" also wants them to stand as teeth do, see `in_quadrant_order`.

    Raises:
        DentalzooError: a setting is out of place.
    """

    def __init__(
        self,
        bundle,
        nms_iou: float | None = None,
        max_per_class: int | None = None,
        teeth: str | None = None,
    ):
        self.bundle, self.nms_iou, self.max_per_class = bundle, nms_iou, max_per_class
        self.classes = class_names(bundle)
        self.numbers = None
        check_share("nms_iou", nms_iou)
        if max_per_class is not None and (max_per_class != int(max_per_class) or max_per_class < 1):
            raise DentalzooError(
                f"max_per_class is a whole number, at least 1. Received: {max_per_class!r}"
            )
        if teeth is not None:
            if teeth not in RULES:
                raise DentalzooError(f"teeth is one of: {', '.join(RULES)}. Received: {teeth!r}")
            self.numbers = tooth_numbers(self.classes)
            if self.numbers is None:
                raise DentalzooError(
                    "teeth is for bundles whose classes are FDI numbers, 11 to 48. "
                    f"Received: {', '.join(self.classes)}"
                )
        self.teeth = teeth

    @property
    def settings(self) -> dict:
        """What differs from the bundle's own, plain values; None for what does not."""
        return {
            "nms_iou": self.nms_iou,
            "max_per_class": self.max_per_class,
            "teeth": self.teeth,
        }

    def __call__(self, image: np.ndarray) -> Detections:
        """The boxes of an image (H, W, 1 or 3) uint8.

        Raises:
            DentalzooError: the bundle refuses the image or gives what is no number.
        """
        changed = self.nms_iou is not None or self.max_per_class is not None
        found = self._from_raw(image) if changed and has_raw(self.bundle) else self._kept(image)
        if self.teeth:
            numbers = np.array(self.numbers)[found.classes - 1]
            if self.teeth == "single":
                chosen = postprocessing.one_per_tooth(found.scores, numbers)
            else:
                chosen = postprocessing.in_quadrant_order(found.boxes, found.scores, numbers)
            found = found.take(np.sort(chosen))
        return found

    def _kept(self, image: np.ndarray) -> Detections:
        results = self.bundle.detect(image)
        count = int(np.ravel(results["num"])[0])
        found = Detections(
            np.float32(results["boxes"][:count]),
            np.float32(results["scores"][:count]),
            np.int32(results["classes"][:count]),
        )
        self._check(found.boxes, found.scores)
        if count and not 1 <= found.classes.min() <= found.classes.max() <= len(self.classes):
            raise DentalzooError(
                f"{self.bundle.name} has the classes 1..{len(self.classes)}. "
                f"Received: {sorted(set(found.classes.tolist()))}"
            )
        if self.nms_iou is None and self.max_per_class is None:
            return found.take(np.argsort(-found.scores, kind="stable"))
        return found.take(
            postprocessing.suppress_per_class(
                found.boxes, found.scores, found.classes, self.nms_iou, self.max_per_class
            )
        )

    def _from_raw(self, image: np.ndarray) -> Detections:
        config = self.bundle.metadata.get("config", {})
        limit = self.max_per_class or config.get("max_per_class")
        iou = config.get("nms_iou", 1.0) if self.nms_iou is None else self.nms_iou
        least = max(_LEAST, config.get("score_threshold") or 0)
        parts = []
        for label, (boxes, scores) in enumerate(self.candidates(image, least), 1):
            best = postprocessing.suppress(boxes, scores, iou, limit)
            parts.append((boxes[best], scores[best], np.full(len(best), label, np.int32)))
        found = Detections(*map(np.concatenate, zip(*parts, strict=True)))
        order = np.argsort(-found.scores, kind="stable")
        return found.take(order[: config.get("max_detections")])

    def candidates(
        self, image: np.ndarray, least: float = _LEAST
    ) -> list[tuple[np.ndarray, np.ndarray]]:
        """The boxes before suppression, of each class (boxes (N, 4), scores (N,)), best first.

        They are those of `raw` with a score of at least `least`, the best 1000 of a class, or what
        the bundle kept where it has no `raw`.
        """
        if not has_raw(self.bundle):
            kept = self._kept(image)
            mine = [kept.classes == label for label in range(1, len(self.classes) + 1)]
            return [(kept.boxes[part], kept.scores[part]) for part in mine]
        results = self.bundle.raw(image)
        boxes, scores = np.float32(results["boxes"]), np.float32(results["scores"])
        self._check(boxes, scores)
        if scores.shape[-1] != len(self.classes):
            raise DentalzooError(
                f"{self.bundle.name} has {len(self.classes)} classes. "
                f"Received: raw scores of shape {scores.shape}"
            )
        return postprocessing.candidates(boxes, scores, _MOST, least)

    def _check(self, boxes: np.ndarray, scores: np.ndarray) -> None:
        for word, values in (("boxes", boxes), ("scores", scores)):
            if not np.isfinite(values).all():
                raise DentalzooError(
                    f"{self.bundle.name} gives {word} that are no numbers. Received: NaN or inf"
                )


def has_raw(bundle) -> bool:
    """Whether a bundle gives boxes before suppression."""
    return "raw" in bundle.metadata.get("signatures", {})


def class_names(bundle) -> tuple[str, ...]:
    """The names of a bundle's classes 1..n.

    Raises:
        DentalzooError: its metadata have none.
    """
    classes = bundle.metadata.get("config", {}).get("classes")
    if not classes:
        raise DentalzooError(
            f"{bundle.name}: the names of its classes are expected in its config. "
            f"Received: {classes!r}"
        )
    return tuple(classes)


def threshold_of(bundle, given: float | None) -> float:
    """The score from which on boxes count and are shown: as given, else the bundle's own
    `operating_threshold` of its config, else `SCORE_THRESHOLD`.

    Raises:
        DentalzooError: it does not lie in [0, 1].
    """
    check_share("score_threshold", given)
    own = bundle.metadata.get("config", {}).get("operating_threshold")
    return next(value for value in (given, own, SCORE_THRESHOLD) if value is not None)


def check_share(name: str, value: float | None) -> None:
    """Raises DentalzooError unless a value is None or lies in [0, 1]."""
    if value is not None and not 0 <= value <= 1:
        raise DentalzooError(f"{name} lies in [0, 1]. Received: {value!r}")


def of_classes(classes: np.ndarray, names: Sequence[str]) -> list[str]:
    """The names of class ids."""
    return [names[label - 1] for label in classes]
