"""JSON files of the annotation tool LabelMe, one beside each image: boxes, polygons and masks."""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from tqdm import tqdm

from dentalzoo.data.formats.base import (
    RESULTS_AS_DATA,
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
    notice_once,
    parse_size,
)
from dentalzoo.data.formats.outlines import run_lengths
from dentalzoo.data.formats.references import ImageReferences, refuse_broken_json
from dentalzoo.data.formats.rules import image_size
from dentalzoo.data.formats.shapes import (
    Size,
    class_name,
    crop_of,
    decode_mask,
    ellipse,
    encode_mask,
    finish,
    flat,
    from_corners,
    from_outline,
    from_pixels,
    join,
    pairs,
    pixel_edges,
    points,
)
from dentalzoo.data.formats.tree import Tree
from dentalzoo.data.formats.writing import other_extents
from dentalzoo.errors import BadFile, DentalzooError

NAME = "LabelMe"
HOLDS: tuple[Content, ...] = ("boxes", "polygons", "masks", "names", "difficult")
WRITES: tuple[Content, ...] = ("boxes", "polygons", "masks", "names", "difficult")
READS: tuple[Purpose, ...] = ("boxes", "masks")
lost = other_extents

_IMAGES, _CLASS_LIST = "images", "labels.txt"
_NO_CLASSES = ("__ignore__", "_background_")  # the first lines of LabelMe's lists of classes
_NO_OBJECTS = ("line", "linestrip", "point", "points")
_VERSION = "5.5.0"  # of LabelMe, the first one whose files have all that is written here
_CIRCLE = "a circle is read as a polygon"
_TURNED = "a turned rectangle is read as a polygon; its box is its extent"


def sniff(tree: Tree) -> str:
    """Name what the shapes of the first JSON files are: polygons, or boxes alone."""
    for content in tree.json_samples():
        if isinstance(content, dict) and isinstance(content.get("shapes"), list):
            shapes = [s for s in content["shapes"] if isinstance(s, dict)]
            boxes = shapes and all(shape.get("shape_type") == "rectangle" for shape in shapes)
            return "LabelMe JSON (boxes)" if boxes else "LabelMe JSON (polygons)"
    return ""


def read(tree: Tree, purpose: Purpose) -> ParsedAnnotations:
    """Read JSON files with shapes anywhere in the tree, and the classes of `labels.txt`.

    The image of a file is the one that `imagePath` names, else the one of its stem. Shapes of one
    label and one `group_id` are one object.
    """
    parsed = ParsedAnnotations(images=tree.entries[0])
    images = ImageReferences(entry.path for entry in parsed.images)
    folders: set[Path] = set()
    scored = 0
    for path in tqdm(tree.notes_of(".json"), "reading LabelMe", leave=False, disable=None):
        keys = tree.json_keys(path)
        if not keys and (own := images.of_stem(path.stem, path)):
            refuse_broken_json(tree, parsed, path, own)
        if "shapes" not in keys or "[]" in keys:
            continue
        content = tree.json(path)
        if isinstance(content["shapes"], list):
            _read_file(tree, parsed, images, path, content)
            folders.add(path.parent)
            scored += sum(_has_score(shape) for shape in content["shapes"])
    if scored:
        notice_once(f"{scored} LabelMe shapes have a score, {RESULTS_AS_DATA}", tree.root)
    return finish(tree, parsed, purpose, _class_list(tree, folders))


