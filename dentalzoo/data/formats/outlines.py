"""Outlines of objects as COCO segmentations: drawn as masks, and traced from masks."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from pycocotools import mask as coco

from dentalzoo.data.formats.base import Box, Polygons, RunLengths
from dentalzoo.errors import BadFile

MAX_REACH = 4  # ours, in sides of the image: a point further out is a mistake, and slow to draw

_Corner = tuple[int, int]  # x, y


@dataclass(frozen=True)
class Regions:
    """The outlines of one image.

    Attributes:
        source: the annotation file.
        height, width: that the outlines refer to; None where the file does not say.
        shapes: (class id >= 1, COCO segmentation) of each object.
        parts: the outlines are in parts of the upright image, not in pixels.
        problem: why they cannot be drawn; "" where they can.
    """

    source: Path
    height: int | None
    width: int | None
    shapes: tuple[tuple[int, object], ...]
    parts: bool = False
    problem: str = ""


# ---- outlines to masks ---------------------------------------------------------------------------


def rasterise(regions: Regions, height: int, width: int) -> np.ndarray:
    """Draw outlines as a mask, the largest first, so that a filling shows on its crown.

    Returns:
        (height, width) uint8 class ids, 0 = background.

    Raises:
        BadFile: an outline is missing, broken, or of another size.
    """
    if regions.problem:
        raise BadFile(regions.source, regions.problem)
    layers = []
    for number, (class_id, segmentation) in enumerate(regions.shapes):
        try:
            scale = (width, height) if regions.parts else (1, 1)
            inside = fill(segmentation, height, width, scale)
        except (ValueError, TypeError, KeyError, IndexError, OverflowError) as error:
            raise BadFile(
                regions.source,
                f"outline {number + 1} of an image is invalid. "
                f"Received: {' '.join(str(error).split())[:120]}",
            ) from error
        layers.append((-int(inside.sum()), number, class_id, inside))
    mask = np.zeros((height, width), np.uint8)
    for _, _, class_id, inside in sorted(layers, key=lambda layer: layer[:2]):
        mask[inside] = class_id
    return mask


def outline_edges(segmentation: Any) -> tuple[float, float, float, float]:
    """Return the extent of a COCO segmentation.

    Returns:
        top, left, bottom, right in its own unit; the lower ends exclusive.

    Raises:
        ValueError: it holds nothing, or is broken.
    """
    try:
        if isinstance(segmentation, dict):
            height, width = (int(side) for side in segmentation["size"])
            rows, columns = np.nonzero(run_lengths(segmentation, height, width))
            ends = (rows.min(), columns.min(), rows.max() + 1, columns.max() + 1)
            return tuple(float(end) for end in ends)  # type: ignore[return-value]  # four of them
        points = np.concatenate([np.reshape(p, (-1, 2)) for p in segmentation]).astype(float)
        (left, top), (right, bottom) = points.min(0), points.max(0)
        return float(top), float(left), float(bottom), float(right)
    except (ValueError, TypeError, KeyError, IndexError, OverflowError) as error:
        what = " ".join(str(error).split())[:80]
        raise ValueError(f"the outline must hold an area. Received: {what}") from None


def as_coco(outline: Polygons | RunLengths) -> list[list[float]] | dict[str, list[int]]:
    """Return the outline of a `Box` as a COCO segmentation."""
    if isinstance(outline, RunLengths):
        return {"size": [outline.height, outline.width], "counts": list(outline.counts)}
    return [list(polygon) for polygon in outline]


def along_pixels(outline: Polygons) -> bool:
    """Return whether polygons run along the edges of pixels, and so hold whole pixels alone."""
    for polygon in outline:
        points = np.reshape(polygon, (-1, 2))
        steps = np.roll(points, -1, 0) - points
        if (points != np.round(points)).any() or (steps != 0).all(1).any():
            return False
    return True


def run_lengths(segmentation: dict[str, Any], height: int, width: int) -> np.ndarray:
    """Return the pixels (height, width) bool of run lengths, compressed or not."""
    if list(segmentation["size"]) != [height, width]:
        raise ValueError(f"run lengths of size {segmentation['size']}, not {[height, width]}")
    counts = segmentation["counts"]
    counts = _decompress(counts) if isinstance(counts, str) else counts
    if any(not isinstance(n, int) or n < 0 for n in counts) or sum(counts) != height * width:
        raise ValueError(f"run lengths that do not add up to {height} x {width}")
    runs = np.repeat(np.arange(len(counts)) % 2 == 1, counts)
    return runs.reshape(width, height).T  # column by column, as COCO stores them


def fill(segmentation: Any, height: int, width: int, scale: tuple[int, int] = (1, 1)) -> np.ndarray:
    """Return the pixels (height, width) bool of a COCO segmentation.

    Args:
        segmentation: polygons, or run lengths of this size.
        height, width: of the image in pixels.
        scale: what x and y of polygons are multiplied with.

    Raises:
        ValueError: it is broken.
    """
    if isinstance(segmentation, dict):
        return run_lengths(segmentation, height, width)
    if not segmentation:
        raise ValueError("a box without an outline")
    polygons = []
    for polygon in segmentation:
        reach = MAX_REACH * max(height, width)
        polygon = [value * scale[i % 2] for i, value in enumerate(polygon)]
        if len(polygon) % 2 or not all(math.isfinite(v) and abs(v) <= reach for v in polygon):
            raise ValueError(
                "a polygon with an odd number of coordinates, or with points far outside"
            )
        if len(polygon) >= 6:  # fewer than three points cover nothing
            polygons.append([float(v) for v in polygon])
    if not polygons:
        return np.zeros((height, width), bool)
    merged = coco.merge(coco.frPyObjects(polygons, height, width))
    return np.asarray(coco.decode(merged), bool)


def _decompress(text: str) -> list[int]:
    """Return the run lengths in COCO's compressed string.

    It has 5 bits a character, and each count from the third on as the difference to the one two
    before. pycocotools leaves memory unset where too few are given.
    """
    counts: list[int] = []
    value, shift = 0, 0
    for character in text:
        bits = ord(character) - 48
        if not 0 <= bits < 64:
            raise ValueError(f"{character!r} in compressed run lengths")
        value |= (bits & 31) << shift
        shift += 5
        if not bits & 32:
            if bits & 16:
                value -= 1 << shift
            counts.append(value + (counts[-2] if len(counts) > 2 else 0))
            value, shift = 0, 0
    return counts


# ---- masks to outlines ---------------------------------------------------------------------------


def objects_of_mask(
    mask: np.ndarray,
    classes: Sequence[str],
    tolerance: float | None = None,
    *,
    min_area: int = 1,
    whole: bool = False,
) -> list[Box]:
    """Return the connected areas of each class of a mask as objects.

    Areas that touch at a corner are one. An area with a hole has run lengths, any other polygons.

    Args:
        mask: (H, W) class ids, 0 = background.
        classes: the names of the ids 1..n.
        tolerance: how far a polygon may be from the edge of the area, in pixels; None for polygons
            along the edges of the pixels, which cover exactly these pixels.
        min_area: areas of fewer pixels are left out.
        whole: the areas of a class are one object, as of a tooth that a gap divides; its polygons
            are the largest first.

    Returns:
        Boxes with outlines, by class, then by rows.
    """
    height, width = mask.shape
    boxes = []
    for number, label in enumerate(classes, start=1):
        _, names, stats, _ = cv2.connectedComponentsWithStats(
            np.asarray(mask == number, np.uint8), connectivity=8
        )
        areas = [a for a in range(1, len(stats)) if stats[a, cv2.CC_STAT_AREA] >= min_area]
        for group in [areas] if whole and areas else [[area] for area in areas]:
            corners = stats[group, :2]
            left, top = (int(v) for v in corners.min(axis=0))
            right, bottom = (int(v) for v in (corners + stats[group, 2:4]).max(axis=0))
            window = np.isin(names[top:bottom, left:right], group)
            boxes.append(
                Box(
                    label,
                    top / height,
                    left / width,
                    bottom / height,
                    right / width,
                    outline=_outline(window, top, left, (height, width), tolerance),
                )
            )
    return boxes


def _outline(
    window: np.ndarray, top: int, left: int, size: tuple[int, int], tolerance: float | None
) -> Polygons | RunLengths:
    """Return the outline of an area whose `window` begins at (top, left) of an image of `size`."""
    loops = outlines(window)
    if not all(turns_right(loop) for loop in loops):
        whole = np.zeros(size, bool)
        whole[top : top + window.shape[0], left : left + window.shape[1]] = window
        return RunLengths(*size, tuple(count_runs(whole)))
    loops.sort(key=lambda loop: -cv2.contourArea(loop.astype(np.int32)))
    if tolerance is not None:
        loops = [_simplified(loop, tolerance) for loop in loops]
    return tuple(tuple((loop + (left, top)).ravel().astype(float).tolist()) for loop in loops)


def _simplified(loop: np.ndarray, tolerance: float) -> np.ndarray:
    """Return a loop with fewer points, none of its edge further away than `tolerance`."""
    simple = cv2.approxPolyDP(loop.astype(np.int32)[:, None], tolerance, closed=True)[:, 0]
    return simple if len(simple) >= 3 else loop


def segmentation(inside: np.ndarray) -> list[list[int]] | dict[str, list[int]]:
    """Return the COCO segmentation of a mask (H, W) bool.

    Returns:
        Polygons [x, y, x, y, ...] along the edges of the pixels, which pycocotools fills with
        exactly these pixels; uncompressed run lengths where there are holes.
    """
    loops = outlines(inside)
    if all(turns_right(loop) for loop in loops):
        return [loop.ravel().tolist() for loop in loops]
    return {"size": list(inside.shape), "counts": count_runs(inside)}


def count_runs(inside: np.ndarray) -> list[int]:
    """Return the uncompressed run lengths of a mask (H, W) bool, as COCO counts them."""
    columns = inside.T.ravel()
    changes = np.flatnonzero(columns[1:] != columns[:-1]) + 1
    counts = np.diff([0, *changes, columns.size]).tolist()
    return [0, *counts] if columns[0] else counts


def outlines(inside: np.ndarray) -> list[np.ndarray]:
    """Return the borders of a mask (H, W) bool, along the edges of pixels.

    Pixels that touch at a corner alone lie in different loops, or in one that meets itself there.
    Loops around an area turn right on the screen, those around a hole turn left.

    Returns:
        Closed loops of corners (N, 2) int64, x and y.
    """
    padded = np.pad(inside, 1)
    here = padded[1:-1, 1:-1]
    steps: dict[
        _Corner, list[_Corner]
    ] = {}  # corner (x, y) -> the corners that an edge leads to, the mask on its right
    for dy, dx, start, end in (
        (-1, 0, (0, 0), (1, 0)),
        (0, 1, (1, 0), (1, 1)),
        (1, 0, (1, 1), (0, 1)),
        (0, -1, (0, 1), (0, 0)),
    ):
        outside = ~padded[1 + dy : padded.shape[0] - 1 + dy, 1 + dx : padded.shape[1] - 1 + dx]
        for y, x in np.argwhere(here & outside).tolist():
            corner = (x + start[0], y + start[1])
            steps.setdefault(corner, []).append((x + end[0], y + end[1]))
    # From the left: two areas never meet at the leftmost corner that is left.
    return [_corners(_follow(steps, first)) for first in sorted(steps) if first in steps]


def _follow(steps: dict[_Corner, list[_Corner]], first: _Corner) -> list[_Corner]:
    """Take a closed loop of points out of `steps`, one pixel edge from each to the next."""
    loop: list[_Corner] = []
    point, heading = first, None
    while point != first or not loop:
        ends = steps[point]
        if heading is not None and len(ends) > 1:  # two areas meet here: stay with this one
            right = (point[0] - heading[1], point[1] + heading[0])
            end = ends.pop(ends.index(right))
        else:
            end = ends.pop()
        if not ends:
            del steps[point]
        loop.append(point)
        heading = (end[0] - point[0], end[1] - point[1])
        point = end
    return loop


def _corners(loop: list[_Corner]) -> np.ndarray:
    """Return the points of a loop where it turns."""
    points = np.array(loop)
    before, after = points - np.roll(points, 1, 0), np.roll(points, -1, 0) - points
    return np.asarray(points[(before != after).any(1)])


def turns_right(loop: np.ndarray) -> bool:
    """Return whether a loop of `outlines` goes around an area, not around a hole."""
    (x, y), (next_x, next_y) = loop.T, np.roll(loop, -1, 0).T
    return bool((x * next_y - next_x * y).sum() > 0)
