"""Writes images with their defects as a data set that segmentation and detection read.

`out`/
    images/NAME.png          the image
    masks/NAME.png           0 or 255, all objects of the image
    voc/NAME.xml             PASCAL VOC: a box for each object, in whole pixels counted from 1, the
                             last row and column included
    annotations.coco.json    COCO: a box, an area and an outline for each object
    label_map.pbtxt          the numbers 1..n of the classes
    split.csv                id,split; only where splits are given
"""

import contextlib
import csv
import json
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from dentalzoo.data.formats.label_maps import label_map
from dentalzoo.data.formats.tree import SPLITS
from dentalzoo.data.io.images import write_png
from dentalzoo.errors import DentalzooError
from dentalzoo.output_dirs import whole_folder

_ABOUT = "written by dentalzoo"
_ANNOTATIONS = "annotations.coco.json"


class DatasetWriter:
    """Writes a data set image by image, in constant memory; a context manager.

    The data set is complete or absent: after an error inside the `with`, nothing is left of it.

        with DatasetWriter("enlarged", ["crack", "pore"]) as writer:
            writer.add("0001", image, mask, [("crack", one), ("pore", other)], split="train")

    Args:
        out_dir: a folder that is absent, empty, or an older data set of a writer without any
            other file, which is replaced.
        classes: the labels that objects may have, numbered from 1.

    Attributes:
        folder: where the files lie until the end; what else belongs to the data set goes there.
        count: how many images have been added.

    Raises:
        DentalzooError: `out_dir` holds something else or cannot be made, or a class is named
            twice or not at all; at the end, no image has been added.
    """

    def __init__(self, out_dir: str | Path, classes: Sequence[str]):
        self.out, self.classes = Path(out_dir), tuple(classes)
        if isinstance(classes, str) or not self.classes or "" in self.classes:
            raise DentalzooError(f"classes is a list of names. Received: {classes!r}")
        if len(set(self.classes)) < len(self.classes):
            raise DentalzooError(f"classes have different names. Received: {classes!r}")
        self.folder = None
        self.count = 0
        self._images, self._names, self._splits = [], set(), {}
        self._num_objects = 0

    def __enter__(self) -> "DatasetWriter":
        with contextlib.ExitStack() as stack:
            self.folder = stack.enter_context(whole_folder(self.out, "DatasetWriter"))
            for name in ("images", "masks", "voc"):
                (self.folder / name).mkdir()
            self._annotations = stack.enter_context(tempfile.TemporaryFile("w+", encoding="utf-8"))
            self._open = stack.pop_all()
        return self

    def __exit__(self, kind, error, trace) -> bool | None:
        if kind is not None:
            return self._open.__exit__(kind, error, trace)
        with self._open:
            self._finish()

    def add(
        self,
        name: str,
        image: np.ndarray,
        mask: np.ndarray,
        objects: Sequence[tuple[str, np.ndarray]],
        split: str = "",
    ) -> None:
        """Writes an image.

        Args:
            name: of the files, without suffix; each name once, whatever the case.
            image: (H, W), (H, W, 1) or (H, W, 3) uint8.
            mask: (H, W) or (H, W, 1), 0 or 1: all objects together.
            objects: (label, mask (H, W) bool), none of them empty.
            split: "train", "val" or "test"; "" for every image where there are none.

        Raises:
            DentalzooError: an argument is out of place, or the disk is full.
        """
        image, mask = np.asarray(image), np.asarray(mask)
        height, width = image.shape[:2]
        objects = [(label, np.asarray(inside, bool)) for label, inside in objects]
        self._check(name, image, mask, objects, split)
        write_png(self.folder / "images" / f"{name}.png", image)
        mask = mask.reshape(height, width).astype(np.uint8)
        write_png(self.folder / "masks" / f"{name}.png", mask * np.uint8(255))
        depth = 3 if image.shape[2:] == (3,) else 1
        xml = _voc(f"{name}.png", (height, width, depth), objects)
        try:
            (self.folder / "voc" / f"{name}.xml").write_bytes(xml)
            for label, inside in objects:
                self._write_annotation(label, inside)
        except OSError as error:
            raise DentalzooError(f"{self.out} could not be written. Received: {error}") from error
        self.count += 1
        self._images.append(
            {"id": self.count, "file_name": f"images/{name}.png", "height": height, "width": width}
        )
        self._names.add(name.casefold())
        self._splits[name] = split

    def _check(self, name, image, mask, objects, split) -> None:
        if not name or name.startswith(".") or set(name) & set('/\\:\0"') or not name.isprintable():
            raise DentalzooError(f"a name is that of a file without folders. Received: {name!r}")
        if name.casefold() in self._names:
            raise DentalzooError(f"each image has a name of its own. Received: {name!r} twice")
        if split and split not in SPLITS:
            raise DentalzooError(f"split is one of {SPLITS} or ''. Received: {split!r}")
        if bool(split) != any(self._splits.values()) and self._splits:
            raise DentalzooError(f"all images have a split or none has. Received: {split!r}")
        size = image.shape[:2]
        if mask.size != image.shape[0] * image.shape[1] or mask.shape[:2] != size:
            raise DentalzooError(
                f"{name}: the mask has the image's size {size}. Received: {mask.shape}"
            )
        for label, inside in objects:
            if label not in self.classes:
                raise DentalzooError(f"a label is one of {self.classes}. Received: {label!r}")
            if inside.shape != size or not inside.any():
                raise DentalzooError(
                    f"{name}: an object is a mask of the image's size {size} with at least a "
                    f"pixel. Received: {inside.shape}, {int(inside.sum())} pixels"
                )
        together = np.any([inside for _, inside in objects] or np.zeros((1, *size), bool), axis=0)
        different = np.count_nonzero(mask.reshape(size) != together)
        if different:
            raise DentalzooError(
                f"{name}: the mask is 1 where an object is and 0 elsewhere. "
                f"Received: {different} other pixels"
            )

    def _write_annotation(self, label: str, inside: np.ndarray) -> None:
        top, left, bottom, right = _box(inside)
        self._num_objects += 1
        annotation = {
            "id": self._num_objects,
            "image_id": self.count + 1,
            "category_id": self.classes.index(label) + 1,
            "bbox": [left, top, right - left, bottom - top],
            "area": int(inside.sum()),
            "iscrowd": 0,
            "segmentation": segmentation(inside),
        }
        separator = ",\n" if self._num_objects > 1 else ""
        self._annotations.write(separator + json.dumps(annotation, separators=(",", ":")))

    def _finish(self) -> None:
        if not self.count:
            raise DentalzooError("a data set has at least one image. Received: none")
        if any(self._splits.values()):
            with open(self.folder / "split.csv", "w", newline="", encoding="utf-8") as stream:
                csv.writer(stream, lineterminator="\n").writerows(
                    [("id", "split"), *self._splits.items()]
                )
        (self.folder / "label_map.pbtxt").write_text(label_map(self.classes), encoding="utf-8")
        categories = [
            {"id": number, "name": name, "supercategory": "object"}
            for number, name in enumerate(self.classes, start=1)
        ]
        with open(self.folder / _ANNOTATIONS, "w", encoding="utf-8") as stream:
            stream.write(
                f'{{"info": {{"description": "{_ABOUT}"}},\n"licenses": [],\n"categories": '
            )
            stream.write(_lines(categories) + ',\n"images": ' + _lines(self._images))
            stream.write(',\n"annotations": [\n')
            self._annotations.seek(0)
            shutil.copyfileobj(self._annotations, stream)
            stream.write("\n]}\n")


