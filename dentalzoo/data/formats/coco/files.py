"""COCO files: which JSON files are some, and what they say once it is checked.

https://cocodataset.org/#format-data has the fields. Ids are compared as numbers where they are
some, so that "7" and 7 are one.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dentalzoo.data.formats.base import RESULTS_AS_DATA, parse_size
from dentalzoo.data.formats.coco.outlines import compare_outlines, finite_numbers
from dentalzoo.data.formats.tree import Tree
from dentalzoo.errors import BadFile

Id = int | str

_KEYS = frozenset(("images", "annotations", "categories"))
# All ours.
_OUTSIDE = 1.02  # sides of the image: boxes beyond it are more than cut off
_MANY = 0.2  # of the boxes
_SAME_AREA = 0.02  # by how much the area of a file may differ from its box

# A key of the first annotation -> what its file is, in place of boxes and outlines.
_OTHER_KINDS = {"caption": "captions", "segments_info": "panoptic", "keypoints": "keypoints"}


@dataclass(frozen=True)
class CocoImage:
    """An entry of `images`; `size` is (height, width), None where the file does not say."""

    id: Id
    file_name: str
    size: tuple[int, int] | None


@dataclass(frozen=True)
class CocoFile:
    """A checked annotation file.

    Attributes:
        path: the file.
        images: in the order of the file.
        categories: id -> name.
        annotations: image id -> the annotations, in the order of the file.
        lost: image id -> annotations without a category.
        supercategories: (category, the one above it).
        notes: what is odd and was read all the same.
    """

    path: Path
    images: list[CocoImage]
    categories: dict[Id, str]
    annotations: dict[Id, list[dict[str, Any]]]
    lost: dict[Id, list[dict[str, Any]]] = field(default_factory=dict)
    supercategories: Sequence[tuple[str, object]] = ()
    notes: Sequence[str] = ()

    def label_of(self, entry: dict[str, Any]) -> str:
        """Return the name of the category of an annotation."""
        return self.categories[to_id(entry["category_id"])]

    @property
    def results(self) -> str:
        """A phrase where annotations have scores, as the results of a detector have; else ""."""
        entries = [entry for entries in self.annotations.values() for entry in entries]
        count = sum(entry.get("score") is not None for entry in entries)
        what = f"{count} of {len(entries)} annotations have a score, {RESULTS_AS_DATA}"
        return what if count else ""

    def class_ids(self) -> dict[str, Id]:
        """Return name -> id of the classes, in the order of their ids.

        A category that others name as theirs and that no annotation has is a heading, as Roboflow
        writes one, and left out; so is a background that no annotation has. Of several categories
        of one name, the first id counts.
        """
        entries = (entry for entries in self.annotations.values() for entry in entries)
        used = {self.label_of(entry) for entry in entries}
        headings = {str(above) for name, above in self.supercategories if above and above != name}
        ids: dict[str, Id] = {}
        for key in sorted(self.categories, key=lambda k: (isinstance(k, str), k)):
            name = self.categories[key]
            if name in used or (name not in headings and not _is_background(name)):
                ids.setdefault(name, key)
        return ids


def _is_background(name: str) -> bool:
    return name.strip("_ ").casefold() in ("background", "ignore")


def to_id(value: Any) -> Id:
    """Return an id as a number where it is one, else as text.

    Raises:
        TypeError: it is neither.
    """
    if isinstance(value, str):
        text = value.strip()
        return int(text) if text.isascii() and text.isdigit() else text
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise TypeError(f"an id must be a number or a text, not {value!r}"[:80])


# ---- which files ---------------------------------------------------------------------------------


def annotation_files(tree: Tree) -> list[Path]:
    """Return the files named `*annotations.coco.json`, and all others that have COCO's keys."""
    others = [path for path in tree.notes_of(".json") if tree.json_keys(path) >= _KEYS]
    return [*tree.coco, *(path for path in others if not kind_of(tree, path))]


def other_files(tree: Tree) -> list[tuple[Path, str]]:
    """Return files of COCO's family that annotate no objects, and what each is."""
    named = [(path, kind_of(tree, path)) for path in tree.notes_of(".json")]
    return [(path, kind) for path, kind in named if kind and kind != "DENTEX"]


