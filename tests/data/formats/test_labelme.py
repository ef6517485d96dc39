"""LabelMe: the shapes of its files, the image of each, and projects that are written and read."""

import base64
import io
import json
import unicodedata
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

import dentalzoo as dz
from dentalzoo.data.boxes import find_boxes
from dentalzoo.data.formats import base, labelme
from dentalzoo.data.formats.base import Box
from dentalzoo.data.formats.outlines import run_lengths
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
    outlined,
    put,
    read_only,
    ring,
)


def shape(kind, points, label="tooth", **more):
    return {"label": label, "points": points, "group_id": None, "shape_type": kind, **more}


def annotate(folder, *shapes, name="a.json", image="a.png", **more):
    content = {"version": "5.4.1", "flags": {}, "shapes": list(shapes), "imagePath": image}
    content |= {"imageData": None, "imageHeight": HEIGHT, "imageWidth": WIDTH, **more}
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")


def png(array):
    stream = io.BytesIO()
    Image.fromarray(array).save(stream, "PNG")
    return base64.b64encode(stream.getvalue()).decode()


def read(folder):
    return read_only("LabelMe", folder)


# ---- shapes --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "points", "expected"),
    [
        ("rectangle", [[30, 20], [10, 5]], [5, 10, 20, 30]),  # two corners in any order
        ("rectangle", [[10, 5], [30, 5], [30, 20], [10, 20]], [5, 10, 20, 30]),
        ("polygon", [[10, 5], [30, 8], [12, 20]], [5, 10, 20, 30]),
        ("circle", [[20, 20], [23, 24]], [15, 15, 25, 25]),
        (None, [[10, 5], [30, 8], [12, 20]], [5, 10, 20, 30]),  # before version 3.8
    ],
)
def test_shapes_have_these_boxes(tmp_path, kind, points, expected):
    put(tmp_path, "a.png")
    annotate(tmp_path, shape(kind, points))
    (box,), _ = read(tmp_path)
    np.testing.assert_allclose(edges(box), expected, atol=1e-9)
    assert (box.outline is None) == (kind == "rectangle")


def test_a_turned_rectangle_keeps_its_corners_and_says_so(tmp_path):
    put(tmp_path, "a.png")
    corners = [[20, 5], [30, 15], [20, 25], [10, 15]]
    annotate(tmp_path, shape("oriented_rectangle", corners))
    (box,), dataset = read(tmp_path)
    assert box.outline == (tuple(float(v) for corner in corners for v in corner),)
    np.testing.assert_allclose(edges(box), [5, 10, 25, 30])
    assert "a turned rectangle is read as a polygon" in dataset.repaired[0][1]


@pytest.mark.parametrize("more", [1, 0], ids=["last pixel included", "excluded"])
def test_a_mask_has_its_pixels(tmp_path, more):
    put(tmp_path, "a.png")
    crop = ring()[5:20, 30:50]
    points = [[30, 5], [30 + 20 - more, 5 + 15 - more]]
    annotate(tmp_path, shape("mask", points, mask=png(crop.astype(np.uint8))))
    (box,), _ = read(tmp_path)
    counts = {"size": [HEIGHT, WIDTH], "counts": list(box.outline.counts)}
    np.testing.assert_array_equal(run_lengths(counts, HEIGHT, WIDTH), ring())
    assert edges(box) == pytest.approx([5, 30, 20, 50])


def test_a_group_of_one_label_is_one_object(tmp_path):
    put(tmp_path, "a.png")
    a, b, c = ([[x, 2], [x + 8, 2], [x + 8, 9]] for x in (1, 20, 40))
    annotate(
        tmp_path,
        shape("polygon", a, group_id=1),
        shape("polygon", b, group_id=1),
        shape("polygon", c, group_id=1, label="filling"),
        shape("polygon", c, group_id=2),
        shape("polygon", [[1, 20], [9, 20], [9, 30]]),
        shape("polygon", [[20, 20], [29, 20], [29, 30]]),
    )
    boxes, _ = read(tmp_path)
    assert [(box.label, len(box.outline)) for box in boxes] == [
        ("tooth", 2),
        ("filling", 1),
        ("tooth", 1),
        ("tooth", 1),
        ("tooth", 1),
    ]
    assert edges(boxes[0]) == pytest.approx([2, 1, 9, 28])


