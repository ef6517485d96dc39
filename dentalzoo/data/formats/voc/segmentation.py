"""Turn the pixels of PASCAL VOC into annotations: class masks, or outlines of the boxes."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np

from dentalzoo.data.formats.base import ImageAnnotation, ParsedAnnotations, RawBox
from dentalzoo.data.formats.outlines import segmentation
from dentalzoo.data.formats.semantic import areas, extent, whole_classes
from dentalzoo.data.formats.tree import Folder, Skip, Tree, skip_unused
from dentalzoo.data.formats.voc.image_sets import VocImages
from dentalzoo.data.formats.voc.pixels import Legend, class_ids, object_masks, read_legend
from dentalzoo.errors import BadFile

SAME_OBJECT = 0.5  # ours: IoU from which a box and the extent of a mask are one object

Edges = tuple[float, float, float, float]  # top, left, bottom, right


def segmentation_files(tree: Tree, kind: Literal["class", "object"]) -> list[tuple[Path, Folder]]:
    """Return the files of the folders SegmentationClass or SegmentationObject."""
    name = f"segmentation{kind}"
    folders = [folder for folder in tree.folders if folder.path.name.lower() == name]
    return [(path, folder) for folder in folders for path in folder.images]


def read_class_pixels(tree: Tree, parsed: ParsedAnnotations, images: VocImages) -> set[Path]:
    """Add the pixels of each class of SegmentationClass, and return the folders above it."""
    files = segmentation_files(tree, "class")
    legends: dict[Path, Legend] = {}
    for path, folder in files:
        legend = legends.setdefault(folder.path, read_legend(tree, folder.path, ()))
        owners = images.named(path.stem, path)
        try:
            ids = class_ids(path, legend)
        except BadFile as error:
            parsed.refuse(tree.name(path), error.reason, owners)
            continue
        annotation = ImageAnnotation(path, tree.name(path), _size(ids))
        annotation.boxes = whole_classes(ids, legend.names)
        parsed.listed[path] = legend.names
        parsed.assign(owners, annotation)
    if files and parsed.annotations:
        known = parsed.annotations.keys() | parsed.refused
        for folder in {f.folder.path: f.folder for f in parsed.images if f.folder}.values():
            alone = [f.path for f in parsed.images if f.folder is folder and f.path not in known]
            parsed.skips += skip_unused(tree, folder, alone, "image without SegmentationClass")
    return {folder.path.parent for _, folder in files}


def read_objects(tree: Tree, parsed: ParsedAnnotations, images: VocImages) -> set[Path]:
    """Add objects of SegmentationObject, or areas of SegmentationClass, to the annotations.

    They are the outlines of the boxes of an XML file. An image without a box of its own gets
    theirs.

    Returns:
        The folders above them.
    """
    files = segmentation_files(tree, "class")
    numbered = {(p.parent.parent, p.stem): p for p, _ in segmentation_files(tree, "object")}
    labels = {box.label for one in parsed.annotations.values() for box in one.boxes}
    legends: dict[Path, Legend] = {}
    for path, folder in files:
        owners = images.named(path.stem, path)
        known = parsed.annotations.get(owners[0]) if len(owners) == 1 else None
        try:
            legend = legends.setdefault(folder.path, read_legend(tree, folder.path, labels))
            ids = class_ids(path, legend)
            annotation = _objects(
                tree, path, ids, legend, numbered.get((path.parent.parent, path.stem))
            )
        except BadFile as error:
            if known is None:
                parsed.refuse(tree.name(path), error.reason, owners)
            else:
                known.repaired.append(f"{tree.name(path)} is not used: {error.reason}")
            continue
        if known is None and not parsed.refused.intersection(owners):
            parsed.assign(owners, annotation)
            if parsed.classes is None:
                parsed.classes = legend.names
        elif known is not None:
            _attach(known, annotation)
    for path in numbered.values():
        if (path.parent.parent, path.stem) not in {(p.parent.parent, p.stem) for p, _ in files}:
            parsed.skips.append(Skip(tree.name(path), "no file of SegmentationClass beside it"))
    return {folder.path.parent for _, folder in files}


def _objects(
    tree: Tree, path: Path, ids: np.ndarray, legend: Legend, numbers: Path | None
) -> ImageAnnotation:
    annotation = ImageAnnotation(path, tree.name(path), _size(ids))
    if numbers is None:
        annotation.boxes = areas(ids, legend.names)
        return annotation
    objects, annotation.invalid = object_masks(numbers, ids, legend.names)
    annotation.boxes = [_outlined(name, inside, f"object {n}") for n, name, inside in objects]
    return annotation


def _outlined(name: str, inside: np.ndarray, where: str) -> RawBox:
    return RawBox(name, extent(inside), where, outline=segmentation(inside))


def _size(ids: np.ndarray) -> tuple[int, int]:
    return ids.shape[0], ids.shape[1]


def _attach(annotation: ImageAnnotation, pixels: ImageAnnotation) -> None:
    """Give the boxes of an XML file their outlines, by number, else by class and place."""
    if annotation.size not in (None, pixels.size):
        note = "its size is not that of the XML file"
        annotation.repaired.append(f"{pixels.name} is not used: {note}")
        return
    if not annotation.boxes and not annotation.invalid and pixels.boxes:
        annotation.boxes, annotation.size = pixels.boxes, pixels.size
        annotation.repaired.append(f"no object in the XML file; those of {pixels.name} count")
        return
    free = {box.where: index for index, box in enumerate(annotation.boxes)}
    for one in pixels.boxes:
        best = _best(one, annotation.boxes, free)
        if best is None:
            annotation.repaired.append(f"{pixels.name}, {one.where}: no box of its place and class")
            continue
        index = free.pop(annotation.boxes[best].where)
        annotation.boxes[index] = replace(annotation.boxes[index], outline=one.outline)
    annotation.repaired += [f"{pixels.name}, {where}: {why}" for where, why in pixels.invalid]


def _best(one: RawBox, boxes: Sequence[RawBox], free: dict[str, int]) -> int | None:
    scores = {
        index: overlap(one.edges, boxes[index].edges)
        for index in free.values()
        if boxes[index].label == one.label
    }
    own = free.get(one.where)
    if own in scores and scores[own] >= SAME_OBJECT:
        return own
    best = max(scores, key=lambda index: scores[index], default=None)
    return best if best is not None and scores[best] >= SAME_OBJECT else None


def overlap(one: Edges, other: Edges) -> float:
    """Return the intersection over union of two boxes."""
    height = min(one[2], other[2]) - max(one[0], other[0])
    width = min(one[3], other[3]) - max(one[1], other[1])
    shared = max(height, 0) * max(width, 0)
    areas = [(e[2] - e[0]) * (e[3] - e[1]) for e in (one, other)]
    return shared / (sum(areas) - shared) if shared else 0.0
