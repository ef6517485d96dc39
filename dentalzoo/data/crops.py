"""Regions of single teeth or defects in a picture, and the square windows cut around them.

A region comes from a drawing of closed lines, from the blobs of a mask, or from boxes in text.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from dentalzoo.errors import BadFile

Box = tuple[int, int, int, int]

# Ours, over 10 photographs with 145 outlined teeth: gaps in the lines are up to 5 pixels of 720
# wide, the darkness between teeth has up to 0.12 of the median area and the smallest whole tooth
# 0.4; an arch of teeth encloses 10 and more.
_LINE_GAP = 1 / 240  # of the shorter side: what is no wider between two lines is closed
_LEAST_AREA, _MOST_AREA = 0.25, 6.0  # of the median region
_LEAST_SIDE = 4  # pixels of a box; below it there is nothing to see
_OVERSHOOT = 0.01  # of a side: what rounding makes of boxes at the border


@dataclass(frozen=True)
class Region:
    """Where one object is: its box and a pixel of it near the middle, in the upright picture."""

    box: Box  # top, left, bottom, right in pixels, lower ends exclusive
    centre: tuple[float, float]  # y, x
    label: str = ""


def square(
    region: Region, height: int, width: int, margin: float, window: int | None = None
) -> Box:
    """The square window around a region, inside a picture of `height` x `width` pixels.

    Args:
        margin: the side in longer sides of the box; a square larger than the picture shrinks.
        window: the side in pixels instead. A box that is larger is cut, around `centre`.
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


def drawn_regions(lines: np.ndarray) -> list[Region]:
    """The regions that closed lines enclose.

    Lines may leave gaps a little narrower than 1/120 of the shorter side. Left out are the
    surroundings, what the border of the picture cuts, and what is far smaller or larger than the
    others: the dark between teeth, the space within an arch.

    Args:
        lines: (H, W) bool, the lines; where they are most of the picture, they are the ground.

    Returns:
        The regions by rows.
    """
    lines = ~lines if lines.mean() > 0.5 else lines
    height, width = lines.shape
    reach = max(1, round(min(height, width) * _LINE_GAP))
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
    cores = 1 - cv2.dilate(lines.astype(np.uint8), disc)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(cores, connectivity=4)
    inside = [
        i
        for i in range(1, count)
        if stats[i, cv2.CC_STAT_LEFT] > 0
        and stats[i, cv2.CC_STAT_TOP] > 0
        and stats[i, cv2.CC_STAT_LEFT] + stats[i, cv2.CC_STAT_WIDTH] < width
        and stats[i, cv2.CC_STAT_TOP] + stats[i, cv2.CC_STAT_HEIGHT] < height
    ]
    if not inside:
        return []
    areas = stats[inside, cv2.CC_STAT_AREA]
    usual = np.median(areas)
    kept = [
        i
        for i, area in zip(inside, areas, strict=True)
        if _LEAST_AREA * usual <= area <= _MOST_AREA * usual
    ]
    return [_region(labels, stats, i, reach) for i in kept]


def blob_regions(mask: np.ndarray, largest: bool = False) -> list[Region]:
    """The connected blobs of a (H, W) mask of 0 and 1, the largest first.

    Args:
        largest: the largest blob alone.
    """
    count, labels, stats, _ = cv2.connectedComponentsWithStats(
        np.ascontiguousarray(mask, np.uint8), connectivity=8
    )
    order = sorted(range(1, count), key=lambda i: (-stats[i, cv2.CC_STAT_AREA], i))
    return [_region(labels, stats, i) for i in order[: 1 if largest else None]]


def _region(labels: np.ndarray, stats: np.ndarray, index: int, grow: int = 0) -> Region:
    left, top, width, height = (int(v) for v in stats[index, :4])
    rows, columns = np.nonzero(labels[top : top + height, left : left + width] == index)
    away = (rows - height / 2) ** 2 + (columns - width / 2) ** 2
    nearest = int(away.argmin())
    tall, wide = labels.shape
    box = (
        max(top - grow, 0),
        max(left - grow, 0),
        min(top + height + grow, tall),
        min(left + width + grow, wide),
    )
    return Region(box, (float(top + rows[nearest]), float(left + columns[nearest])))


