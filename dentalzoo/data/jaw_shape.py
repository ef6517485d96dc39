"""Measures of a jaw's points that show its pose: slopes of the biting edges, symmetry, palate."""

import cv2
import numpy as np

_SECTORS = 48  # ours: of the whole circle
_POINTS = 20_000  # ours: enough for cells of 2 mm
_CELL = 2.0  # mm
# ours: teeth missing on one side make an arch nearly symmetric about an axis turned by 60 degrees,
# in 24 synthetic scans at most 0.09 more than about its own
_SIXTH, _DISCOUNT = range(31, 76), 0.12


def thinned(points: np.ndarray) -> np.ndarray:
    """Return at most 20,000 of some points, chosen at random with one seed."""
    return points[np.random.default_rng(0).permutation(len(points))[:_POINTS]]


def biting_slopes(points: np.ndarray) -> tuple[float, float]:
    """Return the slopes of the plane through the biting edges along x and along y, in degrees.

    Args:
        points: (N, 3) mm around 0, with the crowns towards z and the front teeth towards -y.
    """
    angle = np.degrees(np.arctan2(points[:, 0], -points[:, 1]))  # 0 in front
    radius = np.hypot(points[:, 0], points[:, 1])
    sector = np.floor(angle / 360 * _SECTORS).astype(int)
    tips = []
    for number in range(-_SECTORS // 3, _SECTORS // 3):  # not behind the arch
        inside = np.flatnonzero(sector == number)
        if len(inside):
            inside = inside[radius[inside] > 0.55 * radius[inside].max()]  # not the palate
            tips.append(points[inside[points[inside, 2].argmax()]])
    tip = np.array(tips, np.float64).reshape(-1, 3)
    plane = np.column_stack([tip[:, :2], np.ones(len(tip))])
    weight: np.ndarray = np.ones(len(tip))
    slopes = np.zeros(3)
    for _ in range(30):  # least absolute deviations; below the plane teeth are missing
        slopes = np.linalg.lstsq(plane * weight[:, None], tip[:, 2] * weight, rcond=None)[0]
        above = tip[:, 2] - plane @ slopes
        weight = np.sqrt(np.where(above < 0, 0.03, 1) / np.maximum(np.abs(above), 0.5))
    x, y = np.degrees(np.arctan(slopes[:2])).tolist()
    return x, y


def turned_about_z(points: np.ndarray, degrees: float) -> np.ndarray:
    """Turn points (N, 3) from x towards y."""
    cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return points @ np.array([[cos, sin, 0], [-sin, cos, 0], [0, 0, 1]])


def symmetry_turn(points: np.ndarray) -> int:
    """Return the turn about z after which the outline from above is its own mirror image in x.

    Args:
        points: (N, 3) mm with the crowns along z.

    Returns:
        Degrees from -90 to 87 in steps of 3, those nearest to 0 of equally good ones.
    """
    scores: dict[int, float] = {}
    for degrees in range(-90, 90, 3):
        turned = turned_about_z(points, degrees)[:, :2]
        middle = (turned[:, 0].min() + turned[:, 0].max()) / 2
        cells = (turned - (middle, turned[:, 1].min())) / _CELL + (32, 2)
        cells = cells.clip(0, 63).astype(int)
        filled = np.zeros((64, 64), np.uint8)
        filled[cells[:, 1], cells[:, 0]] = 1
        outline = cv2.morphologyEx(filled, cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8)) > 0
        mirrored = outline[:, ::-1]
        scores[degrees] = float((outline & mirrored).sum() / (outline | mirrored).sum())
        scores[degrees] -= _DISCOUNT * (abs(degrees) in _SIXTH)
    return max(scores, key=lambda degrees: (scores[degrees], -abs(degrees)))


def has_palate(points: np.ndarray) -> bool:
    """Return whether something is between the teeth, in the middle of a jaw seen from above.

    Args:
        points: (N, 3) around 0, with the front teeth towards -y.
    """
    half = np.maximum(np.abs(points[:, :2]).max(axis=0), 1e-6)
    x, y = points[:, 0] / half[0], points[:, 1] / half[1]
    inside = (np.abs(x) < 0.2) & (y > 0) & (y < 0.5)
    cells = np.floor(np.column_stack([x[inside], y[inside]]) / 0.1).astype(int)
    return len(np.unique(cells, axis=0)) > 5  # of 20; ours
