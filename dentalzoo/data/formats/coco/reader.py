"""Read COCO files: find the images that they name, and make their objects."""

import logging
import re
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from urllib.parse import unquote

from dentalzoo.data.formats.base import (
    ImageAnnotation,
    ParsedAnnotations,
    Purpose,
    merge_names,
    notice_once,
    report_skipped,
)
from dentalzoo.data.formats.coco.files import (
    CocoFile,
    CocoImage,
    annotation_files,
    broken_files,
    other_files,
    parse,
)
from dentalzoo.data.formats.coco.objects import make_object
from dentalzoo.data.formats.tree import (
    Folder,
    Skip,
    Tree,
    normal,
    skip_unused,
    split_first,
    split_of_file,
)
from dentalzoo.data.io.images import IMAGE_SUFFIXES

_UPLOADED = re.compile(r"[0-9a-f]{8}-(.+)")  # Label Studio puts this before the name of an upload


def sniff(tree: Tree) -> str:
    """Name the annotation files, or what else of COCO there is."""
    files = annotation_files(tree)
    if files:
        more = f" and {len(files) - 1} more" if len(files) > 1 else ""
        return f"COCO files ({tree.name(files[0])}{more})"
    others = other_files(tree)
    return f"COCO {others[0][1]} ({tree.name(others[0][0])})" if others else ""


def read(tree: Tree, purpose: Purpose) -> ParsedAnnotations:
    """Read the objects of every image that an annotation file lists.

    Raises:
        BadFile: a file is not COCO JSON, refers to what it does not define, or its coordinates are
            not pixels.
    """
    parsed = read_files(tree, purpose, annotation_files(tree), parse)
    for path, reason in broken_files(tree):
        parsed.refuse(tree.name(path), reason)
    for path, kind in other_files(tree) if parsed.annotations else ():
        notice_once(f"{tree.name(path)}: not used, COCO {kind}", tree.root, logging.INFO)
    return parsed


def read_files(
    tree: Tree, purpose: Purpose, paths: Iterable[Path], parse: Callable[[Tree, Path], CocoFile]
) -> ParsedAnnotations:
    """Read the objects of every image that annotation files list.

    Args:
        tree: the data folder.
        purpose: what is read.
        paths: the files.
        parse: returns the content of one.

    Raises:
        BadFile: `parse` raises it.
    """
    entries, skips = tree.entries
    boxes = purpose == "boxes"
    parsed = ParsedAnnotations(images=entries, skips=list(skips) if boxes else [])
    known = {entry.path for entry in entries}
    read_files: list[CocoFile] = []
    paths = list(paths)
    for path in split_first(tree, paths):
        file = parse(tree, path)
        split = split_of_file(tree, path)
        count = len(parsed.annotations)
        for annotation, image_of in _annotations(tree, file, purpose):
            images = find_image(tree, path, image_of.file_name, split)
            row = f"{tree.name(path)}: {image_of.file_name}"
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
                if annotation.invalid and not boxes:  # a mask without an object is wrong
                    parsed.refused.add(image)
                    where, reason = annotation.invalid[0]
                    parsed.skips.append(Skip(f"{annotation.name}, {where}", reason, split))
                    continue
                parsed.annotations[image] = annotation
                parsed.image_ids[image] = image_of.id
                if split or folder.split:
                    parsed.splits[image] = split or folder.split
        if len(parsed.annotations) > count:
            read_files.append(file)
            if file.results:
                notice_once(f"{tree.name(path)}: {file.results}", tree.root)
        parsed.listed[path] = [*file.categories.values()]
        parsed.repaired += [(tree.name(path), note) for note in file.notes]
        parsed.repaired += [(tree.name(path), note) for note in tree.json_notes(path)]
    if parsed.annotations:
        read_files.sort(key=lambda file: paths.index(file.path))
        parsed.classes = merge_names(file.class_ids() for file in read_files)
        parsed.category_ids = _category_ids(tree, read_files)
        if len({*parsed.image_ids.values()}) < len(parsed.image_ids):
            parsed.image_ids.clear()  # files that each count from 1
        if not boxes:
            report_skipped(parsed.repaired, "repaired")
            _skip_unlisted(tree, parsed)
    return parsed


