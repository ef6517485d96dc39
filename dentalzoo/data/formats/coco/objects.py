"""Make an object of a COCO annotation: its box, its outline and the keys that change either."""

from typing import Any

from dentalzoo.data.formats.base import Attributes, Purpose, RawBox
from dentalzoo.data.formats.outlines import outline_edges
from dentalzoo.data.formats.shapes import number, rectangle, rotated

_YES, _NO = ("1", "1.0", "true", "yes"), ("", "0", "0.0", "false", "no", "none", "null")
_XYWH = ("1", "xywh_abs", "boxmode.xywh_abs")  # of Detectron2's bbox_mode
_ANGLES = ("rotation", "angle", "theta")
_READ = ("rotation", "is_crowd")
_SAME = 1.0  # ours, pixels: by how much the corners of a box may differ from its outline
_TURNED = "a turned box is read as a polygon; its box is its extent"


def is_set(entry: dict[str, Any], key: str) -> bool:
    """Return a flag of an annotation, as a number, a text or true and false.

    Raises:
        ValueError: it is something else.
    """
    value = entry.get(key)
    text = str(value).strip().lower()
    if text not in (*_YES, *_NO):
        raise ValueError(f"{key} must be 0 or 1. Received: {str(value)[:40]!r}")
    return text in _YES


def make_object(label: str, entry: dict[str, Any], where: str, purpose: Purpose) -> RawBox:
    """Return the object of an annotation.

    Its box is `bbox`, else the extent of its outline. An object to `ignore` is difficult.

    Raises:
        ValueError: it has no box, and boxes are read; its box is not [x, y, width, height], or a
            flag is neither 0 nor 1.
    """
    crowd, difficult = is_set(entry, "iscrowd"), is_set(entry, "ignore")
    mode = entry.get("bbox_mode")
    if mode is not None and str(mode).strip().lower() not in _XYWH:
        raise ValueError(f"bbox_mode must be 1, [x, y, width, height]. Received: {str(mode)[:40]}")
    bbox = entry.get("bbox")
    outline, repaired = _outline(entry)
    try:
        x, y, w, h = (float(value) for value in bbox or "")
        edges = (y, x, y + h, x + w)
    except (TypeError, ValueError):
        edges = (0.0, 0.0, 0.0, 0.0)
        if purpose == "boxes":
            if bbox or not outline:
                shown = f"Received: {str(bbox)[:80]}"
                raise ValueError(f"must be [x, y, width, height]. {shown}") from None
            edges = outline_edges(outline)
            repaired += ("no bbox; the extent of the outline is taken",)
    else:
        if (degrees := _degrees(entry)) and (not outline or _is_box(outline, edges)):
            left, top, right, bottom = x, y, x + w, y + h
            corners = (left, top, right, bottom)
            outline = [rotated(corners, degrees, ((left + right) / 2, (top + bottom) / 2))]
            edges, repaired = outline_edges(outline), (*repaired, _TURNED)
    attributes = _attributes(entry)
    return RawBox(label, edges, where, difficult, crowd, repaired, outline, attributes=attributes)


def _attributes(entry: dict[str, Any]) -> Attributes:
    """Return the attributes that CVAT and Datumaro write, but for what is read or is the default.

    Those are the rotation, crowds, "occluded" where it is false, and empty texts.
    """
    attributes = entry.get("attributes")
    known = attributes.items() if isinstance(attributes, dict) else ()
    texts = ((str(n), str(v).lower() if isinstance(v, bool) else str(v)) for n, v in known)
    return tuple(
        (name, text)
        for name, text in texts
        if text and name not in _READ and (name, text) != ("occluded", "false")
    )


def _outline(entry: dict[str, Any]) -> tuple[Any, tuple[str, ...]]:
    """Return the segmentation as a list of polygons or as run lengths, and what was corrected."""
    outline = entry.get("segmentation") or None
    if not isinstance(outline, list):
        return outline, ()
    if all(isinstance(value, int | float) for value in outline):
        return [outline], ("a polygon without the list around it",)
    if len(outline) > 2 and all(_is_point(point) for point in outline):
        flat = [value for point in outline for value in point]
        return [flat], ("a list of points; they are one polygon",)
    return (outline if any(outline) else None), ()


def _is_point(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and isinstance(value[0], int | float)


def _degrees(entry: dict[str, Any]) -> float:
    """Return by how much a box is turned clockwise, as CVAT has it among the attributes.

    Raises:
        ValueError: the annotation has an angle of its own, whose unit and direction no rule names.
    """
    for key in _ANGLES:
        value = entry.get(key)
        if isinstance(value, int | float) and value and not entry.get("segmentation"):
            raise ValueError(f"a box must not be turned; draw a polygon. Received: {key} {value:g}")
    attributes = entry.get("attributes")
    value = attributes.get("rotation") if isinstance(attributes, dict) else None
    return number(value) % 360 if value not in (None, "") else 0.0


def _is_box(outline: Any, edges: tuple[float, float, float, float]) -> bool:
    """Return whether an outline is the four corners of its box."""
    if not isinstance(outline, list) or len(outline) != 1 or len(outline[0]) not in (8, 10):
        return False
    corners = rectangle(edges)
    allowed = {*zip(corners[::2], corners[1::2], strict=True)}
    points = zip(outline[0][::2], outline[0][1::2], strict=True)
    return all(
        isinstance(x, int | float)
        and isinstance(y, int | float)
        and any(max(abs(x - a), abs(y - b)) <= _SAME for a, b in allowed)
        for x, y in points
    )
