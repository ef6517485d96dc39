"""YOLO labels: names, lists of images, what the numbers of a line mean, masks, and writing."""

import logging
import shutil

import numpy as np
import pytest
import yaml

from dentalzoo.data.boxes import find_boxes
from dentalzoo.data.formats import base, yolo
from dentalzoo.data.formats.base import Box, BoxSample, RunLengths
from dentalzoo.data.formats.writing import write_annotations
from dentalzoo.data.formats.yolo.lines import decide
from dentalzoo.data.masks import find_masks, load
from dentalzoo.errors import BadFile, DentalzooError
from tests.data.formats import tool_samples
from tests.data.formats.test_voc import HEIGHT, WIDTH, pixels
from tests.data.test_images import by_split, put, text

LINE = "0 0.25 0.5 0.5 0.5"
NAMES = "names:\n  0: Caries\n  1: Crown\n  2: Filling\n"


@pytest.fixture(autouse=True)
def _notices_anew():
    base.notice_once.cache_clear()


def labelled(root, **lines):
    """Images a, b, ... each with a file of labels."""
    put(root, *(f"images/{name}.png" for name in lines))
    for name, one in lines.items():
        text(root / "labels" / f"{name}.txt", *([one] if isinstance(one, str) else one))
    return root


def warnings(caplog):
    return [one.getMessage() for one in caplog.records if one.levelno >= logging.WARNING]


def labels(dataset):
    return [[box.label for box in sample.boxes] for sample in dataset.samples]


# ---- names ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("data.yaml", NAMES),
        ("data.yaml", "\ufeffnc: 3\r\nnames: ['Caries', 'Crown', 'Filling']\r\n"),
        ("dental.yml", "names: [Caries, Crown, Filling]\ndownload: |\n  print('x')\n"),
        ("obj.names", "Caries\r\nCrown\r\nFilling\r\n"),
        ("_darknet.labels", "Caries\nCrown\nFilling"),
        ("classes.txt", "Caries\nCrown\nFilling\n\n"),
        (
            "notes.json",
            '{"categories": [{"id": 0, "name": "Caries"}, {"id": 1, "name": "Crown"}, '
            '{"id": 2, "name": "Filling"}], "info": {"contributor": "Label Studio"}}',
        ),
    ],
)
def test_names_are_read_from_the_files_that_tools_write(tmp_path, file, content):
    labelled(tmp_path, a=LINE, b="2 0.25 0.5 0.5 0.5")
    (tmp_path / file).write_text(content, encoding="utf-8", newline="")
    found = find_boxes(tmp_path)
    assert found.classes == ("Caries", "Crown", "Filling")  # Crown has no box
    assert labels(found) == [["Caries"], ["Filling"]] and found.skipped == []


def test_names_stay_as_they_are_written(tmp_path):
    names = ["no", "011", "1.10", "Périapical", "null"]
    labelled(tmp_path, a=[f"{i} 0.5 0.5 0.2 0.{i + 1}" for i in range(5)])
    text(tmp_path / "data.yaml", f"names: [{', '.join(names)}]")
    assert find_boxes(tmp_path).classes == tuple(names)


def test_names_in_windows_1252_are_read_and_said(tmp_path, caplog):
    labelled(tmp_path, a=LINE)
    (tmp_path / "classes.txt").write_bytes("Karies groß\nPlombe\n".encode("cp1252"))
    assert find_boxes(tmp_path).classes == ("Karies groß", "Plombe")
    assert "classes.txt is not UTF-8; read as Windows-1252" in caplog.text


