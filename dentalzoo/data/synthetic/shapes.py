"""The outlines of teeth and implants, in radiograph units.

A radiograph is 1024 units wide, about 5 units to a millimetre; x grows to the viewer's right from
the midline, y grows downward from the level of the bite at the midline. A tooth is built in its own
frame, `u` from mesial to distal and `v` from the biting edge (0) to the apex, then placed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

UPPER = (18, 17, 16, 15, 14, 13, 12, 11, 21, 22, 23, 24, 25, 26, 27, 28)
LOWER = (48, 47, 46, 45, 44, 43, 42, 41, 31, 32, 33, 34, 35, 36, 37, 38)

UNITS_PER_MM = 5.0

# Mesiodistal width, crown height and total length in mm of teeth 1 to 8.
# Mean values after Wheeler, Dental Anatomy, Physiology and Occlusion, chapter 1, rounded.
_UPPER_MM = (
    (8.5, 10.5, 23.5), (6.8, 9.2, 22.5), (7.6, 10.0, 27.0), (7.1, 8.5, 22.5),
    (6.9, 8.5, 22.5), (10.3, 7.6, 20.5), (9.6, 7.3, 19.5), (8.6, 6.8, 17.5),
)  # fmt: skip
_LOWER_MM = (
    (5.3, 9.0, 21.5), (5.8, 9.4, 23.0), (6.9, 10.8, 26.5), (7.1, 8.6, 22.5),
    (7.3, 8.2, 22.5), (11.2, 7.6, 21.5), (10.8, 7.2, 20.0), (10.2, 7.0, 18.0),
)  # fmt: skip

# Half widths of a crown by height: (v / crown height, half width / width).
_CROWNS = {
    "upper incisor": ((0.0, 0.40), (0.05, 0.47), (0.22, 0.50), (0.6, 0.47), (1.0, 0.39)),
    "lower incisor": ((0.0, 0.42), (0.06, 0.48), (0.22, 0.50), (0.6, 0.44), (1.0, 0.37)),
    "canine": ((0.0, 0.08), (0.12, 0.30), (0.34, 0.50), (0.62, 0.48), (1.0, 0.41)),
    "premolar": ((0.0, 0.18), (0.07, 0.36), (0.32, 0.50), (0.62, 0.47), (1.0, 0.40)),
}


@dataclass(frozen=True)
class Tooth:
    """The outlines of a tooth, each an (N, 2) float64 array of x, y in radiograph units.

    Attributes:
        fdi: the tooth's FDI number.
        crown: the crown down to the neck.
        roots: one outline per root; a molar's first one is the trunk above the furcation.
        core: the dentine inside the crown.
        pulp: the chamber and the canals.
        canals: centre lines of the canals, from the chamber to the apex.
        origin, across, along: the tooth's local frame: a point is origin + u * across + v * along.
        width, crown_height, length: in radiograph units.
    """

    fdi: int
    crown: np.ndarray
    roots: tuple[np.ndarray, ...]
    core: np.ndarray
    pulp: tuple[np.ndarray, ...]
    canals: tuple[np.ndarray, ...]
    origin: np.ndarray
    across: np.ndarray
    along: np.ndarray
    width: float
    crown_height: float
    length: float

    @property
    def outline(self) -> tuple[np.ndarray, ...]:
        """Outlines whose union is the whole tooth."""
        return (self.crown, *self.roots)

    def to_radiograph(self, points: npt.ArrayLike) -> np.ndarray:
        """Convert local coordinates (N, 2), u / width and v / crown height, to radiograph units."""
        u, v = np.asarray(points, float).T
        return (
            self.origin
            + np.outer(u * self.width, self.across)
            + np.outer(v * self.crown_height, self.along)
        )


def size(fdi: int) -> tuple[float, float, float]:
    """Return the mean width, crown height and length of a tooth in radiograph units."""
    width, crown_height, length = (_UPPER_MM if fdi < 30 else _LOWER_MM)[fdi % 10 - 1]
    return UNITS_PER_MM * width, UNITS_PER_MM * crown_height, UNITS_PER_MM * length


def rounded(points: npt.ArrayLike, times: int = 2) -> np.ndarray:
    """Cut the corners of a closed outline (N, 2); two times make it smooth (Chaikin)."""
    corners = np.asarray(points, float)
    return _corner_cutter(len(corners), times, True) @ corners


def smooth(points: npt.ArrayLike) -> np.ndarray:
    """Cut the corners of an open line (N, 2) two times; its ends do not move."""
    corners = np.asarray(points, float)
    return _corner_cutter(len(corners), 2, False) @ corners


@cache
def _corner_cutter(count: int, times: int, closed: bool) -> np.ndarray:
    """Return Chaikin's corner cutting of `count` points as a matrix."""
    points = np.eye(count)
    for _ in range(times):
        before, after = points, np.roll(points, -1, axis=0)
        if not closed:
            before, after = points[:-1], points[1:]
        cut = np.stack([0.75 * before + 0.25 * after, 0.25 * before + 0.75 * after], axis=1)
        cut = cut.reshape(-1, count)
        points = cut if closed else np.concatenate([points[:1], cut, points[-1:]])
    return points


