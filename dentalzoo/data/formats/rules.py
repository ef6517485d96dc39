"""The rules that turn boxes as files have them into boxes in [0, 1] of the upright image."""

import logging
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from dentalzoo.atomic import stamp
from dentalzoo.data.formats.base import (
    Box,
    ImageAnnotation,
    Polygons,
    RunLengths,
    notice_once,
)
from dentalzoo.data.formats.outlines import MAX_REACH, count_runs, run_lengths
from dentalzoo.data.io.decode import upright, upright_size
from dentalzoo.data.io.images import natural_key, read_image
from dentalzoo.data.teeth import number_of
from dentalzoo.errors import BadFile, few_of
from dentalzoo.limits import max_pixels

_log = logging.getLogger("dentalzoo")

# Ours, in pixels of the image: what rounding makes of a box at the border, and the thinnest box.
_ROUNDING = _MIN_SIDE = 0.5
_MIN_INSIDE = 0.5  # ours: the part of a box that the image holds
_FAR = 1e12  # ours: beyond any image, and its area can still be computed
_SAME_SHAPE = 2.0  # pixels: by how much two sizes of one shape may differ, for rounding
_DISPLAY_SHAPE = 0.02  # ours: a window's sides are whole pixels

_BACKWARD, _LEAST_ORDERED = 0.2, 5  # ours; tools write a box that was drawn backward now and then

Size = tuple[int, int]  # height, width
Edges = tuple[float, float, float, float]  # top, left, bottom, right


# ---- classes -------------------------------------------------------------------------------------


class Classes:
    """The classes of a data set, and the class that a label means.

    Args:
        known: the classes of the data; None takes the labels of `annotations`, sorted.
        selected: the classes to keep, in this order; None keeps all.
        annotations: of all images.

    Attributes:
        known: the classes of the data.
        names: the classes that are kept; the id of `names[i]` is i + 1.
        absent: those of `names` that the data do not have.
    """

    def __init__(
        self,
        known: Sequence[str] | None,
        selected: Sequence[str] | None,
        annotations: Iterable[ImageAnnotation],
    ):
        if known is None:
            labels = (" ".join(b.label.split()) for one in annotations for b in one.boxes)
            known = _merge_spellings(Counter(label for label in labels if label))
        self.known = tuple(known)
        self.names = self.known if selected is None else tuple(selected)
        self._all = tuple(dict.fromkeys((*self.names, *self.known)))
        self._loose: dict[str, list[str]] = {}
        for name in self._all:
            self._loose.setdefault(loose_name(name), []).append(name)
        alike = next((n for n in self._loose.values() if len(n) > 1), None)
        if alike and selected is None:
            _log.warning("two classes differ in case or blanks alone: %s", " and ".join(alike))
        self._same_tooth = _same_tooth(self.known, self.names)
        present = {*self.known, *self._same_tooth.values()}
        self.absent = tuple(name for name in self.names if name not in present)

    def look_up(self, label: str) -> str | None:
        """Return the class of a label, whatever its case and blanks; None if it is left out.

        A tooth goes by its number: "11 - Central Incisor" is the "11" that was selected.

        Raises:
            ValueError: there is no such class.
        """
        names = [label] if label in self._all else self._loose.get(loose_name(label), [])
        if len(names) != 1:
            what = f"be one of {', '.join(self.known)}" if label.strip() else "not be empty"
            raise ValueError(f"unknown class; it must {what}. Received: {label[:60]!r}")
        name = self._same_tooth.get(names[0], names[0])
        return name if name in self.names else None


def _same_tooth(known: Sequence[str], selected: Sequence[str]) -> dict[str, str]:
    """Return the selected class of each class that is not selected and has its tooth number."""
    numbers = [number_of(name) for name in selected]
    same = {
        name: selected[numbers.index(number)]
        for name in known
        if name not in selected and (number := number_of(name)) and numbers.count(number) == 1
    }
    if same:
        renamed = [f"{name!r} is {other!r}" for name, other in same.items()]
        _log.info("classes with the same tooth number are the same: %s", few_of(renamed, 3))
    return same


