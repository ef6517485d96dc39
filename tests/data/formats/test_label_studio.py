"""Label Studio: exports as the tool writes them, and projects that are written and read."""

import json
from dataclasses import replace
from itertools import count
from xml.etree import ElementTree

import numpy as np
import pytest

import dentalzoo as dz
from dentalzoo.data.boxes import find_boxes
from dentalzoo.data.formats import label_studio
from dentalzoo.data.formats.base import Box
from dentalzoo.data.formats.label_studio import brush
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

NUMBERS = count()
SIZE = {"original_width": WIDTH, "original_height": HEIGHT, "image_rotation": 0}
# 4 x 2 pixels, of which the second column is drawn, packed by label-studio-converter
COLUMN = [0, 0, 0, 32, 57, 27, 252, 96, 17, 255, 219, 0, 143, 254, 112, 0]


def region(kind, label="tooth", key=None, **value):
    labels = {kind: [label]} if label else {}
    item = {"type": kind, "from_name": "x", "to_name": "image", "value": value | labels}
    return {"id": key or f"r{next(NUMBERS)}", **SIZE, **item}


def box(left, top, width, height, label="tooth", **more):
    return region("rectanglelabels", label, x=left, y=top, width=width, height=height, **more)


ONE = box(10, 20, 30, 40)


def task(image="/data/upload/1/0a1b2c3d-a.png", *regions, **more):
    annotation = {"id": 1, "was_cancelled": False, "ground_truth": False, "result": [*regions]}
    return {
        "id": 1,
        "data": {"image": image},
        "annotations": [annotation],
        "predictions": [],
        **more,
    }


def export(folder, *tasks, name="project-1-at-2024.json"):
    (folder / name).write_text(json.dumps([*tasks]), encoding="utf-8")


def read(folder):
    return read_only("Label Studio", folder)


# ---- regions -------------------------------------------------------------------------------------


def test_rectangles_are_in_parts_in_a_hundred(tmp_path):
    put(tmp_path, "a.png")
    export(tmp_path, task("a.png", ONE))
    (one,), _ = read(tmp_path)
    assert edges(one) == pytest.approx([8, 6, 24, 24])
    assert (one.label, one.outline) == ("tooth", None)


def test_a_turned_rectangle_turns_clockwise_about_its_first_corner(tmp_path):
    put(tmp_path, "a.png")
    export(tmp_path, task("a.png", box(50, 25, 20, 10, rotation=90)))
    (one,), dataset = read(tmp_path)
    # 12 x 4 pixels at (30, 10) become 4 x 12 to the left of it
    assert one.outline[0] == pytest.approx((30, 10, 30, 22, 26, 22, 26, 10))
    assert edges(one) == pytest.approx([10, 26, 22, 30])
    assert "a turned rectangle is read as a polygon" in dataset.repaired[0][1]


def test_polygons_and_ellipses(tmp_path):
    put(tmp_path, "a.png")
    polygon = region("polygonlabels", points=[[10, 10], [50, 10], [50, 60]], closed=True)
    oval = region("ellipselabels", x=50, y=50, radiusX=10, radiusY=25, rotation=0)
    turned = region("ellipselabels", x=50, y=50, radiusX=10, radiusY=25, rotation=90)
    export(tmp_path, task("a.png", polygon, oval, turned))
    boxes, dataset = read(tmp_path)
    assert boxes[0].outline[0] == pytest.approx((6, 4, 30, 4, 30, 24))
    assert edges(boxes[1]) == pytest.approx([10, 24, 30, 36])
    assert edges(boxes[2]) == pytest.approx([14, 20, 26, 40])
    assert [what for _, what in dataset.repaired] == ["an ellipse is read as a polygon"] * 2


def test_a_brush_has_its_pixels(tmp_path):
    put(tmp_path, "a.png")
    drawn = region("brushlabels", format="rle", rle=brush.encode(ring()))
    export(tmp_path, task("a.png", drawn))
    (one,), _ = read(tmp_path)
    assert one.outline == RING.outline


def test_the_run_lengths_of_a_brush_are_those_of_the_converter():
    inside = np.zeros((2, 4), bool)
    inside[:, 1] = True
    np.testing.assert_array_equal(brush.decode(COLUMN, (2, 4)), inside)


