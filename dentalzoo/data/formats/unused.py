"""What a data folder holds and a data set does not use, named once with the reason."""

import logging
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from dentalzoo.data.formats.base import ParsedAnnotations, notice_once
from dentalzoo.data.formats.names import split_word
from dentalzoo.data.formats.tables import GROUP_COLUMNS, ID_COLUMNS, read_table
from dentalzoo.data.formats.tree import FileEntry, Skip, Tree
from dentalzoo.errors import BadFile

_TABLES = (".csv", ".tsv", ".txt", ".json", ".xlsx", ".xls", ".ods", ".yaml", ".yml")
_SPLIT_NAME = re.compile(
    r"(.*[ _-])?(data)?(splits?|folds?|partitions?)([ _-].*|\d*)|"
    r"((.*[ _-])?(train(ing)?|val(id(ation)?)?|test(ing)?)([ _-].*|set|list)?)",
    re.IGNORECASE,
)
_GROUP_NAME = re.compile(
    r"(.*[ _-])?(index|groups?|patients?|subjects?|cases?)([ _-](ids?|list|map|table))?",
    re.IGNORECASE,
)
_ANNOTATIONS = (".json", ".xml", ".txt", ".ndjson", ".jsonl", ".vott", ".lif", ".roi")
_ARRAYS = (".npy", ".npz", ".mat", ".pkl", ".h5", ".hdf5", ".parquet", ".arrow", ".xlsx")
_IMAGES = frozenset(  # of images that are not read
    {".heic", ".heif", ".avif", ".jp2", ".j2k", ".jpx", ".jxl", ".psd", ".svg", ".ima", ".dicom"}
    | {".nii", ".gz", ".mha", ".mhd", ".nrrd", ".raw", ".tga", ".ppm", ".pgm", ".pnm", ".eps"}
    | {".pdf", ".ico", ".exr", ".hdr", ".dng", ".cr2", ".nef", ".arw", ".mp4", ".avi", ".mov"}
)
_MAY_ANNOTATE = {*_ANNOTATIONS, *_ARRAYS, *_IMAGES, ".csv", ".tsv"}
_NO_DATA = re.compile(
    r"(readme|licen[cs]e|citation|changelog|thumbs\.db|desktop\.ini)(.*)|.*\.(md|rst|py|ipynb|sh)",
    re.IGNORECASE,
)
_NAMES = re.compile(  # of lists of classes, which a format reads along with its annotations
    r"(classes\.(json|txt)|.*label_?map.*|obj\.(names|data)|.*\.names|data\.ya?ml|notes\.json|"
    r"records\.json|meta\.json|dataset\.json|labels?\.txt|obj_train_data)",
    re.IGNORECASE,
)
_OBJECTS = frozenset(("images", "annotations", "shapes", "assets", "regions"))
_MOST = 8  # things of one reason in one line
_MAX_TABLE = 16 << 20  # ours: bytes of a table that is opened for its header

_OTHER_SPLIT = "the split that it names is not used; split.csv, with id,split, is"
_OTHER = "not read"
_FORMAT = "another annotation format"
_FOLDER = "not of the data set"
_PREDICTED = "results of predict"
_PROJECT = "results of predict; a project that was corrected is a data folder of its own"
_HARMLESS = {_OTHER, _FORMAT, _FOLDER}

Unused = tuple[str, str]  # (what, reason)


