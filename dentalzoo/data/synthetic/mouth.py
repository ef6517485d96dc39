"""The crowns and the gum around one tooth in millimetres, for a photograph of it.

x grows to the viewer's right and y downward from the line of the upper biting edges. Upper crowns
reach down to that line, lower ones stand behind it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dentalzoo.data.synthetic.canvas import Frame
from dentalzoo.data.synthetic.shapes import LOWER, UNITS_PER_MM, UPPER, rounded, size

SHADES = {
    "A1": (79.6, -1.6, 13.0), "A2": (76.0, -0.1, 16.7), "A3": (75.4, 1.4, 19.6),
    "A3.5": (72.3, 1.5, 21.8), "A4": (68.6, 1.6, 21.0), "B1": (78.9, -1.8, 12.3),
    "B2": (76.7, -1.6, 16.6), "B3": (74.1, 0.5, 22.3), "B4": (71.8, 0.5, 22.2),
    "C1": (74.3, -1.3, 12.6), "C2": (71.0, -0.2, 16.7), "C3": (68.8, 0.0, 16.7),
    "C4": (64.8, 1.6, 18.7), "D2": (75.3, -0.5, 13.5), "D3": (72.6, 0.6, 16.1),
    "D4": (71.9, -1.0, 17.8),
}  # fmt: skip
"""Shades of teeth in CIE L*, a*, b*, named as in the VITA classical guide.

Approximate, not measured: they keep the order of the guide from light to dark and from grey to
yellow. The light and the camera of each image vary around them.
"""

# Probability of each shade, in the same order; ours.
_SHADE_RATES = np.array((16, 18, 16, 8, 2, 8, 8, 6, 3, 5, 4, 2, 1, 4, 3, 2)) / 106

# Probability that the tooth of an image is number 1 to 6 of its quadrant; ours.
_TOOTH_RATES = (0.26, 0.2, 0.22, 0.15, 0.1, 0.07)
# Degrees by which the outer face of teeth 1 to 8 is turned from the midline; ours.
_TURN = (5, 17, 38, 55, 64, 70, 76, 80)

# Outlines seen from the outer side: u / width from mesial to distal, v / height from biting edge.
_OUTLINES = {
    "upper incisor": (
        (-0.40, -0.01), (0.34, 0.00), (0.50, 0.08), (0.51, 0.28), (0.50, 0.56), (0.43, 0.84),
        (0.18, 1.05), (-0.20, 1.05), (-0.42, 0.86), (-0.49, 0.58), (-0.51, 0.30), (-0.51, 0.06),
    ),
    "lower incisor": (
        (-0.44, -0.01), (0.42, -0.01), (0.51, 0.06), (0.50, 0.34), (0.41, 0.68), (0.30, 0.93),
        (0.10, 1.06), (-0.10, 1.06), (-0.30, 0.93), (-0.41, 0.68), (-0.50, 0.34), (-0.51, 0.06),
    ),
    "canine": (
        (-0.10, -0.02), (0.08, -0.02), (0.36, 0.13), (0.52, 0.26), (0.51, 0.52), (0.42, 0.84),
        (0.16, 1.06), (-0.16, 1.06), (-0.41, 0.84), (-0.49, 0.52), (-0.52, 0.21), (-0.38, 0.09),
    ),
    "premolar": (
        (-0.14, -0.02), (0.14, -0.02), (0.38, 0.10), (0.52, 0.24), (0.51, 0.52), (0.43, 0.82),
        (0.17, 1.05), (-0.17, 1.05), (-0.43, 0.82), (-0.51, 0.52), (-0.52, 0.22), (-0.38, 0.09),
    ),
    "molar": (
        (-0.36, -0.02), (-0.18, -0.01), (-0.03, 0.12), (0.10, 0.01), (0.32, 0.02), (0.49, 0.16),
        (0.51, 0.50), (0.45, 0.84), (0.24, 1.05), (-0.02, 0.97), (-0.26, 1.05), (-0.45, 0.84),
        (-0.51, 0.50), (-0.50, 0.14),
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Crown:
    """A crown, foreshortened as in the image.

    Attributes:
        fdi: its FDI number.
        outline: (N, 2) x, y in mm.
        origin: (2,) the middle of its biting edge in mm.
        across, along: its axes, to the viewer's right and from the edge to the neck.
        width, height: in mm.
        facing: cosine of the angle between its outer face and the camera.
    """

    fdi: int
    outline: np.ndarray
    origin: np.ndarray
    across: np.ndarray
    along: np.ndarray
    width: float
    height: float
    facing: float

    def to_local(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Convert mm to u / width and v / height: float32 arrays of the shape of x and y."""
        x, y = x - np.float32(self.origin[0]), y - np.float32(self.origin[1])
        inverse = np.linalg.inv(np.stack([self.across * self.width, self.along * self.height], 1))
        u, v = (np.float32(a) * x + np.float32(b) * y for a, b in inverse)
        return u, v

    def to_mm(self, u: npt.ArrayLike, v: npt.ArrayLike) -> np.ndarray:
        """Convert u / width and v / height, (N,) or scalars, to mm, (N, 2)."""
        columns, rows = np.atleast_1d(u)[:, None], np.atleast_1d(v)[:, None]
        return self.origin + columns * self.width * self.across + rows * self.height * self.along


