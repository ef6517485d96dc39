"""COCO files as tools write them, what is refused in them, and writing, read by pycocotools."""

import json
import logging
import time

import numpy as np
import pytest

from dentalzoo.data.boxes import find_boxes
from dentalzoo.data.formats import base, coco
from dentalzoo.data.formats.base import Box, BoxSample, RunLengths
from dentalzoo.data.formats.coco.writer import compress
from dentalzoo.data.formats.outlines import count_runs
from dentalzoo.data.formats.writing import write_annotations
from dentalzoo.data.masks import find_masks, load
from dentalzoo.errors import BadFile, DentalzooError
from tests.data.formats import tool_samples
from tests.data.formats.test_voc import HEIGHT, WIDTH, pixels
from tests.data.test_images import by_split, put

SQUARE = [12, 9, 36, 9, 36, 27, 12, 27]
BOX = {"bbox": [12, 9, 24, 18], "segmentation": [SQUARE], "iscrowd": 0, "area": 432}


@pytest.fixture(autouse=True)
def _notices_anew():
    base.notice_once.cache_clear()


def content(names, annotations, categories=("Crown", "Implant"), first=1, **more):
    """The content of a file; `annotations` are (image index, category id, the rest)."""
    return {
        "images": [
            {"id": i, "file_name": name, "width": WIDTH, "height": HEIGHT}
            for i, name in enumerate(names)
        ],
        "categories": [{"id": i, "name": c} for i, c in enumerate(categories, first)],
        "annotations": [
            {"id": i, "image_id": image, "category_id": category, **rest}
            for i, (image, category, rest) in enumerate(annotations, 1)
        ],
        **more,
    }


def save(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")


# ---- which files ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("file", "image", "file_name"),
    [
        ("annotations/instances_default.json", "images/default/a.png", "a.png"),  # CVAT
        ("annotations/instances_default.json", "images/default/sub/a.png", "sub/a.png"),
        ("result.json", "images/0a1b2c3d-a.png", "images/0a1b2c3d-a.png"),  # Label Studio
        ("result.json", "images/a.png", "/data/upload/4/0a1b2c3d-a.png"),
        ("result.json", "images/a.png", "..\\..\\label-studio\\media\\upload\\4\\cb0618f6-a.png"),
        ("result.json", "images/my film.png", "/data/local-files/?d=films/my%20film.png"),
        ("result.json", "a.png", "https://example.org/films/a.png?token=1/2"),
        ("annotations/instances_train2017.json", "train2017/a.png", "a.png"),
        ("train/_annotations.coco.json", "train/a_png.rf.0a1b.png", "a_png.rf.0a1b.png"),
        ("labels.json", "data/a.png", "../data/a.png"),  # FiftyOne
        ("export.json", "images/a.png", "C:\\films\\a.png"),
        ("export.json", "images/a.png", "a"),
    ],
)
def test_files_are_known_by_their_keys_and_images_by_their_names(tmp_path, file, image, file_name):
    put(tmp_path, image)
    save(tmp_path / file, content([file_name], [(0, 1, BOX)]))
    found = find_boxes(tmp_path)
    assert found.format == "COCO" and found.classes == ("Crown", "Implant")
    assert [pixels(box) for box in found.samples[0].boxes] == [(12, 9, 36, 27)]
    assert found.skipped == [] and found.repaired == []
    masks = find_masks(tmp_path)
    assert load(masks.samples[0])["mask"].sum() == 24 * 18 and masks.skipped == []


def test_the_name_of_the_file_is_the_split(tmp_path):
    put(tmp_path, "images/a.png", "images/b.png")
    for split, name in (("train", "a.png"), ("val", "b.png")):
        save(tmp_path / "annotations" / f"instances_{split}.json", content([name], [(0, 1, BOX)]))
    assert by_split(find_boxes(tmp_path)) == {"train": ["a"], "val": ["b"]}
    assert {s.name: s.split for s in find_masks(tmp_path).samples} == {"a": "train", "b": "val"}


def test_images_of_one_name_in_subfolders_are_told_apart(tmp_path):
    put(tmp_path, "images/default/one/a.png", "images/default/two/a.png")
    both = content(["one/a.png", "two/a.png"], [(0, 1, BOX), (1, 2, BOX)])
    save(tmp_path / "annotations" / "instances_default.json", both)
    found = find_boxes(tmp_path)
    assert {s.image.parent.name: s.boxes[0].label for s in found.samples} == {
        "one": "Crown",
        "two": "Implant",
    }


