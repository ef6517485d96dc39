"""DENTEX JSON: quadrants, FDI tooth numbers, diseases."""

import json

import numpy as np
import pytest

from dentalzoo.data.boxes import find_boxes
from dentalzoo.data.formats import dentex
from dentalzoo.data.formats.base import Box, BoxSample
from dentalzoo.data.formats.writing import write_annotations
from dentalzoo.data.masks import find_masks, load
from dentalzoo.errors import BadFile, DentalzooError
from tests.data.formats.test_voc import HEIGHT, WIDTH, pixels
from tests.data.test_images import by_split, put

DISEASES = ("Impacted", "Caries", "Periapical Lesion", "Deep Caries")
FDI = tuple(f"{q}{t}" for q in "1234" for t in "12345678")
BOX = {
    "bbox": [12, 9, 24, 18],
    "segmentation": [[12, 9, 36, 9, 36, 27, 12, 27]],
    "iscrowd": 0,
    "area": 432,
}


def named(names):
    return [{"id": i, "name": n, "supercategory": n} for i, n in enumerate(names)]


def save(path, ids, **lists):
    """A file as the challenge has them; `ids` are those of the categories of each annotation."""
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {
        "images": [{"id": 1, "file_name": "a.png", "height": HEIGHT, "width": WIDTH}],
        "annotations": [
            {
                **BOX,
                "bbox": [12 + i, 9, 24, 18],
                **{f"category_id_{k}": number for k, number in enumerate(one, 1)},
                "id": i,
                "image_id": 1,
            }
            for i, one in enumerate(ids)
        ],
        **{f"categories_{key[1]}": named(names) for key, names in lists.items()},
    }
    path.write_text(json.dumps(content))


def labels(dataset):
    return [[box.label for box in sample.boxes] for sample in dataset.samples]


def test_quadrant_and_enumeration_are_fdi_numbers(tmp_path):
    put(tmp_path, "xrays/a.png")
    save(
        tmp_path / "train_quadrant_enumeration.json",
        [(0, 0), (3, 7), (1, 2)],
        _1=("1", "2", "3", "4"),
        _2=("1", "2", "3", "4", "5", "6", "7", "8"),
    )
    found = find_boxes(tmp_path)
    assert (found.format, found.classes) == ("DENTEX", FDI) and found.skipped == []
    assert labels(found) == [["11", "48", "23"]]
    assert pixels(found.samples[0].boxes[0]) == (12, 9, 36, 27)
    mask = load(find_masks(tmp_path, classes=("48",)).samples[0])["mask"]
    assert mask.sum() == 24 * 18


def test_the_names_of_the_categories_count_and_not_their_ids(tmp_path):
    put(tmp_path, "xrays/a.png")
    save(tmp_path / "t.json", [(0, 0), (1, 1)], _1=(4, 2), _2=(8, 1))
    assert labels(find_boxes(tmp_path)) == [["48", "21"]]


def test_diseases_are_the_classes_where_there_are_any(tmp_path):
    put(tmp_path, "quadrant-enumeration-disease/xrays/a.png")
    save(
        tmp_path / "quadrant-enumeration-disease" / "train_quadrant_enumeration_disease.json",
        [(0, 7, 0), (2, 5, 3)],
        _1=range(1, 5),
        _2=range(1, 9),
        _3=DISEASES,
    )
    found = find_boxes(tmp_path)
    assert found.classes == DISEASES and labels(found) == [["Impacted", "Deep Caries"]]
    assert found.category_ids == {}


def test_quadrants_alone(tmp_path):
    put(tmp_path, "xrays/a.png")
    save(tmp_path / "train_quadrant.json", [(0,), (3,)], _1=("1", "2", "3", "4"))
    found = find_boxes(tmp_path)
    assert found.classes == ("1", "2", "3", "4") and labels(found) == [["1", "4"]]


def test_files_of_two_kinds_are_refused(tmp_path):
    put(tmp_path, "xrays/a.png")
    save(tmp_path / "one.json", [(0,)], _1=range(1, 5))
    save(tmp_path / "two.json", [(0, 1)], _1=range(1, 5), _2=range(1, 9))
    with pytest.raises(BadFile, match=r"quadrants \(one.json\) and tooth numbers \(two.json\)"):
        find_boxes(tmp_path)


@pytest.mark.parametrize(
    ("ids", "quadrants", "reason"),
    [
        ((0, 9), range(1, 5), "annotation 0 refers to a category that is not listed"),
        ((0, 0), range(5), "categories_1 must name the numbers 1 to 4"),
        ((0, 0), (1, 1), "categories_1 must name the numbers 1 to 4, each once"),
        (([], 0), range(1, 5), "must be COCO JSON"),
    ],
)
def test_what_is_wrong_is_refused_in_one_line(tmp_path, ids, quadrants, reason):
    put(tmp_path, "xrays/a.png")
    save(tmp_path / "a.json", [ids], _1=quadrants, _2=range(1, 9))
    with pytest.raises(BadFile, match=reason) as caught:
        find_boxes(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_tooth_without_a_number_is_left_out_by_its_id(tmp_path):
    put(tmp_path, "xrays/a.png")
    save(tmp_path / "a.json", [(0, None), (1, 1)], _1=range(1, 5), _2=range(1, 9))
    found = find_boxes(tmp_path)
    assert labels(found) == [["22"]]
    assert [name for name, _ in found.skipped] == ["a.json: a.png, annotation 0"]


@pytest.mark.parametrize("splits", [("train", "val"), ("", "")])
def test_what_is_written_is_read_again(tmp_path, splits):
    put(tmp_path, "in/a.png", "in/b.png")
    corners = ((12.25, 9.5, 36.1, 9.7, 30.3, 27.9),)
    edges = (9.5 / HEIGHT, 12.25 / WIDTH, 27.9 / HEIGHT, 36.1 / WIDTH)
    boxes = (Box("38", *edges, outline=corners), Box("11", 0.1, 0.1, 0.5, 0.5, crowd=True))
    samples = [
        BoxSample(name, tmp_path / "in" / f"{name}.png", own, name, split)
        for name, split, own in zip("ab", splits, (boxes, ()), strict=True)
    ]
    write_annotations(dentex, samples, tmp_path / "out", ("38", "11"))
    again = find_boxes(tmp_path / "out", outlines=True, val_fraction=0)
    assert again.format == "DENTEX" and again.classes == FDI
    assert again.skipped == [] and again.repaired == []
    assert by_split(again) == (
        {"train": ["a"], "val": ["b"]} if splits[0] else {"train": ["a", "b"]}
    )
    for one, other in zip(boxes, again.samples[0].boxes, strict=True):
        assert (one.label, one.crowd) == (other.label, other.crowd)
        edges = [(b.top, b.left, b.bottom, b.right) for b in (one, other)]
        np.testing.assert_allclose(*edges, atol=1e-9)
    np.testing.assert_allclose(again.samples[0].boxes[0].outline, corners, atol=1e-9)


def test_classes_that_are_no_permanent_teeth_are_refused(tmp_path):
    put(tmp_path, "in/a.png")
    sample = BoxSample("a", tmp_path / "in" / "a.png", (Box("51", 0, 0, 1, 1),), "a", "")
    with pytest.raises(DentalzooError, match="whose classes are 11 to 48; COCO .* Received: 51"):
        write_annotations(dentex, [sample], tmp_path / "out", ("11", "51"))
    assert not (tmp_path / "out").exists()
