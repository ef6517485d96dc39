"""Masks as image files: names of their ids, and data sets written as masks."""

import json

import numpy as np
import pytest

from dentalzoo.data.boxes import BoxSample
from dentalzoo.data.conversion import find_objects
from dentalzoo.data.formats import mask_images
from dentalzoo.data.formats.writing import write_annotations
from dentalzoo.data.io.images import read_mask, write_png
from dentalzoo.data.masks import find_masks, load
from dentalzoo.errors import BadFile, DentalzooError
from tests.data.formats.test_nnunet import SIZE, square


def put(root, *boxes, name="a"):
    write_png(root / f"{name}.png", np.arange(96, dtype=np.uint8).reshape(SIZE))
    return BoxSample(name, root / f"{name}.png", boxes, name, "train")


@pytest.mark.parametrize("names", [["x"], ["x", "y", "unused"]])
def test_areas_go_to_masks_and_back(tmp_path, names):
    boxes = [square(label, 4 * i, 0) for i, label in enumerate(names[:2])]
    samples = [put(tmp_path, *boxes), put(tmp_path, name="b")]
    write_annotations(mask_images, samples, tmp_path / "out", names)
    stored = read_mask(tmp_path / "out" / "masks" / "a.png")
    assert set(np.unique(stored)) == ({0, 255} if len(names) == 1 else {0, 1, 2})
    found = find_masks(tmp_path / "out")
    assert found.classes == tuple(names) and len(found) == 2
    mask = load(found.samples[0], found.num_classes)["mask"][..., 0]
    assert mask[:3, :3].all() and mask.sum() == (9 if len(names) == 1 else 27)
    again = find_objects(tmp_path / "out")
    assert again.classes == tuple(names)
    assert [s.boxes for s in again.samples] == [s.boxes for s in samples]


def test_names_in_another_order_than_the_ids_are_refused(tmp_path):
    samples = [put(tmp_path, square("x", 0, 0), square("y", 4, 0))]
    write_annotations(mask_images, samples, tmp_path / "out", ["x", "y"])
    with pytest.raises(DentalzooError, match="classes must be in the order of the ids, x, y"):
        find_masks(tmp_path / "out", classes=["y", "x"])
    assert find_masks(tmp_path / "out", classes=["tooth", "crown"]).classes == ("tooth", "crown")


def test_names_elsewhere_do_not_name_ids(tmp_path):
    """classes.txt of a YOLO data set says nothing about masks of 0 and 255."""
    write_annotations(mask_images, [put(tmp_path, square("x", 0, 0))], tmp_path / "out", ["x"])
    (tmp_path / "out" / "masks" / "classes.json").unlink()
    (tmp_path / "out" / "classes.json").write_text(json.dumps(["a", "b", "c"]))
    found = find_masks(tmp_path / "out")
    assert found.classes == ("foreground",)
    assert load(found.samples[0])["mask"].sum() == 9


def roboflow_set(root, table):
    """Write a data set as Roboflow exports "Semantic Segmentation Masks"."""
    for split in ("train", "valid"):
        (root / split).mkdir(parents=True)
        write_png(root / split / f"{split}_jpg.rf.1.jpg.png", np.full(SIZE, 7, np.uint8))
        ids = np.zeros(SIZE, np.uint8)
        ids[:2], ids[2:5] = 2, 1
        write_png(root / split / f"{split}_jpg.rf.1.jpg_mask.png", ids)
        (root / split / "_classes.csv").write_text(table)
    return root


def test_the_pixel_values_of_roboflow_have_names(tmp_path):
    table = "Pixel Value, Class\n0, background\n1, Caries\n2, Crown\n3, unused"
    found = find_masks(roboflow_set(tmp_path, table))
    assert found.classes == ("Caries", "Crown", "unused") and found.num_classes == 4
    assert [sample.split for sample in found.samples] == ["train", "val"]
    mask = load(found.samples[0], found.num_classes)["mask"][..., 0]
    assert (mask[:2] == 2).all() and (mask[2:5] == 1).all() and not mask[5:].any()
    assert not found.unused


@pytest.mark.parametrize(
    ("table", "match"),
    [
        ("Pixel Value, Class\n0, background\n2, Crown", "must be 0, 1, ..., each once"),
        ("Pixel Value, Class\n0, background\n1, a\n1, b", "must be 0, 1, ..., each once"),
        ("Pixel Value, Class\n0, Caries\n1, background", "0 must be the background"),
        ("Pixel Value, Class", "must be 0, 1, ..., each once"),
    ],
)
def test_pixel_values_that_cannot_be_ids_are_refused(tmp_path, table, match):
    with pytest.raises(BadFile, match=match):
        find_masks(roboflow_set(tmp_path, table))


def test_classes_of_whole_images_name_no_ids(tmp_path):
    root = roboflow_set(tmp_path, "filename, Caries, Crown\na.jpg, 1, 0")
    assert find_masks(root).classes == ("foreground",)


def test_a_listed_background_is_id_0(tmp_path):
    samples = [put(tmp_path, square("x", 0, 0), square("y", 4, 0))]
    write_annotations(mask_images, samples, tmp_path / "out", ["x", "y"])
    (tmp_path / "out" / "masks" / "classes.json").unlink()
    (tmp_path / "out" / "masks" / "classes.txt").write_text("Background\nx\ny\n")
    assert find_masks(tmp_path / "out").classes == ("x", "y")


def test_listed_ids_are_no_numbers_of_teeth(tmp_path):
    """Id 12 is the twelfth name of the list, although there is a tooth 12."""
    teeth = [f"{quadrant}{tooth}" for quadrant in (1, 2, 3, 4) for tooth in range(1, 9)]
    samples = [put(tmp_path, square(teeth[11], 0, 0))]
    write_annotations(mask_images, samples, tmp_path / "out", teeth)
    (box,) = find_objects(tmp_path / "out").samples[0].boxes
    assert box.label == teeth[11] == "24"