def test_a_name_without_a_suffix_must_mean_one_image(tmp_path):
    put(tmp_path, "images/a.png", "images/a.jpg", "images/b.png")
    save(tmp_path / "export.json", content(["a", "b"], [(0, 1, BOX), (1, 1, BOX)]))
    found = find_boxes(tmp_path)
    assert [s.name for s in found.samples] == ["b"]
    assert ("export.json: a", "boxes of 2 images of one name") in found.skipped


POSE = {**BOX, "keypoints": [20, 20, 2], "num_keypoints": 1}
RESULT = {"image_id": 0, "category_id": 1, "bbox": [1, 2, 3, 4], "score": 0.5}


@pytest.mark.parametrize(
    ("name", "other", "kind"),
    [
        ("captions_train.json", content(["a.png"], [(0, 1, {"caption": "teeth"})]), "captions"),
        ("person_keypoints_default.json", content(["a.png"], [(0, 1, POSE)]), "keypoints"),
        ("panoptic.json", content(["a.png"], [(0, 1, {"segments_info": []})]), "panoptic"),
        ("stuff_train.json", content(["a.png"], [(0, 1, BOX)]), "stuff"),
        ("detections.json", [RESULT], "results"),
        ("image_info.json", {"images": [], "categories": []}, "lists of images"),
    ],
)
def test_other_files_of_coco_are_named_and_not_data(tmp_path, caplog, name, other, kind):
    caplog.set_level(logging.INFO, "dentalzoo")
    put(tmp_path, "images/a.png")
    save(tmp_path / name, other)
    with pytest.raises(DentalzooError, match=f"found COCO {kind} \\({name}\\)"):
        find_boxes(tmp_path)
    save(tmp_path / "instances.json", content(["a.png"], [(0, 2, BOX)]))
    found = find_boxes(tmp_path)
    assert [box.label for box in found.samples[0].boxes] == ["Implant"] and found.skipped == []
    assert f"{tmp_path}: {name}: not used, COCO {kind}" in caplog.messages


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('{"images": [], "annotations": [', "must be JSON"),
        ('{"images": [], "annotations": []}', "must have categories"),
    ],
)
def test_a_damaged_file_is_named(tmp_path, text, reason):
    put(tmp_path, "images/a.png")
    (tmp_path / "instances_default.json").write_text(text)
    with pytest.raises(DentalzooError, match=f"first skipped: instances_default.json: {reason}"):
        find_boxes(tmp_path)


def test_nothing_that_is_used_is_said_to_be_unused(tmp_path, caplog):
    caplog.set_level(logging.INFO, "dentalzoo")
    put(tmp_path, "a.png")
    save(tmp_path / "_annotations.coco.json", content(["a.png"], [(0, 1, BOX)]))
    find_masks(tmp_path)
    find_boxes(tmp_path)
    assert not [line for line in caplog.messages if "not used" in line]


# ---- what is read and what is refused ------------------------------------------------------------


def test_ids_may_be_texts_start_at_0_and_have_gaps(tmp_path):
    put(tmp_path, "a.png", "b.png")
    one = content(["a.png", "b.png"], [(0, "0", BOX), ("1", 7.0, BOX), (0, "x", BOX)])
    names = {0: "Crown", "7": "Root", "x": "Gap", 3: "Unused"}
    one["categories"] = [{"id": key, "name": name} for key, name in names.items()]
    one["annotations"][2]["bbox"] = [1, 1, 9, 9]
    save(tmp_path / "result.json", one)
    found = find_boxes(tmp_path)
    assert found.classes == ("Crown", "Unused", "Root", "Gap")
    assert [[b.label for b in s.boxes] for s in found.samples] == [["Crown", "Gap"], ["Root"]]