def test_a_group_with_rectangles_is_one_object_and_says_so(tmp_path):
    put(tmp_path, "a.png")
    annotate(
        tmp_path,
        shape("rectangle", [[1, 2], [9, 9]], group_id=1),
        shape("rectangle", [[20, 5], [30, 20]], group_id=1),
    )
    (box,), dataset = read(tmp_path)
    assert edges(box) == pytest.approx([2, 1, 20, 30]) and len(box.outline) == 2
    note = "2 shapes of one group, boxes among them, are one object"
    assert [what for _, what in dataset.repaired] == [note]


def test_a_group_of_a_mask_and_a_polygon_is_their_pixels(tmp_path):
    put(tmp_path, "a.png")
    mask = shape("mask", [[0, 0], [3, 3]], group_id=1, mask=png(np.full((4, 4), 255, np.uint8)))
    square = [[10, 10], [14, 10], [14, 14], [10, 14]]
    annotate(tmp_path, mask, shape("polygon", square, group_id=1))
    (box,), _ = read(tmp_path)
    inside = run_lengths(
        {"size": [HEIGHT, WIDTH], "counts": list(box.outline.counts)}, HEIGHT, WIDTH
    )
    assert inside[:4, :4].all() and inside[10:14, 10:14].all() and inside.sum() == 32


def test_what_is_no_object_is_named_and_left_out(tmp_path):
    put(tmp_path, "a.png")
    lines = [shape(kind, [[1, 2], [3, 4]]) for kind in ("line", "linestrip", "line")]
    points = [shape("point", [[1, 2]]), shape("rectangle", [[1, 2], [9, 9]], "__ignore__")]
    annotate(tmp_path, *lines, *points, shape("rectangle", [[10, 5], [30, 20]]))
    boxes, dataset = read(tmp_path)
    assert len(boxes) == 1
    text = "shapes that are no objects are left out: 1 x __ignore__, 2 x line, 1 x linestrip, 1 x"
    assert dataset.repaired[0][1].startswith(text)


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        (shape("rectangle", [[1, 2]]), "must have 2 or more points"),
        (shape("polygon", [[1, 2], [3, 4]]), "must have 3 or more points"),
        (shape("polygon", [[1, 2], [3, 4], ["x", 1]]), "a coordinate must be a number"),
        (shape("polygon", [[1, 2], [3, 4], [10**400, 1]]), "a coordinate must be a number"),
        (shape("polygon", None), "must have 3 or more points"),
        (shape("circle", [[5, 5], [5, 5]]), "a radius must be above 0"),
        (shape("mask", [[0, 0], [3, 3]]), "a mask must be a PNG in base64"),
        (shape("mask", [[0, 0], [3, 3]], mask="AAAA"), "a mask must be a PNG in base64"),
        (
            shape("mask", [[0, 0], [3, 3]], mask=png(np.ones((9, 9), np.uint8))),
            "a mask must have the size of its box. Received: 9 x 9 in a box of 4 x 4",
        ),
        (
            shape("mask", [[90, 0], [93, 3]], mask=png(np.ones((4, 4), np.uint8))),
            "a mask must have pixels in its image",
        ),
        (shape("cuboid", [[1, 2], [3, 4]]), "shape_type must be rectangle, polygon, circle or"),
        (shape("rectangle", [[1, 2], [9, 9]], label=None), "a class must be a name"),
        ("text", "a shape must be an object"),
    ],
)
def test_a_wrong_shape_is_named_and_the_rest_is_read(tmp_path, wrong, reason):
    put(tmp_path, "a.png")
    annotate(tmp_path, shape("rectangle", [[10, 5], [30, 20]]), wrong)
    boxes, dataset = read(tmp_path)
    assert len(boxes) == 1
    ((name, why),) = dataset.skipped
    assert name == "a.json, shape 2" and why.startswith(reason)