@pytest.mark.parametrize("seed", range(20))
def test_brushes_are_packed_and_unpacked(seed):
    rng = np.random.default_rng(seed)
    shape = rng.integers(1, 60, 2)
    inside = rng.random(shape) < rng.random()
    rle = brush.encode(inside)
    np.testing.assert_array_equal(brush.decode(rle, tuple(shape.tolist())), inside)


def test_a_large_brush_is_packed():
    inside = np.zeros((700, 900), bool)
    inside[300:] = True
    np.testing.assert_array_equal(brush.decode(brush.encode(inside), (700, 900)), inside)


@pytest.mark.parametrize(
    ("rle", "reason"),
    [
        (None, "must be a list of bytes"),
        ([300], "must be a list of bytes"),
        ([], "ends before its last value"),
        (COLUMN[:-3], "ends before its last value"),
        ([255, 255, 255, 255, *COLUMN[4:]], "four values for each pixel, 32. Received: 4,294"),
    ],
)
def test_broken_run_lengths_are_refused(rle, reason):
    with pytest.raises(ValueError, match=reason):
        brush.decode(rle, (2, 4))


def test_labels_may_stand_in_an_item_of_their_own(tmp_path):
    put(tmp_path, "a.png")
    shape = region("rectangle", None, key="r1", x=10, y=20, width=30, height=40, rotation=0)
    label = region("labels", "crown", key="r1", x=10, y=20, width=30, height=40, rotation=0)
    text = region("textarea", None, key="r1", text=["deep"])
    export(tmp_path, task("a.png", shape, label, text))
    (one,), dataset = read(tmp_path)
    assert one.label == "crown" and edges(one) == pytest.approx([8, 6, 24, 24])
    assert dataset.repaired[0][1] == "what is no object is left out: 1 x textarea"


def test_regions_of_one_id_are_all_read(tmp_path):
    put(tmp_path, "a.png")
    two = [box(10, 20, 30, 40, key="1"), box(50, 20, 30, 40, key="1")]
    export(tmp_path, task("a.png", *two))
    boxes, _ = read(tmp_path)
    assert len(boxes) == 2


def test_a_region_of_two_labels_is_two_objects(tmp_path):
    put(tmp_path, "a.png")
    both = box(10, 20, 30, 40)
    both["value"]["rectanglelabels"] = ["tooth", "filling"]
    export(tmp_path, task("a.png", both))
    boxes, dataset = read(tmp_path)
    assert [one.label for one in boxes] == ["tooth", "filling"]
    assert "a region of several labels is an object of each" in dataset.repaired[0][1]


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        (box(10, 20, 30, 40, None), "a region must have a label"),
        (box("x", 20, 30, 40), "a coordinate must be a number"),
        (region("polygonlabels", points=[[1, 2]]), "must have 3 or more points"),
        (region("polygonlabels", points=[[1, 2]] * 3, closed=False), "must be closed"),
        (region("brushlabels", rle=[1, 2]), "rle ends before its last value"),
        (box(10, 20, 30, 41) | {"image_rotation": 90}, "image_rotation must be 0"),
        (box(10, 20, 30, 41) | {"item_index": 1}, "a region must be on the first image"),
        (box(10, 20, 30, 41) | {"original_width": 99}, "must have one original size"),
        (region("timeserieslabels", start=1, end=2), "a region must be a rectangle, polygon"),
        (["a list"], "a region must be an object"),
    ],
)
def test_a_wrong_region_is_named_and_the_rest_is_read(tmp_path, wrong, reason):
    put(tmp_path, "a.png")
    export(tmp_path, task("a.png", ONE, wrong))
    boxes, dataset = read(tmp_path)
    assert len(boxes) == 1
    ((name, why),) = dataset.skipped
    assert name == "project-1-at-2024.json: task 1, a.png, region 2" and reason in why


def test_relations_part_of_join_polygons(tmp_path):
    put(tmp_path, "a.png")
    parts = [
        region("polygonlabels", key=f"p{x}", points=[[x, 10], [x + 9, 10], [x, 60]])
        for x in (10, 30, 50)
    ]
    link = {"type": "relation", "from_id": "p30", "to_id": "p10", "labels": ["part of"]}
    other = {"type": "relation", "from_id": "p50", "to_id": "p10", "labels": ["beside"]}
    export(tmp_path, task("a.png", *parts, link, other))
    boxes, dataset = read(tmp_path)
    assert [len(one.outline) for one in boxes] == [2, 1]
    assert dataset.repaired[0][1] == "what is no object is left out: 1 x relation"


