"""Regions of single teeth or defects in an image, and the square windows cut around them.

A region comes from a drawing of closed lines, from a connected blob of a mask, or from a box.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from PIL import Image

from dentalzoo.data.formats.base import ImageAnnotation
from dentalzoo.data.formats.rules import turn_points
from dentalzoo.data.io.images import natural_key

Box = tuple[int, int, int, int]

# Ours, over 10 photographs of 960 x 720 with 138 teeth outlined whole: 3 pixels on both sides close
# every gap in their lines; the dark between teeth has up to 0.12 of the median area, teeth that are
# barely visible up to 0.22 and others 0.4 and more; an arch of teeth encloses 10 and more.
_LINE_GAP = 1 / 240  # of the shorter side, on either side of a line
_MIN_AREA, _MAX_AREA = 0.25, 6.0  # of the median region
_MIN_SIDE = 4  # pixels of a box; a smaller one shows nothing
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


def square(
    region: Region, height: int, width: int, margin: float, window: int | None, smallest: int = 1
) -> Box:
    """Return the square window around a region, shifted into the image.

    Args:
        region: in the upright image.
        height, width: of the image in pixels.
        margin: the side in longer sides of the box; a square larger than the image shrinks.
        window: the side in pixels instead; a larger box is then cut, around `region.centre`.
        smallest: the least side in pixels.

    Returns:
        top, left, bottom, right in pixels.
    """
    top, left, bottom, right = region.box
    longer = max(bottom - top, right - left)
    side = min(max(window or math.ceil(margin * longer), smallest), height, width)
    middle = ((top + bottom) / 2, (left + right) / 2) if longer <= side else region.centre
    y, x = (
        min(max(round(c - side / 2), 0), length - side)
        for c, length in zip(middle, (height, width), strict=True)
    )
    return y, x, y + side, x + side


# ---- drawings and masks --------------------------------------------------------------------------


def enclosed_regions(drawing: np.ndarray) -> list[Region]:
    """Return the regions that closed lines enclose, by rows.

    Lines may leave gaps of up to 1/120 of the shorter side. Left out are the surroundings,
    regions cut by the border of the image, and regions far smaller or larger than the others: the
    dark between teeth, the space within an arch.

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
    return [r for r in whole if _MIN_AREA * usual <= r.area <= _MAX_AREA * usual]


def blob_regions(mask: np.ndarray) -> list[Region]:
    """Return the connected blobs of a (H, W) mask of 0 and 1, by rows."""
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


def box_regions(
    annotation: ImageAnnotation, height: int, width: int, turn: int = 1
) -> tuple[list[Region], list[tuple[str, str]]]:
    """Return the boxes of an annotation as regions.

    Args:
        annotation: with boxes in "parts" of the upright image, or in "pixels".
        height, width: of the image that pixels refer to.
        turn: its EXIF orientation where it is not the upright one.

    Returns:
        The regions in the upright image, and (where, reason) of each box that cannot be used.
    """
    scale = (height, width) if annotation.unit == "parts" else (1, 1)
    regions: dict[tuple[Box, str], Region] = {}
    invalid = list(annotation.invalid)
    for raw in annotation.boxes:
        top, left, bottom, right = raw.edges
        edges = (top * scale[0], left * scale[1], bottom * scale[0], right * scale[1])
        try:
            if raw.crowd:
                raise ValueError("a crowd, not one object")
            region = _turned(_box_region(edges, height, width, raw.label), height, width, turn)
            if (region.box, region.label) in regions:
                raise ValueError("the same box as an earlier one")
            regions[region.box, region.label] = region
        except ValueError as error:
            invalid.append((raw.where, " ".join(str(error).split())[:200]))
    return list(regions.values()), sorted(invalid, key=lambda pair: natural_key(pair[0]))


def _box_region(edges: Sequence[float], height: int, width: int, label: str) -> Region:
    """Return the region of top, left, bottom, right in pixels, cut to the image."""
    top, left, bottom, right = edges
    shown = "Received: " + " ".join(f"{e:.4g}" for e in edges) + " (top left bottom right)"
    if not all(math.isfinite(edge) for edge in edges):
        raise ValueError(f"every edge must be a number. {shown}")
    if bottom <= top or right <= left:
        raise ValueError(f"a box must have an area. {shown}")
    slack = _OVERSHOOT * max(height, width)
    if min(top, left) < -slack or bottom > height + slack or right > width + slack:
        raise ValueError(f"a box must lie in its image of {width} x {height}. {shown}")
    # A box that ends at 12.0000001 does not reach into pixel 12.
    box = (
        max(math.floor(top + 0.01), 0),
        max(math.floor(left + 0.01), 0),
        min(math.ceil(bottom - 0.01), height),
        min(math.ceil(right - 0.01), width),
    )
    tall, wide = box[2] - box[0], box[3] - box[1]
    if min(tall, wide) < _MIN_SIDE:
        raise ValueError(f"a box must have {_MIN_SIDE} pixels a side or more. {shown}")
    return Region(box, ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2), tall * wide, label)


def _turned(region: Region, height: int, width: int, turn: int) -> Region:
    """Return a region of the stored image, of `height` x `width`, in the upright one."""
    if turn == 1:
        return region
    points = np.array([region.box[:2], region.box[2:], region.centre])
    one, other, centre = turn_points(points, height, width, turn)
    box = np.rint((*np.minimum(one, other), *np.maximum(one, other))).astype(int)
    top, left, bottom, right = box.tolist()
    y, x = centre.tolist()
    return Region((top, left, bottom, right), (y, x), region.area, region.label)


def shrink_mask(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Shrink (h, w) of 0 and 1 to `size`: 1 where half is covered; every blob keeps a pixel."""
    image = Image.fromarray(mask.astype(np.float32))
    cover = np.asarray(image.resize(size[::-1], Image.Resampling.BOX))
    small = (cover >= 0.5).astype(np.uint8)
    (height, width), (tall, wide) = mask.shape, size
    row_of = (2 * np.arange(height) + 1) * tall // (2 * height)
    column_of = (2 * np.arange(width) + 1) * wide // (2 * width)
    count, blobs, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    kept = np.bincount(blobs[small[row_of][:, column_of] > 0], minlength=count)
    for lost in np.flatnonzero(kept[1:] == 0) + 1:
        left, top, columns, rows, _ = stats[lost]
        blob = blobs[top : top + rows, left : left + columns] == lost
        y, x = np.nonzero(blob)
        covered = np.bincount(row_of[top + y] * wide + column_of[left + x])
        small.flat[covered.argmax()] = 1
    return small
