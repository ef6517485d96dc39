"""Numbered teeth of a mask, on a drawn radiograph whose teeth are known."""

import csv
from xml.etree import ElementTree

import cv2
import numpy as np
import pytest
from PIL import Image

from dentalzoo import bundle as bundles
from dentalzoo.data import synthetic
from dentalzoo.data.io.images import read_image, read_mask, write_png
from dentalzoo.errors import DentalzooError
from dentalzoo.tasks.options import SegmentationPredictOptions
from dentalzoo.tasks.projects import MIN_AREA
from dentalzoo.tasks.segmentation import predict
from dentalzoo.tasks.segmentation.instances import Numbering, divide, in_one_piece
from tests.tasks.test_segmentation import StandIn

NUMBERS = tuple(f"{quadrant}{place}" for quadrant in range(1, 5) for place in range(1, 9))


@pytest.fixture(scope="module")
def radiograph():
    return synthetic.panoramic(3, 128, 256)


def boxes_of(teeth):
    """The FDI numbers in an image, and their boxes."""
    numbers = [int(number) for number in np.unique(teeth) if number]
    boxes = []
    for number in numbers:
        rows, columns = np.nonzero(teeth == number)
        boxes.append((rows.min(), columns.min(), rows.max() + 1, columns.max() + 1))
    return numbers, np.array(boxes, np.float32) / [*teeth.shape, *teeth.shape]


def pieces_of(inside):
    """The number of pieces of a mask whose pixels touch by an edge."""
    return cv2.connectedComponents(inside.astype(np.uint8), connectivity=4)[0] - 1


def table(out):
    with open(out / "teeth.csv", newline="") as stream:
        return list(csv.DictReader(stream))


class Finder:
    """Finds given boxes, the second one with a worse one of the same number, the last hardly."""

    name = "finder"

    def __init__(self, teeth, classes=NUMBERS, task="detection"):
        self.metadata = {"task": task, "signatures": {"detect": {}}}
        self.metadata["config"] = {"classes": list(classes), "operating_threshold": 0.3}
        self.numbers, self.boxes = boxes_of(teeth)

    def detect(self, image):
        boxes = np.concatenate([self.boxes, self.boxes[:1]])
        scores = np.linspace(0.9, 0.8, len(boxes)).astype(np.float32)
        scores[-2:] = 0.2, 0.5
        classes = [1 + NUMBERS.index(str(n)) for n in (*self.numbers, self.numbers[1])]
        return {"boxes": boxes, "scores": scores, "classes": classes, "num": len(boxes)}


class Segmenter(StandIn):
    """Has the mask of the radiograph for every image."""

    def __init__(self, mask):
        super().__init__()
        self.mask = mask

    def serve(self, image):
        return super().serve(self.mask)


@pytest.fixture
def run(radiograph, tmp_path, monkeypatch):
    """Call `predict` with teeth that are found, and return the folder of the results."""
    write_png(tmp_path / "in" / "a.png", radiograph.image)
    monkeypatch.setattr(bundles, "load", lambda reference: Finder(radiograph.teeth))
    mask = radiograph.tooth_mask.astype(np.uint8)[..., None] * np.uint8(255)

    def call(**options):
        chosen = SegmentationPredictOptions(instances="finder", **options)
        report = predict(Segmenter(mask), tmp_path / "in", tmp_path / "out", options=chosen)
        assert (report.written, report.failed) == (1, [])
        return tmp_path / "out"

    return call


def test_teeth_are_divided_near_to_the_truth(radiograph):
    numbers, boxes = boxes_of(radiograph.teeth)
    nearest = divide(radiograph.teeth > 0, boxes)
    found = np.array([0, *numbers])[nearest]
    ious = [
        np.sum((found == number) & (radiograph.teeth == number))
        / np.sum((found == number) | (radiograph.teeth == number))
        for number in numbers
    ]
    assert np.mean(ious) > 0.96 and np.min(ious) > 0.8  # measured: 0.963, 0.876
    assert not nearest[radiograph.teeth == 0].any()
    assert all(pieces_of(found == number) == 1 for number in numbers)


