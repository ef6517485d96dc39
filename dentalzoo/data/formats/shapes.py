"""Shapes as annotation tools have them, turned into boxes, polygons and pixels."""

import base64
import binascii
import io
import math
import zlib
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from PIL import Image

from dentalzoo.data.formats.base import (
    Box,
    ImageAnnotation,
    ParsedAnnotations,
    Purpose,
    RawBox,
    report_skipped,
)
from dentalzoo.data.formats.outlines import count_runs, fill, outline_edges
from dentalzoo.data.formats.rules import Classes
from dentalzoo.data.formats.tree import Tree, skip_unused
from dentalzoo.errors import BadFile
from dentalzoo.limits import max_pixels

_MIN_SIDE = 0.5  # pixels, as for boxes
CORNERS = 72  # ours: of the polygon that stands for an ellipse, which is 0.13 % smaller

Size = tuple[int, int]  # height, width


# ---- numbers and points --------------------------------------------------------------------------


def number(value: Any) -> float:
    """Return a finite number.

    Raises:
        ValueError: `value` is none.
    """
    try:
        result = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        result = math.nan
    if not math.isfinite(result):
        raise ValueError(f"a coordinate must be a number. Received: {str(value)[:40]!r}")
    return result


def numbers(values: Any, count: int) -> list[float]:
    """Return `count` finite numbers.

    Raises:
        ValueError: `values` are not.
    """
    if not isinstance(values, list | tuple) or len(values) != count:
        raise ValueError(f"must be a list of {count} numbers. Received: {str(values)[:80]}")
    return [number(value) for value in values]


def points(values: Any, least: int, most: int | None = None) -> list[list[float]]:
    """Return a list of points [x, y].

    Args:
        values: from a file.
        least: the number of points that are needed.
        most: the largest number of points; None for any.

    Raises:
        ValueError: they are not points, or too few or too many.
    """
    if not isinstance(values, list | tuple) or len(values) < least or (most and len(values) > most):
        wanted = f"{least}" if most == least else f"{least} or more"
        count = len(values) if isinstance(values, list | tuple) else "none"
        raise ValueError(f"must have {wanted} points. Received: {count}")
    return [numbers(point, 2) for point in values]


def flat(corners: Iterable[Sequence[float]]) -> list[float]:
    """Return the polygon [x, y, x, y, ...] of points [x, y]."""
    return [value for corner in corners for value in corner]


def class_name(value: Any) -> str:
    """Return the name of a class: text, or a number as text.

    Raises:
        ValueError: it is neither.
    """
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise ValueError(f"a class must be a name. Received: {str(value)[:60]!r}")
    return str(value)


# ---- boxes and outlines --------------------------------------------------------------------------


def from_corners(label: str, where: str, corners: Sequence[Sequence[float]]) -> RawBox:
    """Return the box of two opposite corners [x, y], in any order."""
    (x0, y0), (x1, y1) = corners
    edges = (min(y0, y1), min(x0, x1), max(y0, y1), max(x0, x1))
    return RawBox(label, edges, where)


def from_outline(label: str, where: str, outline: Any, *notes: str) -> RawBox:
    """Return an object with an outline, whose box is its extent.

    Raises:
        ValueError: the outline holds no area.
    """
    return RawBox(label, outline_edges(outline), where, repaired=notes, outline=outline)


def ellipse(x: float, y: float, rx: float, ry: float, degrees: float = 0) -> list[float]:
    """Return the polygon of an ellipse, turned clockwise about its centre x, y.

    Raises:
        ValueError: a radius is not above 0.
    """
    if not min(rx, ry) > 0:
        raise ValueError(f"a radius must be above 0. Received: {rx:g} and {ry:g}")
    angles = np.arange(CORNERS) * (2 * np.pi / CORNERS)
    offsets = np.stack([rx * np.cos(angles), ry * np.sin(angles)], axis=1)
    return _turned(offsets, x, y, degrees)


def rotated(box: Sequence[float], degrees: float, pivot: tuple[float, float]) -> list[float]:
    """Return the polygon of a box left, top, right, bottom, turned clockwise about `pivot`."""
    left, top, right, bottom = box
    corners = np.array([[left, top], [right, top], [right, bottom], [left, bottom]])
    return _turned(corners - pivot, *pivot, degrees)


def _turned(offsets: np.ndarray, x: float, y: float, degrees: float) -> list[float]:
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    turned = offsets @ np.array([[cos, sin], [-sin, cos]]) + (x, y)
    flat: list[float] = turned.ravel().tolist()
    return flat