def test_a_group_with_a_wrong_shape_is_not_read_in_part(tmp_path):
    put(tmp_path, "a.png")
    good = shape("polygon", [[1, 2], [9, 2], [9, 9]], group_id=3)
    annotate(
        tmp_path,
        good,
        shape("polygon", [[1, 2]], group_id=3),
        shape("rectangle", [[1, 2], [9, 9]]),
    )
    boxes, dataset = read(tmp_path)
    assert len(boxes) == 1
    assert {name for name, _ in dataset.skipped} == {"a.json, shape 1", "a.json, shape 2"}


def test_scores_of_shapes_and_objects_to_ignore_are_said(tmp_path, caplog):
    put(tmp_path, "a.png")
    scored = shape("rectangle", [[10, 5], [30, 20]], score=0.75, flags={"ignore": True})
    annotate(tmp_path, scored, shape("rectangle", [[1, 5], [30, 20]], score=None))
    base.notice_once.cache_clear()
    (boxes,) = (sample.boxes for sample in find_boxes(tmp_path).samples)
    assert [box.difficult for box in boxes] == [True, False]
    assert "1 LabelMe shapes have a score, as results of a detector have" in caplog.text


def test_difficult_is_a_flag(tmp_path):
    put(tmp_path, "a.png")
    flagged = shape("rectangle", [[10, 5], [30, 20]], flags={"difficult": True})
    other = shape("rectangle", [[1, 5], [30, 20]], difficult=True, flags={"ignore": False})
    annotate(tmp_path, flagged, other, shape("rectangle", [[2, 5], [30, 20]], flags={}))
    boxes, _ = read(tmp_path)
    assert [box.difficult for box in boxes] == [True, True, False]


# ---- the image and the file ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "written",
    ["a.png", "..\\images\\a.png", "../images/a.png", "C:\\scans\\a.png", "A.PNG", "gone.png"],
)
def test_the_image_is_found_by_its_path(tmp_path, written):
    put(tmp_path / "images", "a.png", "b.png")
    annotate(tmp_path, shape("rectangle", [[1, 2], [9, 9]]), name="json/a.json", image=written)
    dataset = find_boxes(tmp_path)
    assert [sample.name for sample in dataset.samples] == ["a"]
    noted = any("not imagePath. Received: 'gone.png'" in note for _, note in dataset.repaired)
    assert noted == (written == "gone.png")


def test_another_image_than_the_one_of_its_stem_is_reported(tmp_path):
    put(tmp_path, "a.png", "b.png")
    annotate(tmp_path, shape("rectangle", [[1, 2], [9, 9]]), image="b.png")
    dataset = find_boxes(tmp_path)
    assert [sample.name for sample in dataset.samples] == ["b"]
    note = "its image is imagePath, not a.png. Received: 'b.png'"
    assert dataset.repaired == [("a.json", note)]


def test_of_two_images_of_one_name_the_path_decides(tmp_path):
    put(tmp_path, "p1/a.png", "p2/a.png")
    box = shape("rectangle", [[1, 2], [9, 9]])
    annotate(tmp_path, box, name="json/1.json", image="..\\p2\\a.png")
    annotate(tmp_path, box, box | {"label": "x"}, name="json/2.json", image="..\\p1\\a.png")
    found = {s.name: len(s.boxes) for s in find_boxes(tmp_path).samples}
    assert found == {"p1/a": 2, "p2/a": 1}


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_accents_match_however_they_are_stored(tmp_path, form):
    name = unicodedata.normalize(form, "Müller ß.png")
    other = unicodedata.normalize("NFC" if form == "NFD" else "NFD", "Müller ß.png")
    put(tmp_path, name)
    annotate(tmp_path, shape("rectangle", [[1, 2], [9, 9]]), image=other)
    assert len(find_boxes(tmp_path).samples) == 1


