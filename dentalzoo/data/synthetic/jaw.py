"""Synthetic upper jaws: arch, crowns, gum and palate on one grid, with an FDI number per vertex.

A jaw is a sheet over a plane: 16 slots of 25 columns along the arch, one for each tooth from 18 to
28, and 125 rows from the fold of the cheek over the crowns to the midline of the palate. All jaws
have the same faces, and a vertex is the same anatomical point in each.
"""

from dataclasses import dataclass

import numpy as np

from dentalzoo.errors import DentalzooError

TEETH = (18, 17, 16, 15, 14, 13, 12, 11, 21, 22, 23, 24, 25, 26, 27, 28)
COLUMNS, ROWS = 400, 125  # 50,000 vertices, the paper's number
SLOT = COLUMNS // len(TEETH)
KNOTS = (22, 82)  # rows of the margins of the gum, towards the cheek and the palate
_FINE = 60  # samples in each of the three parts between these
_RIM = 1.05  # of a crown's outline: neighbours touch
_SKIRT = 5.0  # mm of gum towards the cheek, seen from the biting edge

# Crowns from the midline to the back: mesiodistal width, buccolingual width, height in mm.
# Means of S. Nelson, Wheeler's Dental Anatomy; heights from the margin of the gum.
_CROWNS = np.array([
    (8.6, 7.2, 9.6), (6.7, 6.3, 8.6), (7.7, 8.0, 9.4), (7.1, 9.1, 7.9),
    (6.8, 9.0, 7.2), (10.3, 11.0, 6.6), (9.7, 11.0, 6.2), (8.7, 10.3, 5.6),
])  # fmt: skip
# Cusps as (mesial, buccal, radius, height), in half widths of the crown and parts of its height.
_PREMOLAR = ((0, 0.5, 0.44, 0.44), (0.08, -0.52, 0.42, 0.36))
_MOLAR = (
    (0.44, 0.5, 0.36, 0.42), (-0.4, 0.5, 0.34, 0.38), (0.34, -0.46, 0.42, 0.44),
    (-0.5, -0.5, 0.3, 0.3), (-0.06, 0.02, 0.24, 0.17),
)  # fmt: skip
_TABLE = {4: (0.54, _PREMOLAR), 5: (0.56, _PREMOLAR), 6: (0.54, _MOLAR), 7: (0.55, _MOLAR),
          8: (0.6, _MOLAR)}  # fmt: skip


@dataclass(frozen=True)
class Jaw:
    """An upper jaw, or a row of its crowns.

    Attributes:
        vertices: (50000, 3) float32 mm: x to the patient's right, y to the back, z from the palate
            to the biting edges; of `upper_jaw` vertex `column * 125 + row`.
        faces: (F, 3) int32, counter-clockwise from outside; the same for all jaws of a kind.
        labels: (50000,) uint8, the FDI number of the crown, 0 for the gum.
    """

    vertices: np.ndarray
    faces: np.ndarray
    labels: np.ndarray

    @property
    def teeth(self) -> tuple[int, ...]:
        """FDI numbers of the teeth that are present, from 18 to 28."""
        return tuple(fdi for fdi in TEETH if (self.labels == fdi).any())


@dataclass(frozen=True)
class Plan:
    """The proportions of a patient; arrays have a value for each of the 16 slots."""

    size: np.ndarray  # (16, 3) of each crown in mm
    present: np.ndarray  # (16,) bool
    length: np.ndarray  # (16,) of each slot along the arch
    square: float  # exponent of the arch: 2.3 tapered, 3.3 square
    narrow: float  # depth of the arch by half its width
    shift: np.ndarray  # (16, 2) mm along the arch and towards the cheek
    turn: np.ndarray  # (16,) radians
    rise: np.ndarray  # (16,) mm towards the other jaw
    lean: np.ndarray  # (16,) overhang of the biting edge towards the cheek, by the height
    wear: np.ndarray  # (16,) of the cusps, by their height
    vault: float  # mm
    spee: float  # mm
    resorption: float  # mm of bone lost where a tooth is missing
    waves: np.ndarray  # (8, 4) of the gum: two frequencies, a phase, an amplitude in mm