@pytest.mark.parametrize("category", [{"category_id": None}, {}])
def test_an_annotation_without_a_category_is_named_by_its_id(tmp_path, category):
    put(tmp_path, "a.png", "b.png")
    one = content(["a.png", "b.png"], [(0, 1, BOX), (0, 1, BOX), (1, 1, BOX)])
    del one["annotations"][1]["category_id"]
    one["annotations"][1] |= {"id": 42, "bbox": [1, 1, 9, 9], **category}
    save(tmp_path / "result.json", one)
    found = find_boxes(tmp_path)
    assert [len(s.boxes) for s in found.samples] == [1, 1]
    reason = "category_id must be the id of a category. Received: none"
    assert found.skipped == [("result.json: a.png, annotation 42", reason)]
    masks = find_masks(tmp_path)  # a mask without an object is wrong
    assert [s.name for s in masks.samples] == ["b"]
    assert masks.skipped == [("result.json: a.png, annotation 42", reason)]


def changed(**changes):
    one = content(["a.png"], [(0, 1, BOX)])
    for key, value in changes.items():
        if isinstance(value, dict):
            one[key][0] |= value
        else:
            one[key] = value
    return one


@pytest.mark.parametrize(
    ("one", "reason"),
    [
        (changed(categories={"id": None}), "must be COCO JSON"),
        (changed(categories={"id": [1]}), "must be COCO JSON"),
        (changed(categories=[{"id": 1, "name": "a"}, {"id": 1, "name": "b"}]), "an id twice"),
        (changed(images={"file_name": None}), "must be COCO JSON"),
        (changed(images=[None]), "must be COCO JSON"),
        (changed(annotations=[None]), "must be COCO JSON"),
        (changed(annotations=3), "must be COCO JSON"),
        (changed(annotations={"image_id": 5}), "image_id 5"),
        (changed(annotations={"category_id": 9}), "category_id 9"),
        (changed(annotations={"bbox": [0.1, 0.1, 0.2, 0.2]}), "all 1 boxes lie in"),
        (
            changed(annotations={"segmentation": [[0.1, 0.1, 0.2, 0.1, 0.2, 0.2]]}),
            "all 1 polygons lie in",
        ),
        (
            content(
                ["a.png"],
                [(0, 1, {"bbox": [70, 50, 110, 80]}), (0, 1, {"bbox": [10, 10, 30, 40]})],
            ),
            "as .left, top, right, bottom. alone. Received: 1 of 2 boxes",
        ),
    ],
)
def test_what_contradicts_itself_is_refused_in_one_line(tmp_path, one, reason):
    put(tmp_path, "a.png")
    save(tmp_path / "result.json", one)
    for find in (find_boxes, find_masks):
        with pytest.raises(BadFile, match=reason) as caught:
            find(tmp_path)
        assert "\n" not in str(caught.value)


def test_boxes_with_areas_of_their_own_are_no_corners(tmp_path):
    """One box is cut off at the border; all would fit as corners."""
    put(tmp_path, "a.png")
    boxes = [[70, 50, 75, 60], [10, 10, 30, 40]]
    entries = [(0, 1, {"bbox": box, "area": box[2] * box[3]}) for box in boxes]
    save(tmp_path / "result.json", content(["a.png"], entries))
    assert len(find_boxes(tmp_path).samples[0].boxes) == 1


@pytest.mark.parametrize(
    "outline", [3.5, {"size": [9, 9]}, [{"a": 1}], [[{}, 1]], "text", {"size": "x", "counts": None}]
)
def test_an_outline_of_another_kind_is_named(tmp_path, outline):
    put(tmp_path, "a.png", "b.png")
    entries = [(0, 1, BOX), (0, 1, {"bbox": [1, 1, 9, 9], "segmentation": outline})]
    save(tmp_path / "result.json", content(["a.png"], entries))
    found = find_boxes(tmp_path, outlines=True)
    assert len(found.samples[0].boxes) == 1
    assert [name for name, _ in found.skipped][-1].endswith("a.png, box 2")
    with pytest.raises(BadFile, match="outline 2 of an image is invalid"):
        load(find_masks(tmp_path).samples[0])


def test_a_missing_box_is_the_extent_of_the_outline(tmp_path):
    put(tmp_path, "a.png")
    flat = {"segmentation": SQUARE}
    none = {"segmentation": [SQUARE], "bbox": []}
    save(tmp_path / "result.json", content(["a.png"], [(0, 1, flat), (0, 2, none)]))
    found = find_boxes(tmp_path, outlines=True)
    assert [pixels(b) for b in found.samples[0].boxes] == [(12, 9, 36, 27)] * 2
    assert [what for _, what in found.repaired] == [
        "a polygon without the list around it",
        "no bbox; the extent of the outline is taken",
        "no bbox; the extent of the outline is taken",
    ]


