"""The figure of an agreement, (H, W, 3) uint8."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from dentalzoo.agreement.of_boxes import Compared
from dentalzoo.contracts import Report
from dentalzoo.plots.figures import DARK, FAINT, figure_pixels, plot_figure
from dentalzoo.plots.palette import hex_colour, palette
from dentalzoo.tasks.detection import scores as measures

_RECALLS = np.linspace(0, 1, 201)


def of_masks(report: Report) -> np.ndarray:
    """Return the Dice of every image, a row for each pair, with means and intervals."""
    pairs = report["pairs"]
    figure, plot = plot_figure(900, 150 + 70 * len(pairs))
    rng = np.random.default_rng(0)
    for row, pair in enumerate(pairs):
        values = np.array([image["dice"] for image in pair["per_image"]])
        heights = row + rng.uniform(-0.18, 0.18, len(values))
        plot.plot(values, heights, ".", color=_colour(row), alpha=0.6, markersize=6)
        mean = pair["dice"]
        if mean["low"] is not None:
            plot.plot([mean["low"], mean["high"]], [row, row], color=DARK, linewidth=2.5)
        plot.plot([mean["value"]], [row], "o", color=DARK, markersize=8)
    labels = [f"{p['rater']}\nagainst {p['reference']}\n{_text(p['dice'])}" for p in pairs]
    plot.set_yticks(range(len(pairs)), labels)
    plot.set(xlabel="Dice of each image; mean with 95 % interval", ylim=(len(pairs) - 0.5, -0.5))
    plot.set_title(f"Agreement of masks on {report['images']} images", loc="left", color=DARK)
    return figure_pixels(figure)


def of_boxes(report: Report, compared: Sequence[Compared]) -> np.ndarray:
    """Return precision and recall of every pair.

    A model against a reader is a curve with its operating point; two readers are a point, whose
    lines are the 95 % intervals. So a reader lies above, on or below a model's curve.
    """
    figure, plot = plot_figure(900, 680)
    for row, (pair, both) in enumerate(zip(report["pairs"], compared, strict=True)):
        label = f"{pair['rater']} against {pair['reference']}: F1 {_text(pair['f1'])}"
        if pair["voc_map"] is not None:
            points = measures.curve(both.matches)
            precision = measures.precision_at(points, _RECALLS)
            plot.plot(_RECALLS, precision, color=_colour(row), linewidth=2)
        recall, precision = pair["recall"], pair["precision"]
        for low, high, vertical in (
            (recall["low"], recall["high"], False),
            (precision["low"], precision["high"], True),
        ):
            if low is not None:
                at = recall["value"] if vertical else precision["value"]
                ends = ([at, at], [low, high]) if vertical else ([low, high], [at, at])
                plot.plot(*ends, color=FAINT, linewidth=1.2, zorder=1)
        marker = "o" if pair["voc_map"] is not None else "D"
        plot.plot(
            [recall["value"]],
            [precision["value"]],
            marker,
            color=_colour(row),
            markersize=9,
            markeredgecolor=DARK,
            label=label,
        )
    plot.set(xlabel="recall", ylabel="precision", xlim=(0, 1.02), ylim=(0, 1.02))
    plot.set_title(
        f"Agreement of boxes on {report['images']} images, IoU 0.5: curves are models, "
        "diamonds readers",
        loc="left",
        color=DARK,
        fontsize=11,
    )
    plot.legend(loc="lower left", fontsize=9, frameon=False)
    return figure_pixels(figure)


def _colour(index: int) -> str:
    colours = palette()
    return hex_colour(colours[1 + index % (len(colours) - 1)])


def _text(number: dict[str, Any]) -> str:
    if number["value"] is None:
        return "-"
    if number["low"] is None:
        return f"{number['value']:.3f}"
    return f"{number['value']:.3f} ({number['low']:.3f} to {number['high']:.3f})"
