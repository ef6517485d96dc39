"""Other settings for suppression and scores, tried on a data set in one pass of the network.

They are those that the article tuned: the IoU threshold of non-maximum suppression, the maximum
number of boxes of a class in an image, and the confidence threshold. A mouth has at most 32 teeth,
so no more boxes of a class than that are tried, unless the annotated images hold more.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from dentalzoo.data.teeth import TEETH, tooth_numbers
from dentalzoo.tasks.detection import scores as measures
from dentalzoo.tasks.detection.matching import Case, Matches
from dentalzoo.tasks.detector import Detector, has_raw
from dentalzoo.tasks.postprocessing import suppress_at

NMS_IOUS = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7)  # those of the article's configurations, and one more
LIMITS = (1, 2, 4, 8, 16, TEETH)  # boxes of a class in an image: ours
_MORE = (64, 100)  # where images hold more objects of a class than a mouth has teeth


class Sweep:
    """The scores of other settings on a data set; only the kind and score of each box are kept.

    The bundle's `max_detections` is not applied: it would cut the least sure boxes of all classes.

    Args:
        detector: with the bundle's own settings.
        max_objects: the largest number of objects of a class on an annotated image.
    """

    def __init__(self, detector: Detector, max_objects: int = 0):
        self.detector = detector
        config = detector.bundle.metadata.get("config", {})
        self.own_iou = config.get("nms_iou")
        raw = has_raw(detector.bundle)
        self.source = "raw" if raw else "kept"
        # What the bundle has suppressed itself cannot come back.
        useful = [i for i in NMS_IOUS if raw or self.own_iou is None or i < self.own_iou]
        self.ious = useful if raw else [*useful, 1.0]
        self.limits: tuple[int, ...] = LIMITS + (_MORE if max_objects > TEETH else ())
        if tooth_numbers(detector.classes) and max_objects <= 1:
            self.limits = (1,)
        self.matches = [Matches(len(detector.classes)) for _ in self.ious]

    def cases(self, image: np.ndarray, case: Case) -> list[Case]:
        """Return the detections of an image at each of `ious`; runs the network once.

        Args:
            image: (H, W, 1 or 3) uint8.
            case: its ground truth.
        """
        parts: list[list[tuple[np.ndarray, ...]]] = [[] for _ in self.ious]
        for label, (boxes, values) in enumerate(self.detector.candidates(image), 1):
            for part, best in zip(
                parts, suppress_at(boxes, values, self.ious, self.limits[-1]), strict=True
            ):
                part.append((boxes[best], values[best], np.full(len(best), label, np.int32)))
        joined = [map(np.concatenate, zip(*part, strict=True)) for part in parts]
        return [
            replace(case, boxes=boxes, scores=values, classes=classes)
            for boxes, values, classes in joined
        ]

    def add(self, cases: Sequence[Case]) -> None:
        """Add the `cases` of an image."""
        for case, matches in zip(cases, self.matches, strict=True):
            matches.add(case)

    def report(self, own: Matches) -> dict[str, Any]:
        """Return the settings and the scores of each.

        Args:
            own: the matches of the detections that were measured without other settings.

        Returns:
            Plain values. "settings": each with "nms_iou" (None: as the bundle kept them),
            "max_per_class", "ap50" (PASCAL VOC's mean over classes), "score_threshold" (where F1 is
            best) and there "f1", "precision", "recall" and "false_positives_per_image".
            "best": of these the one of the highest F1, and of the highest "ap50"; of equal ones
            (to 4 digits) that with fewer boxes, then that with the lower IoU threshold. "own": the
            same numbers of what was measured. "source": "raw", or "kept" where the bundle has no
            `raw`. "per_class_score_threshold": those of the best by F1.
        """
        rows = []
        for iou, matches in zip(self.ious, self.matches, strict=True):
            everything = matches.rows()
            for limit in self.limits:
                chosen = everything[everything[:, 2] < limit]
                about = {"nms_iou": None if iou == 1 else iou, "max_per_class": limit}
                rows.append(about | summary(matches, chosen))
        best = {key: _best(rows, key) for key in ("f1", "ap50")}
        matches = self.matches[self.ious.index(best["f1"]["nms_iou"] or 1.0)]
        chosen = matches.rows()
        chosen = chosen[chosen[:, 2] < best["f1"]["max_per_class"]]
        thresholds = {
            name: measures.best_threshold(measures.curve(matches, label, chosen))
            for label, name in enumerate(self.detector.classes, 1)
        }
        return {
            "source": self.source,
            "settings": rows,
            "own": summary(own, own.rows()),
            "best": best,
            "per_class_score_threshold": thresholds,
        }


def summary(matches: Matches, rows: np.ndarray) -> dict[str, float | None]:
    """Return the mean AP50 and the operating point of the best F1 of some of the matches' rows."""
    areas = [
        measures.average_precision(measures.curve(matches, label, rows))
        for label in range(1, matches.num_classes + 1)
    ]
    pooled = measures.curve(matches, None, rows)
    threshold = measures.best_threshold(pooled)
    point = measures.at_threshold(pooled, np.inf if threshold is None else threshold)
    values = {"ap50": mean(areas), "score_threshold": threshold, **point}
    return {key: None if v is None else round(float(v), 6) for key, v in values.items()}


def summary_line(report: dict[str, Any]) -> str:
    """Return the best setting of a sweep's report in a line."""
    best, own = report["best"]["f1"], report["own"]
    if best["score_threshold"] is None:
        return "sweep: no detection is a true positive with any setting"
    iou = "" if best["nms_iou"] is None else f"nms_iou {best['nms_iou']:g}, "
    return (
        f"sweep, best of {len(report['settings'])}: {iou}max_per_class {best['max_per_class']}, "
        f"score_threshold {best['score_threshold']:.3f}: F1 {best['f1']:.3f}, AP50 "
        f"{best['ap50']:.3f} (the bundle's own settings: F1 {own['f1']:.3f}, AP50 "
        f"{own['ap50']:.3f})"
    )


def mean(values: Sequence[float | None]) -> float | None:
    """Return the mean of the values that are not None; None without any."""
    numbers = [value for value in values if value is not None]
    return float(np.mean(numbers)) if numbers else None


def _best(rows: Sequence[dict[str, Any]], key: str) -> dict[str, Any]:
    def rank(row: dict[str, Any]) -> tuple[float, float, float]:
        value = -1.0 if row[key] is None else row[key]
        return round(value, 4), -row["max_per_class"], -(row["nms_iou"] or 1.0)

    return max(rows, key=rank)
