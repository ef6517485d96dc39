"""PASCAL VOC files with more than boxes: polygons of Roboflow and LabelMe, turned boxes of CVAT."""

import numpy as np
import pytest

from dentalzoo.data import masks
from dentalzoo.data.boxes import find_boxes
from dentalzoo.data.conversion import find_objects
from dentalzoo.errors import DentalzooError
from tests.data.formats.test_voc import annotation, pixels
from tests.data.test_images import put, text

SQUARE = ((10, 20), (40, 20), (40, 60), (10, 60))


def numbered(points):
    inside = "".join(f"<x{i}>{x}</x{i}><y{i}>{y}</y{i}>" for i, (x, y) in enumerate(points, 1))
    return f"<polygon>{inside}</polygon>"


def labelled(points):
    inside = "".join(f"<pt><x>{x}</x><y>{y}</y></pt>" for x, y in points)
    return f"<polygon>{inside}<username>me</username></polygon>"


def drawn(more, corners=(11, 21, 40, 60), name="tooth"):
    edges = zip(("xmin", "ymin", "xmax", "ymax"), corners, strict=True)
    box = "".join(f"<{key}>{value}</{key}>" for key, value in edges)
    return f"<object><name>{name}</name><bndbox>{box}</bndbox>{more}</object>"


def only_box(root, *things):
    put(root, "images/a.png")
    text(root / "voc" / "a.xml", annotation("a.png", *things))
    found = find_objects(root)
    ((box,),) = [sample.boxes for sample in found.samples]
    return box, found


@pytest.mark.parametrize("layout", [numbered, labelled])
@pytest.mark.parametrize("first", [0, 1])  # Roboflow counts from 0, supervision from 1
def test_polygons_are_outlines_and_masks(tmp_path, layout, first):
    points = [(x + first, y + first) for x, y in ((10.5, 20), (40, 30.25), (25, 60))]
    box, found = only_box(tmp_path, drawn(layout(points)))
    assert pixels(box) == (10, 20, 40, 60) and found.skipped == []
    assert box.outline == ((10.5, 20, 40, 30.25, 25, 60),)
    (sample,) = masks.find_masks(tmp_path).samples
    inside = masks.load(sample)["mask"][..., 0]
    assert inside[35, 25] == 1 and inside[22, 38] == 0
    assert abs(inside.sum() - (29.5 * 40 / 2 - 14.5 * 10.25 / 2)) < 60  # the triangle's area


def test_polygons_of_classes_are_masks_with_names(tmp_path):
    put(tmp_path, "images/a.png")
    other = [(x + 50, y) for x, y in SQUARE]
    things = drawn(numbered(SQUARE), name="crown"), drawn(numbered(other), (61, 21, 90, 60), "root")
    text(tmp_path / "voc" / "a.xml", annotation("a.png", *things))
    found = masks.find_masks(tmp_path, classes=["root", "crown"])
    inside = masks.load(found.samples[0], 3)["mask"][..., 0]
    assert np.array_equal(np.unique(inside[20:60, 10:40]), [2])
    assert np.array_equal(np.unique(inside[20:60, 60:90]), [1])


def test_a_box_without_a_polygon_refuses_the_mask_of_its_image(tmp_path):
    put(tmp_path, "images/a.png", "images/b.png")
    box_alone = drawn("", (61, 21, 90, 60))
    text(tmp_path / "voc" / "a.xml", annotation("a.png", drawn(numbered(SQUARE)), box_alone))
    text(tmp_path / "voc" / "b.xml", annotation("b.png", drawn(numbered(SQUARE))))
    checked = masks.check(masks.find_masks(tmp_path))
    assert [sample.name for sample in checked.samples] == ["b"]
    assert "a box without an outline" in checked.skipped[0][1]


@pytest.mark.parametrize(
    ("more", "note"),
    [
        ("<segmentation>1,2,3,4</segmentation>", "its segmentation is not used"),
        ("<mask><counts>12</counts></mask>", "its mask is not used"),
        (numbered([(10, 20), (40, 20)]), "3 or more points"),
        (numbered([(x / 100, y / 100) for x, y in SQUARE]), "does not lie in its box"),
        (numbered([("10,5", 20), *SQUARE[1:]]), "a coordinate must be a number"),
        ("<polygon><x1>1</x1><y1>2</y1><x2>3</x2></polygon>", "its points must be x1, y1"),
        ("<polygon><point>1 2</point></polygon>", "its points must be x1, y1"),
    ],
)
def test_what_is_no_outline_is_named_and_the_box_stays(tmp_path, more, note):
    box, found = only_box(tmp_path, drawn(more))
    assert pixels(box) == (10, 20, 40, 60) and box.outline is None
    ((where, what),) = [pair for pair in found.repaired if "not used" in pair[1]]
    assert where == "voc/a.xml, object 1" and note in what


def test_turned_boxes_of_cvat_are_the_boxes_around_them(tmp_path):
    turned = "<attribute><name>rotation</name><value>90.0</value></attribute>"
    box, found = only_box(tmp_path, drawn(f"<attributes>{turned}</attributes>"))
    assert pixels(box) == (5, 25, 45, 55)  # 30 x 40 about (25, 40)
    assert any("a turned box" in what for _, what in found.repaired)


@pytest.mark.parametrize("value", ["1", "true", "True", "1.0 "])
@pytest.mark.parametrize("key", ["difficult", "ignore"])
def test_flags_as_tools_write_them(tmp_path, key, value):
    box, _ = only_box(tmp_path, drawn(f"<{key}>{value}</{key}>"))
    assert box.difficult


def test_deleted_objects_of_labelme_are_left_out(tmp_path):
    put(tmp_path, "images/a.png")
    gone = drawn("<deleted>1</deleted>", (1, 1, 9, 9))
    text(tmp_path / "voc" / "a.xml", annotation("a.png", gone, drawn("<deleted>0</deleted>")))
    found = find_boxes(tmp_path)
    assert [pixels(box) for box in found.samples[0].boxes] == [(10, 20, 40, 60)]
    assert any("1 deleted" in what for _, what in found.repaired)


@pytest.mark.parametrize(
    "inside",
    [
        f"<objects>{drawn('')}</objects>",
        "<outputs><object><item><name>x</name><bndbox><xmin>1</xmin></bndbox></item></object></outputs>",
        drawn("").replace("object", "Object"),
    ],
)
def test_objects_in_another_place_are_no_image_of_nothing(tmp_path, inside):
    put(tmp_path, "images/a.png", "images/b.png")
    text(tmp_path / "voc" / "a.xml", annotation("a.png", inside))
    text(tmp_path / "voc" / "b.xml", annotation("b.png", drawn("")))
    found = find_boxes(tmp_path)
    assert [sample.name for sample in found.samples] == ["b"]
    assert any(name == "voc/a.xml" and "directly below" in why for name, why in found.skipped)


def test_two_boxes_in_one_object_are_refused(tmp_path):
    put(tmp_path, "images/a.png")
    second = "<bndbox><xmin>1</xmin><ymin>1</ymin><xmax>9</xmax><ymax>9</ymax></bndbox>"
    text(tmp_path / "voc" / "a.xml", annotation("a.png", drawn(second)))
    with pytest.raises(DentalzooError, match="2 bndbox in one object"):
        find_boxes(tmp_path)
