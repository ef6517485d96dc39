"""Boxes as COCO's results, with the ids of the data."""

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from dentalzoo.tasks.detection.coco_scores import to_pixels

_log = logging.getLogger("dentalzoo")


def category_ids(classes: Sequence[str], *known: Mapping[str, Any] | None) -> list[int]:
    """Return the category id of each class: those of the data, else 1..n, which is logged.

    Args:
        classes: of the bundle.
        known: class -> id in COCO data, the most important first; a mapping that does not have a
            different number for every class is not used.
    """
    for ids in known:
        numbers = [ids.get(name) for name in classes] if ids else []
        if numbers and all(isinstance(n, int) for n in numbers) and len({*numbers}) == len(numbers):
            return [int(number) for number in numbers if number is not None]
    _log.info("detections.json (COCO) has the category ids 1 to %d, in order", len(classes))
    return list(range(1, len(classes) + 1))


def coco_results(
    image_id: int | str, file: str, size: tuple[int, int], detections: Any, ids: Sequence[int]
) -> Iterator[str]:
    """Yield COCO's result of each box of an image as JSON.

    Args:
        image_id: of the image.
        file: its "file_name".
        size: (height, width) of the image.
        detections: an object with `boxes` (N, 4) as top, left, bottom, right in [0, 1], `scores`
            (N,), and `classes` (N,) from 1.
        ids: the category id of each class.
    """
    for label, score, box in zip(
        detections.classes, detections.scores, to_pixels(detections.boxes, size), strict=True
    ):
        entry = {
            "image_id": image_id,
            "category_id": ids[int(label) - 1],
            "bbox": [round(float(part), 3) for part in np.asarray(box)],
            "score": round(float(score), 6),
            "file_name": file,
        }
        yield json.dumps(entry, ensure_ascii=False)
