"""Regions of single teeth or defects in an image, and the square windows cut around them.

A region comes from a drawing of closed lines, from the blobs of a mask, or from boxes in text.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from dentalzoo.data.formats.coco import Boxes
from dentalzoo.data.io.decode import upright
from dentalzoo.errors import BadFile

Box = tuple[int, int, int, int]

# Ours, over 10 photographs of 960 x 720 with 138 teeth outlined whole: 3 pixels on both sides close
# every gap in their lines; the dark between teeth has up to 0.12 of the median area, teeth that are
# hardly seen up to 0.22 and others 0.4 and more; an arch of teeth encloses 10 and more.
_LINE_GAP = 1 / 240  # of the shorter side, on either side of a line
_LEAST_AREA, _MOST_AREA = 0.25, 6.0  # of the median region
_LEAST_SIDE = 4  # pixels of a box; below it there is nothing to see
_OVERSHOOT = 0.01  # of the longer side: what rounding makes of boxes at the border


@dataclass(frozen=True)
class Region:
    """One object in the upright image.

    Attributes:
        box: top, left, bottom, right in pixels, lower ends exclusive.
        centre: y, x of a pixel of the object near the middle of the box.
        area: in pixels, of the object or else of its box.
        label: its class, or "".
    """

    box: Box
    centre: tuple[float, float]
    area: float
    label: str = ""


def square(region: Region, height: int, width: int, margin: float, window: int | None) -> Box:
    """The square window around a region, shifted into an image of `height` x `width` pixels.

    Args:
        margin: the side in longer sides of the box; a square larger than the image shrinks.
        window: the side in pixels instead; a larger box is then cut, around `region.centre`.

    Returns:
        top, left, bottom, right.
    """
    top, left, bottom, right = region.box
    longer = max(bottom - top, right - left)
    side = min(window or math.ceil(margin * longer), height, width)
    middle = ((top + bottom) / 2, (left + right) / 2) if longer <= side else region.centre
    y, x = (
        min(max(round(c - side / 2), 0), length - side)
        for c, length in zip(middle, (height, width), strict=True)
    )
    return y, x, y + side, x + side


# ---- drawings and masks --------------------------------------------------------------------------


def drawn_regions(drawing: np.ndarray) -> list[Region]:
    """The regions that closed lines enclose, by rows.

    Lines may leave gaps of up to 1/120 of the shorter side. Left out are the surroundings, what
    the border of the image cuts, and what is far smaller or larger than the others: the dark
    between teeth, the space within an arch.

    Args:
        drawing: (H, W) of 0 and 1; the rarer of both are the lines.
    """
    lines = (drawing > 0) != (np.mean(drawing > 0) > 0.5)
    reach = max(1, round(min(lines.shape) * _LINE_GAP))
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
    cores = 1 - cv2.dilate(lines.astype(np.uint8), disc)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(cores, connectivity=4)
    cut = {*labels[[0, -1]].ravel().tolist(), *labels[:, [0, -1]].ravel().tolist()}
    whole = [_region(labels, stats, i, reach) for i in range(1, count) if i not in cut]
    usual = np.median([region.area for region in whole]) if whole else 0
    return [r for r in whole if _LEAST_AREA * usual <= r.area <= _MOST_AREA * usual]


def blob_regions(mask: np.ndarray) -> list[Region]:
    """The connected blobs of a (H, W) mask of 0 and 1, by rows."""
    blobs = cv2.connectedComponentsWithStats(np.ascontiguousarray(mask, np.uint8), connectivity=8)
    count, labels, stats, _ = blobs
    return [_region(labels, stats, i) for i in range(1, count)]


def _region(labels: np.ndarray, stats: np.ndarray, index: int, grow: int = 0) -> Region:
    left, top, width, height, area = (int(v) for v in stats[index])
    rows, columns = np.nonzero(labels[top : top + height, left : left + width] == index)
    nearest = int(((rows - height / 2) ** 2 + (columns - width / 2) ** 2).argmin())
    tall, wide = labels.shape
    box = (
        max(top - grow, 0),
        max(left - grow, 0),
        min(top + height + grow, tall),
        min(left + width + grow, wide),
    )
    return Region(box, (float(top + rows[nearest]), float(left + columns[nearest])), area)


# ---- boxes ---------------------------------------------------------------------------------------


def yolo_regions(
    path: Path, names: Sequence[str] | None, height: int, width: int
) -> tuple[list[Region], list[tuple[str, str]]]:
    """Reads a label file: lines `class cx cy w h`, or `class x y x y x y ...`, all in [0, 1].

    Args:
        names: the names of the classes 0, 1, ...; None takes every number as its own name.
        height, width: of the upright image.

    Returns:
        The regions, and (line, reason) of each line that cannot be used.

    Raises:
        BadFile: the file is no text.
    """
    found = [
        (at, lambda line=line: _yolo_region(line, names, height, width))
        for at, line in yolo_lines(path)
    ]
    return _usable(found)


def yolo_lines(path: Path) -> list[tuple[str, str]]:
    """("line 1", its text) of each line of a label file that is not blank.

    Raises:
        BadFile: the file is no text.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise BadFile(path, f"expected lines `class cx cy w h`. Received: {error}") from error
    return [(f"line {i}", line) for i, line in enumerate(lines, start=1) if line.strip()]


