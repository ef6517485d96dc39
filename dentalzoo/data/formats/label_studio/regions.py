"""The regions of a Label Studio result: rectangles, polygons, ellipses and brushes."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from dentalzoo.data.formats.base import ImageAnnotation, RawBox, parse_size
from dentalzoo.data.formats.label_studio import brush
from dentalzoo.data.formats.shapes import (
    Size,
    class_name,
    decode_mask,
    ellipse,
    flat,
    from_corners,
    from_outline,
    from_pixels,
    join,
    number,
    numbers,
    points,
    rotated,
)

PART_OF = "part of"  # the label of a relation between the polygons of one object

_LABEL_KEYS = (
    "rectanglelabels",
    "polygonlabels",
    "brushlabels",
    "ellipselabels",
    "bitmasklabels",
    "labels",
)
_NO_OBJECTS = ("keypoint", "keypointlabels", "vector", "vectorlabels", "relation")
_ABOUT_TASKS = ("choices", "textarea", "rating", "number", "taxonomy", "datetime", "pairwise")
_TURNED = "a turned rectangle is read as a polygon; its box is its extent"
_ELLIPSE = "an ellipse is read as a polygon"
_SEVERAL = "a region of several labels is an object of each"


@dataclass
class _Region:
    """What the items of one region id say of it."""

    where: str
    kind: str = ""
    value: dict[str, Any] = field(default_factory=dict)
    labels: list[str] = field(default_factory=list)
    size: Size | None = None
    turned: bool = False


def read_regions(annotation: ImageAnnotation, items: Sequence[Any], size: Size) -> None:
    """Add the regions of a result to an annotation.

    Args:
        annotation: of the image; its size becomes the one that the regions refer to.
        items: of the result.
        size: (height, width) of the image, where the items do not say it.
    """
    regions: dict[str, _Region] = {}
    left_out: Counter[str] = Counter()
    for index, item in enumerate(items, start=1):
        where = f"region {index}"
        try:
            _collect(regions, left_out, item, where)
        except ValueError as error:
            annotation.invalid.append((where, str(error)))
    sizes = [region.size for region in regions.values() if region.size]
    annotation.size = frame = sizes[0] if sizes else size
    partners = _partners(items, regions)
    joined: dict[str, list[RawBox]] = {}
    broken: set[str] = set()
    for key, region in regions.items():
        if not region.kind:  # labels or choices without a shape
            continue
        first = partners.get(key, key)
        try:
            for suffix, part in enumerate(_objects(region, frame)):
                joined.setdefault(f"{first} {suffix}", []).append(part)
        except ValueError as error:
            annotation.invalid.append((region.where, str(error)))
            broken.add(first)
    for key, parts in joined.items():
        if key.rpartition(" ")[0] in broken:
            reason = "a part of its object cannot be read"
            annotation.invalid += [(part.where, reason) for part in parts]
        else:
            annotation.add(parts[0].where, partial(join, parts, frame))
    if left_out:
        counts = ", ".join(f"{count} x {kind}" for kind, count in sorted(left_out.items()))
        annotation.repaired.append(f"what is no object is left out: {counts}")


def _collect(regions: dict[str, _Region], left_out: Counter[str], item: Any, where: str) -> None:
    """Add an item to its region; several items may share one id, such as a box and its labels."""
    if not isinstance(item, dict) or not isinstance(item.get("value", {}), dict):
        raise ValueError(f"a region must be an object. Received: {str(item)[:40]}")
    kind = str(item.get("type", "")).lower()
    if kind in (*_NO_OBJECTS, *_ABOUT_TASKS):
        if kind != "relation" or not _joins(item):
            left_out[kind] += 1
        return
    if item.get("item_index"):
        raise ValueError("a region must be on the first image of its task")
    value = item.get("value", {})
    shape = kind.removesuffix("labels") or shape_of(value)
    key = str(item.get("id", where))
    if key in regions and kind != "labels" and _differs(regions[key], shape, value):
        key = f"{key}, {where}"  # two regions of one id, as scripts write them
    region = regions.setdefault(key, _Region(where))
    for key in _LABEL_KEYS:
        labels = value.get(key)
        names = labels if isinstance(labels, list) else [] if labels is None else [labels]
        region.labels += [n for name in names if (n := class_name(name)) not in region.labels]
    if shape and (kind != "labels" or not region.kind):
        region.kind, region.value = shape, value
    region.size = parse_size(item.get("original_height"), item.get("original_width")) or region.size
    region.turned |= bool(item.get("image_rotation"))


def _differs(region: _Region, shape: str, value: dict[str, Any]) -> bool:
    """Return whether a region has a shape already, and it is not this one."""
    old, new = (
        {k: v for k, v in values.items() if not k.endswith("labels")}
        for values in (region.value, value)
    )
    return bool(region.kind) and bool(shape) and (region.kind, old) != (shape, new)


def _joins(item: dict[str, Any]) -> bool:
    labels = item.get("labels")
    relation = str(item.get("type")).lower() == "relation"
    return relation and isinstance(labels, list) and PART_OF in labels


def shape_of(value: dict[str, Any]) -> str:
    """Return the kind of a region from what its value holds; "" for none."""
    kinds = {"points": "polygon", "radiusX": "ellipse", "rle": "brush", "width": "rectangle"}
    return next((kind for key, kind in kinds.items() if key in value), "")


def _partners(items: Iterable[Any], regions: dict[str, _Region]) -> dict[str, str]:
    """Return region -> the first region of the object that relations make it a part of."""
    first: dict[str, str] = {}
    order = {key: index for index, key in enumerate(regions)}
    for item in items:
        if not isinstance(item, dict) or not _joins(item):
            continue
        ends = [str(item.get(key)) for key in ("from_id", "to_id")]
        if all(end in regions for end in ends) and (
            regions[ends[0]].labels == regions[ends[1]].labels
        ):
            names = {first.get(end, end) for end in ends}
            lead = min(names, key=order.__getitem__)
            for other in (*names, *(k for k, v in first.items() if v in names)):
                first[other] = lead
    return first


def _objects(region: _Region, frame: Size) -> list[RawBox]:
    if region.turned:
        raise ValueError("image_rotation must be 0; turn the image back and export it again")
    if region.size and region.size != frame:
        shown = f"{region.size[1]} x {region.size[0]}"
        raise ValueError(f"regions of an image must have one original size. Received: {shown}")
    geometry = _geometry(region, frame)
    if not region.labels:
        raise ValueError("a region must have a label. Received: none")
    notes = (*geometry.repaired, *([_SEVERAL] if len(region.labels) > 1 else []))
    return [replace(geometry, label=label, repaired=notes) for label in region.labels]


def _geometry(region: _Region, frame: Size) -> RawBox:
    """Return the object of a region, whose numbers are parts in a hundred of the image."""
    height, width = frame
    where, value = region.where, region.value
    if region.kind == "rectangle":
        x, y, w, h = numbers([value.get(key) for key in ("x", "y", "width", "height")], 4)
        left, top = x * width / 100, y * height / 100
        right, bottom = (x + w) * width / 100, (y + h) * height / 100
        degrees = number(value.get("rotation") or 0)
        if degrees % 360:
            polygon = rotated((left, top, right, bottom), degrees, (left, top))
            return from_outline("", where, [polygon], _TURNED)
        return from_corners("", where, [[left, top], [right, bottom]])
    if region.kind == "polygon":
        if value.get("closed") is False:
            raise ValueError("a polygon must be closed; finish it in the tool")
        polygon = flat(points(value.get("points"), 3))
        scaled = [v * (height if i % 2 else width) / 100 for i, v in enumerate(polygon)]
        return from_outline("", where, [scaled])
    if region.kind == "ellipse":
        x, y, rx, ry = numbers([value.get(key) for key in ("x", "y", "radiusX", "radiusY")], 4)
        scale = (width / 100, height / 100)
        degrees = number(value.get("rotation") or 0)
        polygon = ellipse(x * scale[0], y * scale[1], rx * scale[0], ry * scale[1], degrees)
        return from_outline("", where, [polygon], _ELLIPSE)
    if region.kind == "brush":
        return from_pixels("", where, brush.decode(value.get("rle"), frame), 0, 0, frame)
    if region.kind == "bitmask":
        data = str(value.get("imageDataURL", "")).rpartition(",")[2]
        crop = decode_mask(data)
        if crop.shape != frame:
            shown = f"{crop.shape[1]} x {crop.shape[0]}"
            raise ValueError(f"a bitmask must have the size of its image. Received: {shown}")
        return from_pixels("", where, crop, 0, 0, frame)
    raise ValueError(
        "a region must be a rectangle, polygon, ellipse, brush or bitmask; it is not read "
        f"otherwise. Received: {region.kind[:40]!r}"
    )
