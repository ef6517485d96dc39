"""Boxes drawn on images, and contact sheets of radiographs with their boxes.

The colours of the classes are those of masks: `dentalzoo.plots.palette`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from dentalzoo.plots.contact_sheet import contact_sheet
from dentalzoo.plots.fonts import font
from dentalzoo.plots.palette import Colour, palette
from dentalzoo.plots.pixels import PANEL, as_rgb, fit
from dentalzoo.tasks.detection.matching import FALSE_POSITIVE, TRUE_POSITIVE, Case
from dentalzoo.tasks.detection.scores import Outcome

Area = tuple[int, int, int, int]  # left, top, right, bottom in pixels, ends included

_GREY, _DARK, _LIGHT = (190, 190, 190), (20, 20, 20), (255, 255, 255)
_LUMA = (0.299, 0.587, 0.114)  # ITU-R 601
_LINE, _TEXT = 250, 45  # parts of an image's shorter side; ours
_MIN_TEXT = 9  # pixels
_HIDDEN = 0.25  # part of a box that a text may cover; ours
_LEGEND = 8  # classes that the legend of a contact sheet holds


def overlay(
    image: np.ndarray,
    boxes: np.ndarray,
    classes: Sequence[int] | np.ndarray,
    names: Sequence[str],
    scores: np.ndarray | None = None,
) -> np.ndarray:
    """Return an image with boxes in the colours of their classes, with names and scores.

    The best boxes are named first. A text lies outside of its box where it can, covers no other
    text and little of any box. Where there is little room it is the name alone, the score alone
    where the name does not fit, and is left out where that does not either; its box is not.

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
    return _with_marks(
        image,
        [
            _Mark(
                box, palette()[label], f"{names[label - 1]} {text}".strip(), names[label - 1], text
            )
            for box, label, text in zip(boxes, classes, texts, strict=True)
        ],
    )


def errors_figure(
    rows: Sequence[tuple[str, np.ndarray, Case, Outcome]], names: Sequence[str]
) -> np.ndarray:
    """Return radiographs with their ground truth, their detections, and the errors.

    Among the errors false negatives are dashed, true positives are thin and grey.

    Args:
        rows: (caption, image (H, W, C) uint8, case, outcome) of each radiograph.
        names: of the classes 1..n.

    Returns:
        (H, W, 3) uint8.
    """
    images = []
    for _, image, case, outcome in rows:
        radiograph, shown = fit(image, PANEL), outcome.shown
        images.append(
            [
                _panel(radiograph, case.gt_boxes, case.gt_classes, names),
                _panel(
                    radiograph, case.boxes[shown], case.classes[shown], names, case.scores[shown]
                ),
                _errors(radiograph, case, outcome, names),
            ]
        )
    legend = _legend(names)
    if legend:
        legend.append(("in Errors: true positives", _GREY))
    captions = [caption for caption, *_ in rows]
    return contact_sheet(images, captions, ("Ground truth", "Detections", "Errors"), legend)


