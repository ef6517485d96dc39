"""Single boxes that are worth a look."""

import json

from dentalzoo.checking import describe_report, needs_fixing
from dentalzoo.data.box_findings import box_findings
from dentalzoo.data.boxes import check_boxes
from dentalzoo.data.formats.base import Box
from tests.data.test_boxes import yolo

CROWN = Box("Crown", 0.2, 0.2, 0.4, 0.4)


def texts(*boxes, more=()):
    return [[one.text, one.boxes] for one in box_findings([boxes, *more])[0]]


def test_tiny_and_huge_boxes_by_their_part_of_the_image():
    assert texts(Box("Crown", 0.1, 0.1, 0.102, 0.3)) == [
        ["tiny: Crown of 20.0% x 0.2% of the image", (0,)]
    ]
    assert texts(Box("Crown", 0.1, 0.1, 0.9, 0.9)) == [
        ["huge: Crown of 80.0% x 80.0% of the image", (0,)]
    ]
    assert texts(CROWN) == []
    assert texts(Box("Crown", 0.1, 0.1, 0.9, 0.9, crowd=True)) == []


def test_tiny_and_huge_boxes_beside_others_of_their_class():
    usual = [[Box("Crown", 0.1, 0.1, 0.2, 0.2)]] * 30
    assert texts(Box("Crown", 0.1, 0.1, 0.115, 0.115), more=usual)[0][0].startswith("tiny")
    assert texts(Box("Crown", 0.1, 0.1, 0.65, 0.65), more=usual)[0][0].startswith("huge")
    assert texts(Box("Jaw", 0.1, 0.1, 0.65, 0.65), more=usual) == []
    assert texts(Box("Crown", 0.1, 0.1, 0.65, 0.65), more=usual[:5]) == []  # too few to tell


def test_two_boxes_in_one_place():
    again = Box("Crown", 0.2, 0.2, 0.4, 0.39)
    other = Box("Filling", 0.2, 0.21, 0.4, 0.4)
    beside = Box("Crown", 0.2, 0.3, 0.4, 0.5)
    assert texts(CROWN, again, beside) == [["duplicate: two boxes of Crown, IoU 0.95", (0, 1)]]
    assert texts(CROWN, beside, other) == [
        ["overlapping classes: Crown and Filling, IoU 0.95", (0, 2)]
    ]
    assert texts(CROWN, Box("Crown", 0.2, 0.2, 0.4, 0.39, crowd=True)) == []


def test_a_tooth_in_two_places():
    one, other = Box("11", 0.2, 0.2, 0.4, 0.4), Box("11", 0.6, 0.6, 0.8, 0.8)
    assert texts(one, other) == [["tooth twice: 2 boxes of 11", (0, 1)]]
    assert texts(one, other, more=[[CROWN]]) == []  # not all classes are numbers
    again = Box("11", 0.2, 0.2, 0.4, 0.39)
    assert texts(one, again) == [["duplicate: two boxes of 11, IoU 0.95", (0, 1)]]


def test_quadrants_that_are_exchanged():
    """As in the annotations of a public set of panoramic radiographs, whose lower jaws are so."""

    def teeth(top, *labels):
        lefts = (0.4, 0.45, 0.5, 0.55)
        return [
            Box(name, top, x, top + 0.2, x + 0.04) for name, x in zip(labels, lefts, strict=True)
        ]

    upper = teeth(0.3, "12 - Lateral Incisor", "11", "21", "22")
    lower = teeth(0.6, "42", "41", "31", "32")
    assert texts(*upper, *lower, CROWN) == []
    exchanged = teeth(0.6, "32", "31", "41", "42")
    what = "other side: lower teeth of the patient's right lie right of the left ones"
    assert texts(CROWN, *upper, *exchanged) == [[what, (5, 6, 7, 8)]]
    assert texts(*upper, *exchanged[1:]) == []  # one tooth on a side does not tell
    mirrored = [Box(b.label, b.top, 1 - b.right, b.bottom, 1 - b.left) for b in (*upper, *lower)]
    assert [text for text, _ in texts(*mirrored)] == [what.replace("lower", "upper"), what]


def test_the_report_lists_them_and_duplicates_must_be_fixed(tmp_path):
    one, other = "0 0.5 0.5 0.2 0.2", "1 0.5 0.5 0.2 0.19"
    yolo(tmp_path, "a", lines=(one, other))
    report = check_boxes(tmp_path)
    listed = [["a", "overlapping classes: Crown and Implant, IoU 0.95"]]
    assert report["boxes_to_check"] == listed and not needs_fixing(report)
    assert "look at a: overlapping classes" in describe_report(report)
    yolo(tmp_path, "a", lines=(one, "0 0.5 0.5 0.2 0.19"))
    report = check_boxes(tmp_path)
    assert ["a", "duplicate: two boxes of Crown, IoU 0.95"] in report["suspicious"]
    assert needs_fixing(report) and json.loads(json.dumps(report)) == report
