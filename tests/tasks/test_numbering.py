"""How well teeth are numbered, counted by hand."""

import numpy as np
import pytest

from dentalzoo.tasks.detection import evaluate, summary_metrics
from dentalzoo.tasks.detection.matching import Case
from dentalzoo.tasks.detection.numbering import has_gap, numbering
from tests.tasks import test_detection

NUMBERS = (11, 12, 13, 21, 31, 41)


def case(*pairs):
    """An image of (annotated, detected) teeth, None for nothing, each in its own place."""
    edges = np.arange(len(pairs), dtype=np.float32)[:, None] / 20 + np.float32([0, 0, 0.04, 0.04])
    gt = np.array([annotated is not None for annotated, _ in pairs])
    found = np.array([detected is not None for _, detected in pairs])
    labels = np.array(
        [[1 + NUMBERS.index(n) if n else 0 for n in pair] for pair in pairs], np.int32
    )
    return Case(
        name="a",
        size=(100, 100),
        gt_boxes=edges[gt],
        gt_classes=labels[gt, 0],
        ignored=np.zeros(gt.sum(), bool),
        crowd=np.zeros(gt.sum(), bool),
        boxes=edges[found],
        scores=np.linspace(0.9, 0.8, found.sum(), dtype=np.float32),
        classes=labels[found, 1],
    )


def values(group):
    return {k: v["value"] for k, v in group.items() if isinstance(v, dict)}


def test_numbering_by_hand():
    cases = [
        case((11, 21), (12, 13), (31, None), (None, 41)),  # no gap
        case((11, 11), (13, 31), (21, 21)),  # 12 is missing
    ]
    report = numbering(cases, NUMBERS, 0.5)
    assert [report[name]["images"] for name in report] == [2, 1, 1]
    assert [report[name]["teeth"] for name in report] == [6, 3, 3]
    assert values(report["all"]) == pytest.approx(
        {
            "recall": 5 / 6,
            "precision": 5 / 6,
            "right_number": 2 / 5,
            "neighbour": 2 / 5,  # 11 as 21, 12 as 13
            "wrong_number": 1 / 5,  # 13 as 31
            "present": 2 / 6,  # 11 and 21 of the second image
            "absent": 2 / 6,  # its 12 and 41, not its 31
        },
        abs=1e-6,
    )
    assert values(report["with_gaps"])["right_number"] == pytest.approx(2 / 3, abs=1e-6)
    assert values(report["without_gaps"])["right_number"] == 0
    recall = report["all"]["recall"]
    assert 0.6 <= recall["low"] < recall["value"] < recall["high"] <= 1


def test_without_images_of_a_kind_there_is_no_number():
    report = numbering([case((11, 11), (12, 12))], NUMBERS, 0.5)
    assert report["with_gaps"]["images"] == 0
    assert set(values(report["with_gaps"]).values()) == {None}
    assert values(report["all"])["recall"] == 1 and report["all"]["recall"]["low"] is None


@pytest.mark.parametrize(
    "teeth, expected",
    [
        ([], False),
        ([11, 21, 22], False),
        ([12, 21], True),  # no 11
        ([17, 16, 15, 14, 13, 12, 11, 21, 22, 23, 24, 25, 26, 27], False),  # no wisdom teeth
        ([31, 41, 43], True),
        ([11, 42], False),  # of different jaws
        ([51, 61, 62, 64], True),
    ],
)
def test_gaps_are_between_teeth(teeth, expected):
    assert has_gap(teeth) is expected


def test_evaluate_reports_the_numbers_of_teeth_alone(tmp_path):
    objects = [("11", 5, 20, 20, 60), ("21", 5, 70, 20, 95)]
    image = test_detection.radiograph((195, 5, 20, 20, 60), (90, 5, 70, 20, 95))
    report = {}
    for names in (("11", "21"), ("caries", "crown")):
        renamed = [(names[("11", "21").index(name)], *box) for name, *box in objects]
        data = test_detection.write_boxes(tmp_path / names[0], {"a": (image, renamed)}, names)
        report[names] = evaluate(test_detection.StandIn(names), data)
    assert report["caries", "crown"]["numbering"] is None
    assert "teeth_recall" not in summary_metrics(report["caries", "crown"])
    found = values(report["11", "21"]["numbering"]["all"])
    assert (found["recall"], found["right_number"], found["neighbour"]) == (1, 0, 1)
    assert summary_metrics(report["11", "21"])["teeth_right_number"] == 0