def upper_jaw(seed: int, missing: float = 0.35, crowding: float | None = None) -> Jaw:
    """Generate an upper jaw.

    Args:
        seed: a non-negative integer.
        missing: probability that teeth other than wisdom teeth are missing, in [0, 1].
        crowding: from -1, gaps between the teeth, to 1, teeth turned and out of line; None for a
            random value.

    Raises:
        DentalzooError: a value is out of range.
    """
    if int(seed) != seed or seed < 0:
        raise DentalzooError(f"seed must be a non-negative integer. Received: {seed!r}")
    if not 0 <= missing <= 1:
        raise DentalzooError(f"missing must be in [0, 1]. Received: {missing!r}")
    if crowding is not None and not -1 <= crowding <= 1:
        raise DentalzooError(f"crowding must be in [-1, 1]. Received: {crowding!r}")
    plan = make_plan(np.random.default_rng((int(seed), 9)), missing, crowding)
    paths = Paths(plan)
    coarse = paths.across()
    rows = even_rows(coarse, jaw_sheet(plan, paths, coarse)[0])
    sheet, labels = jaw_sheet(plan, paths, rows)
    return Jaw(sheet.reshape(-1, 3).astype(np.float32), jaw_faces(), labels.ravel())


def jaw_faces() -> np.ndarray:
    """Return the faces of every jaw, (98952, 3) int32."""
    corner = (np.arange(COLUMNS - 1)[:, None] * ROWS + np.arange(ROWS - 1)).astype(np.int32)
    right, up, both = corner + ROWS, corner + 1, corner + ROWS + 1
    faces = np.stack([np.stack([corner, up, right], -1), np.stack([up, both, right], -1)], 2)
    return faces.reshape(-1, 3)


# ---- the patient ---------------------------------------------------------------------------------


def make_plan(
    rng: np.random.Generator,
    missing: float,
    crowding: float | None,
    size: np.ndarray | None = None,
) -> Plan:
    """Draw the proportions of a patient, as `upper_jaw` describes.

    Args:
        size: (16, 3) mm of the crowns; None for random ones.
    """
    kind = np.array([fdi % 10 for fdi in TEETH])
    if size is None:
        size = _CROWNS[kind - 1] * rng.normal(1, 0.05) * rng.normal(1, 0.03, (16, 3))
        size = (size + 3 * (size + size[::-1]) / 2) / 4  # left and right are similar
    present = np.ones(16, bool)
    present[[0, 15]] = rng.random(2) < 0.3
    lost = rng.random(16) < rng.uniform(0.05, 0.35)
    if rng.random() < missing:
        odds = np.array([0.15, 0.3, 0.12, 0.8, 0.8, 1, 0.8, 1])[kind - 1]
        present &= ~(lost & (rng.random(16) < odds))
    tight = rng.normal(0.05, 0.35) if crowding is None else crowding
    tight = np.clip(tight, -1, 1)
    length = size[:, 0] * (1 - 0.07 * max(tight, 0) + 0.05 * max(-tight, 0))
    length[[0, 15]] = np.where(present[[0, 15]], length[[0, 15]] + 3.5, rng.uniform(6, 8, 2))
    loose = max(tight, 0) * np.where(kind < 4, 1, 0.35)
    shift = np.clip(rng.normal(0, 1, (16, 2)), -1.6, 1.6) * np.stack(
        [0.1 + 0 * loose, 0.2 + 1.4 * loose], 1
    )
    shift[0, 0], shift[15, 0] = 1.7, -1.7  # a wisdom tooth stands at its neighbour
    shift[~present] = 0
    edge = np.array([0.07, 0.06, 0.04, 0.02, 0.0, 0.0, 0.02, 0.04])[kind - 1]
    waves = np.stack(
        [rng.normal(0, 0.25, 8), rng.normal(0, 0.25, 8), rng.uniform(0, 6.3, 8),
         rng.uniform(0.03, 0.12, 8)], 1
    )  # fmt: skip
    return Plan(
        size,
        present,
        length,
        square=rng.uniform(2.3, 3.3),
        narrow=rng.uniform(1.75, 2.1),
        shift=shift,
        turn=np.clip(rng.normal(0, 1, 16), -1.6, 1.6) * (0.05 + 0.35 * loose),
        rise=rng.normal(0, 0.25, 16) - 0.7 * (kind == 2),
        lean=edge + rng.normal(0, 0.05) * (kind < 4) + rng.normal(0, 0.02, 16),
        wear=np.clip(rng.normal(0.1, 0.12) + rng.normal(0, 0.06, 16), 0, 0.6),
        vault=rng.uniform(11, 18),
        spee=rng.uniform(0, 2.2),
        resorption=rng.uniform(1.5, 3),
        waves=waves,
    )


# ---- the grid ------------------------------------------------------------------------------------