def ribbon(line: npt.ArrayLike, half_widths: npt.ArrayLike) -> np.ndarray:
    """Return the outline of a line (N, 2) that is half_widths (N,) wide on each side."""
    line = np.asarray(line, float)
    slope = np.empty_like(line)
    slope[1:-1] = line[2:] - line[:-2]
    slope[0], slope[-1] = line[1] - line[0], line[-1] - line[-2]
    normal = slope[:, ::-1] * (-1, 1) / (np.hypot(*slope.T)[:, None] + 1e-9)
    offset = normal * np.asarray(half_widths, float)[:, None]
    return np.concatenate([line + offset, (line - offset)[::-1]])


_Parts = tuple[
    np.ndarray, list[np.ndarray], np.ndarray, list[np.ndarray], list[np.ndarray]
]  # crown, roots, core, pulp, canals, in the tooth's local frame


def make_tooth(
    rng: np.random.Generator,
    fdi: int,
    origin: npt.ArrayLike,
    angle: float,
    scale: tuple[float, float] = (1.0, 1.0),
) -> Tooth:
    """Generate the shape of a tooth.

    Args:
        rng: a numpy Generator.
        fdi: the FDI number.
        origin: x, y of the middle of the biting edge, in radiograph units.
        angle: lean of the apex toward distal, in radians.
        scale: factors on the width and the length of the mean tooth.
    """
    origin = np.asarray(origin, float)
    upper, kind = fdi < 30, fdi % 10
    side = -1.0 if fdi // 10 in (1, 4) else 1.0
    mean_width, mean_crown, mean_length = size(fdi)
    width = mean_width * scale[0] * rng.uniform(0.96, 1.05)
    crown_height = mean_crown * scale[1] * rng.uniform(0.93, 1.05)
    length = mean_length * scale[1] * rng.uniform(0.92, 1.06)
    across = np.array([side * np.cos(angle), (1 if upper else -1) * np.sin(angle)])
    along = np.array([side * np.sin(angle), (-1 if upper else 1) * np.cos(angle)])
    build = _molar if kind >= 6 else _front_tooth
    crown, roots, core, pulp, canals = build(rng, upper, kind, width, crown_height, length)

    def to_radiograph(points: npt.ArrayLike) -> np.ndarray:
        points = np.asarray(points, float)
        return origin + points[:, :1] * across + points[:, 1:] * along

    return Tooth(
        fdi=fdi,
        crown=to_radiograph(crown),
        roots=tuple(map(to_radiograph, roots)),
        core=to_radiograph(core),
        pulp=tuple(map(to_radiograph, pulp)),
        canals=tuple(map(to_radiograph, canals)),
        origin=origin,
        across=across,
        along=along,
        width=width,
        crown_height=crown_height,
        length=length,
    )


