"""Files of images with what belongs to them: masks, drawings, boxes, groups, labels, splits."""

import csv
import hashlib
import logging
import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from dentalzoo.data.formats import tree as layouts
from dentalzoo.data.formats.coco import Boxes, read_boxes
from dentalzoo.data.formats.tree import Folder, Skip, Tree
from dentalzoo.errors import BadFile, DentalzooError, MissingSplit

_log = logging.getLogger("dentalzoo")

_BOUNDARY = re.compile(r"(.*?)[ _-]?(boundary|boundaries)", re.IGNORECASE)
_IMAGES = re.compile(r"(images?|imgs?)$", re.IGNORECASE)
_GROUP_COLUMNS = ("near_dup_group", "group", "patient")
_ID_COLUMNS = ("id", "file", "name", "image")


@dataclass(frozen=True)
class FileEntry:
    """An image file.

    Attributes:
        partner: its mask, its drawing of boundaries, or its file of boxes; None without.
        boxes: its boxes where `partner` is a COCO file.
        name, group, label, split: see `dentalzoo.data.images.ImageSample`.
    """

    image: Path
    folder: Folder
    partner: Path | None = None
    boxes: Boxes | None = None
    name: str = ""
    group: str = ""
    label: str = ""
    split: str = ""


def find_files(tree: Tree, crops: str | None) -> tuple[list[FileEntry], list[Skip]]:
    """The images of a tree, each with what `crops` needs: a mask (optional for None), a drawing
    of boundaries or boxes. What finds no partner is a skip."""
    drawings = [folder for folder in tree.folders if _boundary_key(tree, folder)]
    tree = replace(tree, folders=[f for f in tree.folders if f not in drawings])
    pairs, pair_skips = layouts.pair_folders(tree, masks_needed=False)
    skips = [skip for skip in pair_skips if skip.reason != "image without mask"]
    no_images = {tree.root / skip.name for skip in skips} | {mask for _, mask, _ in pairs}
    named = any(folder.role == "images" for folder in tree.folders)
    files = []
    for folder in tree.folders:
        if folder.role == "masks":
            continue
        if named and not folder.role and not folder.split:  # previews, results, other annotations
            layouts.unused(tree, folder, folder.images, "not used")
            continue
        files += [
            FileEntry(img, folder, split=folder.split)
            for img in folder.images
            if img not in no_images
        ]
    if crops == "boundaries":
        files, more = _with_drawings(tree, files, drawings)
    elif crops == "boxes":
        files, more = _with_boxes(tree, files)
    else:
        partners = {image: (mask, split) for image, mask, split in pairs}
        files = [
            replace(file, partner=partners[file.image][0], split=partners[file.image][1])
            if file.image in partners
            else file
            for file in files
        ]
        more = []
    skips += more
    if crops is None:
        return files, skips
    if not any(file.partner for file in files):  # none alone: they are no such data
        return [], skips
    what = {"boundaries": "drawing of boundaries", "boxes": "boxes", "masks": "mask"}[crops]
    for folder in {file.folder.path: file.folder for file in files}.values():
        alone = [f.image for f in files if f.folder is folder and f.partner is None]
        skips += layouts.unused(tree, folder, alone, f"image without {what}")
    return [file for file in files if file.partner], skips


def _boundary_key(tree: Tree, folder: Folder) -> tuple[str, ...] | None:
    """The `Folder.key` of the images that a folder of drawings belongs to; else None."""
    parts = folder.path.relative_to(tree.root).parts
    for i in reversed(range(len(parts))):
        if match := _BOUNDARY.fullmatch(parts[i]):
            word = match[1].lower() if layouts.split_word(match[1]) else ""
            return (*parts[:i], word + "*", *parts[i + 1 :])
    return None


def _with_drawings(tree, files, folders) -> tuple[list[FileEntry], list[Skip]]:
    drawings, skips = {}, []
    for folder in folders:
        for drawing in folder.images:
            key = (_boundary_key(tree, folder), layouts.normal(drawing.stem))
            if key in drawings:
                reason = f"a second drawing beside {drawings[key].name}"
                skips.append(Skip(tree.name(drawing), reason, folder.split))
            else:
                drawings[key] = drawing
    files = [
        replace(f, partner=drawings.get((f.folder.key, layouts.normal(f.image.stem))))
        for f in files
    ]
    used = {file.partner for file in files}
    skips += [
        Skip(tree.name(drawing), "drawing of boundaries without image")
        for drawing in drawings.values()
        if drawing not in used
    ]
    return files, skips


