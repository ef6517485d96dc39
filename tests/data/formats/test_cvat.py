"""CVAT for images 1.1: its shapes and images, and projects that are written and read."""

from dataclasses import replace
from xml.etree import ElementTree
from xml.sax.saxutils import quoteattr

import numpy as np
import pytest

import dentalzoo as dz
from dentalzoo.data.boxes import find_boxes
from dentalzoo.data.formats import cvat
from dentalzoo.data.formats.base import Box
from dentalzoo.data.formats.writing import write_annotations
from dentalzoo.data.masks import find_masks, load

from .tool_samples import (
    BOX,
    CLASSES,
    FLOAT32,
    HEIGHT,
    RING,
    TRIANGLE,
    TWO_PARTS,
    WIDTH,
    check_nothing_is_called_unused,
    check_round_trip,
    edges,
    make,
    put,
    read_only,
    ring,
)

META = """<meta><task><id>3</id><name>opg</name><size>2</size><mode>annotation</mode><labels>
<label><name>unused</name><color>#fff</color><type>any</type><attributes></attributes></label>
<label><name>tooth</name><type>any</type><attributes></attributes></label>
<label><name>1</name><type>points</type><attributes></attributes><parent>tooth</parent></label>
</labels></task><dumped>2024-01-01</dumped></meta>"""
ONE = '<box label="tooth" source="manual" occluded="1" xtl="6" ytl="8" xbr="24" ybr="24"/>'


def image(*shapes, name="a.png", **more):
    attributes = {"id": 0, "name": name, "width": WIDTH, "height": HEIGHT, **more}
    text = " ".join(f"{key}={quoteattr(str(value))}" for key, value in attributes.items())
    return f"<image {text}>{''.join(shapes)}</image>"


def export(folder, *entries, meta=META, encoding="utf-8"):
    text = f'<?xml version="1.0" encoding="{encoding}"?>\n<annotations>\n<version>1.1</version>'
    text += meta + "".join(entries) + "</annotations>"
    (folder / "annotations.xml").write_bytes(text.encode(encoding))


def read(folder):
    return read_only("CVAT", folder)


# ---- shapes --------------------------------------------------------------------------------------


def test_boxes_polygons_and_masks(tmp_path):
    put(tmp_path, "a.png")
    polygon = '<polygon label="tooth" points="6.00,4.00;30.00,4.00;30.00,24.00"/>'
    mask = '<mask label="tooth" rle="1, 2, 1, 4" left="10" top="20" width="4" height="2"/>'
    export(tmp_path, image(ONE, polygon, mask))
    boxes, dataset = read(tmp_path)
    assert [edges(one) for one in boxes] == [
        pytest.approx([8, 6, 24, 24]),
        pytest.approx([4, 6, 24, 30]),
        pytest.approx([20, 10, 22, 14]),
    ]
    assert boxes[1].outline == ((6, 4, 30, 4, 30, 24),)
    inside = np.zeros((HEIGHT, WIDTH), bool)
    inside[20, 11:13] = inside[21, 10:14] = True
    counts = boxes[2].outline.counts
    flat = np.repeat(np.arange(len(counts)) % 2 == 1, counts)
    np.testing.assert_array_equal(flat.reshape(WIDTH, HEIGHT).T, inside)
    assert not any(one.difficult for one in boxes)  # occluded is not difficult
    assert not dataset.repaired and dataset.classes == ("unused", "tooth")


def test_turned_boxes_and_ellipses_become_polygons_and_say_so(tmp_path):
    put(tmp_path, "a.png")
    box = '<box label="tooth" xtl="10" ytl="10" xbr="30" ybr="20" rotation="90.00"/>'
    oval = '<ellipse label="tooth" cx="30" cy="20" rx="5" ry="10" rotation="90.00"/>'
    export(tmp_path, image(box, oval))
    boxes, dataset = read(tmp_path)
    assert edges(boxes[0]) == pytest.approx([5, 15, 25, 25])
    assert boxes[0].outline[0] == pytest.approx((25, 5, 25, 25, 15, 25, 15, 5))
    assert edges(boxes[1]) == pytest.approx([15, 20, 25, 40])
    assert [what.partition(" is")[0] for _, what in dataset.repaired] == [
        "a turned box",
        "an ellipse",
    ]