def test_a_pixel_belongs_to_the_nearest_box_and_far_ones_to_none():
    mask = np.ones((10, 40), bool)
    mask[:2] = False
    boxes = [(0, 0, 1, 0.25), (0, 0.2, 1, 0.5), (0.4, 0.5, 0.4, 0.5)]  # the last one is a point
    nearest = divide(mask, np.array(boxes))
    assert not nearest[:2].any()
    assert nearest[5].tolist() == [1] * 9 + [2] * 13 + [0] * 18
    assert nearest[4, 20] == 2  # at the point's corner, but nearer to the other box
    assert not divide(mask, np.zeros((0, 4))).any()
    assert divide(mask, np.array([(-0.5, -0.5, 1.5, 1.5)])).any()  # beyond the image


def test_a_stray_becomes_part_of_what_it_touches_most():
    ids = np.zeros((12, 30), np.uint8)
    ids[:, :8] = 1
    ids[:, 8:16] = 2
    ids[4:6, 2:5] = 2  # inside of 1
    ids[0:3, 14:16] = 3  # at 2, by four edges, and at the part without a number, by three
    ids[:, 22:] = 3
    ids[9:, 18:22] = 1  # at 3, and at a larger part without a number by one edge more
    mask = ids > 0
    mask[0:3, 16] = mask[6:9, 17:22] = mask[9:, 17] = True
    cleaned = in_one_piece(ids, mask)
    wanted = ids.copy()
    wanted[4:6, 2:5] = 1
    wanted[0:3, 14:16] = 2
    wanted[9:, 18:22] = 0
    np.testing.assert_array_equal(cleaned, wanted)
    np.testing.assert_array_equal(in_one_piece(cleaned, mask), cleaned)


def test_a_chain_of_strays_ends_at_one_tooth():
    ids = np.zeros((6, 20), np.uint8)
    ids[:, :6], ids[:, 12:] = 1, 2
    ids[2, 6:8], ids[2, 8:10], ids[2, 10] = 2, 1, 2  # 10 touches 8:10, and not its own tooth
    wanted = ids.copy()
    wanted[2, 6:11] = 1
    np.testing.assert_array_equal(in_one_piece(ids, ids > 0), wanted)


def test_a_piece_that_touches_nothing_stays_where_it_is_large():
    ids = np.zeros((30, 10), np.uint8)
    ids[:10] = 1  # 100 pixels
    ids[12, :] = 1  # a tenth
    ids[14, :9] = 1
    ids[13, :3] = 2  # between both, and small against its tooth
    ids[16:] = 2
    wanted = ids.copy()
    wanted[13, :3] = 1  # touches the piece that stays
    np.testing.assert_array_equal(in_one_piece(ids, ids > 0), wanted)
    ids[12:14] = 0
    wanted = ids.copy()
    wanted[14] = 0  # nine pixels are too few
    np.testing.assert_array_equal(in_one_piece(ids, ids > 0), wanted)


def test_pixels_that_touch_at_a_corner_alone_are_pieces_of_their_own():
    ids = np.zeros((8, 8), np.uint8)
    ids[:4, :4] = 1
    ids[4, 4] = 1
    wanted = ids.copy()
    wanted[4, 4] = 0
    np.testing.assert_array_equal(in_one_piece(ids, ids > 0), wanted)
    assert not in_one_piece(ids * 0, ids > 0).any()


def test_predict_writes_numbered_teeth(run, radiograph):
    out = run(overlay=True)
    names = ["a.png", "a_overlay.png", "a_teeth.png", "teeth.csv"]
    assert sorted(path.name for path in out.glob("[!.]*")) == names
    teeth = read_mask(out / "a_teeth.png")
    mask = read_mask(out / "a.png") > 0
    np.testing.assert_array_equal(mask, radiograph.tooth_mask)
    with Image.open(out / "a_teeth.png") as stored:
        assert stored.mode == "P"
    numbers, _ = boxes_of(radiograph.teeth)
    found = numbers[:-1]  # the last has a score of 0.2
    assert set(np.unique(teeth)) == {0, *found} and not teeth[~mask].any()
    rows = table(out)
    assert [row["tooth"] for row in rows] == [*map(str, found), ""]
    assert all(row["file"] == "a.png" for row in rows)
    for row in rows[:-1]:
        assert int(row["area"]) == np.sum(teeth == int(row["tooth"])) > 0
        assert 0.7 < float(row["score"]) <= 0.9 and float(row["left"]) < float(row["right"])
    assert int(rows[-1]["area"]) == np.sum(mask & (teeth == 0))
    assert not any(row["doubt"] for row in rows)
    drawn = read_image(out / "a_overlay.png")
    assert drawn.shape == (128, 256, 3) and (drawn[teeth > 0] != 0).any()


