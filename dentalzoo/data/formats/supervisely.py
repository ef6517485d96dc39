"""Projects of Supervisely: meta.json, and datasets with img/ and ann/ of a JSON file per image.

Files count whole pixels: the right and lower edges of rectangles include the last one, and the
points of polygons are the centres of pixels. Here edges lie between pixels, so 1 is added to the
former and 0.5 to the latter, as the platform does on upload.
"""

import colorsys
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from dentalzoo.data.formats.base import (
    Box,
    BoxSample,
    Content,
    ImageAnnotation,
    ParsedAnnotations,
    Place,
    Purpose,
    RawBox,
    RunLengths,
    check_class_list,
    merge_names,
    parse_size,
)
from dentalzoo.data.formats.outlines import count_runs, fill, run_lengths
from dentalzoo.data.formats.references import ImageReferences, refuse_broken_json
from dentalzoo.data.formats.rules import image_size
from dentalzoo.data.formats.shapes import (
    Size,
    check_pixels,
    class_name,
    crop_of,
    decode_mask,
    encode_mask,
    finish,
    flat,
    from_corners,
    from_outline,
    from_pixels,
    join,
    numbers,
    pairs,
    pixel_edges,
    points,
)
from dentalzoo.data.formats.tree import Tree, split_word
from dentalzoo.data.formats.writing import other_extents
from dentalzoo.errors import BadFile

NAME = "Supervisely"
HOLDS: tuple[Content, ...] = (
    "boxes",
    "polygons",
    "masks",
    "names",
    "splits",
    "difficult",
    "crowd",
)
WRITES = HOLDS
READS: tuple[Purpose, ...] = ("boxes", "masks")

_META, _DATASET = "meta.json", "dataset"
_KINDS = {"rectangle": "boxes", "polygon": "polygons", "multipolygon": "polygons"}
_KINDS |= {"bitmap": "masks"}
_NO_OBJECTS = ("point", "line", "graph", "cuboid", "cuboid_2d")
_DIFFICULT, _CROWD = "difficult", "is_crowd"  # tags of objects
_HOLES = "a polygon with holes is read as its pixels"


def sniff(tree: Tree) -> str:
    """Name annotation files, by what their first object is, or the `meta.json` of a project."""
    for content in tree.json_samples():
        if not isinstance(content, dict):
            continue
        if _is_annotation(content):
            objects = [o for o in content["objects"] if isinstance(o, dict)]
            kind = str(objects[0].get("geometryType")) if objects else ""
            return f"Supervisely JSON ({_KINDS.get(kind, 'objects')})"
        if _classes(content):
            return "Supervisely JSON (objects)"
    return ""


def _is_annotation(content: dict[str, Any]) -> bool:
    return isinstance(content.get("objects"), list) and isinstance(content.get("size"), dict)


def _classes(content: Any) -> list[dict[str, Any]]:
    """Return the classes of a `meta.json`; none where it is something else."""
    classes = content.get("classes") if isinstance(content, dict) else None
    entries = classes if isinstance(classes, list) else []
    whole = all(isinstance(one, dict) and "title" in one and "shape" in one for one in entries)
    return entries if whole else []


def read(tree: Tree, purpose: Purpose) -> ParsedAnnotations:
    """Read the annotations of all datasets, and the classes of `meta.json`.

    The image of `ann/x.png.json` is `img/x.png` beside `ann`, else the one of that name or, as
    older files are named, of that stem.
    """
    parsed = ParsedAnnotations(images=tree.entries[0])
    images = ImageReferences(entry.path for entry in parsed.images)
    shapes: dict[str, str] = {}
    metas: list[list[str]] = []
    files: list[Path] = []
    for path in tree.notes_of(".json"):
        keys = tree.json_keys(path)
        if not keys and path.parent.name == "ann":
            refuse_broken_json(tree, parsed, path, _images_of(images, path))
        elif {"objects", "size"} <= keys:
            files.append(path)
        elif "classes" in keys and (classes := _classes(tree.json(path))):
            names = [str(one["title"]) for one in classes]
            shapes |= {n: str(c["shape"]) for n, c in zip(names, classes, strict=True)}
            metas.append(names)
            tree.use(path)
    for path in tqdm(files, "reading Supervisely", leave=False, disable=None):
        content = tree.json(path)
        if _is_annotation(content):
            _read_file(tree, parsed, images, path, content, shapes)
    return finish(tree, parsed, purpose, merge_names(metas) or None)


# ---- reading -------------------------------------------------------------------------------------