def test_a_file_without_image_is_a_skip(tmp_path):
    put(tmp_path, "a.png", "b.png")
    annotate(tmp_path, shape("rectangle", [[1, 2], [9, 9]]))
    annotate(tmp_path, shape("rectangle", [[1, 2], [9, 9]]), name="gone.json", image="gone.png")
    annotate(tmp_path, shape("rectangle", [[1, 2], [9, 9]]), name="in.json", image="in.jpg",
             imageData="iVBORw0KGgo=")  # fmt: skip
    dataset = find_boxes(tmp_path)
    assert dict(dataset.skipped) == {
        "gone.json": "annotation without image",
        "in.json": "annotation whose image is in its imageData alone: save it as in.png",
        "b.png": "image without boxes",
    }


def test_a_file_without_shapes_is_an_image_that_shows_nothing(tmp_path):
    put(tmp_path, "a.png", "b.png")
    annotate(tmp_path)
    annotate(tmp_path, shape("rectangle", [[1, 2], [9, 9]]), name="b.json", image="b.png")
    assert [len(sample.boxes) for sample in find_boxes(tmp_path).samples] == [0, 1]


def test_without_a_size_the_image_has_it(tmp_path):
    put(tmp_path, "a.png")
    annotate(tmp_path, shape("rectangle", [[10, 5], [30, 20]]), imageHeight=None, imageWidth=None)
    (box,), _ = read(tmp_path)
    assert edges(box) == pytest.approx([5, 10, 20, 30])


def test_another_shape_of_image_is_refused(tmp_path):
    put(tmp_path, "a.png", "b.png")
    annotate(tmp_path, shape("rectangle", [[10, 5], [30, 20]]), imageHeight=90, imageWidth=60)
    annotate(tmp_path, shape("rectangle", [[1, 2], [9, 9]]), name="b.json", image="b.png")
    ((name, reason),) = find_boxes(tmp_path).skipped
    assert name == "a.json" and "must have the size of a.png, 60 x 40" in reason


@pytest.mark.parametrize(
    ("encode", "note"),
    [
        ("utf-8-sig", ""),
        ("utf-16", ""),
        ("cp1252", "the text is not UTF-8; read as Windows-1252"),
    ],
)
def test_encodings_of_text(tmp_path, encode, note):
    put(tmp_path, "Müller.png")
    box = shape("rectangle", [[1, 2], [9, 9]], "Füllung")
    content = {"shapes": [box], "imagePath": "Müller.png", "imageHeight": 40, "imageWidth": 60}
    text = json.dumps(content, ensure_ascii=False)
    (tmp_path / "x.json").write_bytes(text.encode(encode))
    dataset = find_boxes(tmp_path)
    assert dataset.classes == ("Füllung",)
    assert [what for _, what in dataset.repaired] == ([note] if note else [])


@pytest.mark.parametrize("content", [b"", b"{", b"\x81\xff{", b"[" * 100_000])
def test_one_bad_file_is_a_skip_with_the_reason(tmp_path, content):
    put(tmp_path, "a.png", "b.png")
    annotate(tmp_path, shape("rectangle", [[1, 2], [9, 9]]))
    (tmp_path / "b.json").write_bytes(content)
    ((name, reason),) = find_boxes(tmp_path).skipped
    assert name == "b.json" and reason.startswith("must be JSON. Received: ")


def test_coordinates_in_another_unit_are_refused(tmp_path):
    put(tmp_path, "a.png")
    annotate(tmp_path, shape("polygon", [[0.1, 0.2], [0.5, 0.2], [0.5, 0.9]]))
    for find in (find_boxes, find_masks):
        with pytest.raises(dz.DentalzooError, match="must be pixels. Received: all 1 objects lie"):
            find(tmp_path)


