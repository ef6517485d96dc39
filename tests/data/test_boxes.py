"""Images with boxes: YOLO, COCO, classes, splits, loading and the report."""

import json
import logging

import numpy as np
import pytest

from dentalzoo import cli
from dentalzoo.data.boxes import BoxSample, check_boxes, find_boxes, load_boxes
from dentalzoo.data.formats import base
from dentalzoo.data.synthetic import FINDINGS, panoramic, write_panoramic_dataset
from dentalzoo.errors import BadFile, DentalzooError, MissingSplit
from tests.data.formats.test_voc import HEIGHT, WIDTH, annotation, pixels, thing
from tests.data.test_images import by_split, exif, put, text

LINE = "0 0.25 0.5 0.5 0.5"  # left 0, top 0.25, right 0.5, bottom 0.75


@pytest.fixture(autouse=True)
def _notices_anew():
    base.notice_once.cache_clear()


def yolo(root, *names, lines=(LINE,), classes=("Crown", "Implant")):
    put(root, *(f"images/{name}.png" for name in names))
    for name in names:
        text(root / "labels" / f"{name}.txt", *lines)
    if classes:
        text(root / "classes.json", json.dumps(list(classes)))
    return root


def coco(path, images, annotations, categories=("Crown", "Implant"), first=1):
    categories = [
        c if isinstance(c, dict) else {"id": i, "name": c}
        for i, c in enumerate(categories, start=first)
    ]
    content = {
        "images": [
            {"id": i, "file_name": name, "width": width, "height": height}
            for i, (name, width, height) in enumerate(images)
        ],
        "categories": categories,
        "annotations": [
            {"id": i, "image_id": image, "category_id": category, "bbox": bbox, "iscrowd": crowd}
            for i, (image, category, bbox, crowd) in enumerate(annotations)
        ],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


# ---- YOLO ----------------------------------------------------------------------------------------


def test_yolo_lines_become_boxes(tmp_path):
    lines = (LINE, "1 0.6 0.1 0.9 0.1 0.9 0.4", "")
    found = find_boxes(yolo(tmp_path, "a", lines=lines))
    (sample,) = found.samples
    assert (found.format, found.classes) == ("YOLO", ("Crown", "Implant"))
    assert [(b.label, pixels(b, 1, 1)) for b in sample.boxes] == [
        ("Crown", (0, 0.25, 0.5, 0.75)),
        ("Implant", (0.6, 0.1, 0.9, 0.4)),
    ]
    assert (found.skipped, found.repaired) == ([], [])


def test_an_empty_list_of_labels_is_a_image_of_nothing_and_no_list_is_none(tmp_path):
    yolo(tmp_path, "a", "b", "c")
    text(tmp_path / "labels" / "b.txt")
    (tmp_path / "labels" / "c.txt").unlink()
    found = find_boxes(tmp_path)
    assert [(s.name, len(s.boxes)) for s in found.samples] == [("a", 1), ("b", 0)]
    assert found.skipped == [("images/c.png", "image without boxes")]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("7 0.5 0.5 0.2 0.2", "the class must be an integer >= 0, below 2"),
        ("0.5 0.5 0.5 0.2 0.2", "the class must be an integer"),
        ("0 0.5 0.5 0.2", "must be `class cx cy w h`"),
        ("0 0.5 0.5 nan 0.2", "every value must be a number"),
        ("0 a b c d", "must be numbers"),
        ("0 0.5 0.5 0 0.2", "a box must have an area"),
        ("0 0.5 0.5 0.001 0.2", "a box must have an area"),
        ("0 1.5 0.5 0.2 0.2", "at least half of a box must lie inside"),
        ("0 320 240 100 100", "at least half of a box must lie inside"),  # in pixels
    ],
)
def test_lines_that_cannot_be_used_are_named(tmp_path, line, reason):
    found = find_boxes(yolo(tmp_path, "a", lines=(LINE, line)))
    assert len(found.samples[0].boxes) == 1
    ((name, told),) = found.skipped
    assert name == "labels/a.txt, line 2" and reason in told


