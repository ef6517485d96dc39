"""Pictures of the report, (H, W, 3) uint8."""

from collections.abc import Sequence

import numpy as np

from dentalzoo.data.formats.base import Box
from dentalzoo.plots.pixels import as_rgb, fit
from dentalzoo.tasks.detection import drawing as boxes_drawing
from dentalzoo.tasks.segmentation import drawing as masks_drawing

_SIZE = (480, 360)  # of a picture at most, width and height; ours
_MODEL, _COLOURS = 6, 35  # of `palette()`: vermillion, and how many differ
_MOST_NAMES = 200  # of 255 colours
_AROUND = 3.0  # the side of a detail as a multiple of what it shows; ours
_LEAST = 0.12  # of the image's side; ours


def picture(image: np.ndarray) -> np.ndarray:
    """Return an image (H, W, 1 or 3) uint8 as small as a picture of the report."""
    return as_rgb(fit(image, _SIZE))


def with_boxes(
    image: np.ndarray,
    boxes: Sequence[Box],
    classes: Sequence[str],
    predicted: Box | None = None,
) -> np.ndarray:
    """Return an image with boxes and the names of their classes.

    Args:
        image: (H, W, 1 or 3) uint8.
        boxes: annotated.
        classes: all names, in whose order colours are given.
        predicted: by a model, of a class that need not be among `classes`.
    """
    names = [*classes]
    if len(names) > _MOST_NAMES:  # more than there are colours
        names = list(dict.fromkeys(box.label for box in boxes))[:_MOST_NAMES]
        boxes = [box for box in boxes if box.label in names]
    labels = [names.index(box.label) + 1 for box in boxes]
    if predicted:
        names += [""] * ((_MODEL - len(names) - 1) % _COLOURS) + [f"model: {predicted.label}"]
        labels.append(len(names))
    every = [*boxes, predicted] if predicted else boxes
    edges = [(box.top, box.left, box.bottom, box.right) for box in every]
    edges_array = np.array(edges, np.float64).reshape(-1, 4)
    return boxes_drawing.overlay(picture(image), edges_array, labels, names)


def detail(
    image: np.ndarray, boxes: Sequence[Box], classes: Sequence[str], predicted: Box | None = None
) -> np.ndarray:
    """Return the part of an image around boxes, with them; as `with_boxes`."""
    every = [*boxes, predicted] if predicted else boxes
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

    return with_boxes(part, [*map(moved, boxes)], classes, predicted and moved(predicted))


def with_mask(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Return an image with the areas of a mask of class ids, (H, W, 1) uint8."""
    return masks_drawing.overlay(fit(image, _SIZE), fit(mask, _SIZE, ids=True))


def with_two_masks(image: np.ndarray, mask: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Return an image with the outlines of its mask and of a predicted one."""
    small = (fit(one, _SIZE, ids=True) for one in (mask, predicted))
    return masks_drawing.outlines(fit(image, _SIZE), *small)
