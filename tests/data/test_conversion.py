"""Annotated images in another format: what it cannot hold is refused, or left out and said."""

import json
import logging
from dataclasses import replace

import numpy as np
import pytest

from dentalzoo.cli import main
from dentalzoo.data.boxes import find_boxes
from dentalzoo.data.conversion import WRITABLE, convert, find_objects
from dentalzoo.data.formats import FORMATS
from dentalzoo.data.formats.base import Box, BoxSample, RunLengths
from dentalzoo.data.formats.writing import write_annotations
from dentalzoo.data.io.images import write_png
from dentalzoo.data.masks import find_masks
from dentalzoo.errors import DentalzooError, MissingSplit


@pytest.fixture
def polygons(tmp_path):
    for name in ("a", "b"):
        write_png(tmp_path / "data" / "images" / f"{name}.png", np.eye(40, 60, dtype=np.uint8))
        line = "0 0.1 0.1 0.5 0.1 0.5 0.5"
        (tmp_path / "data" / "images" / f"{name}.txt").write_text(line)
    (tmp_path / "data" / "classes.txt").write_text("Crown\nImplant")
    return tmp_path / "data"


def test_what_a_format_cannot_hold_is_refused_or_left_out_with_a_line(polygons, tmp_path, caplog):
    out = tmp_path / "out"
    with pytest.raises(DentalzooError, match="TFRecord cannot hold all.*2 objects with a polygon"):
        convert(polygons, "tfrecord", out)
    assert not out.exists()
    with caplog.at_level(logging.WARNING, "dentalzoo"):
        report = convert(polygons, "tfrecord", out, lossy=True)
    line = "TFRecord cannot hold 2 objects with a polygon (in a, b): their boxes alone are written"
    assert line in caplog.messages
    assert (report.source, report.written, report.objects) == ("YOLO", 2, 2)
    assert find_boxes(out, val_fraction=0).classes == ("Crown", "Implant")


def test_the_command_hashes_names_and_keeps_the_key_beside_the_folder(polygons, tmp_path, capsys):
    out = tmp_path / "out"
    command = ["convert", str(polygons), "--to", "coco", "--out", str(out), "--anonymize"]
    assert main(command) == 0
    assert "2 images with 2 objects of YOLO written" in capsys.readouterr().out
    names = {path.stem for path in out.rglob("*.png")}
    assert len(names) == 2 and all(len(name) == 12 for name in names)
    key = (tmp_path / "out_key.csv").read_text()
    assert all(name in key for name in names) and "a.png" in key
    (polygon,) = {box.outline for s in find_boxes(out, outlines=True).samples for box in s.boxes}
    assert polygon[0] == pytest.approx((6, 4, 30, 4, 30, 20))
    assert main([*command[:3], "mask", *command[4:]]) == 2


def test_converting_says_nothing_of_a_validation_fraction(polygons, tmp_path, caplog):
    caplog.set_level(logging.INFO, "dentalzoo")
    convert(polygons, "coco", tmp_path / "out")
    assert "held out" not in caplog.text


@pytest.mark.parametrize("to", WRITABLE)
def test_data_without_splits_stay_without_where_the_format_can(to, tmp_path, caplog):
    """A tooth in each image: pixels of a mask that are a rectangle, which every format holds."""
    caplog.set_level(logging.INFO, "dentalzoo")
    for number in range(4):
        mask = np.zeros((40, 60), np.uint8)
        mask[5:20, 10 + number : 30] = 11
        pixels = np.random.default_rng(number).integers(0, 256, mask.shape, np.uint8)
        write_png(tmp_path / "data" / "images" / f"{number}.png", pixels)
        write_png(tmp_path / "data" / "masks" / f"{number}.png", mask)
    data, out = tmp_path / "data", tmp_path / "out"
    convert(data, to, out, classes=("11",), lossy=True)
    splits = {sample.split for sample in find_objects(out).samples}
    must_have = to in ("nnunet", "tfrecord")
    assert splits == ({"train"} if must_have else {""})
    assert ("must have splits: 4 images without one are written as train" in caplog.text) == (
        must_have
    )
    assert ("all images as train and as val" in caplog.text) == (to == "yolo")
    assert not (out / "split.csv").exists()
    held_out = {sample.split for sample in find_boxes(out).samples} if to == "cvat" else None
    assert held_out in (None, {"train", "val"})


def test_a_split_of_data_without_splits_cannot_be_converted(polygons, tmp_path):
    with pytest.raises(MissingSplit, match="Received: {'no split': 2}$"):
        convert(polygons, "coco", tmp_path / "out", split="train")


def test_images_beside_a_named_test_split_are_for_training(polygons, tmp_path):
    for suffix in (".png", ".txt"):
        source = polygons / "images" / f"b{suffix}"
        (polygons / "test").mkdir(exist_ok=True)
        source.rename(polygons / "test" / source.name)
    convert(polygons, "coco", tmp_path / "out")
    names = {path.name for path in (tmp_path / "out" / "annotations").iterdir()}
    assert names == {"instances_train.json", "instances_test.json"}


CVAT = """<annotations><meta><task><labels><label><name>11</name><color>#33ddff</color></label>
</labels></task></meta>
<image name="a.png" width="60" height="40"><polygon label="11" points="6,4;30,4;30,20" occluded="1">
<attribute name="restored">true</attribute><attribute name="comment">Mr. A.</attribute></polygon>
<box label="11" xtl="30" ytl="20" xbr="50" ybr="35"><attribute name="restored">false</attribute>
<attribute name="comment"></attribute><attribute name="occluded">partly</attribute></box>
</image></annotations>"""


