"""Boundary drawings: images of white lines on black that enclose each tooth.

They lie in a folder `*boundary` beside the folder of images, under the names of the images.
"""

from collections.abc import Sequence
from pathlib import Path

from dentalzoo.data.formats.base import (
    BoxSample,
    Content,
    ImageAnnotation,
    ParsedAnnotations,
    Place,
    Purpose,
    refuse_to_write,
)
from dentalzoo.data.formats.tree import Skip, Tree, boundary_key, normal
from dentalzoo.data.formats.writing import nothing_more

NAME = "boundary drawings"
HOLDS: tuple[Content, ...] = ()
WRITES: tuple[Content, ...] = ()
READS: tuple[Purpose, ...] = ("boundaries",)
lost = nothing_more


def sniff(tree: Tree) -> str:
    """Name folders of boundary drawings."""
    return "boundary drawings (closed lines)" if tree.boundary_folders else ""


def read(tree: Tree, purpose: Purpose) -> ParsedAnnotations:
    """Match images with boundary drawings, by their folders and names; no file is opened."""
    entries, skips = tree.entries
    parsed = ParsedAnnotations(images=entries, skips=list(skips))
    drawings: dict[tuple[tuple[str, ...] | None, str], Path] = {}
    for folder in tree.boundary_folders:
        for drawing in folder.images:
            key = boundary_key(tree, folder), normal(drawing.stem)
            if key in drawings:
                reason = f"a second drawing beside {drawings[key].name}"
                parsed.skips.append(Skip(tree.name(drawing), reason, folder.split))
            else:
                drawings[key] = drawing
    for entry in entries:
        drawn = drawings.get((entry.folder.key if entry.folder else None, normal(entry.path.stem)))
        if drawn:
            parsed.annotations[entry.path] = ImageAnnotation(drawn, tree.name(drawn), mask=drawn)
    used = {annotation.mask for annotation in parsed.annotations.values()}
    parsed.skips += [
        Skip(tree.name(drawing), "drawing of boundaries without image")
        for drawing in drawings.values()
        if drawing not in used
    ]
    return parsed


def write(samples: Sequence[BoxSample], out: Path, classes: Sequence[str], place: Place) -> Path:
    """Raise DentalzooError: boxes have no boundaries."""
    refuse_to_write(NAME)