def find_unused(
    tree: Tree,
    files: Iterable[FileEntry],
    skips: Iterable[Skip],
    parsed: ParsedAnnotations | None = None,
) -> list[Unused]:
    """Return what is in a data folder and not used, (what, reason) of each kind.

    Args:
        tree: the data folder.
        files: the images of the data set, of all splits, with the masks that are used.
        skips: what is listed as skipped already.
        parsed: the annotations, where those are used.
    """
    used = set(tree.used)
    if tree.split_csv:
        used.add(tree.split_csv)
    for file in files:
        used.update(filter(None, (file.path, file.partner)))
    if parsed:
        used.update(one.source for one in parsed.annotations.values())
        used.update(one.mask for one in parsed.annotations.values() if one.mask)
        used.update(parsed.listed)
    skipped = {part for skip in skips for part in (skip.name, *skip.name.split(": ")[:1])}
    skipped |= {name.rpartition(", ")[0] for name in skipped}

    def is_used(path: Path) -> bool:
        return path in used or tree.name(path) in skipped

    names_read = parsed is not None and bool(parsed.annotations)
    lists_read = parsed is not None and "ImageSets" in parsed.split_source
    rest = [
        path
        for path in (*tree.coco, *tree.records, *tree.notes)
        if not is_used(path)
        and not _NO_DATA.fullmatch(path.name)
        and not (names_read and _NAMES.fullmatch(path.name))
        and not (lists_read and "ImageSets" in path.parts)
    ]
    found = [(tree.name(path), reason) for path in rest if (reason := _advice(tree, path))]
    named = {name for name, _ in found}
    found += _image_folders(tree, is_used)
    found += [(phrase, _FORMAT) for phrase in tree.other_formats]
    found += [(f"{tree.name(path)}/", "results of a training") for path in tree.results]
    found += _predictions(tree)
    found += [
        (f"{tree.name(path)}/", "a folder that lies too deep") for path in tree.too_deep[:_MOST]
    ]
    rest = [path for path in rest if tree.name(path) not in named]
    if tree.other_formats:  # these are their files
        rest = [path for path in rest if path.suffix.lower() not in _ANNOTATIONS]
    return found + _by_suffix(rest, tree, parsed is not None)


def report_unused(tree: Tree, unused: Sequence[Unused]) -> None:
    """Log what is not used in one line, once for a folder; a warning where it matters."""
    by_reason: dict[str, list[str]] = defaultdict(list)
    for what, reason in unused:
        if reason != _FORMAT:  # is logged with the format that is used
            by_reason["" if reason in _HARMLESS else reason].append(what)
    if not by_reason:
        return
    phrases = []
    for reason, found in by_reason.items():
        more = f" and {len(found) - _MOST} more" if len(found) > _MOST else ""
        shown = ", ".join(found[:_MOST]) + more
        phrases.append(f"{shown} ({reason})" if reason else shown)
    level = logging.WARNING if any(by_reason) else logging.INFO
    notice_once(f"not used: {'; '.join(phrases)}", tree.root, level)


def _advice(tree: Tree, path: Path) -> str:
    """Return why a table or list of splits or groups is not read; "" for any other file."""
    stem = path.name.partition(".")[0]
    if path.suffix.lower() not in _TABLES:
        return ""
    if path.name.casefold() == "split.csv" and path.parent != tree.root:
        return "split.csv must lie in the data folder itself"
    if path.name.casefold() == "index.csv":
        return "index.csv must lie with the images or above them, with id,patient"
    if path.suffix.lower() == ".json" and _OBJECTS & tree.json_keys(path):
        return _OTHER_SPLIT if split_word(stem) else ""
    if _SPLIT_NAME.fullmatch(stem) and ("split" in stem.lower() or split_word(stem)):
        return "split.csv decides" if tree.split_csv else "the name is split.csv, with id,split"
    if path.suffix.lower() in (".json", ".txt", ".yaml", ".yml"):
        return ""
    for columns, advice in _columns_of(path):
        if columns:
            return advice
    if _GROUP_NAME.fullmatch(stem):
        return "the name is index.csv, with id,patient"
    return ""


def unrecognised(tree: Tree) -> str:
    """Return a phrase: the files that may be annotations and that no format recognises, or ""."""
    kinds: dict[str, list[str]] = defaultdict(list)
    for path in tree.notes:
        suffix = path.suffix.lower()
        if suffix in _MAY_ANNOTATE and not _is_about_data(path):
            kinds[suffix].append(tree.name(path) + _foreign(tree, path))
    files = [
        names[0] if len(names) == 1 else f"{len(names)} *{suffix} such as {names[0]}"
        for suffix, names in kinds.items()
    ]
    return " and ".join(files)


