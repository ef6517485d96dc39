"""Curves and tables of an evaluation as figures, (H, W, 3) uint8."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from dentalzoo.plots.figures import DARK, FAINT, figure_pixels, plot_figure
from dentalzoo.plots.palette import hex_colour, palette
from dentalzoo.tasks.detection.scores import RATES, Curve, average_precision, precision_at

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_RECALLS = np.linspace(0, 1, 201)
_NAMED = 12  # classes with a line of their own


def precision_recall(curves: Mapping[str, Curve], title: str) -> np.ndarray:
    """Return precision, made falling, over recall, with each class's average precision.

    Args:
        curves: name -> curve; those without any object are left out. Beyond 12 the largest and
            the smallest areas are drawn, the others are grey.
    """
    areas = {
        name: area
        for name, points in curves.items()
        if (area := average_precision(points)) is not None
    }
    order = sorted(areas, key=lambda name: areas[name], reverse=True)
    named = order if len(order) <= _NAMED else [*order[: _NAMED // 2], *order[-_NAMED // 2 :]]
    figure, plot = plot_figure(900, 620)
    for name in order:
        points, style = curves[name], _faint()
        if name in named:
            text = f"{name}  AP {areas[name]:.3f}  ({points.objects})"
            coloured = list(curves) if len(order) <= _NAMED else named
            style = _style(coloured.index(name)) | {"label": text}
        plot.plot(_RECALLS, precision_at(points, _RECALLS), **style)
    plot.set(xlabel="recall", ylabel="precision", xlim=(0, 1.005), ylim=(0, 1.02))
    return _finished(figure, plot, title, bool(areas))


def froc(curves: Mapping[str, Curve], title: str) -> np.ndarray:
    """Return recall over false positives per image.

    Args:
        curves: name -> curve; the first is drawn thick. Beyond 12 others they are all grey.
    """
    figure, plot = plot_figure(900, 620)
    low, high = RATES[0] / 2, RATES[-1] * 2
    for index, name in enumerate(curves):
        points = curves[name].thresholds()
        if not points.objects:
            continue
        rates = points.false_positives_per_image
        style = _style(index - 1) if index else {"color": DARK, "linewidth": 2.5}
        if index and len(curves) > _NAMED + 1:
            style = _faint()
        else:
            style["label"] = f"{name}  ({points.objects})"
        before = points.recall[rates <= low]
        start = before[-1] if len(before) else 0.0
        inside = (rates > low) & (rates <= high)
        last = points.recall[inside][-1] if inside.any() else start
        plot.step(
            [low, *rates[inside], high],
            [start, *points.recall[inside], last],
            where="post",
            **style,
        )
    plot.set_xscale("log", base=2)
    plot.set_xticks(RATES, [f"{rate:g}" for rate in RATES])
    plot.set(xlabel="false positives per image", ylabel="recall", xlim=(low, high))
    plot.set_ylim(0, 1.02)
    return _finished(figure, plot, title, any(points.objects for points in curves.values()))


def confusion(counts: np.ndarray, classes: Sequence[str], title: str) -> np.ndarray:
    """Return a table of counts, shaded by the part of its row.

    Args:
        counts: (n + 1, n + 1), rows annotated, columns detected, the background last.
        classes: n names.
    """
    names = [*classes, "background"]
    side = max(420, 60 * len(names)) if len(names) <= 12 else 34 * len(names)
    longest = 8 * max(map(len, names))
    figure, plot = plot_figure(side + longest + 120, side + longest // 2 + 60)
    parts = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    plot.imshow(parts, cmap="Blues", vmin=0, vmax=1)
    for row, column in zip(*np.nonzero(counts), strict=True):
        colour = "white" if parts[row, column] > 0.5 else DARK
        plot.text(column, row, f"{counts[row, column]}", ha="center", va="center", color=colour)
    last = len(names) - 1
    plot.text(last, last, "–", ha="center", va="center", color=FAINT)
    turned: dict[str, Any] = {"rotation": 35, "ha": "right"} if len(names) > 3 else {}
    plot.set_xticks(range(len(names)), names, **turned)
    plot.set_yticks(range(len(names)), names)
    plot.set(xlabel="detected as", ylabel="ground truth")
    plot.set_title(title, loc="left", fontsize=11, color=DARK)
    plot.spines[:].set_visible(False)
    plot.tick_params(length=0)
    return figure_pixels(figure)


def sweep(report: Mapping[str, Any], title: str) -> np.ndarray:
    """Return the best F1 of each setting of a sweep, a line for each IoU threshold.

    Args:
        report: of `sweep.Sweep`.
    """
    figure, plot = plot_figure(900, 620)
    ious = list(dict.fromkeys(row["nms_iou"] for row in report["settings"]))
    limits = list(dict.fromkeys(row["max_per_class"] for row in report["settings"]))
    for index, iou in enumerate(ious):
        values = [row["f1"] for row in report["settings"] if row["nms_iou"] == iou]
        text = "as the bundle kept them" if iou is None else f"nms_iou {iou:g}"
        plot.plot(range(len(limits)), values, marker="o", label=text, **_style(index))
    own, best = report["own"], report["best"]["f1"]
    text = "the bundle's own settings"
    plot.axhline(own["f1"], color=DARK, linestyle="--", linewidth=1, label=text)
    column = limits.index(best["max_per_class"])
    plot.plot(column, best["f1"], "o", ms=16, mfc="none", mec=DARK, mew=1.5, label="best")
    plot.set_xticks(range(len(limits)), [f"{limit}" for limit in limits])
    plot.set(xlabel="max_per_class", ylabel="F1 at its best confidence threshold")
    return _finished(figure, plot, title, bool(ious))


def side_by_side(
    names: Sequence[str], values: Mapping[str, Sequence[float | None]], title: str
) -> np.ndarray:
    """Return bars of two or more bundles for each row, such as AP of each class.

    Args:
        names: of the bundles.
        values: row -> a number in [0, 1] of each bundle, or None.
    """
    figure, plot = plot_figure(900, max(300, 90 + (22 * len(names) + 16) * len(values)))
    height = 0.8 / len(names)
    for index, name in enumerate(names):
        centres = np.arange(len(values)) + (index - (len(names) - 1) / 2) * height
        numbers = [row[index] for row in values.values()]
        widths = [0.0 if number is None else number for number in numbers]
        colour = hex_colour(palette()[1 + index])
        bars = plot.barh(centres, widths, height * 0.92, color=colour, label=name)
        texts = ["–" if number is None else f"{number:.3f}" for number in numbers]
        plot.bar_label(bars, texts, padding=4, color=DARK, fontsize=10)
    plot.set_yticks(range(len(values)), list(values))
    plot.invert_yaxis()
    plot.set_xlim(0, 1.08)
    plot.set_xlabel("AP at IoU 0.5")
    plot.legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncols=len(names), frameon=False)
    plot.set_title(title, loc="right", fontsize=11, color=DARK)
    return figure_pixels(figure)


def _style(index: int) -> dict[str, Any]:
    """Return a colour, and dashes beyond the seven colours."""
    dashes = ("-", "--", ":", "-.")[index // 7 % 4]
    return {"color": hex_colour(palette()[1 + index % 7]), "linestyle": dashes, "linewidth": 1.6}


def _faint() -> dict[str, Any]:
    return {"color": FAINT, "linewidth": 0.8}


def _finished(figure: "Figure", plot: "Axes", title: str, has_objects: bool) -> np.ndarray:
    plot.set_title(title, loc="left", fontsize=11, color=DARK)
    plot.grid(alpha=0.25)
    plot.set_axisbelow(True)
    if has_objects:
        plot.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False)
    else:
        plot.text(0.5, 0.5, "no object is annotated", transform=plot.transAxes, ha="center")
    return figure_pixels(figure)
