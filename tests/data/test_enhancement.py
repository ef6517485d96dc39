"""Contrast is stretched, in grey and colour alike, whatever the image."""

import numpy as np

from dentalzoo.data.enhancement import enhanced


def test_contrast_reaches_from_black_to_white():
    image = np.tile(np.uint8(np.linspace(80, 120, 100)), (50, 1))[..., None]
    done = enhanced(image, "contrast")
    assert done.shape == image.shape and done.dtype == np.uint8
    assert (done.min(), done.max()) == (0, 255)
    assert (np.diff(done[0, :, 0].astype(int)) >= 0).all()
    assert enhanced(image, None) is image
    colour = np.repeat(image, 3, -1)
    assert (enhanced(colour, "contrast") == done).all()


def test_a_few_bright_pixels_do_not_darken_the_rest_and_flat_images_stay_flat():
    image = np.full((100, 100, 1), 60, np.uint8)
    image[:50] = 90
    image[0, :5] = 255
    done = enhanced(image, "contrast")
    assert set(np.unique(done)) == {0, 255}
    assert len(np.unique(enhanced(np.full((8, 8, 1), 77, np.uint8), "contrast"))) == 1