def _is_about_data(path: Path) -> bool:
    named = path.name.casefold() in ("split.csv", "index.csv", "defects.csv")
    return named or bool(_NO_DATA.fullmatch(path.name) or _NAMES.fullmatch(path.name))


def _foreign(tree: Tree, path: Path) -> str:
    """Return the known kind of a file that no format reads, in brackets."""
    suffix = path.suffix.lower()
    if suffix == ".json":
        keys = tree.json_keys(path)
        if {"[]", "image", "annotations"} <= keys:
            return " (CreateML)"
        first = next(iter(tree.json(path).values())) if keys and "[]" not in keys else None
        of_via = isinstance(first, dict) and {"filename", "regions"} <= first.keys()
        return " (VGG Image Annotator)" if of_via or "_via_img_metadata" in keys else ""
    if suffix in (".csv", ".tsv") and path.stat().st_size <= _MAX_TABLE:
        try:
            if {"xmin", "ymin", "xmax", "ymax"} <= {*read_table(path).header}:
                return " (a table of boxes)"
        except BadFile:
            return ""
    return ""


def _columns_of(path: Path) -> list[tuple[bool, str]]:
    """Return whether a table has splits, and groups, each with the name that it must have."""
    if path.suffix.lower() not in (".csv", ".tsv") or path.stat().st_size > _MAX_TABLE:
        return []
    try:
        table = read_table(path)
    except BadFile:
        return []
    named = table.column(ID_COLUMNS) is not None
    return [
        (named and table.column(columns) is not None, f"it has {what}; the name is {name}")
        for columns, what, name in (
            (("split",), "splits", "split.csv, with id,split"),
            (GROUP_COLUMNS, "groups", "index.csv, with id,patient"),
        )
    ]


def _image_folders(tree: Tree, is_used: Callable[[Path], bool]) -> list[Unused]:
    found = []
    for folder in tree.folders:
        count = sum(not is_used(image) for image in folder.images)
        if count:
            what = "masks" if folder.role == "masks" else "images"
            whole = "" if count == len(folder.images) else f" of {len(folder.images)}"
            found.append((f"{tree.name(folder.path)}/: {count}{whole} {what}", _FOLDER))
    return found


def _predictions(tree: Tree) -> list[Unused]:
    """Return the results of `predict` in each folder, and its projects."""
    files = Counter(path.parent for path in tree.predictions if path.is_file())
    projects = [path for path in tree.predictions if path not in files and path.is_dir()]
    return [
        (
            f"{tree.name(folder)}/: {count} files" if folder != tree.root else f"{count} files",
            _PREDICTED,
        )
        for folder, count in files.items()
    ] + [(f"{tree.name(path)}/", _PROJECT) for path in projects]


def _by_suffix(paths: Iterable[Path], tree: Tree, annotated: bool) -> list[Unused]:
    kinds: dict[str, list[Path]] = defaultdict(list)
    for path in paths:
        ends = path.suffixes
        two = len(ends) > 1 and ends[-1].lower() == ".gz"
        kinds["".join(ends[-2:] if two else ends[-1:]).lower()].append(path)
    found = []
    for suffix, files in sorted(kinds.items(), key=lambda kind: -len(kind[1])):
        what = tree.name(files[0]) if len(files) == 1 else f"{len(files)} *{suffix}"
        if not suffix:
            what = tree.name(files[0]) if len(files) == 1 else f"{len(files)} without suffix"
        reason = _OTHER
        if f".{suffix.rpartition('.')[2]}" in _IMAGES:
            reason = "images of this kind are not read"
        elif annotated and suffix in _ANNOTATIONS and _beside(files, tree):
            reason = "annotations that are not recognised"
        found.append((what, reason))
    return found


def _beside(files: Sequence[Path], tree: Tree) -> bool:
    """Return whether most files have the stem of an image, as annotations have."""
    stems = {image.stem for folder in tree.folders for image in folder.images}
    stems |= {image.name for folder in tree.folders for image in folder.images}
    return Counter(file.stem in stems for file in files).most_common(1)[0][0]
