"""Synthetic panoramic radiographs with their labels."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from dentalzoo.data.synthetic.anatomy import Plan, background, make_plan, veil
from dentalzoo.data.synthetic.canvas import Frame, Window, blur, field
from dentalzoo.data.synthetic.shapes import LOWER, UPPER, Tooth, make_implant, make_tooth, size
from dentalzoo.data.synthetic.treatments import WindowMask, draw_treatments
from dentalzoo.errors import DentalzooError

FINDINGS = (
    "restoration",
    "endodontic",
    "implant",
    "crown",
    "caries",
    "missing",
    "root",
)
"""The classes of findings; class ids count from 1 in this order.

`restoration` is a filling, metal or composite; `endodontic` a filling of the canals; `implant` only
the screw, its crown is a `crown`; `missing` the outline of the tooth that would be in the gap;
`root` the roots of a tooth without its crown.
"""


@dataclass(frozen=True)
class Finding:
    """A finding on a radiograph.

    Attributes:
        name: its class, one of FINDINGS.
        fdi: the FDI number of the tooth, or of the missing one.
        box: the tight box of its mask, yxyx in [0, 1], bottom and right exclusive.
        corner: row, column of the crop in the radiograph.
        crop: bool (rows, columns), the mask inside the box.
    """

    name: str
    fdi: int
    box: tuple[float, float, float, float]
    corner: tuple[int, int]
    crop: np.ndarray

    def mask(self, height: int, width: int) -> np.ndarray:
        """Return the mask on the whole radiograph: bool (height, width)."""
        whole = np.zeros((height, width), bool)
        row, column = self.corner
        whole[row : row + self.crop.shape[0], column : column + self.crop.shape[1]] = self.crop
        return whole


@dataclass(frozen=True)
class Panoramic:
    """A synthetic panoramic radiograph with its labels.

    Attributes:
        image: uint8 (H, W), brighter where more radiopaque.
        teeth: uint8 (H, W), the FDI number of the tooth at each pixel, 0 for none. Fillings, crowns
            and caries are part of a tooth, implants are not.
        findings: in no particular order.
        positions: the 28 to 32 FDI numbers of this dentition: each is a tooth, an implant or a gap.
            A wisdom tooth that never developed has no position and is not `missing`.
    """

    image: np.ndarray
    teeth: np.ndarray
    findings: tuple[Finding, ...]
    positions: tuple[int, ...]

    @property
    def tooth_mask(self) -> np.ndarray:
        """bool (H, W): any tooth."""
        return self.teeth > 0

    @property
    def boxes(self) -> np.ndarray:
        """float32 (N, 4): the findings' boxes, yxyx in [0, 1]."""
        return np.array([f.box for f in self.findings], np.float32).reshape(-1, 4)

    @property
    def classes(self) -> np.ndarray:
        """int32 (N,): the findings' class ids, 1 + index in FINDINGS."""
        return np.array([1 + FINDINGS.index(f.name) for f in self.findings], np.int32)

    def finding_mask(self, name: str) -> np.ndarray:
        """bool (H, W): the union of all findings of one class."""
        if name not in FINDINGS:
            raise DentalzooError(f"name must be one of {', '.join(FINDINGS)}. Received: {name!r}")
        whole = np.zeros(self.teeth.shape, bool)
        height, width = self.teeth.shape
        for finding in self.findings:
            if finding.name == name:
                whole |= finding.mask(height, width)
        return whole


