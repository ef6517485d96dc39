"""Outlines of COCO annotation files, and their rasterising to masks."""

import json
import math
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dentalzoo.errors import BadFile, DentalzooError, require


@dataclass(frozen=True)
class Regions:
    """The outlines of one image: `shapes` holds (class id >= 1, COCO segmentation)."""

    source: Path
    height: int | None
    width: int | None
    shapes: tuple[tuple[int, object], ...]


def read_coco(path: Path, classes: tuple[str, ...] | None) -> list[tuple[str, Regions]]:
    """Reads an annotation file.

    Args:
        classes: names of categories, for ids 1..n in this order; others are background. None
            makes every category id 1.

    Returns:
        (file name, outlines) of every image listed, those without any outline included.

    Raises:
        BadFile: the file is no COCO JSON, or refers to what it does not define.
        DentalzooError: `classes` names no category of the file.
    """
    images, categories, annotations = _read(path)
    unknown = [name for name in classes or () if name not in categories.values()]
    if unknown:
        raise DentalzooError(
            f"{path}: expected classes among its categories {sorted(set(categories.values()))}. "
            f"Received: {unknown}"
        )
    ids = {
        key: 1 if classes is None else classes.index(name) + 1
        for key, name in categories.items()
        if classes is None or name in classes
    }
    shapes = defaultdict(list)
    for entry in annotations:
        if entry["category_id"] in ids:
            outline = ids[entry["category_id"]], entry.get("segmentation")
            shapes[entry["image_id"]].append(outline)
    return [
        (name, Regions(path, height, width, tuple(shapes[key])))
        for key, (name, height, width) in images.items()
    ]


@dataclass(frozen=True)
class Boxes:
    """The boxes of one image, as listed: (category, COCO bbox, whether it is a crowd)."""

    source: Path
    height: int | None
    width: int | None
    boxes: tuple[tuple[str, object, bool], ...]


def read_boxes(path: Path) -> list[tuple[str, Boxes]]:
    """Reads the boxes of an annotation file: (file name, boxes) of every image listed.

    Raises:
        BadFile: the file is no COCO JSON, or refers to what it does not define.
    """
    images, categories, annotations = _read(path)
    boxes = defaultdict(list)
    for entry in annotations:
        crowd = bool(entry.get("iscrowd"))
        boxes[entry["image_id"]].append(
            (categories[entry["category_id"]], entry.get("bbox"), crowd)
        )
    return [
        (name, Boxes(path, height, width, tuple(boxes[key])))
        for key, (name, height, width) in images.items()
    ]


def category_names(path: Path) -> list[str]:
    """The categories of an annotation file in the order of their ids.

    A category that others name as theirs and that no annotation has is a heading, as Roboflow
    writes one, and left out.

    Raises:
        BadFile: as `read_boxes`.
    """
    _, categories, annotations = _read(path)
    used = {categories[entry["category_id"]] for entry in annotations}
    headings = {
        str(entry.get("supercategory"))
        for entry in json.loads(path.read_bytes())["categories"]
        if entry.get("supercategory") != entry["name"]
    }
    names = [categories[key] for key in sorted(categories, key=lambda k: (isinstance(k, str), k))]
    return list(dict.fromkeys(name for name in names if name in used or name not in headings))


def _read(path: Path) -> tuple[dict, dict[object, str], list[dict]]:
    """Images by id as (file name, height, width), categories by id, and annotations."""
    try:
        content = json.loads(path.read_bytes())
        images = {
            image["id"]: (str(image["file_name"]), image.get("height"), image.get("width"))
            for image in content["images"]
        }
        categories = {entry["id"]: str(entry["name"]) for entry in content["categories"]}
        names = [name for name, _, _ in images.values()]
        annotations = list(content["annotations"])
        ids = [(entry["id"], entry["image_id"], entry["category_id"]) for entry in annotations]
        lost = [ids_ for ids_ in ids if ids_[1] not in images or ids_[2] not in categories]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise BadFile(
            path,
            "expected COCO JSON with images, categories and annotations. "
            f"Received: {type(error).__name__}: {' '.join(str(error).split())[:120]}",
        ) from error
    if len(set(names)) < len(content["images"]):
        raise BadFile(path, "expected one entry per image. Received: an image id or name twice")
    if lost:
        annotation, image, category = lost[0]
        raise BadFile(
            path,
            f"annotation {annotation!r} refers to nothing here. "
            f"Received: image_id {image!r}, category_id {category!r}",
        )
    return images, categories, annotations


def rasterise(regions: Regions, height: int, width: int) -> np.ndarray:
    """Draws the outlines, the largest first, so that a filling shows on its crown.

    Returns:
        (height, width) uint8 class ids, 0 = background.

    Raises:
        BadFile: an outline is missing, broken, or of another size.
    """
    layers = []
    for number, (class_id, segmentation) in enumerate(regions.shapes):
        try:
            inside = _inside(segmentation, height, width)
        except (ValueError, TypeError, KeyError, IndexError, OverflowError) as error:
            raise BadFile(
                regions.source,
                f"outline {number + 1} of an image cannot be drawn. "
                f"Received: {' '.join(str(error).split())[:120]}",
            ) from error
        layers.append((-int(inside.sum()), number, class_id, inside))
    mask = np.zeros((height, width), np.uint8)
    for _, _, class_id, inside in sorted(layers, key=lambda layer: layer[:2]):
        mask[inside] = class_id
    return mask


def _inside(segmentation, height: int, width: int) -> np.ndarray:
    if isinstance(segmentation, dict):
        if list(segmentation["size"]) != [height, width]:
            raise ValueError(f"run lengths of size {segmentation['size']}, not {[height, width]}")
        counts = segmentation["counts"]
        counts = _decompress(counts) if isinstance(counts, str) else counts
        if any(not isinstance(n, int) or n < 0 for n in counts) or sum(counts) != height * width:
            raise ValueError(f"run lengths that do not add up to {height} x {width}")
        runs = np.repeat(np.arange(len(counts)) % 2 == 1, counts)
        return runs.reshape(width, height).T  # column by column, as COCO stores them
    if not segmentation:
        raise ValueError("a box without an outline")
    polygons = []
    for polygon in segmentation:
        reach = 4 * max(height, width)  # ours: further out is a mistake, and slow to draw
        if len(polygon) % 2 or not all(math.isfinite(v) and abs(v) <= reach for v in polygon):
            raise ValueError("a polygon with half a point, or with points far outside")
        if len(polygon) >= 6:  # fewer than three points cover nothing
            polygons.append([float(v) for v in polygon])
    if not polygons:
        return np.zeros((height, width), bool)
    coco = require("pycocotools.mask", "panoramic_unet")
    return coco.decode(coco.merge(coco.frPyObjects(polygons, height, width))).astype(bool)


def _decompress(text: str) -> list[int]:
    """Run lengths of COCO's string form: 5 bits a character, each count from the third on as the
    difference to the one two before. pycocotools leaves memory unset where too few are given."""
    counts, value, shift = [], 0, 0
    for character in text:
        bits = ord(character) - 48
        if not 0 <= bits < 64:
            raise ValueError(f"{character!r} in compressed run lengths")
        value |= (bits & 31) << shift
        shift += 5
        if not bits & 32:
            if bits & 16:
                value -= 1 << shift
            counts.append(value + (counts[-2] if len(counts) > 2 else 0))
            value, shift = 0, 0
    return counts
