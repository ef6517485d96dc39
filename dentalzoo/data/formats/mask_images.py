"""Masks as image files, in a folder beside the images or under the names of the images.

A pixel holds 0 or 255, or the number of its class; `dentalzoo.data.masks.load` has the rules.
"""

from collections.abc import Iterable, Sequence
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
from dentalzoo.data.formats.pairing import pair_folders
from dentalzoo.data.formats.tree import Tree

NAME = "mask images"
HOLDS: tuple[Content, ...] = ("masks",)
WRITES: tuple[Content, ...] = ()
READS: tuple[Purpose, ...] = ("masks",)


def sniff(tree: Tree) -> str:
    """Name folders of masks, or masks beside their images."""
    pairs, _ = pair_folders(tree, masks_needed=False)
    return "mask images (masks)" if pairs else ""


def read(tree: Tree, purpose: Purpose) -> ParsedAnnotations:
    """Match images with masks, by their folders and names; no file is opened."""
    pairs, skips = pair_folders(tree, masks_needed=False)
    if pairs:  # else other formats may use the images
        pairs, skips = pair_folders(tree)
    parsed = ParsedAnnotations(skips=skips)
    for image, mask, split in pairs:
        parsed.annotations[image] = ImageAnnotation(mask, tree.name(mask), mask=mask)
        if split:
            parsed.splits[image] = split
    return parsed


def write(samples: Iterable[BoxSample], out: Path, classes: Sequence[str], place: Place) -> Path:
    """Raise DentalzooError: boxes are not masks."""
    refuse_to_write(NAME, "DatasetWriter writes masks of the same size as their images")
