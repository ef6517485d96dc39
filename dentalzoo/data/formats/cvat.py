"""XML files of the annotation tool CVAT: recognised by content, not read by this version."""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from dentalzoo.data.formats.base import (
    BoxSample,
    Content,
    ParsedAnnotations,
    Place,
    Purpose,
    refuse_to_write,
)
from dentalzoo.data.formats.tree import Tree

NAME = "CVAT"
HOLDS: tuple[Content, ...] = ()
WRITES: tuple[Content, ...] = ()
READS: tuple[Purpose, ...] = ()

_SNIFFED_FILES, _SNIFFED_BYTES = 3, 1 << 16
_TAGS = {"polygon": "polygons", "box": "boxes", "mask": "masks"}


def sniff(tree: Tree) -> str:
    """Name a file whose root is `annotations`, with what its first kilobytes hold."""
    for path in tree.notes_of(".xml")[:_SNIFFED_FILES]:
        try:
            with path.open("rb") as stream:
                text = stream.read(_SNIFFED_BYTES).decode(errors="replace")
        except OSError:
            continue
        if re.search(r"<annotations[\s>]", text):
            kinds = [name for tag, name in _TAGS.items() if f"<{tag} " in text]
            return f"CVAT XML ({', '.join(kinds) or 'shapes'})"
    return ""


def read(tree: Tree, purpose: Purpose) -> ParsedAnnotations:
    """Return nothing: this version does not read the format."""
    return ParsedAnnotations()


def write(samples: Iterable[BoxSample], out: Path, classes: Sequence[str], place: Place) -> Path:
    """Raise DentalzooError: this version does not write the format."""
    refuse_to_write(NAME)