def kind_of(tree: Tree, path: Path) -> str:
    """Return what a file of COCO's family is besides annotations of objects; "" for no such file.

    DENTEX files, which have three lists of categories, are read by the format of this name.
    """
    keys = tree.json_keys(path)
    if "[]" in keys:
        return "results" if {"image_id", "score"} <= keys else ""
    if {"images", "categories"} <= keys and "annotations" not in keys:
        return "lists of images"
    if is_dentex(keys):
        return "DENTEX"
    if not keys >= _KEYS:
        return ""
    annotations = tree.json(path)["annotations"]
    first = annotations[0] if isinstance(annotations, list) and annotations else None
    keys = frozenset(first) if isinstance(first, dict) else frozenset()
    kind = next((what for key, what in _OTHER_KINDS.items() if key in keys), "")
    if not kind and path.name.lower().startswith("stuff_"):
        return "stuff"
    return kind


def is_dentex(keys: frozenset[str]) -> bool:
    """Return whether a file has DENTEX's lists of categories."""
    lists = {"categories_1", "categories_2", "categories_3"}
    return keys >= {"images", "annotations"} and bool(keys & lists)


def broken_files(tree: Tree) -> list[tuple[Path, str]]:
    """Return files that begin like COCO and cannot be parsed, or lack categories, with a reason."""
    broken: list[tuple[Path, str]] = []
    for path in tree.notes_of(".json"):
        if keys := tree.json_keys(path):
            if keys >= {"images", "annotations"} and not keys >= _KEYS and not is_dentex(keys):
                broken.append((path, "must have categories, as COCO has. Received: none"))
            continue
        try:
            with open(path, "rb") as stream:
                start = stream.read(4096)
            if any(key in start for key in (b'"images"', b'"annotations"', b'"categories"')):
                tree.json(path)
        except (OSError, ValueError, RecursionError) as error:
            reason = f"must be JSON. Received: {' '.join(str(error).split())[:120]}"
            broken.append((path, reason))
    return broken


# ---- what they say -------------------------------------------------------------------------------


def parse(tree: Tree, path: Path) -> CocoFile:
    """Return the checked content of a COCO file, see `check`."""
    return check(path, lambda: tree.json(path))


def check(path: Path, load: Callable[[], Any]) -> CocoFile:
    """Return the checked content of a COCO file.

    Args:
        path: the file.
        load: returns its content.

    Raises:
        BadFile: it is not COCO JSON, refers to what it does not define, has an id twice, or its
            coordinates are not pixels as COCO has them.
    """
    try:
        content = load()
        images = [
            CocoImage(
                to_id(image["id"]),
                _text(image["file_name"]),
                parse_size(image.get("height"), image.get("width")),
            )
            for image in content["images"]
        ]
        listed = [(to_id(one["id"]), _text(one["name"])) for one in content["categories"]]
        above = [(str(one["name"]), one.get("supercategory")) for one in content["categories"]]
        entries, left_out = _without_deleted(list(content["annotations"]))
        seen = {to_id(entry["image_id"]) for entry in entries}
        bare = {to_id(one["id"]) for one in content["images"] if one.get("annotated") is False}
        if unseen := bare - seen:
            images = [image for image in images if image.id not in unseen]
            left_out.append(f"{len(unseen)} images without objects that nobody annotated")
        by_image: dict[Id, list[dict[str, Any]]] = {}
        lost: dict[Id, list[dict[str, Any]]] = {}
        for entry in entries:
            there = by_image if entry.get("category_id") is not None else lost
            there.setdefault(to_id(entry["image_id"]), []).append(entry)
        categories = dict(listed)
        used = {to_id(e["category_id"]) for es in by_image.values() for e in es}
    except BadFile:
        raise
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise BadFile(
            path,
            "must be COCO JSON with images, categories and annotations. "
            f"Received: {type(error).__name__}: {' '.join(str(error).split())[:120]}",
        ) from error
    ids = {image.id for image in images}
    if min(len(ids), len({image.file_name for image in images})) < len(images):
        raise BadFile(path, "must have one entry for each image. Received: an id or name twice")
    if len(categories) < len(set(listed)):
        raise BadFile(path, "must have one name for each category id. Received: an id twice")
    if (by_image.keys() | lost.keys()) - ids or used - categories.keys():
        _refuse_lost(path, by_image, lost, ids, categories)
    _check_unit(path, entries)
    sizes = {image.id: image.size for image in images}
    with_sizes = [(sizes[key], e) for key, es in by_image.items() for e in es]
    notes = compare_outlines(path, with_sizes) + left_out
    _check_corners(path, with_sizes)
    return CocoFile(path, images, categories, by_image, lost, above, notes + _odd(entries, listed))