@dataclass(frozen=True)
class Mouth:
    """A tooth and its surroundings.

    Attributes:
        target: the tooth that the image is of, one of `upper` or `lower`.
        upper, lower: crowns from the viewer's left to the right, at least one each.
        upper_gum, lower_gum: (N, 2) the edges of the gum in mm, through the tips between the
            crowns and behind the crowns.
        shade: a key of SHADES.
    """

    target: Crown
    upper: list[Crown]
    lower: list[Crown]
    upper_gum: np.ndarray
    lower_gum: np.ndarray
    shade: str


class _Patient:
    """Properties that all teeth of a mouth share."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.shade = str(rng.choice(tuple(SHADES), p=_SHADE_RATES))
        self.scale = rng.uniform(0.92, 1.1)
        self.wear = rng.uniform(0.0, 0.06)  # of the crown's height
        self.crowding = rng.gamma(1.5, 0.5)
        self.gap = max(0.0, rng.normal(-0.35, 0.4))  # mm
        self.recession = rng.uniform(-0.08, 0.1)  # of the crown's height
        self.papilla = rng.uniform(0.12, 0.45)  # height of its tip, from the biting edge
        self.smile = rng.uniform(-0.004, 0.012)  # curvature of the biting edges, 1 / mm


def make_mouth(rng: np.random.Generator) -> Mouth:
    """Generate a tooth and its surroundings."""
    is_upper = rng.random() < 0.55
    index = int(rng.choice(6, p=_TOOTH_RATES))
    quadrant = int(rng.choice((1, 2) if is_upper else (4, 3)))
    fdi = 10 * quadrant + index + 1
    middle = (UPPER if is_upper else LOWER).index(fdi)  # both jaws run in the same order
    turned = float(np.clip(rng.normal(0, 16), -38, 38))
    yaw = _side(fdi) * (_TURN[index] - turned) if index else rng.normal(0, 12)
    closed = rng.random() < 0.8
    lower_edge = -rng.uniform(0.3, 3.2) if closed else rng.uniform(0.6, 6.0)
    patient = _Patient(rng)
    shift = rng.normal(0, 2.0)  # of the other jaw
    upper = _make_row(rng, UPPER, middle, 0.0 if is_upper else shift, yaw, 0.0, patient)
    lower = _make_row(rng, LOWER, middle, shift if is_upper else 0.0, yaw, lower_edge, patient)
    target = next(crown for crown in (*upper, *lower) if crown.fdi == fdi)
    upper_gum, lower_gum = (_gum_line(rng, row, patient) for row in (upper, lower))
    return Mouth(target, upper, lower, upper_gum, lower_gum, patient.shade)


def aim(rng: np.random.Generator, mouth: Mouth, pixels: int) -> Frame:
    """Return the frame of a camera of (pixels, pixels) on the visible part of the target."""
    crown = mouth.target
    x, y = crown.outline.T
    top, bottom = y.min(), y.max()
    if crown.fdi > 30:
        top = min(max(top, -1.0), bottom - 0.4 * crown.height)
    side = rng.uniform(1.15, 1.6) * max(x.max() - x.min(), bottom - top)
    centre = np.array([(x.min() + x.max()) / 2, (top + bottom) / 2])
    centre += rng.normal(0, 0.03, 2) * side
    roll = np.radians(rng.normal(0, 4))
    turn = np.array([[np.cos(roll), -np.sin(roll)], [np.sin(roll), np.cos(roll)]])
    turn *= pixels / side
    return Frame(pixels, pixels, np.column_stack([turn, pixels / 2 - turn @ centre]), 3)


def _side(fdi: int) -> int:
    """Return 1 for a tooth on the viewer's right, else -1."""
    return 1 if fdi // 10 in (2, 3) else -1