def _with_boxes(tree, files) -> tuple[list[FileEntry], list[Skip]]:
    """Label files of the same stem, else COCO."""
    folder_of = {file.folder.path: _label_folder(tree, file.folder) for file in files}
    texts = {
        (folder, layouts.normal(path.stem)): path
        for folder in dict.fromkeys(folder_of.values())
        for path in sorted(folder.glob("*.txt"))
        if path.is_file() and path.name != "classes.txt"
    }
    labelled = []
    for file in files:
        key = folder_of[file.folder.path], layouts.normal(file.image.stem)
        labelled.append(replace(file, partner=texts.get(key)))
    used = {file.partner for file in labelled if file.partner}
    if not used:
        return _with_coco(tree, files)
    skips = [
        Skip(tree.name(path), "labels without image")
        for (folder, _), path in texts.items()
        if path not in used and folder not in folder_of  # beside images: some other text
    ]
    return labelled, skips


def _label_folder(tree: Tree, folder: Folder) -> Path:
    """labels/ in the place of images/, else beside the folder, else the folder itself."""
    parts = folder.path.relative_to(tree.root).parts
    for i in reversed(range(len(parts))):
        path = tree.root.joinpath(*parts[:i], _IMAGES.sub("labels", parts[i]), *parts[i + 1 :])
        if path != folder.path and path.is_dir():
            return path
    below = folder.path / "labels"
    return below if below.is_dir() else folder.path


def _with_coco(tree, files) -> tuple[list[FileEntry], list[Skip]]:
    by_image, skips = {file.image: file for file in files}, []
    for source in tree.coco:
        split = layouts.coco_split(tree, source)
        for file_name, boxes in read_boxes(source):
            found = layouts.find_image(tree, source, file_name, split)
            row = f"{tree.name(source)}: {file_name}"
            if len(found) != 1 or found[0][0] not in by_image:
                what = f"boxes of {len(found)} images of one name" if found[1:] else ""
                skips.append(Skip(row, what or "boxes without image", split))
                continue
            file = by_image[found[0][0]]
            if file.partner:
                skips.append(Skip(row, "image in several annotation files", split))
            else:
                by_image[file.image] = replace(
                    file, partner=source, boxes=boxes, split=split or file.split
                )
    return list(by_image.values()), skips


# ---- names, groups, labels -----------------------------------------------------------------------


def describe(tree: Tree, files: list[FileEntry]) -> list[FileEntry]:
    """Gives unique names, and groups and labels from index.csv, defects.csv and folders.

    Raises:
        BadFile: a table is no text, or has an image in two groups.
    """
    stems = Counter(file.image.stem for file in files)
    paths = Counter(file.image.with_suffix("") for file in files)
    groups, kinds, described = _Tables(tree, "index.csv"), _Tables(tree, "defects.csv"), []
    for file in files:
        path = file.image
        name = path.stem if stems[path.stem] == 1 else tree.name(path.with_suffix(""))
        name = name if paths[path.with_suffix("")] == 1 else tree.name(path)
        table, found = groups.look_up(path, _GROUP_COLUMNS)
        if len(found) > 1:
            raise BadFile(table, f"{path.name} lies in one group. Received: {', '.join(found)}")
        if found:
            group = f"{tree.name(table)}: {found[0]}"
        else:
            source = path.name.partition(".rf.")[0] if ".rf." in path.name else path.name
            group = tree.name(path.with_name(source))
        label = " and ".join(kinds.look_up(path, ("kind",))[1]) or _folder_label(tree, path.parent)
        described.append(replace(file, name=name, group=group, label=label))
    return described


def _folder_label(tree: Tree, folder: Path) -> str:
    """The nearest folder's name that tells of neither images nor a split: MT_Crack/images."""
    parts = reversed(folder.relative_to(tree.root).parts)
    return next((p for p in parts if not _IMAGES.search(p) and not layouts.split_word(p)), "")


class _Tables:
    """The tables of one name anywhere above the images; the nearest one counts."""

    def __init__(self, tree: Tree, name: str):
        self._tree, self._name, self._read = tree, name, {}

    def look_up(self, image: Path, columns: Iterable[str]) -> tuple[Path | None, list[str]]:
        """(table, the different values of an image in the first of `columns` that is there)."""
        for folder in image.parents:
            path = folder / self._name
            if path not in self._read:
                self._read[path] = _read_table(path, columns) if path.is_file() else None
            if self._read[path] is not None:
                return path, self._read[path].get(layouts.split_row(image, self._read[path]), [])
            if folder == self._tree.root:
                break
        return None, []