def _merge_spellings(counts: Counter[str]) -> list[str]:
    """Return the labels, sorted; of those that differ in case or blanks alone the commonest."""
    best: dict[str, str] = {}
    for label in sorted(counts, key=lambda label: (-counts[label], label)):
        best.setdefault(loose_name(label), label)
    return sorted(best.values(), key=natural_key)


def loose_name(name: str) -> str:
    """Return a label without its case and blanks, by which spellings of one class are the same."""
    return "".join(name.casefold().split())


# ---- boxes ---------------------------------------------------------------------------------------


@dataclass
class NormalizedBoxes:
    """The boxes of one image after the rules.

    Attributes:
        boxes: those that can be used.
        invalid: (where, reason) of those that cannot.
        repaired: (where, what) of those that were corrected.
        left_out: the labels of those whose class is not selected.
    """

    boxes: list[Box] = field(default_factory=list)
    invalid: list[tuple[str, str]] = field(default_factory=list)
    repaired: list[tuple[str, str]] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)


def normalize_boxes(
    image: Path, annotation: ImageAnnotation, classes: Classes, outlines: bool = False
) -> NormalizedBoxes:
    """Return the boxes of an annotation in [0, 1] of the upright image.

    docs/data_formats.md has the rules. Of the image its header is read.

    Args:
        image: the file.
        annotation: of the image.
        classes: of the data set.
        outlines: also return the outline of each object that has one, in pixels.

    Raises:
        BadFile: the image cannot be opened, or the annotation is of another size.
    """
    size, turn = image_size(image)
    frame, turn, notes = _frame(image, annotation, size, turn)
    result = NormalizedBoxes(
        invalid=list(annotation.invalid), repaired=[("", note) for note in notes]
    )
    seen = set()
    for raw in annotation.boxes:
        try:
            name = classes.look_up(raw.label)
            if name is None:
                result.left_out.append(raw.label)
                continue
            edges, notes = _normalize_edges(raw.edges, frame, turn, size)
            outline = normalize_outline(raw.outline, frame, turn, size) if outlines else None
        except ValueError as error:
            result.invalid.append((raw.where, str(error)))
            continue
        if name != raw.label:
            notes.append(f"class read as {name!r}. Received: {raw.label[:60]!r}")
        key = (name, outline, *(round(edge, 6) for edge in edges))
        if key in seen:
            notes = ["the same box as an earlier one; it counts once"]
        else:
            marks = raw.difficult, raw.crowd
            box = Box(name, *edges, *marks, outline, None, raw.source, raw.attributes)
            result.boxes.append(box)
        seen.add(key)
        result.repaired += [(raw.where, note) for note in (*raw.repaired, *notes)]
    return result


def check_order(source: str | Path, images: Iterable[tuple[Size | None, Iterable[Edges]]]) -> None:
    """Check that boxes do not hold x, y, width and height where corners belong.

    Args:
        source: the data folder, for messages.
        images: (height, width) of each image and the edges of its boxes as they are stored.

    Raises:
        BadFile: one in five of 5 boxes or more ends before it begins, and all of them fit into
            their images as x, y, width, height.
    """
    total = backward = 0
    for size, boxes in images:
        height, width = size or (math.inf, math.inf)
        for y, x, h, w in boxes:
            if not (h > 0 and w > 0 and x + w <= width + 2 and y + h <= height + 2):
                return
            total += 1
            backward += w < x or h < y
    if total >= _LEAST_ORDERED and backward > _BACKWARD * total:
        raise BadFile(
            source,
            "boxes must be corners, but all of them fit as x, y, width, height. "
            f"Received: {backward} of {total} boxes that end before they begin",
        )


def image_size(image: Path) -> tuple[Size, int]:
    """Return the size of the upright image and its EXIF orientation, from its header.

    A header is read once for as long as the size and time of the file stay the same.

    Returns:
        ((height, width) in pixels, orientation 1..8).

    Raises:
        BadFile: the file is not an image.
    """
    return _image_size(image, (*stamp(image), getattr(image, "location", None)))


