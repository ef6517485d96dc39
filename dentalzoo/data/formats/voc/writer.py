"""Write PASCAL VOC: XML files of boxes, and the pixels of objects with outlines."""

from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from dentalzoo.data.formats.base import Box, BoxSample, Place, check_class_list
from dentalzoo.data.formats.outlines import as_coco, fill
from dentalzoo.data.formats.rules import image_size
from dentalzoo.data.formats.voc.pixels import VOID, palette
from dentalzoo.data.formats.writing import other_extents
from dentalzoo.data.io.images import write_png
from dentalzoo.errors import DentalzooError

ABOUT = "written by dentalzoo"
_WHOLE = 1e-6  # ours, in pixels: an edge this near to a pixel's lies there
_NO_SPLIT = "default"  # the list of images without a split, as CVAT calls it


def lost(samples: Sequence[BoxSample]) -> list[str]:
    """Return a phrase for each object whose box or pixels VOC cannot hold."""
    pixels = [phrase for sample in samples for phrase in _lost_of(sample)]
    return [*other_extents(samples), *pixels]


def _lost_of(sample: BoxSample) -> list[str]:
    if not any(box.outline for box in sample.boxes):
        return []
    size, _ = image_size(sample.image)
    taken = np.zeros(size, bool)
    problems = []
    for number, box in enumerate(sample.boxes, start=1):
        if not box.outline:
            problems.append("without an outline beside those with one")
            continue
        inside = fill(as_coco(box.outline), *size)
        if not inside.any():
            problems.append("without a pixel of its own")
        elif (inside & taken).any():
            problems.append("overlapping another one")
        elif number >= VOID:
            problems.append(f"after the {VOID - 1}th with an outline")
        taken |= inside
    return problems