def _read_table(path: Path, columns: Iterable[str]) -> dict[str, list[str]] | None:
    """id -> values; None where the table has no such columns."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
        delimiter = ";" if lines and ";" in lines[0] and "," not in lines[0] else ","
        rows = csv.DictReader(lines, delimiter=delimiter)
        header = {(name or "").strip().lower(): name for name in rows.fieldnames or ()}
        key = next((header[name] for name in _ID_COLUMNS if name in header), None)
        column = next((header[name] for name in columns if name in header), None)
        if key is None or column is None:
            _log.info("%s: not used, without the columns id and %s", path, " or ".join(columns))
            return None
        values = defaultdict(dict)
        for row in rows:
            name, value = (layouts.normal((row[c] or "").strip()) for c in (key, column))
            if name and value:
                values[name][value] = None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise BadFile(path, f"expected UTF-8 text, a table. Received: {error}") from error
    return {name: list(found) for name, found in values.items()}


# ---- splits --------------------------------------------------------------------------------------


def split_files(
    tree: Tree,
    files: list[FileEntry],
    skips: list[Skip],
    val_fraction: float,
    where: str = "the folders' names",
    what: str = "image",
) -> tuple[list[FileEntry], list[Skip]]:
    """Gives splits from split.csv, else from folders, else held out by group.

    Args:
        skips: what is left out already.
        val_fraction: the part of the groups that becomes "val" where nothing tells a split.
        where: what told the splits that the files have.
        what: what the files are, for messages.

    Returns:
        The files of some split, and `skips` with what is left out here.

    Raises:
        BadFile: `split.csv` is broken.
        DentalzooError: it tears a group.
    """
    if tree.split_csv:
        rows = layouts.read_splits(tree.split_csv)
        row_of = {file.image: layouts.split_row(file.image, rows) for file in files}
        files = [replace(f, split=rows[row_of[f.image]]) for f in files if row_of[f.image]]
        known = {layouts.split_row(Path(skip.name), rows) for skip in skips} | {*row_of.values()}
        where = "split.csv"
        skips = skips + [
            Skip(row, "row of split.csv without files", rows[row])
            for row in rows
            if row not in known
        ]
        lost = [image for image, row in row_of.items() if row is None]
    elif any(file.split for file in files):
        lost = [file.image for file in files if not file.split]
        files = [file for file in files if file.split]
    else:
        aside = _held_out({file.group for file in files}, val_fraction)
        return [replace(f, split="val" if f.group in aside else "train") for f in files], skips
    skips = skips + [Skip(tree.name(image), f"{what} in no split of {where}") for image in lost]
    split_of = {}
    for file in files:
        if split_of.setdefault(file.group, file.split) != file.split:
            raise DentalzooError(
                f"{tree.root}: a group lies in one split; correct split.csv, the folders or "
                f"index.csv. Received: {file.group!r} in {split_of[file.group]} and "
                f"{file.split}"
            )
    return files, skips


def of_split(
    tree: Tree,
    files: list[FileEntry],
    skips: list[Skip],
    wanted: str,
    val_fraction: float,
    what: str = "images",
) -> tuple[list[FileEntry], list[Skip]]:
    """The files of a split, and what is left out of it or of no known split.

    Raises:
        MissingSplit: there are none.
    """
    present = Counter(file.split for file in files)
    if wanted not in present:
        raise MissingSplit(
            f"{tree.root}: expected {what} of the split {wanted!r}, from split.csv (id,split), "
            "the folders' names, ImageSets of PASCAL VOC or held out. "
            f"Received: {dict(present)}, val_fraction={val_fraction:g}"
        )
    return (
        [file for file in files if file.split == wanted],
        [skip for skip in skips if skip.split in (wanted, "")],
    )


def _held_out(groups: Iterable[str], part: float) -> set[str]:
    """The part of the groups whose names have the smallest hashes, at least one of several."""

    def by_hash(group):
        text = layouts.normal(group).encode(errors="surrogateescape")
        return hashlib.blake2b(text).digest()

    ordered = sorted(groups, key=by_hash)
    return set(ordered[: max(round(part * len(ordered)), 1) if part and ordered[1:] else 0])
