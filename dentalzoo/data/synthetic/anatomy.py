"""The anatomy around the teeth: jaws, sinuses, palate, airway, spine, ghosts, as grey values.

Positions were read off the mean of real panoramic radiographs, scaled to 1024 radiograph units of
width.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from dentalzoo.data.synthetic.canvas import Frame, blur, field, wave
from dentalzoo.data.synthetic.shapes import rounded, smooth


@dataclass(frozen=True)
class Plan:
    """The proportions of a patient's jaws and their position in the machine.

    Attributes:
        sag: how far the bite rises from the midline to x = +-330, in radiograph units (the
            'smile').
        gap_front, gap_back: the dark gap between upper and lower teeth, in radiograph units.
        chin: y of the lower border at the midline.
        width: factor on the width of the jaws.
        ridge: factor on the height of the bone above the crowns; 1 with teeth, less without.
        angle: how square the angle of the mandible is; normal, 0 on average.
    """

    sag: float
    gap_front: float
    gap_back: float
    chin: float
    width: float
    ridge: float
    angle: float

    def bite(self, x: npt.ArrayLike) -> np.ndarray:
        """Return y of the bite at x."""
        return -self.sag * (np.asarray(x, float) / 330) ** 2

    def edge(self, x: npt.ArrayLike, upper: bool) -> np.ndarray:
        """Return y of the biting edges of the upper or lower teeth at x."""
        x = np.asarray(x, float)
        gap = self.gap_back + (self.gap_front - self.gap_back) * np.exp(-((x / 150) ** 2))
        return self.bite(x) + (-0.5 if upper else 0.5) * gap

    def crest(self, x: npt.ArrayLike, upper: bool) -> np.ndarray:
        """Return y of the rim of the bone at x."""
        crown = np.interp(np.abs(x), (0, 120, 190, 330), (48, 46, 40, 36)) / self.ridge
        return self.edge(x, upper) + (-1 if upper else 1) * crown


def make_plan(rng: np.random.Generator, edentulous: bool = False) -> Plan:
    """Generate the proportions of a patient."""
    return Plan(
        sag=rng.uniform(0, 42),
        gap_front=rng.uniform(4, 34),
        gap_back=rng.uniform(-5, 12),
        chin=rng.uniform(200, 238),
        width=rng.uniform(0.94, 1.06),
        ridge=0.75 if edentulous else 1.0,
        angle=rng.normal(0, 1),
    )


def _both(points: npt.ArrayLike) -> list[np.ndarray]:
    """Return an outline in positive x, and its mirror image."""
    points = np.asarray(points, float)
    return [points, points * (-1, 1)]


def mandible(plan: Plan) -> tuple[np.ndarray, np.ndarray]:
    """Return the closed outline of the mandible and its lower border, in radiograph units."""
    w, chin, bulge = plan.width, plan.chin, plan.angle
    border = np.array(
        [(0, chin), (90, chin - 4), (180, chin - 24), (260, chin - 58),
         (345 + 4 * bulge, chin - 102), (412 + 12 * bulge, chin - 144 + 8 * bulge),
         (444 + 5 * bulge, chin - 196)], float
    )  # fmt: skip
    ramus = [(452, -60), (466, -130), (486, -178), (480, -204), (450, -206), (430, -182),
             (418, -150), (398, -128), (378, -136), (362, -166), (346, -150), (336, -90),
             (330, -30)]  # fmt: skip
    border *= (w, 1)
    half = np.concatenate([border, np.array(ramus) * (w, 1)])
    x = np.linspace(320 * w, 0, 12)
    half = np.concatenate([half, np.stack([x, plan.crest(x, False)], 1)])
    outline = np.concatenate([half, (half * (-1, 1))[::-1]])
    line = np.concatenate([(border * (-1, 1))[::-1], border[1:]])
    return rounded(outline, 1), line


def background(rng: np.random.Generator, frame: Frame, plan: Plan) -> np.ndarray:
    """Generate everything behind the teeth: float32 (height, width), grey values about 0 to 255."""
    density = _masses(rng, frame, plan)
    density += _lines(rng, frame, plan)
    return density + _trabeculae(rng, frame, plan)


def _masses(rng: np.random.Generator, frame: Frame, plan: Plan) -> np.ndarray:
    """Generate bones, soft tissues and air as soft shades, at a quarter of the resolution."""
    coarse = frame.shrunk(4)
    everything = slice(0, coarse.height), slice(0, coarse.width)
    columns, rows = coarse.units()
    back = np.full((coarse.height, coarse.width), 22, np.float32)
    reach = np.abs(columns)

    def shade(outlines: Sequence[npt.ArrayLike], sigma: float) -> np.ndarray:
        cover = coarse.cover([rounded(o, 2) for o in outlines], everything)
        return blur(cover, sigma * coarse.scale)

    def soft(outlines: Sequence[npt.ArrayLike], value: float, sigma: float) -> None:
        back[...] += np.float32(value) * shade(outlines, sigma)

    def blob(x: float, y: float, across: float, down: float, value: float) -> None:
        back[...] += np.float32(value) * np.exp(
            -(((reach - x) / across) ** 2) - ((rows - y) / down) ** 2
        )

    x = np.linspace(-430, 430, 25)
    # the head
    soft([[(-540, -330), (540, -330), (500, 40), (330, 200), (0, 300), (-330, 200), (-500, 40)]],
         rng.uniform(16, 28), 40)  # fmt: skip
    blob(310, -70, 130, 100, rng.uniform(16, 36))
    blob(0, -215, 460, 70, rng.uniform(30, 60))
    blob(510, -220, 140, 95, rng.uniform(35, 85))
    blob(380, -270, 130, 70, rng.uniform(15, 60))
    blob(520, -40, 60, 130, rng.uniform(5, 35))
    blob(215, 150, 90, 50, -rng.uniform(8, 24))
    # the mandible: sharp outside, soft where tongue and cheek cross it
    outline = mandible(plan)[0]
    crisp, vague = shade([outline], 2.0), shade([outline], 12)
    inner = 1 / (1 + np.exp((reach - 385) / 12)) / (1 + np.exp((rows - 60) / 20))
    inner = np.maximum(inner, 0.7 / (1 + np.exp((rows + 130) / 20)))
    fade = np.clip((rows + 250) / 190, rng.uniform(0.15, 0.55), 1)
    back += rng.uniform(40, 54) * fade * (crisp + inner * (vague - crisp))
    # cheek and tuberosity: brighter under an arch from the palate to the angle of the jaw
    flank, high = np.linspace(120, 480, 10), rng.uniform(-190, -150)
    arch = np.stack([flank, high + rng.uniform(60, 150) * ((flank - 120) / 340) ** 2], 1)
    cheek = shade(_both([*arch, (480, 60), (330, 70), (120, -60)]), rng.uniform(2, 7))
    back += rng.uniform(10, 30) * cheek * np.clip((reach - 120) / 160, 0, 1)
    # above its shadow from the other side, the radiograph is brighter
    step, start = rng.uniform(75, 120), rng.uniform(100, 230)
    tilt = rng.uniform(-14, 14)
    ghost = shade(_both([(0, step), (640, step + tilt), (640, -150), (0, -150)]), 2.6)
    ramp = np.clip((reach - start) / 110, 0, 1) * np.clip((rows + 150) / 120, 0, 1)
    back += rng.uniform(18, 44) * ghost * ramp * np.clip((600 - reach) / 130, 0.25, 1)
    # upper jaw, cheek bones, base of the skull
    top = np.stack([x, np.full_like(x, -185)], 1)[::-1]
    rim = np.stack([x, plan.crest(x, True)], 1)
    maxilla = shade([np.concatenate([rim[1:-1], top[1:-1]])], 6)
    back += rng.uniform(28, 44) * maxilla / (1 + np.exp((reach - 320) / 14))
    soft(_both([(230, -340), (420, -340), (380, -190), (340, -100), (290, -105), (250, -190)]),
         rng.uniform(8, 30), 10)  # fmt: skip
    hole = rng.uniform(-14, 14)
    soft(_both([(388, -150 + hole), (425, -172 + hole), (425, -210), (385, -222), (340, -205),
                (350, -165 + hole)]), -rng.uniform(4, 32), 7)  # fmt: skip
    # the mouth between both rims of bone, darkest beside the incisors
    rims = [np.stack([x, plan.crest(x, up) + d], 1)[3:-3] for up, d in ((True, -2), (False, 2))]
    gap = shade([np.concatenate([rims[0], rims[1][::-1]])], 8)
    depth = rng.uniform(4, 18) + rng.uniform(0, 16) * np.exp(-((reach / 170) ** 2))
    depth *= 3 * plan.ridge - 2  # without teeth, the tongue fills the mouth
    back -= depth * gap / (1 + np.exp((reach - rng.uniform(300, 335)) / 10))
    for side in (-1, 1):
        width, drop = rng.uniform(40, 80), rng.uniform(-15, 15)
        soft([[(side * 22, drop - 40), (side * (40 + width), drop - 30),
               (side * (70 + width), drop + 5), (side * (40 + width), drop + 32),
               (side * 22, drop + 40)]], -rng.uniform(0, 34), 12)  # fmt: skip
        tall = rng.uniform(60, 230)
        soft([[(side * 34, -tall), (side * 86, -tall), (side * 92, 30), (side * 30, 30)]],
             -rng.uniform(0, 14), 9)  # fmt: skip
        # nasal cavity, sinus, airway
        soft([[(side * 10, -320), (side * 80, -320), (side * 74, -190), (side * 14, -182)]],
             -rng.uniform(20, 60), 6)  # fmt: skip
        floor = rng.uniform(-135, -98)
        soft([[(side * 115, -320), (side * 255, -320), (side * 262, -160), (side * 235, floor - 10),
               (side * 180, floor), (side * 125, -155)]],
             -rng.uniform(4, 30), 4)  # fmt: skip
        soft([[(side * 300, -190), (side * 335, -190), (side * 352, -60), (side * 330, 40),
               (side * 305, 20), (side * 312, -80)]], -rng.uniform(0, 22), 6)  # fmt: skip
    if rng.random() < 0.45:  # air between tongue and palate
        arch = np.stack([x, -155 + rng.uniform(30, 90) * (x / 330) ** 2 + rng.uniform(-12, 12)], 1)[
            1:-1
        ]
        air = shade([np.concatenate([arch, arch[::-1] + (0, rng.uniform(20, 55))])], 6)
        back -= rng.uniform(12, 36) * air
    mottle = np.zeros_like(back)
    for count, amount in ((5, 5.0), (14, 3.5), (34, 2.2)):
        grain = coarse.height / count, coarse.width / count / 1.5
        mottle += amount * field(rng, back.shape, grain)
    mottle += 1.5 * field(rng, back.shape, (coarse.height / 70, coarse.width / 8))
    back += mottle * np.clip(back / 90, 0.2, 1.1)
    skull = np.clip((-150 - rows) / 60, 0, 1) * np.clip((reach - 300) / 150, 0, 1)
    back += 22 * skull * field(rng, back.shape, (coarse.height / 24, coarse.width / 40))
    return cv2.resize(back, (frame.width, frame.height), interpolation=cv2.INTER_CUBIC)


def _lines(rng: np.random.Generator, frame: Frame, plan: Plan) -> np.ndarray:
    """Generate cortical bone, palate, walls of sinuses and canals, at half of the resolution."""
    half = frame.shrunk(2)
    lines = np.zeros((half.height, half.width), np.float32)

    def stroke(curves: Sequence[np.ndarray], value: float, thickness: float, sigma: float) -> None:
        window = half.window(curves, (thickness + 3 * sigma) * half.scale + 1)
        if window is None:
            return
        tile = lines[window]
        cover = np.zeros(tile.shape, np.uint8)
        corner = window[1].start, window[0].start
        wide = max(1, round(thickness * half.scale))
        for curve in curves:
            points = np.round((half.pixels(curve) - corner) * 16).astype(np.int32)
            cv2.polylines(cover, [points], False, 255, wide, cv2.LINE_AA, shift=4)
        tile += np.float32(value / 255) * blur(cover.astype(np.float32), sigma * half.scale)

    outline, border = mandible(plan)
    stroke([smooth(border - (0, 6))], rng.uniform(6, 28), 9, 3.5)
    stroke([smooth(border - (0, 2))], rng.uniform(4, 16), 3, 1.5)
    stroke([outline[len(outline) // 5 :]], rng.uniform(3, 10), 4, 2)
    palate = rng.uniform(-190, -150)
    for _ in range(rng.integers(4, 9)):
        y, bow = palate + rng.normal(0, 18), rng.uniform(-4, 34)
        wide, off = rng.uniform(150, 340), rng.normal(0, 20)
        bend = np.linspace(-wide, wide, 15)
        rise = bow * (bend / 300) ** 2 + 2.5 * wave(rng, 15, 5)
        stroke([smooth(np.stack([bend + off, y + rise], 1))],
               rng.uniform(10, 44), rng.uniform(3, 20), rng.uniform(2, 6))  # fmt: skip
    lean = rng.normal(0, 8)
    septum = [(lean, -340), (0.6 * lean, -240), (0, -150)]
    stroke([smooth(septum)], rng.uniform(15, 50), rng.uniform(7, 20), 3)
    for _ in range(rng.integers(1, 4)):  # the hard palate
        wide, low = rng.uniform(180, 330), rng.uniform(10, 45)
        bend = np.linspace(-wide, wide, 21)
        rise = low * np.abs(bend / 330) ** rng.uniform(1.5, 4) + 3 * wave(rng, 21, 6)
        curve = smooth(np.stack([bend, palate + rng.normal(0, 9) + rise], 1))
        stroke([curve], rng.uniform(15, 50), rng.uniform(2, 6), rng.uniform(0.8, 1.8))
    thin = []
    for _ in range(6):
        bend = np.linspace(-1, 1, 12) * rng.uniform(200, 440) + rng.normal(0, 40)
        sag = rng.uniform(0, 60) * (bend / 400) ** 2
        thin.append(np.stack([bend, palate + rng.uniform(-50, 30) + sag + 3 * wave(rng, 12, 4)], 1))
    for side in (-1, 1, -1, 1):
        for _ in range(2):
            x, low = rng.uniform(90, 420), rng.uniform(-200, -110)
            hook = rng.normal(0, 20, 3)
            thin.append(np.array([(x, -340), (x + hook[0], -230), (x + hook[1], low),
                                  (x + hook[1] + 2 * hook[2], low + 10)]) * (side, 1))  # fmt: skip
        ridge = [(350, -90), (338, -20), (305, 30), (240, rng.uniform(50, 80))]
        thin.append(np.array(ridge) * (side * plan.width, 1) + rng.normal(0, 6, 2))
        arch = [(270, -160), (340, -185), (420, -205), (520, -225)]
        thin.append(np.array(arch) * (side, 1) + rng.normal(0, 12, 2))
    for curve in thin:
        stroke([smooth(curve)], rng.uniform(6, 36), rng.uniform(1.5, 4), rng.uniform(0.7, 1.6))
    for _ in range(rng.integers(8, 15)):  # other structures across the palate
        x, y = rng.uniform(-380, 380), rng.uniform(-230, -135)
        turn = rng.normal(0, 0.5) + rng.normal(0, 0.5) * np.linspace(-1, 1, 7)
        steps = np.stack([np.cos(turn), np.sin(turn)], 1).cumsum(0) * rng.uniform(10, 45)
        stroke([steps - steps[3] + (x, y)], rng.uniform(-14, 26), rng.uniform(3, 24), 3)
    for side in (-1, 1):
        j = rng.uniform(225, 275) * side
        stroke([smooth([(j, -330), (j + 4 * side, -200), (j + 14 * side, -155),
                         (j + 34 * side, -160), (j + 44 * side, -200)])],
               rng.uniform(8, 40), rng.uniform(3, 6), 1.5)  # fmt: skip
        floor = rng.uniform(-125, -98)
        stroke([smooth([(side * 95, -190), (side * 125, -150), (side * 190, floor),
                         (side * 250, -112), (side * 300, -150)])],
               rng.uniform(5, 26), 3, 1.2)  # fmt: skip
        z = side * rng.uniform(315, 350)
        stroke([smooth([(z, -330), (z - 3 * side, -200), (z - 12 * side, -130)])],
               rng.uniform(4, 30), 4, 1.5)  # fmt: skip
        for _ in range(4):  # base of the skull
            at = np.array((side * rng.uniform(400, 505), rng.uniform(-290, -190)))
            turn = rng.uniform(0, 2 * np.pi) + np.linspace(0, rng.uniform(1, 2.5), 6)
            loop = rng.uniform(20, 60) * np.stack([1.6 * np.cos(turn), np.sin(turn)], 1)
            stroke([at + loop], rng.uniform(8, 30), rng.uniform(3, 8), 2)
        canal = np.array([(390, -60), (360, 20), (310, 80), (250, 118), (195, 128)]) * (side, 1)
        canal = smooth(canal * (plan.width, 1) + (0, plan.chin - 220))
        stroke([canal], -rng.uniform(3, 10), 14, 3)
        stroke([canal - (0, 8), canal + (0, 8)], rng.uniform(2, 8), 2, 1)
        mental = np.array([side * rng.uniform(165, 195), plan.chin - rng.uniform(85, 105)])
        stroke([mental + [[-3, 0], [3, 1]]], -rng.uniform(4, 18), 14, 3)
        hyoid = np.array([(285, 22), (305, 0), (345, -10), (375, 6), (370, 28), (340, 18)])
        hyoid = hyoid + rng.normal(0, 7, hyoid.shape) + (0, plan.chin - rng.uniform(5, 60))
        hyoid = rounded(hyoid * (side, 1), 2)
        stroke([hyoid], rng.uniform(2, 16), 4, 1.8)
        stroke([hyoid], rng.uniform(2, 12), 20, 6)
    lines *= np.clip(1 + 0.55 * field(rng, lines.shape, (half.height / 12, half.width / 18)), 0, 2)
    lines = np.where(lines > 0, 42 * np.tanh(lines / 42), lines)
    # fine streaks along the scan, strongest over palate and skull
    columns, rows = half.units()
    streaks = field(rng, lines.shape, (2.5 * half.scale, 50 * half.scale))
    grain = field(rng, lines.shape, (3.5 * half.scale, 6 * half.scale))
    above = np.clip((-110 - rows) / 60, 0.12, 1)
    lines += above * (rng.uniform(2, 5) * streaks)
    lines += above * np.clip(np.abs(columns) / 250 - 0.3, 0.2, 1.5) * (rng.uniform(1, 4) * grain)
    return cv2.resize(lines, (frame.width, frame.height), interpolation=cv2.INTER_LINEAR)


def _trabeculae(rng: np.random.Generator, frame: Frame, plan: Plan) -> np.ndarray:
    """Generate the net of thin bright walls in the bone: zero crossings of a random field."""
    coarse = frame.shrunk(4)
    everything = slice(0, coarse.height), slice(0, coarse.width)
    columns, rows = coarse.units()
    shape = frame.height, frame.width
    cell = rng.uniform(4.0, 6.5) * frame.scale
    net = np.full(shape, -0.5, np.float32)
    for tall, wide in ((1.0, 1.6), (0.7, 0.8)):
        walls = field(rng, shape, (tall * cell, wide * cell))
        net += cv2.exp(-9 * walls * walls)
    x = np.linspace(-300, 300, 13)
    upper = np.concatenate([np.stack([x, plan.crest(x, True)], 1), [(280, -180), (-280, -180)]])
    bone = coarse.cover([mandible(plan)[0]], everything) + coarse.cover([upper], everything)
    bone *= np.exp(-(((np.abs(columns) - 160) / 200) ** 2)) * np.clip((rows + 190) / 260, 0.25, 1)
    bone *= np.clip(field(rng, bone.shape, (coarse.height / 6, coarse.width / 9)) + 1.3, 0.3, 2.4)
    bone = blur(bone, 5 * coarse.scale) * np.float32(rng.uniform(3, 8))
    return net * cv2.resize(bone, shape[::-1])


def veil(rng: np.random.Generator, frame: Frame, plan: Plan) -> np.ndarray:
    """Generate what overlaps teeth and jaws (spine, scan stripes): float32 (height, width)."""
    quarter = frame.shrunk(4)
    over: np.ndarray = np.zeros((quarter.height, quarter.width), np.float32)
    everything = slice(0, quarter.height), slice(0, quarter.width)
    wide = rng.uniform(90, 150)
    for side in (-1, 1):  # air on both sides of the spine
        near, far = rng.uniform(28, 50), rng.uniform(75, 110)
        column = [(near, -rng.uniform(100, 340)), (far, -rng.uniform(80, 340)),
                  (far, rng.uniform(10, 90)), (near, rng.uniform(0, 60))]  # fmt: skip
        air = quarter.cover([np.array(column) * (side, 1)], everything)
        over -= rng.uniform(1, 15) * blur(air, rng.uniform(5, 11) * quarter.scale)
    spine = [[(-wide, -340), (wide, -340), (wide, 340), (-wide, 340)]]
    over += rng.uniform(2, 12) * blur(quarter.cover(spine, everything), 25 * quarter.scale)
    narrow = rng.uniform(25, 60)
    spine = [[(-narrow, -340), (narrow, -340), (narrow, 340), (-narrow, 340)]]
    over += rng.uniform(10, 34) * blur(quarter.cover(spine, everything), 7 * quarter.scale)
    if rng.random() < 0.45:  # the vertebrae end in a sharp shadow under the teeth
        top = rng.uniform(40, 120)
        vertebrae = [[(-wide, 0), (wide, 0), (wide + 6, 340), (-wide - 6, 340)]]
        shadow = blur(quarter.cover(vertebrae, everything), 1.5 * quarter.scale)
        rows = quarter.units()[1]
        over += rng.uniform(12, 40) * shadow * np.clip((rows - top) / rng.uniform(15, 60), 0, 1)
    if rng.random() < 0.5:  # the block between the front teeth
        high, long = rng.uniform(9, 16), rng.uniform(22, 36)
        x, y = rng.normal(0, 5), rng.normal(0, 5)
        block = rounded([(x - long, y - high), (x + long, y - high), (x + long, y + high),
                         (x - long, y + high)], 3)  # fmt: skip
        over += rng.uniform(8, 28) * quarter.cover([block], everything)
        over += rng.uniform(4, 20) * quarter.cover([block], everything, thickness=5)
    size = frame.width, frame.height
    over = np.asarray(cv2.resize(over, size, interpolation=cv2.INTER_LINEAR))
    across = np.linspace(-512, 512, frame.width)
    middle = np.exp(-((across / rng.uniform(45, 80)) ** 2)).astype(np.float32)
    stripes = 4.2 * wave(rng, frame.width, 40) + 2.6 * wave(rng, frame.width, 110)
    bones = field(rng, over.shape, (frame.height / 5, frame.width / 70))
    bones += 0.7 * field(rng, over.shape, (frame.height / 16, frame.width / 45))
    over += (0.15 + middle) * stripes + (0.08 + middle) * np.float32(rng.uniform(3, 8)) * bones
    return over