def test_a_class_beyond_the_names_is_refused_by_file_and_line(tmp_path):
    labelled(tmp_path, a=[LINE, "3 0.5 0.5 0.2 0.2", "1 0.5 0.5 0.2 0.2"])
    text(tmp_path / "data.yaml", "names: {0: Caries, 2: Filling}")
    found = find_boxes(tmp_path)
    assert found.classes == ("Caries", "Filling") and labels(found) == [["Caries"]]
    assert found.skipped == [
        ("labels/a.txt, line 2", "the class must be an integer >= 0, below 3. Received: 3"),
        ("labels/a.txt, line 3", "the class must have a name. Received: 1"),
    ]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("nc: 2\nnames: [Caries]", "nc must be the number of names. Received: nc 2, 1 names"),
        ("names: Caries", "names must be a list, or a mapping"),
        ("names: [[Caries]]", "names must be a list, or a mapping"),
        ("names: {a: Caries}", "names must be a list, or a mapping"),
        ("names: {-1: Caries}", "names must be a list, or a mapping"),
        ("names: [Caries", "must be YAML with names"),
        ("names: " + "[" * 3000, "more than 20 brackets"),
        ("a: &a [x]\nnames: [*a, *a]", "an alias"),
        ("names: [a]\nkpt_shape: 3", "kpt_shape must be"),
    ],
)
def test_a_broken_data_yaml_is_refused(tmp_path, content, reason):
    labelled(tmp_path, a=LINE)
    text(tmp_path / "data.yaml", content)
    with pytest.raises(BadFile, match=reason) as caught:
        find_boxes(tmp_path)
    assert "\n" not in str(caught.value)


def test_lists_that_contradict_each_other_are_said(tmp_path, caplog):
    labelled(tmp_path, a=LINE)
    text(tmp_path / "classes.txt", "Root", "Crown", "Filling")
    text(tmp_path / "data.yaml", NAMES)
    assert find_boxes(tmp_path).classes == ("Root", "Crown", "Filling")
    assert warnings(caplog) == [
        "classes.txt names the classes; data.yaml names others: class 0 is 'Root', not 'Caries'"
    ]


def test_numbers_without_names_are_said_with_the_list_that_is_not_above(tmp_path, caplog):
    labelled(tmp_path / "data", a=LINE)
    text(tmp_path / "data.yaml", NAMES)
    assert find_boxes(tmp_path / "data").classes == ("0",)
    assert len(warnings(caplog)) == 1 and "not above the labels: ../data.yaml" in caplog.text


# ---- which file belongs to which image -----------------------------------------------------------


def test_capitals_in_names_of_files_and_folders(tmp_path):
    put(tmp_path, "Images/a.PNG", "Images/b.PNG", "Images/C.png")
    for name in ("a.TXT", "B.Txt", "c.txt"):
        (tmp_path / "Labels").mkdir(exist_ok=True)
        (tmp_path / "Labels" / name).write_bytes(b"\xef\xbb\xbf0\t0.25 0.5 0.5 0.5  \r\n")
    found = find_boxes(tmp_path)
    assert [s.name for s in found.samples] == ["a", "b", "C"] and found.skipped == []
    assert {pixels(s.boxes[0], 1, 1) for s in found.samples} == {(0, 0.25, 0.5, 0.75)}


@pytest.mark.parametrize(
    ("folder", "read"),
    [
        (["object_detection_labels"], True),
        (["Annotations"], True),
        (["labels_yolo"], True),
        (["old_labels", "new_labels"], False),
        (["notes"], False),
    ],
)
def test_the_only_folder_of_texts_that_is_named_after_labels(tmp_path, folder, read):
    put(tmp_path, "images/a.png", "images/b.png")
    for name in folder:
        for stem in "ab":
            text(tmp_path / name / f"{stem}.txt", LINE)
    if read:
        found = find_boxes(tmp_path)
        assert labels(found) == [["0"], ["0"]] and found.skipped == []
    else:
        with pytest.raises(DentalzooError, match="no image with boxes"):
            find_boxes(tmp_path)


def test_labels_in_their_usual_place_come_before_others(tmp_path):
    labelled(tmp_path, a=LINE)
    text(tmp_path / "other_labels" / "a.txt", "1 0.5 0.5 0.5 0.5")
    assert labels(find_boxes(tmp_path)) == [["0"]]