# ---- classes -------------------------------------------------------------------------------------


def test_labels_txt_has_the_order_of_the_classes(tmp_path):
    put(tmp_path, "in/a.png")
    annotate(tmp_path / "in", shape("rectangle", [[1, 2], [9, 9]], "Tooth "))
    (tmp_path / "labels.txt").write_text("__ignore__\n_background_\nunused\ntooth\n")
    dataset = find_boxes(tmp_path)
    assert dataset.classes == ("unused", "tooth")
    assert [b.label for b in dataset.samples[0].boxes] == ["tooth"]


def test_a_class_that_labels_txt_lacks_is_the_last_one_and_named(tmp_path):
    put(tmp_path, "a.png")
    annotate(tmp_path, shape("rectangle", [[1, 2], [9, 9]], "A"))
    (tmp_path / "labels.txt").write_text("tooth\n")
    dataset = find_boxes(tmp_path)
    assert dataset.classes == ("tooth", "A")
    assert "the class 'A' is not in the list of classes" in dataset.repaired[0][1]


# ---- masks ---------------------------------------------------------------------------------------


def test_polygons_and_masks_become_a_mask(tmp_path):
    put(tmp_path, "a.png", "b.png")
    square = [[4, 4], [12, 4], [12, 12], [4, 12]]
    crop = png(ring()[5:20, 30:50].astype(np.uint8))
    annotate(
        tmp_path,
        shape("polygon", square),
        shape("mask", [[30, 5], [49, 19]], "filling", mask=crop),
    )
    dataset = find_masks(tmp_path, classes=("tooth", "filling"))
    assert dict(dataset.skipped) == {"b.png": "image without annotation"}
    mask = load(dataset.samples[0], 3)["mask"][..., 0]
    expected = np.where(ring(), 2, 0)
    expected[4:12, 4:12] = 1
    np.testing.assert_array_equal(mask, expected)


def test_folders_are_the_splits_of_masks(tmp_path):
    square = shape("polygon", [[4, 4], [12, 4], [12, 12], [4, 12]])
    for name in ("train/a", "valid/b", "test/c", "test/d"):
        put(tmp_path, f"{name}.png")
        annotate(tmp_path, square, name=f"{name}.json", image=f"{name[-1]}.png")
    found = {sample.name: sample.split for sample in find_masks(tmp_path).samples}
    assert found == {"a": "train", "b": "val", "c": "test", "d": "test"}


def test_an_image_with_an_unreadable_outline_has_no_mask(tmp_path):
    put(tmp_path, "a.png", "b.png")
    good = shape("polygon", [[4, 4], [12, 4], [12, 12], [4, 12]])
    annotate(tmp_path, good)
    annotate(tmp_path, good, shape("polygon", [[1, 2]]), name="b.json", image="b.png")
    dataset = find_masks(tmp_path)
    assert [sample.name for sample in dataset.samples] == ["a"]
    assert dataset.skipped[0][1].startswith("shape 2: must have 3 or more points")


def test_without_a_readable_outline_the_first_reason_is_given(tmp_path):
    put(tmp_path, "a.png")
    annotate(tmp_path, shape("polygon", [[1, 2]]))
    with pytest.raises(dz.DentalzooError, match="a.json: shape 1: must have 3 or more points"):
        find_masks(tmp_path)


@pytest.mark.parametrize(
    ("points", "reason"),
    [
        ([[4, 4], [4.1, 4], [4.1, 9]], "an outline must have an area. Received: 0.1 x 5"),
        ([[64, 4], [72, 4], [72, 12]], "an outline must lie in its image"),
    ],
)
def test_an_outline_that_shows_nothing_is_refused(tmp_path, points, reason):
    put(tmp_path, "a.png", "b.png")
    annotate(tmp_path, shape("polygon", [[4, 4], [12, 4], [12, 12], [4, 12]]))
    annotate(tmp_path, shape("polygon", points), name="b.json", image="b.png")
    dataset = find_masks(tmp_path)
    assert dataset.skipped == [("b.json", f"shape 1: {reason}")]