def write(samples: Sequence[BoxSample], out: Path, classes: Sequence[str], place: Place) -> Path:
    """Write `images/`, with a JSON file beside each image and `labels.txt`; return this folder.

    Objects of several polygons get a `group_id`, difficult ones the flag "difficult".

    Raises:
        DentalzooError: a class is named `__ignore__` or `_background_`.
    """
    names = check_class_list(classes)
    if taken := [name for name in names if name in _NO_CLASSES]:
        raise DentalzooError(f"LabelMe keeps this name for itself. Received: {taken[0]!r}")
    for sample in samples:
        image = place(sample, out / _IMAGES)
        (height, width), _ = image_size(image)
        shapes: list[dict[str, Any]] = []
        for number, box in enumerate(sample.boxes, start=1):
            shapes += _shapes(box, number, (height, width))
        content: dict[str, Any] = {
            "version": _VERSION,
            "flags": {},
            "shapes": shapes,
            "imagePath": image.name,
            "imageData": None,
            "imageHeight": height,
            "imageWidth": width,
        }
        text = json.dumps(content, ensure_ascii=False, indent=2)
        image.with_suffix(".json").write_text(text, encoding="utf-8")
    lines = "".join(f"{name}\n" for name in (*_NO_CLASSES, *names))
    (out / _IMAGES / _CLASS_LIST).write_text(lines, encoding="utf-8")
    return out / _IMAGES


# ---- reading -------------------------------------------------------------------------------------


