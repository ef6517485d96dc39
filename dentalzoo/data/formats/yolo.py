"""YOLO label files: a line `class cx cy w h`, or `class x y x y x y ...`, for each object.

All numbers are in parts of the image. classes.json or classes.txt, in the folder of the labels or
above it, names the classes 0, 1, ...; without such a list every number is the name of its class.
"""

import math
import re
from collections.abc import Iterable, Sequence
from functools import partial
from itertools import islice
from pathlib import Path

from tqdm import tqdm

from dentalzoo.data.formats.base import (
    BoxSample,
    Content,
    ImageAnnotation,
    ParsedAnnotations,
    Place,
    Purpose,
    RawBox,
    merge_names,
    refuse_to_write,
)
from dentalzoo.data.formats.label_maps import class_list_above
from dentalzoo.data.formats.tree import FileEntry, Folder, Skip, Tree, normal
from dentalzoo.errors import BadFile

NAME = "YOLO"
HOLDS: tuple[Content, ...] = ("boxes", "names")
WRITES: tuple[Content, ...] = ()
READS: tuple[Purpose, ...] = ("boxes",)

_IMAGES = re.compile(r"(images?|imgs?)$", re.IGNORECASE)
_SNIFFED = 3  # files


def sniff(tree: Tree) -> str:
    """Name what the first label files hold, boxes or polygons; "" for text of another kind."""
    labels, _ = _label_files(tree, tree.entries[0])
    counts: set[int] = set()
    others = 0
    for path in islice(labels.values(), _SNIFFED):
        try:
            for _, line in label_lines(path):
                parse_line(line, None)
                counts.add(len(line.split()))
        except (BadFile, ValueError):
            others += 1
    if others or not labels:
        return ""
    polygons = bool(counts) and min(counts) > 5
    return "YOLO segmentation labels (polygons)" if polygons else "YOLO labels (boxes)"


def read(tree: Tree, purpose: Purpose) -> ParsedAnnotations:
    """Read the label files of the same stem as images.

    They lie in labels/ in the place of images/, in labels/ below the folder, or beside the images.

    Raises:
        BadFile: a list of classes is broken.
    """
    entries, skips = tree.entries
    labels, unused = _label_files(tree, entries)
    if not labels:
        return ParsedAnnotations(images=entries)
    parsed = ParsedAnnotations(images=entries)
    lists: dict[Path, list[str] | None] = {}
    reading = [(entry, labels[entry.path]) for entry in entries if entry.path in labels]
    for entry, path in tqdm(reading, "reading boxes", leave=False, disable=None):
        if path.parent not in lists:
            lists[path.parent] = class_list_above(path.parent, tree.root)
        try:
            parsed.annotations[entry.path] = _annotation(tree, path, lists[path.parent])
        except BadFile as error:
            parsed.refuse(tree.name(path), error.reason, [entry.path])
    named = [names for names in lists.values() if names is not None]
    if len(named) == len(lists):
        parsed.classes = merge_names(named)
    parsed.skips += [*skips, *unused]
    return parsed


def write(samples: Iterable[BoxSample], out: Path, classes: Sequence[str], place: Place) -> Path:
    """Raise DentalzooError: this version does not write YOLO labels."""
    refuse_to_write(NAME)


def _annotation(tree: Tree, path: Path, names: list[str] | None) -> ImageAnnotation:
    annotation = ImageAnnotation(path, tree.name(path), unit="parts")

    def box(line: str, where: str) -> RawBox:
        return RawBox(*parse_line(line, names), where)

    for where, line in label_lines(path):
        annotation.add(where, partial(box, line, where))
    return annotation


def label_lines(path: Path) -> list[tuple[str, str]]:
    """Return ("line 1", its text) of each line of a label file that is not blank.

    Raises:
        BadFile: the file is not text.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise BadFile(path, f"must hold lines `class cx cy w h`. Received: {error}") from error
    return [(f"line {i}", line) for i, line in enumerate(lines, start=1) if line.strip()]


def parse_line(
    line: str, names: Sequence[str] | None
) -> tuple[str, tuple[float, float, float, float]]:
    """Return (class, (top, left, bottom, right)) of a line, in parts of the image.

    Args:
        line: of a label file.
        names: the names of the classes 0, 1, ...; None takes every number as its own name.

    Raises:
        ValueError: the line cannot be read, or its class has no name.
    """
    try:
        values = [float(word) for word in line.split()]
    except ValueError:
        raise ValueError(f"must be numbers. Received: {line[:60]!r}") from None
    if len(values) != 5 and (len(values) < 7 or len(values) % 2 == 0):
        raise ValueError(f"must be `class cx cy w h`. Received: {len(values)} numbers")
    if not all(math.isfinite(v) for v in values):
        raise ValueError(f"every value must be a number. Received: {line[:60]!r}")
    number = values[0]
    if number != int(number) or number < 0 or (names is not None and number >= len(names)):
        known = "" if names is None else f", below {len(names)}"
        raise ValueError(f"the class must be an integer >= 0{known}. Received: {number:g}")
    if len(values) == 5:
        x, y, w, h = values[1:]
        edges = (y - h / 2, x - w / 2, y + h / 2, x + w / 2)
    else:
        xs, ys = values[1::2], values[2::2]
        edges = (min(ys), min(xs), max(ys), max(xs))
    return str(int(number)) if names is None else names[int(number)], edges


# ---- which file belongs to which image -----------------------------------------------------------


def _label_files(tree: Tree, entries: list[FileEntry]) -> tuple[dict[Path, Path], list[Skip]]:
    """Return image -> its label file, and a skip for each label file without an image."""
    folder_of = {
        entry.folder.path: _label_folder(tree, entry.folder) for entry in entries if entry.folder
    }
    texts = {
        (folder, normal(path.stem)): path
        for folder in dict.fromkeys(folder_of.values())
        for path in sorted(folder.glob("*.txt"))
        if path.is_file() and path.name != "classes.txt"
    }
    labels = {
        entry.path: path
        for entry in entries
        if (path := texts.get((folder_of[entry.path.parent], normal(entry.path.stem))))
    }
    used = {*labels.values()}
    skips = [
        Skip(tree.name(path), "labels without image")
        for (folder, _), path in texts.items()
        if path not in used and folder not in folder_of  # beside images: some other text
    ]
    return labels, skips


def _label_folder(tree: Tree, folder: Folder) -> Path:
    """Return labels/ in the place of images/, else below the folder, else the folder itself."""
    parts = folder.path.relative_to(tree.root).parts
    for i in reversed(range(len(parts))):
        path = tree.root.joinpath(*parts[:i], _IMAGES.sub("labels", parts[i]), *parts[i + 1 :])
        if path != folder.path and path.is_dir():
            return path
    below = folder.path / "labels"
    return below if below.is_dir() else folder.path
