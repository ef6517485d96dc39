"""Agreement of two raters' boxes: operating point, average precision, kappa."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dentalzoo.agreement.empty import without_empty
from dentalzoo.agreement.kappa import kappa_of
from dentalzoo.agreement.raters import Boxes, Rater
from dentalzoo.ops.boxes import overlaps
from dentalzoo.ops.intervals import Statistic, interval, mean_of, mean_of_known
from dentalzoo.tasks.detection import scores as measures
from dentalzoo.tasks.detection.coco_scores import coco_scores
from dentalzoo.tasks.detection.matching import TRUE_POSITIVE, Case, Matches, match
from dentalzoo.tasks.detection.resampling import resampled_areas


@dataclass(frozen=True)
class Compared:
    """Two raters' boxes on the same images, matched.

    Attributes:
        cases: one for each image: the reference's boxes as ground truth.
        matches: of all images.
    """

    cases: list[Case]
    matches: Matches


def matched(
    reference: Rater, other: Rater, stems: Sequence[str], classes: Sequence[str]
) -> Compared:
    """Match the boxes of two raters at IoU 0.5, per class."""
    ids = {name: number for number, name in enumerate(classes, 1)}
    compared = Compared([], Matches(len(classes)))
    for stem in stems:
        first, second = reference.samples[stem], other.samples[stem]
        assert isinstance(first, Boxes) and isinstance(second, Boxes)
        edges, labels, _ = _arrays(first, ids)
        boxes, found, scores = _arrays(second, ids)
        order = np.argsort(-scores, kind="stable")
        crowd = np.array([box.crowd for box in first.boxes if box.label in ids], bool)
        difficult = np.array([box.difficult for box in first.boxes if box.label in ids], bool)
        case = Case(
            stem,
            first.size,
            edges,
            labels,
            ignored=crowd | difficult,
            crowd=crowd,
            boxes=boxes[order],
            scores=scores[order],
            classes=found[order],
        )
        compared.cases.append(case)
        compared.matches.add(case)
    return compared


def _arrays(sample: Boxes, ids: dict[str, int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return boxes (N, 4) float32, classes and scores (N,); an annotation has the score 1."""
    boxes = [box for box in sample.boxes if box.label in ids]
    edges = [(box.top, box.left, box.bottom, box.right) for box in boxes]
    scores = [1.0 if box.score is None else box.score for box in boxes]
    return (
        np.array(edges, np.float32).reshape(-1, 4),
        np.array([ids[box.label] for box in boxes], np.int32),
        np.array(scores, np.float32),
    )


def agreement(
    compared: Compared,
    names: tuple[str, str],
    classes: Sequence[str],
    threshold: float | None,
    has_scores: bool,
    seed: int,
) -> dict[str, Any]:
    """Compare the boxes of a rater with those of a reference.

    Args:
        compared: both, matched.
        names: of the reference and of the rater.
        classes: the names of the ids 1..n.
        threshold: only boxes with this score or a better one count, but for average precision.
        has_scores: the second rater's boxes are predictions with scores.
        seed: of the intervals.

    Returns:
        "images"; "precision", "recall" and "f1" of all boxes at IoU 0.5 and "iou", the mean over
        images of that of matched boxes, each {"value", "low", "high"}; "ap50" (COCO) and "voc_map"
        with its interval where there are scores, else None; "empty": name -> the images that have
        no box of it and one of the other; "without_empty": "images", "precision", "recall", "f1"
        and "iou" of the others, None where there is no such image; "per_class": class -> these,
        and "kappa_present", whether an image shows it; "per_image".
    """
    cases, number = compared.cases, len(compared.cases)
    outcomes = [measures.judge(case, threshold or 0.0) for case in cases]
    counts = np.array([[*outcome.counts().values()] for outcome in outcomes], np.int64)
    ious = np.array([_mean_iou(case, threshold or 0.0) for case in cases])
    report: dict[str, Any] = {
        "images": number,
        "score_threshold": threshold if has_scores else None,
    }

    def measure(kept: np.ndarray) -> dict[str, Any]:
        scores = {key: _of_counts(counts[kept], key) for key in ("precision", "recall", "f1")}
        scores["iou"] = mean_of(ious[kept])
        return {key: interval(score, int(kept.sum()), seed) for key, score in scores.items()}

    report |= measure(np.ones(number, bool))
    report["ap50"] = report["voc_map"] = None
    per_class_ap: list[float | None] = [None] * len(classes)
    if has_scores:
        areas = coco_scores(cases, len(classes))["ap50"]
        per_class_ap = [None if np.isnan(a) else round(float(a), 6) for a in areas]
        report["ap50"] = None if np.isnan(areas).all() else round(float(np.nanmean(areas)), 6)
        report["voc_map"] = interval(_map_of(compared.matches), number, seed)
    filled = [(len(c.gt_boxes) > 0, bool((c.scores >= (threshold or 0)).any())) for c in cases]
    report |= without_empty(names, [case.name for case in cases], np.array(filled), measure)
    report["per_class"] = {
        name: {"ap50": per_class_ap[label - 1]} | _of_class(compared, label, threshold or 0.0, seed)
        for label, name in enumerate(classes, 1)
    }
    report["per_image"] = [
        {"name": case.name} | outcome.counts()
        for case, outcome in zip(cases, outcomes, strict=True)
    ]
    return report


def _of_counts(counts: np.ndarray, key: str) -> Statistic:
    def score(times: np.ndarray) -> np.ndarray:
        tp, fp, fn = (times @ counts).T
        return measures.scores_of_counts(tp, fp, fn)["dice" if key == "f1" else key]

    return score


def _map_of(matches: Matches) -> Statistic:
    return lambda times: mean_of_known(list(resampled_areas(matches, times).T))


def _mean_iou(case: Case, threshold: float) -> float:
    """Return the mean IoU of matched boxes; NaN without any."""
    kinds, objects = match(case)
    pairs = np.flatnonzero((kinds == TRUE_POSITIVE) & (case.scores >= threshold))
    if not len(pairs):
        return float("nan")
    table = overlaps(case.boxes[pairs], case.gt_boxes[objects[pairs]])
    return float(np.diag(table).mean())


def _of_class(compared: Compared, label: int, threshold: float, seed: int) -> dict[str, Any]:
    cases = compared.cases
    shown = np.zeros((len(cases), 2, 2), np.int64)
    counts = np.zeros((len(cases), 3), np.int64)
    for index, case in enumerate(cases):
        kinds, _ = match(case)
        mine = (case.classes == label) & (case.scores >= threshold)
        targets = int(((case.gt_classes == label) & ~case.ignored).sum())
        tp = int((mine & (kinds == TRUE_POSITIVE)).sum())
        fp = int((mine & (kinds == 0)).sum())
        counts[index] = tp, fp, targets - tp
        shown[index, int(not (case.gt_classes == label).any()), int(not mine.any())] = 1
    scores = {k: interval(_of_counts(counts, k), len(cases), seed) for k in ("precision", "recall")}
    return {
        "objects": int(counts[:, 0].sum() + counts[:, 2].sum()),
        **scores,
        "kappa_present": interval(kappa_of(shown), len(cases), seed),
    }
