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
from dentalzoo.errors import DentalzooError
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


def test_listed_ids_are_no_numbers_of_teeth(tmp_path):
    """Id 12 is the twelfth name of the list, although there is a tooth 12."""
    teeth = [f"{quadrant}{tooth}" for quadrant in (1, 2, 3, 4) for tooth in range(1, 9)]
    samples = [put(tmp_path, square(teeth[11], 0, 0))]
    write_annotations(mask_images, samples, tmp_path / "out", teeth)
    (box,) = find_objects(tmp_path / "out").samples[0].boxes
    assert box.label == teeth[11] == "24"
