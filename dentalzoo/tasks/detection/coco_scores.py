"""COCO's average precision, by pycocotools."""

import contextlib
import io
from collections.abc import Sequence

import numpy as np

from dentalzoo.errors import require
from dentalzoo.tasks.detection.matching import Case

MOST = 100  # detections of a class and image: COCO's
_EVERY_SIZE = [[0.0, 1e10]]  # square pixels: COCO's range "all"
_OUTSIDE = 1e12  # square pixels, beyond every size: ignored


def coco_scores(cases: Sequence[Case], num_classes: int) -> dict[str, np.ndarray]:
    """Average precision and recall of each class, with the definitions and the code of COCO.

    COCO knows crowds but no difficult objects: those are ignored like objects beyond the range
    of sizes, each with one detection; a second one is wrong, which it is not for PASCAL VOC.

    Returns:
        "ap" (mean over IoU 0.5, 0.55, ..., 0.95), "ap50", "ap75" and "ar100", each (n,) float64 in
        [0, 1], NaN for a class without any object.
    """
    coco_eval = evaluated(cases, num_classes)
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


def evaluated(cases: Sequence[Case], num_classes: int, **params):
    """A `COCOeval` that has accumulated, silent.

    Args:
        params: attributes of its `params`, such as `iouThrs` and `recThrs`.
    """
    cocoeval = require("pycocotools.cocoeval", "panoramic_detection")
    images = [
        {"id": number, "height": case.size[0], "width": case.size[1]}
        for number, case in enumerate(cases, 1)
    ]
    truth, found = [], []
    for image, case in zip(images, cases, strict=True):
        about = {"image_id": image["id"]}
        for box, label, ignored, crowd in zip(
            to_pixels(case.boxes, case.size), case.labels, case.ignored, case.crowd, strict=True
        ):
            area = _OUTSIDE if ignored and not crowd else float(box[2] * box[3])
            entry = {"category_id": int(label), "bbox": box.tolist(), "iscrowd": int(crowd)}
            truth.append(about | entry | {"id": len(truth) + 1, "area": area})
        for box, score, label in zip(
            to_pixels(case.found, case.size), case.scores, case.classes, strict=True
        ):
            entry = {"category_id": int(label), "bbox": box.tolist(), "score": float(score)}
            entry |= {"id": len(found) + 1, "area": float(box[2] * box[3]), "iscrowd": 0}
            found.append(about | entry)
    with contextlib.redirect_stdout(io.StringIO()):
        made = cocoeval.COCOeval(
            _coco(images, truth, num_classes), _coco(images, found, num_classes), "bbox"
        )
        made.params.areaRng, made.params.areaRngLbl = _EVERY_SIZE, ["all"]
        made.params.maxDets = [MOST]
        for key, value in params.items():
            setattr(made.params, key, value)
        made.evaluate()
        made.accumulate()
    return made


def to_pixels(boxes: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Boxes in [0, 1] as COCO keeps them: left, top, width and height in pixels, float64."""
    top, left, bottom, right = (np.float64(boxes).reshape(-1, 4) * [*size, *size]).T
    return np.stack([left, top, right - left, bottom - top], 1)


def _coco(images: list[dict], annotations: list[dict], num_classes: int):
    coco = require("pycocotools.coco", "panoramic_detection").COCO()
    categories = [{"id": label} for label in range(1, num_classes + 1)]
    coco.dataset = {"images": images, "annotations": annotations, "categories": categories}
    coco.createIndex()
    return coco