def test_decimal_commas_are_refused_by_line(tmp_path):
    found = find_boxes(labelled(tmp_path, a=[LINE, "0 0,5 0,5 0,2 0,2"]))
    ((name, reason),) = found.skipped
    assert name == "labels/a.txt, line 2" and "decimals are written with a point" in reason


# ---- lists of images -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "form", ["./images/{}.png", "/home/x/data/images/{}.png", "C:\\d\\images\\{}.png"]
)
@pytest.mark.parametrize("described", [True, False])
def test_lists_of_images_are_obeyed(tmp_path, form, described):
    labelled(tmp_path, **{name: LINE for name in "abcde"})
    parts = {"train": "ab", "val": "c", "test": "d"}
    for split, names in parts.items():
        text(tmp_path / f"{split}.txt", *(form.format(name) for name in names))
    if described:
        lists = "".join(f"{split}: {split}.txt\n" for split in parts)
        text(tmp_path / "data.yaml", f"path: .\n{lists}{NAMES}")
    found = find_boxes(tmp_path)
    assert by_split(found) == {"train": ["a", "b"], "val": ["c"], "test": ["d"]}
    ((name, reason),) = found.skipped
    assert name == "images/e.png" and reason.startswith("image in no split of ")
    text(tmp_path / "split.csv", "id,split", "a,val", "b,train")
    assert by_split(find_boxes(tmp_path)) == {"val": ["a"], "train": ["b"]}


def test_lists_of_names_without_suffix_and_a_test_folder_beside_them(tmp_path):
    put(tmp_path, *(f"images/{name}.png" for name in "abc"), "test/images/d.png")
    for name in "abc":
        text(tmp_path / "labels" / f"{name}.txt", LINE)
    text(tmp_path / "test" / "labels" / "d.txt", LINE)
    text(tmp_path / "ImageSets" / "train.txt", "a")
    text(tmp_path / "ImageSets" / "val.txt", "b")
    found = find_boxes(tmp_path)
    assert by_split(found) == {"train": ["a"], "val": ["b"], "test": ["d"]}
    assert [name for name, _ in found.skipped] == ["images/c.png"]


def test_folders_of_data_yaml_are_the_splits_whatever_they_are_called(tmp_path):
    put(tmp_path, "train/images/a.png", "fold2/images/b.png")
    for folder in ("train", "fold2"):
        text(tmp_path / folder / "labels" / f"{'ab'[folder == 'fold2']}.txt", LINE)
    text(
        tmp_path / "data.yaml",
        "path: ../datasets/x\ntrain: ../train/images\nval: [fold2/images]\n" + NAMES,
    )
    assert by_split(find_boxes(tmp_path)) == {"train": ["a"], "val": ["b"]}


def test_patterns_of_data_yaml_are_folders(tmp_path):
    put(tmp_path, "one/images/a.png", "two/images/b.png")
    text(tmp_path / "one" / "labels" / "a.txt", LINE)
    text(tmp_path / "two" / "labels" / "b.txt", LINE)
    text(tmp_path / "data.yaml", "train: one/images/*.png\nval: ./two/images\n" + NAMES)
    assert by_split(find_boxes(tmp_path)) == {"train": ["a"], "val": ["b"]}


def test_cvat_and_darknet(tmp_path):
    put(tmp_path, "obj_train_data/a.png", "obj_train_data/b.png", "obj_valid_data/c.png")
    for name in ("obj_train_data/a", "obj_train_data/b", "obj_valid_data/c"):
        text(tmp_path / f"{name}.txt", LINE)
    text(tmp_path / "obj.names", "tooth", "gap")
    text(tmp_path / "train.txt", "data/obj_train_data/a.png", "data/obj_train_data/b.png")
    text(tmp_path / "valid.txt", "data/obj_valid_data/c.png")
    text(
        tmp_path / "obj.data",
        *("classes = 2", "train = data/train.txt", "valid = data/valid.txt"),
        *("names = data/obj.names", "backup = backup/"),
    )
    found = find_boxes(tmp_path)
    assert by_split(found) == {"train": ["a", "b"], "val": ["c"]}
    assert found.classes == ("tooth", "gap") and found.skipped == []


