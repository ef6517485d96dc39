"""Names, groups, labels and splits of the files of a data set."""

import hashlib
import logging
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from dentalzoo.data.formats.base import notice_once
from dentalzoo.data.formats.copies import report_copies
from dentalzoo.data.formats.names import source_of
from dentalzoo.data.formats.patients import join_patients
from dentalzoo.data.formats.tables import (
    GROUP_COLUMNS,
    ID_COLUMNS,
    RowIndex,
    read_table,
    read_values,
)
from dentalzoo.data.formats.tree import (
    SPLITS,
    FileEntry,
    Skip,
    Tree,
    find_table,
    normal,
    split_word,
)
from dentalzoo.errors import BadFile, DentalzooError, MissingSplit

_IMAGES = re.compile(r"(images?|imgs?)$", re.IGNORECASE)
_MOST_LISTS = 20  # ours
_NO_TRAIN = "besides the named splits"
_LEADING_WORD = re.compile(r"([A-Za-z]+)[ _-]?\d*(?=[ _.-]|$)")


# ---- names, groups, labels -----------------------------------------------------------------------


def describe(tree: Tree, files: list[FileEntry]) -> list[FileEntry]:
    """Return the files with unique names, and with groups and labels where the data has them.

    Groups come from index.csv, labels from defects.csv or the names of folders.

    Raises:
        BadFile: a table is not text, or has an image in two groups.
    """
    stems = Counter(file.path.stem for file in files)
    paths = Counter(file.path.with_suffix("") for file in files)
    images = [file.path for file in files]
    groups = _Tables(tree, images, "index.csv", GROUP_COLUMNS)
    kinds = _Tables(tree, images, "defects.csv", ("kind",))
    sources = {path.with_suffix(""): path for path in images}
    described: list[FileEntry] = []
    for file in files:
        path = file.path
        name = path.stem if stems[path.stem] == 1 else tree.name(path.with_suffix(""))
        name = name if paths[path.with_suffix("")] == 1 else tree.name(path)
        table, values = groups.look_up(path)
        if not values and (source := sources.get(path.with_name(source_of(path.stem) or "?"))):
            path = source
            table, values = groups.look_up(source)
        if table and len(values) > 1:
            raise BadFile(table, f"{path.name} must be in one group. Received: {', '.join(values)}")
        if table and values:
            group = f"{tree.name(table)}: {values[0]}"
        else:
            group = tree.name(path.with_name(path.name.partition(".rf.")[0]))
        label = " and ".join(kinds.look_up(file.path)[1]) or _folder_label(tree, path.parent)
        described.append(replace(file, name=name, group=group, label=label))
    groups.check()
    pairs = [path for path, count in paths.items() if count > 1]
    if pairs:
        same = [tree.name(i) for i in images if i.with_suffix("") == pairs[0]]
        notice_once(
            f"{len(pairs)} names belong to several files that are all used, such as "
            f"{' and '.join(same[:2])}; masks beside images must be named x_mask.png",
            tree.root,
        )
    return described


def _folder_label(tree: Tree, folder: Path) -> str:
    """Return the nearest folder name other than "images" or a split: "MT_Crack/images"."""
    parts = reversed(folder.relative_to(tree.root).parts)
    return next((p for p in parts if not _IMAGES.search(p) and not split_word(p)), "")


class _Tables:
    """The tables of one name in the folders above the images; the nearest one counts."""

    def __init__(self, tree: Tree, images: Sequence[Path], name: str, columns: Sequence[str]):
        self._tree, self._name, self._columns = tree, name, columns
        self._nearest: dict[Path, _Values | None] = {}  # folder of images -> its table
        self._read: dict[Path, _Values | None] = {}  # folder -> the table in it
        self._below: dict[Path, list[Path]] = defaultdict(list)  # folder -> all images below it
        listed = (i for folder in tree.folders if folder.role != "masks" for i in folder.images)
        by_parent: dict[Path, list[Path]] = defaultdict(list)
        for image in dict.fromkeys((*listed, *images)):
            by_parent[image.parent].append(image)
        for parent, inside in by_parent.items():
            for folder in self._up(parent):
                self._below[folder] += inside

    def _up(self, folder: Path) -> Iterator[Path]:
        """Yield a folder and those above it, up to the data folder."""
        for path in (folder, *folder.parents):
            yield path
            if path == self._tree.root:
                return

    def look_up(self, image: Path) -> tuple[Path | None, list[str]]:
        """Return the nearest table, and the values of an image in it."""
        if image.parent not in self._nearest:
            tables = map(self._table, self._up(image.parent))
            self._nearest[image.parent] = next(filter(None, tables), None)
        table = self._nearest[image.parent]
        return (table.path, table.of(image)) if table else (None, [])

    def _table(self, folder: Path) -> "_Values | None":
        if folder not in self._read:
            path = find_table(folder, self._name)
            values = read_values(path, self._columns) if path else None
            self._read[folder] = None
            if path:
                self._tree.use(path)
            if path and values is not None:
                index = RowIndex(path, values, self._tree.root, self._below[folder])
                index.check_doubled(values, "group")
                self._read[folder] = _Values(path, values, index)
        return self._read[folder]

    def check(self) -> None:
        """Log what the tables do not name.

        Raises:
            BadFile: no row of a table names a file.
        """
        for table in filter(None, self._read.values()):
            unnamed, count = table.index.unnamed, len(table.values)
            if unnamed and not len(table.index):
                raise BadFile(
                    table.path,
                    "an id must be the name of an image, with or without folder and suffix; none "
                    f"of {count} is. Received: {unnamed[0]!r}",
                )
            if unnamed:
                notice_once(
                    f"{self._tree.name(table.path)}: {len(unnamed)} of {count} ids name no image, "
                    f"such as {unnamed[0]!r}",
                    self._tree.root,
                )
            if table.alone:
                notice_once(
                    f"{self._tree.name(table.path)}: no group for {len(table.alone)} images, such "
                    f"as {self._tree.name(table.alone[0])}; each is a group of its own",
                    self._tree.root,
                )