def _root(
    start: tuple[float, float],
    apex: tuple[float, float],
    half_width: float,
    tip: float,
    bend: float,
    count: int = 9,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the outline and centre line of a tapered root that bends by `bend` units to distal."""
    s = np.linspace(0, 1, count)
    line = np.outer(1 - s, start) + np.outer(s, apex)
    line[:, 0] += bend * s**2 - bend * s * 0.4
    half = half_width + (tip - half_width) * (0.4 * s + 0.6 * s**3)
    half[-1] *= 0.45
    return rounded(ribbon(line, half), 1), line


def _front_tooth(
    rng: np.random.Generator,
    upper: bool,
    kind: int,
    width: float,
    crown_height: float,
    length: float,
) -> _Parts:
    """Generate an incisor, canine or premolar: a crown and one root (an upper 4 has two)."""
    name = "canine" if kind == 3 else "premolar" if kind > 3 else None
    name = name or ("upper incisor" if upper else "lower incisor")
    v, half = np.array(_CROWNS[name]).T
    skew = rng.normal(0, 0.015, len(v))
    right = np.stack([(half + skew) * width, v * crown_height], axis=1)
    left = np.stack([(-half + skew) * width, v * crown_height], axis=1)[::-1]
    edge = np.empty((0, 2))
    if kind > 3:
        edge = np.array([[-0.02 * width, crown_height * rng.uniform(0.04, 0.09)]])
    neck = np.array([[half[-1] * width * 0.5, 1.06 * crown_height],
                     [-half[-1] * width * 0.5, 1.06 * crown_height]])  # fmt: skip
    crown = rounded(np.concatenate([right, neck, left, edge]))
    bend = rng.normal(0.10, 0.10) * width
    neck_half = half[-1] * width * 1.02
    tip = width * rng.uniform(0.11, 0.17)
    start = (skew[-1] * width, 0.85 * crown_height)
    spread = rng.uniform(0.05, 0.16) * width if upper and kind == 4 else 0.0
    roots, canals = [], []
    for sign in (-1, 1) if spread else (1,):
        apex = (sign * spread + rng.normal(0, 0.03) * width, length)
        narrow = 0.82 if spread else 1.0
        begin = (start[0] + sign * spread * 0.4, start[1])
        outline, line = _root(begin, apex, neck_half * narrow, tip * narrow, bend)
        roots.append(outline)
        canals.append(np.concatenate([[[0.0, 0.62 * crown_height]], line[1:-1]]))
    core = rounded([(-0.34 * width, 1.1 * crown_height), (-0.37 * width, 0.75 * crown_height),
                    (-0.30 * width, 0.42 * crown_height), (0, 0.24 * crown_height),
                    (0.30 * width, 0.42 * crown_height), (0.37 * width, 0.75 * crown_height),
                    (0.34 * width, 1.1 * crown_height)])  # fmt: skip
    wide = width * rng.uniform(0.055, 0.10) / (1.4 if spread else 1.0)
    pulp = [ribbon(c, np.linspace(wide, 0.2 * wide, len(c))) for c in canals]
    return crown, roots, core, pulp, canals


def _molar(
    rng: np.random.Generator,
    upper: bool,
    kind: int,
    width: float,
    crown_height: float,
    length: float,
) -> _Parts:
    """Generate a molar: a crown with cusps, a trunk, and two (lower) or three (upper) roots."""
    h, w = crown_height, width
    bump = rng.uniform(-0.03, 0.03, 4)
    fissure = rng.uniform(0.10, 0.17)
    crown = rounded(
        [(-0.44 * w, (0.10 + bump[0]) * h), (-0.27 * w, (-0.04 + bump[1]) * h),
         (rng.normal(0, 0.03) * w, fissure * h), (0.26 * w, (-0.02 + bump[2]) * h),
         (0.43 * w, (0.11 + bump[3]) * h), (0.51 * w, 0.36 * h), (0.48 * w, 0.68 * h),
         (0.41 * w, 1.02 * h), (-0.41 * w, 1.02 * h), (-0.48 * w, 0.68 * h),
         (-0.51 * w, 0.36 * h)]
    )  # fmt: skip
    furcation = h * rng.uniform(1.35, 1.6)
    trunk = rounded(
        [(-0.42 * w, 0.85 * h), (0.42 * w, 0.85 * h), (0.40 * w, furcation),
         (-0.40 * w, furcation)], 1
    )  # fmt: skip
    together = {6: 1.0, 7: 0.75, 8: 0.4}[kind] * rng.uniform(0.7, 1.25)
    tip = 0.075 * w
    drift = 0.10 * w * rng.uniform(0.2, 1.6)
    legs: Sequence[tuple[float, float, float, float]]  # start, apex, half width, length
    if upper:
        legs = ((-0.25, -0.31 * together, 0.175, 0.95), (0.25, 0.31 * together, 0.165, 0.90),
                (0.0, 0.02, 0.19, 1.0))  # fmt: skip
    else:
        legs = ((-0.23, -0.28 * together, 0.20, 1.0), (0.23, 0.27 * together, 0.19, 0.96))
    roots, canals = [trunk], []
    for base, apex, half, reach in legs:
        begin = (base * w, 1.02 * h)
        end = (apex * w + drift, reach * length * rng.uniform(0.96, 1.03))
        bend = drift * 0.8 - apex * w * 0.35
        outline, line = _root(begin, end, half * w, tip, bend)
        roots.append(outline)
        canals.append(np.concatenate([[[0.6 * base * w, 0.88 * h]], line[1:-1]]))
    core = rounded([(-0.40 * w, 1.08 * h), (-0.42 * w, 0.70 * h), (-0.35 * w, 0.30 * h),
                    (-0.16 * w, 0.22 * h), (0, 0.30 * h), (0.16 * w, 0.22 * h),
                    (0.35 * w, 0.30 * h), (0.42 * w, 0.70 * h), (0.40 * w, 1.08 * h)])  # fmt: skip
    roof = rng.uniform(0.58, 0.78) * h
    chamber = rounded([(-0.22 * w, roof - 0.08 * h), (0, roof + 0.06 * h),
                       (0.22 * w, roof - 0.08 * h), (0.19 * w, 1.05 * h),
                       (-0.19 * w, 1.05 * h)])  # fmt: skip
    wide = 0.035 * w
    pulp = [chamber, *(ribbon(c, np.linspace(wide, 0.3 * wide, len(c))) for c in canals)]
    return crown, roots, core, pulp, canals


def make_implant(rng: np.random.Generator, tooth: Tooth) -> np.ndarray:
    """Generate the outline (N, 2) of a screw in place of a tooth, in radiograph units."""
    half = UNITS_PER_MM * rng.uniform(3.6, 4.8) / 2
    length = UNITS_PER_MM * rng.uniform(9.0, 13.0)
    top = tooth.crown_height * rng.uniform(0.95, 1.15)
    turns = int(length / 5.0)
    s = np.repeat(np.linspace(0.12, 0.97, turns), 2)[1:]
    tooth_depth = np.tile([1.0, 0.80], turns)[: len(s)]
    body = half * (1 - 0.35 * s**2) * tooth_depth
    v = np.concatenate([[-0.14, 0.0, 0.0, 0.10], s, [1.0]]) * length + top
    u = np.concatenate([[0.62 * half, 0.62 * half, half, half], body, [0.35 * half]])
    line = np.concatenate([np.stack([u, v], 1), np.stack([-u, v], 1)[::-1]])
    return tooth.origin + line[:, :1] * tooth.across + line[:, 1:] * tooth.along