def segmentation(inside: np.ndarray) -> list[list[int]] | dict:
    """A mask (H, W) bool as COCO keeps it: polygons [x, y, x, y, ...] along the edges of the
    pixels, which pycocotools fills with exactly these pixels; run lengths where there are holes.
    """
    loops = outlines(inside)
    if all(_turns_right(loop) for loop in loops):
        return [loop.ravel().tolist() for loop in loops]
    columns = inside.T.ravel()
    changes = np.flatnonzero(columns[1:] != columns[:-1]) + 1
    counts = np.diff([0, *changes, columns.size]).tolist()
    return {"size": list(inside.shape), "counts": [0, *counts] if columns[0] else counts}


def outlines(inside: np.ndarray) -> list[np.ndarray]:
    """The borders of a mask as closed loops of corners (N, 2) int64, x and y, along pixel edges.

    Pixels that touch at a corner alone lie in different loops, or in one that meets itself there.
    Loops around an area turn right on the screen, those around a hole turn left.
    """
    padded = np.pad(inside, 1)
    here = padded[1:-1, 1:-1]
    steps = {}  # corner (x, y) -> the corners that an edge leads to, the mask on its right
    for dy, dx, start, end in (
        (-1, 0, (0, 0), (1, 0)),
        (0, 1, (1, 0), (1, 1)),
        (1, 0, (1, 1), (0, 1)),
        (0, -1, (0, 1), (0, 0)),
    ):
        outside = ~padded[1 + dy : padded.shape[0] - 1 + dy, 1 + dx : padded.shape[1] - 1 + dx]
        for y, x in np.argwhere(here & outside).tolist():
            corner = (x + start[0], y + start[1])
            steps.setdefault(corner, []).append((x + end[0], y + end[1]))
    # From the left: two areas never meet at the leftmost corner that is left.
    return [_corners(_follow(steps, first)) for first in sorted(steps) if first in steps]