# ---- images --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "written",
    [
        "/data/upload/1/0a1b2c3d-scan_1_b.png",  # blanks and brackets are lost on upload
        "/data/local-files/?d=data%2Fscan%201%20%28b%29.png",
        "/data/local-files/?d=images/scan 1 (b).png",
        "s3://bucket/opg/scan%201%20(b).png",
        "https://host:80/x/scan%201%20(b).png?X-Amz-Date=1",
        "C:\\scans\\scan 1 (b).png",
        "scan 1 (b).png",
    ],
)
def test_the_image_is_found_by_its_name(tmp_path, written):
    put(tmp_path / "images", "scan 1 (b).png", "other.png")
    export(tmp_path, task(written, ONE))
    dataset = find_boxes(tmp_path)
    assert [sample.name for sample in dataset.samples] == ["scan 1 (b)"]


def test_a_name_that_begins_like_an_upload_is_its_own(tmp_path):
    put(tmp_path, "0a1b2c3d-a.png", "a.png")
    export(tmp_path, task("/data/upload/1/0a1b2c3d-a.png", ONE))
    assert [sample.name for sample in find_boxes(tmp_path).samples] == ["0a1b2c3d-a"]


def test_tasks_without_an_image_are_skipped(tmp_path):
    put(tmp_path, "a.png", "b.png")
    text = {"id": 2, "data": {"text": "a report"}, "annotations": [{"result": []}]}
    pair = task("a.png", ONE)
    pair["data"]["second"] = "b.png"
    export(tmp_path, task("a.png", ONE), text, task("gone.png", ONE), pair)
    name = "project-1-at-2024.json: task"
    assert dict(find_boxes(tmp_path).skipped) == {
        f"{name} 2": "annotation without image",
        f"{name} 3, gone.png": "annotation without image",
        f"{name} 4, b.png": "a task of 2 images",
    }


# ---- annotations, predictions --------------------------------------------------------------------


def result(*regions, **more):
    return {"result": [*regions], "was_cancelled": False, **more}


def label_of(folder, **more):
    """Return the label of the only object of the task of these annotations, and the notes."""
    put(folder, "a.png", "b.png")
    export(folder, {"data": {"image": "a.png"}, **more})
    dataset = find_boxes(folder)
    (one,) = dataset.samples[0].boxes
    return one.label, [what for _, what in dataset.repaired]


def test_of_several_annotations_the_first_that_was_not_cancelled_counts(tmp_path):
    a, b, c = (result(box(10, 20, 30, 40, label)) for label in "abc")
    label, notes = label_of(tmp_path, annotations=[a | {"was_cancelled": True}, b, c])
    assert (label, notes) == ("b", ["2 annotations of a task; the first one counts"])
    label, notes = label_of(tmp_path, annotations=[a, b, c | {"ground_truth": True}])
    assert label == "c" and "the one marked as ground truth counts" in notes[0]
    assert label_of(tmp_path, completions=[a])[0] == "a"  # before version 1.0


def test_predictions_are_read_where_nothing_else_is_there(tmp_path):
    guess = result(box(10, 20, 30, 40, "guess"), model_version="unet-3", score=0.5)
    label, notes = label_of(tmp_path, annotations=[], predictions=[guess, guess])
    assert label == "guess"
    assert notes == ["a prediction of 'unet-3', not an annotation; the first of 2 counts"]
    label, notes = label_of(tmp_path, annotations=[result(ONE)], predictions=[guess])
    assert (label, notes) == ("tooth", [])


