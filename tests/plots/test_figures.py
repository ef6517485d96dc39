"""Figures of matplotlib as arrays."""

import numpy as np

from dentalzoo.plots.figures import figure_pixels, plot_figure


def test_a_figure_has_the_size_that_was_asked_for():
    figure, plot = plot_figure(300, 200)
    plot.plot([0, 1], [0, 1], color="#ff0000")
    pixels = figure_pixels(figure)
    assert pixels.shape == (200, 300, 3) and pixels.dtype == np.uint8
    assert (pixels == (255, 0, 0)).all(-1).sum() > 50
