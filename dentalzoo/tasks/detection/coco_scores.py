"""COCO's average precision, by pycocotools."""

import contextlib
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from dentalzoo.tasks.detection.matching import Case

MAX_DETECTIONS = 100  # of a class and image: COCO's
_EVERY_SIZE = [[0.0, 1e10]]  # square pixels: COCO's range "all"
_OUTSIDE = 1e12  # square pixels, beyond every size: ignored


def coco_scores(cases: Sequence[Case], num_classes: int) -> dict[str, np.ndarray]:
    """Return average precision and recall of each class, with COCO's definitions and code.

    COCO knows crowds but no difficult objects: those are ignored like objects beyond the range
    of sizes, each with one detection; a second one is a false positive, which it is not for
    PASCAL VOC.

    Returns:
        "ap" (mean over IoU 0.5, 0.55, ..., 0.95), "ap50", "ap75" and "ar100", each (n,) float64 in
        [0, 1], NaN for a class without any object.
    """
    return scores_of(evaluated(cases, num_classes))


def scores_of(coco_eval: Any) -> dict[str, np.ndarray]:
    """Return the scores of `evaluated` detections, see `coco_scores`."""
    precision = coco_eval.eval["precision"][:, :, :, 0, -1]  # (IoU, recall, class), -1 for none
    recall = coco_eval.eval["recall"][:, :, 0, -1]
    precision = np.where(precision < 0, np.nan, precision)
    recall = np.where(recall < 0, np.nan, recall)
    return {
        "ap": precision.mean((0, 1)),
        "ap50": precision[0].mean(0),
        "ap75": precision[5].mean(0),
        "ar100": recall.mean(0),
    }


def evaluated(cases: Sequence[Case], num_classes: int, **params: Any) -> Any:
    """Return a `COCOeval` that has accumulated, silently.

    Args:
        params: attributes of its `params`, such as `iouThrs` and `recThrs`.
    """
    images = [
        {"id": number, "height": case.size[0], "width": case.size[1]}
        for number, case in enumerate(cases, 1)
    ]
    targets: list[dict[str, Any]] = []
    predictions: list[dict[str, Any]] = []
    for image, case in zip(images, cases, strict=True):
        about = {"image_id": image["id"]}
        for box, label, ignored, crowd in zip(
            to_pixels(case.gt_boxes, case.size),
            case.gt_classes,
            case.ignored,
            case.crowd,
            strict=True,
        ):
            area = _OUTSIDE if ignored and not crowd else float(box[2] * box[3])
            entry = {"category_id": int(label), "bbox": box.tolist(), "iscrowd": int(crowd)}
            targets.append(about | entry | {"id": len(targets) + 1, "area": area})
        for box, score, label in zip(
            to_pixels(case.boxes, case.size), case.scores, case.classes, strict=True
        ):
            entry = {"category_id": int(label), "bbox": box.tolist(), "score": float(score)}
            entry |= {"id": len(predictions) + 1, "area": float(box[2] * box[3]), "iscrowd": 0}
            predictions.append(about | entry)
    with contextlib.redirect_stdout(io.StringIO()):
        coco_eval = COCOeval(
            _coco(images, targets, num_classes), _coco(images, predictions, num_classes), "bbox"
        )
        coco_eval.params.areaRng, coco_eval.params.areaRngLbl = _EVERY_SIZE, ["all"]
        coco_eval.params.maxDets = [MAX_DETECTIONS]
        for key, value in params.items():
            setattr(coco_eval.params, key, value)
        coco_eval.evaluate()
        coco_eval.accumulate()
    return coco_eval


def to_pixels(boxes: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return boxes in [0, 1] as COCO keeps them: left, top, width, height in pixels, float64.

    Args:
        boxes: (N, 4) as top, left, bottom, right.
        size: height and width of the image.
    """
    edges = np.asarray(boxes, np.float64).reshape(-1, 4) * [*size, *size]
    top, left, bottom, right = edges.T
    return np.stack([left, top, right - left, bottom - top], 1)


def _coco(images: list[dict[str, int]], annotations: list[dict[str, Any]], num_classes: int) -> Any:
    coco = COCO()
    categories = [{"id": label} for label in range(1, num_classes + 1)]
    coco.dataset = {"images": images, "annotations": annotations, "categories": categories}
    coco.createIndex()
    return coco
