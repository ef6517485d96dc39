"""Masks drawn on images: colours that colour-blind people can tell apart, outlines, sheets.

The first seven colours are those of Okabe & Ito, Color Universal Design, 2008.
"""

from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

_ORANGE, _SKY_BLUE, _GREEN, _YELLOW = (230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66)
_BLUE, _VERMILLION, _PURPLE = (0, 114, 178), (213, 94, 0), (204, 121, 167)
_CLASSES = (_ORANGE, _SKY_BLUE, _GREEN, _YELLOW, _BLUE, _VERMILLION, _PURPLE)
_SHADES = ((255, 0.0), (255, 0.5), (0, 0.4), (255, 0.75), (0, 0.65))  # (towards, how far): ours

TRUTH, PREDICTION, CONFUSED = _SKY_BLUE, _ORANGE, _PURPLE

_MARGIN, _TEXT, _INK, _PAPER = 16, 18, (30, 30, 30), (255, 255, 255)  # pixels and colours: ours
PANEL = (620, 420)  # the largest panel of a sheet, (width, height): ours


@cache
def palette() -> tuple[tuple[int, int, int], ...]:
    """The colour (r, g, b) of each class id 0..255: black for 0, 35 different ones, then again."""
    colours = [(0, 0, 0)]
    for index in range(255):
        towards, part = _SHADES[index // len(_CLASSES) % len(_SHADES)]
        base = _CLASSES[index % len(_CLASSES)]
        colours.append(tuple(round(c + (towards - c) * part) for c in base))
    return tuple(colours)


def overlay(image: np.ndarray, mask: np.ndarray, opacity: float = 0.3) -> np.ndarray:
    """An image with each class of a mask as a translucent area with an outline.

    Args:
        image: (H, W), (H, W, 1) or (H, W, 3) uint8.
        mask: (H, W) or (H, W, 1) uint8 class ids; 0 stays as it is. Colours: `palette()`.
        opacity: of the areas, in [0, 1].

    Returns:
        (H, W, 3) uint8.
    """
    canvas, ids = _rgb(image), _flat(mask)
    tinted = cv2.addWeighted(canvas, 1 - opacity, np.uint8(palette())[ids], opacity, 0)
    cv2.copyTo(tinted, ids, canvas)
    for class_id in np.unique(ids[ids > 0]):
        _outline(canvas, ids == class_id, palette()[class_id])
    return canvas


def outlines(image: np.ndarray, truth: np.ndarray, prediction: np.ndarray) -> np.ndarray:
    """An image with the outlines of the truth in `TRUTH` and the prediction's in `PREDICTION`.

    Shapes are those of `overlay`.
    """
    canvas = _rgb(image)
    for mask, colour in ((_flat(truth), TRUTH), (_flat(prediction), PREDICTION)):
        for class_id in np.unique(mask[mask > 0]):
            _outline(canvas, mask == class_id, colour)
    return canvas


def errors(image: np.ndarray, truth: np.ndarray, prediction: np.ndarray) -> np.ndarray:
    """A dimmed image with the wrong pixels filled: what was missed in `TRUTH`, what is too much
    in `PREDICTION`, a class taken for another in `CONFUSED`. Shapes are those of `overlay`.
    """
    canvas = _rgb(image) // 2
    truth, prediction = _flat(truth), _flat(prediction)
    canvas[(truth > 0) & (prediction == 0)] = TRUTH
    canvas[(truth == 0) & (prediction > 0)] = PREDICTION
    canvas[(truth > 0) & (prediction > 0) & (truth != prediction)] = CONFUSED
    return canvas


def fit(array: np.ndarray, box: tuple[int, int] = PANEL, ids: bool = False) -> np.ndarray:
    """Resizes (H, W, ...) uint8 to the largest size within `box` (width, height).

    Args:
        ids: class ids, which are picked and not averaged.
    """
    height, width = array.shape[:2]
    scale = min(box[0] / width, box[1] / height)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    smooth = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    return cv2.resize(_flat(array), size, interpolation=cv2.INTER_NEAREST if ids else smooth)


def sheet(
    rows: Sequence[Sequence[np.ndarray]],
    captions: Sequence[str],
    headings: Sequence[str] = (),
    legend: Sequence[tuple[str, tuple[int, int, int]]] = (),
) -> np.ndarray:
    """Images in rows, each row under its caption.

    Args:
        rows: images (H, W), (H, W, 1) or (H, W, 3) uint8 of any size; `fit` first what is large.
        captions: one line per row.
        headings: one word or two per column, at the top.
        legend: (word, colour), at the bottom.

    Returns:
        (H, W, 3) uint8.
    """
    line = _TEXT + _MARGIN
    widths = [max(p.shape[1] for p in column) for column in zip(*rows, strict=True)]
    lefts = [_MARGIN + sum(widths[:i]) + i * _MARGIN for i in range(len(widths))]
    heights = [max(image.shape[0] for image in row) for row in rows]
    width = sum(widths) + _MARGIN * (len(widths) + 1)
    height = sum(heights) + line * (len(rows) + bool(headings) + bool(legend)) + _MARGIN
    canvas = Image.new("RGB", (width, height), _PAPER)
    draw = ImageDraw.Draw(canvas)
    top = _MARGIN // 2
    for left, heading in zip(lefts, headings, strict=False):
        draw.text((left, top), heading, _INK, font(bold=True))
    top += line * bool(headings)
    for row, caption, tallest in zip(rows, captions, heights, strict=True):
        draw.text((_MARGIN, top), _shortened(caption, width - 2 * _MARGIN), _INK, font())
        top += _TEXT + _MARGIN // 2
        for left, image in zip(lefts, row, strict=True):
            canvas.paste(Image.fromarray(_rgb(image)), (left, top))
        top += tallest + _MARGIN // 2
    left = _MARGIN
    for word, colour in legend:
        draw.rectangle((left, top + 3, left + _TEXT, top + _TEXT + 3), colour, _INK)
        draw.text((left + _TEXT + 8, top), word, _INK, font())
        left += _TEXT + 8 + round(font().getlength(word)) + 2 * _MARGIN
    return np.asarray(canvas)


def _rgb(image: np.ndarray) -> np.ndarray:
    """A copy as (H, W, 3)."""
    image = _flat(image)
    return np.repeat(image[..., None], 3, axis=2) if image.ndim == 2 else image.copy()


def _flat(array: np.ndarray) -> np.ndarray:
    return array[..., 0] if array.ndim == 3 and array.shape[2] == 1 else array


def _outline(canvas: np.ndarray, area: np.ndarray, colour: tuple[int, int, int]) -> None:
    contours, _ = cv2.findContours(area.view(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    thickness = max(1, round(min(area.shape) / 250))  # ours: 2 pixels on a radiograph 1280 wide
    cv2.drawContours(canvas, contours, -1, colour, thickness, cv2.LINE_AA)


@cache
def font(size: int = _TEXT, bold: bool = False) -> ImageFont.FreeTypeFont:
    """DejaVu Sans, which matplotlib brings: it has more than Latin letters, for file names."""
    fonts = Path(find_spec("matplotlib").origin).parent / "mpl-data" / "fonts" / "ttf"
    return ImageFont.truetype(fonts / f"DejaVuSans{'-Bold' * bold}.ttf", size)


def _shortened(text: str, width: int) -> str:
    """The text, its middle left out where it is wider than `width` pixels."""
    keep, whole = len(text) // 2, text
    while font().getlength(text) > width:
        keep -= 1
        text = f"{whole[:keep]} … {whole[-keep:]}"
    return text