class Paths:
    """A path in the plane for each column: from the cheek across the ridge to the midline.

    Attributes:
        seat, outward: (16, 2) the centre of each crown, and its direction to the cheek.
        half: (400, 1) mm from the middle of the ridge to the margins of the gum.
        depth: (400, 1) mm from the front to where the path meets the midline.
        inner: (400, 1) mm from the middle of the ridge to the midline.
        reach: (400, 1) position along the arch, 0 in front, 1 at the ends.
        position: (400, 1) position of a column in its slot, -1 to 1.
    """

    def __init__(self, plan: Plan) -> None:
        ends = np.concatenate([[0], np.cumsum(plan.length)]) - plan.length[:8].sum()
        self.position = np.tile((np.arange(SLOT) * 2 + 1) / SLOT - 1, len(TEETH))[:, None]
        middle = (ends[:-1] + ends[1:]) / 2
        along = np.repeat(middle, SLOT) + self.position[:, 0] * np.repeat(plan.length / 2, SLOT)
        arch = _arch(plan, max(-ends[0], ends[-1]) + 1)
        self._centre, self._outward = _points_on(*arch, along)
        self.seat, self.outward = _points_on(*arch, middle + plan.shift[:, 0])
        self.seat = self.seat + self.outward * plan.shift[:, 1:]
        sides = np.where(along < 0, along[0], along[-1])
        self.reach = (along / sides)[:, None]
        back = max(self._centre[0, 1], self._centre[-1, 1]) - 1
        self.depth = 9 + (back - 9) * self.reach**1.3
        target = np.concatenate([np.zeros_like(self.depth), self.depth], 1)
        self.half = smoothed(np.repeat(plan.size[:, 1] / 2, SLOT), 41)[:, None]
        way = target - self._centre
        self.inner = np.hypot(*way.T)[:, None]
        self._handle = self._centre - self._outward * np.minimum(self.inner * 0.5, 14)
        self._target = target

    def across(self) -> np.ndarray:
        """Return the positions at which the surface is sampled to find its rows.

        (400, 180) mm from the middle of the ridge, negative towards the cheek.
        """
        t = np.linspace(0, 1, _FINE)
        parts = [
            -self.half - _SKIRT * (1 - t),
            self.half * (2 * t - 1),
            self.half + (self.inner - self.half) * t,
        ]
        return np.concatenate(parts, axis=1)

    def plane(self, mm: np.ndarray) -> np.ndarray:
        """Convert positions (400, T) mm on the paths to x and y, (400, T, 2)."""
        q = np.clip(mm / self.inner, 0, 1)[..., None]
        centre, handle, target = (p[:, None] for p in (self._centre, self._handle, self._target))
        point = (1 - q) ** 2 * centre + 2 * q * (1 - q) * handle + q**2 * target
        return point - np.minimum(mm, 0)[..., None] * self._outward[:, None]


