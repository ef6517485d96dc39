"""What surrounds the teeth: jaws, sinuses, palate, airway, spine and ghosts, in grey values.

Positions were read off the mean of real panoramic films, scaled to 1024 film units of width.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from dentalzoo.data.phantoms.canvas import Frame, blur, field, wave
from dentalzoo.data.phantoms.shapes import rounded


@dataclass(frozen=True)
class Plan:
    """The proportions of one patient's jaws and how they stood in the machine.

    Attributes:
        sag: how far the bite rises from the midline to x = +-330, in film units (the 'smile').
        gap_front, gap_back: the dark gap between upper and lower teeth, in film units.
        chin: y of the lower border at the midline.
        width: factor on the width of the jaws.
        ridge: factor on the height of the bone above the crowns; 1 with teeth, less without.
    """

    sag: float
    gap_front: float
    gap_back: float
    chin: float
    width: float
    ridge: float

    def bite(self, x):
        """y of the bite at x."""
        return -self.sag * (np.asarray(x, float) / 330) ** 2

    def edge(self, x, upper: bool):
        """y of the biting edges of the upper or lower teeth at x."""
        x = np.asarray(x, float)
        gap = self.gap_back + (self.gap_front - self.gap_back) * np.exp(-((x / 150) ** 2))
        return self.bite(x) + (-0.5 if upper else 0.5) * gap

    def crest(self, x, upper: bool):
        """y of the rim of the bone at x."""
        crown = np.interp(np.abs(x), (0, 120, 190, 330), (56, 52, 46, 42)) / self.ridge
        return self.edge(x, upper) + (-1 if upper else 1) * crown


def make_plan(rng, edentulous: bool = False) -> Plan:
    """Draws a patient."""
    return Plan(
        sag=rng.uniform(0, 42),
        gap_front=rng.uniform(4, 34),
        gap_back=rng.uniform(-5, 12),
        chin=rng.uniform(200, 238),
        width=rng.uniform(0.95, 1.03),
        ridge=0.62 if edentulous else 1.0,
    )


def _both(points) -> list[np.ndarray]:
    """The right-hand half, in positive x, and its mirror image."""
    points = np.asarray(points, float)
    return [points, points * (-1, 1)]


def _mandible(plan: Plan) -> tuple[np.ndarray, np.ndarray]:
    """The closed outline of the mandible and its lower border, in film units."""
    w, chin = plan.width, plan.chin
    border = np.array(
        [(0, chin), (90, chin - 3), (180, chin - 22), (260, chin - 56), (340, chin - 106),
         (405, chin - 158), (436, chin - 205)], float
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


def background(rng, frame: Frame, plan: Plan) -> np.ndarray:
    """Everything behind the teeth: float32 (height, width), grey values about 0 to 255."""
    coarse, half = frame.shrunk(4), frame.shrunk(2)
    everything = slice(0, coarse.height), slice(0, coarse.width)
    back = np.full((coarse.height, coarse.width), 26, np.float32)

    def soft(outlines, value, sigma):
        shade = coarse.cover([rounded(o, 2) for o in outlines], everything)
        back[...] += value * blur(shade, sigma * coarse.scale)

    x = np.linspace(-430, 430, 25)
    soft([[(-560, -320), (560, -320), (500, 60), (330, 190), (0, 300), (-330, 190), (-500, 60)]],
         rng.uniform(16, 30), 40)  # fmt: skip
    mandible, border = _mandible(plan)
    soft([mandible], rng.uniform(42, 58), 2.5)
    step = rng.uniform(75, 125)
    inner = rng.uniform(130, 230)
    soft(_both([(inner, step), (620, step + rng.uniform(-12, 12)), (620, -120), (inner, -120)]),
         rng.uniform(8, 16), 2)  # fmt: skip
    soft(_both([(inner, step), (490, step), (470, -140), (inner - 30, -100)]),
         rng.uniform(14, 30), 14)  # fmt: skip
    top = np.stack([x, np.full_like(x, -190)], 1)
    soft([np.concatenate([np.stack([x, plan.crest(x, True)], 1)[4:-4], top[::-1][3:-3]])],
         rng.uniform(42, 60), 4)  # fmt: skip
    soft(_both([(340, -330), (620, -330), (620, -225), (520, -200), (430, -212), (340, -190)]),
         rng.uniform(50, 90), 9)  # fmt: skip
    soft(_both([(240, -330), (390, -330), (372, -190), (330, -110), (285, -110), (255, -190)]),
         rng.uniform(16, 38), 8)  # fmt: skip
    soft(_both([(396, -150), (425, -172), (420, -205), (385, -212), (350, -200), (360, -165)]),
         -rng.uniform(25, 50), 6)  # fmt: skip
    # the mouth between both rims of bone, darkest beside the incisors
    rims = [np.stack([x, plan.crest(x, up) + d], 1)[3:-3] for up, d in ((True, -2), (False, 2))]
    soft([np.concatenate([rims[0], rims[1][::-1]])], -rng.uniform(38, 55), 4)
    for side in (-1, 1):
        reach, drop = rng.uniform(40, 80), rng.uniform(-15, 15)
        soft([[(side * 22, drop - 40), (side * (40 + reach), drop - 30),
               (side * (70 + reach), drop + 5), (side * (40 + reach), drop + 32),
               (side * 22, drop + 40)]], -rng.uniform(20, 60), 12)  # fmt: skip
        tall = rng.uniform(60, 230)
        soft([[(side * 34, -tall), (side * 86, -tall), (side * 92, 30), (side * 30, 30)]],
             -rng.uniform(5, 35), 9)  # fmt: skip
        # nasal cavity, sinus, airway
        soft([[(side * 10, -320), (side * 80, -320), (side * 74, -190), (side * 14, -182)]],
             -rng.uniform(25, 55), 6)  # fmt: skip
        soft([[(side * 110, -320), (side * 250, -320), (side * 245, -150),
               (side * 190, rng.uniform(-125, -95)), (side * 120, -150)]],
             -rng.uniform(8, 26), 5)  # fmt: skip
        soft([[(side * 300, -190), (side * 335, -190), (side * 352, -60), (side * 330, 40),
               (side * 305, 20), (side * 312, -80)]], -rng.uniform(0, 26), 5)  # fmt: skip
    if rng.random() < 0.5:  # air between tongue and palate
        arch = np.stack([x, -150 + 40 * (x / 330) ** 2 + rng.uniform(-12, 12)], 1)[3:-3]
        soft([np.concatenate([arch, arch[::-1] + (0, rng.uniform(20, 55))])],
             -rng.uniform(15, 40), 6)  # fmt: skip
    back += 5 * field(rng, back.shape, (coarse.height / 5, coarse.width / 7))
    back += 3 * field(rng, back.shape, (coarse.height / 14, coarse.width / 20))
    density = cv2.resize(back, (frame.width, frame.height), interpolation=cv2.INTER_LINEAR)

    lines = np.zeros((half.height, half.width), np.float32)

    def stroke(curves, value, thickness, sigma):
        shade = np.zeros(lines.shape, np.uint8)
        for curve in curves:
            points = np.round(half.pixels(curve) * 16).astype(np.int32)
            wide = max(1, round(thickness * half.scale))
            cv2.polylines(shade, [points], False, 255, wide, cv2.LINE_AA, shift=4)
        lines[...] += np.float32(value / 255) * blur(shade.astype(np.float32), sigma * half.scale)

    stroke([_smooth(border - (0, 5))], rng.uniform(25, 50), 9, 2.5)
    stroke([mandible], rng.uniform(8, 18), 3, 1.5)
    palate = rng.uniform(-185, -150)
    for _ in range(rng.integers(3, 7)):
        y, bow = palate + rng.normal(0, 16), rng.uniform(0, 28)
        wide = rng.uniform(180, 330)
        bend = np.linspace(-wide, wide, 15)
        curve = np.stack([bend, y + bow * (bend / 300) ** 2 + 2 * wave(rng, 15, 5)], 1)
        stroke([_smooth(curve)], rng.uniform(14, 48), rng.uniform(4, 16), rng.uniform(2, 5))
    for side in (-1, 1):
        j = rng.uniform(225, 275) * side
        stroke([_smooth([(j, -330), (j + 4 * side, -200), (j + 14 * side, -155),
                         (j + 34 * side, -160), (j + 44 * side, -200)])],
               rng.uniform(15, 45), 5, 1.5)  # fmt: skip
        floor = rng.uniform(-125, -98)
        stroke([_smooth([(side * 95, -190), (side * 125, -150), (side * 190, floor),
                         (side * 250, -112), (side * 300, -150)])],
               rng.uniform(10, 30), 3, 1.2)  # fmt: skip
        z = side * rng.uniform(320, 345)
        stroke([_smooth([(z, -330), (z - 3 * side, -200), (z - 12 * side, -130)])],
               rng.uniform(5, 30), 4, 1.5)  # fmt: skip
        canal = np.array([(390, -60), (360, 20), (310, 80), (250, 118), (195, 128)]) * (side, 1)
        canal = _smooth(canal * (plan.width, 1) + (0, plan.chin - 220))
        stroke([canal], -rng.uniform(4, 12), 14, 3)
        stroke([canal - (0, 8), canal + (0, 8)], rng.uniform(3, 10), 2, 1)
        mental = np.array([side * rng.uniform(165, 195), plan.chin - rng.uniform(85, 105)])
        stroke([mental + [[-3, 0], [3, 1]]], -rng.uniform(8, 22), 14, 3)
        hyoid = np.array([(290, 0), (335, -12), (372, 4), (362, 26), (330, 22)]) * (side, 1)
        hyoid = hyoid + (0, plan.chin - rng.uniform(5, 45))
        stroke([_smooth(hyoid)], rng.uniform(6, 26), rng.uniform(5, 12), 3)
    density += cv2.resize(lines, (frame.width, frame.height), interpolation=cv2.INTER_LINEAR)

    # trabeculae: a net of thin bright walls, zero crossings of a random field
    cell = 5.0 * frame.scale
    net = field(rng, density.shape, (cell, 1.3 * cell))
    net = 0.6 - np.minimum(np.abs(net), 1.5)
    bone = coarse.cover([mandible], everything) * 1.0
    bone += 0.5 * coarse.cover([rounded(np.concatenate([rims[0], top[::-1][3:-3]]))], everything)
    amount = np.clip(field(rng, back.shape, (coarse.height / 6, coarse.width / 9)) + 1.2, 0.2, 2.5)
    bone = blur(bone * amount, 5 * coarse.scale) * rng.uniform(5, 10)
    return density + net * cv2.resize(bone, (frame.width, frame.height))


def veil(rng, frame: Frame, plan: Plan) -> np.ndarray:
    """What lies over teeth and jaws alike (spine, stripes of the scan): float32 (height, width)."""
    quarter = frame.shrunk(4)
    over = np.zeros((quarter.height, quarter.width), np.float32)
    everything = slice(0, quarter.height), slice(0, quarter.width)
    wide = rng.uniform(90, 150)
    spine = [[(-wide, -340), (wide, -340), (wide, 340), (-wide, 340)]]
    over += rng.uniform(2, 12) * blur(quarter.cover(spine, everything), 25 * quarter.scale)
    narrow = rng.uniform(25, 60)
    spine = [[(-narrow, -340), (narrow, -340), (narrow, 340), (-narrow, 340)]]
    over += rng.uniform(8, 24) * blur(quarter.cover(spine, everything), 9 * quarter.scale)
    if rng.random() < 0.45:  # the vertebrae end in a sharp shadow under the teeth
        top = rng.uniform(40, 110)
        block = [[(-wide, top), (wide, top), (wide + 6, 340), (-wide - 6, 340)]]
        shade = quarter.cover(block, everything)
        soft = blur(shade, 2.0 * quarter.scale)
        soft *= np.clip(np.linspace(-2, 4, quarter.height, dtype=np.float32), 0, 1)[:, None]
        over += rng.uniform(15, 42) * soft
    over = cv2.resize(over, (frame.width, frame.height), interpolation=cv2.INTER_LINEAR)
    x = np.linspace(-512, 512, frame.width)
    middle = np.exp(-((x / rng.uniform(45, 80)) ** 2)).astype(np.float32)
    stripes = 3.0 * wave(rng, frame.width, 40) + 1.5 * wave(rng, frame.width, 120)
    low, high = (wave(rng, frame.width, n) for n in (60, 90))
    ramp = np.linspace(0, 1, frame.height, dtype=np.float32)[:, None]
    over += (0.25 + middle) * (stripes + 3.0 * (low * ramp + high * (1 - ramp)))
    return over


def _smooth(points) -> np.ndarray:
    """An open line through about the same points, with its corners cut."""
    points = np.asarray(points, float)
    for _ in range(2):
        first, last = points[:1], points[-1:]
        cut = np.stack([0.75 * points[:-1] + 0.25 * points[1:],
                        0.25 * points[:-1] + 0.75 * points[1:]], axis=1)  # fmt: skip
        points = np.concatenate([first, cut.reshape(-1, 2), last])
    return points
