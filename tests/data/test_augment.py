"""Augmentation of boxes; of masks it is tested in test_pipeline.py."""

import numpy as np
import pytest

from dentalzoo.data.augment import Augment, albumentations, black_patches


def sample(boxes):
    image = np.full((60, 90, 3), 200, np.uint8)
    rows, classes = np.zeros((6, 4), np.float32), np.zeros(6, np.int32)
    for index, (*box, number) in enumerate(boxes):
        rows[index], classes[index] = box, number
        top, left, bottom, right = (np.array(box) * (60, 90, 60, 90)).astype(int)
        image[top:bottom, left:right] = 10 * number
    return {"image": image, "boxes": rows, "classes": classes}


ONE = sample([(0.1, 0.2, 0.4, 0.3, 2), (0.5, 0.6, 0.9, 0.9, 1)])


def test_boxes_follow_the_picture():
    flip = Augment(lambda: [albumentations().HorizontalFlip(p=1.0)])
    made = flip(ONE, 0, 0)
    np.testing.assert_allclose(made["boxes"][0], [0.1, 0.7, 0.4, 0.8], atol=1e-6)
    assert made["classes"].tolist() == [2, 1, 0, 0, 0, 0] and not made["boxes"][2:].any()
    assert {key: (v.shape, v.dtype) for key, v in made.items()} == {
        key: (v.shape, v.dtype) for key, v in ONE.items()
    }
    for box, number in zip(made["boxes"][:2], (2, 1), strict=True):
        top, left, bottom, right = np.rint(box * (60, 90, 60, 90)).astype(int)
        assert (made["image"][top + 1 : bottom - 1, left + 1 : right - 1] == 10 * number).all()


def test_a_box_of_which_little_is_left_is_none():
    crop = Augment(lambda: [albumentations().Crop(0, 0, 57, 60), albumentations().Resize(60, 90)])
    made = crop(ONE, 0, 0)  # of the second box 3 of 27 columns are left
    assert made["classes"].tolist() == [2, 0, 0, 0, 0, 0]


def test_a_picture_without_boxes_stays_one():
    made = Augment(lambda: [albumentations().VerticalFlip(p=1.0)])(sample([]), 0, 0)
    assert not made["classes"].any() and not made["boxes"].any()


def test_black_patches_leave_boxes_alone():
    dark = Augment(lambda: [black_patches(count=10, probability=0.5, size=0.1)], seed=1)
    shares = []
    for index in range(40):
        made = dark(ONE, 0, index)
        np.testing.assert_array_equal(made["boxes"], ONE["boxes"])
        black = (made["image"] == 0).all(-1)
        assert (made["image"][~black] == ONE["image"][~black]).all()
        shares.append(black.sum() / 36)  # a patch has 6 x 6 pixels
    assert 3 < np.mean(shares) <= 5.5 and max(shares) <= 10
    np.testing.assert_array_equal(dark(ONE, 0, 7)["image"], dark(ONE, 0, 7)["image"])
    assert ONE["image"].min() == pytest.approx(10)
