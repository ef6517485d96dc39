"""What three bundles see in a radiograph, and the rules that make one chart of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np

from dentalzoo.charting.kinds import kind_of, title_of
from dentalzoo.charting.mouth import PERMANENT, number_in_gap, tooth_name, tooth_under
from dentalzoo.tasks.detector import Detections
from dentalzoo.tasks.segmentation.instances import Teeth, like_teeth

# Chosen by the accuracy of presence on the 17 validation radiographs of `dentex_fdi`, of 0 to 0.3:
# benchmarks/chart.py. The smallest part of a tooth's box that its mask fills.
MIN_COVER = 0.15
_TOLERANCE = 1.0  # ours, in pixels: how far an outline may be from the edge of the mask


@dataclass(frozen=True)
class Seen:
    """What the bundles see in one image. Boxes are top, left, bottom, right in [0, 1].

    Attributes:
        size: height and width of the image in pixels.
        mask: (H, W) bool, the teeth.
        teeth: the numbered teeth, one box for each number.
        numbers: FDI numbers of the class ids 1..n of `teeth` and `candidates`.
        candidates: all boxes of teeth above the threshold, before one was chosen for each number.
        findings: boxes of findings above their threshold; None where no bundle looks for any.
        labels: names of the class ids 1..n of the findings.
    """

    size: tuple[int, int]
    mask: np.ndarray
    teeth: Teeth
    numbers: Sequence[int]
    candidates: Detections
    findings: Detections | None = None
    labels: Sequence[str] = ()


@dataclass
class Reading:
    """The parts of a chart that come from the image, see `schema` for their values.

    Attributes:
        teeth: an entry for each number.
        findings: an entry for each finding, the best first.
        contradictions: an entry for each.
        unnumbered: polygons of the outlines as large as teeth that have no number.
    """

    teeth: list[dict[str, Any]] = field(default_factory=list)
    findings: list[dict[str, Any]] = field(default_factory=list)
    contradictions: list[dict[str, Any]] = field(default_factory=list)
    unnumbered: list[list[int]] = field(default_factory=list)

    def say(
        self, kind: str, text: str, teeth: Sequence[int] = (), findings: Sequence[int] = ()
    ) -> None:
        """Add a contradiction."""
        self.contradictions.append(
            {"kind": kind, "text": text, "teeth": [*teeth], "findings": [*findings]}
        )


def read(seen: Seen) -> Reading:
    """Return the teeth, the findings on them, and what contradicts itself.

    A tooth is present where it has a box that the mask of teeth fills to a part of `MIN_COVER`. An
    implant that lies off every tooth takes the number of the missing tooth between its neighbours.
    """
    reading = Reading()
    areas = np.bincount(seen.teeth.ids.ravel(), minlength=256)
    by_number: dict[int, dict[str, Any]] = {
        number: _absent(number) for number in sorted({*PERMANENT, *_deciduous(seen)})
    }
    present: list[int] = []
    boxes: list[np.ndarray] = []
    for label, score, box in zip(
        seen.teeth.classes, seen.teeth.scores, seen.teeth.boxes.astype(np.float64), strict=True
    ):
        number, area = seen.numbers[label - 1], int(areas[label])
        if area < MIN_COVER * max(1.0, np.prod((box[2:] - box[:2]) * seen.size)):
            reading.say(
                "no_outline",
                f"Tooth {number}: a box was found ({_percent(score)}) but hardly any outline of a "
                "tooth in it. It is charted as not found.",
                [number],
            )
            continue
        by_number[number] = {
            **_absent(number),
            "state": "present",
            "score": _rounded(score),
            "box": _pixels(box, seen.size),
            "area": area,
            "outline": _outlines(seen.teeth.ids, int(label)),
        }
        present.append(number)
        boxes.append(box)
    places = np.array(boxes, np.float64).reshape(-1, 4)
    free = seen.mask & (seen.teeth.ids == 0)
    untold = free.copy()
    _add_candidates(reading, seen, untold, present)
    _add_unnumbered(reading, seen, free, untold, present, places)
    _add_findings(reading, seen, by_number, present, places)
    if not present:
        reading.say("no_teeth", "No tooth was found on this image.")
    reading.teeth = list(by_number.values())
    return reading


def _add_candidates(reading: Reading, seen: Seen, free: np.ndarray, present: Sequence[int]) -> None:
    """Say which boxes of teeth were not chosen although a tooth without a number is under them.

    Args:
        free: (H, W) bool: the teeth without a number; changed.
    """
    found = seen.candidates
    for index in np.argsort(-found.scores, kind="stable"):
        box = found.boxes[index].astype(np.float64)
        rows, columns = _window(box, seen.size)
        part = free[rows, columns]
        if not part.size or part.sum() < MIN_COVER * part.size:
            continue
        free[rows, columns] = False  # once for each tooth
        number = seen.numbers[found.classes[index] - 1]
        looks = f"A tooth that looks like {number} ({_percent(found.scores[index])})"
        if number in present:
            text = f"{looks} was found beside another one of that number; only one is charted."
            reading.say("same_number", text, [number])
        else:
            text = f"{looks} does not fit the order of the other teeth; it is not charted."
            reading.say("out_of_order", text, [number])


def _add_unnumbered(
    reading: Reading,
    seen: Seen,
    free: np.ndarray,
    untold: np.ndarray,
    present: Sequence[int],
    places: np.ndarray,
) -> None:
    """Say which outlines are as large as teeth and have no number.

    Args:
        free: (H, W) bool: the teeth without a number.
        untold: (H, W) bool: the part of them of which nothing was said.
    """
    pieces = like_teeth(free, seen.teeth.ids)
    for piece in range(1, int(pieces.max()) + 1):
        mine = pieces == piece
        reading.unnumbered += _outlines(pieces, piece)
        if untold[mine].mean() < 0.5:
            continue
        left, top, width, height = cv2.boundingRect(mine.astype(np.uint8))
        box = np.array([top, left, top + height, left + width]) / (*seen.size, *seen.size)
        number = number_in_gap(box, places, present)
        where = "" if number is None else f", perhaps tooth {number}"
        reading.say(
            "no_number",
            f"An outline of a tooth, or of several, has no number{where}: it is drawn dashed, and "
            "what it shows is charted as not found.",
            [] if number is None else [number],
        )


def _add_findings(
    reading: Reading,
    seen: Seen,
    by_number: Mapping[int, dict[str, Any]],
    present: Sequence[int],
    places: np.ndarray,
) -> None:
    if seen.findings is None:
        return
    order = np.argsort(-seen.findings.scores, kind="stable")
    for identifier, index in enumerate(order, start=1):
        box = seen.findings.boxes[index].astype(np.float64)
        label = seen.labels[seen.findings.classes[index] - 1]
        kind, score = kind_of(label).key, seen.findings.scores[index]
        title = f"{title_of(kind, label)} ({_percent(score)})"
        under = tooth_under(box, places)
        number = None if under is None else present[under]
        if number is None and kind == "implant":
            number = number_in_gap(box, places, present)
            part = seen.mask[_window(box, seen.size)]
            if part.size and part.mean() >= MIN_COVER:
                text = (
                    f"{title} lies where an outline of a tooth is. A tooth with a root filling "
                    "looks similar."
                )
                where = [] if number is None else [number]
                reading.say("implant_on_outline", text, where, [identifier])
            if number is not None and by_number[number]["state"] == "absent":
                by_number[number] |= {
                    "state": "implant",
                    "score": _rounded(score),
                    "box": _pixels(box, seen.size),
                }
        elif number is not None and kind == "implant":
            text = f"{title} lies on tooth {number}, which was found as a tooth."
            if score >= 0.5:
                text += " A tooth with a root filling looks similar."
            reading.say("implant_on_tooth", text, [number], [identifier])
        if number is None:
            text = f"{title} lies on no tooth that was found."
            reading.say("off_tooth", text, (), [identifier])
        else:
            by_number[number]["findings"].append(identifier)
        reading.findings.append(
            {
                "id": identifier,
                "class": label,
                "kind": kind,
                "score": _rounded(score),
                "box": _pixels(box, seen.size),
                "tooth": number,
                "crop": None,
            }
        )


def _absent(number: int) -> dict[str, Any]:
    return {
        "number": number,
        "name": tooth_name(number),
        "state": "absent",
        "score": None,
        "box": None,
        "area": 0,
        "outline": [],
        "crop": None,
        "findings": [],
    }


def _deciduous(seen: Seen) -> set[int]:
    """Return the deciduous teeth that were found; an absent one is no news in an adult."""
    return {number for label in seen.teeth.classes if (number := seen.numbers[label - 1]) > 50}


def _outlines(ids: np.ndarray, label: int) -> list[list[int]]:
    """Return the outer polygons of a tooth, x, y, x, y, ... in pixels, the largest first."""
    contours, _ = cv2.findContours(
        np.asarray(ids == label, np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE
    )
    simple = [cv2.approxPolyDP(contour, _TOLERANCE, closed=True) for contour in contours]
    kept = [polygon for polygon in simple if len(polygon) >= 3]
    kept.sort(key=cv2.contourArea, reverse=True)
    return [[int(value) for value in polygon.ravel()] for polygon in kept]


def _window(box: np.ndarray, size: tuple[int, int]) -> tuple[slice, slice]:
    """Return the rows and columns of a box in an image of (height, width)."""
    left, top, right, bottom = _pixels(box, size)
    rows = slice(int(top), int(np.ceil(bottom)))
    return rows, slice(int(left), int(np.ceil(right)))


def _pixels(box: np.ndarray, size: tuple[int, int]) -> list[float]:
    """Return left, top, right, bottom in pixels, inside the image."""
    height, width = size
    top, left, bottom, right = np.clip(box, 0, 1) * [height, width, height, width]
    return [round(float(edge), 1) for edge in (left, top, right, bottom)]


def _rounded(score: float) -> float:
    return round(float(score), 4)


def _percent(score: float) -> str:
    return f"{100 * float(score):.0f} %"