def _arch(plan: Plan, reach: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the arch as (N, 2), from the patient's right, and the arc length at each point.

    The length is 0 in front and `reach` at the ends.
    """
    x = np.sin(np.linspace(np.pi / 2, -np.pi / 2, 801))
    curve = np.stack([x, plan.narrow * np.abs(x) ** plan.square], 1)
    length = np.concatenate([[0], np.cumsum(np.hypot(*np.diff(curve, axis=0).T))])
    length -= length[400]
    scale = reach / length[-1]
    return curve * scale, length * scale


def _points_on(
    curve: np.ndarray, length: np.ndarray, along: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return points (N, 2) of the arch, `along` mm from its front, and normals to the cheek."""
    point, ahead, behind = (
        np.stack([np.interp(along + step, length, c) for c in curve.T], 1) for step in (0, 3, -3)
    )
    tangent = ahead - behind
    tangent /= np.hypot(*tangent.T)[:, None]
    return point, np.stack([-tangent[:, 1], tangent[:, 0]], 1) * _side(point, tangent)


def _side(point: np.ndarray, tangent: np.ndarray) -> float:
    """Return the sign, 1 or -1, with which the normal in front points to the front."""
    front = np.abs(point[:, 0]).argmin()
    return -np.sign(tangent[front, 0])


def even_rows(mm: np.ndarray, sheet: np.ndarray) -> np.ndarray:
    """Return positions (400, 125) mm of rows evenly spaced on the surface in each of 3 parts."""
    step = np.sqrt((np.diff(sheet, axis=1) ** 2).sum(-1))
    step = np.stack([smoothed(line, 9) for line in step.T], 1)  # so that rows have no jumps
    rows, marks = [], (0, *KNOTS, ROWS - 1)
    for part in range(3):
        first, last = part * _FINE, (part + 1) * _FINE
        length = np.cumsum(step[:, first : last - 1] + 1e-3, axis=1)
        length = np.concatenate([np.zeros((COLUMNS, 1)), length / length[:, -1:]], axis=1)
        count = marks[part + 1] - marks[part]
        t = np.arange(count + (part == 2)) / count
        rows.append(
            np.stack([np.interp(t, *pair) for pair in zip(length, mm[:, first:last], strict=True)])
        )
    return np.concatenate(rows, axis=1)


def smoothed(values: np.ndarray, width: int) -> np.ndarray:
    """Return the moving average of (N,) over `width` values, an odd number."""
    padded = np.pad(values, width // 2, mode="edge")
    return np.convolve(padded, np.full(width, 1 / width), mode="valid")


# ---- the surface ---------------------------------------------------------------------------------


def jaw_sheet(plan: Plan, paths: Paths, mm: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the points (400, T, 3) and the FDI numbers (400, T) at positions `mm` (400, T)."""
    plane = paths.plane(mm)
    height = _gum(plan, paths, mm, plane)
    seats = seat_heights(plan, paths)
    labels = np.zeros(mm.shape, np.uint8)
    nearest = np.full(mm.shape, np.inf)
    move = np.zeros_like(plane)
    for slot in np.flatnonzero(plan.present).tolist():
        window = slice(max(slot - 1, 0) * SLOT, (slot + 2) * SLOT)
        a, b, offset = _crown_coordinates(plan, paths, slot, plane[window])
        kind = TEETH[slot] % 10
        r = _outline(kind, a, b)
        tall = plan.size[slot, 2]
        crown = seats[slot] + tall * _crown(kind, plan.wear[slot], a, b, r)
        gum = height[window] + 0.3 * np.exp(-(((r - 1.1) / 0.1) ** 2)) * (labels[window] == 0)
        above = (crown > gum) & (r < _RIM)
        height[window] = np.where(above, crown, gum)
        labels[window][above] = TEETH[slot]
        mine = (r < nearest[window]) | above
        nearest[window][mine] = r[mine]
        up = (height[window] - seats[slot]) / tall
        hold = np.clip((1.4 - r) / 0.4, 0, 1)
        waist = 0.13 * (1 - np.clip(up / 0.5, 0, 1)) ** 2
        out = paths.outward[slot] * plan.lean[slot] * tall * np.clip(up, 0, 1)[..., None]
        moved = (out - waist[..., None] * offset) * (hold**2 * (3 - 2 * hold))[..., None]
        move[window][mine] = moved[mine]
    return np.concatenate([plane + move, height[..., None]], axis=-1), labels


def _crown_coordinates(
    plan: Plan, paths: Paths, slot: int, plane: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return a crown's local coordinates, to the midline and to the cheek, and the offset in mm.

    The local coordinates are 1 at the sides of the crown.
    """
    offset = plane - paths.seat[slot]
    angle = plan.turn[slot]
    x, y = paths.outward[slot]
    out = np.array([x * np.cos(angle) - y * np.sin(angle), x * np.sin(angle) + y * np.cos(angle)])
    middle = np.array([out[1], -out[0]]) * (1 if slot < 8 else -1)
    wide, deep = plan.size[slot, :2] / 2
    b = offset @ out / deep
    pinch = (0.3, 0.3, 0.28, 0.1, 0.1, 0.05, 0.08, 0.12)[TEETH[slot] % 10 - 1]
    return offset @ middle / wide / (1 - pinch * np.clip(-b, -0.3, 1)), b, offset


def _outline(kind: int, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return a norm of (a, b) that is 1 on the outline of a crown seen from the biting edge."""
    power = 2.5 if kind < 6 else 3.0
    return (np.abs(a) ** power + np.abs(b) ** power) ** (1 / power)


def _crown(kind: int, wear: float, a: np.ndarray, b: np.ndarray, r: np.ndarray) -> np.ndarray:
    """Return the height of a crown's surface, 1 at the biting edge."""
    wall = np.sqrt(np.clip(1 - (r / _RIM) ** 7, 0, 1))
    if kind < 4:
        edge = 0.45  # of the way to the lips
        lip = np.clip((b - edge) / (1 - edge), 0, 1.5)
        tongue = np.clip((edge - b) / (edge + 1), 0, 1)
        top = 1 - 0.45 * lip**2 - 0.8 * tongue**0.8
        top += 0.13 * np.exp(-(((tongue - 0.74) / 0.16) ** 2) - (a / 0.6) ** 2)
        top += 0.1 * np.exp(-(((np.abs(a) - 0.75) / 0.18) ** 2)) * tongue * (1 - tongue) * 4
        top -= 0.05 * np.abs(a) ** 3 + 0.05 * np.clip(-a, 0, 1) ** 3
        if kind == 3:
            top -= (0.26 - 0.2 * wear) * (np.sqrt(a * a + 0.01) - 0.1)
        return top * wall
    base, cusps = _TABLE[kind]
    hills = sum(
        (tall * np.exp(-((a - mesial) ** 2 + (b - buccal) ** 2) / radius**2)) ** 3
        for mesial, buccal, radius, tall in cusps
    )
    top = base + (1 - wear) * np.cbrt(hills)
    top += 0.12 * np.exp(-(((np.abs(a) - 0.85) / 0.16) ** 2) - (b / 0.6) ** 2)
    return top * wall


def seat_heights(plan: Plan, paths: Paths) -> np.ndarray:
    """Return the height (16,) in mm at which crowns leave the gum, on the curve of Spee."""
    reach = paths.reach[SLOT // 2 :: SLOT, 0]
    return plan.spee * (0.4 - (reach - 0.45) ** 2 * 3) + plan.rise


def _gum(plan: Plan, paths: Paths, mm: np.ndarray, plane: np.ndarray) -> np.ndarray:
    """Return the height (400, T) in mm of the gum and the palate without the crowns."""
    x, y = plane[..., 0], plane[..., 1]
    seat = smoothed(np.repeat(seat_heights(plan, paths), SLOT), 25)[:, None]
    tooth = smoothed(np.repeat(plan.present.astype(float), SLOT), 19)[:, None]
    front = np.repeat(np.array([fdi % 10 < 4 for fdi in TEETH], float), SLOT)[:, None]
    scallop = tooth * (1.7 + 1.1 * front) * np.abs(paths.position) ** 2.2
    bare = (1 - tooth) * (
        plan.resorption + 1.2 * (mm / paths.half) ** 2 * (np.abs(mm) <= paths.half)
    )
    ridge = seat + scallop - bare
    # towards the cheek
    out = np.clip((-mm - paths.half) / _SKIRT, 0, 1)
    root = tooth * np.cos(np.pi / 2 * paths.position) ** 2
    out = np.clip(out - 0.13 * root * np.sin(np.pi * np.minimum(out * 1.2, 1)), 0, 1)
    skirt = seat + (ridge - seat - 1.2 * (1 - tooth)) * (1 - out) ** 2
    skirt -= 10.5 * (0.3 * out + 1.5 * out**2 - 0.8 * out**3)
    # towards the palate
    way = np.clip((mm - paths.half) / (paths.inner - paths.half), 0, 1)
    down = (1 - (1 - way) ** 2.2) * way / (way + 0.05 * tooth + 1e-9) * (1 + 0.05 * tooth)
    back = np.clip((paths.depth - 9) / (0.55 * paths.depth.max() - 9), 0, 1)
    floor = -2.5 - (plan.vault - 2.5) * back * back * (3 - 2 * back)
    start = ridge * (1 - way) ** 4 + seat * (1 - (1 - way) ** 4) - 1.2 * (1 - tooth) * (way > 0)
    palate = start * (1 - down) + floor * down + _folds(plan, x, y, way)
    height = np.where(mm > paths.half, palate, np.where(mm < -paths.half, skirt, ridge))
    for across, deep, phase, strength in plan.waves:
        height += strength * np.sin(across * x + deep * y + phase)
    return height


def _folds(plan: Plan, x: np.ndarray, y: np.ndarray, way: np.ndarray) -> np.ndarray:
    """Return the height in mm of rugae, raphe and incisive papilla."""
    inside = np.clip((way - 0.12) / 0.25, 0, 1)
    side = np.abs(x)
    wiggle = sum(np.sin(w[0] * 3 * x + w[1] * 2 * y + w[2]) for w in plan.waves[:3])
    band = np.exp(-(((y - 16.5) / 5.5) ** 4)) * np.clip((side - 1) / 2, 0, 1)
    rugae = np.clip(np.sin((y - 0.3 * side + 0.5 * wiggle) * 2 * np.pi / 4.2), -0.3, 1)
    folds = 0.55 * band * rugae * np.exp(-((side / 13) ** 4))
    folds += 0.45 * np.exp(-((x / 0.9) ** 2)) * np.clip((y - 12) / 4, 0, 1)
    return inside * folds + np.clip(way / 0.2, 0, 1) * 1.3 * np.exp(
        -((x / 1.9) ** 2) - ((y - 9.5) / 2.6) ** 2
    )
