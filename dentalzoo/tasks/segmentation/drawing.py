"""Masks drawn on images: areas, outlines and errors, in the colours of `plots.palette`."""

import cv2
import numpy as np
from PIL import Image, ImageDraw

from dentalzoo.plots.fonts import font
from dentalzoo.plots.palette import CONFUSED, GROUND_TRUTH, PREDICTION, Colour, palette
from dentalzoo.plots.pixels import as_rgb, without_channel

NO_NUMBER = 9
"""Stands for a tooth without a number among FDI numbers, none of which it is."""


def overlay(image: np.ndarray, mask: np.ndarray, opacity: float = 0.3) -> np.ndarray:
    """Return an image with each class of a mask as a translucent area with an outline.

    Args:
        image: (H, W), (H, W, 1) or (H, W, 3) uint8.
        mask: (H, W) or (H, W, 1) uint8 class ids; 0 stays as it is. Colours: `palette()`.
        opacity: of the areas, in [0, 1].

    Returns:
        (H, W, 3) uint8.
    """
    canvas, ids = as_rgb(image), without_channel(mask)
    colours = np.array(palette(), np.uint8)
    tinted = cv2.addWeighted(canvas, 1 - opacity, colours[ids], opacity, 0)
    cv2.copyTo(tinted, ids, canvas)
    for class_id in np.unique(ids[ids > 0]):
        _outline(canvas, ids == class_id, palette()[class_id])
    return canvas


def numbered(image: np.ndarray, numbers: np.ndarray, pieces: np.ndarray) -> np.ndarray:
    """Return an image with each tooth of its own colour and with its number.

    Args:
        image: (H, W), (H, W, 1) or (H, W, 3) uint8.
        numbers: (H, W) uint8 FDI numbers; 0 stays as it is, and `NO_NUMBER` is a colour of its own.
        pieces: (H, W) ids of what is marked with a question mark, 0 for nothing.

    Returns:
        (H, W, 3) uint8.
    """
    picture = Image.fromarray(overlay(image, numbers))
    draw = ImageDraw.Draw(picture)
    letters = font(max(10, min(numbers.shape) // 28))  # ours: 23 pixels high of 640
    known = np.where(numbers == NO_NUMBER, 0, numbers)
    for ids, text in ((known, "{}"), (pieces, "?")):
        for number in np.unique(ids[ids > 0]):
            rows, columns = np.nonzero(ids == number)
            middle = float(np.median(columns)), float(np.median(rows))
            words = text.format(number)
            draw.text(middle, words, "white", letters, "mm", stroke_width=2, stroke_fill="black")
    return np.asarray(picture)


def outlines(image: np.ndarray, ground_truth: np.ndarray, prediction: np.ndarray) -> np.ndarray:
    """Return an image with the outlines of two masks, in `GROUND_TRUTH` and in `PREDICTION`.

    Shapes are those of `overlay`.
    """
    canvas = as_rgb(image)
    for mask, colour in ((ground_truth, GROUND_TRUTH), (prediction, PREDICTION)):
        ids = without_channel(mask)
        for class_id in np.unique(ids[ids > 0]):
            _outline(canvas, ids == class_id, colour)
    return canvas


def errors(image: np.ndarray, ground_truth: np.ndarray, prediction: np.ndarray) -> np.ndarray:
    """Return a dimmed image with the wrong pixels filled.

    False negatives are in `GROUND_TRUTH`, false positives in `PREDICTION`, a class predicted as
    another in `CONFUSED`. Shapes are those of `overlay`.
    """
    canvas = as_rgb(image) // 2
    true, predicted = without_channel(ground_truth), without_channel(prediction)
    canvas[(true > 0) & (predicted == 0)] = GROUND_TRUTH
    canvas[(true == 0) & (predicted > 0)] = PREDICTION
    canvas[(true > 0) & (predicted > 0) & (true != predicted)] = CONFUSED
    return canvas


def _outline(canvas: np.ndarray, area: np.ndarray, colour: Colour) -> None:
    contours, _ = cv2.findContours(area.view(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    thickness = max(1, round(min(area.shape) / 250))  # ours: 2 pixels on a radiograph 1280 wide
    cv2.drawContours(canvas, contours, -1, colour, thickness, cv2.LINE_AA)