def test_a_group_of_outlines_of_one_label_is_one_object(tmp_path):
    put(tmp_path, "a.png")
    texts = [
        f'<polygon label="{label}" points="{x},4;{x + 9},4;{x},24" group_id="{group}"/>'
        for x, label, group in (
            (1, "tooth", 1),
            (20, "tooth", 1),
            (30, "unused", 1),
            (40, "tooth", 0),
        )
    ]
    boxes = [ONE.replace("occluded", f'group_id="1" z_order="{n}" occluded') for n in range(2)]
    boxes[1] = boxes[1].replace('"24"', '"25"')
    export(tmp_path, image(*texts, *boxes))
    found, _ = read(tmp_path)
    assert [(one.label, len(one.outline or ())) for one in found] == [
        ("tooth", 2),
        ("unused", 1),
        ("tooth", 1),
        ("tooth", 0),
        ("tooth", 0),
    ]


def test_attributes_mark_what_is_difficult_or_a_crowd(tmp_path):
    put(tmp_path, "a.png")
    marks = (
        '<attribute name="difficult">true</attribute><attribute name="is_crowd">false</attribute>'
    )
    other = '<attribute name="is_crowd">true</attribute>'
    ignore = '<attribute name="ignore">true</attribute>'
    boxes = [ONE.replace("/>", f">{text}</box>") for text in (marks, other, ignore)]
    boxes[1:] = [box.replace('"24"', f'"{25 + i}"') for i, box in enumerate(boxes[1:])]
    export(tmp_path, image(*boxes))
    found, _ = read(tmp_path)
    assert [(one.difficult, one.crowd) for one in found] == [
        (True, False),
        (False, True),
        (True, False),
    ]


def test_what_is_no_object_is_named_and_left_out(tmp_path):
    put(tmp_path, "a.png")
    others = [f"<{tag} label='x' points='1,2'/>" for tag in ("points", "polyline", "points")]
    others += ["<cuboid label='x'/>", "<skeleton label='x'><points label='1'/></skeleton>"]
    export(tmp_path, image(ONE, *others, "<tag label='good'/>"))
    boxes, dataset = read(tmp_path)
    assert len(boxes) == 1
    assert dataset.repaired[0][1] == (
        "shapes that are no objects are left out: 1 x cuboid, 2 x points, 1 x polyline, "
        "1 x skeleton, 1 x tag"
    )


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ('<box label="tooth" xtl="x" ytl="8" xbr="24" ybr="24"/>', "must be a number"),
        ('<box label="tooth" xtl="5" ytl="8" xbr="24"/>', "a coordinate must be a number"),
        ('<box label="tooth" xtl="nan" ytl="8" xbr="24" ybr="9"/>', "must be a number"),
        ('<polygon label="tooth" points="1,2;3,4"/>', "must have 3 or more points"),
        ('<polygon label="tooth"/>', "must have 3 or more points"),
        ('<polygon label="tooth" points="1,2;3,4;5"/>', "must be a list of 2 numbers"),
        ('<ellipse label="tooth" cx="3" cy="2" rx="0" ry="1"/>', "a radius must be above 0"),
        (
            '<mask label="tooth" rle="1, 2" left="1" top="2" width="4" height="2"/>',
            "rle must have a value for each pixel of its box. Received: 3 for 4 x 2",
        ),
        ('<mask label="tooth" rle="a" left="1" top="2" width="4" height="2"/>', "whole numbers"),
        (
            '<mask label="tooth" rle="0, 8" left="99" top="2" width="4" height="2"/>',
            "a mask must have pixels in its image",
        ),
        (
            '<mask label="tooth" rle="0, 9" left="1" top="2" width="999999" height="999999"/>',
            "at most 100,000,000 pixels",
        ),
    ],
)
def test_a_wrong_shape_is_named_and_the_rest_is_read(tmp_path, wrong, reason):
    put(tmp_path, "a.png")
    export(tmp_path, image(ONE, wrong))
    boxes, dataset = read(tmp_path)
    assert len(boxes) == 1
    ((name, why),) = dataset.skipped
    assert name == "annotations.xml: a.png, shape 2" and reason in why


# ---- images and files ----------------------------------------------------------------------------