def join(parts: Sequence[RawBox], size: Size) -> RawBox:
    """Return one object of the shapes of a group; a box without an outline counts as a polygon.

    Raises:
        ValueError: an outline is broken.
    """
    if len(parts) == 1:
        return parts[0]
    first = parts[0]
    shapes = [part.outline or [rectangle(part.edges)] for part in parts]
    if any(isinstance(shape, dict) for shape in shapes):
        inside = np.zeros(size, bool)
        for shape in shapes:
            inside |= fill(shape, *size)
        outline: Any = {"size": list(size), "counts": count_runs(inside)}
    else:
        outline = [polygon for shape in shapes for polygon in shape]
    notes = dict.fromkeys(note for part in parts for note in part.repaired)
    if any(part.outline is None for part in parts):
        notes[f"{len(parts)} shapes of one group, boxes among them, are one object"] = None
    difficult = any(part.difficult for part in parts)
    joined = from_outline(first.label, first.where, outline, *notes)
    crowd = any(part.crowd for part in parts)
    # Of one name the value of the first shape that has it.
    attributes = {n: v for part in reversed(parts) for n, v in part.attributes}
    texts = tuple(attributes.items())
    marked = replace(joined, difficult=difficult, crowd=crowd, attributes=texts)
    return replace(marked, source=first.source)


def rectangle(edges: tuple[float, float, float, float]) -> list[float]:
    """Return the polygon of a box top, left, bottom, right."""
    top, left, bottom, right = edges
    return [left, top, right, top, right, bottom, left, bottom]


def pairs(polygon: Iterable[float]) -> list[list[float]]:
    """Return the points [x, y] of a polygon [x, y, x, y, ...]."""
    values = [float(value) for value in polygon]
    return [[x, y] for x, y in zip(values[::2], values[1::2], strict=True)]


def pixel_edges(box: Box, size: Size) -> tuple[float, float, float, float]:
    """Return left, top, right and bottom of a box in pixels of its image."""
    height, width = size
    edges = (box.left * width, box.top * height, box.right * width, box.bottom * height)
    left, top, right, bottom = map(float, edges)
    return left, top, right, bottom


# ---- pixels --------------------------------------------------------------------------------------


def check_pixels(size: Size) -> None:
    """Check the size of an image before memory is taken for its pixels.

    Raises:
        ValueError: it has more than 100 million pixels.
    """
    if size[0] * size[1] > max_pixels():
        raise ValueError(
            f"an image must have at most {max_pixels():,} pixels. Received: {size[1]} x {size[0]}"
        )


def from_pixels(
    label: str, where: str, crop: np.ndarray, left: int, top: int, size: Size
) -> RawBox:
    """Return the object of a mask (h, w) bool that lies at `left`, `top` of an image.

    Raises:
        ValueError: no pixel of it lies in the image.
    """
    check_pixels(size)
    whole = np.zeros(size, bool)
    y, x = max(top, 0), max(left, 0)
    inside = crop[y - top : max(size[0] - top, 0), x - left : max(size[1] - left, 0)]
    whole[y : y + inside.shape[0], x : x + inside.shape[1]] = inside
    if not inside.any():
        raise ValueError("a mask must have pixels in its image. Received: none")
    cut = int(crop.sum() - inside.sum())
    notes = [f"{cut} pixels of the mask lie outside of the image and are left out"] if cut else []
    return from_outline(label, where, {"size": list(size), "counts": count_runs(whole)}, *notes)


def crop_of(inside: np.ndarray) -> tuple[np.ndarray, int, int]:
    """Return the smallest part of a mask (H, W) bool that holds all of it, and its left and top."""
    rows, columns = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
    top, left = int(rows[0]), int(columns[0])
    return inside[top : rows[-1] + 1, left : columns[-1] + 1], left, top


def decode_mask(text: Any, compressed: bool = False) -> np.ndarray:
    """Return the mask (h, w) bool of a PNG in base64: its alpha where it has one, else its values.

    Args:
        text: from a file.
        compressed: the PNG is compressed once more, by zlib.

    Raises:
        ValueError: it is none, or has more than 100 million pixels.
    """
    try:
        data = base64.b64decode(text, validate=False)
        if compressed:
            data = zlib.decompressobj().decompress(data, max_pixels())
        with Image.open(io.BytesIO(data)) as image:
            check_pixels((image.height, image.width))
            if "transparency" in image.info or "A" in image.getbands():
                return np.asarray(image.convert("RGBA"))[..., 3] > 0
            plain = image if image.mode in ("1", "L", "P", "I", "I;16") else image.convert("L")
            return np.asarray(plain) > 0
    except (TypeError, binascii.Error, zlib.error, OSError, SyntaxError) as error:
        what = " ".join(str(error).split())[:80]
        raise ValueError(f"a mask must be a PNG in base64. Received: {what}") from None