def test_rectangles_alone_are_no_masks(tmp_path):
    put(tmp_path, "a.png")
    annotate(tmp_path, shape("rectangle", [[1, 2], [9, 9]]))
    with pytest.raises(dz.DentalzooError, match=r"LabelMe JSON \(boxes\), in which there is"):
        find_masks(tmp_path)


# ---- writing -------------------------------------------------------------------------------------


def test_a_project_is_read_back_as_it_was(tmp_path):
    difficult = Box("filling", 0.5, 0.5, 0.75, 1.0, difficult=True)
    samples = make(
        tmp_path / "in", [BOX, FLOAT32, difficult], [TRIANGLE, TWO_PARTS, RING], [TWO_PARTS]
    )
    check_round_trip(labelme, samples, tmp_path / "out")
    lines = (tmp_path / "out" / "images" / "labels.txt").read_text(encoding="utf-8").splitlines()
    assert lines == ["__ignore__", "_background_", "tooth", "filling", "unused", "Krone ä"]


def test_no_file_of_a_project_is_called_unused(tmp_path, caplog):
    write_annotations(labelme, make(tmp_path / "in", [BOX, TRIANGLE]), tmp_path / "out", CLASSES)
    check_nothing_is_called_unused(tmp_path / "out", caplog)


def test_files_are_as_the_tool_writes_them(tmp_path):
    samples = make(tmp_path / "in", [BOX, TWO_PARTS, RING])
    out = tmp_path / "out" / "images"
    assert write_annotations(labelme, samples, out.parent, ["tooth", "Krone ä"]) == out
    # Programs that read each JSON file of the folder meet no other one.
    assert len([*out.glob("*.json")]) == len(samples)
    content = json.loads((out / "Böhm 0.5.json").read_text(encoding="utf-8"))
    assert (out / content["imagePath"]).is_file() and content["imageData"] is None
    kinds = [(s["shape_type"], s["group_id"], len(s["points"])) for s in content["shapes"]]
    assert kinds == [
        ("rectangle", None, 2),
        ("polygon", 2, 3),
        ("polygon", 2, 4),
        ("mask", None, 2),
    ]
    mask = np.asarray(Image.open(io.BytesIO(base64.b64decode(content["shapes"][3]["mask"]))))
    np.testing.assert_array_equal(mask > 0, ring()[5:20, 30:50])
    assert content["shapes"][3]["points"] == [[30, 5], [49, 19]]


def test_names_that_the_tool_keeps_for_itself_are_refused(tmp_path):
    samples = make(tmp_path / "in", [Box("__ignore__", 0.1, 0.1, 0.5, 0.5)])
    with pytest.raises(dz.DentalzooError, match="LabelMe keeps this name for itself"):
        write_annotations(labelme, samples, tmp_path / "out", ["__ignore__"])


def test_an_outline_that_leaves_its_image_is_written_as_it_is(tmp_path):
    over = outlined("tooth", (50, 10, 64, 10, 64, 44, 50, 44))
    samples = make(tmp_path / "in", [replace(over, right=1.0, bottom=1.0)])
    check_round_trip(labelme, samples, tmp_path / "out", ["tooth"])


def test_a_crowd_is_refused(tmp_path):
    samples = make(tmp_path / "in", [Box("tooth", 0.1, 0.1, 0.5, 0.5, crowd=True)])
    with pytest.raises(dz.DentalzooError, match="LabelMe cannot hold all of it.*as a crowd"):
        write_annotations(labelme, samples, tmp_path / "out", ["tooth"])