def test_a_list_of_all_images_is_no_split(tmp_path):
    labelled(tmp_path, **{name: LINE for name in "abcd"})
    text(tmp_path / "train.txt", *(f"images/{name}.png" for name in "abcd"))
    assert {*by_split(find_boxes(tmp_path))} == {"train", "val"}  # held out
    text(tmp_path / "data.yaml", "train: images\nval: images\n" + NAMES)
    assert {*by_split(find_boxes(tmp_path))} == {"train", "val"}


def test_an_image_in_two_lists_is_said_and_not_trained_on(tmp_path, caplog):
    labelled(tmp_path, **{name: LINE for name in "abc"})
    text(tmp_path / "train.txt", "a.png", "b.png", "gone.png")
    text(tmp_path / "test.txt", "b.png", "c.png")
    assert by_split(find_boxes(tmp_path)) == {"train": ["a"], "test": ["b", "c"]}
    assert "1 images are in several splits; test counts before" in caplog.text
    assert "train.txt: 1 of 3 lines name no image, or several; the first: gone.png" in caplog.text


def test_labels_of_an_image_called_train_are_no_list(tmp_path):
    put(tmp_path, "train.png", "other.png")
    text(tmp_path / "train.txt", LINE)
    text(tmp_path / "other.txt", LINE)
    assert len(find_boxes(tmp_path)) == 2


# ---- what the numbers mean -----------------------------------------------------------------------

POSE = "0 0.5 0.5 0.2 0.4"
TRIANGLE = "0 0.1 0.1 0.4 0.1 0.4 0.4"


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        ((f"{POSE} 0.45 0.40 0.55 0.60 0.1 0.9", f"{POSE} 0.45 0.4 0.55 0.6 0.5 0.5"), "keypoints"),
        ((f"{POSE} 0.45 0.40 2 0.55 0.60 1",), "visibilities"),
        ((f"{POSE} 0.45 0.40 0.9 0.55 0.60 0.8",), "keypoints"),
        ((f"{POSE} 0.45 0.40 2", f"{POSE} 0.55 0.40 2"), "keypoints"),
        (("0 0.5 0.5 0.4 0.4 0.4 0.4 0.6 0.6",), "keypoints"),
        ((f"{POSE} 0.42 0.35", f"{POSE} 0.58 0.65"), "keypoints"),
        ((f"{POSE} 0.42 0.35 0.58 0.65 0.5 0.5 0.41 0.6",), "keypoints"),
        ((f"{POSE} 45", f"{POSE} 45", f"{POSE} 1.2"), "an angle"),
    ],
)
def test_keypoints_and_angles_are_refused_by_name(tmp_path, lines, reason):
    labelled(tmp_path, **dict(zip("abc", lines, strict=False)))
    with pytest.raises(DentalzooError, match="no image with a mask"):
        find_masks(tmp_path)
    with pytest.raises(DentalzooError, match=reason) as caught:
        find_boxes(tmp_path)
    assert "\n" not in str(caught.value)


def test_corners_in_place_of_sizes_are_refused(tmp_path):
    labelled(tmp_path, a=["0 0.5 0.5 0.9 0.8", "0 0.1 0.1 0.3 0.3"], b="0 0.6 0.2 0.95 0.5")
    with pytest.raises(DentalzooError, match="left top right bottom. alone.*2 of 3 boxes outside"):
        find_boxes(tmp_path)
    text(tmp_path / "labels" / "b.txt", "0 0.6 0.2 0.1 0.1")  # no corners
    assert len(find_boxes(tmp_path).samples[0].boxes) == 2


def test_keypoints_that_data_yaml_announces_leave_the_boxes(tmp_path, caplog):
    labelled(tmp_path, a=[f"{POSE} 0.45 0.40 0.55 0.60", POSE.replace("0 ", "1 ", 1)], b=TRIANGLE)
    text(tmp_path / "data.yaml", "kpt_shape: [2, 2]\n" + NAMES)
    found = find_boxes(tmp_path)
    assert [pixels(b, 1, 1) for b in found.samples[0].boxes] == [(0.4, 0.3, 0.6, 0.7)] * 2
    assert ("labels/b.txt, line 1") in dict(found.skipped)
    assert "keypoints are not read" in caplog.text