@lru_cache(maxsize=1 << 16)
def _image_size(image: Path, key: tuple[object, ...]) -> tuple[Size, int]:
    known = upright_size(image, max_pixels())
    if known is None:  # DICOM: its errors show only when it is decoded
        height, width, _ = read_image(image).shape
        return (height, width), 1
    return known


def _frame(
    image: Path, annotation: ImageAnnotation, size: Size, turn: int
) -> tuple[Size, int, list[str]]:
    """Return what the boxes were drawn on.

    Returns:
        Its (height, width), the EXIF orientation that turns it upright, and what was corrected.
    """
    height, width = size
    notes = list(annotation.repaired)
    if not annotation.boxes:  # and so nothing to place
        return size, 1, notes
    if turn > 1 and (annotation.unit == "parts" or annotation.size == size):
        notice_once("boxes of turned images are taken as drawn upright", image.parent)
    if annotation.unit == "parts":
        return (1, 1), 1, notes
    if annotation.size is None:
        return size, 1, notes + ["no size; the image's is taken"]
    if annotation.size == size:
        return size, 1, notes
    tall, wide = annotation.size
    shown = f"Received: {wide} x {tall} (width x height)"
    as_upright = _stretch(annotation.size, size)
    as_stored = _stretch(annotation.size, (width, height))
    if turn >= 5 and as_upright > as_stored <= _SAME_SHAPE / min(*size, *annotation.size):
        notes.append(f"drawn on the stored image; turned upright with it. {shown}")
        return annotation.size, turn, notes
    if annotation.unit == "display":
        if min(as_upright, as_stored if turn >= 5 else as_upright) > _DISPLAY_SHAPE:
            notes.append(f"drawn on a window of another shape; stretched. {shown}")
        return annotation.size, turn if turn >= 5 and as_stored < as_upright else 1, notes
    if as_upright <= _SAME_SHAPE / min(*size, *annotation.size):
        return annotation.size, 1, notes + [f"drawn on another size; scaled to the image. {shown}"]
    ends = [(max(b.edges[::2]), max(b.edges[1::2])) for b in annotation.boxes]
    fits = all(y <= height + 1 and x <= width + 1 for y, x in ends)
    if annotation.size == size[::-1] and fits and any(y > tall or x > wide for y, x in ends):
        return size, 1, notes + [f"width and height were exchanged. {shown}"]
    raise BadFile(
        annotation.source,
        f"must have the size of {image.name}, {width} x {height} (width x height), or its shape. "
        f"{shown}",
    )


def _stretch(size: Size, other: Size) -> float:
    """Return how far two sizes are from one shape; 0 for the same shape."""
    return abs(size[0] * other[1] / (size[1] * other[0]) - 1)


def _normalize_edges(
    edges: tuple[float, float, float, float], frame: Size, turn: int, size: Size
) -> tuple[tuple[float, float, float, float], list[str]]:
    """Return edges in [0, 1] of the upright image of `size`, and what was corrected.

    Raises:
        ValueError: the box cannot be used.
    """
    shown = "Received: " + " ".join(f"{e:.5g}" for e in edges) + " (top left bottom right)"
    if not all(math.isfinite(edge) and abs(edge) < _FAR for edge in edges):
        raise ValueError(f"every edge must be a number. {shown}")
    notes = []
    top, bottom = sorted(edges[::2])
    left, right = sorted(edges[1::2])
    if (top, left, bottom, right) != tuple(edges):
        notes.append(f"edges exchanged: the lower end came first. {shown}")
    corners = np.divide([[top, left], [bottom, right]], frame)
    if turn > 1:
        corners = np.sort(turn_points(corners, 1, 1, turn), axis=0)
    inside = np.clip(corners, 0, 1)
    whole, kept = ((c[1] - c[0]) * size for c in (corners, inside))  # height, width in pixels
    if whole.min() < _MIN_SIDE:
        raise ValueError(f"a box must have an area. {shown}")
    if kept.prod() < _MIN_INSIDE * whole.prod() or kept.min() < _MIN_SIDE:
        raise ValueError(
            f"at least half of a box must lie inside its image of {size[1]} x {size[0]}. {shown}"
        )
    if (np.abs(corners - inside) * size).max() > _ROUNDING:
        notes.append(f"cut off at the border of the image. {shown}")
    y0, x0, y1, x1 = inside.ravel().tolist()
    return (y0, x0, y1, x1), notes


