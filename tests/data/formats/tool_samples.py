"""Samples with every kind of object, and what a format makes of them when written and read."""

from dataclasses import replace

import numpy as np
import pytest

from dentalzoo.data.boxes import find_boxes
from dentalzoo.data.formats.base import Box, BoxSample, RunLengths
from dentalzoo.data.formats.outlines import count_runs
from dentalzoo.data.formats.writing import write_annotations
from dentalzoo.data.io.images import write_png

CLASSES = ["tooth", "filling", "unused", "Krone ä"]
HEIGHT, WIDTH = 40, 60


def put(folder, *names, size=(HEIGHT, WIDTH)):
    for name in names:
        write_png(folder / name, np.zeros(size, np.uint8))


def outlined(label, *polygons, **more):
    """Return an object whose box is the extent of its polygons."""
    xs = [x for polygon in polygons for x in polygon[::2]]
    ys = [y for polygon in polygons for y in polygon[1::2]]
    edges = (min(ys) / HEIGHT, min(xs) / WIDTH, max(ys) / HEIGHT, max(xs) / WIDTH)
    return Box(label, *edges, outline=polygons, **more)


def drawn(label, inside, **more):
    """Return an object of pixels (HEIGHT, WIDTH) bool, whose box is their extent."""
    rows, columns = np.nonzero(inside)
    edges = (rows.min() / HEIGHT, columns.min() / WIDTH)
    edges += ((rows.max() + 1) / HEIGHT, (columns.max() + 1) / WIDTH)
    return Box(label, *edges, outline=RunLengths(HEIGHT, WIDTH, (*count_runs(inside),)), **more)


def ring():
    """Return the pixels of a square with a hole."""
    inside = np.zeros((HEIGHT, WIDTH), bool)
    inside[5:20, 30:50] = True
    inside[8:12, 35:41] = False
    return inside


# Edges of predictions are numbers of NumPy.
FLOAT32 = Box("filling", *np.array([0.25, 0.125, 0.5, 0.75], np.float32))
BOX = Box("tooth", 0.1234567891, 0.05, 0.5, 0.3987654321)
TRIANGLE = outlined("filling", (3.25, 4.5, 20.125, 6.75, 11.0625, 30.3))
TWO_PARTS = outlined("Krone ä", (1, 2, 9, 2, 9, 12), (30, 20, 44.5, 20, 44.5, 33, 30, 33))
RING = drawn("tooth", ring())


def make(folder, *boxes, splits=("train", "val", "test")):
    """Return a sample for each of `boxes`, and one that shows nothing."""
    samples = []
    for number, own in enumerate([*boxes, ()]):
        name = f"Böhm {number}.5"
        put(folder, f"{name}.png")
        split = splits[number % len(splits)]
        samples.append(BoxSample(name, folder / f"{name}.png", tuple(own), split=split))
    return samples


def read_only(form, folder):
    """Return the objects of the only image of a data set in a format, and the data set."""
    dataset = find_boxes(folder, outlines=True)
    assert dataset.format == form
    (sample,) = dataset.samples
    return sample.boxes, dataset


def edges(box):
    """Return top, left, bottom and right in pixels."""
    return [box.top * HEIGHT, box.left * WIDTH, box.bottom * HEIGHT, box.right * WIDTH]


def check_round_trip(form, samples, out, classes=CLASSES):
    """Write samples, read them back and compare all that the format holds."""
    opened = write_annotations(form, samples, out, classes)
    assert opened.exists()
    again = find_boxes(out, outlines=True)
    assert (again.format, again.classes) == (form.NAME, (*classes,))
    assert again.skipped == []
    found = {sample.name: sample for sample in again.samples}
    assert found.keys() == {sample.name for sample in samples}
    for sample in samples:
        other = found[sample.name]
        assert other.split == sample.split
        assert len(other.boxes) == len(sample.boxes)
        for box, same in zip(sample.boxes, other.boxes, strict=True):
            check_equal(same, box)
    return again


def check_equal(box, expected):
    plain = replace(box, top=0, left=0, bottom=0, right=0, outline=None, score=None)
    other = replace(expected, top=0, left=0, bottom=0, right=0, outline=None, score=None)
    assert plain == other
    ends = [(one.top, one.left, one.bottom, one.right) for one in (box, expected)]
    assert ends[0] == pytest.approx(ends[1], rel=1e-6, abs=1e-9)
    if isinstance(expected.outline, tuple):
        assert len(box.outline) == len(expected.outline)
        for polygon, same in zip(expected.outline, box.outline, strict=True):
            assert same == pytest.approx(polygon, rel=1e-6, abs=1e-6)
    else:
        assert box.outline == expected.outline


def check_nothing_is_called_unused(folder, caplog):
    """Check the log of reading a data set of which every file is used."""
    caplog.clear()
    with caplog.at_level("INFO", "dentalzoo"):
        find_boxes(folder)
    assert [line for line in caplog.messages if "not used" in line] == []