def _images_of(images: ImageReferences, path: Path) -> list[Path]:
    name = path.name.removesuffix(path.suffix)
    dataset = path.parent.parent
    found = images.find(f"{dataset.parent.name}/{dataset.name}/img/{name}", path)
    return found or images.of_stem(name, path)


def _read_file(
    tree: Tree,
    parsed: ParsedAnnotations,
    images: ImageReferences,
    path: Path,
    content: dict[str, Any],
    shapes: dict[str, str],
) -> None:
    name = tree.name(path)
    found = _images_of(images, path)
    if len(found) != 1:
        what = f"annotation of {len(found)} images of one name" if found else ""
        parsed.refuse(name, what or "annotation without image", found)
        return
    try:
        stated = parse_size(content["size"].get("height"), content["size"].get("width"))
        size = stated or image_size(found[0])[0]
    except BadFile as error:
        parsed.refuse(name, error.reason, found)
        return
    annotation = ImageAnnotation(path, name, size, repaired=tree.json_notes(path))
    _read_objects(annotation, content["objects"], size, shapes)
    parsed.assign(found, annotation)
    splits = {split for tag in _tags(content) if tag.isalpha() and (split := split_word(tag))}
    if len(splits) == 1 and parsed.annotations.get(found[0]) is annotation:
        parsed.splits[found[0]] = splits.pop()


def _tags(entry: dict[str, Any]) -> list[str]:
    """Return the names of the tags of an image or an object, which older files list alone."""
    tags = entry.get("tags")
    names = []
    for tag in tags if isinstance(tags, list) else []:
        name = tag.get("name") if isinstance(tag, dict) else tag
        if isinstance(name, str):
            names.append(name)
    return names


def _read_objects(
    annotation: ImageAnnotation, objects: Sequence[Any], size: Size, shapes: dict[str, str]
) -> None:
    groups: dict[object, list[RawBox]] = {}
    broken: set[object] = set()
    left_out: Counter[str] = Counter()
    for index, entry in enumerate(objects, start=1):
        where = f"object {index}"
        key: object = index
        try:
            if not isinstance(entry, dict):
                raise ValueError(f"an object must be a JSON object. Received: {str(entry)[:40]}")
            label = class_name(entry.get("classTitle"))
            kind = str(entry.get("geometryType") or shapes.get(label, ""))
            if kind in _NO_OBJECTS:
                left_out[kind] += 1
                continue
            if entry.get("instance"):
                key = (label, str(entry["instance"]))
            raw = _geometry(entry, kind, label, where, size)
            marks = {tag.casefold() for tag in _tags(entry)}
            hard = bool(marks & {_DIFFICULT, "ignore"})
            raw = replace(raw, difficult=hard, crowd=_CROWD in marks)
            groups.setdefault(key, []).append(raw)
        except ValueError as error:
            annotation.invalid.append((where, str(error)))
            broken.add(key)
    for key, parts in groups.items():
        if key in broken:
            reason = "an object of its instance cannot be read"
            annotation.invalid += [(part.where, reason) for part in parts]
        else:
            annotation.add(parts[0].where, partial(join, parts, size))
    if left_out:
        counts = ", ".join(f"{count} x {kind}" for kind, count in sorted(left_out.items()))
        annotation.repaired.append(f"shapes that are no objects are left out: {counts}")


def _geometry(entry: dict[str, Any], kind: str, label: str, where: str, size: Size) -> RawBox:
    values = entry.get("points")
    values = values if isinstance(values, dict) else {}
    if kind == "rectangle":
        (x0, y0), (x1, y1) = points(values.get("exterior"), 2, 2)
        corners = [[min(x0, x1), min(y0, y1)], [max(x0, x1) + 1, max(y0, y1) + 1]]
        return from_corners(label, where, corners)
    if kind == "polygon":
        return _polygons(label, where, [values], size)
    if kind == "multipolygon":
        parts = entry.get("parts")
        if not isinstance(parts, list) or not all(isinstance(part, dict) for part in parts):
            raise ValueError(f"parts must be a list of polygons. Received: {str(parts)[:40]}")
        return _polygons(label, where, parts, size)
    if kind == "bitmap":
        bitmap = entry.get("bitmap")
        bitmap = bitmap if isinstance(bitmap, dict) else {}
        left, top = numbers(bitmap.get("origin"), 2)
        crop = decode_mask(bitmap.get("data"), compressed=True)
        return from_pixels(label, where, crop, int(left), int(top), size)
    raise ValueError(
        "geometryType must be rectangle, polygon, multipolygon or bitmap; it is not read "
        f"otherwise. Received: {kind[:40]!r}"
    )