def write(samples: Sequence[BoxSample], out: Path, classes: Sequence[str], place: Place) -> Path:
    """Write JPEGImages, Annotations, ImageSets and labelmap.txt; return the folder.

    Where an object has an outline, also SegmentationClass and SegmentationObject with the indices
    and colours of PASCAL VOC, for the images of which each object has one; of overlapping objects
    the later one counts. Boxes are whole pixels from 1, the last one included; where an edge of
    the data set lies between pixels, all are numbers from 0, the last one excluded.
    """
    names = check_class_list(classes)
    outlined = any(box.outline for sample in samples for box in sample.boxes)
    if outlined and len(names) >= VOID:
        raise DentalzooError(
            f"VOC holds masks of at most {VOID - 1} classes. Received: {len(names)}"
        )
    if bad := [n for n in names if not n.isprintable() or n != n.strip()]:
        raise DentalzooError(f"the name of a class must be plain text. Received: {bad[0]!r}")
    if bad := [n for n in names if n.startswith("#")]:  # a comment in labelmap.txt, to all readers
        raise DentalzooError(
            f"the name of a class must not begin with # in VOC. Received: {bad[0]!r}"
        )
    edges = {sample.name: _pixel_edges(sample) for sample in samples}
    whole = all(
        abs(e - round(e)) <= _WHOLE for boxes in edges.values() for box in boxes for e in box
    )
    sets: dict[str, list[str]] = {}
    segmented: dict[str, list[str]] = {}
    annotations = out / "Annotations"
    annotations.mkdir()
    for sample in samples:
        image = place(sample, out / "JPEGImages")
        size, _ = image_size(image)
        listed = sets.setdefault(sample.split or _NO_SPLIT, [])
        listed.append(image.stem)
        with_pixels = outlined and all(box.outline for box in sample.boxes)
        if with_pixels:
            segmented.setdefault(sample.split or _NO_SPLIT, []).append(image.stem)
            _write_pixels(out, image.stem, sample.boxes, size, names)
        xml = _sample_xml(image.name, (*size, 3), sample.boxes, edges[sample.name], whole)
        (annotations / f"{image.stem}.xml").write_bytes(xml)
    for kind, lists in (("Main", sets), ("Segmentation", segmented)):
        for name, stems in lists.items():
            folder = out / "ImageSets" / kind
            folder.mkdir(parents=True, exist_ok=True)
            text = "".join(f"{stem}\n" for stem in stems)
            (folder / f"{name}.txt").write_text(text, encoding="utf-8")
    colours = palette(len(names) + 1) if len(names) < 256 else _many_colours(len(names) + 1)
    lines = ["# label:color_rgb:parts:actions"]
    for name, colour in zip(("background", *names), colours, strict=True):
        lines.append(f"{name}:{','.join(map(str, colour))}::")
    (out / "labelmap.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return out


def _many_colours(count: int) -> list[tuple[int, ...]]:
    return [(i & 255, i >> 8 & 255, i >> 16) for i in range(count)]


def _pixel_edges(sample: BoxSample) -> list[tuple[float, float, float, float]]:
    (height, width), _ = image_size(sample.image)
    return [
        (b.top * height, b.left * width, b.bottom * height, b.right * width) for b in sample.boxes
    ]


def _write_pixels(
    out: Path, stem: str, boxes: Sequence[Box], size: tuple[int, int], names: Sequence[str]
) -> None:
    by_class, by_object = np.zeros(size, np.uint8), np.zeros(size, np.uint8)
    for number, box in enumerate(boxes[: VOID - 1], start=1):
        if box.outline:
            inside = fill(as_coco(box.outline), *size)
            by_class[inside] = names.index(box.label) + 1
            by_object[inside] = number
    for kind, mask in (("Class", by_class), ("Object", by_object)):
        write_png(out / f"Segmentation{kind}" / f"{stem}.png", mask, palette())


def _sample_xml(
    file_name: str,
    shape: tuple[int, int, int],
    boxes: Sequence[Box],
    edges: Sequence[tuple[float, float, float, float]],
    whole: bool,
) -> bytes:
    objects = [
        (box.label, _rounded(corners) if whole else corners)
        for box, corners in zip(boxes, edges, strict=True)
    ]
    difficult = [box.difficult for box in boxes]
    first = 1 if whole else 0
    return object_xml(file_name, shape, objects, ABOUT, "JPEGImages", first, difficult)


def _rounded(edges: tuple[float, float, float, float]) -> tuple[int, int, int, int]:
    top, left, bottom, right = (round(edge) for edge in edges)
    return top, left, bottom, right


def object_xml(
    file_name: str,
    shape: tuple[int, int, int],
    objects: Sequence[tuple[str, tuple[float, float, float, float]]],
    database: str,
    folder: str = "images",
    first: int = 1,
    difficult: Sequence[bool] = (),
) -> bytes:
    """Return the annotation file of an image.

    Args:
        file_name: of the image.
        shape: its height, width and depth.
        objects: (label, (top, left, bottom, right) in pixels, lower ends exclusive).
        database: the source of the image.
        folder: of the image.
        first: the number of the first pixel: 1, where the last pixel of a box is included, or 0.
        difficult: of each object; empty for none.
    """
    height, width, depth = shape
    root = ElementTree.Element("annotation")

    def put(parent: ElementTree.Element, **entries: object) -> None:
        for key, value in entries.items():
            ElementTree.SubElement(parent, key).text = str(value)

    put(root, folder=folder, filename=file_name)
    put(ElementTree.SubElement(root, "source"), database=database)
    put(ElementTree.SubElement(root, "size"), width=width, height=height, depth=depth)
    put(root, segmented=int(bool(objects)))
    for number, (label, (top, left, bottom, right)) in enumerate(objects):
        hard = int(bool(difficult) and difficult[number])
        cut = top == 0 or left == 0 or bottom == height or right == width
        entry = ElementTree.SubElement(root, "object")
        put(entry, name=label, pose="Unspecified", truncated=int(cut), difficult=hard)
        box = ElementTree.SubElement(entry, "bndbox")
        put(box, xmin=left + first, ymin=top + first, xmax=right, ymax=bottom)
    ElementTree.indent(root)
    content: bytes = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    return content + b"\n"
