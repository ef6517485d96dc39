"""Read YOLO label files: which file belongs to which image, and the objects in it."""

import logging
import re
from collections import Counter, defaultdict
from collections.abc import Mapping
from functools import partial
from itertools import islice
from pathlib import Path

from tqdm import tqdm

from dentalzoo.data.formats.base import (
    ImageAnnotation,
    ParsedAnnotations,
    Purpose,
    merge_names,
    notice_once,
)
from dentalzoo.data.formats.tree import FileEntry, Folder, Skip, Tree, normal, skip_unused
from dentalzoo.data.formats.yolo.lines import Meaning, decide, make_box, parse_numbers, read_lines
from dentalzoo.data.formats.yolo.names import Description, Lists, NameList, twice
from dentalzoo.data.formats.yolo.split_lists import Splits, read_split_lists
from dentalzoo.data.io.images import IMAGE_SUFFIXES
from dentalzoo.errors import BadFile

_log = logging.getLogger("dentalzoo")

_IMAGES = re.compile(r"(images?|imgs?)$", re.IGNORECASE)
_LABELS = re.compile(r"(.*[ _-])?(labels?|annotations?|yolo|txt)([ _-].*)?", re.IGNORECASE)
_SNIFFED = 3  # files

_Row = tuple[str, list[float] | None, str]  # where, its numbers, or why there are none


def sniff(tree: Tree) -> str:
    """Name what the first label files hold, boxes or polygons; "" for text of another kind."""
    labels, _ = _label_files(tree, tree.entries[0])
    rows: list[list[float]] = []
    for path in islice(labels.values(), _SNIFFED):
        try:
            rows += [parse_numbers(line) for _, line in read_lines(path)]
        except (BadFile, ValueError):
            return ""
    if not labels or any(len(row) < 5 or row[0] != int(row[0]) for row in rows):
        return ""
    if not rows or min(map(len, rows)) <= 6:
        return "YOLO labels (boxes)"
    kind = decide(rows).kind
    what = {"pose": "YOLO labels (keypoints)", "oriented": "YOLO labels (oriented boxes)"}
    return what.get(kind, "YOLO segmentation labels (polygons)")


def read(tree: Tree, purpose: Purpose) -> ParsedAnnotations:
    """Read the label files of the same stem as images.

    They lie in labels/ in the place of images/, in labels/ below the folder, beside the images, or
    in the only folder of texts beside theirs that is named after labels.

    Raises:
        BadFile: a list of classes is broken.
    """
    entries, skips = tree.entries
    labels, unused = _label_files(tree, entries)
    parsed = ParsedAnnotations(images=entries)
    if not labels:
        return parsed
    _refuse_shared(tree, labels, parsed)
    lists = Lists(tree)
    files: dict[Path, list[_Row]] = {}
    for path in tqdm(set(labels.values()), "reading labels", leave=False, disable=None):
        try:
            files[path] = [_row(where, line) for where, line in read_lines(path)]
        except BadFile as error:
            images = [image for image, label in labels.items() if label == path]
            parsed.refuse(tree.name(path), error.reason, images)
    _check_first_id(lists, files)
    meaning = _meaning(tree, files, lists.descriptions)
    unnamed: list[str] = []  # the numbers of all labels without names
    for entry in entries:
        path = labels.get(entry.path)
        if path not in files:
            continue
        named = lists.names(path.parent)
        one = _annotation(tree, path, files[path], named, meaning)
        lost = bool(meaning.refused) and not one.boxes
        if one.invalid and (lost or purpose == "masks"):  # a mask without an object is wrong
            where, reason = one.invalid[0]
            parsed.refuse(f"{one.name}, {where}", reason, [entry.path])
            continue
        parsed.annotations[entry.path] = one
        parsed.listed[path] = [*named.names.values()] if named else unnamed
        unnamed += [] if named else [n for n in _labels(one) if n not in unnamed]
    if parsed.annotations:
        parsed.classes = _classes(tree, lists, {path.parent for path in parsed.listed})
        splits = read_split_lists(
            tree, [entry.path for entry in entries], lists.descriptions, {*labels.values()}
        )
        unused = [skip for skip in unused if tree.root / skip.name not in splits.lists]
        _set_splits(tree, parsed, entries, splits, purpose)
    parsed.skips += [*skips, *unused] if purpose == "boxes" else unused
    if purpose == "masks" and any(b.outline for a in parsed.annotations.values() for b in a.boxes):
        _skip_unlabelled(tree, parsed)
    return parsed


