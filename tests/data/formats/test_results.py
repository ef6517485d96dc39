"""Results of `predict` in a data folder: no data by chance, and data where they were corrected."""

import json
import logging

import numpy as np
import pytest

from dentalzoo.data.boxes import check_boxes, find_boxes
from dentalzoo.data.formats import base
from dentalzoo.data.formats.base import Box, BoxSample
from dentalzoo.data.images import find_images
from dentalzoo.data.io.images import write_png
from dentalzoo.data.masks import find_masks
from dentalzoo.output_dirs import list_results, listed_results
from dentalzoo.tasks.base import named_images
from dentalzoo.tasks.options import PROJECT_FORMATS
from dentalzoo.tasks.projects import write_projects

NAMES = ("a", "b", "c")
BOX = Box("Predicted", 0.1, 0.2, 0.5, 0.4, outline=((18, 6, 36, 6, 36, 30, 18, 30),), score=0.5)


@pytest.fixture(autouse=True)
def _notices_anew():
    base.notice_once.cache_clear()


@pytest.fixture
def data(tmp_path):
    """Images with CVAT's file: the last formats of the table are the first to be replaced."""
    for name in NAMES:
        grey = np.random.default_rng(ord(name)).integers(0, 255, (60, 90), np.uint8)
        write_png(tmp_path / "data" / f"{name}.png", grey)
    image = '<image name="{}.png" width="90" height="60">{}</image>'
    box = '<box label="Annotated" xtl="1" ytl="2" xbr="30" ybr="40"/>'
    images = "".join(image.format(name, box) for name in NAMES)
    (tmp_path / "data" / "annotations.xml").write_text(f"<annotations>{images}</annotations>")
    return tmp_path / "data"


def predict(data, out, formats=(), detections=True, masks=False, inputs=None):
    """Write what `dentalzoo predict` writes."""
    names = named_images(inputs or data, out, ("overlay",))
    for name in names.values():
        write_png(out / f"{name}_overlay.png", np.zeros((60, 90, 3), np.uint8))
        if masks:
            write_png(out / f"{name}.png", np.full((60, 90), 255, np.uint8))
    if detections:
        (out / "detections.csv").write_text("file,class\n")
        (out / "detections.json").write_text(
            '[{"image_id": 1, "score": 0.5, "bbox": [1, 2, 3, 4]}]'
        )
    samples = [BoxSample(name, path, (BOX,)) for path, name in names.items()]
    write_projects(samples, out, ["Predicted"], formats)


@pytest.mark.parametrize("key", PROJECT_FORMATS)
def test_projects_beside_annotated_images_are_named_and_not_used(data, key, caplog):
    predict(data, data / "out", [key], masks=True)
    found = find_boxes(data)
    assert (found.format, found.classes, len(found)) == ("CVAT", ("Annotated",), 3)
    reason = "results of predict; a project that was corrected is a data folder of its own"
    assert (f"out/{key}/", reason) in found.unused
    assert ("out/: 8 files", "results of predict") in found.unused
    said = [line for line in caplog.messages if "results of predict" in line]
    assert len(said) == 1 and "out/: 8 files" in said[0]
    assert [sample.name for sample in find_images(data).samples] == [*NAMES]


@pytest.mark.parametrize("key", PROJECT_FORMATS)
def test_corrected_projects_are_data_where_they_lie(data, key, tmp_path, caplog):
    caplog.set_level(logging.INFO, "dentalzoo")
    out = tmp_path / "out"
    predict(data, out, [key], masks=True)
    for root in (out / key, out):
        found = find_boxes(root)
        assert (len(found), found.classes) == (3, ("Predicted",))
    assert f"results of predict are read as data, since there are no other: {key}/" in caplog.text


def test_a_project_that_was_moved_among_the_data_is_data(data, tmp_path):
    predict(data, tmp_path / "out", ["coco"])
    (data / "annotations.xml").unlink()
    (tmp_path / "out" / "coco").rename(data / "corrected")
    assert len(find_boxes(data)) == 3


@pytest.mark.parametrize("listed", [True, False])
def test_overlays_and_masks_are_no_images(data, listed):
    predict(data, data / "results", masks=True)
    if not listed:
        (data / "results" / ".dentalzoo-results.json").unlink()
        for name in NAMES:  # masks alone would be unknown
            (data / "results" / f"{name}.png").unlink()
            (data / f"{name}_overlay.png").write_bytes((data / f"{name}.png").read_bytes())
            (data / "results" / f"{name}_overlay.png").unlink()
    assert [sample.name for sample in find_images(data).samples] == [*NAMES]
    assert check_boxes(data)["usable"] == 3


def test_masks_written_into_a_folder_of_masks_are_there_on_purpose(tmp_path):
    for name in NAMES:
        grey = np.random.default_rng(ord(name)).integers(0, 255, (60, 90), np.uint8)
        write_png(tmp_path / "images" / f"{name}.png", grey)
    predict(tmp_path, tmp_path / "masks", detections=False, masks=True, inputs=tmp_path / "images")
    found = find_masks(tmp_path)
    assert [sample.name for sample in found.samples] == [*NAMES]
    assert ("masks/: 3 files", "results of predict") in found.unused  # the overlays


def test_a_project_of_vott_without_images_annotates_those_of_the_data(data):
    from dentalzoo.data.formats.vott import write_vott_v1

    predict(data, data / "out")
    samples = [BoxSample(name, data / f"{name}.png", (BOX,)) for name in NAMES]
    write_vott_v1(data / "out" / "vott1" / "data.json", samples, ["Predicted"])
    assert find_boxes(data).format == "CVAT"
    (data / "annotations.xml").unlink()
    assert (find_boxes(data).format, find_boxes(data).classes) == ("VoTT", ("Predicted",))


def test_the_list_of_results_grows_and_survives_damage(tmp_path):
    list_results(tmp_path, ["a.png"])
    list_results(tmp_path, ["b.png"])
    assert listed_results(tmp_path) == {"a.png", "b.png"}
    for content in ("", "3", "{", '{"a": 1}', "[1, null]", json.dumps("a.png")):
        (tmp_path / ".dentalzoo-results.json").write_text(content)
        assert listed_results(tmp_path) == frozenset()