@pytest.mark.parametrize(
    ("line", "expected", "note"),
    [
        ("0 0.9 0.5 0.4 0.5", (0.7, 0.25, 1, 0.75), "cut off at the border"),
        ("0 0.5 0.5 1.000001 1.000001", (0, 0, 1, 1), ""),
        ("0 0.25 0.5 -0.5 0.5", (0, 0.25, 0.5, 0.75), "edges exchanged"),
    ],
)
def test_lines_that_are_repaired_are_told(tmp_path, line, expected, note):
    found = find_boxes(yolo(tmp_path, "a", lines=(line,)))
    assert pixels(found.samples[0].boxes[0], 1, 1) == expected
    assert len(found.repaired) == bool(note) and all(note in what for _, what in found.repaired)


def test_yolo_boxes_of_a_turned_image_are_taken_as_upright(tmp_path, caplog):
    yolo(tmp_path, "a")
    (tmp_path / "images" / "a.png").unlink()
    put(tmp_path, "images/a.jpg")
    exif(tmp_path / "images" / "a.jpg", 6)
    sample = find_boxes(tmp_path).samples[0]
    assert load_boxes(sample, ("Crown",))["image"].shape == (HEIGHT, WIDTH, 3)
    assert pixels(sample.boxes[0], 1, 1) == (0, 0.25, 0.5, 0.75)
    assert "taken as drawn upright" in caplog.text


# ---- COCO ----------------------------------------------------------------------------------------


def test_coco_ids_may_have_gaps_and_start_at_0(tmp_path):
    put(tmp_path, "train/a.png", "train/b.png")
    categories = [{"id": 7, "name": "Crown"}, {"id": 0, "name": "Implant"}]
    boxes = [(0, 7, [12, 9, 24, 18], 0), (0, 0, [60, 45, 60, 45], 1)]
    images = [("a.png", WIDTH, HEIGHT), ("b.png", WIDTH, HEIGHT)]
    coco(tmp_path / "train" / "_annotations.coco.json", images, boxes, categories)
    found = find_boxes(tmp_path)
    assert (found.format, found.classes) == ("COCO", ("Implant", "Crown"))
    first, second = found.samples
    assert [(b.label, b.crowd, pixels(b)) for b in first.boxes] == [
        ("Crown", False, (12, 9, 36, 27)),
        ("Implant", True, (60, 45, 120, 90)),
    ]
    assert second.boxes == () and {s.split for s in found.samples} == {"train"}


def test_a_heading_of_categories_is_no_class(tmp_path):
    """Roboflow's first category is the name of the data set."""
    put(tmp_path, "train/a.png")
    categories = [
        {"id": 0, "name": "teeth", "supercategory": "none"},
        {"id": 1, "name": "Crown", "supercategory": "teeth"},
    ]
    image, path = [("a.png", WIDTH, HEIGHT)], tmp_path / "train" / "_annotations.coco.json"
    coco(path, image, [(0, 1, [12, 9, 24, 18], 0)], categories)
    assert find_boxes(tmp_path).classes == ("Crown",)
    coco(path, image, [(0, 0, [12, 9, 24, 18], 0)], categories)
    assert find_boxes(tmp_path).classes == ("teeth", "Crown")


def test_coco_sizes_are_compared_with_the_images(tmp_path):
    put(tmp_path, "train/a.png", "train/b.png", "train/c.png")
    images = [("a.png", None, None), ("b.png", 1200, 900), ("c.png", 100, 100)]
    boxes = [(0, 1, [12, 9, 24, 18], 0), (1, 1, [120, 90, 240, 180], 0)]
    boxes += [(2, 1, [12, 9, 24, 18], 0)]
    coco(tmp_path / "train" / "_annotations.coco.json", images, boxes)
    found = find_boxes(tmp_path)
    assert [pixels(s.boxes[0]) for s in found.samples] == [(12, 9, 36, 27)] * 2
    assert [what.partition(".")[0] for _, what in found.repaired] == [
        "no size; the image's is taken",
        "drawn on another size; scaled to the image",
    ]
    ((name, reason),) = found.skipped
    assert name.endswith(": c.png") and "must have the size of c.png" in reason


