"""Annotated images in another format: what it cannot hold is refused, or left out and said."""

import logging

import numpy as np
import pytest

from dentalzoo.cli import main
from dentalzoo.data.boxes import find_boxes
from dentalzoo.data.conversion import WRITABLE, convert, find_objects
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
    assert "TFRecord cannot hold 2 objects with a polygon, which are left out or changed" in (
        caplog.messages
    )
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
