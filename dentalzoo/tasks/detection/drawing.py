"""Boxes drawn on images, and the sheet of the radiographs that a bundle understood least.

Colours are those of masks: `dentalzoo.plots.palette`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from dentalzoo.plots.contact_sheet import contact_sheet
from dentalzoo.plots.fonts import font
from dentalzoo.plots.palette import palette
from dentalzoo.plots.pixels import PANEL, fit
from dentalzoo.tasks.detection.matching import FOUND, WRONG, Case
from dentalzoo.tasks.detection.scores import Outcome

_GREY, _DARK, _LIGHT = (190, 190, 190), (20, 20, 20), (255, 255, 255)
_LUMA = (0.299, 0.587, 0.114)  # ITU-R 601
_LINE, _TEXT = 250, 45  # parts of an image's shorter side; ours
_LEAST_TEXT = 9  # pixels
_HIDDEN = 0.25  # part of a box that a text may cover; ours
_LEGEND = 8  # classes that a line of the sheets holds


def overlay(
    image: np.ndarray,
    boxes: np.ndarray,
    classes: np.ndarray,
    names: Sequence[str],
    scores: np.ndarray | None = None,
) -> np.ndarray:
    """An image with boxes in the colours of their classes, and beside them names and scores.

    The best boxes are named first. A text lies outside of its box where it can, covers no other
    text and little of any box. On a small image it is the score alone where the name does not
    fit, and is left out where that does not either; its box is not.

    Args:
        image: (H, W), (H, W, 1) or (H, W, 3) uint8.
        boxes: (K, 4) top, left, bottom, right in [0, 1].
        classes: (K,) from 1.
        names: of the classes 1..n.
        scores: (K,) in [0, 1]; None for boxes that have none, such as annotated ones.

    Returns:
        (H, W, 3) uint8.
    """
    texts = [""] * len(classes) if scores is None else [f"{score:.2f}" for score in scores]
    return _drawn(
        image,
        [
            _Mark(box, palette()[label], f"{names[label - 1]} {text}".strip(), text)
            for box, label, text in zip(boxes, classes, texts, strict=True)
        ],
    )


def worst_sheet(
    rows: Sequence[tuple[str, np.ndarray, Case, Outcome]], names: Sequence[str]
) -> np.ndarray:
    """Radiographs with what is annotated, what was detected, and the errors.

    Among the errors what was missed is dashed, what was found is thin and grey.

    Args:
        rows: (caption, image (H, W, C) uint8, case, outcome) of each radiograph.
        names: of the classes 1..n.

    Returns:
        (H, W, 3) uint8.
    """
    images = []
    for _, image, case, outcome in rows:
        radiograph, shown = fit(image, PANEL), outcome.shown
        found = case.found[shown], case.classes[shown]
        images.append(
            [
                _in_a_row(radiograph, case.boxes, case.labels, names),
                _in_a_row(radiograph, *found, names, case.scores[shown]),
                _errors(radiograph, case, outcome, names),
            ]
        )
    legend = _legend(names)
    if legend:
        legend.append(("errors: found", _GREY))
    captions = [caption for caption, *_ in rows]
    return contact_sheet(images, captions, ("Annotated", "Detected", "Errors"), legend)


def compared_sheet(
    rows: Sequence[tuple[str, np.ndarray, Sequence[tuple[Case, np.ndarray, Sequence[str]]]]],
    headings: Sequence[str],
) -> np.ndarray:
    """Radiographs with what is annotated and what each of several bundles detected.

    Args:
        rows: (caption, image (H, W, C) uint8, for each bundle: case, which detections are shown
            (K,) bool, names of its classes) of each radiograph.
        headings: of the bundles.

    Returns:
        (H, W, 3) uint8.
    """
    images = []
    names = list(rows[0][2][0][2])
    for _, image, columns in rows:
        radiograph, first = fit(image, PANEL), columns[0][0]
        row = [_in_a_row(radiograph, first.boxes, first.labels, names)]
        for case, shown, own_names in columns:
            # A class has one colour, whatever its number in the bundle.
            same = [names.index(own_names[label - 1]) + 1 for label in case.classes[shown]]
            row.append(_in_a_row(radiograph, case.found[shown], same, names, case.scores[shown]))
        images.append(row)
    captions = [caption for caption, *_ in rows]
    return contact_sheet(images, captions, ["Annotated", *headings], _legend(names))


def _legend(names: Sequence[str]) -> list[tuple[str, tuple[int, int, int]]]:
    """The colours of the classes where a line holds them."""
    if len(names) > _LEGEND:
        return []
    return [(name, palette()[label]) for label, name in enumerate(names, 1)]


def _in_a_row(radiograph, boxes, classes, names, scores=None) -> np.ndarray:
    """An overlay whose names are left to the legend where there is one."""
    return overlay(
        radiograph, boxes, classes, [""] * len(names) if _legend(names) else names, scores
    )


def _errors(radiograph, case: Case, outcome: Outcome, names: Sequence[str]) -> np.ndarray:
    marks = []
    for thing, detection in outcome.confused:
        label = case.classes[detection]
        text = f"{names[case.labels[thing] - 1]} as {names[label - 1]}"
        marks.append(_Mark(case.found[detection], palette()[label], text))
    things = {thing for thing, _ in outcome.confused}
    detections = {detection for _, detection in outcome.confused}
    for thing in np.flatnonzero(outcome.missed):
        if thing not in things:
            label = case.labels[thing]
            text = "missed" if _legend(names) else f"{names[label - 1]} missed"
            marks.append(_Mark(case.boxes[thing], palette()[label], text, dashed=True))
    for detection in np.flatnonzero(outcome.shown & (outcome.kinds == WRONG)):
        if detection not in detections:
            label = case.classes[detection]
            text = "wrong" if _legend(names) else f"{names[label - 1]} wrong"
            marks.append(_Mark(case.found[detection], palette()[label], text))
    for detection in np.flatnonzero(outcome.shown & (outcome.kinds == FOUND)):
        marks.append(_Mark(case.found[detection], _GREY, thin=True))
    return _drawn(radiograph, marks)


@dataclass(frozen=True)
class _Mark:
    """A box (4,) in [0, 1] with its colour, its text, and a shorter one for where that is long."""

    box: np.ndarray
    colour: tuple[int, int, int]
    text: str = ""
    short: str = ""
    dashed: bool = False
    thin: bool = False


def _drawn(image: np.ndarray, marks: Sequence[_Mark]) -> np.ndarray:
    """Boxes with texts; the first ones lie on top and get their texts first."""
    grey = image.ndim == 2 or image.shape[2] == 1
    pixels = np.repeat(image.reshape(*image.shape[:2], 1), 3, 2) if grey else image
    canvas = Image.fromarray(pixels)
    draw = ImageDraw.Draw(canvas)
    width, height = canvas.size
    line = max(1, round(min(width, height) / _LINE))
    letters = font(max(_LEAST_TEXT, round(min(width, height) / _TEXT)))
    places = [_pixels(mark.box, width, height) for mark in marks]
    for mark, place in reversed(list(zip(marks, places, strict=True))):
        if mark.dashed:
            _dash(draw, place, mark.colour, line)
        else:
            draw.rectangle(place, outline=mark.colour, width=1 if mark.thin else line)
    taken = []
    for mark, place in zip(marks, places, strict=True):
        texts = [text for text in dict.fromkeys((mark.text, mark.short)) if text]
        label, text = _free(place, texts, letters, canvas.size, taken, places)
        if label:
            taken.append(label)
            draw.rectangle(label, fill=mark.colour)
            ink = _DARK if np.dot(mark.colour, _LUMA) > 110 else _LIGHT
            draw.text((label[0] + 2, label[1] + 1), text, ink, letters)
    return np.asarray(canvas)


def _dash(draw: ImageDraw.ImageDraw, place, colour, line: int) -> None:
    """A rectangle of dashes, `line` wide and inside of `place`."""
    left, top, right, bottom = place
    dash, deep = 4 * line, line - 1
    for start in range(left, right + 1, 2 * dash):
        end = min(right, start + dash - 1)
        draw.rectangle((start, top, end, min(bottom, top + deep)), colour)
        draw.rectangle((start, max(top, bottom - deep), end, bottom), colour)
    for start in range(top, bottom + 1, 2 * dash):
        end = min(bottom, start + dash - 1)
        draw.rectangle((left, start, min(right, left + deep), end), colour)
        draw.rectangle((max(left, right - deep), start, right, end), colour)


def _pixels(box: np.ndarray, width: int, height: int) -> tuple[int, int, int, int]:
    """Left, top, right, bottom as inclusive pixels inside of the image."""
    top, left, bottom, right = (float(part) for part in np.clip(box, 0, 1))
    left, top = min(width - 1, int(left * width)), min(height - 1, int(top * height))
    right, bottom = round(right * width) - 1, round(bottom * height) - 1
    return left, top, max(left, right), max(top, bottom)


def _free(place, texts: Sequence[str], letters, size: tuple[int, int], taken, boxes):
    """Where a text hides no other and the least of the boxes, and which one of the texts.

    Above its box, below, beside or inside it; (None, "") where it would hide too much.
    """
    left, top, right, bottom = place
    high = sum(letters.getmetrics()) + 2
    best, least = (None, ""), _HIDDEN
    for text in texts:
        wide = round(letters.getlength(text)) + 4
        start = max(0, min(left, size[0] - wide))
        end = max(0, min(right - wide + 1, size[0] - wide))
        for x, y in (
            (start, top - high),
            (start, bottom + 1),
            (end, top - high),
            (end, bottom + 1),
            (right + 1, top),
            (left - wide, top),
            (start, top),
            (start, bottom - high),
        ):
            label = (x, y, x + wide - 1, y + high - 1)
            inside = min(x, y) >= 0 and label[2] < size[0] and label[3] < size[1]
            if not inside or (taken and _covered(label, taken).any()):
                continue
            hidden = _covered(label, boxes).max()
            if hidden < least:
                best, least = (label, text), hidden
    return best


def _covered(label, boxes) -> np.ndarray:
    """The part of each box (N, 4) that a label covers, (N,) in [0, 1]; ends are inclusive."""
    boxes = np.array(boxes)
    low, high = np.maximum(boxes[:, :2], label[:2]), np.minimum(boxes[:, 2:], label[2:])
    areas = (boxes[:, 2:] - boxes[:, :2] + 1).prod(1)
    return np.maximum(high - low + 1, 0).prod(1) / areas