def test_phantoms_are_read_with_exact_boxes(tmp_path):
    write_panoramic_dataset(tmp_path, 3, 5, 128, 256)
    found = find_boxes(tmp_path)
    assert found.classes == FINDINGS and (found.skipped, found.repaired) == ([], [])
    assert by_split(found) == {"train": ["0000", "0001"], "val": ["0002"]}
    for seed, sample in enumerate(found.samples, start=5):
        drawn = {(f.name, *np.round(f.box, 9)) for f in panoramic(seed, 128, 256).findings}
        edges = ((b.label, b.top, b.left, b.bottom, b.right) for b in sample.boxes)
        assert {(e[0], *np.round(e[1:], 9)) for e in edges} == drawn


# ---- classes -------------------------------------------------------------------------------------


def test_labels_without_names_are_sorted_as_numbers(tmp_path):
    lines = [f"{i} 0.25 0.5 0.5 0.5" for i in (10, 2, 0)]
    assert find_boxes(yolo(tmp_path, "a", lines=lines, classes=None)).classes == ("0", "2", "10")


def test_chosen_classes_are_kept_in_their_order_and_the_others_said_once(tmp_path, caplog):
    names = ("Crown", "Implant", "Root")
    lines = [f"{i} 0.25 0.5 0.5 0.5" for i in range(3)]
    yolo(tmp_path, "a", "b", lines=lines, classes=names)
    text(tmp_path / "labels" / "b.txt", LINE)
    with caplog.at_level(logging.INFO, "dentalzoo"):
        found = find_boxes(tmp_path, classes=("Root", "Implant"))
    assert found.classes == ("Root", "Implant") and (found.skipped, found.repaired) == ([], [])
    assert [[b.label for b in s.boxes] for s in found.samples] == [["Implant", "Root"], []]
    assert caplog.messages[1:] == ["classes left out: Crown (2 boxes)"]
    assert "no split in the data: 1 of 2 images are held out" in caplog.messages[0]
    loaded = load_boxes(found.samples[0], found.classes)
    assert loaded["labels"].tolist() == [2, 1]


def test_a_split_without_a_class_has_the_ids_of_the_whole(tmp_path):
    put(tmp_path, "train/a.png", "val/b.png")
    for split, name in (("train", "a"), ("val", "b")):
        xml = annotation(f"{name}.png", thing("crown" if split == "train" else "root", 2, 2, 9, 9))
        text(tmp_path / split / f"{name}.xml", xml)
    assert find_boxes(tmp_path, "val").classes == ("crown", "root")


def test_teeth_go_by_their_numbers(tmp_path, caplog):
    """A bundle's "11" is the "11 - Central Incisor" of the data; a bridge is no tooth."""
    caplog.set_level("INFO", "dentalzoo")
    names = ("11 - Central Incisor", "Tooth_21", "Bridge", "46")
    lines = [f"{label} 0.{2 + label} 0.5 0.1 0.1" for label in range(4)]
    yolo(tmp_path, "a", lines=lines, classes=names)
    found = find_boxes(tmp_path, classes=("21", "11", "46", "36"), val_fraction=None)
    assert [box.label for box in found.samples[0].boxes] == ["11", "21", "46"]
    said = [record.getMessage() for record in caplog.records]
    assert (
        "classes with the same tooth number are the same: '11 - Central Incisor' is '11'" in said[0]
    )
    assert any("has no class 36" in line for line in said)
    assert find_boxes(tmp_path, val_fraction=None).classes == names
    both = find_boxes(tmp_path, classes=("Bridge", "tooth 11", "11"), val_fraction=None)
    assert [box.label for box in both.samples[0].boxes] == ["Bridge"], "which 11 is meant?"


