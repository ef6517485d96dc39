"""JSON exports of the tool Label Studio: recognised by content, not read by this version."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from dentalzoo.data.formats.base import (
    BoxSample,
    Content,
    ParsedAnnotations,
    Place,
    Purpose,
    refuse_to_write,
)
from dentalzoo.data.formats.tree import Tree

NAME = "Label Studio"
HOLDS: tuple[Content, ...] = ()
WRITES: tuple[Content, ...] = ()
READS: tuple[Purpose, ...] = ()


def sniff(tree: Tree) -> str:
    """Name a list of tasks, each with data and annotations or completions."""
    for content in tree.json_samples():
        task = content[0] if isinstance(content, list) and content else None
        if isinstance(task, dict) and "data" in task:
            if "annotations" in task or "completions" in task:
                return f"Label Studio JSON ({_kind(task)})"
        elif isinstance(task, dict) and "annotation_id" in task:  # the export "JSON-MIN"
            return "Label Studio JSON (regions)"
    return ""


def _kind(task: dict[str, Any]) -> str:
    """Return what the first region of a task is."""
    for annotation in task.get("annotations") or task.get("completions") or ():
        for region in annotation.get("result") or () if isinstance(annotation, dict) else ():
            kind = str(region.get("type")) if isinstance(region, dict) else ""
            for word, name in (("polygon", "polygons"), ("brush", "masks"), ("rectangle", "boxes")):
                if kind.startswith(word):
                    return name
    return "regions"


def read(tree: Tree, purpose: Purpose) -> ParsedAnnotations:
    """Return nothing: this version does not read the format."""
    return ParsedAnnotations()


def write(samples: Iterable[BoxSample], out: Path, classes: Sequence[str], place: Place) -> Path:
    """Raise DentalzooError: this version does not write the format."""
    refuse_to_write(NAME)