def panoramic(
    seed: int,
    height: int = 512,
    width: int = 1024,
    *,
    wisdom: float = 0.6,
    missing: float = 0.05,
    restored: float = 0.14,
    endodontic: float = 0.06,
    crowned: float = 0.05,
    carious: float = 0.05,
    implanted: float = 0.25,
    remnants: float = 0.01,
    edentulous: float = 0.01,
) -> Panoramic:
    """Generate a panoramic radiograph.

    Its native shape is 2.1 to 2.5 times as wide as high, as that of real ones, and is stretched to
    `height` and `width`, like a real radiograph that is resized for a network.

    Args:
        seed: a non-negative integer.
        height, width: pixels of the radiograph, at least 32 each.
        wisdom: probability that a wisdom tooth exists.
        missing, restored, endodontic, crowned, carious, remnants: mean probability per tooth; all
            but `missing` are multiplied by a factor of the patient between 0 and 2.5.
        implanted: probability that a gap before the wisdom teeth carries an implant.
        edentulous: probability of a radiograph without a tooth.

    Raises:
        DentalzooError: the seed or a size is out of range.
    """
    if seed < 0 or int(seed) != seed:
        raise DentalzooError(f"seed must be a non-negative integer. Received: {seed!r}")
    if min(height, width) < 32:
        raise DentalzooError(f"height and width must be at least 32. Received: {height} x {width}")
    body, mouth, device = (np.random.default_rng((int(seed), stream)) for stream in range(3))
    toothless = mouth.random() < edentulous
    plan = make_plan(body, toothless)
    frame = _make_frame(device, height, width)
    density = background(body, frame, plan)
    teeth = np.zeros((height, width), np.uint8)
    burden = min(2.5, mouth.gamma(1.6, 0.62))
    look = Look(mouth)
    masks: list[WindowMask] = []
    dentition = _make_dentition(mouth, plan, wisdom)
    rates = {"restored": restored, "endodontic": endodontic, "crowned": crowned,
             "carious": carious}  # fmt: skip
    rates = {name: rate * burden for name, rate in rates.items()}
    for tooth in sorted(dentition, key=lambda _: mouth.random()):
        wise = tooth.fdi % 10 == 8
        loss = missing * (0.4 + burden) * _LOSS[tooth.fdi % 10 - 1]
        if toothless or mouth.random() < loss:
            implant = not wise and mouth.random() < implanted
            if implant:
                masks += _draw_implant(mouth, density, frame, tooth)
            else:
                masks += _mark(frame, "missing", tooth.fdi, tooth.outline)
        elif mouth.random() < remnants * burden:
            _draw_tooth(density, teeth, frame, tooth, look, root_only=True)
            masks += _mark(frame, "root", tooth.fdi, tooth.roots)
        else:
            window = _draw_tooth(density, teeth, frame, tooth, look)
            if window is not None:
                masks += draw_treatments(mouth, density, frame, tooth, window, rates)
    density += veil(body, frame, plan)
    _smear(device, density, frame)
    image = _expose(device, density, frame)
    findings = [_finding(frame, *mask) for mask in masks]
    return Panoramic(
        image=image,
        teeth=teeth,
        findings=tuple(f for f in findings if f is not None),
        positions=tuple(tooth.fdi for tooth in dentition),
    )


