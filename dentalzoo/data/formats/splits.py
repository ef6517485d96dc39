"""Names, groups, labels and splits of the files of a data set."""

import csv
import hashlib
import logging
import re
from collections import Counter, defaultdict
from collections.abc import Container, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from dentalzoo.data.formats.tree import SPLITS, FileEntry, Skip, Tree, normal, split_word
from dentalzoo.errors import BadFile, DentalzooError, MissingSplit

_log = logging.getLogger("dentalzoo")

_IMAGES = re.compile(r"(images?|imgs?)$", re.IGNORECASE)
_GROUP_COLUMNS = ("near_dup_group", "group", "patient")
_ID_COLUMNS = ("id", "file", "name", "image")


# ---- names, groups, labels -----------------------------------------------------------------------


def describe(tree: Tree, files: list[FileEntry]) -> list[FileEntry]:
    """Return the files with unique names, and with groups and labels where the data has them.

    Groups come from index.csv, labels from defects.csv or the names of folders.

    Raises:
        BadFile: a table is not text, or has an image in two groups.
    """
    stems = Counter(file.path.stem for file in files)
    paths = Counter(file.path.with_suffix("") for file in files)
    groups, kinds = _Tables(tree, "index.csv"), _Tables(tree, "defects.csv")
    described: list[FileEntry] = []
    for file in files:
        path = file.path
        name = path.stem if stems[path.stem] == 1 else tree.name(path.with_suffix(""))
        name = name if paths[path.with_suffix("")] == 1 else tree.name(path)
        table, values = groups.look_up(path, _GROUP_COLUMNS)
        if table and len(values) > 1:
            raise BadFile(table, f"{path.name} must be in one group. Received: {', '.join(values)}")
        if table and values:
            group = f"{tree.name(table)}: {values[0]}"
        else:
            source = path.name.partition(".rf.")[0] if ".rf." in path.name else path.name
            group = tree.name(path.with_name(source))
        label = " and ".join(kinds.look_up(path, ("kind",))[1]) or _folder_label(tree, path.parent)
        described.append(replace(file, name=name, group=group, label=label))
    return described


def _folder_label(tree: Tree, folder: Path) -> str:
    """Return the nearest folder name other than "images" or a split: "MT_Crack/images"."""
    parts = reversed(folder.relative_to(tree.root).parts)
    return next((p for p in parts if not _IMAGES.search(p) and not split_word(p)), "")


class _Tables:
    """The tables of one name in the folders above the images; the nearest one counts."""

    def __init__(self, tree: Tree, name: str):
        self._tree, self._name = tree, name
        self._read: dict[Path, dict[str, list[str]] | None] = {}

    def look_up(self, image: Path, columns: Iterable[str]) -> tuple[Path | None, list[str]]:
        """Return the table, and the values of an image in the first of `columns` that exists."""
        for folder in image.parents:
            path = folder / self._name
            if path not in self._read:
                self._read[path] = _read_table(path, columns) if path.is_file() else None
            rows = self._read[path]
            if rows is not None:
                row = split_row(image, rows)
                return path, [] if row is None else rows[row]
            if folder == self._tree.root:
                break
        return None, []


def _read_table(path: Path, columns: Iterable[str]) -> dict[str, list[str]] | None:
    """Return id -> values; None where the table has no such columns."""
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
        values: dict[str, dict[str, None]] = defaultdict(dict)
        for row in rows:
            name, value = (normal((row[c] or "").strip()) for c in (key, column))
            if name and value:
                values[name][value] = None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise BadFile(path, f"must be a table in UTF-8. Received: {error}") from error
    return {name: list(different) for name, different in values.items()}


# ---- splits --------------------------------------------------------------------------------------


def check_split(split: str | None) -> str:
    """Return one of `SPLITS`; "" for None.

    Raises:
        DentalzooError: `split` names no split.
    """
    name = split_word(split) if split else ""
    if split is not None and not name:
        raise DentalzooError(f"split must be one of {SPLITS} or None. Received: {split!r}")
    return name


def check_val_fraction(val_fraction: float) -> None:
    """Check that a fraction is at least 0 and less than 1.

    Raises:
        DentalzooError: it is not.
    """
    if not 0 <= val_fraction < 1:
        raise DentalzooError(
            f"val_fraction must be at least 0 and less than 1. Received: {val_fraction!r}"
        )


