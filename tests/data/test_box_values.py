"""What most boxes of a data set have in common is suspicious."""

import json
import random

import pytest
from PIL import Image

from dentalzoo.data.box_values import suspicious_boxes
from dentalzoo.data.boxes import check_boxes, find_boxes
from dentalzoo.data.formats import base
from dentalzoo.data.formats.base import Box


def boxes(count=30, **same):
    """Different boxes, except for the edges and sides given."""
    chance = random.Random(0)
    made = []
    for _ in range(count):
        y, x, h, w = (chance.uniform(0.1, 0.5) for _ in range(4))
        h, w = same.get("size", (h, w))
        y, x = same.get("centre", (y, x))
        y, x = (y - h / 2, x - w / 2) if "centre" in same else (y, x)
        made.append(Box("Crown", y, x, y + h, x + w))
    return made


@pytest.mark.parametrize(
    ("same", "problem"),
    [
        ({}, None),
        ({"size": (0.1, 0.2)}, "30 of 30 boxes have one size"),
        ({"centre": (0.5, 0.5)}, "30 of 30 boxes lie in one place"),
    ],
)
def test_boxes_that_are_alike(same, problem):
    assert suspicious_boxes([boxes(**same), []]) == ([problem] if problem else [])
    assert suspicious_boxes([boxes(10, **same)]) == []  # too few to tell


def test_boxes_around_the_whole_image():
    whole = Box("Crown", 0, 0.01, 0.99, 1)
    assert "30 of 31 boxes cover the whole image" in suspicious_boxes([[whole] * 30, boxes(1)])
    assert suspicious_boxes([]) == []


def test_data_without_any_box_is_said(tmp_path, caplog):
    base.notice_once.cache_clear()
    Image.new("L", (8, 8)).save(tmp_path / "a.png")
    images = [{"id": 1, "file_name": "a.png", "width": 8, "height": 8}]
    content = {"images": images, "categories": [{"id": 1, "name": "Caries"}], "annotations": []}
    (tmp_path / "_annotations.coco.json").write_text(json.dumps(content))
    find_boxes(tmp_path)
    assert "no image has a box: all 1 are empty" in caplog.text
    suspicious = check_boxes(tmp_path)["suspicious"]
    assert ["boxes", "no image has a box: all 1 are empty"] in suspicious