class Look:
    """Grey values of a patient's teeth, added to the background."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.dentine = rng.uniform(100, 116)
        self.enamel = rng.uniform(22, 42)
        self.root = rng.uniform(56, 72)
        self.pulp = rng.uniform(7, 16)
        self.fading = rng.uniform(0.15, 0.55)
        self.ligament = rng.uniform(1, 6)


# Molars are lost sooner than front teeth: factor on the probability of teeth 1 to 8, mean 1.
_LOSS = (0.5, 0.5, 0.3, 1.0, 1.2, 2.3, 1.5, 0.7)

# Incisors are thinner than molars: factor on the grey values of teeth 1 to 8.
_THICKNESS = (0.83, 0.82, 0.92, 0.97, 1.03, 1.12, 1.12, 1.08)


def _make_frame(rng: np.random.Generator, height: int, width: int) -> Frame:
    """Generate the frame of an exposure: position, zoom and tilt."""
    native = 1024 * rng.uniform(0.40, 0.47)
    turn, zoom = np.radians(rng.normal(0, 0.8)), rng.uniform(0.94, 1.05)
    matrix = zoom * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    centre = (512 + rng.normal(0, 8), native * rng.uniform(0.43, 0.52))
    matrix = np.concatenate([matrix, np.reshape(centre, (2, 1))], axis=1)
    return Frame(height, width, np.diag([width / 1024, height / native]) @ matrix)


def _make_dentition(rng: np.random.Generator, plan: Plan, wisdom: float) -> list[Tooth]:
    """Generate all teeth of a full dentition, upper jaw first, from left to right in the image."""
    dentition = []
    shape = rng.normal(1.01, 0.025)
    for upper, order in ((True, UPPER), (False, LOWER)):
        long = rng.uniform(0.92, 1.10)
        row = {}
        for side in (-1, 1):
            x = rng.uniform(0, 1)
            for kind in range(1, 9):
                if kind == 8 and rng.random() > wisdom:
                    continue
                quadrant = (1 if side < 0 else 2) if upper else (4 if side < 0 else 3)
                fdi = 10 * quadrant + kind
                pitch = size(fdi)[0] * shape * (0.985 if upper else 1.01)
                middle = side * (x + pitch / 2)
                x += pitch + rng.normal(0.3, 0.8)
                slope = np.arctan(2 * plan.sag * abs(middle) / 330**2)
                lean = -slope if upper else slope
                lean += np.radians(_LEAN[upper][kind - 1] + rng.normal(0, 2.2))
                y = float(plan.edge(middle, upper)) + rng.normal(0, 1.8)
                if kind == 8:
                    lean += np.radians(rng.normal(0, 9))
                    if rng.random() < 0.3:  # impacted
                        lean += np.radians(rng.uniform(-25, 25) if upper else rng.uniform(15, 65))
                        y += rng.uniform(15, 40) * (-1 if upper else 0.8)
                if kind == 3:
                    y += 3 if upper else -3
                row[fdi] = make_tooth(rng, fdi, (middle, y), lean, (1.06 * shape, long))
        dentition += [row[fdi] for fdi in order if fdi in row]
    return dentition


# Lean of the apex toward distal, in degrees, of teeth 1 to 8; read off real radiographs.
_LEAN = {True: (1, 4, 8, 6, 5, 4, 6, 8), False: (0, 1, 3, 5, 8, 12, 14, 16)}


def _draw_tooth(
    density: np.ndarray,
    teeth: np.ndarray,
    frame: Frame,
    tooth: Tooth,
    look: Look,
    root_only: bool = False,
) -> Window | None:
    """Draw a tooth on the radiograph and on its labels; return its window, None if outside."""
    outline = tooth.roots if root_only else tooth.outline
    window = frame.window(outline, 4 * frame.scale)
    if window is None:
        return None
    whole = frame.cover(outline, window)
    label = teeth[window]
    label[whole >= 0.5] = tooth.fdi
    soft = 0.8 * frame.scale
    rim = frame.cover(tooth.roots, window, thickness=4.5)
    outer = frame.cover(tooth.roots, window, thickness=8.5)
    crown = frame.cover([tooth.crown], window) * whole
    core = blur(frame.cover([tooth.core], window), 2.2 * frame.scale) * crown
    pulp = blur(frame.cover(tooth.pulp, window), 1.3 * frame.scale) * whole
    neck = blur(crown, 4 * frame.scale)
    x, y = frame.units(window)
    down = (x - tooth.origin[0]) * tooth.along[0] + (y - tooth.origin[1]) * tooth.along[1]
    deep = np.clip((down - tooth.crown_height) / (tooth.length - tooth.crown_height), 0, 1)
    tile = density[window]
    ligament = rim * (1 - whole)
    lamina = np.clip(outer - rim, 0, 1) * (1 - whole)
    tile += look.ligament * blur(0.8 * lamina - ligament, soft) * (1 - neck)
    enamel = look.enamel * (1.0 if tooth.fdi % 10 > 5 else 0.6)
    grey = look.root * (1 - look.fading * deep) + neck * (look.dentine - look.root)
    grey += (crown - core) * enamel - pulp * look.pulp
    depth = blur(whole, 4 * frame.scale)
    grey *= whole * (0.72 + 0.32 * depth) * _THICKNESS[tooth.fdi % 10 - 1]
    tile *= 1 - blur(whole, soft) * (0.34 * (1 - 0.5 * look.fading * deep) + 0.32 * neck)
    tile += blur(grey, soft)
    return window


def _draw_implant(
    rng: np.random.Generator, density: np.ndarray, frame: Frame, tooth: Tooth
) -> list[WindowMask]:
    """Draw an implant in place of a tooth, mostly with a crown."""
    screw = make_implant(rng, tooth)
    window = frame.window([screw, tooth.crown], 4 * frame.scale)
    if window is None:
        return []
    body = frame.cover([screw], window)
    _paint(density[window], body, rng.uniform(215, 255), 0.6 * frame.scale)
    screw_mask = body >= 0.5
    masks = [("implant", tooth.fdi, window, screw_mask)]
    if rng.random() < 0.75:
        cap = frame.cover([tooth.crown], window)
        _paint(density[window], cap, rng.uniform(215, 290), 0.6 * frame.scale)
        crown_mask = cap >= 0.5
        screw_mask &= ~crown_mask
        masks.append(("crown", tooth.fdi, window, crown_mask))
    return masks


def _mark(frame: Frame, name: str, fdi: int, outlines: Sequence[np.ndarray]) -> list[WindowMask]:
    """Return the mask of a finding that needs no drawing of its own."""
    window = frame.window(outlines)
    if window is None:
        return []
    return [(name, fdi, window, frame.cover(outlines, window) >= 0.5)]


def _paint(tile: np.ndarray, cover: np.ndarray, grey: float, sigma: float) -> None:
    """Paint an opaque material of one grey value over a tile, in place."""
    cover = blur(cover, sigma)
    tile += cover * (grey - tile)


def _finding(frame: Frame, name: str, fdi: int, window: Window, mask: np.ndarray) -> Finding | None:
    """Crop a mask to its box; None for an empty mask."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        return None
    top, bottom, left, right = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
    y, x = window[0].start, window[1].start
    box = (float((y + top) / frame.height), float((x + left) / frame.width),
           float((y + bottom) / frame.height), float((x + right) / frame.width))  # fmt: skip
    crop = mask[top:bottom, left:right].copy()
    return Finding(name, fdi, box, (int(y + top), int(x + left)), crop)


