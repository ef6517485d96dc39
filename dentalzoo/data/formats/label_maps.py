"""Lists of classes: label maps of the TF Object Detection API, classes.json and others."""

import json
import re
from collections.abc import Sequence
from pathlib import Path

from dentalzoo.data.formats.base import notice_once
from dentalzoo.data.formats.tables import read_table
from dentalzoo.errors import BadFile

_FORM = "must hold items `item { id: 1 name: 'root' }`."
_STRING = r"""(?:"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')"""
_COMMENT = re.compile(rf"({_STRING})|#[^\n]*")
_ITEM = re.compile(rf"\bitem\s*:?\s*\{{((?:[^{{}}\"']|{_STRING})*)\}}[\s,;]*")
_FIELD = re.compile(rf"(\w+)\s*:\s*({_STRING}|[-+.\w]+)[\s,;]*")


def read_label_map(path: Path) -> list[str]:
    """Return the names of a label map in the order of their ids, see `read_label_items`."""
    return list(read_label_items(path).values())


def read_label_items(path: Path) -> dict[int, str]:
    """Return id -> name of a label map `item { id: 1 name: 'root' }`, in the order of the ids.

    Ids may have gaps or start at 0; an item of id 0 called background is left out.

    Raises:
        BadFile: the file is not a label map, or has an id or a name twice.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise BadFile(path, f"must be a label map in UTF-8. Received: {error}") from error
    text = _COMMENT.sub(lambda match: match[1] or "", text)
    rest = _ITEM.sub("", text).strip()
    if rest:
        raise BadFile(path, f"{_FORM} Received: {rest[:80]!r}")
    items: dict[int, str] = {}
    for body in _ITEM.findall(text):
        number, name = _item(path, body)
        if number in items or name in items.values():
            raise BadFile(path, f"ids and names must be different. Received: {number} {name!r}")
        items[number] = name
    if items.get(0, "").casefold() == "background":
        del items[0]
    if not items:
        raise BadFile(path, f"{_FORM} Received: none")
    return dict(sorted(items.items()))


def label_map(names: Sequence[str]) -> str:
    """Return the text of the label map that gives `names` the ids 1..n."""
    items = (
        f"item {{\n  id: {number}\n  name: {json.dumps(name, ensure_ascii=False)}\n}}\n"
        for number, name in enumerate(names, start=1)
    )
    return "".join(items)


def _item(path: Path, body: str) -> tuple[int, str]:
    from google.protobuf.text_encoding import CUnescape

    fields = dict(_FIELD.findall(body))
    try:
        number = int(fields["id"])
        name = CUnescape(fields["name"][1:-1]).decode("utf-8").strip()
        if number < 0 or not name:
            raise ValueError("the id must be 0 or more, and the name not empty")
    except (KeyError, ValueError) as error:
        raise BadFile(
            path,
            "an item must have an id and a name. "
            f"Received: {' '.join(body.split())[:80]!r} ({error})",
        ) from error
    return number, name


# ---- classes.json and classes.txt ----------------------------------------------------------------


def class_list_above(folder: Path, root: Path) -> list[str] | None:
    """Return the class list in a folder or the nearest one above it, no higher than `root`.

    Returns:
        The names of the classes 0, 1, ...; None where there is no list.

    Raises:
        BadFile: the nearest file is not a list of names.
    """
    for parent in (folder, *folder.parents):
        names = read_class_list(parent)
        if names is not None or parent == root:
            return names
    return None


def read_class_list(folder: Path) -> list[str] | None:
    """Return the names of the classes 0, 1, ... from `classes.json` or `classes.txt` in a folder.

    Raises:
        BadFile: the file is not a list of names.
    """
    path = next(
        (folder / n for n in ("classes.json", "classes.txt") if (folder / n).is_file()), None
    )
    return None if path is None else read_class_file(path)


def read_pixel_values(path: Path) -> list[str] | None:
    """Return the names of the pixel values 0, 1, ... in a table "Pixel Value, Class".

    Roboflow writes it beside mask images as `_classes.csv`.

    Returns:
        None for a table of other columns, such as the classes of whole images.

    Raises:
        BadFile: the values are not 0, 1, ..., each once.
    """
    table = read_table(path)
    value, name = table.column(["pixelvalue"]), table.column(["class"])
    if value is None or name is None:
        return None
    names = {cells[value]: cells[name] for _, cells in table.rows}
    if not names or {*names} != {str(number) for number in range(len(table.rows))}:
        shown = ", ".join(cells[value] for _, cells in table.rows)[:60]
        raise BadFile(path, f"the pixel values must be 0, 1, ..., each once. Received: {shown}")
    return [names[str(number)] for number in range(len(names))]


def read_class_file(path: Path) -> list[str]:
    """Return the names of the classes 0, 1, ... from a JSON list, or from the lines of a text.

    Raises:
        BadFile: the file is not a list of names.
    """
    try:
        text = read_text(path)
        if path.suffix.lower() != ".json":
            lines = [line.strip() for line in text.rstrip().splitlines()]
            return _class_lines(path, lines)
        content = json.loads(text)
        if isinstance(content, dict):  # {"0": "Cavity", ...}
            content = [content[str(i)] for i in range(len(content))]
        if not isinstance(content, list) or not all(isinstance(n, str) for n in content):
            raise ValueError(f"a {type(content).__name__} of other things")
        return content
    except BadFile:
        raise
    except (OSError, ValueError, KeyError, RecursionError) as error:
        raise BadFile(
            path,
            'must be a list of names, such as ["Cavity", "Crown"]. Received: '
            f"{type(error).__name__}: {' '.join(str(error).split())[:80]}",
        ) from error


def _class_lines(path: Path, lines: list[str]) -> list[str]:
    """Return the names in the lines of a list of classes.

    Raises:
        BadFile: a line is a comment, or a single line holds several names: ids would be wrong.
    """
    for number, line in enumerate(lines, start=1):
        if line.startswith(("# ", "//")):  # "#16" may be a tooth
            raise BadFile(
                path,
                f"line {number} must be the name of a class; delete comments, so that the lines "
                f"count the ids. Received: {line[:60]!r}",
            )
    if len(lines) == 1 and re.search(r"[,;\t]", lines[0]):
        raise BadFile(path, f"must have a line for each class. Received: {lines[0][:60]!r}")
    quoted = [line[1:-1] for line in lines if re.fullmatch(r"(['\"]).*\1", line)]
    lines = quoted if len(quoted) == len(lines) else lines
    numbered = [re.fullmatch(r"(\d+)(?:\s*[:;,=]|[.)]?\s)\s*(\S.*)", line) for line in lines]
    names = {int(match[1]): match[2] for match in numbered if match}
    if lines and {*names} == {*range(len(lines))}:  # "0: Caries": the numbers are the ids
        return [names[number] for number in range(len(lines))]
    return lines


def read_text(path: Path) -> str:
    """Return a text in UTF-8, with or without a byte order mark, or in UTF-16 with one.

    Text that is not UTF-8 is read as Windows-1252, which is logged once for its folder.

    Raises:
        OSError: the file cannot be read.
        ValueError: it holds zero bytes, as no text does.
    """
    raw = path.read_bytes()
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        return raw.decode("utf-16")
    if b"\0" in raw:
        raise ValueError("not a text: zero bytes")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = raw.decode("cp1252", errors="replace")
    notice_once(f"{path.name} is not UTF-8; read as Windows-1252", path.parent)
    return text