def test_what_is_odd_is_said(tmp_path):
    put(tmp_path, "a.png")
    one = content(["a.png"], [(0, 1, BOX), (0, 2, BOX)], ("Crown", "Crown"))
    one["annotations"][1] |= {"id": 1, "bbox": [50, 40, -20, -10], "iscrowd": 1.0}
    save(tmp_path / "result.json", one)
    found = find_boxes(tmp_path)
    assert [(pixels(b), b.crowd) for b in found.samples[0].boxes] == [
        ((12, 9, 36, 27), False),
        ((30, 30, 50, 40), True),
    ]
    assert [what.partition(".")[0] for _, what in found.repaired] == [
        "1 annotation ids twice, such as 1",
        "2 categories are called 'Crown'; they are one class",
        "edges exchanged: the lower end came first",
    ]


def test_ids_of_categories_and_images_are_kept(tmp_path):
    put(tmp_path, "images/a.png", "images/b.png")
    one = content(["a.png", "b.png"], [(0, 8, BOX), (1, 7, BOX)], first=7)
    one["images"][1]["id"] = one["annotations"][1]["image_id"] = 31
    save(tmp_path / "instances_train.json", one)
    found = find_boxes(tmp_path, classes=("Implant", "Crown"))
    assert found.category_ids == {"Implant": 8, "Crown": 7}
    assert found.image_ids == {"a": 0, "b": 31}
    save(tmp_path / "instances_val.json", content([], [], first=1))  # no image: not used
    assert find_boxes(tmp_path).category_ids == {"Crown": 7, "Implant": 8}
    put(tmp_path, "images/c.png")
    save(tmp_path / "instances_val.json", content(["c.png"], [(0, 1, BOX)], first=1))
    found = find_boxes(tmp_path)
    assert found.category_ids == {} and found.image_ids == {}  # the files contradict each other


# ---- writing -------------------------------------------------------------------------------------


def test_compressed_run_lengths_agree_with_pycocotools():
    from pycocotools import mask as reference

    rng = np.random.default_rng(0)
    for density in (0.002, 0.02, 0.5, 0.98, 1):
        inside = rng.random((61, 183)) < density
        text = reference.encode(np.asfortranarray(inside.astype(np.uint8)))["counts"].decode()
        assert compress(count_runs(inside)) == text


def objects():
    inside = np.zeros((HEIGHT, WIDTH), bool)
    inside[20:40, 30:60] = True
    inside[25:30, 35:50] = False
    runs = RunLengths(HEIGHT, WIDTH, tuple(count_runs(inside)))
    box = (0.1, 0.2, 0.5, 0.6)
    ring = Box("Gap", 20 / HEIGHT, 30 / WIDTH, 40 / HEIGHT, 60 / WIDTH, outline=runs)
    parts = ((12.25, 9.5, 36.1, 9.7, 30.3, 27.9), (40.5, 9.5, 50.5, 9.5, 50.5, 20))
    edges = (9.5 / HEIGHT, 12.25 / WIDTH, 27.9 / HEIGHT, 50.5 / WIDTH)
    drawn = Box("Crown", *edges, outline=parts, score=0.25)
    return (Box("Crown", *box), ring, drawn, Box("Gap", *box, crowd=True)), inside


def comparable(sample):
    return [
        (
            b.label,
            b.crowd,
            np.round((b.top, b.left, b.bottom, b.right), 9).tolist(),
            b.outline
            if b.outline is None or isinstance(b.outline, RunLengths)
            else [np.round(p, 9).tolist() for p in b.outline],
        )
        for b in sample.boxes
    ]