def _category_ids(tree: Tree, files: list[CocoFile]) -> dict[str, int | str]:
    """Return class -> id; nothing where the files do not agree, which is logged."""
    ids: dict[str, int | str] = {}
    for file in files:
        for name, number in file.class_ids().items():
            if ids.setdefault(name, number) != number:
                what = f"{name!r} is {ids[name]} in one and {number} in another"
                notice_once(f"COCO files with other category ids: {what}", tree.root, logging.INFO)
                return {}
    if len({*ids.values()}) < len(ids):
        notice_once("COCO files with one category id for two classes", tree.root, logging.INFO)
        return {}
    return ids


def _skip_unlisted(tree: Tree, parsed: ParsedAnnotations) -> None:
    for folder in tree.folders:
        if folder.role != "masks":
            known = parsed.annotations.keys() | parsed.refused
            rest = [image for image in folder.images if image not in known]
            parsed.skips += skip_unused(tree, folder, rest, "image without annotation")


def _annotations(
    tree: Tree, file: CocoFile, purpose: Purpose
) -> Iterable[tuple[ImageAnnotation, CocoImage]]:
    """Yield the annotation of every image listed, empty ones included."""
    for image in file.images:
        annotation = ImageAnnotation(file.path, tree.name(file.path), image.size)
        for number, entry in enumerate(file.annotations.get(image.id, ()), start=1):
            label, where = file.label_of(entry), f"box {number}"
            annotation.add(where, partial(make_object, label, entry, where, purpose))
        for entry in file.lost.get(image.id, ()):
            annotation.invalid.append(
                (
                    f"annotation {entry.get('id')!r}",
                    "category_id must be the id of a category. Received: none",
                )
            )
        yield annotation, image


def find_image(tree: Tree, source: Path, file_name: str, split: str) -> list[tuple[Path, Folder]]:
    """Return the files that an annotation file may mean by `file_name`.

    A path of this or another machine, or the address of an upload. Never a file outside of the data
    folder. Of several of one name, in this order: the file at this path, those whose paths end like
    it, those beside the annotation file, those of its split, those of no split.
    """
    file_name = file_name.replace("\\", "/")
    candidates: list[tuple[Path, Folder]] = []
    for names in _names(file_name):
        by_name = [
            tree.images_by_name.get(normal(name))
            or tree.images_by_loose_name.get(normal(name).casefold(), [])
            for name in names
        ]
        if candidates := [*{pair[0]: pair for pairs in by_name for pair in pairs}.values()]:
            break
    parts = tuple(part for part in file_name.split("/") if part not in ("", ".", ".."))
    for best in (
        [pair for pair in candidates if pair[0] == source.parent / file_name],
        [pair for pair in candidates if pair[0].parts[-len(parts) :] == parts and parts[1:]],
        [pair for pair in candidates if pair[1].path == source.parent],
        [pair for pair in candidates if split and pair[1].split == split],
        [pair for pair in candidates if not split or not pair[1].split],
    ):
        if best:
            return [pair for pair in best if pair[1].role] or best
    return []


def _names(file_name: str) -> Iterable[list[str]]:
    """Yield lists of names that an image may have, the likeliest first."""
    yield [file_name.rsplit("/", 1)[-1]]
    path = file_name.rpartition("?d=")[2] if "?d=" in file_name else file_name.partition("?")[0]
    name = unquote(path).replace("\\", "/").rsplit("/", 1)[-1]
    yield [name]
    if match := _UPLOADED.fullmatch(name):
        yield [match[1]]
    if Path(name).suffix.lower() not in IMAGE_SUFFIXES:
        yield [name + end for suffix in sorted(IMAGE_SUFFIXES) for end in (suffix, suffix.upper())]
