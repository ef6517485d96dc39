"""Images as pixels of the size that a figure needs."""

import numpy as np
import pytest

from dentalzoo.plots.pixels import PANEL, as_pixels, as_rgb, fit


@pytest.mark.parametrize("size", [(1, 1), (3, 2000), (2000, 3), (1400, 2900)])
def test_fit_fills_the_box_and_keeps_the_shape(size):
    image = fit(np.zeros((*size, 1), np.uint8))
    height, width = image.shape
    assert height <= PANEL[1] and width <= PANEL[0]
    assert height == PANEL[1] or width == PANEL[0]
    ids = fit(np.tile(np.uint8([[0, 9, 9]]), (500, 500)), ids=True)
    assert set(np.unique(ids)) == {0, 9}


def test_numbers_in_0_to_1_become_pixels_and_pixels_stay():
    image = np.float32([[-1, 0, 0.5, 1, 2]])
    assert as_pixels(image).tolist() == [[0, 0, 128, 255, 255]]
    pixels = np.arange(6, dtype=np.uint8).reshape(2, 3)
    assert as_pixels(pixels) is pixels


def test_three_channels_are_a_copy():
    grey = np.arange(6, dtype=np.uint8).reshape(2, 3)
    for image in (grey, grey[..., None], np.stack([grey] * 3, -1)):
        rgb = as_rgb(image)
        assert (rgb == grey[..., None]).all() and rgb.shape == (2, 3, 3)
        assert not np.shares_memory(rgb, image)