def coco_regions(
    boxes: Boxes, size: tuple[int, int], turn: int = 1
) -> tuple[list[Region], list[tuple[str, str]]]:
    """The boxes of an image that COCO lists: x, y, width, height in pixels.

    Args:
        size: (height, width) of the image the boxes are drawn on.
        turn: its EXIF orientation where it is not the upright one.

    Returns:
        The regions in the upright image, and (box, reason) of each that cannot be used.
    """
    found = [
        (f"box {number}", lambda entry=entry: _turned(_coco_region(*entry, *size), *size, turn))
        for number, entry in enumerate(boxes.boxes, start=1)
    ]
    return _usable(found)


def _usable(found) -> tuple[list[Region], list[tuple[str, str]]]:
    """Makes regions; a ValueError, or the same region again, is a bad one."""
    regions, bad = {}, []
    for where, make in found:
        try:
            region = make()
            if (region.box, region.label) in regions:
                raise ValueError("the same box as one before")
            regions[region.box, region.label] = region
        except ValueError as error:
            bad.append((where, " ".join(str(error).split())[:200]))
    return list(regions.values()), bad


def yolo_edges(line: str, names: Sequence[str] | None) -> tuple[str, tuple[float, ...]]:
    """(class, (top, left, bottom, right)) of a line, in parts of the image.

    Raises:
        ValueError: the line is none, or its class has no name.
    """
    try:
        values = [float(word) for word in line.split()]
    except ValueError:
        raise ValueError(f"expected numbers. Received: {line[:60]!r}") from None
    if len(values) != 5 and (len(values) < 7 or len(values) % 2 == 0):
        raise ValueError(f"expected `class cx cy w h`. Received: {len(values)} numbers")
    if not all(math.isfinite(v) for v in values):
        raise ValueError(f"every value must be a number. Received: {line[:60]!r}")
    number = values[0]
    if number != int(number) or number < 0 or (names is not None and number >= len(names)):
        known = "" if names is None else f", below {len(names)}"
        raise ValueError(f"a class is a whole number from 0{known}. Received: {number:g}")
    if len(values) == 5:
        x, y, w, h = values[1:]
        edges = (y - h / 2, x - w / 2, y + h / 2, x + w / 2)
    else:
        xs, ys = values[1::2], values[2::2]
        edges = (min(ys), min(xs), max(ys), max(xs))
    return str(int(number)) if names is None else names[int(number)], edges


def _yolo_region(line: str, names, height: int, width: int) -> Region:
    label, edges = yolo_edges(line, names)
    edges = [edge * side for edge, side in zip(edges, (height, width) * 2, strict=True)]
    return _box_region(edges, height, width, label)


def coco_edges(box) -> tuple[float, float, float, float]:
    """Top, left, bottom, right of a COCO bbox; ValueError where it is none."""
    try:
        x, y, w, h = (float(value) for value in box)
    except (TypeError, ValueError):
        raise ValueError(f"expected [x, y, width, height]. Received: {box!r}") from None
    return y, x, y + h, x + w