def _check_first_id(lists: Lists, files: Mapping[Path, list[_Row]]) -> None:
    """Refuse ids that count from 1 where names count from 0: all but the last fit by chance."""
    used: dict[Path, set[float]] = defaultdict(set)
    names: dict[Path, NameList] = {}
    for path, rows in files.items():
        if named := lists.names(path.parent):
            names[named.path] = named
            used[named.path] |= {values[0] for _, values, _ in rows if values}
    for path, ids in used.items():
        count = len(names[path].names)
        if {*names[path].names} == {*range(count)} and ids and min(ids) == 1 and max(ids) == count:
            raise BadFile(
                path,
                "must name the class ids of the labels, the first one 0; subtract 1 from the ids, "
                f"or put a name before the others. Received: ids 1..{count} for {count} names",
            )


def _row(where: str, line: str) -> _Row:
    try:
        return where, parse_numbers(line), ""
    except ValueError as error:
        return where, None, str(error)


def _meaning(
    tree: Tree, files: Mapping[Path, list[_Row]], descriptions: list[Description]
) -> Meaning:
    rows = [values for file in files.values() for _, values, _ in file if values is not None]
    task = next((one.task for one in descriptions if one.task), "")
    meaning = decide(rows, task, next((one.keypoints for one in descriptions if one.keypoints), 0))
    if meaning.notice:
        notice_once(f"YOLO labels: {meaning.notice}", tree.root)
    return meaning


def _annotation(
    tree: Tree, path: Path, rows: list[_Row], named: NameList | None, meaning: Meaning
) -> ImageAnnotation:
    annotation = ImageAnnotation(path, tree.name(path), unit="parts")
    names = named.names if named else None
    for where, values, reason in rows:
        if values is None:
            annotation.invalid.append((where, reason))
        else:
            annotation.add(where, partial(make_box, values, names, where, meaning))
    return annotation


def _labels(annotation: ImageAnnotation) -> list[str]:
    return [*dict.fromkeys(box.label for box in annotation.boxes)]


def _classes(tree: Tree, lists: Lists, folders: set[Path]) -> list[str] | None:
    """Return the classes in the order of their ids; None where labels have no names."""
    found = {one.path: one for folder in sorted(folders) if (one := lists.names(folder))}
    for one in found.values():
        if double := twice(one.names.values()):
            _log.warning("%s: %r is the name of several ids", tree.name(one.path), double[0])
    if all(lists.names(folder) for folder in folders):
        return merge_names(
            [names[i] for i in sorted(names)] for names in (one.names for one in found.values())
        )
    hint = f"; not above the labels: {', '.join(lists.elsewhere())}" if lists.elsewhere() else ""
    notice_once(
        "no list of names for the classes of YOLO labels (data.yaml, obj.names, classes.txt); "
        f"their numbers are their names{hint}",
        tree.root,
    )
    return None


def _set_splits(
    tree: Tree,
    parsed: ParsedAnnotations,
    entries: list[FileEntry],
    splits: Splits,
    purpose: Purpose,
) -> None:
    """Fill `splits`.

    Of images that no list names it is the split of their folder where no list is of this split, as
    a test folder beside lists for training and validation; else "".
    """
    if splits.source:
        parsed.split_source = splits.source
        folders = {e.path: e.split for e in entries if e.split not in splits.named}
        parsed.splits = {
            image: splits.of.get(image, folders.get(image, "")) for image in parsed.annotations
        }
    elif purpose == "masks":
        parsed.splits = {entry.path: entry.split for entry in entries if entry.split}
    if splits.source and purpose == "masks" and not tree.split_csv:
        for image in [image for image, split in parsed.splits.items() if not split]:
            del parsed.annotations[image]
            parsed.refuse(tree.name(image), f"image in no split of {splits.source}", [image])


