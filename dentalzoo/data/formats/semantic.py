"""Objects and label maps: what an image of class ids can hold of objects, and objects out of it."""

from collections.abc import Sequence

import cv2
import numpy as np

from dentalzoo.data.formats.base import Box, BoxSample, RawBox, RunLengths
from dentalzoo.data.formats.outlines import as_coco, count_runs, fill, objects_of_mask
from dentalzoo.data.formats.rules import image_size

MAX_CLASSES = 254  # of 8 bits, without the background and 255, which many tools ignore
_SAME_EDGE = 1.0  # ours, in pixels, as `writing.losses` has it

Size = tuple[int, int]  # height, width
Edges = tuple[float, float, float, float]  # top, left, bottom, right


# ---- objects to label maps -----------------------------------------------------------------------


def lost(samples: Sequence[BoxSample]) -> list[str]:
    """Return a phrase for each object that would not come back from a label map.

    A label map has one class for each pixel: its objects are the connected areas of a class.
    """
    return [phrase for sample in samples for phrase in _lost_of(sample)]


def _lost_of(sample: BoxSample) -> list[str]:
    size, _ = image_size(sample.image)
    outlined = [box for box in sample.boxes if box.outline]
    masks = [(box, fill(as_coco(box.outline), *size)) for box in outlined if box.outline]
    taken = np.zeros(size, bool)
    near: dict[str, np.ndarray] = {}  # the pixels of a class, and those around them
    problems = []
    for box, inside in masks:
        around = near.setdefault(box.label, np.zeros(size, bool))
        if not inside.any():
            problems.append("without a pixel of its own")
        elif (inside & taken).any():
            problems.append("overlapping another one")
        elif (inside & around).any():
            problems.append("touching another one of its class")
        elif cv2.connectedComponents(inside.astype(np.uint8), connectivity=8)[0] > 2:
            problems.append("of several parts")
        elif not _is_extent(box, inside):
            problems.append("with a box that is not the extent of the outline")
        taken |= inside
        near[box.label] = around | _grown(inside)
    return problems


def _grown(inside: np.ndarray) -> np.ndarray:
    return cv2.dilate(inside.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0


def _is_extent(box: Box, inside: np.ndarray) -> bool:
    height, width = inside.shape
    edges = (box.top * height, box.left * width, box.bottom * height, box.right * width)
    return all(abs(a - b) <= _SAME_EDGE for a, b in zip(edges, extent(inside), strict=True))


def label_map(sample: BoxSample, size: Size, names: Sequence[str]) -> np.ndarray:
    """Return the ids (H, W) uint8 of the objects with an outline; of overlapping ones the last."""
    ids = np.zeros(size, np.uint8)
    for box in sample.boxes:
        if box.outline:
            ids[fill(as_coco(box.outline), *size)] = names.index(box.label) + 1
    return ids


# ---- label maps to objects -----------------------------------------------------------------------


def whole_classes(ids: np.ndarray, names: Sequence[str]) -> list[RawBox]:
    """Return one object for each class of a label map (H, W): all of its pixels."""
    return [
        whole(names[number - 1], ids == number, names[number - 1])
        for number in np.unique(ids[ids > 0]).tolist()
    ]


def areas(ids: np.ndarray, names: Sequence[str]) -> list[RawBox]:
    """Return the connected areas of each class of a label map (H, W) as objects."""
    height, width = ids.shape
    objects = []
    for number, box in enumerate(objects_of_mask(ids, names), start=1):
        edges = (box.top * height, box.left * width, box.bottom * height, box.right * width)
        outline = as_coco(box.outline) if isinstance(box.outline, tuple | RunLengths) else None
        objects.append(RawBox(box.label, edges, f"area {number}", outline=outline))
    return objects


def whole(name: str, inside: np.ndarray, where: str) -> RawBox:
    """Return an object of the pixels (H, W) bool, of which there is one or more."""
    runs = {"size": list(inside.shape), "counts": count_runs(inside)}
    return RawBox(name, extent(inside), where, outline=runs)


def extent(inside: np.ndarray) -> Edges:
    """Return top, left, bottom, right of the pixels (H, W) bool; the lower ends exclusive."""
    rows, columns = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
    return float(rows[0]), float(columns[0]), float(rows[-1] + 1), float(columns[-1] + 1)
