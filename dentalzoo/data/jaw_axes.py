"""Turns of meshes into the zoo's axes: x to the patient's right, y to the back, z along the crowns.

A turn is written as the axes of the file that become x, y and z: "-x,-z,-y" turns (x, y, z) into
(-x, -z, -y). There are 24 turns; the other 24 ways to exchange axes and signs are mirror images.
"""

import itertools
import re

import numpy as np

from dentalzoo.errors import DentalzooError

Axes = tuple[int, int, int]
"""The axes of the file, 1 to 3 for x to z and negative for the other way, that become x, y, z."""

SAME: Axes = (1, 2, 3)
AUTO = "auto"
_FORM = "a turn such as -x,-z,-y, or auto"


def determinant(axes: Axes) -> int:
    """Return 1 for a turn and -1 for a mirror image."""
    matrix = np.zeros((3, 3))
    matrix[range(3), np.abs(axes) - 1] = np.sign(axes)
    return round(np.linalg.det(matrix))


TURNS: tuple[Axes, ...] = tuple(
    axes
    for order in itertools.permutations((1, 2, 3))
    for signs in itertools.product((1, -1), repeat=3)
    if determinant(axes := (order[0] * signs[0], order[1] * signs[1], order[2] * signs[2])) > 0
)


def parse_axes(text: str | None) -> Axes | None:
    """Parse a turn: "-x,-z,-y", "x=-x,y=-z,z=-y" in any order, with or without blanks.

    Returns:
        The turn, (1, 2, 3) for None; None for "auto".

    Raises:
        DentalzooError: something else, an axis twice, or a mirror image.
    """
    if text is None:
        return SAME
    if text.strip().lower() == AUTO:
        return None
    parts = re.split(r"[,;]", re.sub(r"[\s()+]", "", text.lower()))
    named = [part.rpartition("=") for part in parts]
    if sorted(name for name, _, _ in named) == ["x", "y", "z"]:
        parts = [value for _, _, value in sorted(named)]
    if len(parts) != 3 or not all(re.fullmatch("-?[xyz]", part) for part in parts):
        raise DentalzooError(f"axes must be {_FORM}. Received: {text!r}")
    x, y, z = (("xyz".index(part[-1]) + 1) * (-1 if part[0] == "-" else 1) for part in parts)
    axes = (x, y, z)
    if sorted(map(abs, axes)) != [1, 2, 3]:
        raise DentalzooError(f"axes must have each of x, y and z once. Received: {text!r}")
    if determinant(axes) < 0:
        raise DentalzooError(
            "axes must be a turn; this makes the mirror image of the jaw, with left and right "
            f"exchanged (determinant -1). Received: {text!r}"
        )
    return axes


def axes_text(axes: Axes) -> str:
    """Return a turn as `parse_axes` reads it."""
    return ",".join("-" * (axis < 0) + "xyz"[abs(axis) - 1] for axis in axes)


def turn(points: np.ndarray, axes: Axes) -> np.ndarray:
    """Turn points (..., 3) of a file into the zoo's axes."""
    if axes == SAME:
        return points
    order = [abs(axis) - 1 for axis in axes]
    return points[..., order] * np.sign(axes).astype(points.dtype)


def turn_back(points: np.ndarray, axes: Axes) -> np.ndarray:
    """Turn points (..., 3) of the zoo's axes into those of the file: the inverse of `turn`."""
    return turn(points, inverse(axes))


def inverse(axes: Axes) -> Axes:
    """Return the turn that undoes another one."""
    back = [0, 0, 0]
    for place, axis in enumerate(axes, start=1):
        back[abs(axis) - 1] = place if axis > 0 else -place
    return back[0], back[1], back[2]


def after(second: Axes, first: Axes) -> Axes:
    """Return the turn that `first` and then `second` make together."""
    x, y, z = (first[abs(axis) - 1] * (1 if axis > 0 else -1) for axis in second)
    return x, y, z
