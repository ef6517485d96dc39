"""Compare the boxes of COCO annotations with their outlines: contradictions are refused or said."""

import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from dentalzoo.data.formats.outlines import run_lengths
from dentalzoo.errors import BadFile

# All ours.
_FAR = 0.25  # of the longer side, at least 2 pixels: an edge beyond its outline
_LEAST_SIDE = 8  # pixels
_MANY, _FEW = 0.2, 4  # boxes that contradict their outlines: part and number
_ROWS = "the extent, counted row by row,"
_TESTED = 100  # run lengths of a file, evenly chosen: to draw them takes long

_Size = tuple[int, int] | None  # height, width
_Edges = tuple[float, float, float, float]  # left, top, right, bottom


def finite_numbers(values: Any) -> list[float]:
    """Return a list of finite numbers; an empty one where it holds something else."""
    if not isinstance(values, list):
        return []
    try:
        numbers = [float(value) for value in values]
    except (TypeError, ValueError, OverflowError):
        return []
    return numbers if all(map(math.isfinite, numbers)) else []


def compare_outlines(path: Path, entries: Sequence[tuple[_Size, dict[str, Any]]]) -> list[str]:
    """Return notes: many boxes contradict their outlines, or polygons lie in each other.

    Args:
        path: the file, for messages.
        entries: (height, width) of the image, where it is known, and the annotation.

    Raises:
        BadFile: most boxes that contradict their outlines would agree in another order.
    """
    totals: Counter[str] = Counter()  # of polygons and of run lengths
    others: Counter[tuple[str, str]] = Counter()
    drawn = [i for i, (_, e) in enumerate(entries) if isinstance(e.get("segmentation"), dict)]
    tested = {*drawn[:: len(drawn) // _TESTED + 1]}
    nested = 0
    for index, (size, entry) in enumerate(entries):
        bbox, outline = finite_numbers(entry.get("bbox")), entry.get("segmentation")
        if isinstance(outline, list):
            polygons = [flat for polygon in outline if (flat := finite_numbers(polygon))]
            nested += len(polygons) > 1 and _are_nested(polygons)
            extent = _extent(polygons)
            extents = {"": extent} if extent else {}
        elif index in tested:
            extents = _extents_of_pixels(outline)
        else:
            continue
        known = extents.pop("", None)
        if len(bbox) != 4 or known is None:
            continue
        kind = "run lengths" if isinstance(outline, dict) else "polygons"
        totals[kind] += 1
        room = _FAR * max(known[2] - known[0], known[3] - known[1], _LEAST_SIDE)
        x, y, w, h = bbox
        if _difference((x, y, x + w, y + h), known) > room:
            others[kind, _other_order((x, y, w, h), size, known, extents, room)] += 1
    for (kind, order), count in others.items():
        if order and 2 * count > totals[kind]:
            raise BadFile(
                path,
                f"boxes must be [x, y, width, height], but most are {order} of their {kind}. "
                f"Received: {count} of {totals[kind]} boxes",
            )
    notes = []
    other, total = others.total(), totals.total()
    if other > max(_MANY * total, _FEW) or 2 * other > total:
        notes.append(
            f"{other} of {total} boxes are not the extent of their polygons; both are kept"
        )
    if nested:
        notes.append(
            f"{nested} objects have a polygon inside of another one; COCO knows no holes, and it "
            "is filled"
        )
    return notes


def _extent(polygons: Sequence[Sequence[float]]) -> _Edges | None:
    xs = [x for polygon in polygons for x in polygon[::2]]
    ys = [y for polygon in polygons for y in polygon[1::2]]
    return (min(xs), min(ys), max(xs), max(ys)) if ys else None


def _extents_of_pixels(outline: Any) -> dict[str, _Edges]:
    """Return the extent of run lengths, and that of the same counts row by row."""
    try:
        height, width = (int(side) for side in outline["size"])
        columns = run_lengths(outline, height, width)
        rows = np.asarray(columns.T.reshape(height, width))
        return {
            "": _of_pixels(columns),
            _ROWS: _of_pixels(rows),
        }
    except (ValueError, TypeError, KeyError, IndexError, OverflowError, MemoryError):
        return {}  # refused where it is drawn


def _of_pixels(inside: np.ndarray) -> _Edges:
    ys, xs = np.nonzero(inside)
    return float(xs.min()), float(ys.min()), float(xs.max() + 1), float(ys.max() + 1)


def _other_order(
    bbox: _Edges, size: _Size, outline: _Edges, outlines: dict[str, _Edges], room: float
) -> str:
    """Return as what a box would agree with its outline; "" for nothing known."""
    x, y, w, h = bbox
    boxes = {
        "the corners": (x, y, w, h),
        "the middle and the size": (x - w / 2, y - h / 2, x + w / 2, y + h / 2),
        "[y, x, height, width]": (y, x, y + h, x + w),
    }
    if size:
        boxes["the extent, with y from below,"] = (x, size[0] - y - h, x + w, size[0] - y)
    for order, edges in boxes.items():
        if _difference(edges, outline) <= room:
            return order
    for order, extent in outlines.items():
        if _difference((x, y, x + w, y + h), extent) <= room:
            return order
    return ""


def _difference(one: _Edges, other: _Edges) -> float:
    return max(abs(a - b) for a, b in zip(one, other, strict=True))


def _are_nested(polygons: Sequence[Sequence[float]]) -> bool:
    """Return whether all corners of a polygon lie inside of another one."""
    corners = [np.reshape(p[: len(p) // 2 * 2], (-1, 2)).astype(np.float32) for p in polygons]
    return any(
        len(outer) > 2
        and (inner.min(0) > outer.min(0)).all()
        and (inner.max(0) < outer.max(0)).all()
        and all(cv2.pointPolygonTest(outer, (float(x), float(y)), False) > 0 for x, y in inner)
        for i, outer in enumerate(corners)
        for j, inner in enumerate(corners)
        if i != j and len(inner) > 2
    )
