"""Write YOLO data sets in the layout of Ultralytics.

`out`/
    data.yaml                names of the classes from 0, and the folders of the splits
    images/train/x.png       images/x.png where there are no splits
    labels/train/x.txt       a line for each object; an empty file where there is none
"""

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dentalzoo.data.formats.base import (
    Box,
    BoxSample,
    Place,
    Polygons,
    RunLengths,
    check_class_list,
)
from dentalzoo.data.formats.rules import image_size
from dentalzoo.data.formats.tree import SPLITS
from dentalzoo.data.formats.writing import other_extents, several_parts
from dentalzoo.errors import DentalzooError

_log = logging.getLogger("dentalzoo")

_DIGITS = 12  # of a number in [0, 1]: what is read again is the same to a billionth of a pixel


def lost(samples: Sequence[BoxSample]) -> list[str]:
    """Return a phrase for each object that is not one polygon, where any object has one."""
    outlines = [box.outline for sample in samples for box in sample.boxes]
    if all(isinstance(outline, tuple) for outline in outlines):
        return [*other_extents(samples), *several_parts(samples)]
    if not any(isinstance(outline, tuple) for outline in outlines):
        return []  # boxes alone are written
    return ["without a polygon beside those with one" for one in outlines if one is None]


def write(samples: Sequence[BoxSample], out: Path, classes: Sequence[str], place: Place) -> Path:
    """Write images, labels and data.yaml; confidences are left out.

    Where not every object has a polygon, all are written as boxes. Several polygons of an object
    become one, joined by lines without width, as Ultralytics joins them.

    Returns:
        data.yaml, which Ultralytics takes as `data`.

    Raises:
        DentalzooError: some images have a split and others none.
    """
    names = check_class_list(classes)
    used = {sample.split for sample in samples}
    if "" in used and len(used) > 1:
        raise DentalzooError(
            "YOLO data must have a split for every image or for none. "
            f"Received: {sum(not s.split for s in samples)} of {len(samples)} images without one"
        )
    segments = all(_polygons(box) for sample in samples for box in sample.boxes)
    ids = {name: number for number, name in enumerate(names)}
    for sample in samples:
        image = place(sample, out / "images" / sample.split)
        label = out / "labels" / sample.split / f"{image.stem}.txt"
        label.parent.mkdir(parents=True, exist_ok=True)
        size = image_size(image)[0] if segments and sample.boxes else (1, 1)
        lines = [_line(ids[box.label], box, size, segments) for box in sample.boxes]
        label.write_text("".join(lines), encoding="utf-8")
    path = out / "data.yaml"
    polygons = segments and any(sample.boxes for sample in samples)
    path.write_text(_yaml(names, used, polygons), encoding="utf-8")
    return path


def _polygons(box: Box) -> Polygons:
    return () if box.outline is None or isinstance(box.outline, RunLengths) else box.outline


def _line(number: int, box: Box, size: tuple[int, int], segments: bool) -> str:
    height, width = size
    if segments:
        points = _joined(_polygons(box))
        values = [v / (height if i % 2 else width) for i, v in enumerate(points)]
    else:
        values = [(box.left + box.right) / 2, (box.top + box.bottom) / 2]
        values += [box.right - box.left, box.bottom - box.top]
    return " ".join([str(number), *(f"{value:.{_DIGITS}g}" for value in values)]) + "\n"


def _joined(polygons: Polygons) -> list[float]:
    """Return one polygon that covers all, with a line there and back between nearest points."""
    first, *rest = (np.reshape(polygon, (-1, 2)) for polygon in polygons)
    for other in rest:
        distances = ((first[:, None] - other[None]) ** 2).sum(2)
        i, j = np.unravel_index(distances.argmin(), distances.shape)
        there = np.roll(other, -j, axis=0)
        first = np.concatenate([first[: i + 1], there, there[:1], first[i:]])
    return [float(value) for value in first.ravel()]


def _yaml(names: Sequence[str], used: set[str], polygons: bool) -> str:
    """Return data.yaml. Without `path`, the folders are those beside the file."""
    import yaml

    splits = {split: f"images/{split}" for split in SPLITS if split in used}
    if not splits:  # Ultralytics needs both; readers take the same images for no split
        _log.info(
            "no split in the data: data.yaml names all images as train and as val, which makes "
            "metrics too good; `dentalzoo split` before it divides the data"
        )
        splits = {"train": "images", "val": "images"}
    task = {"task": "segment"} if polygons else {}  # or a few outlines may look like keypoints
    content = {**splits, **task, "nc": len(names), "names": dict(enumerate(map(str, names)))}
    return str(yaml.safe_dump(content, allow_unicode=True, sort_keys=False))