def _smear(rng: np.random.Generator, density: np.ndarray, frame: Frame) -> None:
    """Blur the front teeth, which often lie outside of the sharp layer of the machine."""
    columns = frame.pixels([(-130, 0), (130, 0)])[:, 0]
    left, right = np.clip(columns.round().astype(int), 0, frame.width)
    tile = density[:, left:right]
    away = np.linspace(-2, 2, right - left, dtype=np.float32)
    amount = np.float32(rng.uniform(0.2, 1.0)) * np.exp(-(away**2))
    across = max(0.3, rng.uniform(1.5, 4.0) * frame.scale)
    tile += amount * (cv2.GaussianBlur(tile, (0, 0), across, sigmaY=0.4 * across) - tile)


def _expose(rng: np.random.Generator, density: np.ndarray, frame: Frame) -> np.ndarray:
    """Convert density to a uint8 radiograph: blur, exposure, contrast, vignette, noise, marker."""
    image: Any = blur(density, rng.uniform(0.35, 0.85) * frame.scale)
    black, white = rng.uniform(0, 24), rng.uniform(205, 240)
    image -= np.float32(black)
    image *= np.float32(1 / (white - black))
    y = np.linspace(-1, 1, frame.height, dtype=np.float32)[:, None]
    x = np.linspace(-1, 1, frame.width, dtype=np.float32)
    image *= 1 - np.float32(rng.uniform(0.0, 0.25)) * (x**4 + 0.5 * y**4)
    np.clip(image, 0, 1, out=image)
    image = cv2.pow(image, rng.uniform(0.85, 1.25)) * 255
    noise = rng.standard_normal(image.shape, dtype=np.float32)
    noise = 0.4 * noise + 2.0 * blur(noise, 1.0 * frame.scale)
    image += np.float32(rng.uniform(0.6, 1.8)) * noise
    image += field(rng, image.shape, (1.0, frame.width)) * np.float32(rng.uniform(0, 1.0))
    if rng.random() < 0.7:
        _stamp(rng, image)
    return np.clip(image + 0.5, 0, 255).astype(np.uint8)


def _stamp(rng: np.random.Generator, image: np.ndarray) -> None:
    """Draw the outlined R that marks the patient's right, near the lower left corner."""
    height, width = image.shape
    tall = 0.05 * height
    left, top = rng.uniform(0.005, 0.07) * width, rng.uniform(0.74, 0.9) * height
    frame = Frame(height, width, np.array([[0.75 * tall, 0, left], [0, tall, top]]))
    letter = [np.array([(0, 1), (0, 0), (0.7, 0), (0.9, 0.15), (0.9, 0.4), (0.7, 0.55), (0, 0.55)]),
              np.array([(0.45, 0.55), (1, 1)])]  # fmt: skip
    window = frame.window(letter, 0.3 * tall)
    if window is not None:
        outer = frame.cover(letter, window, thickness=0.22, closed=False)
        inner = frame.cover(letter, window, thickness=0.13, closed=False)
        image[window] += outer * (225 - image[window])
        image[window] += inner * (15 - image[window])
