"""Augmentation of boxes; of masks it is tested in test_batching.py."""

import numpy as np
import pytest

from dentalzoo.data.pipeline.augmentation import Augment, albumentations, black_patches
from dentalzoo.data.synthetic import panoramic


def sample(boxes):
    image = np.full((60, 90, 3), 200, np.uint8)
    rows, classes = np.zeros((6, 4), np.float32), np.zeros(6, np.int32)
    for index, (*box, number) in enumerate(boxes):
        rows[index], classes[index] = box, number
        top, left, bottom, right = (np.array(box) * (60, 90, 60, 90)).astype(int)
        image[top:bottom, left:right] = 10 * number
    return {"image": image, "boxes": rows, "classes": classes}


ONE = sample([(0.1, 0.2, 0.4, 0.3, 2), (0.5, 0.6, 0.9, 0.9, 1)])


def test_boxes_follow_the_image():
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


def test_a_box_of_which_little_is_left_is_dropped():
    crop = Augment(lambda: [albumentations().Crop(0, 0, 57, 60), albumentations().Resize(60, 90)])
    made = crop(ONE, 0, 0)  # of the second box 3 of 27 columns are left
    assert made["classes"].tolist() == [2, 0, 0, 0, 0, 0]


def test_an_image_without_boxes_stays_one():
    made = Augment(lambda: [albumentations().VerticalFlip(p=1.0)])(sample([]), 0, 0)
    assert not made["classes"].any() and not made["boxes"].any()


def test_a_box_beyond_the_border_is_cut_and_one_without_an_area_is_dropped():
    made = Augment(lambda: [albumentations().VerticalFlip(p=1.0)])(
        sample([(0.5, 0.5, 1.001, 1.0000002, 2), (0.3, 0.2, 0.3, 0.4, 1), (0.1, 0.1, 0.2, 0.2, 3)]),
        0,
        0,
    )
    assert made["classes"].tolist() == [2, 3, 0, 0, 0, 0]
    np.testing.assert_allclose(made["boxes"][0], [0, 0.5, 0.5, 1], atol=1e-6)


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


# ---- tooth numbers -------------------------------------------------------------------------------


def radiograph_of_teeth(seed=5):
    """A synthetic radiograph with a box for each tooth, and its numbers with their mirrors."""
    radiograph = panoramic(seed, 128, 256)
    numbers = [number for number in np.unique(radiograph.teeth).tolist() if number]
    names = sorted({*numbers, *(n + 10 if n // 10 % 2 else n - 10 for n in numbers)})
    boxes, classes = np.zeros((40, 4), np.float32), np.zeros(40, np.int32)
    for row, number in enumerate(numbers):
        pixels = np.argwhere(radiograph.teeth == number)
        boxes[row] = np.concatenate([pixels.min(0), pixels.max(0) + 1]) / (128, 256, 128, 256)
        classes[row] = 1 + names.index(number)
    image = np.repeat(radiograph.image[..., None], 3, -1)
    return {"image": image, "boxes": boxes, "classes": classes}, tuple(map(str, names))


def numbers_of(made, names):
    """Number of each tooth -> centre (y, x) of its box."""
    boxes, classes = made["boxes"], made["classes"]
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    return {int(names[c - 1]): p for c, p in zip(classes, centres, strict=True) if c}


def mirror_image(number):
    return number + 10 if number // 10 % 2 else number - 10


@pytest.mark.parametrize(
    ("flips", "swapped", "moved"),
    [
        (["HorizontalFlip"], True, lambda y, x: (y, 1 - x)),
        (["VerticalFlip"], True, lambda y, x: (1 - y, x)),
        (["HorizontalFlip", "VerticalFlip"], False, lambda y, x: (1 - y, 1 - x)),
        ([], False, lambda y, x: (y, x)),
    ],
)
def test_tooth_numbers_change_sides_in_a_mirror_alone(flips, swapped, moved):
    sample, names = radiograph_of_teeth()
    patches = black_patches(count=3)  # neither moves nor mirrors anything
    flip = Augment(lambda: [*(getattr(albumentations(), f)(p=1.0) for f in flips), patches],
                   classes=names)  # fmt: skip
    before, after = numbers_of(sample, names), numbers_of(flip(sample, 0, 0), names)
    assert len(before) > 20
    expected = {(mirror_image(n) if swapped else n): moved(*p) for n, p in before.items()}
    assert after.keys() == expected.keys()
    for number, point in expected.items():
        np.testing.assert_allclose(after[number], point, atol=1e-5)


def test_a_radiograph_flipped_left_to_right_is_that_of_a_mouth():
    """Where the patient's right is on the left, the midline divides 11..18 from 21..28."""
    sample, names = radiograph_of_teeth()
    flip = Augment(lambda: [albumentations().HorizontalFlip(p=1.0)], classes=names)
    for made in (sample, flip(sample, 0, 0)):
        centres = numbers_of(made, names)
        right = [x for number, (_, x) in centres.items() if number // 10 in (1, 4)]
        left = [x for number, (_, x) in centres.items() if number // 10 in (2, 3)]
        assert max(right) < min(left) + 0.03


def test_rotation_and_scale_mirror_nothing():
    sample, names = radiograph_of_teeth()
    move = Augment(lambda: [albumentations().Affine(scale=(1.5, 2), rotate=(-180, 180), p=1.0)],
                   classes=names)  # fmt: skip
    for index in range(10):
        made = numbers_of(move(sample, 0, index), names)
        assert made.keys() <= numbers_of(sample, names).keys()


@pytest.mark.parametrize("names", [("11", "12", "22"), ("0", "11", "21")])
def test_numbers_without_their_mirror_image_are_not_flipped(names, caplog):
    caplog.set_level("INFO")
    A = albumentations()
    flip = Augment(lambda: [A.HorizontalFlip(p=1.0), A.VerticalFlip(p=1.0)], classes=names)
    assert len(caplog.messages) == 1
    assert caplog.messages[0].startswith("images are not flipped")
    assert repr(names[0]) in caplog.messages[0]
    made = flip(ONE, 0, 0)
    for key, value in ONE.items():
        np.testing.assert_array_equal(made[key], value)
