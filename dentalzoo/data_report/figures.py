"""Histograms of the report, (H, W, 3) uint8."""

import warnings
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from dentalzoo.plots.figures import DARK, figure_pixels, plot_figure
from dentalzoo.plots.palette import BLUE, hex_colour

_BINS = 40
_SIZE = (620, 320)  # width and height in pixels
_SHOWN = 20  # classes


def image_sizes(sizes: Counter[tuple[int, int]]) -> np.ndarray:
    """Return the widths and heights of images, (height, width) -> number, a circle each."""
    figure, plot = plot_figure(*_SIZE)
    heights, widths = np.array([*sizes]).T
    counts = np.array([*sizes.values()])
    area = 30 + 370 * counts / counts.sum()
    plot.scatter(widths, heights, area, color=hex_colour(BLUE), alpha=0.5, linewidths=0)
    for axis, values in ((plot.set_xlim, widths), (plot.set_ylim, heights)):
        room = max(float(np.ptp(values)), 0.1 * float(values.max()), 4.0) * 0.2
        axis(values.min() - room, values.max() + room)
    plot.set(xlabel="width in pixels", ylabel="height in pixels")
    title = "Sizes of images; the area of a circle grows with their number"
    plot.set_title(title, loc="left", color=DARK, fontsize=11)
    return figure_pixels(figure)


def histogram(values: np.ndarray, label: str, title: str, logarithmic: bool = True) -> np.ndarray:
    """Return a histogram of numbers > 0, with their median.

    Args:
        values: (N,).
        label: of the axis, with the unit.
        title: of the figure.
        logarithmic: equal ratios have equal widths.
    """
    figure, plot = plot_figure(*_SIZE)
    low, high = float(values.min()), float(values.max())
    if logarithmic:
        low, high = low * 0.95, high * 1.05
        plot.set_xscale("log")
        bins = np.geomspace(low, high, _BINS + 1).tolist()
    else:
        bins = np.linspace(low, max(high, low + 1e-6), _BINS + 1).tolist()
    plot.hist(values, bins, color=hex_colour(BLUE), alpha=0.75)
    median = float(np.median(values))
    plot.axvline(median, color=DARK, linewidth=1.2)
    plot.text(median, 1.0, f" median {median:.3g}", transform=plot.get_xaxis_transform(), va="top")
    plot.set(xlabel=label, ylabel="number")
    plot.set_title(title, loc="left", color=DARK, fontsize=11)
    return figure_pixels(figure)


def box_sizes(sides: Mapping[str, Sequence[float]]) -> np.ndarray:
    """Return the box sizes of each class, the root of the area: all, the middle half, the median.

    Args:
        sides: class -> pixels of each box; the 20 most frequent classes are shown.
    """
    shown = sorted(sides, key=lambda name: -len(sides[name]))[:_SHOWN]
    figure, plot = plot_figure(_SIZE[0], 90 + 26 * len(shown) + 40)
    for row, name in enumerate(shown):
        low, first, median, third, high = np.percentile(sides[name], (0, 25, 50, 75, 100))
        plot.plot([low, high], [row, row], color=DARK, linewidth=1)
        plot.plot([first, third], [row, row], color=hex_colour(BLUE), linewidth=7)
        plot.plot([median], [row], "o", color=DARK, markersize=5)
    names = [name if len(name) <= 24 else f"{name[:11]}…{name[-12:]}" for name in shown]
    safe = [name.replace("$", r"\$") for name in names]  # which matplotlib takes for formulas
    plot.set_yticks(range(len(shown)), safe)
    plot.set(xlabel="root of the area, in pixels", xscale="log", ylim=(len(shown) - 0.5, -0.5))
    title = "Box sizes by class: range, middle half, median"
    plot.set_title(title, loc="left", color=DARK, fontsize=11)
    with warnings.catch_warnings():  # of letters that the font lacks; the page has the names too
        warnings.filterwarnings("ignore", "Glyph .* missing")
        return figure_pixels(figure)