def comparison_figure(
    rows: Sequence[tuple[str, np.ndarray, Sequence[tuple[Case, np.ndarray, Sequence[str]]]]],
    headings: Sequence[str],
) -> np.ndarray:
    """Return radiographs with their ground truth and the detections of several bundles.

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
        row = [_panel(radiograph, first.gt_boxes, first.gt_classes, names)]
        for case, shown, own_names in columns:
            # A class has one colour, whatever its number in the bundle.
            labels = [names.index(own_names[label - 1]) + 1 for label in case.classes[shown]]
            row.append(_panel(radiograph, case.boxes[shown], labels, names, case.scores[shown]))
        images.append(row)
    captions = [caption for caption, *_ in rows]
    return contact_sheet(images, captions, ["Ground truth", *headings], _legend(names))


def _legend(names: Sequence[str]) -> list[tuple[str, Colour]]:
    """Return the colours of the classes where a line holds them, else nothing."""
    if len(names) > _LEGEND:
        return []
    return [(name, palette()[label]) for label, name in enumerate(names, 1)]


def _panel(
    radiograph: np.ndarray,
    boxes: np.ndarray,
    classes: Sequence[int] | np.ndarray,
    names: Sequence[str],
    scores: np.ndarray | None = None,
) -> np.ndarray:
    """Return an overlay whose names are left to the legend where there is one."""
    return overlay(
        radiograph, boxes, classes, [""] * len(names) if _legend(names) else names, scores
    )


def _errors(
    radiograph: np.ndarray, case: Case, outcome: Outcome, names: Sequence[str]
) -> np.ndarray:
    def error(box: np.ndarray, label: int, kind: str, short: str, dashed: bool = False) -> _Mark:
        text = kind if _legend(names) else f"{names[label - 1]} {kind}"
        return _Mark(box, palette()[label], text, short, dashed=dashed)

    marks = []
    for target, detection in outcome.confused:
        label = case.classes[detection]
        text = f"{names[case.gt_classes[target] - 1]} as {names[label - 1]}"
        marks.append(_Mark(case.boxes[detection], palette()[label], text))
    confused_targets = {target for target, _ in outcome.confused}
    confused_detections = {detection for _, detection in outcome.confused}
    for target in np.flatnonzero(outcome.false_negative).tolist():
        if target not in confused_targets:
            box, label = case.gt_boxes[target], case.gt_classes[target]
            marks.append(error(box, label, "false negative", "FN", dashed=True))
    for detection in np.flatnonzero(outcome.of_kind(FALSE_POSITIVE)).tolist():
        if detection not in confused_detections:
            box, label = case.boxes[detection], case.classes[detection]
            marks.append(error(box, label, "false positive", "FP"))
    for detection in np.flatnonzero(outcome.of_kind(TRUE_POSITIVE)).tolist():
        marks.append(_Mark(case.boxes[detection], _GREY, thin=True))
    return _with_marks(radiograph, marks)


# ---- marks ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Mark:
    """A box (4,) in [0, 1] with its colour and its text.

    Attributes:
        short: a shorter text that may stand for `text`.
        last: one for where neither fits.
    """

    box: np.ndarray
    colour: Colour
    text: str = ""
    short: str = ""
    last: str = ""
    dashed: bool = False
    thin: bool = False


def _with_marks(image: np.ndarray, marks: Sequence[_Mark]) -> np.ndarray:
    """Return an image with boxes and texts; the first lie on top and get their texts first."""
    canvas = Image.fromarray(as_rgb(image))
    draw = ImageDraw.Draw(canvas)
    width, height = canvas.size
    line = max(1, round(min(width, height) / _LINE))
    letters = font(max(_MIN_TEXT, round(min(width, height) / _TEXT)))
    areas = [_pixels(mark.box, width, height) for mark in marks]
    for mark, area in reversed(list(zip(marks, areas, strict=True))):
        if mark.dashed:
            _dash(draw, area, mark.colour, line)
        else:
            draw.rectangle(area, outline=mark.colour, width=1 if mark.thin else line)
    taken: list[Area] = []
    for mark, area in zip(marks, areas, strict=True):
        for texts in ((mark.text, mark.short), (mark.last,)):
            kept = [text for text in dict.fromkeys(texts) if text]
            label, text = _free_place(area, kept, letters, canvas.size, taken, areas)
            if label:
                break
        if label:
            taken.append(label)
            draw.rectangle(label, fill=mark.colour)
            ink = _DARK if np.dot(mark.colour, _LUMA) > 110 else _LIGHT
            draw.text((label[0] + 2, label[1] + 1), text, ink, letters)
    return np.asarray(canvas)


def _dash(draw: ImageDraw.ImageDraw, area: Area, colour: Colour, line: int) -> None:
    """Draw a rectangle of dashes, `line` wide and inside of `area`."""
    left, top, right, bottom = area
    dash, deep = 4 * line, line - 1
    for start in range(left, right + 1, 2 * dash):
        end = min(right, start + dash - 1)
        draw.rectangle((start, top, end, min(bottom, top + deep)), colour)
        draw.rectangle((start, max(top, bottom - deep), end, bottom), colour)
    for start in range(top, bottom + 1, 2 * dash):
        end = min(bottom, start + dash - 1)
        draw.rectangle((left, start, min(right, left + deep), end), colour)
        draw.rectangle((max(left, right - deep), start, right, end), colour)


def _pixels(box: np.ndarray, width: int, height: int) -> Area:
    """Return the pixels of a box (4,) in [0, 1], inside of the image."""
    top, left, bottom, right = (float(part) for part in np.clip(box, 0, 1))
    x, y = min(width - 1, int(left * width)), min(height - 1, int(top * height))
    return x, y, max(x, round(right * width) - 1), max(y, round(bottom * height) - 1)


def _free_place(
    area: Area,
    texts: Sequence[str],
    letters: ImageFont.FreeTypeFont,
    size: tuple[int, int],
    taken: Sequence[Area],
    areas: Sequence[Area],
) -> tuple[Area | None, str]:
    """Return where a text hides no other and the least of the boxes, and which of the texts.

    Above its box, below, beside or inside it; (None, "") where it would hide too much.

    Args:
        area: of the text's box.
        texts: the first is preferred.
        size: width and height of the image.
        taken: areas of other texts.
        areas: of all boxes.
    """
    left, top, right, bottom = area
    high = sum(letters.getmetrics()) + 2
    best: tuple[Area | None, str] = (None, "")
    least = _HIDDEN
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
            hidden = _covered(label, areas).max()
            if hidden < least:
                best, least = (label, text), hidden
    return best


def _covered(label: Area, areas: Sequence[Area]) -> np.ndarray:
    """Return the part of each area that a label covers, (N,) in [0, 1]."""
    boxes = np.array(areas)
    low, high = np.maximum(boxes[:, :2], label[:2]), np.minimum(boxes[:, 2:], label[2:])
    sizes = (boxes[:, 2:] - boxes[:, :2] + 1).prod(1)
    return np.asarray(np.maximum(high - low + 1, 0).prod(1) / sizes)
