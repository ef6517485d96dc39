"""Scores of detections in resamples of images: matched once, then counted again.

Between two true positives the precision only falls and the recall stays, so that curves are made of
the true positives alone: of each the number of false positives before it is known for every image,
and a resample weighs these numbers. What is counted so is exactly what the copies of the images
would give.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from dentalzoo.ops.intervals import mean_of_known, quotient, ratio_of
from dentalzoo.ops.scores import scores_of_counts
from dentalzoo.tasks.detection.matching import IGNORED, TRUE_POSITIVE, Matches
from dentalzoo.tasks.detection.scores import RATES
from dentalzoo.tasks.scoring import Key

if TYPE_CHECKING:
    from scipy import sparse

_EPS = 1e-9  # 0.3 is not 3 * 0.1
NUMBERED = "recall", "precision", "right_number"  # of teeth, in the summary
_RECALLS = np.linspace(0, 1, 101)  # COCO's
_AREAS = "ap", "ap50", "ap75", "ar100", "voc_ap"


@dataclass(frozen=True)
class Ranked:
    """The detections of a class at one IoU threshold.

    Attributes:
        hits: (K,) int64, the image of each true positive, the best first.
        false: (K, images) float64, the false positives of each image between a true positive and
            the one before.
        objects: (images,) float64, the target objects of each image.
    """

    hits: np.ndarray
    false: "sparse.csr_array"
    objects: np.ndarray

    def counts(self, times: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Count again.

        Args:
            times: (images, R), how often each image counts.

        Returns:
            Of each true positive how often it counts, the true positives and the false positives
            as good or better, (K, R) float64 each.
        """
        here = times[self.hits]
        return here, np.cumsum(here, 0), np.cumsum(self.false @ times, 0)


def ranked(
    images: np.ndarray,
    scores: np.ndarray,
    hits: np.ndarray,
    objects: np.ndarray,
    *,
    ties: bool = False,
) -> Ranked:
    """Rank detections.

    Args:
        images, scores, hits: (D,) the image of each, its score, and whether it is a true positive.
        objects: (images,) the target objects.
        ties: count a false positive before a true positive of the same score, as a threshold does;
            else in the order of the detections, as COCO and PASCAL VOC do.
    """
    from scipy import sparse  # which takes long

    order = np.argsort(-scores, kind="stable")
    images, scores, hits = images[order], scores[order], hits[order]
    if ties:
        place = np.searchsorted(-scores[hits], -scores[~hits], side="left")
    else:
        place = np.cumsum(hits)[~hits]
    before = place < hits.sum()  # what follows the last true positive changes nothing
    at = place[before], images[~hits][before]
    shape = int(hits.sum()), len(objects)
    false = sparse.csr_array(sparse.coo_array((np.ones(len(at[0])), at), shape=shape))
    return Ranked(images[hits], false, np.asarray(objects, np.float64))


# ---- average precision ---------------------------------------------------------------------------


def voc_area(points: Ranked, times: np.ndarray) -> np.ndarray:
    """Return PASCAL VOC's AP, (R,), NaN without an object; times: (images, R)."""
    here, tp, fp = points.counts(times)
    return quotient((here * _envelope(tp, fp)).sum(0), points.objects @ times)