def _polygons(label: str, where: str, parts: Sequence[dict[str, Any]], size: Size) -> RawBox:
    """Return the object of polygons; pixels where one has holes."""
    outer = [_polygon(part.get("exterior")) for part in parts]
    holes = [part.get("interior") or [] for part in parts]
    if not any(holes):
        return from_outline(label, where, outer)
    check_pixels(size)
    inside = np.zeros(size, bool)
    for polygon, inner in zip(outer, holes, strict=True):
        own = fill([polygon], *size)
        for hole in inner if isinstance(inner, list) else [inner]:
            own &= ~fill([_polygon(hole)], *size)
        inside |= own
    lengths = {"size": list(size), "counts": count_runs(inside)}
    return from_outline(label, where, lengths, _HOLES)


def _polygon(values: Any) -> list[float]:
    return [value + 0.5 for value in flat(points(values, 3))]


# ---- writing -------------------------------------------------------------------------------------


def write(samples: Sequence[BoxSample], out: Path, classes: Sequence[str], place: Place) -> Path:
    """Write `meta.json` and a dataset for each split; return the folder of the project.

    Polygons of one object get one `instance`; difficult objects and crowds get tags.
    """
    names = check_class_list(classes)
    used: dict[str, None] = {}
    for sample in samples:
        dataset = out / (sample.split or _DATASET)
        image = place(sample, dataset / "img")
        size, _ = image_size(image)
        objects: list[dict[str, Any]] = []
        for number, box in enumerate(sample.boxes, start=1):
            if _is_thin(box, size):
                continue  # `lost` has named it
            objects += _objects(box, number, size)
            used.update(dict.fromkeys(_marks(box)))
        content = {
            "description": "",
            "tags": [],
            "size": {"height": size[0], "width": size[1]},
            "objects": objects,
        }
        path = dataset / "ann" / f"{image.name}.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
    meta = {
        "classes": [
            {"title": name, "shape": "any", "color": _color(index), "geometry_config": {}}
            for index, name in enumerate(names)
        ],
        "tags": [
            {"name": mark, "value_type": "none", "color": _color(len(names) + index)}
            for index, mark in enumerate(used)
        ],
        "projectType": "images",
    }
    text = json.dumps(meta, ensure_ascii=False, indent=2)
    (out / _META).write_text(text, encoding="utf-8")
    return out


def lost(samples: Sequence[BoxSample]) -> list[str]:
    """Return a phrase for each box that whole pixels or its outline cannot hold."""
    phrases = other_extents(samples)
    for sample in samples:
        size, _ = image_size(sample.image)
        phrases += ["thinner than a pixel" for box in sample.boxes if _is_thin(box, size)]
    return phrases


def _is_thin(box: Box, size: Size) -> bool:
    sides = ((box.bottom - box.top) * size[0], (box.right - box.left) * size[1])
    return box.outline is None and min(sides) < 1


def _color(index: int) -> str:
    red, green, blue = colorsys.hsv_to_rgb(index * 0.618 % 1, 0.8, 1.0)  # the golden section
    return f"#{round(255 * red):02X}{round(255 * green):02X}{round(255 * blue):02X}"


def _marks(box: Box) -> list[str]:
    return [name for name, on in ((_DIFFICULT, box.difficult), (_CROWD, box.crowd)) if on]


def _objects(box: Box, number: int, size: Size) -> list[dict[str, Any]]:
    """Return the objects of a box, several for one of several polygons."""
    height, width = size
    common = {
        "classTitle": box.label,
        "description": "",
        "tags": [{"name": mark, "value": None} for mark in _marks(box)],
    }
    if isinstance(box.outline, RunLengths):
        lengths = {"size": [height, width], "counts": list(box.outline.counts)}
        crop, left, top = crop_of(run_lengths(lengths, height, width))
        bitmap = {"data": encode_mask(crop, compressed=True), "origin": [left, top]}
        return [{"geometryType": "bitmap", **common, "bitmap": bitmap}]
    if box.outline:
        if len(box.outline) > 1:
            common["instance"] = f"object{number}"
        corners = [[[x - 0.5, y - 0.5] for x, y in pairs(polygon)] for polygon in box.outline]
        return [
            {"geometryType": "polygon", **common, "points": {"exterior": one, "interior": []}}
            for one in corners
        ]
    x0, y0, x1, y1 = pixel_edges(box, size)
    exterior = [[x0, y0], [x1 - 1, y1 - 1]]
    points_ = {"exterior": exterior, "interior": []}
    return [{"geometryType": "rectangle", **common, "points": points_}]
