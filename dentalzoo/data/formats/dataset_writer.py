"""Write images with their objects as a data set for segmentation and detection.

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
from types import TracebackType
from typing import Any

import numpy as np

from dentalzoo.data.formats.label_maps import label_map
from dentalzoo.data.formats.outlines import segmentation
from dentalzoo.data.formats.tree import SPLITS
from dentalzoo.data.formats.voc import object_xml
from dentalzoo.data.io.images import write_png
from dentalzoo.errors import DentalzooError
from dentalzoo.output_dirs import whole_folder

_ABOUT = "written by dentalzoo"
_ANNOTATIONS = "annotations.coco.json"


class DatasetWriter:
    """Context manager that writes a data set image by image, in constant memory.

    The data set is complete or absent: an error inside the `with` leaves nothing behind.

        with DatasetWriter("augmented", ["crack", "pore"]) as writer:
            writer.add("0001", image, mask, [("crack", one), ("pore", other)], split="train")

    Args:
        out_dir: a folder that is absent or empty, or a data set that a writer wrote and nothing
            else, which is replaced.
        classes: the labels that objects may have, numbered from 1.

    Attributes:
        folder: where the files lie until the end; other files of the data set go there too.
        count: the number of images added.

    Raises:
        DentalzooError: `out_dir` holds something else or cannot be created, or `classes` is empty
            or holds a name twice; at the end, no image has been added.
    """

    def __init__(self, out_dir: str | Path, classes: Sequence[str]):
        self.out, self.classes = Path(out_dir), tuple(classes)
        if isinstance(classes, str) or not self.classes or "" in self.classes:
            raise DentalzooError(f"classes must be a list of names. Received: {classes!r}")
        if len(set(self.classes)) < len(self.classes):
            raise DentalzooError(f"classes must have different names. Received: {classes!r}")
        self.folder = self.out  # until the writer is entered
        self.count = 0
        self._images: list[dict[str, Any]] = []
        self._names: set[str] = set()
        self._splits: dict[str, str] = {}
        self._num_objects = 0

    def __enter__(self) -> "DatasetWriter":
        with contextlib.ExitStack() as stack:
            self.folder = stack.enter_context(whole_folder(self.out, "DatasetWriter"))
            for name in ("images", "masks", "voc"):
                (self.folder / name).mkdir()
            self._annotations = stack.enter_context(tempfile.TemporaryFile("w+", encoding="utf-8"))
            self._open = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool | None:
        if kind is not None:
            return self._open.__exit__(kind, error, trace)
        with self._open:
            self._finish()
        return None

    def add(
        self,
        name: str,
        image: np.ndarray,
        mask: np.ndarray,
        objects: Sequence[tuple[str, np.ndarray]],
        split: str = "",
    ) -> None:
        """Write an image.

        Args:
            name: of the files, without suffix; each name once, whatever the case.
            image: (H, W), (H, W, 1) or (H, W, 3) uint8.
            mask: (H, W) or (H, W, 1), 0 or 1: all objects together.
            objects: (label, mask (H, W) bool), none of them empty.
            split: "train", "val" or "test"; "" for every image of a data set without splits.

        Raises:
            DentalzooError: an argument is invalid, or the disk is full.
        """
        image, mask = np.asarray(image), np.asarray(mask)
        height, width = image.shape[:2]
        objects = [(label, np.asarray(inside, bool)) for label, inside in objects]
        self._check(name, image, mask, objects, split)
        write_png(self.folder / "images" / f"{name}.png", image)
        mask = mask.reshape(height, width).astype(np.uint8)
        write_png(self.folder / "masks" / f"{name}.png", mask * np.uint8(255))
        depth = 3 if image.shape[2:] == (3,) else 1
        xml = object_xml(f"{name}.png", (height, width, depth), _boxes(objects), _ABOUT)
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

    def _check(
        self,
        name: str,
        image: np.ndarray,
        mask: np.ndarray,
        objects: Sequence[tuple[str, np.ndarray]],
        split: str,
    ) -> None:
        if not name or name.startswith(".") or set(name) & set('/\\:\0"') or not name.isprintable():
            raise DentalzooError(f"name must be a file name without folders. Received: {name!r}")
        if name.casefold() in self._names:
            raise DentalzooError(f"each image must have a different name. Received: {name!r} twice")
        if split and split not in SPLITS:
            raise DentalzooError(f"split must be one of {SPLITS} or ''. Received: {split!r}")
        if bool(split) != any(self._splits.values()) and self._splits:
            raise DentalzooError(
                f"split must be given for all images or for none. Received: {split!r}"
            )
        size = image.shape[:2]
        if mask.size != image.shape[0] * image.shape[1] or mask.shape[:2] != size:
            raise DentalzooError(
                f"{name}: the mask must have the image's size {size}. Received: {mask.shape}"
            )
        for label, inside in objects:
            if label not in self.classes:
                raise DentalzooError(f"label must be one of {self.classes}. Received: {label!r}")
            if inside.shape != size or not inside.any():
                raise DentalzooError(
                    f"{name}: an object must be a mask of the image's size {size} with at least "
                    f"one pixel. Received: {inside.shape}, {int(inside.sum())} pixels"
                )
        together = np.any([inside for _, inside in objects] or np.zeros((1, *size), bool), axis=0)
        different = np.count_nonzero(mask.reshape(size) != together)
        if different:
            raise DentalzooError(
                f"{name}: the mask must be 1 where an object is and 0 elsewhere. "
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
            raise DentalzooError("a data set must have at least one image. Received: none")
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


def _boxes(
    objects: Sequence[tuple[str, np.ndarray]],
) -> list[tuple[str, tuple[int, int, int, int]]]:
    return [(label, _box(inside)) for label, inside in objects]


def _box(inside: np.ndarray) -> tuple[int, int, int, int]:
    """Return top, left, bottom, right in pixels; the lower ends exclusive."""
    rows, columns = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
    return int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1


def _lines(entries: list[dict[str, Any]]) -> str:
    """Return a JSON list with one entry per line."""
    return "[\n" + ",\n".join(json.dumps(e, ensure_ascii=False) for e in entries) + "\n]"