@pytest.mark.parametrize("splits", [("train", "val", "test"), ("", "", "")])
def test_what_is_written_is_read_again_here_and_by_pycocotools(tmp_path, splits):
    from pycocotools.coco import COCO

    put(tmp_path, "in/a.png", "in/b.png", "in/c.png")
    boxes, inside = objects()
    samples = [
        BoxSample(name, tmp_path / "in" / f"{name}.png", own, name, split)
        for name, split, own in zip("abc", splits, (boxes, (), boxes[:1]), strict=True)
    ]
    classes = ("Crown", "Filling", "Gap")
    opened = write_annotations(coco, samples, tmp_path / "out", classes)
    again = find_boxes(tmp_path / "out", outlines=True, val_fraction=0)
    assert again.classes == classes and again.skipped == [] and again.repaired == []
    assert {s.name: comparable(s) for s in again.samples} == {
        s.name: comparable(s) for s in samples
    }
    assert {s.name: s.split for s in again.samples} == {s.name: s.split or "train" for s in samples}
    file = opened / "instances_train.json" if splits[0] else opened
    api = COCO(file)
    (image,) = (one for one in api.loadImgs(api.getImgIds()) if one["file_name"] == "a.png")
    listed = api.loadAnns(api.getAnnIds(image["id"]))
    assert [api.cats[one["category_id"]]["name"] for one in listed] == [b.label for b in boxes]
    assert np.array_equal(api.annToMask(listed[1]), inside) and listed[1]["area"] == inside.sum()
    assert listed[2]["score"] == 0.25 and listed[3]["iscrowd"] == 1
    np.testing.assert_allclose(listed[2]["area"], 218.52 + 52.5, rtol=0.01)
    assert [c["name"] for c in api.loadCats(api.getCatIds())] == [*classes]


def test_every_kind_of_object_comes_back(tmp_path):
    crowd = tool_samples.outlined("tooth", (3, 4, 20, 6, 11, 30), crowd=True)
    boxes = (tool_samples.BOX, tool_samples.TRIANGLE, tool_samples.TWO_PARTS, tool_samples.RING)
    samples = tool_samples.make(tmp_path / "in", boxes, (crowd,), (tool_samples.RING,))
    tool_samples.check_round_trip(coco, samples, tmp_path / "out")


def test_some_images_without_a_split_are_refused(tmp_path):
    put(tmp_path, "in/a.png")
    samples = [
        BoxSample(n, tmp_path / "in" / "a.png", (), n, s) for n, s in (("a", ""), ("b", "val"))
    ]
    with pytest.raises(DentalzooError, match="a split for every image or for none"):
        write_annotations(coco, samples, tmp_path / "out", ["x"])


def test_many_annotations_are_read_fast(tmp_path):
    put(tmp_path, "images/0.png")
    entries = [
        (0, 1 + i % 2, {**BOX, "bbox": [i % 90, 9, 24 + i / 1e5, 18]}) for i in range(20_000)
    ]
    save(tmp_path / "instances.json", content(["0.png"], entries))
    start = time.process_time()
    parsed = coco.read(coco_tree(tmp_path), "boxes")
    assert len(next(iter(parsed.annotations.values())).boxes) == 20_000
    assert time.process_time() - start < 5.0  # 0.5 s where it was measured


def coco_tree(root):
    from dentalzoo.data.formats.tree import scan

    return scan(root)


@pytest.mark.parametrize("purpose", [find_boxes, find_masks])
def test_boxes_that_are_the_corners_of_their_polygons_are_refused(tmp_path, purpose):
    put(tmp_path, "a.png")
    corners = {"bbox": [12, 9, 36, 27], "segmentation": [SQUARE]}  # both fit into the image
    save(tmp_path / "a.json", content(["a.png"], [(0, 1, corners)]))
    with pytest.raises(BadFile, match="most are the corners of their polygons. Received: 1 of 1"):
        purpose(tmp_path)


def test_boxes_that_contradict_their_polygons_are_said(tmp_path):
    put(tmp_path, "a.png")
    others = [(0, 1, BOX | {"bbox": [60 + i, 9, 24, 18]}) for i in range(5)]
    save(tmp_path / "a.json", content(["a.png"], [(0, 1, BOX), *others]))
    said = ("a.json", "5 of 6 boxes are not the extent of their polygons; both are kept")
    assert said in find_boxes(tmp_path).repaired


def test_a_list_of_points_is_one_polygon(tmp_path):
    put(tmp_path, "a.png")
    points = BOX | {"segmentation": [[12, 9], [36, 9], [36, 27], [12, 27]]}
    save(tmp_path / "a.json", content(["a.png"], [(0, 1, points)]))
    assert load(find_masks(tmp_path).samples[0])["mask"].sum() == 24 * 18


