"""Predictions as projects of annotation tools, where they are corrected and given back as data."""

import logging
import os
import pickle
import tempfile
from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import IO, Any, overload

import numpy as np

from dentalzoo.data.formats import format_named
from dentalzoo.data.formats.base import Box, BoxSample, RunLengths
from dentalzoo.data.formats.outlines import (
    Regions,
    objects_of_mask,
    outlines,
    rasterise,
    turns_right,
)
from dentalzoo.data.formats.writing import write_annotations

_log = logging.getLogger("dentalzoo")

SOURCE = "auto"  # who drew a prediction, as CVAT has it
MIN_AREA = 16  # ours, pixels: a smaller area of a predicted mask is no object
_TOLERANCE = 1.0  # ours, pixels: polygons along the edges of pixels have too many points to edit


class SampleSpool(Sequence[BoxSample]):
    """Samples in a temporary file: one of ten boxes would take 7 KB of memory."""

    def __init__(self, samples: Iterable[BoxSample] = ()) -> None:
        self._file: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115  # closed with this object
        self._starts = array("Q")
        for sample in samples:
            self.append(sample)

    def __del__(self) -> None:
        self._file.close()

    def append(self, sample: BoxSample) -> None:
        """Add a sample."""
        self._starts.append(self._file.seek(0, os.SEEK_END))
        pickle.dump(sample, self._file)

    def __len__(self) -> int:
        return len(self._starts)

    @overload
    def __getitem__(self, index: int) -> BoxSample: ...

    @overload
    def __getitem__(self, index: slice) -> list[BoxSample]: ...

    def __getitem__(self, index: int | slice) -> BoxSample | list[BoxSample]:
        if isinstance(index, slice):
            return [self[i] for i in range(len(self))[index]]
        self._file.seek(self._starts[index])
        sample: BoxSample = pickle.load(self._file)
        return sample


def write_projects(
    samples: Sequence[BoxSample], out: Path, classes: Sequence[str], formats: Sequence[str]
) -> list[Path]:
    """Write a project for each format: `out`/<format>/ with copies of the images.

    What a format cannot hold is left out with one line in the log. An area with a hole becomes its
    outer outline where the format has polygons alone.

    Args:
        samples: images with predictions; the names of their images in the projects are their own.
        out: the folder of the results.
        classes: the names of the ids 1..n.
        formats: keys of `dentalzoo.data.conversion.WRITABLE`.

    Returns:
        The file or folder of each project that its tool opens.

    Raises:
        DentalzooError: a folder holds something else, or cannot be written.
    """
    names = {sample.name: sample.name for sample in samples}
    opened = []
    for key in formats if samples else ():
        form = format_named(key)
        suited: Sequence[BoxSample] = samples
        if "polygons" in form.WRITES and "masks" not in form.WRITES:
            suited = spool = SampleSpool()
            holes = 0
            for sample in samples:
                boxes = tuple(map(_without_holes, sample.boxes))
                spool.append(replace(sample, boxes=boxes))
                holes += sum(a != b for a, b in zip(sample.boxes, boxes, strict=True))
            if holes:
                _log.warning("%s: %d areas have holes, which are filled", form.NAME, holes)
        opened.append(write_annotations(form, suited, out / key, classes, lossy=True, names=names))
    return opened


def predicted_objects(mask: np.ndarray, classes: Sequence[str], whole: bool = False) -> list[Box]:
    """Return a predicted mask as objects to correct, with polygons that follow it within a pixel.

    Args:
        mask: (H, W) class ids, 0 = background. Areas of fewer pixels than `MIN_AREA` are left out.
        classes: the names of the ids 1..n.
        whole: each class is one object, as a numbered tooth is.
    """
    objects = objects_of_mask(mask, classes, _TOLERANCE, min_area=MIN_AREA, whole=whole)
    return [replace(box, source=SOURCE) for box in objects]


def plain_box(box: Box) -> dict[str, Any]:
    """Return a predicted object as plain values, ready for JSON; `box_of` returns it again."""
    values = {key: value for key, value in vars(box).items() if value is not None}
    if isinstance(box.outline, RunLengths):
        values["outline"] = {**vars(box.outline)}
    return values


def box_of(values: Mapping[str, Any]) -> Box:
    """Return the object that `plain_box` described."""
    outline = values.get("outline")
    if isinstance(outline, Mapping):
        outline = RunLengths(outline["height"], outline["width"], tuple(outline["counts"]))
    elif outline is not None:
        outline = tuple(map(tuple, outline))
    attributes = tuple((name, text) for name, text in values.get("attributes", ()))
    return Box(**{**values, "outline": outline, "attributes": attributes})


def _without_holes(box: Box) -> Box:
    """Return an object with polygons around its areas instead of run lengths."""
    if not isinstance(box.outline, RunLengths):
        return box
    lengths = box.outline
    size = lengths.height, lengths.width
    shape = {"size": [*size], "counts": [*lengths.counts]}
    inside = rasterise(Regions(Path(), *size, ((1, shape),)), *size) > 0
    around = [loop.ravel().astype(float) for loop in outlines(inside) if turns_right(loop)]
    return replace(box, outline=tuple(tuple(loop.tolist()) for loop in around))
