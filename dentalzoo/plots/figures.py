"""Figures of matplotlib as arrays; nothing is shown and no backend is chosen."""

import math
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from dentalzoo.plots.palette import INK, hex_colour

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DARK, FAINT = hex_colour(INK), "#9a9a9a"  # of texts and marks, and of what stands back
DPI = 100


def plot_figure(
    width: int, height: int, layout: Literal["constrained"] | None = "constrained"
) -> "tuple[Figure, Axes]":
    """Return a figure of a size in pixels, and its one plot."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(_inches(width), _inches(height)), dpi=DPI, layout=layout)
    FigureCanvasAgg(figure)
    plot = figure.add_subplot()
    plot.tick_params(labelsize=10, colors=DARK)
    plot.spines[["top", "right"]].set_visible(False)
    return figure, plot


def _inches(pixels: int) -> float:
    """Return a length that is not below `pixels` when it is multiplied: 8.2 * 100 is below 820.

    Agg cuts off fractions of pixels.
    """
    inches = pixels / DPI
    return inches if inches * DPI >= pixels else math.nextafter(inches, math.inf)


def figure_pixels(figure: "Figure") -> np.ndarray:
    """Return what a figure shows, (H, W, 3) uint8."""
    canvas: Any = figure.canvas  # of Agg, as `plot_figure` makes it
    canvas.draw()
    return np.array(canvas.buffer_rgba())[..., :3]