def _without_deleted(entries: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], list[str]]:
    """Return the annotations that count, and a note of those that COCO Annotator deleted."""
    kept = [entry for entry in entries if entry.get("deleted") is not True]
    gone = len(entries) - len(kept)
    return kept, [f"{gone} deleted annotations are left out"] if gone else []


def _text(value: Any) -> str:
    if not isinstance(value, str | int | float) or isinstance(value, bool):
        raise TypeError(f"a name must be a text, not {type(value).__name__}")
    return str(value)


def _refuse_lost(
    path: Path,
    by_image: dict[Id, list[dict[str, Any]]],
    lost: dict[Id, list[dict[str, Any]]],
    ids: set[Id],
    categories: dict[Id, str],
) -> None:
    for key, entries in (*by_image.items(), *lost.items()):
        for entry in entries:
            category = entry.get("category_id")
            if key not in ids or (category is not None and to_id(category) not in categories):
                raise BadFile(
                    path,
                    f"annotation {entry.get('id')!r} refers to an image or category that is not "
                    f"listed. Received: image_id {entry['image_id']!r}, category_id {category!r}",
                )


def _odd(entries: list[dict[str, Any]], listed: list[tuple[Id, str]]) -> list[str]:
    notes = []
    ids = Counter(str(entry["id"]) for entry in entries if "id" in entry)
    if ids and (twice := ids.most_common(1)[0])[1] > 1:
        notes.append(f"{sum(n - 1 for n in ids.values())} annotation ids twice, such as {twice[0]}")
    names = Counter(name for _, name in set(listed))
    if names and (twice := names.most_common(1)[0])[1] > 1:
        notes.append(f"{twice[1]} categories are called {twice[0]!r}; they are one class")
    return notes


def _check_unit(path: Path, entries: list[dict[str, Any]]) -> None:
    """Refuse a file whose boxes or polygons all lie in [0, 1]."""
    boxes = [end for e in entries if (end := _ends(e.get("bbox"))) is not None]
    points = [
        max(numbers)
        for entry in entries
        if isinstance(polygons := entry.get("segmentation"), list)
        for polygon in polygons
        if (numbers := finite_numbers(polygon))
    ]
    for what, ends in (("boxes", boxes), ("polygons", points)):
        if ends and 0 < max(ends) <= 1:
            raise BadFile(
                path,
                f"{what} must be in pixels; multiply x by the width and y by the height of the "
                f"image. Received: all {len(ends)} {what} lie in [0, 1]",
            )


def _ends(bbox: Any) -> float | None:
    numbers = finite_numbers(bbox)
    if len(numbers) != 4:
        return None
    x, y, w, h = numbers
    return max(x + w, y + h, x, y)


def _check_corners(
    path: Path, entries: Iterable[tuple[tuple[int, int] | None, dict[str, Any]]]
) -> None:
    """Refuse a file whose boxes fit their images as [left, top, right, bottom] alone."""
    total = outside = own_areas = 0
    for size, entry in entries:
        numbers = finite_numbers(entry.get("bbox"))
        if size is None or len(numbers) != 4:
            continue
        (x, y, w, h), (height, width) = numbers, size
        if not (w > x and h > y and w <= width + 1 and h <= height + 1):
            return  # no corners
        total += 1
        outside += x + w > width * _OUTSIDE or y + h > height * _OUTSIDE
        area = entry.get("area")
        if isinstance(area, int | float) and area and not entry.get("segmentation"):
            own_areas += abs(area - w * h) <= _SAME_AREA * w * h
    if outside and outside >= _MANY * total and 2 * own_areas < total:
        raise BadFile(
            path,
            "boxes must be [x, y, width, height], but all of them fit as [left, top, right, bottom]"
            f" alone. Received: {outside} of {total} boxes far outside of their images",
        )