def yolo_regions(
    path: Path, names: Sequence[str] | None, height: int, width: int
) -> tuple[list[Region], list[tuple[int, str]]]:
    """Reads a label file: lines `class cx cy w h`, or `class x y x y x y ...`, all in [0, 1].

    Args:
        names: the names of the classes 0, 1, ...; None takes every number as its own name.

    Returns:
        The regions, and (line, reason) of each line that cannot be used.

    Raises:
        BadFile: the file is no text.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise BadFile(path, f"expected lines `class cx cy w h`. Received: {error}") from error
    regions, bad = {}, []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            region = _yolo_region(line.split(), names, height, width)
            if (region.box, region.label) in regions:
                raise ValueError("the same box as on a line before")
        except ValueError as error:
            bad.append((number, str(error)))
            continue
        regions[region.box, region.label] = region
    return list(regions.values()), bad


def _yolo_region(words, names, height, width) -> Region:
    try:
        values = [float(word) for word in words]
    except ValueError:
        raise ValueError(f"expected numbers. Received: {' '.join(words)[:60]!r}") from None
    if len(values) != 5 and (len(values) < 7 or len(values) % 2 == 0):
        raise ValueError(f"expected `class cx cy w h`. Received: {len(values)} numbers")
    if not all(math.isfinite(v) for v in values):
        raise ValueError(f"every value must be a number. Received: {' '.join(words)[:60]!r}")
    number = values[0]
    if number != int(number) or number < 0 or (names is not None and number >= len(names)):
        known = "" if names is None else f" below {len(names)}"
        raise ValueError(f"a class is a whole number from 0{known}. Received: {words[0]}")
    if len(values) == 5:
        x, y, w, h = values[1:]
        edges = (y - h / 2, x - w / 2, y + h / 2, x + w / 2)
    else:
        xs, ys = values[1::2], values[2::2]
        edges = (min(ys), min(xs), max(ys), max(xs))
    label = str(int(number)) if names is None else names[int(number)]
    return box_region([e * n for e, n in zip(edges, (height, width) * 2, strict=True)], height,
                      width, label)  # fmt: skip


def box_region(edges: Sequence[float], height: int, width: int, label: str = "") -> Region:
    """The region of a box, cut at the borders of its picture.

    Args:
        edges: top, left, bottom, right in pixels.

    Raises:
        ValueError: the box is empty, outside the picture or too small to show anything.
    """
    top, left, bottom, right = edges
    shown = " ".join(f"{edge:.4g}" for edge in edges)
    if not all(math.isfinite(edge) for edge in edges):
        raise ValueError(f"every edge must be a number. Received: {shown}")
    if bottom <= top or right <= left:
        raise ValueError(f"a box without area. Received: {shown} (top left bottom right)")
    slack = _OVERSHOOT * max(height, width)
    if min(top, left) < -slack or bottom > height + slack or right > width + slack:
        raise ValueError(
            f"a box outside the picture of {width} x {height}. Received: {shown} "
            "(top left bottom right)"
        )
    box = (
        max(math.floor(top), 0),
        max(math.floor(left), 0),
        min(math.ceil(bottom), height),
        min(math.ceil(right), width),
    )
    if min(box[2] - box[0], box[3] - box[1]) < _LEAST_SIDE:
        raise ValueError(f"a box of fewer than {_LEAST_SIDE} pixels a side. Received: {shown}")
    return Region(box, ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2), label)


def class_names(folder: Path) -> list[str] | None:
    """The names of the classes 0, 1, ... from `classes.json` or `classes.txt` in a folder.

    Raises:
        BadFile: the file holds no list of names.
    """
    for path in (folder / "classes.json", folder / "classes.txt"):
        if not path.is_file():
            continue
        try:
            text = path.read_text(encoding="utf-8-sig")
            if path.suffix == ".txt":
                return [line.strip() for line in text.splitlines() if line.strip()]
            content = json.loads(text)
            if isinstance(content, dict):  # {"0": "Cavity", ...}
                content = [content[str(i)] for i in range(len(content))]
            if not isinstance(content, list) or not all(isinstance(n, str) for n in content):
                raise ValueError(f"a {type(content).__name__}")
        except (OSError, ValueError, KeyError, RecursionError) as error:
            raise BadFile(
                path,
                'expected a list of names, such as ["Cavity", "Crown"]. Received: '
                f"{type(error).__name__}: {' '.join(str(error).split())[:80]}",
            ) from error
        return content
    return None
