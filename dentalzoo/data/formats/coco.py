"""COCO annotation files, `*annotations.coco.json`: boxes, and outlines that become masks."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from dentalzoo.data.formats.base import (
    BoxSample,
    Content,
    ImageAnnotation,
    ParsedAnnotations,
    Place,
    Purpose,
    RawBox,
    merge_names,
    parse_size,
    refuse_to_write,
)
from dentalzoo.data.formats.tree import Folder, Skip, Tree, normal, skip_unused, split_of_file
from dentalzoo.errors import BadFile

NAME = "COCO"
HOLDS: tuple[Content, ...] = ("boxes", "polygons", "masks", "names", "splits", "crowd")
WRITES: tuple[Content, ...] = ()
READS: tuple[Purpose, ...] = ("boxes", "masks")


def sniff(tree: Tree) -> str:
    """Name the annotation files; none is opened."""
    if not tree.coco:
        return ""
    more = f" and {len(tree.coco) - 1} more" if len(tree.coco) > 1 else ""
    return f"COCO files ({tree.name(tree.coco[0])}{more})"


def read(tree: Tree, purpose: Purpose) -> ParsedAnnotations:
    """Read the boxes or the outlines of every image that an annotation file lists.

    Raises:
        BadFile: a file is not COCO JSON, or refers to what it does not define.
    """
    entries, skips = tree.entries
    boxes = purpose == "boxes"
    parsed = ParsedAnnotations(images=entries, skips=list(skips) if boxes else [])
    known = {entry.path for entry in entries}
    read_files = []
    for path in tree.coco:
        file = _parse(tree, path)
        split = split_of_file(tree, path)
        count = len(parsed.annotations)
        for annotation, file_name in _annotations(tree, path, file, boxes):
            images = find_image(tree, path, file_name, split)
            row = f"{tree.name(path)}: {file_name}"
            what = "boxes" if boxes else "annotation"
            if not images or (boxes and images[0][0] not in known and not images[1:]):
                parsed.skips.append(Skip(row, f"{what} without image", split))
            elif len(images) > 1:
                reason = f"{what} of {len(images)} images of one name"
                parsed.skips.append(Skip(row, reason, split))
            elif images[0][0] in parsed.annotations:
                parsed.skips.append(Skip(row, "image in several annotation files", split))
            else:
                image, folder = images[0]
                annotation.name = f"{tree.name(path)}: {image.name}"
                parsed.annotations[image] = annotation
                if split or folder.split:
                    parsed.splits[image] = split or folder.split
        if len(parsed.annotations) > count:
            read_files.append(file)
        parsed.listed[path] = [*file.categories.values()]
    parsed.classes = merge_names(file.class_names() for file in read_files)
    if not boxes:
        for folder in tree.folders:
            if folder.role != "masks":
                rest = [image for image in folder.images if image not in parsed.annotations]
                parsed.skips += skip_unused(tree, folder, rest, "image without annotation")
    return parsed


def write(samples: Iterable[BoxSample], out: Path, classes: Sequence[str], place: Place) -> Path:
    """Raise DentalzooError: this version writes COCO files of objects with masks only."""
    refuse_to_write(NAME, "DatasetWriter writes it from objects with masks")


# ---- reading -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _File:
    """A parsed annotation file: images by id as (file name, height, width), categories by id."""

    images: dict[object, tuple[str, Any, Any]]
    categories: dict[object, str]
    annotations: list[dict[str, Any]]
    supercategories: list[tuple[str, object]]  # (category, the one above it)

    def class_names(self) -> list[str]:
        """Return the categories in the order of their ids.

        A category that others name as theirs and that no annotation has is a heading, as Roboflow
        writes one, and left out.
        """
        used = {self.categories[entry["category_id"]] for entry in self.annotations}
        headings = {str(above) for name, above in self.supercategories if above and above != name}
        ids = sorted(self.categories, key=lambda k: (isinstance(k, str), k))
        names = [self.categories[key] for key in ids]
        return list(dict.fromkeys(name for name in names if name in used or name not in headings))


def _parse(tree: Tree, path: Path) -> _File:
    try:
        content = tree.json(path)
        images = {
            image["id"]: (str(image["file_name"]), image.get("height"), image.get("width"))
            for image in content["images"]
        }
        categories = {entry["id"]: str(entry["name"]) for entry in content["categories"]}
        above = [(entry["name"], entry.get("supercategory")) for entry in content["categories"]]
        names = [name for name, _, _ in images.values()]
        annotations = list(content["annotations"])
        ids = [(entry["id"], entry["image_id"], entry["category_id"]) for entry in annotations]
        lost = [ids_ for ids_ in ids if ids_[1] not in images or ids_[2] not in categories]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise BadFile(
            path,
            "must be COCO JSON with images, categories and annotations. "
            f"Received: {type(error).__name__}: {' '.join(str(error).split())[:120]}",
        ) from error
    if len(set(names)) < len(content["images"]):
        raise BadFile(path, "must have one entry for each image. Received: an id or name twice")
    if lost:
        annotation, image, category = lost[0]
        raise BadFile(
            path,
            f"annotation {annotation!r} refers to an image or category that is not listed. "
            f"Received: image_id {image!r}, category_id {category!r}",
        )
    return _File(images, categories, annotations, above)


def _annotations(
    tree: Tree, path: Path, file: _File, boxes: bool
) -> Iterable[tuple[ImageAnnotation, str]]:
    """Yield the annotation and the file name of every image listed, empty ones included."""
    by_image = defaultdict(list)
    for entry in file.annotations:
        by_image[entry["image_id"]].append((file.categories[entry["category_id"]], entry))
    for key, (file_name, height, width) in file.images.items():
        annotation = ImageAnnotation(path, tree.name(path), parse_size(height, width))
        for number, (label, entry) in enumerate(by_image[key], start=1):
            where = f"box {number}"
            annotation.add(where, partial(_object, label, entry, where, boxes))
        yield annotation, file_name


def _object(label: str, entry: dict[str, Any], where: str, boxes: bool) -> RawBox:
    """Return an object; where masks are read, its box is the extent of its outline."""
    bbox, outline = entry.get("bbox"), entry.get("segmentation") or None
    crowd = bool(entry.get("iscrowd"))
    if not boxes:
        return RawBox(label, (0, 0, 0, 0), where, crowd=crowd, outline=outline)
    try:
        x, y, w, h = (float(value) for value in bbox or "")
    except (TypeError, ValueError):
        raise ValueError(f"must be [x, y, width, height]. Received: {bbox!r}") from None
    return RawBox(label, (y, x, y + h, x + w), where, crowd=crowd, outline=outline)


def find_image(tree: Tree, source: Path, file_name: str, split: str) -> list[tuple[Path, Folder]]:
    """Return the files that an annotation file may mean by `file_name`.

    Never one outside of the data folder. Of several of one name, in this order: the file at this
    path, those beside the annotation file, those of its split, those of no split.
    """
    file_name = file_name.replace("\\", "/")
    candidates = tree.images_by_name.get(normal(file_name.rsplit("/", 1)[-1]), [])
    for best in (
        [pair for pair in candidates if pair[0] == source.parent / file_name],
        [pair for pair in candidates if pair[1].path == source.parent],
        [pair for pair in candidates if split and pair[1].split == split],
        [pair for pair in candidates if not split or not pair[1].split],
    ):
        if best:
            return [pair for pair in best if pair[1].role] or best
    return []
