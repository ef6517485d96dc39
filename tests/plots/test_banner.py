"""Warnings on images."""

import numpy as np
import pytest

from dentalzoo.plots.banner import with_banner

TEXT = "Foreign image, do not rely on the result"


@pytest.mark.parametrize("shape", [(300, 600), (300, 600, 1), (300, 600, 3), (9, 7)])
def test_a_banner_covers_the_upper_edge_of_an_image_of_the_same_size(shape):
    image = np.full(shape, 40, np.uint8)
    drawn = with_banner(image, [TEXT])
    assert drawn.shape == (*shape[:2], 3) and drawn.dtype == np.uint8
    assert (drawn[0] != 40).any() and (image == 40).all()
    assert shape[0] < 10 or (drawn[shape[0] // 10 :] == 40).all()


def test_texts_take_the_lines_that_they_need():
    def height(width, *texts):
        drawn = with_banner(np.zeros((400, width), np.uint8), texts)
        return int(drawn.any(axis=(1, 2)).nonzero()[0].max())

    assert height(800, TEXT, TEXT) > 1.5 * height(800, TEXT)
    assert height(60, TEXT) > 2 * height(800, TEXT)