def test_classes_that_the_data_do_not_have(tmp_path, caplog):
    yolo(tmp_path, "a")
    assert find_boxes(tmp_path, classes=["Crown", "Root"]).classes == ("Crown", "Root")
    assert "the data has no class Root" in caplog.text
    with pytest.raises(DentalzooError, match="among those of the data, Crown, Implant. Rec.*Root"):
        find_boxes(tmp_path, classes=["Root"])
    with pytest.raises(DentalzooError, match="classes must be a list"):
        find_boxes(tmp_path, classes="Crown")


# ---- splits and groups ---------------------------------------------------------------------------


def test_split_csv_decides(tmp_path):
    yolo(tmp_path, "a", "b", "c")
    text(tmp_path / "split.csv", "id,split", "a,val", "b.png,train", "x,train")
    found = find_boxes(tmp_path)
    assert by_split(found) == {"val": ["a"], "train": ["b"]}
    assert dict(found.skipped) == {
        "images/c.png": "image in no split of split.csv",
        "x": "row of split.csv without files",
    }
    assert [s.name for s in find_boxes(tmp_path, "valid").samples] == ["a"]
    with pytest.raises(MissingSplit, match="images of the split 'test'"):
        find_boxes(tmp_path, "test")


def test_groups_are_held_out_whole(tmp_path):
    names = [f"{source}_jpg.rf.{copy}" for source in range(10) for copy in "abc"]
    yolo(tmp_path, *names)
    found = find_boxes(tmp_path, val_fraction=0.2)
    groups = {
        split: {s.group for s in found.samples if s.split == split} for split in by_split(found)
    }
    assert len(groups["val"]) == 2 and len(groups["train"]) == 8
    assert not groups["val"] & groups["train"]
    assert set(by_split(find_boxes(tmp_path, val_fraction=0))) == {"train"}


@pytest.mark.parametrize("wrong", [{"split": "some"}, {"val_fraction": 1}, {"val_fraction": -0.1}])
def test_wrong_options_are_refused(tmp_path, wrong):
    with pytest.raises(DentalzooError, match="Received: "):
        find_boxes(yolo(tmp_path, "a"), **wrong)


def test_nothing_usable_says_what_was_expected_and_seen(tmp_path):
    put(tmp_path, "scans/a.png")
    with pytest.raises(DentalzooError, match=r"YOLO.*COCO|coco.json.*VOC.*VoTT.*scans/ \(1 im"):
        find_boxes(tmp_path)
    text(tmp_path / "voc" / "a.xml", "no xml")
    with pytest.raises(DentalzooError, match="the first skipped: voc/a.xml: must be a VOC"):
        find_boxes(tmp_path)


# ---- loading and the report ----------------------------------------------------------------------


def test_loaded_samples_have_the_shapes_of_the_contract(tmp_path):
    yolo(tmp_path, "a", "b", lines=(LINE, "1 0.5 0.5 0.2 0.2"))
    text(tmp_path / "labels" / "b.txt")
    found = find_boxes(tmp_path)
    loaded = load_boxes(found.samples[0], found.classes, channels=1)
    assert loaded["image"].shape == (HEIGHT, WIDTH, 1) and loaded["image"].dtype == np.uint8
    assert loaded["boxes"].dtype == np.float32 and loaded["labels"].dtype == np.int32
    np.testing.assert_allclose(loaded["boxes"], [[0.25, 0, 0.75, 0.5], [0.4, 0.4, 0.6, 0.6]], 1e-6)
    assert loaded["labels"].tolist() == [1, 2]
    assert loaded["difficult"].tolist() == loaded["crowd"].tolist() == [False, False]
    empty = load_boxes(found.samples[1], found.classes)
    assert empty["boxes"].shape == (0, 4) and empty["labels"].shape == (0,)
    with pytest.raises(DentalzooError, match="boxes must have the classes .*Received: 'Implant'"):
        load_boxes(found.samples[0], ("Crown",))


