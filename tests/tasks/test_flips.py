"""Test-time augmentation: flips, and what is made of the views."""

import numpy as np
import pytest

from dentalzoo.data.io.images import read_mask, write_png
from dentalzoo.errors import DentalzooError
from dentalzoo.tasks import segmentation
from dentalzoo.tasks.detector import Detector
from dentalzoo.tasks.flips import Flip, flips_of
from dentalzoo.tasks.options import (
    BoxOptions,
    SegmentationEvaluateOptions,
    SegmentationPredictOptions,
)
from dentalzoo.tasks.postprocessing import fuse
from tests.tasks import test_detection, test_segmentation

BOTH = ("horizontal", "vertical")


@pytest.mark.parametrize("flip", flips_of(BOTH, ("a",), "b"))
def test_a_flip_twice_is_none(flip):
    image = np.arange(24).reshape(2, 4, 3)
    np.testing.assert_array_equal(flip.image(flip.image(image)), image)
    boxes = np.float32([[0.1, 0.2, 0.3, 0.6]])
    np.testing.assert_allclose(flip.boxes(flip.boxes(boxes)), boxes, atol=1e-7)
    names = ("11", "21", "34", "44")
    assert flip.classes(flip.classes(np.arange(1, 5), names), names).tolist() == [1, 2, 3, 4]


def test_boxes_and_numbers_go_with_the_image():
    np.testing.assert_allclose(
        Flip(across=True, down=True).boxes(np.array([[0, 0.1, 0.5, 0.3]])), [[0.5, 0.7, 1, 0.9]]
    )
    ids = np.array([1, 2, 2], np.int32)
    assert Flip(across=True).classes(ids, ("11", "21")).tolist() == [2, 1, 1]
    assert Flip(down=True).classes(ids, ("11", "21")).tolist() == [1, 2, 2]
    assert Flip(across=True).classes(ids, ("caries", "crown")).tolist() == [1, 2, 2]


def test_fused_boxes_by_hand():
    boxes = np.array([[0, 0, 1, 1.0], [0, 0, 1, 0.8], [0, 0, 1, 0.2], [0, 0, 1, 1.0]])
    fused = fuse(boxes, np.array([0.6, 0.2, 0.9, 0.5]), np.array([1, 1, 1, 2]), views=2)
    np.testing.assert_allclose(fused[0], [[0, 0, 1, 0.2], [0, 0, 1, 0.95], [0, 0, 1, 1]])
    np.testing.assert_allclose(fused[1], [0.45, 0.4, 0.25])  # halved: 0.9, 0.5
    assert fused[2].tolist() == [1, 1, 2]
    assert [len(part) for part in fuse(boxes[:0], np.zeros(0), np.zeros(0, int), 2)] == [0, 0, 0]


def test_views_that_agree_change_nothing():
    image = test_detection.radiograph((90, 5, 55, 20, 60), (180, 30, 70, 40, 75))[..., None]
    plain = Detector(test_detection.StandIn())(image)
    fused = Detector(test_detection.StandIn(), BoxOptions(tta=BOTH))(image)
    assert len(plain) == 2
    np.testing.assert_allclose(fused.boxes, plain.boxes, atol=1e-6)
    np.testing.assert_allclose(fused.scores, plain.scores, atol=1e-6)
    assert fused.classes.tolist() == plain.classes.tolist()


def test_a_number_that_does_not_change_in_the_mirror_loses_half_its_score():
    image = test_detection.radiograph((90, 5, 55, 20, 60))[..., None]
    found = Detector(test_detection.StandIn(("11", "21")), BoxOptions(tta=("horizontal",)))(image)
    np.testing.assert_allclose(found.scores, [0.45, 0.45])
    assert sorted(found.classes.tolist()) == [1, 2]
    one = Detector(
        test_detection.StandIn(("11", "21")), BoxOptions(tta=("horizontal",), teeth="single")
    )(image)
    assert len(one) == 1  # a tooth has one number


def test_teeth_are_not_turned_upside_down():
    with pytest.raises(DentalzooError, match="tta must not be vertical for stand_in"):
        Detector(test_detection.StandIn(("11", "21")), BoxOptions(tta=BOTH))


class Leaning(test_segmentation.StandIn):
    """Sees more on the left; of three classes, 11 and 21, more of 11."""

    def serve(self, image):
        values = super().serve(image)["probabilities"].copy()
        values[:, : image.shape[1] // 2, 0] += 0.3
        return {"probabilities": values, "mask": (values > 0.5).astype(np.uint8)}


def test_probabilities_are_averaged_over_the_views(tmp_path):
    grey = np.tile(np.uint8([30, 80, 80, 200]), (2, 1))
    write_png(tmp_path / "in" / "images" / "a.png", grey)
    write_png(tmp_path / "in" / "masks" / "a.png", np.uint8([[0, 0, 0, 255]] * 2))
    for tta, expected in (((), [0, 255, 0, 255]), (("horizontal",), [0, 0, 0, 255])):
        segmentation.predict(
            Leaning(),
            tmp_path / "in" / "images",
            tmp_path / f"out{len(tta)}",
            options=SegmentationPredictOptions(tta=tta),
        )
        found = read_mask(tmp_path / f"out{len(tta)}" / "a.png")
        assert found.tolist() == [expected] * 2
        report = segmentation.evaluate(
            Leaning(), tmp_path / "in", options=SegmentationEvaluateOptions(tta=tta)
        )
        assert report["tta"] == list(tta)
        assert report["mean"]["precision"] == (1 if tta else 0.5)


def test_classes_of_sides_change_places(tmp_path):
    bundle = test_segmentation.StandIn(3)
    write_png(tmp_path / "a.png", np.uint8([[10, 20, 0, 0]]))  # 11, 21, background
    options = SegmentationPredictOptions(tta=("horizontal",))
    with pytest.raises(DentalzooError, match="whose classes have no names"):
        segmentation.predict(bundle, tmp_path / "a.png", tmp_path / "out", options=options)
    bundle.metadata["config"] = {"classes": ["11", "21"]}
    segmentation.predict(bundle, tmp_path / "a.png", tmp_path / "out", options=options)
    # Each view is sure of its own number, which in the mirror is the other one: the first wins.
    assert read_mask(tmp_path / "out" / "a.png").tolist() == [[1, 1, 0, 0]]