def test_subsets_are_splits_and_folders(tmp_path):
    put(tmp_path, "images/Train/a.png", "images/Validation/a.png", "images/Test/sub/b.png")
    second = ONE.replace("24", "30")
    export(
        tmp_path,
        image(ONE, subset="Train"),
        image(ONE, second, subset="Validation"),
        image(name="sub/b.png", subset="Test"),
    )
    found = {(s.split, len(s.boxes)) for s in find_boxes(tmp_path).samples}
    assert found == {("train", 1), ("val", 2), ("test", 0)}


def test_subsets_count_where_images_lie_in_one_folder(tmp_path):
    put(tmp_path, "a.png", "b.png", "c.png")
    export(
        tmp_path,
        image(ONE, subset="train"),
        image(ONE, name="b.png", subset="Validation"),
        image(ONE, name="c.png", subset="default"),
    )
    dataset = find_boxes(tmp_path)
    assert [(s.name, s.split) for s in dataset.samples] == [("a", "train"), ("b", "val")]
    assert dict(dataset.skipped) == {"c.png": "image in no split of the subsets of CVAT"}


def test_a_file_named_after_a_split_is_one(tmp_path):
    """Datumaro writes a file for each subset, which does not name it inside."""
    put(tmp_path, "images/a.png", "images/b.png", "images/c.png", "images/d.png")
    for name, images in (("train", "ab"), ("test", "cd")):
        export(tmp_path, *(image(ONE, name=f"{one}.png") for one in images))
        (tmp_path / "annotations.xml").rename(tmp_path / f"{name}.xml")
    found = {s.name: s.split for s in find_boxes(tmp_path).samples}
    assert found == {"a": "train", "b": "train", "c": "test", "d": "test"}


def test_the_path_decides_between_images_of_one_name(tmp_path):
    put(tmp_path, "images/p1/a.png", "images/p2/a.png")
    export(tmp_path, image(ONE, name="p2\\a.png"), image(name="p1/a.png"))
    found = {s.name: len(s.boxes) for s in find_boxes(tmp_path).samples}
    assert found == {"images/p1/a": 0, "images/p2/a": 1}


def test_images_that_are_not_there_or_not_listed_are_named(tmp_path):
    put(tmp_path, "a.png", "b.png")
    export(tmp_path, image(ONE), image(ONE, name="gone.png"), image(ONE))
    assert dict(find_boxes(tmp_path).skipped) == {
        "annotations.xml: gone.png": "annotation without image",
        "annotations.xml: a.png": "image in several annotation files",
        "b.png": "image without boxes",
    }


def test_tracks_of_a_video_are_refused(tmp_path):
    put(tmp_path, "frame_000000.png")
    export(tmp_path, f'<track id="0" label="tooth">{ONE}</track>')
    with pytest.raises(dz.DentalzooError, match="tracks of a video are not read; export it as"):
        find_boxes(tmp_path)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "cp1252"])
def test_encodings_of_text(tmp_path, encoding):
    put(tmp_path, "Müller.png")
    text = f"<annotations>{image(ONE.replace('tooth', 'Füllung'), name='Müller.png')}"
    (tmp_path / "x.xml").write_bytes((text + "</annotations>").encode(encoding))
    dataset = find_boxes(tmp_path)
    assert dataset.classes == ("Füllung",)
    notes = [what for _, what in dataset.repaired]
    assert notes == (
        ["the text is not UTF-8; read as Windows-1252"] if encoding == "cp1252" else []
    )


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("<annotations><image", "must be a file of CVAT in XML"),
        ('<!DOCTYPE a [<!ENTITY x "y">]><annotations/>', "a declaration of entities"),
    ],
)
def test_a_broken_file_is_named(tmp_path, text, reason):
    put(tmp_path, "a.png")
    export(tmp_path, image(ONE))
    (tmp_path / "b.xml").write_text(text)
    ((name, why),) = find_boxes(tmp_path).skipped
    assert name == "b.xml" and reason in why


def test_masks_of_a_project(tmp_path):
    put(tmp_path, "a.png")
    mask = '<mask label="tooth" rle="0, 8" left="10" top="20" width="4" height="2"/>'
    export(tmp_path, image(mask))
    drawn = load(find_masks(tmp_path).samples[0])["mask"][..., 0]
    assert drawn[20:22, 10:14].all() and drawn.sum() == 8


