"""What a dentist and decay leave on a tooth: fillings, canal fillings, crowns, caries."""

import numpy as np

from dentalzoo.data.synthetic.canvas import blur
from dentalzoo.data.synthetic.shapes import ribbon, rounded


def draw_work(rng, density, frame, tooth, window, rates):
    """Draws the findings of one tooth; what a filling or a crown covers is no finding any more.

    Args:
        rng: a numpy Generator.
        density: float32 (H, W) radiograph, drawn upon.
        frame: the radiograph's Frame.
        tooth: the tooth, drawn already.
        window: rows and columns of its tile.
        rates: probabilities of restored, endodontic, crowned and carious.

    Returns:
        A list of (class, FDI number, window, bool mask of the window's shape).
    """
    found = {}
    kind = tooth.fdi % 10
    often = 1.6 if kind in (4, 5, 6, 7) else 0.5
    tile, whole = density[window], frame.cover(tooth.outline, window) >= 0.5

    def add(name, cover, grey, solid=1.0):
        mask = whole & (cover >= 0.5)
        for covered in found.values():
            covered &= ~mask
        found[name] = mask
        tile[...] += solid * blur(cover * whole, 0.55 * frame.scale) * (grey - tile)

    rotten = rng.random() < rates["carious"] * often
    canals = rng.random() < rates["endodontic"] * often
    crowned = rng.random() < rates["crowned"] * often * (5 if canals else 1)
    restored = not crowned and rng.random() < rates["restored"] * often * (3 if canals else 1)
    if rotten and not crowned:
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
        cut = tooth.place([(-0.7, -0.3), (0.7, -0.3), (0.7, 0.95), (0, margin), (-0.7, 0.95)])
        add("crown", frame.cover([tooth.crown], window) * frame.cover([cut], window), grey)
    if restored:
        grey = rng.uniform(195, 230) if kind < 4 or rng.random() < 0.35 else rng.uniform(260, 330)
        add("restoration", frame.cover(_restoration(rng, tooth), window), grey)
    return [(name, tooth.fdi, window, mask) for name, mask in found.items()]


def _caries(rng, tooth):
    """A notch: from a contact inward, or from a fissure downward."""
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
    return rounded(tooth.place(points))


def _restoration(rng, tooth):
    """One or two fillings: occlusal, from a contact, or across the whole crown."""

    def uneven(points, amount=0.03):
        return rounded(tooth.place(np.array(points) + rng.normal(0, amount, (len(points), 2))), 1)

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