def normalize_outline(
    outline: Any, frame: Size, turn: int, size: Size
) -> Polygons | RunLengths | None:
    """Return a COCO segmentation in pixels of the upright image.

    Args:
        outline: polygons in the unit of `frame`, or run lengths of its size; None stays None.
        frame: (height, width) of what the outline was drawn on.
        turn: the EXIF orientation that turns it upright.
        size: (height, width) of the upright image.

    Raises:
        ValueError: it is broken, or run lengths are of another size than the image.
    """
    if not outline:
        return None
    try:
        return _normalize_outline(outline, frame, turn, size)
    except (TypeError, KeyError, IndexError, OverflowError, MemoryError) as error:
        what = " ".join(str(error).split())[:80]
        raise ValueError(f"an outline must be polygons or run lengths. Received: {what}") from None


def _normalize_outline(
    outline: Any, frame: Size, turn: int, size: Size
) -> Polygons | RunLengths | None:
    if isinstance(outline, dict):
        stored = size[::-1] if turn >= 5 else size
        inside = upright(run_lengths(outline, *stored), turn)
        return RunLengths(*size, tuple(count_runs(inside)))
    polygons = []
    for polygon in outline:
        points = np.reshape(np.asarray(polygon, np.float64), (-1, 2))[:, ::-1]
        if len(points) < 3:
            continue  # covers nothing
        parts = points / frame
        if turn > 1:
            parts = turn_points(parts, 1, 1, turn)
        if not np.isfinite(parts).all() or np.abs(parts).max() > MAX_REACH:
            raise ValueError("every point of an outline must be a number near the image")
        if turn > 1 or tuple(frame) != tuple(size):
            points = parts * size
        polygons.append(tuple(points[:, ::-1].ravel().tolist()))
    return tuple(polygons) or None


def turn_points(points: np.ndarray, height: float, width: float, turn: int) -> np.ndarray:
    """Return points of a stored image in the coordinates of the upright one.

    Args:
        points: (N, 2) y, x in the stored image.
        height, width: of the stored image.
        turn: its EXIF orientation.

    Returns:
        (N, 2) y, x in the upright image.
    """
    stored = np.array([[[0, 0], [0, width]], [[height, 0], [height, width]]])  # its corners y, x
    came = upright(stored, turn)  # at each upright corner the stored one that came there
    size = (width, height) if turn >= 5 else (height, width)
    target = {tuple(came[i, j].tolist()): np.multiply((i, j), size) for i in (0, 1) for j in (0, 1)}
    origin = target[0, 0]
    axes = np.stack([(target[height, 0] - origin) / height, (target[0, width] - origin) / width])
    return np.asarray(origin + points @ axes)


def orientation_to_fit(source: Path, image: Path, size: Size, target: Size, turn: int) -> int:
    """Return the EXIF orientation that takes an annotation of `size` to the upright image's.

    Args:
        source: the file of the annotation.
        image: its image.
        size: (height, width) of the annotation.
        target: (height, width) of the upright image.
        turn: the EXIF orientation of the image.

    Raises:
        BadFile: the annotation fits neither the upright image nor the stored one.
    """
    if tuple(size) == tuple(target):
        return 1
    if turn >= 5 and tuple(size) == tuple(target[::-1]):
        return turn
    raise BadFile(
        source,
        f"must have the size of {image.name}, {target[1]} x {target[0]} (width x height). "
        f"Received: {size[1]} x {size[0]}",
    )