def test_a_number_that_stands_where_it_cannot_is_said(run, radiograph, monkeypatch, caplog):
    finder = Finder(radiograph.teeth)
    first, other = finder.numbers.index(14), finder.numbers.index(17)
    finder.boxes[[first, other]] = finder.boxes[[other, first]]
    monkeypatch.setattr(bundles, "load", lambda reference: finder)
    rows = table(run())
    doubted = {row["tooth"] for row in rows if row["doubt"] == "order"}
    assert doubted and doubted <= {"14", "15", "16", "17"}
    [line] = [message for message in caplog.messages if "order of teeth" in message]
    assert "a.png: not in the order of teeth: " + ", ".join(sorted(doubted)) in line


def test_a_project_has_one_object_for_each_tooth(run, radiograph):
    out = run(format=("cvat",))
    root = ElementTree.parse(out / "cvat" / "annotations.xml").getroot()
    shapes = [*root.find("image")]
    assert {shape.get("source") for shape in shapes} == {"auto"}
    teeth = [row["tooth"] for row in table(out) if row["tooth"] and int(row["area"]) >= MIN_AREA]
    grouped = [(shape.get("label"), shape.get("group_id", "")) for shape in shapes]
    assert sorted({label for label, _ in grouped} - {"tooth"}) == sorted(teeth)
    numbered = {(label, group) for label, group in grouped if label != "tooth"}
    assert len(numbered) == len(teeth)  # one group, or a single shape, for each


def test_what_has_no_number_is_drawn_said_and_an_object_of_its_own(
    run, radiograph, monkeypatch, caplog
):
    finder = Finder(radiograph.teeth)
    kept = np.array(finder.numbers) != 36
    finder.boxes, finder.numbers = finder.boxes[kept], list(np.array(finder.numbers)[kept])
    monkeypatch.setattr(bundles, "load", lambda reference: finder)
    out = run(format=("cvat",), overlay=True)
    teeth = read_mask(out / "a_teeth.png")
    unnumbered = (read_mask(out / "a.png") > 0) & (teeth == 0)
    share = 100 * unnumbered.sum() / (read_mask(out / "a.png") > 0).sum()
    (line,) = [message for message in caplog.messages if "without a number" in message]
    assert "a.png: 2 outlines as large as a tooth without a number" in line  # one was never found
    assert f"({share:.0f} % of the mask" in line
    root = ElementTree.parse(out / "cvat" / "annotations.xml").getroot()
    shapes = [shape for shape in root.find("image") if shape.get("label") == "tooth"]
    drawn = np.zeros(teeth.shape, np.uint8)
    for shape in shapes:
        assert shape.get("group_id") is None
        corners = [[float(v) for v in pair.split(",")] for pair in shape.get("points").split(";")]
        cv2.fillPoly(drawn, [np.int32(np.round(corners))], 1)
    assert (drawn > 0)[unnumbered].mean() > 0.8
    overlay = read_image(out / "a_overlay.png")
    assert (overlay[unnumbered] != read_image(out.parent / "in" / "a.png")[unnumbered]).any()


def test_projects_and_anonymous_results_have_the_teeth(run, radiograph):
    out = run(format=("coco",), anonymize=True)
    (teeth,) = out.glob("*_teeth.png")
    row, *_ = table(out)
    assert row["file"] == f"{teeth.name.removesuffix('_teeth.png')}.png" != "a.png"
    text = (out / "coco" / "annotations" / "instances_default.json").read_text()
    assert '"11"' in text and '"48"' in text


@pytest.mark.parametrize(
    "finder, says",
    [
        ({"classes": ("tooth",)}, "finder with tooth"),
        ({"classes": ("11", "12"), "task": "segmentation"}, "finder with a bundle for segment"),
    ],
)
def test_other_bundles_are_refused(finder, says, radiograph, monkeypatch):
    monkeypatch.setattr(bundles, "load", lambda reference: Finder(radiograph.teeth, **finder))
    with pytest.raises(DentalzooError, match=f"whose classes are FDI numbers.*{says}"):
        Numbering("finder")


def test_classes_and_instances_exclude_each_other():
    with pytest.raises(DentalzooError, match="classes must be None with instances"):
        SegmentationPredictOptions(classes=("tooth",), instances="finder")