# ---- writing -------------------------------------------------------------------------------------


@pytest.mark.parametrize("splits", [("train", "val", "test"), ("train",)])
def test_a_project_is_read_back_as_it_was(tmp_path, splits):
    marked = [replace(TRIANGLE, difficult=True), Box("tooth", 0, 0, 1, 1, crowd=True)]
    boxes = [BOX, FLOAT32, *marked], [TWO_PARTS, RING], [TWO_PARTS, replace(RING, difficult=True)]
    check_round_trip(cvat, make(tmp_path / "in", *boxes, splits=splits), tmp_path / "out")


def test_a_mask_that_begins_at_its_corner_is_read_back(tmp_path):
    solid = np.zeros((HEIGHT, WIDTH), bool)
    solid[:7, :9] = True
    from .tool_samples import drawn

    check_round_trip(cvat, make(tmp_path / "in", [drawn("tooth", solid)]), tmp_path / "out")


def test_no_file_of_a_project_is_called_unused(tmp_path, caplog):
    write_annotations(cvat, make(tmp_path / "in", [BOX, TRIANGLE]), tmp_path / "out", CLASSES)
    check_nothing_is_called_unused(tmp_path / "out", caplog)


def test_files_are_as_the_tool_imports_them(tmp_path):
    samples = make(tmp_path / "in", [BOX, replace(TWO_PARTS, difficult=True), RING])
    out = tmp_path / "out"
    path = write_annotations(cvat, samples, out, CLASSES)
    assert path == out / "annotations.xml"
    root = ElementTree.parse(path).getroot()
    assert [one.text for one in root.iterfind("meta/project/labels/label/name")] == CLASSES
    assert [one.text for one in root.iterfind(".//task/subset")] == ["Train", "Validation"]
    first = root.find("image")
    assert dict(first.attrib) == {
        "id": "0",
        "name": "Böhm 0.5.png",
        "subset": "Train",
        "width": str(WIDTH),
        "height": str(HEIGHT),
    }
    assert (out / "images" / "Train" / "Böhm 0.5.png").is_file()
    assert [shape.tag for shape in first] == ["box", "polygon", "polygon", "mask"]
    assert [shape.get("group_id") for shape in first] == [None, "2", "2", None]
    assert first[1].find("attribute").text == "true"
    assert {one.text for one in root.iterfind(".//attributes/attribute/name")} == {"difficult"}
    counts = [int(text) for text in first[3].get("rle").split(",")]
    flat = np.repeat(np.arange(len(counts)) % 2 == 1, counts)
    np.testing.assert_array_equal(flat.reshape(15, 20), ring()[5:20, 30:50])


def test_who_drew_a_shape_is_kept_and_a_model_is_named(tmp_path):
    put(tmp_path / "in", "a.png")
    polygon = '<polygon label="tooth" source="{}" points="2,2;20,2;20,{y}" group_id="{group}"/>'
    shapes = [
        polygon.format(source, y=y, group=group)
        for source, y, group in (
            ("auto", 9, 1),
            ("auto", 12, 1),
            ("semi-auto", 15, 0),
            ("?", 18, 0),
        )
    ]
    export(tmp_path / "in", image(ONE, *shapes))
    (sample,) = find_boxes(tmp_path / "in", outlines=True, val_fraction=0).samples
    sources = [box.source for box in sample.boxes]
    assert sources == ["manual", "auto", "semi-auto", ""]
    predicted = replace(sample, boxes=(*sample.boxes, replace(sample.boxes[0], source="auto")))
    path = write_annotations(cvat, [predicted], tmp_path / "out", ["tooth"])
    written = [shape.get("source") for shape in ElementTree.parse(path).find("image")]
    assert written == ["manual", "auto", "auto", "semi-auto", "manual", "auto"]


def test_files_of_a_split_count_before_one_of_all_images(tmp_path):
    put(tmp_path, "a.png", "b.png")
    for name, shown in (("all", ("a.png", "b.png")), ("train", ["a.png"]), ("test", ["b.png"])):
        export(tmp_path, *(image(ONE, name=one) for one in shown))
        (tmp_path / "annotations.xml").rename(tmp_path / f"{name}.xml")
    assert {s.name: s.split for s in find_boxes(tmp_path).samples} == {"a": "train", "b": "test"}
