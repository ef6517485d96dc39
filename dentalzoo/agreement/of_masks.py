"""Agreement of two raters' masks: overlap, distance of boundaries, kappa."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage

from dentalzoo.agreement.empty import without_empty
from dentalzoo.agreement.kappa import kappa_of
from dentalzoo.agreement.raters import Rater
from dentalzoo.data.formats.base import notice_once
from dentalzoo.data.mask_values import MaskStatistics
from dentalzoo.data.pipeline.prefetch import for_each
from dentalzoo.errors import DentalzooError
from dentalzoo.ops.intervals import interval, mean_of, ratio_of
from dentalzoo.tasks.segmentation.evaluation import count, image_scores

_SCORES = ("dice", "iou")
_DISTANCES = ("mean_distance", "hausdorff_95")
_CROSS = ndimage.generate_binary_structure(2, 1)


def agreement(
    one: Rater, other: Rater, stems: Sequence[str], classes: Sequence[str], seed: int
) -> dict[str, Any]:
    """Compare the masks of two raters, the first in place of the ground truth.

    Args:
        one, other: with masks.
        stems: of the images that both have.
        classes: the names of the ids 1..n.
        seed: of the intervals.

    Returns:
        "images"; "dice" and "iou", means over images as `evaluate` has them, "mean_distance" and
        "hausdorff_95" of the boundaries in pixels (means over images and classes that both have),
        each {"value", "low", "high"}; "empty": rater -> names of the images that are empty in its
        masks alone; "without_empty": "images", "dice" and "iou" of the others, None where there is
        no such image; "per_class": class -> the pooled "dice", "kappa" of pixels and
        "kappa_present", whether an image shows it; "per_image"; "failed".

    Raises:
        DentalzooError: no image can be used.
    """
    ids = len(classes) + 1
    num_classes = 1 if len(classes) == 1 else ids
    failed: list[tuple[str, str]] = []
    rows: list[dict[str, Any]] = []
    confusions: list[np.ndarray] = []
    statistics = {rater.name: MaskStatistics(classes) for rater in (one, other)}

    def read(stem: str) -> tuple[np.ndarray, np.ndarray]:
        first, second = one.mask(stem, num_classes), other.mask(stem, num_classes)
        if first.shape != second.shape:
            raise DentalzooError(
                f"{stem}: both masks must have one size. Received: {first.shape}, {second.shape}"
            )
        return first, second

    for stem, (first, second), confusion in for_each(
        list(stems),
        read,
        lambda _, pair: count(*pair, ids),
        title=f"{one.name} and {other.name}",
        failed=failed,
    ):
        statistics[one.name].add(first)
        statistics[other.name].add(second)
        scores = image_scores(confusion)
        row = {"name": stem} | {key: round(scores[key], 6) for key in _SCORES}
        rows.append(row | _distances(first, second, ids))
        confusions.append(confusion)
    if not rows:
        raise DentalzooError(
            f"{one.name} and {other.name}: no image can be used. Received: {failed[0][1]}"
        )
    for rater in (one, other):
        for problem in statistics[rater.name].problems():
            notice_once(problem, Path(rater.name))
    tables = np.array(confusions)
    number = len(rows)
    report: dict[str, Any] = {"images": number}
    for key in (*_SCORES, *_DISTANCES):
        values = np.array([np.nan if row[key] is None else row[key] for row in rows], np.float64)
        report[key] = interval(mean_of(values), number, seed)
    filled = np.stack([tables[:, 1:].sum((1, 2)), tables[:, :, 1:].sum((1, 2))], 1) > 0

    def measure(kept: np.ndarray) -> dict[str, Any]:
        scores = {key: np.array([row[key] for row in rows], np.float64)[kept] for key in _SCORES}
        return {key: interval(mean_of(one), len(one), seed) for key, one in scores.items()}

    images = [row["name"] for row in rows]
    report |= without_empty((one.name, other.name), images, filled, measure)
    report["per_class"] = {
        name: _of_class(tables, label, seed) for label, name in enumerate(classes, 1)
    }
    return report | {"per_image": rows, "failed": [list(pair) for pair in failed]}


def _of_class(tables: np.ndarray, label: int, seed: int) -> dict[str, Any]:
    """Return the numbers of a class from (images, ids, ids) confusion matrices."""
    both = tables[:, label, label]
    first, second = tables[:, label].sum(1) - both, tables[:, :, label].sum(1) - both
    rest = tables.sum((1, 2)) - both - first - second
    pixels = np.stack([both, first, second, rest], 1).reshape(-1, 2, 2)
    shown = np.zeros((len(tables), 2, 2), np.int64)
    in_one, in_other = both + first > 0, both + second > 0
    shown[np.arange(len(tables)), (~in_one).astype(int), (~in_other).astype(int)] = 1

    return {
        "images": int((in_one | in_other).sum()),
        "dice": interval(ratio_of(2 * both, 2 * both + first + second), len(tables), seed),
        "kappa": interval(kappa_of(pixels), len(tables), seed),
        "kappa_present": interval(kappa_of(shown), len(tables), seed),
    }


def _distances(first: np.ndarray, second: np.ndarray, ids: int) -> dict[str, float | None]:
    """Return the distances of the boundaries, means over the classes that both masks have."""
    pairs = []
    for label in range(1, ids):
        one, other = first == label, second == label
        if one.any() and other.any():
            pairs.append(boundary_distances(one, other))
    if not pairs:
        return dict.fromkeys(_DISTANCES)
    means = np.mean(pairs, axis=0)
    return {key: round(float(mean), 6) for key, mean in zip(_DISTANCES, means, strict=True)}


def boundary_distances(one: np.ndarray, other: np.ndarray) -> tuple[float, float]:
    """Return how far the boundaries of two areas are apart, both ways together.

    A boundary is the pixels of an area with a neighbour outside of it, at the border of the image
    too.

    Args:
        one, other: (H, W) bool, not empty.

    Returns:
        The mean distance in pixels (average symmetric surface distance), and the 95th percentile
        (the larger one of the two ways, Hausdorff 95 %).
    """
    edges = [area & ~ndimage.binary_erosion(area, _CROSS) for area in (one, other)]
    # The distance of every pixel that is not 0 to the nearest 0.
    to_one, to_other = (ndimage.distance_transform_edt(~edge) for edge in edges)
    ways = to_other[edges[0]], to_one[edges[1]]
    worst = max(float(np.percentile(way, 95)) for way in ways)
    return float(np.concatenate(ways).mean()), worst