@pytest.mark.parametrize(
    ("lines", "what"),
    [
        ((f"{POSE} 0.91", f"{POSE} 0.4"), "confidences"),
        ((f"{POSE} 1", f"{POSE} 7"), "track ids"),
        ((f"{POSE} 0.91 3", f"{POSE} 0.4 1"), "confidences and track ids"),
        ((f"{POSE} 0.91 1",), "confidences and track ids"),
    ],
)
def test_confidences_and_tracks_are_left_out_and_said(tmp_path, caplog, lines, what):
    labelled(tmp_path, **dict(zip("abc", lines, strict=False)))
    found = find_boxes(tmp_path, val_fraction=0)
    assert [pixels(s.boxes[0], 1, 1) for s in found.samples] == [(0.4, 0.3, 0.6, 0.7)] * len(lines)
    assert f"YOLO labels: {what} are not read" in caplog.text


def test_polygons_with_confidences_and_tracks(tmp_path):
    quad = "0 0.1 0.1 0.4 0.1 0.4 0.4 0.2 0.5"
    labelled(tmp_path, a=f"{TRIANGLE} 0.7", b=f"{quad} 0.8")
    found = find_boxes(tmp_path, outlines=True)
    assert [len(s.boxes[0].outline[0]) for s in found.samples] == [6, 8]
    labelled(tmp_path, a=f"{TRIANGLE} 0.7 3", b=f"{quad} 0.8 12")
    found = find_boxes(tmp_path, outlines=True)
    assert [len(s.boxes[0].outline[0]) for s in found.samples] == [6, 8]


def test_oriented_boxes_are_upright_boxes_and_no_masks(tmp_path, caplog):
    labelled(tmp_path, a="0 0.5 0.3 0.7 0.5 0.5 0.7 0.3 0.5", b="0 0.2 0.2 0.4 0.2 0.4 0.3 0.2 0.3")
    found = find_boxes(tmp_path, outlines=True)
    assert pixels(found.samples[0].boxes[0], 1, 1) == (0.3, 0.3, 0.7, 0.7)
    assert found.samples[0].boxes[0].outline is None
    assert "oriented boxes are read as the upright boxes around them" in caplog.text
    with pytest.raises(DentalzooError, match="nothing to use as masks"):
        find_masks(tmp_path)


def test_outlines_drawn_by_hand_are_never_taken_for_keypoints():
    """Outlines that start at the top, as contours are traced, or at any of their points."""
    rng = np.random.default_rng(0)
    for seed in range(60):
        count, rows = int(rng.integers(3, 12)), []
        for _ in range(30):
            centre, size = rng.uniform(0.15, 0.85, 2), rng.uniform(0.01, 0.14, 2)
            turn = np.sort(rng.uniform(0, 2 * np.pi, count)) + rng.uniform(0, 2 * np.pi)
            points = centre + size * np.stack([np.cos(turn), np.sin(turn)], 1)
            points = np.roll(points, -points[:, 1].argmin(), 0) if seed % 2 else points
            rows.append([0, *points.ravel()])
        assert decide(rows).kind in ("polygons", "oriented"), (seed, decide(rows))


def test_boxes_with_keypoints_are_never_taken_for_outlines():
    rng = np.random.default_rng(0)
    for count in (1, 2, 3, 5, 12):
        for seed in range(60):
            rows = []
            for _ in range(30):
                size = rng.uniform(0.05, 0.2 + 0.7 * (seed % 2), 2)
                centre = rng.uniform(size / 2, 1 - size / 2)
                points = centre + size * rng.uniform(-0.5, 0.5, (count, 2))
                rows.append([0, *centre, *size, *points.ravel()])
            assert decide(rows).refused


# ---- masks ---------------------------------------------------------------------------------------