@pytest.fixture
def attributed(tmp_path):
    write_png(tmp_path / "cvat" / "a.png", np.eye(40, 60, dtype=np.uint8))
    (tmp_path / "cvat" / "annotations.xml").write_text(CVAT)
    return tmp_path / "cvat"


@pytest.mark.parametrize("to", WRITABLE)
def test_attributes_are_kept_or_named(to, attributed, tmp_path, caplog, capsys):
    colours = "the colours of the labels 11"
    attributes = "attributes restored, comment, occluded of 2 objects"
    report = convert(attributed, to, tmp_path / "out", lossy=True)
    assert report.lost == ([colours] if to == "cvat" else [attributes, colours])
    assert (f"does not hold {attributes}" in caplog.text) == (to != "cvat")
    command = ["convert", str(attributed), "--to", to, "--out", str(tmp_path / "out"), "--lossy"]
    assert main(command) == 0
    assert f"not kept: {'; '.join(report.lost)}\n" in capsys.readouterr().out
    if to != "cvat":
        return
    (sample,) = find_objects(tmp_path / "out").samples
    assert [dict(box.attributes) for box in sample.boxes] == [
        {"restored": "true", "comment": "Mr. A.", "occluded": "true"},
        {"restored": "false", "occluded": "partly"},
    ]
    written = report.opened.read_text()
    assert written.count('occluded="1"') == 1 and "<input_type>checkbox</input_type>" in written


def test_anonymized_projects_have_no_attributes(attributed, tmp_path):
    report = convert(attributed, "cvat", tmp_path / "out", anonymize=True)
    assert report.lost[0] == "attributes restored, comment, occluded of 2 objects"
    assert "Mr. A." not in report.opened.read_text()


def test_attributes_of_coco_reach_cvat(attributed, tmp_path):
    opened = convert(attributed, "coco", tmp_path / "coco", lossy=True).opened
    content = json.loads(opened.read_text())
    own = {"restored": True, "comment": "", "occluded": False, "rotation": 0.0, "surface": 3}
    content["annotations"][0]["attributes"] = own
    opened.write_text(json.dumps(content))
    convert(tmp_path / "coco", "cvat", tmp_path / "back")
    found = [box.attributes for box in find_objects(tmp_path / "back").samples[0].boxes]
    assert found == [(("restored", "true"), ("surface", "3")), ()]


@pytest.mark.parametrize("form", [form for form in FORMATS if form.WRITES], ids=lambda f: f.NAME)
def test_what_is_said_of_objects_that_a_format_cannot_hold_is_so(form, tmp_path, caplog):
    """A triangle, alone in its image: marked, a crowd, with a larger box."""
    write_png(tmp_path / "a.png", np.eye(40, 60, dtype=np.uint8))
    outline = ((6.0, 4.0, 30.0, 4.0, 30.0, 20.0),)
    plain = Box("11", 0.1, 0.1, 0.5, 0.5, outline=outline)

    def written(**changed):
        caplog.clear()
        sample = BoxSample("a", tmp_path / "a.png", (replace(plain, **changed),), split="train")
        write_annotations(form, [sample], tmp_path / "out", ["11"], lossy=True)
        said = [line for line in caplog.messages if " cannot hold " in line]
        assert all("1 objects " in line and "(in a): " in line for line in said)
        assert "or changed" not in "".join(said)
        return "".join(said), find_objects(tmp_path / "out").samples[0].boxes

    said, (again,) = written()
    alone = again.outline is None
    assert ("(in a): their boxes alone are written" in said) == alone
    pixels = not alone and (isinstance(again.outline, RunLengths) or len(again.outline[0]) > 6)
    assert ("(in a): their pixels are written" in said) == pixels
    assert bool(said) == (alone or pixels)
    said, (again,) = written(difficult=True)
    assert ("difficult (in a): the mark is left out" in said) == (not again.difficult)
    said, crowds = written(crowd=True)
    assert ("crowd (in a): they are left out" in said) == (not crowds)
    marks = [box.crowd for box in crowds]
    assert ("crowd (in a): the mark is left out" in said) == (marks == [False])
    said, (again,) = written(bottom=1.0)
    is_extent = again.bottom == pytest.approx(0.5, abs=0.03)
    assert ("the extent of the outline becomes the box" in said) == is_extent
    joined = "are not read as one object" in said or "their boxes alone" in said
    assert joined == (again.outline is None) and ("both are written" not in said or not is_extent)


@pytest.mark.parametrize("to", WRITABLE)
def test_an_annotation_file_in_place_of_its_folder_is_named(to, polygons, tmp_path):
    (polygons / "classes.txt").write_text("11\n12")  # DENTEX holds permanent teeth alone
    opened = convert(polygons, to, tmp_path / "out", lossy=True).opened
    if not opened.is_file() or opened.suffix == ".yaml":
        return
    for find in (find_boxes, find_masks):
        with pytest.raises(DentalzooError, match="give the folder that holds this file") as caught:
            find(opened)
        assert "\n" not in str(caught.value) and "Received: a file, " in str(caught.value)
    other = tmp_path / "notes.json"
    other.write_text("{}")
    with pytest.raises(DentalzooError, match="Received: a file$"):
        find_boxes(other)
