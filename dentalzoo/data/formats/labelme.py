"""JSON files of the annotation tool LabelMe: recognised by content, not read by this version."""

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

NAME = "LabelMe"
HOLDS: tuple[Content, ...] = ()
WRITES: tuple[Content, ...] = ()
READS: tuple[Purpose, ...] = ()


def sniff(tree: Tree) -> str:
    """Name what the shapes of the first JSON files are: polygons, or boxes alone."""
    for content in tree.json_samples():
        if isinstance(content, dict) and isinstance(content.get("shapes"), list):
            shapes = [s for s in content["shapes"] if isinstance(s, dict)]
            boxes = shapes and all(shape.get("shape_type") == "rectangle" for shape in shapes)
            return "LabelMe JSON (boxes)" if boxes else "LabelMe JSON (polygons)"
    return ""


def read(tree: Tree, purpose: Purpose) -> ParsedAnnotations:
    """Return nothing: this version does not read the format."""
    return ParsedAnnotations()


def write(samples: Iterable[BoxSample], out: Path, classes: Sequence[str], place: Place) -> Path:
    """Raise DentalzooError: this version does not write the format."""
    refuse_to_write(NAME)