def test_polygons_are_masks(tmp_path):
    square = "{} 0.1 0.1 0.5 0.1 0.5 0.5 0.1 0.5"
    put(tmp_path, "train/images/a.png", "valid/images/b.png", "valid/images/c.png")
    text(tmp_path / "train" / "labels" / "a.txt", square.format(1))
    text(tmp_path / "valid" / "labels" / "b.txt", square.format(0))
    text(tmp_path / "data.yaml", NAMES)
    found = find_masks(tmp_path, classes=("Filling", "Crown"))
    assert [(s.name, s.split) for s in found.samples] == [("a", "train"), ("b", "val")]
    assert found.skipped == [("valid/images/c.png", "image without labels")]
    masks = [load(sample, 3)["mask"][..., 0] for sample in found.samples]
    top, left = round(HEIGHT * 0.1), round(WIDTH * 0.1)
    bottom, right = round(HEIGHT * 0.5), round(WIDTH * 0.5)
    assert (masks[0][top:bottom, left:right] == 2).all() and not masks[1].any()
    assert masks[0].astype(bool).sum() == (bottom - top) * (right - left)


def test_numbers_are_names_of_masks_in_all_images(tmp_path):
    labelled(tmp_path, a=TRIANGLE, b="1" + TRIANGLE[1:])
    assert len(find_masks(tmp_path, classes=("0", "1"))) == 2


def test_a_line_that_cannot_be_read_refuses_the_mask(tmp_path):
    labelled(tmp_path, a=[TRIANGLE, "0 0.5"], b=TRIANGLE)
    found = find_masks(tmp_path)
    assert [s.name for s in found.samples] == ["b"]
    assert [name for name, _ in found.skipped] == ["labels/a.txt, line 2"]


# ---- writing -------------------------------------------------------------------------------------


def boxed(sample):
    return sorted(
        (b.label, *np.round((b.top, b.left, b.bottom, b.right), 9).tolist()) for b in sample.boxes
    )


@pytest.mark.parametrize("splits", [("train", "val", "test"), ("", "", "")])
@pytest.mark.parametrize("polygons", [True, False])
def test_what_is_written_is_read_again(tmp_path, splits, polygons):
    put(tmp_path, "in/a.png", "in/b.png", "in/c.png")
    corners = ((12.25, 9.5, 36.1, 9.7, 30.3, 27.9),)
    edges = (9.5 / HEIGHT, 12.25 / WIDTH, 27.9 / HEIGHT, 36.1 / WIDTH)
    one = Box("no", *edges, outline=corners if polygons else None)
    samples = [
        BoxSample(name, tmp_path / "in" / f"{name}.png", boxes, f"{name}", split)
        for name, split, boxes in zip("abc", splits, ((one,), (), (one,)), strict=True)
    ]
    opened = write_annotations(yolo, samples, tmp_path / "out", ("Crown", "no", "Filling"))
    assert opened == tmp_path / "out" / "data.yaml"
    content = yaml.safe_load(opened.read_text())
    assert content["names"] == {0: "Crown", 1: "no", 2: "Filling"} and "path" not in content
    assert content.get("task") == (
        "segment" if polygons else None
    )  # few polygons may look like keypoints
    again = find_boxes(tmp_path / "out", outlines=True, val_fraction=0)
    assert again.classes == ("Crown", "no", "Filling") and again.skipped == []
    assert {s.name: boxed(s) for s in again.samples} == {s.name: boxed(s) for s in samples}
    assert {s.name: s.split for s in again.samples} == {s.name: s.split or "train" for s in samples}
    if polygons:
        outline = next(s for s in again.samples if s.name == "a").boxes[0].outline
        np.testing.assert_allclose(outline, corners, atol=1e-8)


@pytest.mark.parametrize("box", [tool_samples.BOX, tool_samples.TRIANGLE])
def test_names_and_numbers_come_back(tmp_path, box):
    samples = tool_samples.make(tmp_path / "in", (box,), (box,), (box,))
    tool_samples.check_round_trip(yolo, samples, tmp_path / "out")