def test_files_of_a_split_count_before_one_of_all_images(tmp_path):
    names = [f"{i}.png" for i in range(4)]
    put(tmp_path, *names)
    for name, kept in (("all", names), ("train", names[:2]), ("val", names[2:3]), ("test", names)):
        kept = names[3:] if name == "test" else kept
        save(tmp_path / f"{name}.json", content(kept, [(i, 1, BOX) for i in range(len(kept))]))
    expected = {"train": ["0", "1"], "val": ["2"], "test": ["3"]}
    assert by_split(find_boxes(tmp_path)) == expected
    assert by_split(find_masks(tmp_path)) == expected


def test_names_of_images_may_differ_in_case_and_a_background_is_no_class(tmp_path):
    put(tmp_path, "images/A.PNG")
    one = content(["a.png"], [(0, 1, BOX)], ("_background_", "Crown"), first=0)
    save(tmp_path / "a.json", one)
    found = find_boxes(tmp_path)
    assert [sample.name for sample in found.samples] == ["A"] and found.classes == ("Crown",)


# ---- keys that change the meaning ----------------------------------------------------------------


def one_object(root, **keys):
    put(root, "a.png")
    save(root / "result.json", content(["a.png"], [(0, 1, {**BOX, **keys})]))
    found = find_boxes(root, outlines=True)
    return found.samples[0].boxes[0], found


@pytest.mark.parametrize(
    ("value", "expected"),
    [(1, True), ("1", True), (True, True), ("true", True), ("True", True), (1.0, True)]
    + [(0, False), ("0", False), (False, False), ("false", False), (None, False), ("", False)],
)
def test_crowds_and_objects_to_ignore_of_any_type(tmp_path, value, expected):
    crowd, _ = one_object(tmp_path / "crowd", iscrowd=value)
    ignored, _ = one_object(tmp_path / "ignored", ignore=value)
    assert (crowd.crowd, crowd.difficult) == (expected, False)
    assert (ignored.crowd, ignored.difficult) == (False, expected)


@pytest.mark.parametrize(
    ("keys", "reason"),
    [
        ({"iscrowd": 2}, "iscrowd must be 0 or 1. Received: '2'"),
        ({"ignore": "maybe"}, "ignore must be 0 or 1. Received: 'maybe'"),
        ({"iscrowd": [1]}, "iscrowd must be 0 or 1"),
        ({"bbox_mode": 0}, "bbox_mode must be 1, .x, y, width, height.. Received: 0"),
        ({"bbox_mode": "XYXY_ABS"}, "bbox_mode must be 1"),
        ({"rotation": 30, "segmentation": []}, "must not be turned; draw a polygon"),
        ({"attributes": {"rotation": "left"}, "segmentation": []}, "must be a number"),
        ({"bbox": [12, 9, 24, 18, 0.5]}, "must be .x, y, width, height."),
    ],
)
def test_objects_of_another_meaning_are_refused(tmp_path, keys, reason):
    with pytest.raises(DentalzooError, match=reason):
        one_object(tmp_path, **keys)


@pytest.mark.parametrize("mode", [1, "1", "XYWH_ABS", "BoxMode.XYWH_ABS", None])
def test_boxes_whose_mode_is_that_of_coco_are_read(tmp_path, mode):
    assert pixels(one_object(tmp_path, bbox_mode=mode)[0]) == (12, 9, 36, 27)


@pytest.mark.parametrize("outline", [[], [SQUARE]])
def test_turned_boxes_of_cvat_are_the_boxes_around_them(tmp_path, outline, caplog):
    attributes = {"occluded": False, "rotation": 90.0}
    box, found = one_object(tmp_path, attributes=attributes, segmentation=outline)
    assert pixels(box) == (15, 6, 33, 30)  # 24 x 18 about (24, 18)
    assert any("a turned box" in what for _, what in found.repaired)
    inside = load(find_masks(tmp_path).samples[0])["mask"][..., 0]
    assert inside.sum() == 432 and inside[6:30, 15:33].all()


def test_the_rotation_of_what_has_an_outline_of_its_own_does_not_count(tmp_path):
    outline = [[12, 9, 36, 9, 24, 27]]
    box, _ = one_object(tmp_path, attributes={"rotation": 45.0}, segmentation=outline)
    assert pixels(box) == (12, 9, 36, 27) and box.outline == (tuple(outline[0]),)


@pytest.mark.parametrize("find", [find_boxes, find_masks])
def test_scores_in_annotations_are_said(tmp_path, caplog, find):
    put(tmp_path, "a.png")
    entries = [(0, 1, {**BOX, "score": 0.75}), (0, 2, BOX)]
    save(tmp_path / "result.json", content(["a.png"], entries))
    find(tmp_path)
    said = [line for line in caplog.messages if "a score" in line]
    assert len(said) == 1 and "result.json: 1 of 2 annotations have a score" in said[0]


