"""Figures of superimposed images and of the latent space."""

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from PIL import Image, ImageDraw

from dentalzoo.atomic import write_atomically
from dentalzoo.plots.contact_sheet import contact_sheet
from dentalzoo.plots.fonts import font
from dentalzoo.plots.palette import (
    BLACK,
    BLUE,
    GREEN,
    INK,
    ORANGE,
    PURPLE,
    SKY_BLUE,
    VERMILLION,
    WHITE,
    YELLOW,
    Colour,
)
from dentalzoo.plots.pixels import as_pixels, fit
from dentalzoo.tasks.superimposition.latents import Plane
from dentalzoo.tasks.superimposition.scores import BACKGROUND, HALO, SuperimpositionScore

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SOURCES = (ORANGE, SKY_BLUE, PURPLE)  # the first, second and third source

_SIDE = 176  # pixels of an image in a figure: ours
_MAX_NUMBERS = 4  # that fit below it
_TILES = 31  # images across the figure of a scan
_TILE = 48  # pixels of each
_MAP = 670  # pixels of the longer side of a map
_MARKED = 300  # more dots would hide the images


# ---- superimposed images -------------------------------------------------------------------------


@dataclass(frozen=True)
class Case:
    """A row of the figure of superimposed images.

    Attributes:
        caption: a line.
        images, masks: of the K sources, (H, W, C) uint8 and (H, W) bool or None.
        results: heading -> (image (H, W, C) float32 in [0, 1], its score or None).
    """

    caption: str
    images: Sequence[np.ndarray]
    masks: Sequence[np.ndarray | None]
    results: dict[str, tuple[np.ndarray, SuperimpositionScore | None]]


def cases_figure(cases: Sequence[Case]) -> np.ndarray:
    """Draw sources with their masks outlined, and beside them the superimposed images.

    Args:
        cases: their results have the same headings.

    Returns:
        (H, W, 3) uint8.
    """
    most = max(len(case.images) for case in cases)
    judged = any(score for case in cases for _, score in case.results.values())
    rows = []
    for case in cases:
        row = [
            _tagged(_outlined(image, mask, colour), "", colour if mask is not None else None)
            for image, mask, colour in zip(case.images, case.masks, _cycled(SOURCES), strict=False)
        ]
        blank = np.full_like(row[0], 255)
        row += [blank] * (most - len(row))
        for img, score in case.results.values():
            levels = as_pixels(img)
            if score is None:
                row.append(_tagged(fit(levels, (_SIDE, _SIDE)), "", None))
            else:
                colour = GREEN if score.success else VERMILLION
                row.append(_tagged(fit(levels, (_SIDE, _SIDE)), _verdict(score), colour))
        rows.append(row)
    headings = [f"source {i + 1}" for i in range(most)] + list(cases[0].results)
    legend = [
        ("all defects are visible", GREEN),
        ("a defect is not visible, or its surroundings or the background are lost", VERMILLION),
    ]
    return contact_sheet(rows, [case.caption for case in cases], headings, legend if judged else ())


def _verdict(score: SuperimpositionScore) -> str:
    """Return a mark and the recovered contrasts; a second line for what else is wrong."""
    parts = [f"{part:.2f}" for part in score.recovered]
    if len(parts) > _MAX_NUMBERS:
        parts = [f"{min(score.recovered):.2f} or more"]
    text = f"{'✓' if score.success else '✗'}  {'  '.join(parts)}"
    if score.background_error > BACKGROUND:
        text += f"\nbackground error {score.background_error:.2f}"
    elif score.largest_halo > HALO:
        text += f"\nhalo {score.largest_halo:.2f}"
    return text


def _cycled(colours: Sequence[Colour]) -> Iterator[Colour]:
    while True:
        yield from colours


