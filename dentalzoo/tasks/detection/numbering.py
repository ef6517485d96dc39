"""How well teeth are numbered: found teeth, right numbers, neighbours' numbers, missing teeth."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from dentalzoo.data.teeth import place_of
from dentalzoo.ops.intervals import SEED, interval, ratio_of
from dentalzoo.tasks.detection.matching import Case
from dentalzoo.tasks.detection.scores import confusion, judge
from dentalzoo.tasks.postprocessing import one_per_tooth


def numbering(cases: Sequence[Case], numbers: Sequence[int], threshold: float) -> dict[str, Any]:
    """Return how well a bundle numbers teeth, over all images and over those with gaps.

    Each tooth counts with one box, see `one_per_tooth`. It is found where a box overlaps it by an
    IoU of 0.5, whatever its number.

    Args:
        cases: of the images.
        numbers: the FDI numbers of the classes 1..n.
        threshold: boxes with a lower score do not count.

    Returns:
        "all", "with_gaps" and "without_gaps", of images in which a tooth is missing between others
        and of the rest, each with the number of "images" and "teeth" and, as "value", "low" and
        "high", a 95 % interval over images: "recall" of the annotated teeth; "precision" of the
        boxes; of the teeth that were found the parts with the "right_number", the number of a
        "neighbour" and any other "wrong_number"; of the numbers that are annotated (or not) in an
        image the part that is "present" (or "absent") in the result too.
    """
    tables = tables_of(cases, numbers, threshold)
    gaps = np.array([has_gap(_annotated(table, numbers)) for table in tables], bool)
    groups = {"all": np.full(len(tables), True), "with_gaps": gaps, "without_gaps": ~gaps}
    return {name: _of(tables[group], numbers) for name, group in groups.items()}


def tables_of(cases: Sequence[Case], numbers: Sequence[int], threshold: float) -> np.ndarray:
    """Return the counts [annotated][detected] of each image, (images, n + 1, n + 1) int32."""
    return np.stack([_table(case, numbers, threshold) for case in cases])


def _table(case: Case, numbers: Sequence[int], threshold: float) -> np.ndarray:
    """Return the counts [annotated][detected] of an image, the background last."""
    kept = one_per_tooth(case.boxes, case.scores, np.array(numbers)[case.classes - 1])
    single = replace(
        case, boxes=case.boxes[kept], scores=case.scores[kept], classes=case.classes[kept]
    )
    return confusion(single, judge(single, threshold), len(numbers)).astype(np.int32)


def has_gap(teeth: Sequence[int]) -> bool:
    """Return True where a tooth is missing between others of a jaw; a wisdom tooth never is."""
    for quadrants in ((1, 2), (3, 4), (5, 6), (7, 8)):
        places = [place_of(tooth) for tooth in teeth if tooth // 10 in quadrants]
        if places and max(places) - min(places) + 1 > len(set(places)):
            return True
    return False


def _of(tables: np.ndarray, numbers: Sequence[int]) -> dict[str, Any]:
    teeth = int(tables[:, : len(numbers)].sum())
    return {"images": len(tables), "teeth": teeth} | {
        name: interval(ratio_of(*pair), len(tables), SEED)
        for name, pair in shares(tables, numbers).items()
    }


def shares(tables: np.ndarray, numbers: Sequence[int]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return part and whole of each number of `numbering`, (images,) int64 each."""
    size = len(numbers)
    places = np.array([place_of(number) for number in numbers])
    jaws = np.array([(number // 10 - 1) // 2 for number in numbers])
    beside = (np.abs(places[:, None] - places) == 1) & (jaws[:, None] == jaws)
    right = np.eye(size, dtype=bool)
    found = tables[:, :size, :size]
    annotated = tables[:, :size].sum(2)
    detected = tables[:, :, :size].sum(1)
    return {
        "recall": (found.sum((1, 2)), annotated.sum(1)),
        "precision": (found.sum((1, 2)), detected.sum(1)),
        "right_number": ((found * right).sum((1, 2)), found.sum((1, 2))),
        "neighbour": ((found * beside).sum((1, 2)), found.sum((1, 2))),
        "wrong_number": ((found * ~(right | beside)).sum((1, 2)), found.sum((1, 2))),
        "present": (((annotated > 0) & (detected > 0)).sum(1), (annotated > 0).sum(1)),
        "absent": (((annotated == 0) & (detected == 0)).sum(1), (annotated == 0).sum(1)),
    }


def _annotated(table: np.ndarray, numbers: Sequence[int]) -> list[int]:
    return [number for number, row in zip(numbers, table[:-1], strict=True) if row.any()]