class _Values:
    """The values of a table, and the images that its rows name."""

    def __init__(self, path: Path, values: dict[str, list[str]], index: RowIndex):
        self.path, self.values, self.index = path, values, index
        self.alone: list[Path] = []

    def of(self, image: Path) -> list[str]:
        row = self.index[image]
        if row is None:
            self.alone.append(image)
            return []
        return self.values[row]


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


def check_val_fraction(val_fraction: float | None) -> None:
    """Check that a fraction is None, or at least 0 and less than 1.

    Raises:
        DentalzooError: it is not.
    """
    if val_fraction is not None and not 0 <= val_fraction < 1:
        raise DentalzooError(
            f"val_fraction must be at least 0 and less than 1. Received: {val_fraction!r}"
        )


def split_files(
    tree: Tree,
    files: Sequence[FileEntry],
    skips: Sequence[Skip],
    val_fraction: float | None,
    where: str = "the folders' names",
    what: str = "image",
) -> tuple[list[FileEntry], list[Skip]]:
    """Return the files with their splits.

    From split.csv, else from the format or from folders, else from lists (`train.txt`), else from
    the names of files, else by group. Where nothing but the test split is named, the rest is split
    by group.

    Args:
        tree: the data folder.
        files: with their groups; `split` is "" where the data has none.
        skips: what is left out already.
        val_fraction: the part of the groups that becomes "val" where the data has no splits; the
            hashes of their names decide. None leaves the files of such data without a split.
        where: the source of the splits that the files have, for messages.
        what: what the files are, for messages.

    Returns:
        The files that have a split, or of data without splits all files, and `skips` with what is
        left out here.

    Raises:
        BadFile: `split.csv` is broken.
        DentalzooError: files of one group have different splits.
    """
    files, skips = list(files), list(skips)
    if tree.split_csv:
        where = tree.split_csv.name
        rows = read_splits(tree.split_csv)
        tree.use(tree.split_csv)
        skipped = [tree.root / skip.name for skip in skips]
        others = [file.path for file in tree.entries[0]]
        index = RowIndex(
            tree.split_csv, rows, tree.root, [*(file.path for file in files), *others, *skipped]
        )
        index.check_doubled(rows, "split")
        lost = [file.path for file in files if index[file.path] is None]
        files = [replace(f, split=rows[row]) for f in files if (row := index[f.path]) is not None]
        skips += [Skip(r, f"row of {where} without files", rows[r]) for r in index.unnamed]
    elif any(file.split for file in files):
        rest = [file for file in files if not file.split]
        files = [file for file in files if file.split]
        lost = []
        if {file.split for file in files} == {"test"}:
            files += _hold_out(tree, rest, val_fraction or 0, what, _NO_TRAIN)
        else:
            lost = [file.path for file in rest]
    elif by_list := _splits_of_lists(tree, files):
        where = "the lists of images"
        rest = [file for file in files if file.path not in by_list]
        files = [replace(f, split=by_list[f.path]) for f in files if f.path in by_list]
        lost = []
        if "train" in by_list.values():
            lost = [file.path for file in rest]
        else:
            files += _hold_out(tree, rest, val_fraction or 0, what, _NO_TRAIN)
    elif by_name := _splits_of_names(tree, files, what):
        return [replace(file, split=by_name[file.path]) for file in files], skips
    elif val_fraction is None:
        return _with_patients(tree, files), skips
    else:
        return _hold_out(tree, files, val_fraction, what), skips
    skips += [Skip(tree.name(image), f"{what} in no split of {where}") for image in lost]
    split_of: dict[str, str] = {}
    for file in files:
        if split_of.setdefault(file.group, file.split) != file.split:
            raise DentalzooError(
                f"{tree.root}: a group must lie in one split; correct split.csv, the folders or "
                f"index.csv. Received: {file.group!r} in {split_of[file.group]} and "
                f"{file.split}"
            )
    report_copies(tree, files)
    return files, skips


