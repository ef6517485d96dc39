"""Shapes of annotation tools as boxes, polygons and pixels."""

import math

import numpy as np
import pytest

from dentalzoo.data.formats import shapes
from dentalzoo.data.formats.base import RawBox
from dentalzoo.data.formats.outlines import run_lengths


@pytest.mark.parametrize(
    "value", [None, "", "x", True, math.nan, math.inf, 10**400, "1e999", [], {}]
)
def test_what_is_no_number_is_refused(value):
    with pytest.raises(ValueError, match="a coordinate must be a number"):
        shapes.number(value)


def test_an_ellipse_reaches_its_ends_and_nearly_has_its_area():
    x, y = np.reshape(shapes.ellipse(10, 20, 3, 5), (-1, 2)).T
    ends = [x.min(), x.max(), y.min(), y.max()]
    np.testing.assert_allclose(ends, [7, 13, 15, 25])
    area = (x * np.roll(y, -1) - y * np.roll(x, -1)).sum() / 2
    assert 0.998 < area / (math.pi * 15) < 1


@pytest.mark.parametrize(
    ("degrees", "expected"),
    [
        (0, [2, 3, 6, 3, 6, 5, 2, 5]),
        (90, [2, 3, 2, 7, 0, 7, 0, 3]),  # clockwise on the screen
        (180, [2, 3, -2, 3, -2, 1, 2, 1]),
    ],
)
def test_boxes_turn_clockwise(degrees, expected):
    np.testing.assert_allclose(shapes.rotated((2, 3, 6, 5), degrees, (2, 3)), expected, atol=1e-12)


@pytest.mark.parametrize("compressed", [False, True])
def test_masks_are_packed_and_unpacked(compressed):
    rng = np.random.default_rng(0)
    for shape in ((1, 1), (1, 9), (17, 5), (40, 60)):
        mask = rng.random(shape) < 0.5
        text = shapes.encode_mask(mask, compressed)
        np.testing.assert_array_equal(shapes.decode_mask(text, compressed), mask)


def test_a_mask_across_the_border_is_cut_and_says_so():
    box = shapes.from_pixels("x", "shape 1", np.ones((4, 4), bool), -2, 8, (10, 20))
    inside = run_lengths(box.outline, 10, 20)
    assert inside.sum() == 4 and inside[8:, :2].all()
    assert box.repaired == ("12 pixels of the mask lie outside of the image and are left out",)


def test_one_part_stays_as_it_is():
    box = RawBox("x", (1, 2, 3, 4), "shape 1")
    assert shapes.join([box], (10, 10)) is box
