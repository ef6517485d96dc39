"""Lines of YOLO label files, and what their numbers mean in a data set.

A line has no key: its count of numbers says what they are, and some counts have two meanings. So
the lines of all files decide together, see `decide`.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from dentalzoo.data.formats.base import RawBox
from dentalzoo.data.formats.label_maps import read_text
from dentalzoo.data.formats.outlines import outline_edges
from dentalzoo.data.formats.yolo.extras import (
    SLACK,
    in_image,
    misplaced,
    polygon_after_confidence,
    trailing,
)
from dentalzoo.errors import BadFile

Kind = Literal["polygons", "oriented", "pose", "corners", ""]

_BOX = 5  # class cx cy w h
_ORIENTED = 9  # class and four corners
# All ours.
_MARGIN = 0.1  # of a box: how far outside of it keypoints may lie
_ONE_SIDED = 0.55  # of w or h: the most that an outline spans which starts at its own end
# Parts of the lines that look like keypoints: 30 random outlines have up to 0.23, triangles 0.40.
_FEW, _FEW_TRIANGLES = 0.25, 0.45
_OUTER = 0.25  # of the extent of the other points: how far from their middle an outline starts
_MANY_POINTS = 4  # keypoints: drawn as an outline, this many cross themselves mostly
_TESTED = 1000  # lines of a data set, evenly chosen: to compare their edges takes long
_ALL, _SOME = 0.95, 0.05  # where nearly all lines start with a box around what follows, few suffice
_MANY_OUTSIDE, _MANY = 2, 0.2  # boxes, and part of the boxes, that leave their images
_MIDDLE = 0.1  # of the image: how far from its middle a box of a whole jaw may lie
_FAR_MORE = 5  # boxes that leave their images on two of four sides alone: 1 in 32 by chance
_SAME_CORNER = 0.02  # of a box: the most that the fourth corner of a parallelogram is off


@dataclass(frozen=True)
class Meaning:
    """What the lines of a data set hold.

    Attributes:
        kind: of lines with more numbers than a box; "corners" where boxes are refused.
        keypoints: numbers of keypoints after a box, from data.yaml; 0 for none.
        extra: numbers after a box or a polygon that are confidences or track ids, by the count of
            numbers of the line.
        refused: why these lines, and with "corners" all lines, are not used; "" where they are.
        notice: what is not read, for the log; "" for nothing.
    """

    kind: Kind = "polygons"
    keypoints: int = 0
    extra: Mapping[int, int] | None = None
    refused: str = ""
    notice: str = ""


def read_lines(path: Path) -> list[tuple[str, str]]:
    """Return ("line 1", its text) of each line of a label file that is not blank.

    Raises:
        BadFile: the file is not text.
    """
    try:
        lines = read_text(path).splitlines()
    except (OSError, ValueError) as error:
        raise BadFile(path, f"must hold lines `class cx cy w h`. Received: {error}") from error
    return [(f"line {i}", line) for i, line in enumerate(lines, start=1) if line.strip()]


def parse_numbers(line: str) -> list[float]:
    """Return the numbers of a line.

    Raises:
        ValueError: it holds something else, or NaN.
    """
    try:
        values = [float(word) for word in line.split()]
    except ValueError:
        comma = "; decimals are written with a point" if "," in line else ""
        raise ValueError(f"must be numbers{comma}. Received: {line[:60]!r}") from None
    if not all(map(math.isfinite, values)):
        raise ValueError(f"every value must be a number. Received: {line[:60]!r}")
    return values


def make_box(
    values: Sequence[float], names: Mapping[int, str] | None, where: str, meaning: Meaning
) -> RawBox:
    """Return the object of a line, in parts of the image.

    Args:
        values: of the line.
        names: of the class ids; None takes every number as its own name.
        where: the line, for messages.
        meaning: of the lines of the data set.

    Raises:
        ValueError: the line cannot be used, or its class has no name.
    """
    count = len(values)
    extra = (meaning.extra or {}).get(count, 0)
    rest = count - extra - _BOX
    if meaning.keypoints and rest == meaning.keypoints:
        rest, extra = 0, extra + meaning.keypoints
    elif meaning.refused and (count > _BOX or meaning.kind == "corners"):
        raise ValueError(meaning.refused)
    if rest and (meaning.keypoints or rest < 2 or rest % 2):
        numbers = f", and {meaning.keypoints} numbers of keypoints" if meaning.keypoints else ""
        raise ValueError(
            f"must be `class cx cy w h`{numbers}, or a class and points `x y`. "
            f"Received: {count} numbers"
        )
    label = _label(values[0], names)
    numbers_ = [*values[1 : count - extra]]
    if not rest:
        x, y, w, h = numbers_
        return RawBox(label, (y - h / 2, x - w / 2, y + h / 2, x + w / 2), where)
    outline = None if meaning.kind == "oriented" else [numbers_]
    return RawBox(label, outline_edges([numbers_]), where, outline=outline)


def _label(number: float, names: Mapping[int, str] | None) -> str:
    if number == int(number) and number >= 0 and (names is None or int(number) in names):
        return str(int(number)) if names is None else names[int(number)]
    if names is not None and number in range(max(names, default=0)):
        raise ValueError(f"the class must have a name. Received: {number:g}")
    known = "" if names is None else f", below {max(names, default=-1) + 1}"
    raise ValueError(f"the class must be an integer >= 0{known}. Received: {number:g}")


# ---- what the numbers mean -----------------------------------------------------------------------


def decide(rows: Sequence[Sequence[float]], task: str = "", keypoints: int = 0) -> Meaning:
    """Return what the lines of a data set hold.

    - 5 numbers: a box; refused where many leave the image and all would fit as two corners, or as
      the left upper corner and the size.
    - 6: a box and a confidence, where all are in [0, 1], or a track id, where all are integers. 7,
      of which the last is an integer and the one before in [0, 1], or the reverse: both. Refused
      where the confidence or the id may as well stand before the box, see `extras.misplaced`.
    - `keypoints` of data.yaml: the numbers after a box.
    - 9 numbers in all lines, the corners of parallelograms that do not all stand upright: oriented
      boxes.
    - Odd counts: a polygon; followed by a confidence and a track id where all lines end so. Even
      counts that differ: a polygon and a confidence, or a track id; refused where the confidence
      stands before it.
    - One count in all lines, whose first four numbers are a box that holds most of the points which
      follow, or visibilities 0, 1 and 2 at every third place: keypoints, refused without
      `keypoints`, unless `task` says "segment".

    Args:
        rows: the numbers of each line.
        task: "detect", "segment", "pose", "obb", or "" where no file says.
        keypoints: numbers of keypoints that data.yaml names; 0 for none.
    """
    groups = {
        count: np.array([row for row in rows if len(row) == count])
        for count in sorted({len(row) for row in rows})
        if count > _BOX
    }
    boxes = np.array([row for row in rows if len(row) == _BOX]).reshape(-1, _BOX)
    if order := _other_order(boxes):
        return Meaning(
            "corners",
            refused=f"must be `class cx cy w h`, but all boxes fit as `class {order}` "
            f"alone. Received: {int((~in_image(boxes)).sum())} of {len(boxes)} boxes outside of "
            "their images",
        )
    if not groups:
        return Meaning(keypoints=keypoints, notice=_doubt(boxes))
    if keypoints or task == "pose":
        notice = "keypoints are not read" if keypoints else ""
        refused = "" if keypoints else _keypoints_refused("task: pose in data.yaml")
        return Meaning("pose", keypoints, _extras(groups, _BOX + keypoints), refused, notice)
    last = {count: trailing(values) for count, values in groups.items()}
    extra = {count: one for count, (one, _) in last.items() if count == 6 and one}
    notices = {what for count, (one, what) in last.items() if count == 6 and one}
    if 6 in groups and 6 not in extra:
        return Meaning(
            "",
            refused="must be `class cx cy w h`; a sixth number must be a confidence in [0, 1] or "
            f"a track id. Received: {groups[6][0][5]:g} (an angle?)",
        )
    if refused := misplaced(groups, task):
        return Meaning("", refused=refused)
    longer = {count: values for count, values in groups.items() if count > 6}
    if (
        task != "segment" and longer and all(last[count][0] == 2 for count in longer)
    ):  # ... confidence, track id
        extra |= dict.fromkeys(longer, 2)
        notices |= {last[n][1] for n in longer}
        longer = {n - 2: values[:, :-2] for n, values in longer.items() if n - 2 > _BOX}
    elif len(longer) > 1 and all(n % 2 == 0 and last[n][0] for n in longer):
        if refused := polygon_after_confidence(longer):
            return Meaning("", refused=refused)
        extra |= dict.fromkeys(longer, 1)
        notices |= {last[n][1] for n in longer}
        longer = {n - 1: values[:, :-1] for n, values in longer.items()}
    notice = f"{' and '.join(sorted(notices))} are not read" if notices else ""
    turned = task != "segment" and [*longer] == [_ORIENTED] and _oriented(longer[_ORIENTED])
    if task == "obb" or turned:
        upright = "oriented boxes are read as the upright boxes around them"
        return Meaning("oriented", 0, extra, notice="; ".join(filter(None, (notice, upright))))
    if task != "segment" and len(longer) == 1:
        ((count, values),) = longer.items()
        if what := _keypoints(values):
            return Meaning("pose", 0, extra, _keypoints_refused(f"{count} numbers, {what}"))
    return Meaning("polygons", 0, extra, notice=notice)


def _keypoints_refused(received: str) -> str:
    return (
        "must be no keypoints, unless data.yaml has kpt_shape: [number, 2 or 3]; task: segment "
        f"there says that they are polygons. Received: {received}"
    )


def _extras(groups: Mapping[int, Any], known: int) -> dict[int, int]:
    return {
        n: n - known for n, values in groups.items() if n - known in (1, 2) and trailing(values)[0]
    }


def _are_outlines(first: np.ndarray, second: np.ndarray, rest: np.ndarray) -> np.ndarray:
    """Return (N,) bool: the points of a line are an outline rather than a box and keypoints.

    Args:
        first: (N, 2), the first point, or the middle of a box.
        second: (N, 2), the second point, or its width and height.
        rest: (N, K, 2), the points that follow, or keypoints.
    """
    others = np.concatenate([first[:, None], rest], axis=1)
    start, end = others.min(1), others.max(1)
    span = end - start
    reach = span.max(1, keepdims=True)
    near = ((second >= start - reach) & (second <= end + reach)).all(1)
    one_sided = (span <= _ONE_SIDED * second).any(1)
    middle, extent = (rest.min(1) + rest.max(1)) / 2, np.ptp(rest, axis=1)
    outer = (np.abs(first - middle) >= _OUTER * extent).any(1)
    simple = np.zeros(len(first), bool)
    if rest.shape[1] >= _MANY_POINTS:
        for i in np.flatnonzero(near & ~one_sided & outer):
            simple[i] = _is_simple(np.concatenate([first[i, None], second[i, None], rest[i]]))
    return np.asarray(near & outer & (one_sided | simple))


def _is_simple(corners: np.ndarray) -> bool:
    """Return whether no two edges of a polygon (N, 2) cross."""
    ends = np.roll(corners, -1, 0)

    def side(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
        u, v = b - a, c - a
        return np.asarray(u[..., 0] * v[..., 1] - u[..., 1] * v[..., 0])

    a, b, c, d = corners[:, None], ends[:, None], corners[None], ends[None]
    crossing = (side(a, b, c) * side(a, b, d) < 0) & (side(c, d, a) * side(c, d, b) < 0)
    return not crossing.any()


def _other_order(boxes: np.ndarray) -> str:
    """Return the order that all boxes fit where many leave their images as they are; else ""."""
    outside = int((~in_image(boxes)).sum())
    if outside < _MANY_OUTSIDE or (boxes[:, 1:3] < 0).any():
        return ""
    many = outside >= _MANY * len(boxes)
    if many and ((boxes[:, 3:] > boxes[:, 1:3]) & (boxes[:, 3:] <= 1 + SLACK)).all():
        return "left top right bottom"
    fit = (boxes[:, 1:3] + boxes[:, 3:] <= 1 + SLACK) & (boxes[:, 3:] > 0)
    return "left top w h" if (many or outside >= _FAR_MORE) and bool(fit.all()) else ""


def _doubt(boxes: np.ndarray) -> str:
    """Return a phrase where all boxes would fit as two corners too, and not all are in the middle.

    Large boxes in the middle of their images, as of whole jaws, always would.
    """
    if len(boxes) < _MANY_OUTSIDE or not in_image(boxes).all():
        return ""
    corners = (boxes[:, 3:] > boxes[:, 1:3]).all()
    in_middle = (np.abs(boxes[:, 1:3] - 0.5) <= _MIDDLE).all()
    if not corners or in_middle:
        return ""
    return f"all {len(boxes)} boxes would also fit as left top right bottom; look at some of them"


def _oriented(values: np.ndarray) -> bool:
    """Return whether all lines are parallelograms, and one of them does not stand upright."""
    corners = values[:, 1:].reshape(-1, 4, 2)
    extent = np.ptp(corners, axis=1).max(1)
    off = np.abs(corners[:, 0] + corners[:, 2] - corners[:, 1] - corners[:, 3]).max(1)
    sides = np.abs(np.diff(corners[:, :3], axis=1))  # the two sides at the second corner
    upright = sides.min(2).max(1) <= _SAME_CORNER * extent
    return bool((off <= _SAME_CORNER * extent).all() and not upright.all())


def _keypoints(values: np.ndarray) -> str:
    """Return why lines of one count look like a box with keypoints; "" where they do not.

    The outline of an object starts at a point of its own: what follows lies to one side of it, and
    its second point lies near. A box with keypoints has its middle first, and its width and height
    are no point near the others.
    """
    values = values[:: len(values) // _TESTED + 1]
    centre, size, rest = values[:, 1:3], values[:, 3:5], values[:, 5:]
    if rest.shape[1] % 3 == 0 and np.isin(rest[:, 2::3], (0, 1, 2)).all():
        return "with visibilities 0, 1 or 2 at every third place"
    if rest.shape[1] % 2:
        triples = rest.shape[1] % 3 == 0
        return "the numbers of keypoints with visibilities" if triples else "an even count"
    low, high = centre - size / 2, centre + size / 2
    margin = _MARGIN * size[:, None]

    def held(points: np.ndarray) -> np.ndarray:
        ends = points >= low[:, None] - margin, points <= high[:, None] + margin
        return np.asarray((ends[0] & ends[1]).all(2).mean(1) >= 0.5)

    points = rest.reshape(len(rest), -1, 2)
    holds = held(points)
    if rest.shape[1] % 3 == 0:  # or x, y and a confidence of each
        holds |= held(rest.reshape(len(rest), -1, 3)[:, :, :2])
    holds &= in_image(values)
    outlines = _are_outlines(centre, size, points)
    share = float((holds & ~outlines).mean())
    few = _SOME if holds.mean() >= _ALL else _FEW_TRIANGLES if points.shape[1] == 1 else _FEW
    return (
        f"of which four are a box around the others in {share:.0%} of lines" if share > few else ""
    )