def select_split(
    tree: Tree,
    files: Sequence[FileEntry],
    skips: Sequence[Skip],
    split: str,
    val_fraction: float | None,
    what: str = "images",
) -> tuple[list[FileEntry], list[Skip]]:
    """Return the files of a split, and the skips of this split and of no known one.

    Raises:
        MissingSplit: there are no files.
    """
    present = Counter(file.split for file in files)
    if split not in present:
        counts = {word or "no split": count for word, count in present.items()}
        held_out = "" if val_fraction is None else f", val_fraction={val_fraction:g}"
        raise MissingSplit(
            f"{tree.root}: must hold {what} of the split {split!r}, from split.csv (id,split), "
            "the folders' names, ImageSets of PASCAL VOC or held out. "
            f"Received: {counts}{held_out}"
        )
    return (
        [file for file in files if file.split == split],
        [skip for skip in skips if skip.split in (split, "")],
    )


def _splits_of_lists(tree: Tree, files: Sequence[FileEntry]) -> dict[Path, str]:
    """Return the splits in lists such as `train.txt` and `test.csv`, a name in each line.

    A list is one if half of its lines name images. An image in several goes to test before val
    before train. Empty where all images are listed as train: then nothing is split.
    """
    splits: dict[Path, str] = {}
    images = [file.path for file in files]
    lists = [p for p in tree.notes_of(".txt", ".csv", ".lst") if split_word(p.stem) and p.stem]
    for path in [p for p in lists if p not in tree.used][:_MOST_LISTS]:
        try:
            table = read_table(path)
        except BadFile:
            continue
        key = table.column(ID_COLUMNS)
        cells = [row[key or 0] for _, row in table.rows]
        rows = dict.fromkeys(cells if key is not None else [*table.first_cells, *cells])
        index = RowIndex(path, [row for row in rows if row], tree.root, images)
        if 2 * len(index.unnamed) > len(rows) or not len(index):
            continue
        tree.use(path)
        split = split_word(path.stem)
        for image in images:
            if index[image] is not None:
                splits[image] = max(split, splits.get(image, split), key=SPLITS.index)
    if {*splits.values()} == {"train"} and len(splits) == len(files):
        return {}  # a list of all images
    if splits:
        counts = ", ".join(f"{word} {n}" for word, n in Counter(splits.values()).items())
        notice_once(f"splits are read from lists of images: {counts}", tree.root, logging.INFO)
    return splits


def _splits_of_names(tree: Tree, files: Sequence[FileEntry], what: str) -> dict[Path, str]:
    """Return the splits in the names of files, `train_001.png`, where all have one and they differ.

    Empty otherwise, with a warning where files are named after the test split.
    """
    words = {}
    for file in files:
        match = _LEADING_WORD.match(file.path.stem)
        words[file.path] = split_word(match[1]) if match else ""
    if all(words.values()) and len(set(words.values())) > 1:
        counts = ", ".join(f"{word} {n}" for word, n in Counter(words.values()).items())
        notice_once(f"splits are read from the files' names: {counts}", tree.root, logging.INFO)
        return words
    count = sum(word == "test" for word in words.values())
    if count:
        notice_once(
            f"{count} {_plural(what)} are named after the test split, which folders or split.csv "
            "must name; they are used like all others",
            tree.root,
        )
    return {}


def _with_patients(tree: Tree, files: Sequence[FileEntry]) -> list[FileEntry]:
    """Return files whose groups are joined where they are of one patient."""
    if not files:
        return []
    group_of = join_patients(tree.root, {file.path: file.group for file in files})
    return [replace(file, group=group_of[file.path]) for file in files]


def _hold_out(
    tree: Tree,
    files: Sequence[FileEntry],
    val_fraction: float,
    what: str,
    why: str = "no split in the data",
) -> list[FileEntry]:
    if not files:
        return []
    files = _with_patients(tree, files)
    groups = {file.group for file in files}
    aside = _held_out(groups, val_fraction)
    split = [replace(f, split="val" if f.group in aside else "train") for f in files]
    count = sum(file.split == "val" for file in split)
    if not val_fraction:  # as all that compares asks for: nothing is to be held out
        return split
    by_group = f" ({len(aside)} of {len(groups)} groups)" if len(groups) < len(split) else ""
    notice_once(
        f"{why}: {count} of {len(split)} {_plural(what)}{by_group} are held out for validation "
        f"(val_fraction={val_fraction:g})",
        tree.root,
        logging.INFO,
    )
    return split


def _plural(what: str) -> str:
    return what + ("es" if what.endswith("sh") else "s")


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
    table = read_table(path)
    key, column = table.column(ID_COLUMNS), table.column(("split",))
    if key is None or column is None:
        raise BadFile(path, f"must have the header id,split. Received: {table.first_line[:80]!r}")
    splits: dict[str, str] = {}
    for number, cells in table.rows:
        name, word = cells[key], cells[column]
        if not name:
            continue
        split = split_word(word)
        if not split:
            raise BadFile(path, f"line {number}: split must be one of {SPLITS}. Received: {word!r}")
        if splits.setdefault(name, split) != split:
            raise BadFile(
                path,
                f"line {number}: {name!r} must be in one split. Received: {splits[name]}, {split}",
            )
    return splits