def _class_list(tree: Tree, folders: Iterable[Path]) -> list[str] | None:
    """Return the classes of the nearest `labels.txt` of each folder; None where one has none."""
    names: dict[str, None] = {}
    for folder in sorted(folders):
        inside = [f for f in (folder, *folder.parents) if f.is_relative_to(tree.root)]
        path = next((f / _CLASS_LIST for f in inside if (f / _CLASS_LIST).is_file()), None)
        if path is None:
            return None
        tree.use(path)
        try:
            lines = path.read_text(encoding="utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise BadFile(path, f"must be a list of classes in UTF-8. Received: {error}") from error
        stripped = (line.strip() for line in lines)
        names.update(dict.fromkeys(line for line in stripped if line and line not in _NO_CLASSES))
    return list(names) or None


def _read_file(
    tree: Tree, parsed: ParsedAnnotations, images: ImageReferences, path: Path, content: Any
) -> None:
    name = tree.name(path)
    written = content.get("imagePath")
    found = images.find(written, path) if isinstance(written, str) else []
    notes = tree.json_notes(path)
    own = images.of_stem(path.stem, path)
    if not found and (found := own) and isinstance(written, str):
        notes.append(f"its image is {own[0].name}, not imagePath. Received: {written[-80:]!r}")
    elif len(own) == len(found) == 1 and own != found:
        notes.append(f"its image is imagePath, not {own[0].name}. Received: {written[-80:]!r}")
    if len(found) != 1:
        what = f"annotation of {len(found)} images of one name" if found else ""
        if not found and content.get("imageData"):
            what = f"annotation whose image is in its imageData alone: save it as {path.stem}.png"
        parsed.refuse(name, what or "annotation without image", found)
        return
    size = parse_size(content.get("imageHeight"), content.get("imageWidth"))
    try:
        size = size or image_size(found[0])[0]
    except BadFile as error:
        parsed.refuse(name, f"{found[0].name}: {error.reason}", found)
        return
    annotation = ImageAnnotation(path, name, size, repaired=notes)
    _read_shapes(annotation, content["shapes"], size)
    parsed.assign(found, annotation)


def _read_shapes(annotation: ImageAnnotation, shapes: Sequence[Any], size: Size) -> None:
    groups: dict[object, list[RawBox]] = {}
    broken: set[object] = set()
    left_out: Counter[str] = Counter()
    for index, shape in enumerate(shapes, start=1):
        where = f"shape {index}"
        key: object = index
        try:
            if not isinstance(shape, dict):
                raise ValueError(f"a shape must be an object. Received: {str(shape)[:40]}")
            kind = shape.get("shape_type") or "polygon"
            label = class_name(shape.get("label"))
            if kind in _NO_OBJECTS or label in _NO_CLASSES:
                left_out[kind if kind in _NO_OBJECTS else label] += 1
                continue
            if isinstance(shape.get("group_id"), int):
                key = (label, shape["group_id"])
            part = _object(shape, str(kind), label, where, size)
            groups.setdefault(key, []).append(part)
        except ValueError as error:
            annotation.invalid.append((where, str(error)))
            broken.add(key)
    for key, parts in groups.items():
        if key in broken:
            reason = "a shape of its group cannot be read"
            annotation.invalid += [(part.where, reason) for part in parts]
            continue
        annotation.add(parts[0].where, partial(join, parts, size))
    if left_out:
        counts = ", ".join(f"{count} x {kind}" for kind, count in sorted(left_out.items()))
        annotation.repaired.append(f"shapes that are no objects are left out: {counts}")


def _has_score(shape: Any) -> bool:
    """Return whether a model made a shape in X-AnyLabeling."""
    return isinstance(shape, dict) and isinstance(shape.get("score"), int | float)


def _object(shape: dict[str, Any], kind: str, label: str, where: str, size: Size) -> RawBox:
    flags = shape.get("flags")
    marks = [shape.get("difficult")]  # as X-AnyLabeling has it
    if isinstance(flags, dict):
        marks += [flags.get("difficult"), flags.get("ignore")]
    difficult = any(mark is True for mark in marks)
    return replace(_geometry(shape, kind, label, where, size), difficult=difficult)


def _geometry(shape: dict[str, Any], kind: str, label: str, where: str, size: Size) -> RawBox:
    values = shape.get("points")
    if kind == "polygon":
        return from_outline(label, where, [flat(points(values, 3))])
    if kind == "rectangle":
        corners = points(values, 2, 4)
        if len(corners) == 2:
            return from_corners(label, where, corners)
        kind = "rotation"
    if kind in ("rotation", "oriented_rectangle"):
        corners = points(values, 4, 4)
        low, high = map(min, zip(*corners, strict=True)), map(max, zip(*corners, strict=True))
        box = from_corners(label, where, [[*low], [*high]])
        upright = {(x, y) for x in box.edges[1::2] for y in box.edges[::2]}
        if {(x, y) for x, y in corners} == upright:
            return box
        return from_outline(label, where, [flat(corners)], _TURNED)
    if kind == "circle":
        (x, y), edge = points(values, 2, 2)
        radius = ((edge[0] - x) ** 2 + (edge[1] - y) ** 2) ** 0.5
        return from_outline(label, where, [ellipse(x, y, radius, radius)], _CIRCLE)
    if kind == "mask":
        (left, top), (right, bottom) = points(values, 2, 2)
        crop = decode_mask(shape.get("mask"))
        wide, tall = int(right) - int(left), int(bottom) - int(top)
        # LabelMe includes the last row and column, other tools exclude them.
        if crop.shape not in ((tall + 1, wide + 1), (tall, wide)):
            shown = f"{crop.shape[1]} x {crop.shape[0]} in a box of {wide + 1} x {tall + 1}"
            raise ValueError(f"a mask must have the size of its box. Received: {shown}")
        return from_pixels(label, where, crop, int(left), int(top), size)
    raise ValueError(
        "shape_type must be rectangle, polygon, circle or mask; it is not read otherwise. "
        f"Received: {kind[:40]!r}"
    )


# ---- writing -------------------------------------------------------------------------------------


def _shapes(box: Box, number: int, size: Size) -> list[dict[str, Any]]:
    """Return the shapes of an object, several for one of several polygons."""
    height, width = size
    if isinstance(box.outline, RunLengths):
        lengths = {"size": [height, width], "counts": list(box.outline.counts)}
        crop, left, top = crop_of(run_lengths(lengths, height, width))
        right, bottom = left + crop.shape[1] - 1, top + crop.shape[0] - 1
        return [_shape(box, "mask", [[left, top], [right, bottom]], mask=encode_mask(crop))]
    if box.outline:
        group = number if len(box.outline) > 1 else None
        return [_shape(box, "polygon", pairs(polygon), group) for polygon in box.outline]
    return [_shape(box, "rectangle", pairs(pixel_edges(box, size)))]


def _shape(
    box: Box,
    kind: str,
    corners: list[list[float]],
    group: int | None = None,
    mask: str | None = None,
) -> dict[str, Any]:
    return {
        "label": box.label,
        "points": corners,
        "group_id": group,
        "description": "",
        "shape_type": kind,
        "flags": {"difficult": True} if box.difficult else {},
        "mask": mask,
    }