def test_tasks_that_are_not_annotated_are_named(tmp_path):
    put(tmp_path, *(f"{n}.png" for n in "abcdef"))
    guess = [result(box(10, 20, 30, 40, "guess"))]
    export(
        tmp_path,
        task("a.png", ONE),
        task("b.png"),
        task("c.png", annotations=[]),
        task("d.png", annotations=[], predictions=guess),
        task("e.png", annotations=[result(ONE) | {"was_cancelled": True}]),
        task("f.png", annotations=[], drafts=[result(ONE)]),
    )
    dataset = find_boxes(tmp_path)
    assert [(s.name, len(s.boxes)) for s in dataset.samples] == [("a", 1), ("b", 0)]
    reasons = [reason for _, reason in dataset.skipped]
    assert reasons == [
        "a task without annotation",
        "a task with predictions alone, beside tasks with annotations",
        "the annotation was cancelled",
        "a task with a draft alone",
    ]


def test_the_short_export(tmp_path):
    put(tmp_path, "a.png", "b.png")
    shape = {"x": 10, "y": 20, "width": 30, "height": 40, "rotation": 0}
    size = {"original_width": WIDTH, "original_height": HEIGHT}
    both = {"label": [shape | {"rectanglelabels": ["tooth"]} | size]}
    apart = {"box": [shape | size], "name": [shape | size | {"labels": ["crown"]}]}
    common = {"id": 1, "annotator": 1, "annotation_id": 1, "choice": "good", "notes": ["a note"]}
    export(
        tmp_path,
        {"image": "/data/upload/1/0a1b2c3d-a.png", **both, **common},
        {"image": "/data/upload/1/0a1b2c3d-b.png", **apart, **common},
    )
    dataset = find_boxes(tmp_path)
    assert not dataset.skipped
    for sample, label in zip(dataset.samples, ("tooth", "crown"), strict=True):
        assert [one.label for one in sample.boxes] == [label]
        assert edges(sample.boxes[0]) == pytest.approx([8, 6, 24, 24])


def test_splits_are_named_by_tasks_or_files(tmp_path):
    put(tmp_path, "a.png", "b.png", "c.png")
    own = task("a.png", ONE)
    own["data"]["split"] = "valid"
    export(tmp_path, own, task("b.png", ONE), name="train.json")
    export(tmp_path, task("c.png", ONE), name="test.json")
    found = {s.name: s.split for s in find_boxes(tmp_path).samples}
    assert found == {"a": "val", "b": "train", "c": "test"}


def test_one_task_or_one_annotation_in_a_file(tmp_path):
    put(tmp_path, "a.png", "b.png")
    (tmp_path / "1.json").write_text(json.dumps(task("a.png", ONE)))
    stored = {"id": 3, "task": {"id": 1, "data": {"image": "b.png"}}, **result(ONE)}
    (tmp_path / "2.json").write_text(json.dumps(stored))
    assert [sample.name for sample in find_boxes(tmp_path).samples] == ["a", "b"]


@pytest.mark.parametrize("wrong", [5, {"result": 3}, {"result": None}])
def test_broken_tasks_are_named(tmp_path, wrong):
    put(tmp_path, "a.png", "b.png")
    broken = {"data": {"image": "b.png"}, "annotations": [wrong]} if wrong != 5 else wrong
    export(tmp_path, task("a.png", ONE), broken)
    name, reason = find_boxes(tmp_path).skipped[0]
    assert name.startswith("project-1-at-2024.json: task 2")
    assert reason.startswith(("result must be a list", "a task must be an object"))


def test_a_broken_file_is_named(tmp_path):
    put(tmp_path, "a.png")
    export(tmp_path, task("a.png", ONE))
    (tmp_path / "second.json").write_text('[{"id": 1, "data"')
    ((name, reason),) = find_boxes(tmp_path).skipped
    assert name == "second.json" and reason.startswith("must be JSON. Received: ")


def test_values_in_another_unit_are_refused(tmp_path):
    put(tmp_path, "a.png")
    export(tmp_path, task("a.png", box(0.1, 0.2, 0.3, 0.4)))
    with pytest.raises(dz.DentalzooError, match="must be parts in a hundred of the image"):
        find_boxes(tmp_path)


# ---- classes, masks ------------------------------------------------------------------------------


def test_the_labeling_configuration_has_the_order_of_the_classes(tmp_path):
    put(tmp_path, "a.png")
    export(tmp_path, task("a.png", ONE))
    config = "<View><Image name='i' value='$image'/><RectangleLabels name='x' toName='i'>"
    config += "<Label value='unused'/><Label value='tooth' background='red'/></RectangleLabels>"
    (tmp_path / "interface.xml").write_text(config + "</View>")
    assert find_boxes(tmp_path).classes == ("unused", "tooth")


