"""Tables beside the data (`split.csv`, `index.csv`), read as spreadsheets write them."""

import csv
import re
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from dentalzoo.data.formats.base import notice_once
from dentalzoo.data.formats.tree import normal
from dentalzoo.errors import BadFile

ID_COLUMNS = ("id", "file", "filename", "name", "image", "imagename", "imageid", "path", "filepath")
GROUP_COLUMNS = (
    *("neardupgroup", "group", "groupid", "patient", "patientid", "patientname"),
    *("patientnumber", "patientnr", "patientno", "patid", "pid"),
    *("subject", "subjectid"),
)
_DELIMITERS = ",;\t|"
_NO_GROUP = frozenset(("na", "n/a", "#n/a", "nan", "none", "null", "unknown", "-", "?"))


@dataclass(frozen=True)
class Table:
    """A table with a header.

    Attributes:
        path: its file.
        header: the names of the columns in lower case, letters and digits alone: "patientid".
        rows: (number of the line, cells) of each row that is not blank; short rows are filled.
        first_cells: of the header, as written.
        first_line: as it is in the file, for messages.
    """

    path: Path
    header: list[str]
    rows: list[tuple[int, list[str]]]
    first_cells: list[str]
    first_line: str

    def column(self, names: Iterable[str]) -> int | None:
        """Return the index of the first column that has one of `names`; None without one."""
        return next((self.header.index(name) for name in names if name in self.header), None)


def read_table(path: Path) -> Table:
    """Read a table of commas, semicolons, tabs or bars.

    The text is UTF-8 with or without a byte order mark, UTF-16 with one (Excel's "Unicode Text"),
    else Windows-1252, which is logged. A first line `sep=;` names the delimiter, as Excel does.

    Raises:
        BadFile: the file cannot be read, or is not text.
    """
    lines = _text(path).splitlines()
    delimiter = ""
    skipped = 0
    if lines and (match := re.fullmatch(r'"?sep=(.)"?', lines[0].strip(" "), re.IGNORECASE)):
        delimiter, skipped = match[1], 1
    first = lines[skipped] if len(lines) > skipped else ""
    if not delimiter:
        delimiter = max(_DELIMITERS, key=lambda sign: (first.count(sign), sign == ","))
    rows: list[tuple[int, list[str]]] = []
    try:
        reader = csv.reader(lines[skipped:], delimiter=delimiter, skipinitialspace=True)
        for cells in reader:
            if any(cell.strip() for cell in cells):
                rows.append((reader.line_num + skipped, [normal(_cell(cell)) for cell in cells]))
    except csv.Error as error:
        raise BadFile(path, f"must be a table. Received: {error}") from error
    names = rows[0][1] if rows else []
    header = [re.sub(r"[\W_]+", "", name.lower()) for name in names]
    filled = [(number, cells + [""] * (len(names) - len(cells))) for number, cells in rows[1:]]
    return Table(path, header, filled, names[:1], first)


def _cell(text: str) -> str:
    """Return a cell without blanks around it and without Excel's ="007", which keeps zeros."""
    text = text.strip()
    return text[2:-1].strip() if text.startswith('="') and text.endswith('"') else text


def _text(path: Path) -> str:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise BadFile(path, f"must be a table. Received: {error}") from error
    try:
        if content.startswith((b"\xff\xfe", b"\xfe\xff")):
            return content.decode("utf-16")
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        if b"\0" in content:
            raise BadFile(path, f"must be a table in UTF-8. Received: {error}") from error
    notice_once(f"{path.name} is not UTF-8; read as Windows-1252", path.parent)
    return content.decode("cp1252", errors="replace")


def fold_groups(source: Path, groups: Iterable[str]) -> dict[str, str]:
    """Return each group -> the first spelling of it; "" for texts that stand for no group.

    Groups are one that differ in case, blanks, leading zeros or a decimal zero alone ("7", "007",
    "7.0"), which spreadsheets change: else one patient would lie in two splits. It is logged.

    Args:
        source: the table, for messages.
        groups: as written.
    """
    first: dict[str, str] = {}
    folded: dict[str, str] = {}
    for group in groups:
        key = " ".join(group.casefold().split())
        number = re.sub(r"(?<=\d)[.,]0+$", "", key)
        if number.isascii() and number.isdecimal():
            key = number.lstrip("0") or "0"
        folded[group] = "" if key in _NO_GROUP else first.setdefault(key, group)
    other = [group for group, one in folded.items() if one not in (group, "")]
    if other:
        pair = f"{folded[other[0]]!r} and {other[0]!r}"
        notice_once(f"{source.name}: groups of two spellings are one: {pair}", source.parent)
    return folded


def read_values(path: Path, columns: Sequence[str]) -> dict[str, list[str]] | None:
    """Return id -> different values; None, with a warning, where the table has no such columns."""
    table = read_table(path)
    key, column = table.column(ID_COLUMNS), table.column(columns)
    if key is None or column is None:
        expected = "group or patient" if "patient" in columns else " or ".join(columns)
        notice_once(f"{path.name} is not used, without the columns id and {expected}", path.parent)
        return None
    values: dict[str, dict[str, None]] = defaultdict(dict)
    of_groups = columns is GROUP_COLUMNS
    folded = fold_groups(path, (cells[column] for _, cells in table.rows)) if of_groups else {}
    for _, cells in table.rows:
        value = folded.get(cells[column], cells[column])
        if cells[key] and value:
            values[cells[key]][value] = None
    return {name: list(different) for name, different in values.items()}


