"""Boxes as the arrays of supervision, and back; the library itself is not needed."""

from types import SimpleNamespace

import numpy as np
import pytest

from dentalzoo.data.detections import as_detections, from_detections
from dentalzoo.data.formats.base import Box, BoxSample
from dentalzoo.data.formats.outlines import objects_of_mask
from dentalzoo.data.io.images import write_png
from dentalzoo.errors import DentalzooError

CLASSES = ("Crown", "Filling")


@pytest.fixture
def image(tmp_path):
    write_png(tmp_path / "a.png", np.zeros((50, 80), np.uint8))
    return tmp_path / "a.png"


def test_boxes_with_scores(image):
    boxes = (Box("Filling", 0.1, 0.25, 0.5, 0.75, score=0.5), Box("Crown", 0, 0, 1, 1, score=0.25))
    arrays = as_detections(BoxSample("a", image, boxes), CLASSES)
    np.testing.assert_allclose(arrays["xyxy"], [[20, 5, 60, 25], [0, 0, 80, 50]])
    assert arrays["class_id"].tolist() == [1, 0] and arrays["mask"] is None
    assert arrays["data"]["class_name"].tolist() == ["Filling", "Crown"]
    again = from_detections(SimpleNamespace(**arrays), image, CLASSES)
    assert again == BoxSample("a", image, boxes)


def test_masks(image):
    mask = np.zeros((50, 80), int)
    mask[5:20, 5:30], mask[8:12, 10:14], mask[30:40, 50:70] = 1, 0, 1
    sample = BoxSample("a", image, tuple(objects_of_mask(mask, CLASSES)))
    arrays = as_detections(sample, CLASSES)
    assert arrays["confidence"] is None
    np.testing.assert_array_equal(arrays["mask"].any(0), mask == 1)
    again = from_detections(SimpleNamespace(**arrays), image, CLASSES)
    np.testing.assert_array_equal(as_detections(again, CLASSES)["mask"], arrays["mask"])


def test_nothing_is_something(image):
    arrays = as_detections(BoxSample("a", image, ()), CLASSES)
    assert arrays["xyxy"].shape == (0, 4) and arrays["class_id"].shape == (0,)
    assert from_detections(SimpleNamespace(**arrays), image, CLASSES).boxes == ()


def test_what_cannot_be_is_refused(image):
    sample = BoxSample("a", image, (Box("Implant", 0, 0, 1, 1),))
    with pytest.raises(DentalzooError, match="Received: 'Implant'"):
        as_detections(sample, CLASSES)
    for arrays, reason in (
        ({"xyxy": np.zeros((1, 4)), "class_id": [2]}, "from 0 to 1"),
        ({"xyxy": np.zeros((1, 4)), "class_id": None}, "class_id None"),
        ({"xyxy": np.zeros((2, 4)), "class_id": [0]}, r"class_id \(1,\)"),
        ({"xyxy": np.zeros((1, 4)), "class_id": [0], "mask": np.zeros((1, 5, 5))}, "image's size"),
    ):
        with pytest.raises(DentalzooError, match=reason):
            from_detections(SimpleNamespace(**arrays), image, CLASSES)