def test_deleted_annotations_and_images_that_nobody_annotated(tmp_path):
    """As COCO Annotator marks them."""
    put(tmp_path, "a.png", "b.png", "c.png")
    one = content(["a.png", "b.png", "c.png"], [(0, 1, BOX), (0, 2, BOX)])
    one["annotations"][1]["deleted"] = True
    for image, annotated in zip(one["images"], (True, False, True), strict=True):
        image["annotated"] = annotated
    save(tmp_path / "result.json", one)
    found = find_boxes(tmp_path)
    assert [(s.name, len(s.boxes)) for s in found.samples] == [("a", 1), ("c", 0)]
    assert [what for _, what in found.repaired] == [
        "1 deleted annotations are left out",
        "1 images without objects that nobody annotated",
    ]


@pytest.mark.parametrize("outline", [[[]], [[], []]])
def test_an_empty_polygon_is_no_outline_that_covers_nothing(tmp_path, outline):
    put(tmp_path, "a.png", "b.png")
    entries = [(0, 1, BOX), (1, 1, {**BOX, "segmentation": outline})]
    save(tmp_path / "result.json", content(["a.png", "b.png"], entries))
    with pytest.raises(BadFile, match="a box without an outline"):
        load(find_masks(tmp_path).samples[1])


def rows_first(inside):
    """Run lengths that count row by row, as some tools write them."""
    flat = inside.ravel()
    changes = np.flatnonzero(np.diff(flat.astype(int))) + 1
    return {"size": [*inside.shape], "counts": np.diff([0, *changes, flat.size]).tolist()}


@pytest.mark.parametrize("find", [find_boxes, find_masks])
@pytest.mark.parametrize(
    ("keys", "order"),
    [
        ({"bbox": [12, HEIGHT - 27, 24, 18]}, "the extent, with y from below, of their polygons"),
        ({"bbox": [24, 18, 24, 18]}, "the middle and the size of their polygons"),
        ({"bbox": [9, 12, 18, 24]}, r".y, x, height, width. of their polygons"),
        (
            {
                "segmentation": [
                    [value for y, x in ((12, 9), (36, 9), (36, 27)) for value in (x, y)]
                ]
            },
            r".y, x, height, width. of their polygons",
        ),
        ({"segmentation": None}, "the extent, counted row by row, of their run lengths"),
    ],
)
def test_boxes_in_another_order_than_their_outlines_are_refused(tmp_path, find, keys, order):
    put(tmp_path, "a.png", "b.png")
    if keys == {"segmentation": None}:
        inside = np.zeros((HEIGHT, WIDTH), bool)
        inside[9:27, 12:36] = True
        keys = {"segmentation": rows_first(inside)}
    entries = [(0, 1, {**BOX, **keys}), (1, 2, {**BOX, **keys})]
    save(tmp_path / "result.json", content(["a.png", "b.png"], entries))
    with pytest.raises(BadFile, match=f"most are {order}. Received: 2 of 2 boxes"):
        find(tmp_path)


def test_one_of_one_boxes_that_contradicts_its_polygon_is_said(tmp_path):
    put(tmp_path, "a.png")
    save(tmp_path / "a.json", content(["a.png"], [(0, 1, {**BOX, "bbox": [60, 50, 30, 30]})]))
    ((_, what),) = find_boxes(tmp_path).repaired
    assert what == "1 of 1 boxes are not the extent of their polygons; both are kept"


def test_polygons_inside_of_others_are_said_to_be_filled(tmp_path):
    put(tmp_path, "a.png")
    inner, beside = [16, 12, 30, 12, 30, 22, 16, 22], [40, 9, 50, 9, 50, 27]
    entries = [
        (0, 1, {**BOX, "segmentation": [SQUARE, inner]}),
        (0, 2, {**BOX, "bbox": [12, 9, 38, 18], "segmentation": [SQUARE, beside]}),
    ]
    save(tmp_path / "a.json", content(["a.png"], entries))
    ((_, what),) = find_boxes(tmp_path).repaired
    assert what.startswith("1 objects have a polygon inside of another one; COCO knows no holes")