def coco_area(points: Ranked, times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return COCO's AP and the highest recall, (R,) each, NaN without an object."""
    _, tp, fp = points.counts(times)
    total = points.objects @ times
    if not len(tp):
        nothing = np.where(total > 0, 0.0, np.nan)
        return nothing, nothing
    recall = tp / np.where(total > 0, total, 1)
    # The recalls at which this true positive is the first to reach them.
    reached = np.searchsorted(_RECALLS, recall.ravel(), side="right").reshape(recall.shape)
    share = np.diff(reached, axis=0, prepend=0) / len(_RECALLS)
    area = (share * _envelope(tp, fp)).sum(0)
    return np.where(total > 0, area, np.nan), np.where(total > 0, recall[-1], np.nan)


def _envelope(tp: np.ndarray, fp: np.ndarray) -> np.ndarray:
    """Return the best precision at each true positive or beyond it, (K, R)."""
    precision = tp / np.maximum(tp + fp, 1)
    return np.asarray(np.maximum.accumulate(precision[::-1], axis=0)[::-1])


def resampled_areas(matches: Matches, times: np.ndarray) -> np.ndarray:
    """Return PASCAL VOC's AP of each class where each image is taken so many times.

    Args:
        times: (R, images).

    Returns:
        (R, classes) float64, NaN where a class does not occur.
    """
    turned = np.ascontiguousarray(times.T, np.float64)
    return np.stack([voc_area(points, turned) for points in _of_classes(matches)], 1)


def _of_classes(matches: Matches) -> Iterator[Ranked]:
    rows, objects = matches.rows(), matches.objects_per_image()
    for label in range(1, matches.num_classes + 1):
        yield _of_rows(rows[rows[:, 1] == label], objects[:, label])


def _of_rows(rows: np.ndarray, objects: np.ndarray, *, ties: bool = False) -> Ranked:
    rows = rows[rows[:, 3] != IGNORED]
    images, hits = rows[:, 0].astype(np.int64), rows[:, 3] == TRUE_POSITIVE
    return ranked(images, rows[:, 4], hits, objects, ties=ties)


def ranked_by_coco(coco_eval: Any, num_classes: int) -> list[list[Ranked]]:
    """Return the detections of each class at each of COCO's IoU thresholds.

    Args:
        coco_eval: see `coco_scores.evaluated`.
        num_classes: n.
    """
    number = len(coco_eval.params.imgIds)
    classes: list[list[Ranked]] = []
    for label in range(num_classes):
        known = [
            (image, one)
            for image, one in enumerate(coco_eval.evalImgs[label * number : (label + 1) * number])
            if one is not None
        ]
        objects = np.zeros(number)
        images, scores = [np.zeros(0, np.int64)], [np.zeros(0)]
        matched = [np.zeros((len(coco_eval.params.iouThrs), 0), bool)]
        ignored = list(matched)
        for image, one in known:
            objects[image] = np.count_nonzero(np.asarray(one["gtIgnore"]) == 0)
            images.append(np.full(len(one["dtScores"]), image))
            scores.append(np.asarray(one["dtScores"], np.float64))
            matched.append(np.asarray(one["dtMatches"]) > 0)
            ignored.append(np.asarray(one["dtIgnore"]) > 0)
        of, score = np.concatenate(images), np.concatenate(scores)
        hits, left_out = np.concatenate(matched, 1), np.concatenate(ignored, 1)
        classes.append(
            [
                ranked(of[~out], score[~out], hit[~out], objects)
                for hit, out in zip(hits, left_out, strict=True)
            ]
        )
    return classes


# ---- all scores ----------------------------------------------------------------------------------


def statistics(
    matches: Matches,
    by_coco: Sequence[Sequence[Ranked]],
    classes: Sequence[str],
    threshold: float,
    numbered: Mapping[str, tuple[np.ndarray, np.ndarray]],
) -> Callable[[np.ndarray], dict[Key, np.ndarray]]:
    """Return what counts the summary metrics of detection again in resamples.

    Args:
        matches: of all images.
        by_coco: of the same images, see `ranked_by_coco`.
        classes: the names of the ids 1..n.
        threshold: the confidence threshold of precision, recall and F1.
        numbered: part and whole of how teeth are numbered, see `numbering.shares`; empty where no
            teeth are.

    Returns:
        (R, images) -> (class, metric) -> (R,), the class None for all together.
    """
    rows, objects = matches.rows(), matches.objects_per_image().astype(np.float64)
    by_voc = list(_of_classes(matches))
    pooled = _of_rows(rows, objects[:, 1:].sum(1), ties=True)
    shown = rows[rows[:, 4] >= threshold]
    positives = np.zeros((2, len(objects), len(classes) + 1))  # false and true ones
    for kind, of_kind in enumerate(positives):
        mine = shown[shown[:, 3] == kind]
        np.add.at(of_kind, (mine[:, 0].astype(int), mine[:, 1].astype(int)), 1)
    fp, tp = positives[:, :, 1:]
    fn = objects[:, 1:] - tp

    def measure(times: np.ndarray) -> dict[Key, np.ndarray]:
        turned = np.ascontiguousarray(times.T)
        values: dict[Key, np.ndarray] = {}
        for name, points, at_ious in zip(classes, by_voc, by_coco, strict=True):
            areas, recalls = zip(*(coco_area(p, turned) for p in at_ious), strict=True)
            values[name, "ap"] = np.mean(areas, axis=0)
            values[name, "ap50"], values[name, "ap75"] = areas[0], areas[5]
            values[name, "ar100"] = np.mean(recalls, axis=0)
            values[name, "voc_ap"] = voc_area(points, turned)
        for key in _AREAS:
            mean = mean_of_known([values[name, key] for name in classes])
            values[None, "voc_map" if key == "voc_ap" else key] = mean
        values[None, "froc_mean"] = _froc_mean(pooled, turned)
        counts = times @ tp, times @ fp, times @ fn
        at = scores_of_counts(*counts)
        at_all = scores_of_counts(*(count.sum(1) for count in counts))
        occurs = times @ objects[:, 1:] > 0
        for key, metric in (("precision", "precision"), ("recall", "recall"), ("dice", "f1")):
            values[None, metric] = at_all[key]
            for index, name in enumerate(classes):
                values[name, metric] = np.where(occurs[:, index], at[key][:, index], np.nan)
        for key in NUMBERED if numbered else ():
            values[None, f"teeth_{key}"] = ratio_of(*numbered[key])(times)
        return values

    return measure


def _froc_mean(points: Ranked, times: np.ndarray) -> np.ndarray:
    """Return the mean recall at `RATES` false positives per image, (R,)."""
    here, _, fp = points.counts(times)
    images = times.sum(0)
    found = [(here * (fp <= rate * images + _EPS)).sum(0) for rate in RATES]
    return quotient(np.mean(found, axis=0), points.objects @ times)