def _follow(steps: dict, first: tuple[int, int]) -> list[tuple[int, int]]:
    """Takes a closed loop of points out of `steps`, one pixel edge from each to the next."""
    loop, point, heading = [], first, None
    while point != first or not loop:
        ends = steps[point]
        if heading is not None and len(ends) > 1:  # two areas meet here: stay with this one
            right = (point[0] - heading[1], point[1] + heading[0])
            end = ends.pop(ends.index(right))
        else:
            end = ends.pop()
        if not ends:
            del steps[point]
        loop.append(point)
        heading = (end[0] - point[0], end[1] - point[1])
        point = end
    return loop


def _corners(loop: list[tuple[int, int]]) -> np.ndarray:
    """The points of a loop where it turns."""
    points = np.array(loop)
    before, after = points - np.roll(points, 1, 0), np.roll(points, -1, 0) - points
    return points[(before != after).any(1)]


def _turns_right(loop: np.ndarray) -> bool:
    (x, y), (next_x, next_y) = loop.T, np.roll(loop, -1, 0).T
    return (x * next_y - next_x * y).sum() > 0


def _voc(file_name: str, shape: tuple[int, int, int], objects) -> bytes:
    height, width, depth = shape
    root = ElementTree.Element("annotation")

    def put(parent, **entries):
        for key, value in entries.items():
            ElementTree.SubElement(parent, key).text = str(value)

    put(root, folder="images", filename=file_name)
    put(ElementTree.SubElement(root, "source"), database=_ABOUT)
    put(ElementTree.SubElement(root, "size"), width=width, height=height, depth=depth)
    put(root, segmented=int(bool(objects)))
    for label, inside in objects:
        top, left, bottom, right = _box(inside)
        cut = top == 0 or left == 0 or bottom == height or right == width
        entry = ElementTree.SubElement(root, "object")
        put(entry, name=label, pose="Unspecified", truncated=int(cut), difficult=0)
        box = ElementTree.SubElement(entry, "bndbox")
        put(box, xmin=left + 1, ymin=top + 1, xmax=right, ymax=bottom)
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="utf-8", xml_declaration=True) + b"\n"


def _box(inside: np.ndarray) -> tuple[int, int, int, int]:
    """Top, left, bottom, right in pixels; the lower ends exclusive."""
    rows, columns = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
    return int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1


def _lines(entries: list[dict]) -> str:
    """A JSON list, one entry per line."""
    return "[\n" + ",\n".join(json.dumps(e, ensure_ascii=False) for e in entries) + "\n]"