def _coco_region(label: str, box, crowd: bool, height: int, width: int) -> Region:
    if crowd:
        raise ValueError("a crowd, not one object")
    return _box_region(coco_edges(box), height, width, label)


def _box_region(edges: Sequence[float], height: int, width: int, label: str) -> Region:
    """The region of top, left, bottom, right in pixels; at most the image."""
    top, left, bottom, right = edges
    shown = "Received: " + " ".join(f"{e:.4g}" for e in edges) + " (top left bottom right)"
    if not all(math.isfinite(edge) for edge in edges):
        raise ValueError(f"every edge must be a number. {shown}")
    if bottom <= top or right <= left:
        raise ValueError(f"a box without area. {shown}")
    slack = _OVERSHOOT * max(height, width)
    if min(top, left) < -slack or bottom > height + slack or right > width + slack:
        raise ValueError(f"a box beyond its image of {width} x {height}. {shown}")
    # A box that ends at 12.0000001 does not reach into pixel 12.
    box = (
        max(math.floor(top + 0.01), 0),
        max(math.floor(left + 0.01), 0),
        min(math.ceil(bottom - 0.01), height),
        min(math.ceil(right - 0.01), width),
    )
    tall, wide = box[2] - box[0], box[3] - box[1]
    if min(tall, wide) < _LEAST_SIDE:
        raise ValueError(f"a box of fewer than {_LEAST_SIDE} pixels a side. {shown}")
    return Region(box, ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2), tall * wide, label)


def turned(points: np.ndarray, height: float, width: float, turn: int) -> np.ndarray:
    """Points (N, 2) y, x of a stored image of `height` x `width`, in the upright one.

    Args:
        turn: the EXIF orientation.
    """
    stored = np.array([[[0, 0], [0, width]], [[height, 0], [height, width]]])  # its corners y, x
    came = upright(stored, turn)  # at each upright corner the stored one that came there
    size = (width, height) if turn >= 5 else (height, width)
    place = {tuple(came[i, j].tolist()): np.multiply((i, j), size) for i in (0, 1) for j in (0, 1)}
    origin = place[0, 0]
    axes = np.stack([(place[height, 0] - origin) / height, (place[0, width] - origin) / width])
    return origin + points @ axes


def _turned(region: Region, height: int, width: int, turn: int) -> Region:
    """A region of the stored image, of `height` x `width`, in the upright one."""
    if turn == 1:
        return region
    points = np.array([region.box[:2], region.box[2:], region.centre])
    one, other, centre = turned(points, height, width, turn)
    box = np.rint((*np.minimum(one, other), *np.maximum(one, other))).astype(int)
    return Region(tuple(box.tolist()), tuple(centre.tolist()), region.area, region.label)


def class_names_above(folder: Path, root: Path) -> list[str] | None:
    """From the nearest list of names at or above a folder, no higher than `root`."""
    for place in (folder, *folder.parents):
        names = class_names(place)
        if names is not None or place == root:
            return names
    return None


def class_names(folder: Path) -> list[str] | None:
    """The names of the classes 0, 1, ... from `classes.json` or `classes.txt` in a folder.

    Raises:
        BadFile: the file holds no list of names.
    """
    path = next(
        (folder / n for n in ("classes.json", "classes.txt") if (folder / n).is_file()), None
    )
    if path is None:
        return None
    try:
        text = path.read_text(encoding="utf-8-sig")
        if path.suffix == ".txt":
            return [line.strip() for line in text.rstrip().splitlines()]
        content = json.loads(text)
        if isinstance(content, dict):  # {"0": "Cavity", ...}
            content = [content[str(i)] for i in range(len(content))]
        if not isinstance(content, list) or not all(isinstance(n, str) for n in content):
            raise ValueError(f"a {type(content).__name__} of other things")
        return content
    except (OSError, ValueError, KeyError, RecursionError) as error:
        raise BadFile(
            path,
            'expected a list of names, such as ["Cavity", "Crown"]. Received: '
            f"{type(error).__name__}: {' '.join(str(error).split())[:80]}",
        ) from error