def _make_row(
    rng: np.random.Generator,
    order: Sequence[int],
    middle: int,
    shift: float,
    yaw: float,
    edge: float,
    patient: _Patient,
) -> list[Crown]:
    """Generate the crowns of one jaw around order[middle] that a camera turned by `yaw` sees.

    Args:
        rng: random generator.
        order: FDI numbers from the viewer's left to the right.
        middle: index of the tooth at x = shift.
        shift: mm.
        yaw: degrees.
        edge: y of the biting edges in mm.
        patient: shared properties of the teeth.
    """
    row: dict[int, Crown] = {}
    ends: dict[int, float] = {}  # x of both ends of the row so far
    right, left = range(middle + 1, middle + 4), range(middle - 1, middle - 4, -1)
    for index in (middle, *right, *left):
        if not 0 <= index < len(order):
            continue
        fdi, kind = order[index], order[index] % 10
        up, away = fdi < 30, index - middle
        facing = np.cos(np.radians(_side(fdi) * _TURN[kind - 1] - yaw))
        if facing < 0.2:
            continue
        width, height, _ = (patient.scale * value / UNITS_PER_MM for value in size(fdi))
        width *= rng.normal(1, 0.04) * (0.12 + 0.88 * facing)
        height *= rng.normal(0.97, 0.06) + patient.recession
        step = int(np.sign(away))
        x = shift
        if step:
            x = ends[step] + step * (width / 2 + patient.gap + rng.normal(-0.12, 0.08))
            ends[step] = x + step * width / 2
        else:
            ends = {-1: x - width / 2, 1: x + width / 2}
        y = edge + (patient.smile * x * x + rng.normal(0, 0.25)) * (-1 if up else 1)
        y += {(True, 2): -0.5, (True, 3): 0.5, (False, 3): -0.3}.get((up, kind), 0.0)
        tilt = np.radians(rng.normal(0, 2.0 + 2.0 * patient.crowding) + 0.9 * away)
        row[fdi] = _make_crown(rng, fdi, (x, y), width, height, tilt, float(facing), patient)
    return [row[fdi] for fdi in order if fdi in row]


def _make_crown(
    rng: np.random.Generator,
    fdi: int,
    origin: tuple[float, float],
    width: float,
    height: float,
    tilt: float,
    facing: float,
    patient: _Patient,
) -> Crown:
    up, kind = fdi < 30, fdi % 10
    if kind < 3:
        name = "upper incisor" if up else "lower incisor"
    else:
        name = "canine" if kind == 3 else "premolar" if kind < 6 else "molar"
    u, v = np.array(_OUTLINES[name]).T
    u = u * _side(fdi) + rng.normal(0.03, 0.05) * np.clip(v - 0.4, 0, 1)  # the neck leans
    u *= 1 - rng.normal(0.06, 0.08) * np.clip(v - 0.35, 0, 1)
    v = np.maximum(v, patient.wear) - patient.wear * (v < 0.3)
    points = np.stack([u, v], 1)
    points = rounded(points + rng.normal(0, 0.018, points.shape), 3) * (width, height)
    across = np.array([np.cos(tilt), np.sin(tilt)])
    along = np.array([-np.sin(tilt), np.cos(tilt)]) * (-1 if up else 1)
    centre = np.array(origin, float)
    outline = centre + points[:, :1] * across + points[:, 1:] * along
    return Crown(fdi, outline, centre, across, along, width, height, facing)


def _gum_line(rng: np.random.Generator, row: Sequence[Crown], patient: _Patient) -> np.ndarray:
    points = [row[0].to_mm(-2.5, 0.8)]
    for left, right in zip(row, row[1:], strict=False):
        depth = patient.papilla + rng.normal(0, 0.05)
        tip = (left.to_mm(0.5, depth) + right.to_mm(-0.5, depth)) / 2
        points += [left.to_mm(0.0, 0.85), left.to_mm(0.36, depth + 0.3), tip,
                   right.to_mm(-0.36, depth + 0.3)]  # fmt: skip
    points += [row[-1].to_mm(0.0, 0.85), row[-1].to_mm(2.5, 0.8)]
    return np.concatenate(points)
