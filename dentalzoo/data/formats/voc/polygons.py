"""Outlines beside the boxes of PASCAL VOC files: polygons of Roboflow and LabelMe, turned boxes."""

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from statistics import median
from xml.etree import ElementTree

from dentalzoo.data.formats.base import RawBox
from dentalzoo.data.formats.outlines import outline_edges
from dentalzoo.data.formats.shapes import from_outline, number, rotated
from dentalzoo.data.formats.voc.segmentation import SAME_OBJECT, overlap

_POINT = re.compile(r"([xy])(\d{1,6})")
_OUTLINE = re.compile(r".*(poly|segm|mask|contour|outline|points|rle|rob|rotated).*", re.IGNORECASE)
_ANGLES = ("rotation", "angle")
_NO_TURN = 1e-6  # degrees


@dataclass(frozen=True)
class Extras:
    """What an object has beside its bndbox.

    Attributes:
        polygons: [x, y, x, y, ...] of each, as they are stored.
        degrees: by which its box is turned clockwise about its middle, as CVAT writes it.
        unread: what of it is not used; "" for nothing.
    """

    polygons: tuple[tuple[float, ...], ...] = ()
    degrees: float = 0
    unread: str = ""


def read_extras(entry: ElementTree.Element) -> Extras:
    """Return the polygons of an `object`, and what else of it tells a shape."""
    polygons: list[tuple[float, ...]] = []
    unread = ""
    for child in entry:
        if not _OUTLINE.fullmatch(child.tag) or not (len(child) or (child.text or "").strip()):
            continue
        try:
            polygons.append(_polygon(child))
        except ValueError as error:
            unread = f"its {child.tag[:40]} is not used: {error}"
    return Extras(() if unread else tuple(polygons), _degrees(entry), unread)


def _polygon(element: ElementTree.Element) -> tuple[float, ...]:
    """Return the points of `<x1/><y1/><x2/>...`, or of `<pt><x/><y/></pt>...`.

    Raises:
        ValueError: the layout is another, or a point is not two numbers.
    """
    if element.tag != "polygon":
        raise ValueError("an outline must be a polygon of points x1, y1, x2, ...")
    numbered = {match[0]: child for child in element if (match := _POINT.fullmatch(child.tag))}
    points = element.findall("pt")
    if points:
        pairs = [(point.findtext("x"), point.findtext("y")) for point in points]
    else:
        numbers = sorted({int(tag[1:]) for tag in numbered})
        if len(numbered) != 2 * len(numbers) or len(numbered) != len(element):
            raise ValueError("its points must be x1, y1, x2, y2, ..., each once")
        if numbers and numbers != [*range(numbers[0], numbers[0] + len(numbers))]:
            raise ValueError("a point of it is missing")
        pairs = [(numbered[f"x{n}"].text, numbered[f"y{n}"].text) for n in numbers]
    if len(pairs) < 3:
        raise ValueError(f"it must have 3 or more points. Received: {len(pairs)}")
    return tuple(number((text or "").strip()) for pair in pairs for text in pair)


def _degrees(entry: ElementTree.Element) -> float:
    for attribute in entry.iterfind("attributes/attribute"):
        if (attribute.findtext("name") or "").strip().casefold() in _ANGLES:
            try:
                return number((attribute.findtext("value") or "").strip())
            except ValueError:
                return math.nan
    return 0


def first_pixel(
    from_0: bool, objects: Iterable[tuple[Sequence[float], Sequence[Sequence[float]]]]
) -> int:
    """Return what the polygons of a folder count their first pixel as: 0 or 1.

    Boxes that count from 1 stand beside polygons that count from 0 (Roboflow) or from 1; the left
    and upper ends of all objects decide.

    Args:
        from_0: the boxes of the folder count from 0.
        objects: of the folder: xmin and ymin of the box as stored, and the polygons.
    """
    if from_0:
        return 0
    offsets = [
        min(min(polygon[axis::2]) for polygon in polygons) - corner[axis]
        for corner, polygons in objects
        for axis in (0, 1)
    ]
    return int(bool(offsets) and median(offsets) > -0.5)


def outlined(box: RawBox, extras: Extras, first: int) -> RawBox:
    """Return the object with its outline, where its box agrees with it.

    Args:
        box: the object, in pixels from 0.
        extras: of the object.
        first: see `first_pixel`.

    Raises:
        ValueError: its box is turned by an angle that is no number.
    """
    if not math.isfinite(extras.degrees):
        raise ValueError("the rotation of a box must be a number of degrees")
    if extras.unread:
        return replace(box, repaired=(*box.repaired, extras.unread))
    if extras.polygons:
        outline = [[value - first for value in polygon] for polygon in extras.polygons]
        if overlap(outline_edges(outline), box.edges) >= SAME_OBJECT:
            return replace(box, outline=outline)
        note = "its polygon is not used: it does not lie in its box"
        return replace(box, repaired=(*box.repaired, note))
    top, left, bottom, right = box.edges
    if abs(math.remainder(extras.degrees, 360)) < _NO_TURN:
        return box
    centre = ((left + right) / 2, (top + bottom) / 2)
    turned = rotated((left, top, right, bottom), extras.degrees, centre)
    note = "a turned box is read as a polygon; its box is its extent"
    whole = from_outline(box.label, box.where, [turned], *box.repaired, note)
    return replace(whole, difficult=box.difficult, crowd=box.crowd)
