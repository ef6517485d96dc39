"""Figures of a latent space: arrays in, uint8 (H, W, 3) out.

Images are (H, W, 1 or 3), float32 in [0, 1] or uint8; small ones are enlarged to be seen.
"""

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from dentalzoo.plots.contact_sheet import as_tile, grid
from dentalzoo.plots.figures import DARK, DPI, FAINT, figure_pixels, plot_figure
from dentalzoo.plots.palette import hex_colour, palette

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_SEAM = 2  # pixels between the images of a plane; ours
_NAMED = 7  # labels with a colour of their own; the rest share a grey


def scatter(
    points: np.ndarray,
    labels: Sequence[str] = (),
    thumbnails: Sequence[np.ndarray] = (),
    axes: tuple[str, str] = ("z 0", "z 1"),
    title: str = "",
) -> np.ndarray:
    """Draw points in a plane, coloured by label, with images that do not hide each other.

    Args:
        points: (N, 2).
        labels: of the points; the commonest get a colour.
        thumbnails: images of the first points.
        axes: names of x and y.
    """
    figure, plot = plot_figure(900, 820)
    colours = _colours(labels)
    names = [label if label in colours else "" for label in labels] or [""] * len(points)
    many = len(set(names)) > 1
    for name, colour in [*colours.items(), ("", FAINT)]:
        chosen = np.array([own == name for own in names])
        if chosen.any():
            label = (name or "other") if many else None
            x, y = points[chosen].T
            plot.scatter(x, y, s=14, color=colour, label=label, linewidths=0)
    plot.set(xlabel=axes[0], ylabel=axes[1], title=title)
    plot.set_aspect("equal", "datalim")
    plot.margins(0.06)
    plot.grid(alpha=0.25)
    if many:
        figure.legend(loc="outside right upper", frameon=False, markerscale=2)
    figure.canvas.draw()
    _put_thumbnails(plot, points, thumbnails, [colours.get(name, FAINT) for name in names], many)
    return figure_pixels(figure)


def plane(
    images: np.ndarray,
    xs: Sequence[float] | np.ndarray,
    ys: Sequence[float] | np.ndarray,
    axes: tuple[str, str] = ("z 0", "z 1"),
    title: str = "",
    tile: int | None = None,
) -> np.ndarray:
    """Draw the decoded images of a plane of the latent space with its coordinates; y grows upward.

    Args:
        images: (len(ys), len(xs), H, W, C), decoded at (xs[j], ys[i]).
        xs, ys: rising numbers.
        axes: names of x and y.
        tile: see `contact_sheet.grid`.
    """
    rows, columns = images.shape[:2]
    pixels = grid(list(images[::-1].reshape(-1, *images.shape[2:])), columns, tile, gap=_SEAM)
    height, width = pixels.shape[:2]
    left, top, right, bottom = 76, 40, 20, 60  # pixels around the images
    size = (width + left + right, height + top + bottom)
    figure, plot = plot_figure(*size, layout=None)
    plot.set_position((left / size[0], bottom / size[1], width / size[0], height / size[1]))
    plot.imshow(pixels, extent=(0, width, 0, height), interpolation="nearest", aspect="auto")
    for axis, values, length in ((plot.xaxis, xs, width), (plot.yaxis, ys, height)):
        pitch, step = (length + _SEAM) / len(values), -(-len(values) // 11)
        shown = range(len(values) // 2 % step, len(values), step)
        centres = [i * pitch + (pitch - _SEAM) / 2 for i in shown]
        axis.set_ticks(centres, [f"{values[i]:.2g}" for i in shown])
    plot.tick_params(length=0)
    plot.spines[:].set_visible(False)
    plot.set(xlabel=axes[0], ylabel=axes[1], title=title)
    return figure_pixels(figure)


def bars(values: np.ndarray, threshold: float, axes: tuple[str, str], title: str) -> np.ndarray:
    """Draw values in falling order on a log scale, those below a threshold faint.

    Args:
        values: (N,), at least 0.
        axes: names of x and y.
    """
    figure, plot = plot_figure(900, 420)
    values = np.sort(np.asarray(values, np.float64))[::-1]
    floor = threshold / 30
    colours = [hex_colour(palette()[5]) if value > threshold else FAINT for value in values]
    plot.bar(
        np.arange(1, len(values) + 1),
        np.maximum(values, floor) - floor,
        0.8,
        bottom=floor,
        color=colours,
    )
    plot.axhline(threshold, color=DARK, linewidth=1, linestyle="--")
    plot.set_yscale("log")
    plot.yaxis.set_major_formatter("{x:g}")
    plot.set(xlabel=axes[0], ylabel=axes[1], title=title, xlim=(0.2, len(values) + 0.8))
    plot.set_ylim(floor, max(1.0, 2 * values[0]))
    plot.grid(alpha=0.25, axis="y")
    plot.locator_params(axis="x", integer=True)
    return figure_pixels(figure)


def _colours(labels: Sequence[str]) -> dict[str, str]:
    """Return a colour for each of the commonest labels, in the order of their names."""
    common = [label for label, _ in Counter(filter(None, labels)).most_common(_NAMED)]
    return {label: hex_colour(palette()[1 + i]) for i, label in enumerate(sorted(common))}


def _put_thumbnails(
    plot: "Axes",
    points: np.ndarray,
    thumbnails: Sequence[np.ndarray],
    colours: Sequence[str],
    framed: bool,
    side: int = 44,
) -> None:
    """Lay images over their points, none over another."""
    from matplotlib.offsetbox import AnnotationBbox, OffsetImage

    pixels = plot.transData.transform(points)
    taken = np.empty((0, 2))
    for point, pixel, image, colour in zip(points, pixels, thumbnails, colours, strict=False):
        if (np.abs(taken - pixel).max(1) < side + 4).any():
            continue
        taken = np.vstack([taken, pixel])
        style = {"edgecolor": colour, "linewidth": 2.5 if framed else 0.5}
        box = AnnotationBbox(
            OffsetImage(as_tile(image, side), zoom=72 / DPI, resample=False),
            point,
            pad=0.05,
            bboxprops=style,
        )
        plot.add_artist(box)
