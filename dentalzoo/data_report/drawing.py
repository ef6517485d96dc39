"""Pictures of the report, (H, W, 3) uint8."""

from collections.abc import Sequence

import numpy as np

from dentalzoo.data.formats.base import Box
from dentalzoo.plots.pixels import as_rgb, fit
from dentalzoo.tasks.detection import drawing as boxes_drawing
from dentalzoo.tasks.segmentation import drawing as masks_drawing

_SIZE = (480, 360)  # of a picture at most, width and height; ours
_AROUND = 3.0  # the side of a detail as a multiple of what it shows; ours
_LEAST = 0.12  # of the image's side; ours


def picture(image: np.ndarray) -> np.ndarray:
    """Return an image (H, W, 1 or 3) uint8 as small as a picture of the report."""
    return as_rgb(fit(image, _SIZE))


def with_boxes(
    image: np.ndarray,
    boxes: Sequence[Box],
    classes: Sequence[str],
    predicted: Sequence[Box] = (),
) -> np.ndarray:
    """Return an image with boxes and the names of their classes; predicted ones with scores.

    Args:
        image: (H, W, 1 or 3) uint8.
        boxes: annotated.
        classes: all names, in whose order colours are given.
        predicted: of classes that need not be among `classes`.
    """
    names = list(dict.fromkeys([*classes, *(f"model: {box.label}" for box in predicted)]))
    labels = [box.label for box in boxes] + [f"model: {box.label}" for box in predicted]
    edges = [(box.top, box.left, box.bottom, box.right) for box in (*boxes, *predicted)]
    return boxes_drawing.overlay(
        picture(image),
        np.array(edges, np.float64).reshape(-1, 4),
        [names.index(label) + 1 for label in labels],
        names,
    )


def detail(
    image: np.ndarray, boxes: Sequence[Box], classes: Sequence[str], predicted: Sequence[Box] = ()
) -> np.ndarray:
    """Return the part of an image around boxes, with them; as `with_boxes`."""
    every = (*boxes, *predicted)
    low = np.array([min(b.top for b in every), min(b.left for b in every)])
    high = np.array([max(b.bottom for b in every), max(b.right for b in every)])
    size = np.array(image.shape[:2])
    sides = np.clip(max(((high - low) * size).max() * _AROUND, _LEAST * size.max()), 1, size)
    start = np.clip(((low + high) * size - sides) / 2, 0, size - sides).astype(int)
    end = np.minimum(start + np.ceil(sides).astype(int), size)
    part = image[start[0] : end[0], start[1] : end[1]]

    def moved(box: Box) -> Box:
        top, bottom = (
            (edge * size[0] - start[0]) / part.shape[0] for edge in (box.top, box.bottom)
        )
        left, right = (
            (edge * size[1] - start[1]) / part.shape[1] for edge in (box.left, box.right)
        )
        return Box(box.label, top, left, bottom, right, score=box.score)

    return with_boxes(part, [*map(moved, boxes)], classes, [*map(moved, predicted)])


def with_mask(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Return an image with the areas of a mask of class ids, (H, W, 1) uint8."""
    return masks_drawing.overlay(fit(image, _SIZE), fit(mask, _SIZE, ids=True))


def with_two_masks(image: np.ndarray, mask: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Return an image with the outlines of its mask and of a predicted one."""
    small = (fit(one, _SIZE, ids=True) for one in (mask, predicted))
    return masks_drawing.outlines(fit(image, _SIZE), *small)