def test_brushes_become_masks(tmp_path):
    put(tmp_path, "a.png")
    drawn = region("brushlabels", format="rle", rle=brush.encode(ring()))
    export(tmp_path, task("a.png", drawn))
    mask = load(find_masks(tmp_path).samples[0])["mask"][..., 0]
    np.testing.assert_array_equal(mask == 1, ring())


# ---- writing -------------------------------------------------------------------------------------


def test_a_project_is_read_back_as_it_was(tmp_path):
    samples = make(
        tmp_path / "in", [BOX, FLOAT32], [TRIANGLE, TWO_PARTS, RING], [TWO_PARTS, TWO_PARTS]
    )
    samples[2] = replace(samples[2], boxes=(TWO_PARTS, BOX))
    check_round_trip(label_studio, samples, tmp_path / "out")


def test_predictions_are_written_as_such_and_annotations_win(tmp_path):
    scored = replace(BOX, score=0.75)
    samples = make(tmp_path / "in", [scored], splits=("train",))
    out = tmp_path / "out"
    path = write_annotations(label_studio, samples, out, CLASSES)
    tasks = json.loads(path.read_text(encoding="utf-8"))
    assert [len(one["annotations"]) for one in tasks] == [0, 0]
    prediction = tasks[0]["predictions"][0]
    assert prediction["score"] == prediction["result"][0]["score"] == 0.75
    dataset = find_boxes(out)
    assert [len(sample.boxes) for sample in dataset.samples] == [1, 0]
    assert "a prediction of 'dentalzoo', not an annotation" in dataset.repaired[0][1]
    for one in tasks:  # corrected in the tool and exported again
        one["annotations"] = [result(ONE)]
    path.write_text(json.dumps(tasks))
    dataset = find_boxes(out)
    assert not dataset.repaired and [len(sample.boxes) for sample in dataset.samples] == [1, 1]
    assert edges(dataset.samples[0].boxes[0]) == pytest.approx([8, 6, 24, 24])


def test_no_file_of_a_project_is_called_unused(tmp_path, caplog):
    write_annotations(
        label_studio, make(tmp_path / "in", [BOX, TRIANGLE]), tmp_path / "out", CLASSES
    )
    check_nothing_is_called_unused(tmp_path / "out", caplog)


def test_files_are_as_the_tool_imports_them(tmp_path):
    samples = make(tmp_path / "in", [BOX, TWO_PARTS, RING])
    out = tmp_path / "out"
    path = write_annotations(label_studio, samples, out, CLASSES)
    assert path == out / "tasks.json"
    first = json.loads(path.read_text(encoding="utf-8"))[0]
    assert first["data"] == {
        "image": "/data/local-files/?d=images/B%C3%B6hm%200.5.png",
        "split": "train",
    }
    kinds = [item["type"] for item in first["annotations"][0]["result"]]
    assert kinds == ["rectanglelabels", *["polygonlabels"] * 2, "brushlabels", "relation"]
    names = [item.get("from_name") for item in first["annotations"][0]["result"]]
    view = ElementTree.parse(out / "config.xml").getroot()
    assert {name for name in names if name} <= {tag.get("name") for tag in view}
    for tag in ("RectangleLabels", "PolygonLabels", "BrushLabels"):
        assert [label.get("value") for label in view.find(tag)] == CLASSES


def test_difficult_and_crowd_are_refused(tmp_path):
    one = Box("tooth", 0.1, 0.1, 0.5, 0.5, crowd=True, difficult=True)
    samples = make(tmp_path / "in", [one])
    with pytest.raises(
        dz.DentalzooError, match="1 objects marked difficult .*; 1 objects marked as a"
    ):
        write_annotations(label_studio, samples, tmp_path / "out", ["tooth"])


def test_files_of_a_split_count_before_one_of_all_images(tmp_path):
    put(tmp_path, "a.png", "b.png")
    for name, shown in (("all", ("a.png", "b.png")), ("train", ["a.png"]), ("test", ["b.png"])):
        export(tmp_path, *(task(one, ONE) for one in shown), name=f"{name}.json")
    assert {s.name: s.split for s in find_boxes(tmp_path).samples} == {"a": "train", "b": "test"}
