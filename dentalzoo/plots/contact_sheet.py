"""Contact sheets: many images in one, with captions, headings and a legend."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from dentalzoo.plots.fonts import TEXT, font, shortened
from dentalzoo.plots.palette import INK, WHITE, Colour
from dentalzoo.plots.pixels import as_pixels, as_rgb, fit

TILE = 96  # pixels: smaller images are enlarged until their longer side has as many; ours
GAP = 4  # pixels between images; ours
_MARGIN = 16  # pixels around the rows of a contact sheet; ours
_CAPTION = 600  # pixels that a caption may make a narrow sheet wide; ours


def contact_sheet(
    rows: Sequence[Sequence[np.ndarray]],
    captions: Sequence[str],
    headings: Sequence[str] = (),
    legend: Sequence[tuple[str, Colour]] = (),
) -> np.ndarray:
    """Return images in rows, each row under its caption.

    Args:
        rows: images (H, W), (H, W, 1) or (H, W, 3) uint8 of any size; `fit` large ones first.
        captions: a line for each row; the middle of one that has no room is left out.
        headings: one or two words for each column, at the top.
        legend: (text, colour), at the bottom.

    Returns:
        (H, W, 3) uint8.
    """
    line = TEXT + _MARGIN
    widths = [max(image.shape[1] for image in column) for column in zip(*rows, strict=True)]
    lefts = [_MARGIN + sum(widths[:i]) + i * _MARGIN for i in range(len(widths))]
    heights = [max(image.shape[0] for image in row) for row in rows]
    longest = round(max((font().getlength(caption) for caption in captions), default=0))
    width = max(sum(widths) + _MARGIN * (len(widths) + 1), min(longest + 1, _CAPTION) + 2 * _MARGIN)
    height = sum(heights) + line * (len(rows) + bool(headings) + bool(legend)) + _MARGIN
    canvas = Image.new("RGB", (width, height), WHITE)
    draw = ImageDraw.Draw(canvas)
    top = _MARGIN // 2
    for left, heading in zip(lefts, headings, strict=False):
        draw.text((left, top), heading, INK, font(bold=True))
    top += line * bool(headings)
    for row, caption, tallest in zip(rows, captions, heights, strict=True):
        draw.text((_MARGIN, top), shortened(caption, width - 2 * _MARGIN), INK, font())
        top += TEXT + _MARGIN // 2
        for left, image in zip(lefts, row, strict=True):
            canvas.paste(Image.fromarray(as_rgb(image)), (left, top))
        top += tallest + _MARGIN // 2
    left = _MARGIN
    for text, colour in legend:
        draw.rectangle((left, top + 3, left + TEXT, top + TEXT + 3), colour, INK)
        draw.text((left + TEXT + 8, top), text, INK, font())
        left += TEXT + 8 + round(font().getlength(text)) + 2 * _MARGIN
    return np.asarray(canvas)


def grid(
    images: Sequence[np.ndarray], columns: int, tile: int | None = None, gap: int = GAP
) -> np.ndarray:
    """Return images of one size in rows of `columns`, on white.

    Args:
        images: (H, W), (H, W, 1) or (H, W, 3), float in [0, 1] or uint8.
        tile: pixels of an image's longer side; None for its own, at least `TILE`.
        gap: pixels between images.

    Returns:
        (H, W, 3) uint8.
    """
    tiles = [as_tile(image, tile) for image in images]
    height, width = tiles[0].shape[:2]
    columns, rows = min(columns, len(tiles)), -(-len(tiles) // columns)
    canvas = np.full((rows * (height + gap) - gap, columns * (width + gap) - gap, 3), 255, np.uint8)
    for index, pixels in enumerate(tiles):
        top, left = index // columns * (height + gap), index % columns * (width + gap)
        canvas[top : top + height, left : left + width] = pixels
    return canvas


def side_by_side(*images: np.ndarray, tile: int | None = None) -> np.ndarray:
    """Return images of one size in a row; see `grid`."""
    return grid(images, len(images), tile)


def pairs(
    groups: Sequence[tuple[str, Sequence[np.ndarray], Sequence[np.ndarray]]],
) -> np.ndarray:
    """Return images above their counterparts, a block under a caption for each group.

    Args:
        groups: caption, images, as many counterparts.
    """
    blocks = [[grid([*upper, *lower], len(upper))] for _, upper, lower in groups]
    return contact_sheet(blocks, [caption for caption, _, _ in groups])


def strips(rows: Sequence[Sequence[np.ndarray]], caption: str) -> np.ndarray:
    """Return rows of images under a caption, a space after the first and before the last of each.

    Args:
        rows: three or more images each, see `grid`.
    """
    lines = []
    for row in rows:
        first, *middle, last = row
        parts = [grid([first], 1), grid(middle, len(middle)), grid([last], 1)]
        space = np.full((len(parts[0]), 3 * GAP, 3), 255, np.uint8)
        lines.append(np.concatenate([parts[0], space, parts[1], space, parts[2]], axis=1))
    between = np.full((GAP, lines[0].shape[1], 3), 255, np.uint8)
    stacked = [part for line in lines for part in (line, between)][:-1]
    return contact_sheet([[np.concatenate(stacked)]], [caption])


def as_tile(image: np.ndarray, side: int | None = None) -> np.ndarray:
    """Return an image as (H, W, 3) uint8 whose longer side has `side` pixels.

    Args:
        image: (H, W), (H, W, 1) or (H, W, 3), float in [0, 1] or uint8.
        side: None for its own, at least `TILE`.
    """
    pixels = as_pixels(image)
    longer = max(pixels.shape[:2])
    side = side or max(TILE, longer)
    return as_rgb(fit(pixels, (side, side)) if side != longer else pixels)