def test_what_a_line_cannot_hold_is_refused(tmp_path):
    put(tmp_path, "in/a.png")
    edges = (0.1, 0.1, 0.5, 0.5)
    corners = tuple(
        v * (WIDTH, HEIGHT)[i % 2] for i, v in enumerate((0.1, 0.1, 0.5, 0.1, 0.5, 0.5))
    )
    plain, drawn = Box("x", *edges), Box("x", *edges, outline=(corners,))
    parts, runs = Box("x", *edges, outline=(corners, corners)), RunLengths(HEIGHT, WIDTH, (9, 9))
    for boxes, reason in (
        ((plain, drawn), "1 objects without a polygon beside those with one"),
        ((parts,), "1 objects of several polygons"),
        ((Box("x", *edges, outline=runs),), "1 objects drawn in pixels"),
        ((Box("x", *edges, crowd=True),), "1 objects marked as a crowd"),
    ):
        sample = BoxSample("a", tmp_path / "in" / "a.png", boxes, "a", "")
        with pytest.raises(DentalzooError, match=reason):
            write_annotations(yolo, [sample], tmp_path / "out", ["x"])
        assert not (tmp_path / "out").exists()
    samples = [
        BoxSample(name, tmp_path / "in" / "a.png", (plain,), name, split)
        for name, split in (("a", "train"), ("b", ""))
    ]
    with pytest.raises(DentalzooError, match="a split for every image or for none"):
        write_annotations(yolo, samples, tmp_path / "out", ["x"])


def test_what_is_left_of_it_where_that_is_wanted(tmp_path):
    put(tmp_path, "in/a.png")
    squares = [(x, 10, x + 20, 10, x + 20, 30, x, 30) for x in (10.0, 50.0)]
    parts = Box("x", 10 / HEIGHT, 10 / WIDTH, 30 / HEIGHT, 70 / WIDTH, outline=(*squares,))
    sample = BoxSample("a", tmp_path / "in" / "a.png", (parts,), "a", "")
    write_annotations(yolo, [sample], tmp_path / "joined", ["x"], lossy=True)
    again = find_boxes(tmp_path / "joined", outlines=True).samples[0]
    assert boxed(again) == boxed(sample)
    inside = load(find_masks(tmp_path / "joined").samples[0])["mask"][..., 0]
    assert inside.sum() == 2 * 20 * 20 and inside[10:30, 50:70].all()
    mixed = BoxSample("a", sample.image, (parts, Box("x", 0.1, 0.1, 0.5, 0.5)), "a", "")
    write_annotations(yolo, [mixed], tmp_path / "boxes", ["x"], lossy=True)
    assert boxed(find_boxes(tmp_path / "boxes").samples[0]) == boxed(mixed)


def test_many_files_are_read_at_once(tmp_path, caplog):
    """Half a millisecond for each file, and no line in the log for each."""
    put(tmp_path, "images/0.png")
    for number in range(300):
        if number:
            shutil.copyfile(tmp_path / "images" / "0.png", tmp_path / "images" / f"{number}.png")
        text(tmp_path / "labels" / f"{number}.txt", LINE, "0 0.5 0.5 0.1 0.1 0.9")
    assert len(find_boxes(tmp_path)) == 300
    said = [what.removeprefix(f"{tmp_path}: ") for what in warnings(caplog)]
    assert [what.split()[0] for what in said] == ["YOLO", "no"]


def test_labels_of_two_images_of_one_name_are_refused(tmp_path):
    data = labelled(tmp_path, a=LINE, b=LINE)
    put(data, "images/a.jpg")  # a mask, perhaps
    found = find_boxes(data)
    assert [sample.name for sample in found.samples] == ["b"]
    assert ("labels/a.txt", "labels of 2 images of one name") in found.skipped


@pytest.mark.parametrize("comment", ["# my classes", "// my classes"])
def test_comments_in_lists_of_names_are_refused_since_they_shift_the_ids(tmp_path, comment):
    text(labelled(tmp_path, a=LINE) / "classes.txt", comment, "Caries")
    with pytest.raises(BadFile, match="line 1 must be the name of a class; delete comments"):
        find_boxes(tmp_path)


def test_numbers_of_teeth_with_a_hash_are_names(tmp_path):
    text(labelled(tmp_path, a=LINE) / "classes.txt", "#16", "#17")
    assert find_boxes(tmp_path).classes == ("#16", "#17")


def test_classes_that_differ_in_case_alone_are_said(tmp_path, caplog):
    text(labelled(tmp_path, a=LINE) / "classes.txt", "Caries", "caries")
    assert find_boxes(tmp_path).classes == ("Caries", "caries")
    assert "two classes differ in case or blanks alone: Caries and caries" in caplog.text


def test_a_confidence_before_the_box_is_refused(tmp_path):
    lines = {name: f"0 0.9{i} 0.3 0.4 0.2 0.25" for i, name in enumerate("abcdef")}
    with pytest.raises(DentalzooError, match="`class confidence cx cy w h` alone"):
        find_boxes(labelled(tmp_path, **lines))


def test_ids_that_count_from_1_are_refused_whole(tmp_path):
    text(labelled(tmp_path, a="1" + LINE[1:], b="2" + LINE[1:]) / "classes.txt", "Caries", "Crown")
    with pytest.raises(BadFile, match="the first one 0; subtract 1.*Received: ids 1..2 for 2"):
        find_boxes(tmp_path)


def test_exports_side_by_side_have_their_own_splits_and_names(tmp_path):
    for folder, names in (("one", "[Caries, Crown]"), ("two", "[Crown, Caries]")):
        for split in ("train", "valid"):
            put(tmp_path, f"{folder}/{split}/images/{folder}_{split}.png")
            text(tmp_path / folder / split / "labels" / f"{folder}_{split}.txt", LINE)
        splits = "train: ../train/images\nval: ../valid/images"
        text(tmp_path / folder / "data.yaml", splits, f"names: {names}")
    found = find_boxes(tmp_path)
    assert by_split(found) == {
        "train": ["one_train", "two_train"],
        "val": ["one_valid", "two_valid"],
    }
    assert {s.name[:3]: s.boxes[0].label for s in found.samples} == {
        "one": "Caries",
        "two": "Crown",
    }


@pytest.mark.parametrize(
    "lines", [("1 Crown", "0 Caries"), ("0: Caries", "1: Crown"), ('"Caries"', '"Crown"')]
)
def test_lists_of_names_with_ids_or_quotes(tmp_path, lines):
    text(labelled(tmp_path, a=LINE, b="1" + LINE[1:]) / "classes.txt", *lines)
    found = find_boxes(tmp_path)
    assert found.classes == ("Caries", "Crown") and labels(found) == [["Caries"], ["Crown"]]


@pytest.mark.parametrize("lines", [("11 molar", "12 molar"), ("3 roots", "1 root")])
def test_numbers_in_names_that_are_no_ids_stay(tmp_path, lines):
    text(labelled(tmp_path, a=LINE) / "classes.txt", *lines)
    assert find_boxes(tmp_path).classes == lines


@pytest.mark.parametrize("line", ["Caries, Crown", "['Caries', 'Crown']", "Caries;Crown"])
def test_all_names_in_one_line_are_refused(tmp_path, line):
    text(labelled(tmp_path, a=LINE) / "classes.txt", line)
    with pytest.raises(BadFile, match="must have a line for each class"):
        find_boxes(tmp_path)


def test_labels_beside_jpegimages_as_darknet_has_them(tmp_path):
    put(tmp_path, "JPEGImages/a.png")
    text(tmp_path / "labels" / "a.txt", LINE)
    assert labels(find_boxes(tmp_path)) == [["0"]]


def test_annotated_images_without_any_box_and_names_are_the_reason(tmp_path):
    with pytest.raises(DentalzooError, match="must have a box. Received: 2 annotated images"):
        find_boxes(labelled(tmp_path, a="", b=""))
