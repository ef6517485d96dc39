"""Treatments of a tooth, and its caries: fillings, root canal fillings, crowns."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from dentalzoo.data.synthetic.canvas import Frame, Window, blur
from dentalzoo.data.synthetic.shapes import Tooth, ribbon, rounded

WindowMask = tuple[str, int, Window, np.ndarray]
"""Class of a finding, FDI number, window, and its mask in the window, bool."""


def draw_treatments(
    rng: np.random.Generator,
    density: np.ndarray,
    frame: Frame,
    tooth: Tooth,
    window: Window,
    rates: Mapping[str, float],
) -> list[WindowMask]:
    """Draw the findings of a tooth; what a later one covers is removed from the earlier ones.

    Args:
        rng: random generator.
        density: float32 (H, W) radiograph with the tooth, changed in place.
        frame: of the radiograph.
        tooth: the tooth.
        window: of the tooth.
        rates: probabilities "restored", "endodontic", "crowned" and "carious".
    """
    masks: dict[str, np.ndarray] = {}
    kind = tooth.fdi % 10
    often = 1.6 if kind in (4, 5, 6, 7) else 0.5
    tile, whole = density[window], frame.cover(tooth.outline, window) >= 0.5

    def add(name: str, cover: np.ndarray, grey: float, solid: float = 1.0) -> None:
        mask = whole & (cover >= 0.5)
        for covered in masks.values():
            covered &= ~mask
        masks[name] = mask
        tile[...] += solid * blur(cover * whole, 0.55 * frame.scale) * (grey - tile)

    carious = rng.random() < rates["carious"] * often
    canals = rng.random() < rates["endodontic"] * often
    crowned = rng.random() < rates["crowned"] * often * (5 if canals else 1)
    restored = not crowned and rng.random() < rates["restored"] * often * (3 if canals else 1)
    if carious and not crowned:
        cover = frame.cover([_caries(rng, tooth)], window)
        add("caries", cover, rng.uniform(35, 65), solid=rng.uniform(0.6, 0.9))
    if canals:
        half = tooth.width * rng.uniform(0.022, 0.04) * (1.5 if kind < 6 else 1)
        lines = []
        for canal in tooth.canals:
            reach = max(3, round(len(canal) * rng.uniform(0.85, 1.0)))
            lines.append(ribbon(canal[:reach], np.linspace(1.2 * half, 0.7 * half, reach)))
        add("endodontic", frame.cover(lines, window), rng.uniform(205, 250))
    if crowned:
        grey = rng.uniform(205, 235) if rng.random() < 0.3 else rng.uniform(260, 330)
        margin = rng.uniform(0.8, 1.0)
        cut = tooth.to_radiograph(
            [(-0.7, -0.3), (0.7, -0.3), (0.7, 0.95), (0, margin), (-0.7, 0.95)]
        )
        add("crown", frame.cover([tooth.crown], window) * frame.cover([cut], window), grey)
    if restored:
        grey = rng.uniform(195, 230) if kind < 4 or rng.random() < 0.35 else rng.uniform(260, 330)
        add("restoration", frame.cover(_restoration(rng, tooth), window), grey)
    return [(name, tooth.fdi, window, mask) for name, mask in masks.items()]


def _caries(rng: np.random.Generator, tooth: Tooth) -> np.ndarray:
    """Generate the outline of a lesion, from a contact inward or from a fissure downward."""
    points: npt.ArrayLike
    if rng.random() < 0.7:
        side = rng.choice((-1, 1))
        at, deep, tall = rng.uniform(0.35, 0.8), rng.uniform(0.12, 0.28), rng.uniform(0.15, 0.3)
        points = [
            (0.56, at - tall),
            (0.56, at + tall),
            (0.5 - 0.6 * deep, at + 0.7 * tall),
            (0.5 - deep, at + rng.uniform(-0.1, 0.1)),
            (0.5 - 0.6 * deep, at - 0.7 * tall),
        ]
        points = np.array(points) * (side, 1)
    else:
        at, wide, deep = rng.uniform(-0.2, 0.2), rng.uniform(0.08, 0.2), rng.uniform(0.3, 0.55)
        points = [(at - wide, -0.05), (at + wide, -0.05), (at + 0.9 * wide, 0.7 * deep),
                  (at, deep), (at - 0.9 * wide, 0.7 * deep)]  # fmt: skip
    return rounded(tooth.to_radiograph(points))


def _restoration(rng: np.random.Generator, tooth: Tooth) -> list[np.ndarray]:
    """Generate the outlines of a filling: occlusal, from a contact, or across the whole crown."""

    def uneven(points: npt.ArrayLike, amount: float = 0.03) -> np.ndarray:
        points = np.asarray(points, float)
        return rounded(tooth.to_radiograph(points + rng.normal(0, amount, (len(points), 2))), 1)

    shape = rng.random()
    deep = rng.uniform(0.35, 0.6)
    if tooth.fdi % 10 < 4:
        side = rng.choice((-1, 1))
        low, high = sorted(rng.uniform(0.05, 0.8, 2))
        high = max(high, low + 0.25)
        points = [(0.55, low), (0.55, high), (0.3, high), (rng.uniform(0.1, 0.3), low)]
        return [uneven(np.array(points) * (side, 1))]
    if shape < 0.4:
        at, wide = rng.uniform(-0.12, 0.12), rng.uniform(0.15, 0.34)
        return [
            uneven(
                [
                    (at - wide, -0.1),
                    (at, -0.12),
                    (at + wide, -0.1),
                    (at + 0.9 * wide, deep),
                    (at + 0.2 * wide, 0.85 * deep),
                    (at - 0.8 * wide, deep),
                ]
            )
        ]
    side = rng.choice((-1, 1))
    low = rng.uniform(0.65, 0.95)
    step = [(0.6, -0.1), (0.6, low), (0.34, low), (0.28, deep), (-0.2, deep), (-0.24, -0.1)]
    if shape > 0.8:
        step[4:] = [(-0.28, deep), (-0.34, low), (-0.6, low), (-0.6, -0.1)]
    return [uneven(np.array(step) * (side, 1), 0.02)]
