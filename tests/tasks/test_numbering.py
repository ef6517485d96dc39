"""How well teeth are numbered, counted by hand."""

import numpy as np
import pytest

from dentalzoo.tasks.detection import evaluate, summary_metrics
from dentalzoo.tasks.detection.numbering import has_gap, numbering
from tests.tasks import test_detection

NUMBERS = (11, 12, 13, 21, 31, 41)


def table(*pairs):
    """Counts of (annotated, detected) pairs of one image; None for nothing."""
    counts = np.zeros((len(NUMBERS) + 1,) * 2, int)
    for pair in pairs:
        row, column = (len(NUMBERS) if n is None else NUMBERS.index(n) for n in pair)
        counts[row, column] += 1
    return counts


def values(group):
    return {k: v["value"] for k, v in group.items() if isinstance(v, dict)}


def test_numbering_by_hand():
    tables = [
        table((11, 11), (12, 13), (21, 11), (31, None), (None, 41)),  # no gap
        table((11, 11), (13, 31), (21, 21)),  # 12 is missing
    ]
    report = numbering(np.array(tables), NUMBERS)
    assert [report[name]["images"] for name in report] == [2, 1, 1]
    assert [report[name]["teeth"] for name in report] == [7, 3, 4]
    assert values(report["all"]) == pytest.approx(
        {
            "recall": 6 / 7,
            "precision": 6 / 7,
            "right_number": 3 / 6,
            "neighbour": 2 / 6,  # 12 as 13, 21 as 11
            "wrong_number": 1 / 6,  # 13 as 31
            "present": 3 / 7,  # 11; 11, 21
            "absent": 2 / 5,  # not 13, 41; 12, 41, not 31
        },
        abs=1e-6,
    )
    assert values(report["with_gaps"])["right_number"] == pytest.approx(2 / 3, abs=1e-6)
    assert values(report["without_gaps"])["right_number"] == pytest.approx(1 / 3, abs=1e-6)
    recall = report["all"]["recall"]
    assert 0.75 <= recall["low"] < recall["value"] < recall["high"] <= 1


def test_without_images_of_a_kind_there_is_no_number():
    report = numbering(np.array([table((11, 11), (12, 12))]), NUMBERS)
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
    image = test_detection.radiograph((90, 5, 20, 20, 60), (95, 5, 70, 20, 95))
    report = {}
    for names in (("11", "21"), ("caries", "crown")):
        renamed = [(names[("11", "21").index(name)], *box) for name, *box in objects]
        data = test_detection.write_boxes(tmp_path / names[0], {"a": (image, renamed)}, names)
        report[names] = evaluate(test_detection.StandIn(names), data)
    assert report["caries", "crown"]["numbering"] is None
    assert "teeth_recall" not in summary_metrics(report["caries", "crown"])
    found = values(report["11", "21"]["numbering"]["all"])
    assert (found["recall"], found["right_number"], found["neighbour"]) == (1, 0.5, 0.5)
    assert summary_metrics(report["11", "21"])["teeth_right_number"] == 0.5