def _outlined(image: np.ndarray, mask: np.ndarray | None, colour: Colour) -> np.ndarray:
    """Draw an image at the figure's size with the outline of a mask."""
    canvas = fit(image, (_SIDE, _SIDE))
    canvas = np.repeat(canvas[..., None], 3, 2) if canvas.ndim == 2 else canvas.copy()
    if mask is not None:
        area = fit(mask.astype(np.uint8), (_SIDE, _SIDE), ids=True)
        contours, _ = cv2.findContours(area, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(canvas, contours, -1, colour, 1, cv2.LINE_AA)
    return canvas


def _tagged(image: np.ndarray, text: str, colour: Colour | None) -> np.ndarray:
    """Draw an image with a frame, and up to two lines of text below it."""
    image = np.repeat(image[..., None], 3, 2) if image.ndim == 2 else image
    height, width = image.shape[:2]
    canvas = Image.new("RGB", (width + 8, height + 50), WHITE)
    draw = ImageDraw.Draw(canvas)
    if colour:
        draw.rectangle((0, 0, width + 7, height + 7), colour)
    canvas.paste(Image.fromarray(image), (4, 4))
    draw.text((4, height + 10), text, _darker(colour) if colour else INK, font(15))
    return np.asarray(canvas)


def _darker(colour: Colour) -> Colour:
    red, green, blue = (round(0.75 * part) for part in colour)
    return red, green, blue


# ---- latent space --------------------------------------------------------------------------------


def write_scatter(
    path: Path, plane: Plane, z_mean: np.ndarray, z_log_var: np.ndarray, labels: Sequence[str]
) -> None:
    """Write a PNG: the mean of each image in a plane, with an ellipse of one deviation.

    Args:
        z_mean, z_log_var: (N, D).
        labels: of each image; "" where it has none.
    """
    figure, axes = _figure(9, 7)
    points, spreads = plane.project(z_mean), plane.spread(z_log_var)
    names = sorted(set(labels))
    for name, colour in zip(names, _cycled(_SCATTER), strict=False):
        chosen = np.array([label == name for label in labels])
        _draw_ellipses(axes, points[chosen], spreads[chosen], _rgb(colour))
        axes.plot(*points[chosen].T, ".", color=_rgb(colour), ms=7, label=name or None)
    if len(names) > 1:
        axes.legend(loc="best", framealpha=0.9)
    axes.set_title(f"Means of {len(z_mean)} images, with one standard deviation", loc="left")
    axes.set(xlabel=plane.names[0], ylabel=plane.names[1])
    axes.set_aspect("equal", adjustable="datalim")
    axes.grid(color="0.92")
    axes.set_axisbelow(True)
    _save(figure, path)


@dataclass(frozen=True)
class Visibility:
    """The visibility of each of K sources, two or three, at each point of a scan.

    Attributes:
        images, masks: of the sources, (H, W, C) uint8 and (H, W) bool.
        z_mean: (K, D).
        visible: (rows, columns, K) bool.
        kept: (rows, columns) bool: the background error is within its bound.
    """

    images: Sequence[np.ndarray]
    masks: Sequence[np.ndarray] | np.ndarray
    z_mean: np.ndarray
    visible: np.ndarray
    kept: np.ndarray


class ScanTiles:
    """Decoded images of a scan as tiles of one image, whose size is independent of the step."""

    def __init__(self, plane: Plane, image_shape: tuple[int, int, int]) -> None:
        self.plane = plane
        xs, ys = plane.grid()
        self.every = max(1, -(-len(xs) // _TILES))
        height, width, self.channels = image_shape
        scale = _TILE / max(height, width)
        self.tile = max(1, round(height * scale)), max(1, round(width * scale))
        self.counts = [-(-len(axis) // self.every) for axis in (ys, xs)]
        size = [count * side for count, side in zip(self.counts, self.tile, strict=True)]
        self.pixels = np.full((*size, 3), 255, np.uint8)

    def add(self, positions: np.ndarray, images: np.ndarray) -> None:
        """Add a block of `scan`: (n, 2) rows and columns, (n, H, W, C) in [0, 1]."""
        height, width = self.tile
        for (row, column), image in zip(positions, images, strict=True):
            if row % self.every == 0 and column % self.every == 0:
                top, left = row // self.every * height, column // self.every * width
                size = width - 1, height - 1  # a white line between two
                levels = as_pixels(cv2.resize(image, size, interpolation=cv2.INTER_AREA))
                tile = self.pixels[top : top + height - 1, left : left + width - 1]
                tile[...] = levels.reshape(*levels.shape[:2], -1)

    def extent(self) -> tuple[float, float, float, float]:
        """Return left, right, bottom and top of the tiles in the plane's coordinates."""
        xs, ys = self.plane.grid()
        side = self.every * self.plane.step
        left, top = xs[0] - side / 2, ys[0] + side / 2
        return left, left + self.counts[1] * side, top - self.counts[0] * side, top


def write_scan(
    path: Path, tiles: ScanTiles, z_mean: np.ndarray, visibility: Visibility | None = None
) -> None:
    """Write a PNG: decoded points of the plane and, below them, the sources visible in them.

    Args:
        z_mean: (N, D), images to mark in the plane.
    """
    from matplotlib.figure import Figure

    plane, extent = tiles.plane, tiles.extent()
    left, right, top, bottom, dpi = 90, 40, 44, 60, 110  # pixels
    high, wide = tiles.pixels.shape[:2]
    map_high, map_wide = (round(_MAP * side / max(high, wide)) for side in (high, wide))
    ranges = [(extent[:2], extent[2:])]
    if visibility and (close := _surroundings(plane, visibility)):
        ranges.append(close)
    maps = map_wide + (left + map_high) * (len(ranges) - 1) + 290
    width = left + max(wide + right, maps if visibility else 0)
    height = top + high + bottom + (top + map_high + bottom if visibility else 0)
    figure = Figure((width / dpi, height / dpi), dpi=dpi)

    def panel(start: float, down: float, panel_wide: float, panel_high: float) -> "Axes":
        lower = height - down - panel_high
        axes = figure.add_axes(
            (start / width, lower / height, panel_wide / width, panel_high / height)
        )
        axes.set(xlabel=plane.names[0], ylabel=plane.names[1])
        return axes

    axes = panel(left, top, wide, high)
    axes.imshow(tiles.pixels, extent=extent, aspect="auto", interpolation="nearest")
    if len(z_mean) <= _MARKED:
        axes.plot(*plane.project(z_mean).T, "o", ms=5, mfc=_rgb(VERMILLION), mec="white", mew=0.7)
    axes.set(xlim=extent[:2], ylim=extent[2:])
    columns, rows = map(len, plane.grid())
    shown = f", one in {tiles.every} rows and columns shown" if tiles.every > 1 else ""
    marked = "; dots: the means of the images" if len(z_mean) <= _MARKED else ""
    axes.set_title(
        f"{columns} x {rows} = {columns * rows:,} points decoded{shown}{marked}", loc="left"
    )
    if visibility:
        start, titles = left, ("Visible sources; pale: background lost", "Close to them")
        for (x, y), title in zip(ranges, titles, strict=False):
            panel_wide = map_wide if start == left else map_high
            axes = panel(start, top + high + bottom + top, panel_wide, map_high)
            handles = _draw_visibility(axes, plane, visibility)
            axes.set(xlim=x, ylim=y)
            axes.set_title(title, loc="left")
            start += panel_wide + left
        _draw_key(axes, visibility, handles)
    _save(figure, path)


def _surroundings(
    plane: Plane, visibility: Visibility
) -> tuple[tuple[float, float], tuple[float, float]] | None:
    """Return x and y ranges around the sources, their sum and 0; None where they fill the scan."""
    points = plane.project(np.concatenate([visibility.z_mean, visibility.z_mean.sum(0)[None]]))
    reach = 1.3 * float(np.abs(points).max())
    if 3 * reach > min(plane.x[1] - plane.x[0], plane.y[1] - plane.y[0]):
        return None
    return (-reach, reach), (-reach, reach)


def _draw_visibility(axes: "Axes", plane: Plane, visibility: Visibility) -> list[Any]:
    """Colour a map and mark the sources; return the handles of its legend."""
    from matplotlib.patches import Patch

    num = visibility.visible.shape[2]
    codes = (visibility.visible * 2 ** np.arange(num)).sum(2)
    colours = _visible_colours(num)
    pixels = np.asarray(colours, np.float32)[codes]
    pale = 255 + 0.3 * (pixels - 255)
    pixels = np.where(visibility.kept[..., None], pixels, pale).astype(np.uint8)
    xs, ys = plane.grid()
    half = plane.step / 2
    extent = (xs[0] - half, xs[-1] + half, ys[-1] - half, ys[0] + half)
    axes.imshow(pixels, extent=extent, aspect="auto", interpolation="nearest")
    handles: list[Any] = []
    for size in range(1, num + 1):
        for chosen in combinations(range(num), size):
            code = sum(2**i for i in chosen)
            share = np.mean((codes == code) & visibility.kept)
            name = " + ".join("ABC"[i] for i in chosen)
            handles.append(Patch(color=_rgb(colours[code]), label=f"{name}: {share:.2%} of points"))
    handles.append(Patch(facecolor=_rgb(colours[0]), edgecolor="0.6", label="none"))
    for i, point in enumerate(plane.project(visibility.z_mean)):
        axes.plot(*point, "o", mfc="white", mec="black", ms=13)
        axes.annotate("ABC"[i], point, ha="center", va="center_baseline", weight="bold", size=9)
    for z, marker, name in (
        (visibility.z_mean.sum(0), "*", "sum of the means"),
        (visibility.z_mean.mean(0), "D", "mean of the means"),
    ):
        size = 13 if marker == "*" else 7
        handles += axes.plot(
            *plane.project(z[None]).T, marker, mfc="white", mec="black", ms=size, ls="", label=name
        )
    return handles


def _draw_key(axes: "Axes", visibility: Visibility, handles: list[Any]) -> None:
    """Draw the sources and the legend, to the right of a map."""
    from matplotlib.offsetbox import AnnotationBbox, OffsetImage

    offset: dict[str, Any] = {
        "boxcoords": "offset points",
        "box_alignment": (0, 1),
        "frameon": False,
    }
    for i, (image, mask) in enumerate(zip(visibility.images, visibility.masks, strict=True)):
        framed = _tagged(_outlined(image, mask, SOURCES[i]), "", SOURCES[i])[: _SIDE + 8]
        at, along = (1.0, 1.0), 14 + 58 * i
        thumb = OffsetImage(framed, zoom=0.28)
        axes.add_artist(AnnotationBbox(thumb, at, (along, 0), "axes fraction", **offset))
        axes.annotate("ABC"[i], at, (along + 26, -60), "axes fraction", "offset points",
                      weight="bold", ha="center", va="top", annotation_clip=False)  # fmt: skip
    axes.legend(handles=handles, loc="lower left", bbox_to_anchor=(1.0, -0.03), frameon=False)


def _visible_colours(num: int) -> list[Colour]:
    """Return a colour for each set of visible sources, by the sum of their 2 ** i; all: GREEN."""
    grey = (225, 225, 225)
    if num == 2:
        return [grey, *SOURCES[:2], GREEN]
    first, second, third = SOURCES
    return [grey, first, second, YELLOW, third, VERMILLION, BLUE, GREEN]


_SCATTER = (BLUE, ORANGE, GREEN, PURPLE, SKY_BLUE, VERMILLION, YELLOW, BLACK)


def _draw_ellipses(
    axes: "Axes", points: np.ndarray, spreads: np.ndarray, colour: tuple[float, ...]
) -> None:
    from matplotlib.collections import EllipseCollection

    reach = np.sqrt(np.diagonal(spreads, axis1=1, axis2=2))
    axes.update_datalim(np.concatenate([points - 1.3 * reach, points + 1.3 * reach]))
    values, vectors = np.linalg.eigh(spreads)
    sizes = 2 * np.sqrt(np.maximum(values, 0))
    angles = np.degrees(np.arctan2(vectors[:, 1, 1], vectors[:, 0, 1]))
    axes.add_collection(
        EllipseCollection(sizes[:, 1], sizes[:, 0], angles, units="xy", offsets=points,
                          offset_transform=axes.transData, facecolor=(*colour, 0.1),
                          edgecolor=(*colour, 0.5), linewidth=0.8)
    )  # fmt: skip


def _figure(width: float, height: float) -> tuple["Figure", "Axes"]:
    from matplotlib.figure import Figure

    figure = Figure((width, height), dpi=110, layout="constrained")
    return figure, figure.subplots()


def _rgb(colour: Colour) -> tuple[float, float, float]:
    red, green, blue = colour
    return red / 255, green / 255, blue / 255


def _save(figure: "Figure", path: Path) -> None:
    stream = io.BytesIO()
    figure.savefig(stream, format="png")
    write_atomically(path, stream.getvalue(), durable=False)