def encode_mask(crop: np.ndarray, compressed: bool = False) -> str:
    """Return a mask (h, w) bool as a PNG in base64, the inverse of `decode_mask`.

    With `compressed` the PNG has a palette whose entry 0 is transparent, and zlib compresses it.
    """
    image = Image.fromarray(crop.astype(np.uint8))
    stream = io.BytesIO()
    if compressed:
        image.putpalette([0, 0, 0, 255, 255, 255])
        image.save(stream, "PNG", transparency=0)
        return base64.b64encode(zlib.compress(stream.getvalue())).decode()
    image.save(stream, "PNG")
    return base64.b64encode(stream.getvalue()).decode()


# ---- the end of each reader ----------------------------------------------------------------------


def finish(
    tree: Tree,
    parsed: ParsedAnnotations,
    purpose: Purpose,
    classes: Iterable[str] | None,
    percent: bool = False,
) -> ParsedAnnotations:
    """Complete what a reader has read: the classes, and for masks what cannot be left out.

    An image of which an object cannot be read has no right mask, and is skipped with the reason.

    Args:
        tree: the data folder.
        parsed: with the annotations of all images.
        purpose: "boxes" or "masks".
        classes: those that the files list in the order of their ids; None where none does.
        percent: the files have parts in a hundred of the image, not pixels.

    Raises:
        BadFile: all objects lie in [0, 1] of the unit of the files, which is another one.
    """
    annotations = parsed.annotations
    _check_unit(annotations.values(), percent)
    if classes is not None and annotations:
        parsed.classes = _with_unlisted(parsed, list(dict.fromkeys(classes)))
    names = parsed.classes
    if names is None:
        names = sorted({b.label for one in annotations.values() for b in one.boxes})
    parsed.listed = {one.source: names for one in annotations.values()}
    if purpose != "masks":
        return parsed
    for image, one in list(annotations.items()):
        one.invalid += [(box.where, reason) for box in one.boxes if (reason := _nowhere(box, one))]
        if one.invalid:
            where, reason = one.invalid[0]
            parsed.refuse(one.name, f"{where}: {reason}", [image])
            del annotations[image]
    _use_listed_names(annotations.values(), Classes(names, None, ()))
    notes = [
        (f"{one.name}, {where}" if where else one.name, note)
        for one in annotations.values()
        for where, note in (
            *(("", note) for note in one.repaired),
            *((box.where, note) for box in one.boxes for note in box.repaired),
        )
    ]
    report_skipped(notes, "repaired")
    known = annotations.keys() | parsed.refused
    for folder in {e.folder.path: e.folder for e in parsed.images if e.folder}.values():
        alone = [e.path for e in parsed.images if e.folder is folder and e.path not in known]
        parsed.skips += skip_unused(tree, folder, alone, "image without annotation")
    return parsed


def _check_unit(annotations: Collection[ImageAnnotation], percent: bool) -> None:
    ends = []
    for one in annotations:
        height, width = one.size or (1, 1)
        scale = (100 / height, 100 / width) if percent else (1, 1)
        ends += [max(b.edges[2] * scale[0], b.edges[3] * scale[1]) for b in one.boxes]
    if ends and max(ends) <= 1:
        unit = "parts in a hundred of the image" if percent else "pixels"
        source = next(one.source for one in annotations if one.boxes)
        raise BadFile(
            source, f"coordinates must be {unit}. Received: all {len(ends)} objects lie in [0, 1]"
        )


def _nowhere(box: RawBox, annotation: ImageAnnotation) -> str:
    """Return why an object shows nothing in a mask; "" where it has an area in its image."""
    top, left, bottom, right = box.edges
    height, width = annotation.size or (math.inf, math.inf)
    if min(bottom - top, right - left) < _MIN_SIDE:
        return f"an outline must have an area. Received: {right - left:.3g} x {bottom - top:.3g}"
    if top >= height or left >= width or bottom <= 0 or right <= 0:
        return "an outline must lie in its image"
    return ""


def _use_listed_names(annotations: Iterable[ImageAnnotation], known: Classes) -> None:
    """Replace labels that differ from a class in case or blanks alone, as boxes are read."""
    for one in annotations:
        for index, box in enumerate(one.boxes):
            try:
                name = known.look_up(box.label)
            except ValueError:
                continue
            if name and name != box.label:
                note = f"class read as {name!r}. Received: {box.label[:60]!r}"
                one.boxes[index] = replace(box, label=name, repaired=(*box.repaired, note))


def _with_unlisted(parsed: ParsedAnnotations, listed: list[str]) -> list[str]:
    """Return the classes listed, then those that objects have beyond them, which is reported."""
    known = Classes(listed, None, ())
    for one in parsed.annotations.values():
        for box in one.boxes:
            try:
                known.look_up(box.label)
            except ValueError:
                name = " ".join(box.label.split())
                if name:
                    note = f"the class {name!r} is not in the list of classes; it is the last one"
                    parsed.repaired.append((one.name, note))
                    known = Classes([*known.known, name], None, ())
    return list(known.known)