# ---- which row names which file ------------------------------------------------------------------


class RowIndex:
    """The row of a table that names a file.

    A row names a file by its path or the end of its path ("train/001.png"; `/` or `\\`), by its
    name or by its stem. Where no row does, a row counts that differs in its folder, its case, its
    suffix, or in leading zeros, which spreadsheets strip ("7" for 007.png): only where one row and
    one file agree, and with a line in the log.

    Args:
        source: the table, for messages.
        rows: the texts that name files.
        root: the data folder.
        files: all files below it that the rows may name.

    Attributes:
        unnamed: the rows that name no file.
        doubled: (row, row) that name one file; the second one counts.
    """

    def __init__(self, source: Path, rows: Collection[str], root: Path, files: Iterable[Path]):
        self._source = source
        self._row: dict[Path, str] = {}
        spelled = {_spelling(row): row for row in reversed(list(rows))}
        rest: list[Path] = []
        for file in dict.fromkeys(files):
            row = next((spelled[n] for n in _names(root, file) if n in spelled), None)
            if row is None:
                rest.append(file)
            else:
                self._row[file] = row
        used = {_spelling(row) for row in self._row.values()}
        left = [row for row in rows if _spelling(row) not in used]
        self.doubled = self._doubled(root, rows, spelled, left)
        twice = {row for row, _ in self.doubled}
        left = [row for row in left if row not in twice]
        for what, of_row, of_file in _LOOSE:
            left, rest = self._match(source, what, (left, of_row), (rest, of_file))
        self.unnamed = left

    def __getitem__(self, file: Path) -> str | None:
        return self._row.get(file)

    def __len__(self) -> int:
        return len(self._row)

    def check_doubled(self, values: Mapping[str, object], what: str) -> None:
        """Check that rows which name one file say the same of it.

        Raises:
            BadFile: they do not, such as "a" in train and "a.png" in val.
        """
        for row, other in self.doubled:
            if values[row] != values[other]:
                raise BadFile(
                    self._source,
                    f"an image must be in one {what}. Received: {row!r} and {other!r}, which are "
                    "one image",
                )

    def _doubled(
        self, root: Path, rows: Iterable[str], spelled: Mapping[str, str], left: Iterable[str]
    ) -> list[tuple[str, str]]:
        """Return rows that name a file which another row names more closely, or as well."""
        pairs = [(row, spelled[_spelling(row)]) for row in rows if spelled[_spelling(row)] != row]
        rest = {_spelling(row): row for row in left}
        for file, row in self._row.items() if rest else ():
            pairs += [(rest.pop(name), row) for name in _names(root, file) if name in rest]
        return pairs

    def _match(
        self,
        source: Path,
        what: str,
        rows: tuple[list[str], Callable[[str], str]],
        files: tuple[list[Path], Callable[[Path], list[str]]],
    ) -> tuple[list[str], list[Path]]:
        """Match rows with files by keys that both have once; return the rest of both."""
        by_key: dict[str, list[str]] = defaultdict(list)
        for row in rows[0]:
            by_key[rows[1](_spelling(row))].append(row)
        claims: dict[str, list[Path]] = defaultdict(list)
        for file in files[0] if rows[0] else ():
            keys = [key for key in files[1](file) if key and len(by_key.get(key, ())) == 1]
            if keys:
                claims[by_key[keys[0]][0]].append(file)
        matched = {row: paths[0] for row, paths in claims.items() if len(paths) == 1}
        if matched:
            row, path = next(iter(matched.items()))
            count, name = len(matched), path.name
            notice_once(
                f"{source.name}: ids with {what}: {count}, such as {row!r}: {name}", source.parent
            )
            self._row.update({file: row for row, file in matched.items()})
        return (
            [row for row in rows[0] if row not in matched],
            [file for file in files[0] if file not in self._row],
        )


def _spelling(row: str) -> str:
    text = row.replace("\\", "/")
    return str(PurePosixPath(text)) if "/" in text else text


def _names(root: Path, file: Path) -> list[str]:
    """Return the texts that name a file, the whole path first."""
    parts = [normal(part) for part in file.relative_to(root).parts]
    stem = normal(file.stem)
    ends = ["/".join(parts[i:]) for i in range(len(parts))]
    stems = ["/".join([*parts[i:-1], stem]) for i in range(len(parts))]
    return [text for pair in zip(ends, stems, strict=True) for text in pair]


def _last(text: str) -> str:
    return text.rpartition("/")[2]


def _without_suffix(text: str) -> str:
    match = re.fullmatch(r"(.+)\.[A-Za-z]{3,5}", _last(text))
    return (match[1] if match else _last(text)).casefold()


def _number(text: str) -> str:
    name = re.sub(r"(?<=\d)[.,]0+$", "", _without_suffix(text))  # 7.0: an id read as a number
    return str(int(name)) if name.isdecimal() and name.isascii() else ""


_LOOSE: tuple[tuple[str, Callable[[str], str], Callable[[Path], list[str]]], ...] = (
    ("another folder", _last, lambda file: [normal(file.name), normal(file.stem)]),
    (
        "another case",
        lambda row: _last(row).casefold(),
        lambda file: [normal(file.name).casefold(), normal(file.stem).casefold()],
    ),
    ("another suffix", _without_suffix, lambda file: [normal(file.stem).casefold()]),
    ("other leading zeros", _number, lambda file: [_number(normal(file.stem))]),
)
