"""Label maps: which number a class has, as the TF Object Detection API and VoTT write them."""

import json
import re
from collections.abc import Sequence
from pathlib import Path

from dentalzoo.errors import BadFile

_FORM = "expected items `item { id: 1 name: 'root' }`."
_STRING = r"""(?:"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')"""
_COMMENT = re.compile(rf"({_STRING})|#[^\n]*")
_ITEM = re.compile(rf"\bitem\s*:?\s*\{{((?:[^{{}}\"']|{_STRING})*)\}}[\s,;]*")
_FIELD = re.compile(rf"(\w+)\s*:\s*({_STRING}|[-+.\w]+)[\s,;]*")


def read_label_map(path: Path) -> list[str]:
    """The names of a label map in the order of their ids, see `read_label_items`."""
    return list(read_label_items(path).values())


def read_label_items(path: Path) -> dict[int, str]:
    """id -> name of a label map `item { id: 1 name: 'root' }`, in the order of the ids.

    Ids may have gaps or start at 0; an item of id 0 called background is left out.

    Raises:
        BadFile: the file is no label map, or has an id or a name twice.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise BadFile(path, f"expected UTF-8 text, a label map. Received: {error}") from error
    text = _COMMENT.sub(lambda match: match[1] or "", text)
    rest = _ITEM.sub("", text).strip()
    if rest:
        raise BadFile(path, f"{_FORM} Received: {rest[:80]!r}")
    items = {}
    for body in _ITEM.findall(text):
        number, name = _item(path, body)
        if number in items or name in items.values():
            raise BadFile(path, f"an id or a name is there twice. Received: {number} {name!r}")
        items[number] = name
    if items.get(0, "").casefold() == "background":
        del items[0]
    if not items:
        raise BadFile(path, f"{_FORM} Received: none")
    return dict(sorted(items.items()))


def label_map(names: Sequence[str]) -> str:
    """The text of the label map that gives `names` the ids 1..n."""
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
            raise ValueError("an id is 0 or more, and a name is not empty")
    except (KeyError, ValueError) as error:
        raise BadFile(
            path,
            f"an item has an id and a name. Received: {' '.join(body.split())[:80]!r} ({error})",
        ) from error
    return number, name