def split_files(
    tree: Tree,
    files: Sequence[FileEntry],
    skips: Sequence[Skip],
    val_fraction: float,
    where: str = "the folders' names",
    what: str = "image",
) -> tuple[list[FileEntry], list[Skip]]:
    """Return the files with their splits: from split.csv, else from folders, else by group.

    Args:
        tree: the data folder.
        files: with their groups; `split` is "" where the data has none.
        skips: what is left out already.
        val_fraction: the part of the groups that becomes "val" where the data has no splits; the
            hashes of their names decide.
        where: the source of the splits that the files have, for messages.
        what: what the files are, for messages.

    Returns:
        The files that have a split, and `skips` with what is left out here.

    Raises:
        BadFile: `split.csv` is broken.
        DentalzooError: files of one group have different splits.
    """
    files, skips = list(files), list(skips)
    if tree.split_csv:
        rows = read_splits(tree.split_csv)
        row_of = {file.path: split_row(file.path, rows) for file in files}
        files = [replace(f, split=rows[row]) for f in files if (row := row_of[f.path])]
        known = {split_row(Path(skip.name), rows) for skip in skips} | {*row_of.values()}
        where = "split.csv"
        skips += [
            Skip(row, "row of split.csv without files", rows[row])
            for row in rows
            if row not in known
        ]
        lost = [image for image, row in row_of.items() if row is None]
    elif any(file.split for file in files):
        lost = [file.path for file in files if not file.split]
        files = [file for file in files if file.split]
    else:
        aside = _held_out({file.group for file in files}, val_fraction)
        return [replace(f, split="val" if f.group in aside else "train") for f in files], skips
    skips += [Skip(tree.name(image), f"{what} in no split of {where}") for image in lost]
    split_of: dict[str, str] = {}
    for file in files:
        if split_of.setdefault(file.group, file.split) != file.split:
            raise DentalzooError(
                f"{tree.root}: a group must lie in one split; correct split.csv, the folders or "
                f"index.csv. Received: {file.group!r} in {split_of[file.group]} and "
                f"{file.split}"
            )
    return files, skips


def select_split(
    tree: Tree,
    files: Sequence[FileEntry],
    skips: Sequence[Skip],
    split: str,
    val_fraction: float,
    what: str = "images",
) -> tuple[list[FileEntry], list[Skip]]:
    """Return the files of a split, and the skips of this split and of no known one.

    Raises:
        MissingSplit: there are no files.
    """
    present = Counter(file.split for file in files)
    if split not in present:
        raise MissingSplit(
            f"{tree.root}: must hold {what} of the split {split!r}, from split.csv (id,split), "
            "the folders' names, ImageSets of PASCAL VOC or held out. "
            f"Received: {dict(present)}, val_fraction={val_fraction:g}"
        )
    return (
        [file for file in files if file.split == split],
        [skip for skip in skips if skip.split in (split, "")],
    )


def _held_out(groups: Iterable[str], part: float) -> set[str]:
    """Return the part of the groups whose names have the smallest hashes, one at least."""

    def by_hash(group: str) -> bytes:
        text = normal(group).encode(errors="surrogateescape")
        return hashlib.blake2b(text).digest()

    ordered = sorted(groups, key=by_hash)
    return set(ordered[: max(round(part * len(ordered)), 1) if part and ordered[1:] else 0])


# ---- split.csv -----------------------------------------------------------------------------------


def read_splits(path: Path) -> dict[str, str]:
    """Read `split.csv`, the columns "id" (or "file", "name", "image") and "split".

    Returns:
        id -> one of `SPLITS`.

    Raises:
        BadFile: a column is missing, a split is unknown, or an id is in two splits.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise BadFile(path, f"must be UTF-8 text. Received: {error}") from error
    lines = text.splitlines()
    delimiter = ";" if lines and ";" in lines[0] and "," not in lines[0] else ","
    rows = csv.DictReader(lines, delimiter=delimiter)
    header = {(name or "").strip().lower(): name for name in rows.fieldnames or ()}
    column = next((header[n] for n in ("id", "file", "name", "image") if n in header), None)
    if column is None or "split" not in header:
        raise BadFile(path, f"must have the header id,split. Received: {(lines or [''])[0][:80]!r}")
    splits: dict[str, str] = {}
    for number, row in enumerate(rows, start=2):
        name, word = (row[column] or "").strip(), (row[header["split"]] or "").strip()
        if not name:
            continue
        split = split_word(word)
        if not split:
            raise BadFile(path, f"line {number}: split must be one of {SPLITS}. Received: {word!r}")
        if splits.setdefault(normal(name), split) != split:
            raise BadFile(
                path,
                f"line {number}: {name!r} must be in one split. Received: {splits[name]}, {split}",
            )
    return splits


def split_row(image: Path, rows: Container[str]) -> str | None:
    """Return the row that names `image`, by its file name or its stem; None without one."""
    return next((n for n in (normal(image.name), normal(image.stem)) if n in rows), None)
