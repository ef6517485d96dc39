"""Projects of annotation tools, read and written by the tools' own libraries and by this package.

The libraries lie in an environment of their own, tests/peers/requirements.txt; DENTALZOO_PEERS
names its Python.
"""

import json
import os
import subprocess
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest

from dentalzoo.data.boxes import find_boxes
from dentalzoo.data.formats import format_named
from dentalzoo.data.formats.base import Box
from dentalzoo.data.formats.label_studio import brush
from dentalzoo.data.formats.writing import write_annotations
from tests.data.formats.tool_samples import (
    BOX,
    CLASSES,
    HEIGHT,
    RING,
    TRIANGLE,
    TWO_PARTS,
    WIDTH,
    make,
)

PEERS = os.environ.get("DENTALZOO_PEERS", "")
SCRIPT = Path(__file__).with_name("annotation_tools.py")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not PEERS, reason="DENTALZOO_PEERS names no Python"),
]


def peer(verb, name, folder):
    """Run the script in the environment of the libraries and return what it prints last."""
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    command = [PEERS, str(SCRIPT), verb, name, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.strip().splitlines()[-1])


def extent(xs, ys):
    return [min(xs), min(ys), max(xs), max(ys)]


BOX_EDGES = [BOX.left * WIDTH, BOX.top * HEIGHT, BOX.right * WIDTH, BOX.bottom * HEIGHT]
PARTS = [(p[::2], p[1::2]) for p in TWO_PARTS.outline]
TRIANGLE_EDGES = extent(TRIANGLE.outline[0][::2], TRIANGLE.outline[0][1::2])


@pytest.mark.parametrize(
    ("name", "tolerance", "masks", "joined"),
    [
        ("labelme", 1e-6, [30, 5, 49, 19], False),
        ("supervision", 1e-4, None, True),  # it leaves masks out
        ("cvat", 0.02, [30, 5, 50, 20], False),  # Datumaro rounds to two places
        ("label_studio", 1e-6, [30, 5, 50, 20], False),
        ("supervisely", 1.0, [30, 5, 50, 20], False),  # its library rounds to whole pixels
    ],
)
def test_the_library_of_the_tool_reads_what_is_written(tmp_path, name, tolerance, masks, joined):
    samples = make(tmp_path / "in", [BOX, TRIANGLE], [TWO_PARTS, RING], splits=("train",))
    form = format_named("labelme" if name == "supervision" else name)
    write_annotations(form, samples, tmp_path / "out", CLASSES)
    found = peer("read", name, tmp_path / "out")
    if listed := found.pop("", None):
        assert sorted(listed) == sorted(CLASSES)
    pieces = [extent(*part) for part in PARTS]
    if joined:
        pieces = [extent(*(sum(values, ()) for values in zip(*PARTS, strict=True)))]
    expected = {
        "Böhm 0.5": [["tooth", *BOX_EDGES], ["filling", *TRIANGLE_EDGES]],
        "Böhm 1.5": [["Krone ä", *piece] for piece in pieces],
        "Böhm 2.5": [],
    }
    if masks:
        expected["Böhm 1.5"].append(["tooth", *masks])
    found = {unquote(key).removesuffix(".png"): rows for key, rows in found.items()}
    assert found.keys() == expected.keys()
    for name, rows in found.items():
        rows = sorted(rows)
        wanted = sorted(expected[name])
        assert [row[0] for row in rows] == [row[0] for row in wanted]
        for row, other in zip(rows, wanted, strict=True):
            np.testing.assert_allclose(row[2:6], other[1:], atol=tolerance)
    pixels = sum(row[6] for rows in found.values() for row in rows)
    assert pixels == (20 * 15 - 6 * 4 if masks else 0)


@pytest.mark.parametrize(
    ("name", "tolerance"),
    [("yolo", 1e-4), ("coco", 1e-4), ("voc", 1.0)],  # it does not count VOC's pixels from 1
)
def test_supervision_reads_boxes_as_they_are_written(tmp_path, name, tolerance):
    boxes = [Box("tooth", 0.1, 0.05, 0.5, 0.4), Box("filling", 0.25, 0.5, 0.75, 0.75)]
    samples = make(tmp_path / "in", boxes, splits=("train",))
    write_annotations(format_named(name), samples, tmp_path / "out", CLASSES)
    found = peer("read", name, tmp_path / "out")
    assert sorted(found) == ["Böhm 0.5", "Böhm 1.5"] and found["Böhm 1.5"] == []
    assert [row[0] for row in found["Böhm 0.5"]] == ["tooth", "filling"]
    for row, box in zip(found["Böhm 0.5"], boxes, strict=True):
        wanted = [box.left * WIDTH, box.top * HEIGHT, box.right * WIDTH, box.bottom * HEIGHT]
        np.testing.assert_allclose(row[2:6], wanted, atol=tolerance)


@pytest.mark.parametrize(("name", "half"), [("cvat", 0), ("supervisely", 0.5)])
def test_what_the_library_of_the_tool_writes_is_read(tmp_path, name, half):
    peer("write", name, tmp_path / "out")
    dataset = find_boxes(tmp_path / "out", outlines=True)
    assert (dataset.classes, dataset.skipped) == (("x", "y", "unused"), [])
    samples = {sample.name: sample for sample in dataset.samples}
    assert {name: one.split for name, one in samples.items()} == {"a": "train", "b": "test"}
    assert samples["b"].boxes == ()
    box, polygon, pixels = samples["a"].boxes
    edges = [box.top * HEIGHT, box.left * WIDTH, box.bottom * HEIGHT, box.right * WIDTH]
    np.testing.assert_allclose(edges, [8, 6, 24, 24])
    points = np.array([6, 4, 30, 4, 30, 24]) + half
    np.testing.assert_allclose(polygon.outline[0], points)
    assert pixels.outline == RING.outline


def test_brushes_of_the_converter_are_read(tmp_path):
    peer("write", "brushes", tmp_path / "out")
    for mask, rle in json.loads((tmp_path / "out" / "brushes.json").read_text()):
        inside = np.array(mask) > 0
        np.testing.assert_array_equal(brush.decode(rle, inside.shape), inside)