def _skip_unlabelled(tree: Tree, parsed: ParsedAnnotations) -> None:
    known = parsed.annotations.keys() | parsed.refused
    for folder in {f.folder.path: f.folder for f in parsed.images if f.folder}.values():
        rest = [f.path for f in parsed.images if f.folder is folder and f.path not in known]
        parsed.skips += skip_unused(tree, folder, rest, "image without labels")


# ---- which file belongs to which image -----------------------------------------------------------


def _label_files(tree: Tree, entries: list[FileEntry]) -> tuple[dict[Path, Path], list[Skip]]:
    """Return image -> its label file, and a skip for each label file without an image.

    Names that differ in case alone are the same where no other is.
    """
    texts: dict[Path, dict[str, Path]] = defaultdict(dict)
    loose: dict[Path, dict[str, list[Path]]] = defaultdict(lambda: defaultdict(list))
    for path in tree.notes_of(".txt"):
        stem = normal(path.stem)
        if path.name.lower() != "classes.txt":
            texts[path.parent][stem] = path
            loose[path.parent][stem.casefold()].append(path)
    folders = {_key(tree, folder): folder for folder in texts}
    folder_of = {
        entry.folder.path: _label_folder(tree, entry.folder, folders)
        for entry in entries
        if entry.folder
    }
    labels = {}
    for entry in entries:
        folder = folder_of[entry.path.parent]
        name, stem = normal(entry.path.name), normal(entry.path.stem)
        no_suffix = entry.path.suffix.lower() not in IMAGE_SUFFIXES
        for text in (name, stem) if no_suffix else (stem, name):
            alike = loose[folder].get(text.casefold(), [])
            one = texts[folder].get(text) or (alike[0] if len(alike) == 1 else None)
            if one:
                labels[entry.path] = one
                break
    used = {*labels.values()}
    skips = [
        Skip(tree.name(path), "labels without image")
        for folder in dict.fromkeys(folder_of.values())
        if folder not in folder_of  # beside images: some other text
        for path in texts[folder].values()
        if path not in used
    ]
    return labels, skips


def _refuse_shared(tree: Tree, labels: dict[Path, Path], parsed: ParsedAnnotations) -> None:
    """Refuse label files that several images share, such as a.txt beside a.jpg and a.png."""
    for path, count in Counter(labels.values()).items():
        if count > 1:
            images = [image for image, label in labels.items() if label == path]
            parsed.refuse(tree.name(path), f"labels of {count} images of one name", images)
            for image in images:
                del labels[image]


def _key(tree: Tree, folder: Path) -> tuple[str, ...]:
    return tuple(part.casefold() for part in folder.relative_to(tree.root).parts)


def _label_folder(tree: Tree, folder: Folder, texts: Mapping[tuple[str, ...], Path]) -> Path:
    """Return labels/ in the place of images/, else below the folder, else the folder itself.

    Where that holds no texts, the only folder beside it that is named after labels.

    Args:
        tree: the data folder.
        folder: of images.
        texts: the folders that hold texts, by their names in lower case.
    """
    parts = _key(tree, folder.path)
    for i in reversed(range(len(parts))):
        for word in ("labels", "label"):
            key = (*parts[:i], _IMAGES.sub(word, parts[i]), *parts[i + 1 :])
            if key != parts and key in texts:
                return texts[key]
        key = (*parts[:i], "labels", *parts[i + 1 :])  # beside JPEGImages, as darknet has it
        if parts[i] == "jpegimages" and key in texts:
            return texts[key]
    if below := texts.get((*parts, "labels")):
        return below
    if parts in texts:
        return folder.path
    near = [path for key, path in texts.items() if key[:-1] == parts[:-1]]
    named = [path for path in near if _LABELS.fullmatch(path.name)]
    return named[0] if len(named) == 1 else folder.path