def test_images_that_cannot_be_read_are_named(tmp_path):
    yolo(tmp_path, "a", "b", "c")
    (tmp_path / "images" / "b.png").write_bytes(b"no image")
    whole = (tmp_path / "images" / "c.png").read_bytes()
    (tmp_path / "images" / "c.png").write_bytes(whole[: len(whole) // 2])
    found = find_boxes(tmp_path)
    assert [s.name for s in found.samples] == ["a", "c"]  # the header of c is there
    assert [name for name, _ in found.skipped] == ["images/b.png"]
    with pytest.raises(BadFile, match="damaged"):
        load_boxes(found.samples[1], found.classes)
    report = check_boxes(tmp_path)
    assert [name for name, _ in report["skipped"]] == ["images/b.png", "c"]


def test_the_cache_key_changes_with_boxes_classes_and_images(tmp_path):
    yolo(tmp_path, "a", "b")
    prints = [find_boxes(tmp_path).cache_key, find_boxes(tmp_path).cache_key]
    assert prints[0] == prints[1]
    prints.append(find_boxes(tmp_path, classes=("Implant", "Crown")).cache_key)
    text(tmp_path / "labels" / "a.txt", "1 0.5 0.5 0.2 0.2")
    prints.append(find_boxes(tmp_path).cache_key)
    put(tmp_path, "images/b.png", height=50)
    prints.append(find_boxes(tmp_path).cache_key)
    assert len(set(prints)) == 4 and hash(prints[0])


def test_the_report(tmp_path):
    yolo(tmp_path, "a", "b", "c", "d", lines=(LINE, LINE, "1 0.5 0.5 0.2 0.2"))
    text(tmp_path / "labels" / "c.txt")
    text(tmp_path / "labels" / "d.txt", LINE, "9 0.5 0.5 0.2 0.2")
    (tmp_path / "images" / "b.png").write_bytes((tmp_path / "images" / "a.png").read_bytes())
    text(tmp_path / "split.csv", "id,split", "a,train", "b,val", "c,train", "d,train")
    report = check_boxes(tmp_path)
    json.dumps(report)
    assert {key: value for key, value in report.items() if not isinstance(value, list)} == {
        "data": str(tmp_path),
        "format": "YOLO",
        "usable": 4,
        "train": 3,
        "val": 1,
        "groups": 4,
        "without_boxes": 1,
        "boxes": {"Crown": 3, "Implant": 2},
    }
    assert report["without_objects"] == ["c"]
    assert report["duplicates"] == [["a", "b", "same pixels, in train and val"]]
    assert [name for name, _ in report["skipped"]] == ["labels/d.txt, line 2"]
    assert [name for name, _ in report["repaired"]] == [f"labels/{n}.txt, line 2" for n in "ab"]


def test_the_command_reports_and_tells_by_its_status(tmp_path, capsys):
    yolo(tmp_path, "a", "b")
    assert cli.main(["check", "--boxes", str(tmp_path)]) == 0
    assert "usable: 2" in capsys.readouterr().out
    (tmp_path / "labels" / "b.txt").unlink()
    assert cli.main(["check", "--boxes", str(tmp_path), "--json", "--split", "train"]) == 1
    assert json.loads(capsys.readouterr().out)["boxes"] == {"Crown": 1, "Implant": 0}
    for wrong in (["--images", str(tmp_path)], [str(tmp_path / "images")]):
        assert cli.main(["check", "--boxes", *wrong]) == 2
        assert capsys.readouterr().err.count("\n") == 1


# ---- real data -----------------------------------------------------------------------------------


def test_dental_radiography(shared_data):
    folder = shared_data / "dental_radiography"
    if not folder.is_dir():
        pytest.skip("no dental_radiography there")
    found = find_boxes(folder)
    assert {split: len(names) for split, names in by_split(found).items()} == {
        "train": 458,
        "val": 98,
    }
    assert found.classes == ("Cavity", "Fillings", "Impacted Tooth", "Implant")
    assert (found.skipped, found.repaired) == ([], [])
    lines = sum(len(p.read_text().split("\n")) for p in (folder / "labels").glob("*.txt"))
    count = sum(len(s.boxes) for s in found.samples)
    assert count == 3905 <= lines
    assert all(isinstance(s, BoxSample) and s.boxes for s in found.samples)
    loaded = load_boxes(found.samples[0], found.classes)
    assert loaded["image"].shape == (640, 640, 3)
