"""XML files of the tool CVAT, as "CVAT for images 1.1": boxes, polygons, masks and subsets."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from xml.etree import ElementTree

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
from dentalzoo.data.formats.outlines import run_lengths
from dentalzoo.data.formats.references import ImageReferences
from dentalzoo.data.formats.rules import image_size
from dentalzoo.data.formats.shapes import (
    Size,
    check_pixels,
    crop_of,
    ellipse,
    finish,
    flat,
    from_corners,
    from_outline,
    from_pixels,
    join,
    number,
    pairs,
    pixel_edges,
    points,
    rotated,
)
from dentalzoo.data.formats.tree import Tree, split_first, split_of_file, split_word
from dentalzoo.data.formats.voc import parse_xml
from dentalzoo.data.formats.writing import other_extents
from dentalzoo.errors import BadFile, few_of

NAME = "CVAT"
HOLDS: tuple[Content, ...] = (
    "boxes",
    "polygons",
    "masks",
    "names",
    "splits",
    "difficult",
    "crowd",
    "attributes",
)
WRITES = HOLDS
READS: tuple[Purpose, ...] = ("boxes", "masks")
lost = other_extents

_SNIFFED_FILES, _SNIFFED_BYTES = 3, 1 << 16
_TAGS = {"polygon": "polygons", "box": "boxes", "mask": "masks"}
_SHAPES = ("box", "polygon", "mask", "ellipse")
_DIFFICULT, _CROWD = "difficult", "is_crowd"  # the attributes that Datumaro has for VOC and COCO
_MARKS = (_DIFFICULT, "ignore", _CROWD, "iscrowd")
_OCCLUDED, _TRUE = "occluded", ("true", "1")
_SOURCES = ("manual", "auto", "semi-auto", "file", "consensus")  # who drew a shape
_SUBSETS = {"train": "Train", "val": "Validation", "test": "Test"}
_FILE, _IMAGES = "annotations.xml", "images"
_TURNED = "a turned box is read as a polygon; its box is its extent"
_ELLIPSE = "an ellipse is read as a polygon"


def sniff(tree: Tree) -> str:
    """Name a file whose root is `annotations`, with what its first kilobytes hold."""
    for path in tree.notes_of(".xml")[:_SNIFFED_FILES]:
        text = _head(path)
        if _is_ours(text):
            kinds = [name for tag, name in _TAGS.items() if f"<{tag} " in text]
            return f"CVAT XML ({', '.join(kinds) or 'shapes'})"
    return ""


def _head(path: Path) -> str:
    try:
        with path.open("rb") as stream:
            head = stream.read(_SNIFFED_BYTES)
    except OSError:
        return ""
    return head.replace(b"\0", b"").decode(errors="replace")  # UTF-16 has zeros


def _is_ours(head: str) -> bool:
    return re.search(r"<annotations[\s>/]", head) is not None


def read(tree: Tree, purpose: Purpose) -> ParsedAnnotations:
    """Read `*.xml` files anywhere in the tree whose root is `annotations`.

    Every listed image is annotated, as CVAT does not say which ones were finished. Polygons and
    masks of one label and one `group_id` are one object.
    """
    parsed = ParsedAnnotations(images=tree.entries[0])
    images = ImageReferences(entry.path for entry in parsed.images)
    listed: dict[Path, list[str]] = {}
    paths = tree.notes_of(".xml")
    for path in split_first(tree, paths):
        if not _is_ours(_head(path)):
            continue
        try:
            root, notes = parse_xml(path, "a file of CVAT")
        except BadFile as error:
            parsed.refuse(tree.name(path), error.reason)
            continue
        if root.tag == "annotations":
            parsed.repaired += [(tree.name(path), note) for note in notes]
            _read_file(tree, parsed, images, path, root)
            parsed.dropped += _not_held(root)
            listed[path] = list(_class_list(root))
    classes = merge_names(listed.get(path, ()) for path in paths)
    return finish(tree, parsed, purpose, classes or None)


# ---- reading -------------------------------------------------------------------------------------


def _class_list(root: ElementTree.Element) -> Iterator[str]:
    """Yield the labels of the task or project, without the points of skeletons."""
    for label in root.iterfind("meta//labels/label"):
        name = (label.findtext("name") or "").strip()
        if name and label.find("parent") is None:
            yield name


def _not_held(root: ElementTree.Element) -> list[str]:
    """Return phrases for what a file has and no sample holds."""
    labels = root.iterfind("meta//labels/label")
    coloured = [(one.findtext("name") or "").strip() for one in labels if one.findtext("color")]
    ordered = sum(shape.get("z_order", "0") != "0" for shape in root.iterfind("image/*"))
    return [
        *([f"the colours of the labels {few_of(coloured)}"] if coloured else []),
        *([f"the order (z_order) of {ordered} shapes"] if ordered else []),
    ]


def _read_file(
    tree: Tree,
    parsed: ParsedAnnotations,
    images: ImageReferences,
    path: Path,
    root: ElementTree.Element,
) -> None:
    name = tree.name(path)
    if root.find("track") is not None:
        reason = 'tracks of a video are not read; export it as "CVAT for images 1.1"'
        parsed.refuse(name, reason)
        return
    for entry in tqdm(root.findall("image"), "reading CVAT", leave=False, disable=None):
        written = entry.get("name", "").replace("\\", "/")
        subset = entry.get("subset", "")
        found = images.find(f"{subset}/{written}" if subset else written, path)
        found = found or images.of_stem(written.rpartition("/")[2], path)  # frames of a video
        row = f"{name}: {written}"
        if len(found) != 1:
            what = f"annotation of {len(found)} images of one name" if found else ""
            parsed.refuse(row, what or "annotation without image", found)
            continue
        try:
            stated = parse_size(entry.get("height"), entry.get("width"))
            size = stated or image_size(found[0])[0]
        except BadFile as error:
            parsed.refuse(row, error.reason, found)
            continue
        annotation = ImageAnnotation(path, row, size)
        _read_shapes(annotation, entry, size)
        parsed.assign(found, annotation)
        split = split_word(subset) or split_of_file(tree, path)  # Datumaro's train.xml
        if split and parsed.annotations.get(found[0]) is annotation:
            parsed.splits[found[0]] = split
            parsed.split_source = "the subsets of CVAT"


def _read_shapes(annotation: ImageAnnotation, entry: ElementTree.Element, size: Size) -> None:
    groups: dict[object, list[RawBox]] = {}
    broken: set[object] = set()
    left_out: Counter[str] = Counter()
    for index, shape in enumerate(entry, start=1):
        where = f"shape {index}"
        if shape.tag not in _SHAPES:
            left_out[str(shape.tag)[:40]] += 1
            continue
        group = shape.get("group_id", "0")
        label = shape.get("label", "")
        alone = shape.tag == "box" or group in ("", "0")
        key: object = index if alone else (label, group)
        try:
            groups.setdefault(key, []).append(_object(shape, label, where, size))
        except ValueError as error:
            annotation.invalid.append((where, str(error)))
            broken.add(key)
    for key, parts in groups.items():
        if key in broken:
            reason = "a shape of its group cannot be read"
            annotation.invalid += [(part.where, reason) for part in parts]
        else:
            annotation.add(parts[0].where, partial(join, parts, size))
    if left_out:
        counts = ", ".join(f"{count} x {tag}" for tag, count in sorted(left_out.items()))
        annotation.repaired.append(f"shapes that are no objects are left out: {counts}")


def _object(shape: ElementTree.Element, label: str, where: str, size: Size) -> RawBox:
    texts = {
        (one.get("name") or "").strip(): (one.text or "").strip()
        for one in shape.iterfind("attribute")
    }
    marks = {name.casefold(): text.casefold() in _TRUE for name, text in texts.items()}
    if shape.get("occluded") in _TRUE:
        texts[_OCCLUDED] = _TRUE[0]
    attributes = tuple((n, v) for n, v in texts.items() if n and v and n.casefold() not in _MARKS)
    raw = _geometry(shape, label, where, size)
    crowd = any(marks.get(name, False) for name in _MARKS[2:])
    hard = any(marks.get(name, False) for name in _MARKS[:2])
    source = shape.get("source", "")
    source = source if source in _SOURCES else ""
    return replace(raw, difficult=hard, crowd=crowd, source=source, attributes=attributes)


def _geometry(shape: ElementTree.Element, label: str, where: str, size: Size) -> RawBox:
    def values(*names: str) -> list[float]:
        return [number(shape.get(name)) for name in names]

    degrees = number(shape.get("rotation", "0"))
    if shape.tag == "box":
        left, top, right, bottom = values("xtl", "ytl", "xbr", "ybr")
        if degrees % 360:
            centre = ((left + right) / 2, (top + bottom) / 2)
            polygon = rotated((left, top, right, bottom), degrees, centre)
            return from_outline(label, where, [polygon], _TURNED)
        return from_corners(label, where, [[left, top], [right, bottom]])
    if shape.tag == "polygon":
        corners = [pair.split(",") for pair in (shape.get("points") or "").split(";") if pair]
        return from_outline(label, where, [flat(points(corners, 3))])
    if shape.tag == "ellipse":
        x, y, rx, ry = values("cx", "cy", "rx", "ry")
        return from_outline(label, where, [ellipse(x, y, rx, ry, degrees)], _ELLIPSE)
    left, top, width, height = (int(value) for value in values("left", "top", "width", "height"))
    crop = _pixels(shape.get("rle") or "", height, width)
    return from_pixels(label, where, crop, left, top, size)


def _pixels(rle: str, height: int, width: int) -> np.ndarray:
    """Return the pixels (height, width) bool of counts outside, inside, ..., row by row."""
    check_pixels((height, width))
    try:
        counts = [int(text) for text in rle.split(",")]
    except ValueError:
        raise ValueError(f"rle must be whole numbers. Received: {rle[:60]!r}") from None
    if min(counts) < 0 or sum(counts) != height * width or min(height, width) < 1:
        shown = f"{sum(counts):,} for {width} x {height} (width x height)"
        raise ValueError(f"rle must have a value for each pixel of its box. Received: {shown}")
    return np.repeat(np.arange(len(counts)) % 2 == 1, counts).reshape(height, width)


# ---- writing -------------------------------------------------------------------------------------


def write(samples: Sequence[BoxSample], out: Path, classes: Sequence[str], place: Place) -> Path:
    """Write `annotations.xml` and `images/`, with a folder of each subset; return the file.

    Objects of several polygons get a `group_id`; difficult ones and crowds have attributes, which
    the labels define, as those that were read: boxes to tick where all values are true or false,
    else texts. The `source` of predictions is "auto", and that of others "manual" where it
    is unknown.
    """
    names = check_class_list(classes)
    root = ElementTree.Element("annotations")
    ElementTree.SubElement(root, "version").text = "1.1"
    root.append(_meta(samples, names))
    for index, sample in enumerate(samples):
        subset = _SUBSETS.get(sample.split, "")
        folder = out / _IMAGES / subset
        image = place(sample, folder)
        (height, width), _ = image_size(image)
        texts = {"id": str(index), "name": image.relative_to(folder).as_posix()}
        if subset:
            texts["subset"] = subset
        texts |= {"width": str(width), "height": str(height)}
        entry = ElementTree.SubElement(root, "image", texts)
        for group, box in enumerate(sample.boxes, start=1):
            for tag, geometry in _shapes(box, (height, width)):
                source = box.source or _SOURCES[0]
                attributes = dict(box.attributes)
                hidden = attributes.get(_OCCLUDED) in _TRUE
                if hidden:
                    del attributes[_OCCLUDED]
                common = {"label": box.label, "source": source, "occluded": str(int(hidden))}
                shape = ElementTree.SubElement(entry, tag, common | geometry | {"z_order": "0"})
                if isinstance(box.outline, tuple) and len(box.outline) > 1:
                    shape.set("group_id", str(group))
                for name, value in ((_DIFFICULT, box.difficult), (_CROWD, box.crowd)):
                    if value:
                        attributes[name] = _TRUE[0]
                for name, text in attributes.items():
                    ElementTree.SubElement(shape, "attribute", name=name).text = text
    ElementTree.indent(root)
    path = out / _FILE
    with path.open("wb") as stream:
        ElementTree.ElementTree(root).write(stream, encoding="utf-8", xml_declaration=True)
        stream.write(b"\n")
    return path


def _meta(samples: Sequence[BoxSample], classes: Sequence[str]) -> ElementTree.Element:
    """Return what CVAT says of a task, or of a project with a task for each subset."""
    meta = ElementTree.Element("meta")
    subsets = {_SUBSETS[s.split]: None for s in samples if s.split in _SUBSETS}
    whole = ElementTree.SubElement(meta, "project" if subsets else "task")
    _put(whole, {"id": "1", "name": "dentalzoo"})
    if not subsets:
        _put(whole, {"size": str(len(samples)), "mode": "annotation"})
    labels = ElementTree.SubElement(whole, "labels")
    used: dict[str, dict[str, set[str]]] = {name: {} for name in classes}  # attribute -> its values
    for box in (box for sample in samples for box in sample.boxes):
        for attribute, text in box.attributes:
            if attribute != _OCCLUDED or text not in _TRUE:
                known = used.setdefault(box.label, {})
                known.setdefault(attribute, set()).add(text.casefold())
        for mark, on in ((_DIFFICULT, box.difficult), (_CROWD, box.crowd)):
            for attributes_of_label in used.values() if on else ():
                attributes_of_label[mark] = {_TRUE[0]}
    for name in classes:
        label = ElementTree.SubElement(labels, "label")
        _put(label, {"name": name, "type": "any"})
        attributes = ElementTree.SubElement(label, "attributes")
        for attribute, texts_ in used[name].items():
            ticked = texts_ <= {"true", "false"}
            default = "false" if ticked else ""
            kind = "checkbox" if ticked else "text"
            kinds = {"name": attribute, "mutable": "False", "input_type": kind}
            values = {"default_value": default, "values": default}
            _put(ElementTree.SubElement(attributes, "attribute"), kinds | values)
    if subsets:
        ElementTree.SubElement(whole, "subsets").text = "\n".join(subsets)
        tasks = ElementTree.SubElement(whole, "tasks")
        for number_, subset in enumerate(subsets, start=1):
            texts = {"id": str(number_), "name": subset, "mode": "annotation", "subset": subset}
            _put(ElementTree.SubElement(tasks, "task"), texts)
    return meta


def _put(parent: ElementTree.Element, texts: Mapping[str, str]) -> None:
    for tag, text in texts.items():
        ElementTree.SubElement(parent, tag).text = text


def _shapes(box: Box, size: Size) -> list[tuple[str, dict[str, str]]]:
    """Return the element and its geometry of each shape of an object."""
    height, width = size
    if isinstance(box.outline, RunLengths):
        lengths = {"size": [height, width], "counts": list(box.outline.counts)}
        crop, left, top = crop_of(run_lengths(lengths, height, width))
        cells = crop.ravel()
        counts = np.diff([0, *(np.flatnonzero(cells[1:] != cells[:-1]) + 1), cells.size]).tolist()
        rle = ", ".join(map(str, [0, *counts] if cells[0] else counts))
        corner = {"left": str(left), "top": str(top)}
        sides = {"width": str(crop.shape[1]), "height": str(crop.shape[0])}
        return [("mask", {"rle": rle, **corner, **sides})]
    if box.outline:
        return [("polygon", {"points": _points(polygon)}) for polygon in box.outline]
    names = ("xtl", "ytl", "xbr", "ybr")
    edges = zip(names, pixel_edges(box, size), strict=True)
    return [("box", {name: repr(edge) for name, edge in edges})]


def _points(polygon: Sequence[float]) -> str:
    return ";".join(f"{x!r},{y!r}" for x, y in pairs(polygon))
