"""A warning on an image, for whoever sees nothing else of a result."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from dentalzoo.plots.fonts import font
from dentalzoo.plots.pixels import as_rgb

_PAPER, _INK = (213, 94, 0), (255, 255, 255)  # the vermilion of the palette, as on charts
_TEXT, _MIN_TEXT = 28, 9  # part of an image's shorter side, and pixels; ours


def with_banner(image: np.ndarray, texts: Sequence[str]) -> np.ndarray:
    """Return an image with texts in a strip over its upper edge, as large as it was.

    Args:
        image: (H, W), (H, W, 1) or (H, W, 3) uint8.
        texts: each begins a line, and has as many as it takes; what is below the image is lost.

    Returns:
        (H, W, 3) uint8.
    """
    canvas = Image.fromarray(as_rgb(image))
    letters = font(max(_MIN_TEXT, round(min(canvas.size) / _TEXT)), bold=True)
    gap = round(letters.size / 3)
    lines = [line for text in texts for line in _lines(text, letters, canvas.width - 2 * gap)]
    draw, high = ImageDraw.Draw(canvas), sum(letters.getmetrics())
    draw.rectangle((0, 0, canvas.width, high * len(lines) + 2 * gap - 1), _PAPER)
    for number, line in enumerate(lines):
        draw.text((gap, gap + number * high), line, _INK, letters)
    return np.asarray(canvas)


def _lines(text: str, letters: ImageFont.FreeTypeFont, width: int) -> list[str]:
    """Return a text in lines of whole words that are `width` pixels wide, where a word is not."""
    lines: list[str] = []
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and letters.getlength(longer) <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines
