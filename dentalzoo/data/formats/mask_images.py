"""Masks as image files, in a folder beside the images or under the names of the images.

A pixel holds 0 or 255, or the number of its class; `dentalzoo.data.masks.load` has the rules.
"""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dentalzoo.data.formats.base import (
    BoxSample,
    Content,
    ImageAnnotation,
    ParsedAnnotations,
    Place,
    Purpose,
    check_class_list,
)
from dentalzoo.data.formats.label_maps import read_class_list, read_pixel_values
from dentalzoo.data.formats.pairing import pair_folders
from dentalzoo.data.formats.rules import image_size
from dentalzoo.data.formats.semantic import MAX_CLASSES, label_map
from dentalzoo.data.formats.semantic import lost as lost
from dentalzoo.data.formats.tree import Tree
from dentalzoo.data.formats.voc.pixels import palette
from dentalzoo.data.io.images import write_png
from dentalzoo.errors import BadFile, DentalzooError

NAME = "mask images"
HOLDS: tuple[Content, ...] = ("masks", "names")
WRITES: tuple[Content, ...] = ("masks", "names")
READS: tuple[Purpose, ...] = ("masks",)


def sniff(tree: Tree) -> str:
    """Name folders of masks, or masks beside their images."""
    pairs, _ = pair_folders(tree, masks_needed=False)
    return "mask images (masks)" if pairs else ""


def read(tree: Tree, purpose: Purpose) -> ParsedAnnotations:
    """Match images with masks, by their folders and names; no image is opened.

    `classes.json`, `classes.txt` or Roboflow's `_classes.csv` in the folder of the masks names the
    ids 1..n, after the background where it is listed.
    """
    pairs, skips = pair_folders(tree, masks_needed=False)
    if pairs:  # else other formats may use the images
        pairs, skips = pair_folders(tree)
    parsed = ParsedAnnotations(skips=skips)
    for image, mask, split in pairs:
        parsed.annotations[image] = ImageAnnotation(mask, tree.name(mask), mask=mask)
        if split:
            parsed.splits[image] = split
    lists = [_names_of_ids(tree, folder) for folder in {mask.parent for _, mask, _ in pairs}]
    known = [names for names in lists if names]
    if known and len(known) == len(lists) and all(names == known[0] for names in known):
        parsed.classes = known[0]
    return parsed


def _names_of_ids(tree: Tree, folder: Path) -> list[str]:
    """Return the names of the ids 1..n in the masks of a folder; none where nothing lists them."""
    names = read_class_list(folder)
    table = folder / "_classes.csv"
    if names is None and table.is_file():
        names = read_pixel_values(table)
        if names is not None:
            tree.use(table)
            if names[0].casefold() != "background":
                raise BadFile(table, f"0 must be the background. Received: {names[0]!r}")
    names = names or []
    return names[1:] if names and names[0].casefold() == "background" else names


def write(samples: Sequence[BoxSample], out: Path, classes: Sequence[str], place: Place) -> Path:
    """Write `images/`, `masks/*.png` and `masks/classes.json`; return the folder.

    Of one class the pixels are 0 and 255, of several the ids 1..n with a colour of each.
    """
    names = check_class_list(classes)
    if len(names) > MAX_CLASSES:
        raise DentalzooError(
            f"mask images must have at most {MAX_CLASSES} classes. Received: {len(names)}"
        )
    for sample in samples:
        image = place(sample, out / "images")
        ids = label_map(sample, image_size(image)[0], names)
        mask = out / "masks" / f"{image.stem}.png"
        if len(names) == 1:
            write_png(mask, ids * np.uint8(255))
        else:
            write_png(mask, ids, palette())
    text = json.dumps(list(names), ensure_ascii=False)
    (out / "masks" / "classes.json").write_text(text, encoding="utf-8")
    return out
