"""Boxes as the arrays that the library supervision holds them in, which need not be installed.

supervision.Detections(**as_detections(sample, classes))
from_detections(detections, "001.png", classes)
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dentalzoo.data.formats.base import Box, BoxSample, RunLengths
from dentalzoo.data.formats.outlines import Regions, count_runs, rasterise
from dentalzoo.data.formats.rules import image_size
from dentalzoo.errors import DentalzooError


def as_detections(sample: BoxSample, classes: Sequence[str]) -> dict[str, Any]:
    """Return the arguments of `supervision.Detections` for the boxes of an image.

    Args:
        sample: annotated or predicted; of its image the header is read, for its size.
        classes: the names of the ids.

    Returns:
        "xyxy" (N, 4) float32 in pixels; "class_id" (N,) int64 from 0; "confidence" (N,) float32,
        or None for annotations; "mask" (N, H, W) bool, or None where an object has no outline;
        "data" with "class_name" (N,).

    Raises:
        BadFile: the image cannot be opened.
        DentalzooError: the class of a box is not in `classes`.
    """
    size, _ = image_size(sample.image)
    boxes = sample.boxes
    unknown = [box.label for box in boxes if box.label not in classes]
    if unknown:
        raise DentalzooError(f"boxes must have the classes {classes}. Received: {unknown[0]!r}")
    scale = (size[1], size[0], size[1], size[0])
    edges = [(box.left, box.top, box.right, box.bottom) for box in boxes]
    scores = [box.score for box in boxes]
    outlined = bool(boxes) and all(box.outline for box in boxes)
    return {
        "xyxy": (np.array(edges, np.float64).reshape(-1, 4) * scale).astype(np.float32),
        "class_id": np.array([classes.index(box.label) for box in boxes], np.int64),
        "confidence": None if None in scores else np.array(scores, np.float32),
        "mask": np.array([_pixels(box, size) for box in boxes]) if outlined else None,
        "data": {"class_name": np.array([box.label for box in boxes], str)},
    }


def from_detections(detections: Any, image: str | Path, classes: Sequence[str]) -> BoxSample:
    """Return the boxes of an image from a `supervision.Detections`, or what looks like one.

    Args:
        detections: with "xyxy" in pixels of the upright image and "class_id" from 0, and
            "confidence" and "mask" where it has them.
        image: its file, of which the header is read.
        classes: the names of the ids.

    Raises:
        BadFile: the image cannot be opened.
        DentalzooError: arrays of other shapes, or an id without a name.
    """
    path = Path(image)
    (height, width), _ = image_size(path)
    edges = np.asarray(detections.xyxy, np.float64)
    ids = getattr(detections, "class_id", None)
    if edges.ndim != 2 or edges.shape[1] != 4 or ids is None or len(ids) != len(edges):
        raise DentalzooError(
            "detections must have xyxy (N, 4) and class_id (N,). "
            f"Received: xyxy {edges.shape}, class_id {None if ids is None else np.shape(ids)}"
        )
    if len(ids) and not 0 <= min(ids) <= max(ids) < len(classes):
        raise DentalzooError(
            f"class ids must be from 0 to {len(classes) - 1}. Received: {min(ids)} to {max(ids)}"
        )
    scores = getattr(detections, "confidence", None)
    masks = getattr(detections, "mask", None)
    boxes = []
    for index, (left, top, right, bottom) in enumerate(edges.tolist()):
        outline = None
        if masks is not None:
            inside = np.asarray(masks[index], bool)
            if inside.shape != (height, width):
                raise DentalzooError(
                    f"masks must have the image's size {(height, width)}. Received: {inside.shape}"
                )
            outline = RunLengths(height, width, tuple(count_runs(inside)))
        boxes.append(
            Box(
                classes[int(ids[index])],
                top / height,
                left / width,
                bottom / height,
                right / width,
                outline=outline,
                score=None if scores is None else float(scores[index]),
            )
        )
    return BoxSample(path.stem, path, tuple(boxes))


def _pixels(box: Box, size: tuple[int, int]) -> np.ndarray:
    """Return the outline of an object as (H, W) bool."""
    outline = box.outline
    if isinstance(outline, RunLengths):
        shape: Any = {"size": [outline.height, outline.width], "counts": [*outline.counts]}
    else:
        shape = [list(polygon) for polygon in outline or ()]
    return rasterise(Regions(Path(), *size, ((1, shape),)), *size) > 0
