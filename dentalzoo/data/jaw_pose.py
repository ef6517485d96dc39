"""The pose of an upper jaw in front of the cameras, and the meshes that are refused.

The frame of the cameras: x to the patient's right, y to the back, z from the palate to the biting
edges; 40 mm = 1; the centre of the jaw's bounding box at 0. In a file z may point either way, as in
scans of both jaws in one frame: a jaw whose crowns point to -z is turned about y.
"""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from dentalzoo.data.io.mesh_files import Mesh
from dentalzoo.data.jaw_axes import SAME, Axes, after, axes_text, turn, turn_back
from dentalzoo.data.jaw_shape import symmetry_turn, thinned, turned_about_z
from dentalzoo.errors import DentalzooError
from dentalzoo.ops.meshes import connected_parts, normals, open_edges

SCALE = 40.0  # mm; ours: fixed, so that views show how large a jaw is
TURNED = "turned about y by 180 degrees, as an upper jaw; a lower jaw cannot be told from it"
_MIN_VERTICES = 1000  # ours; the scans of Teeth3DS have 16,282 and more
_BOX = ((40, 100), (30, 90), (8, 60))  # ours: mm; 60 synthetic jaws have 65-86, 56-73, 20-28
_UNITS = (  # (low, high) of the longest side, in the unit of the file; the factor, if it is sure
    (0.03, 0.3, "metres: multiply by 1000", 1000),
    (1.5, 2.2, "inches, or a normalised mesh: convert it to millimetres", None),
    (2.2, 4, "inches, or a normalised mesh: convert it to millimetres", 25.4),
    (4, 13, "centimetres: multiply by 10", 10),
    (10_000, 130_000, "micrometres: divide by 1000", 1 / 1000),
)
_LEVEL = 0.7  # ours: |z| of the normals of faces that count as level
# ours: degrees of a turn by a multiple of 90. A network's error on 7 real scans was at most 0.07 mm
# larger at 30; of scans that end earlier on one side the measure is 15 off.
_MAX_OFF = 25
_CORNER = 0.55  # ours: of half the box
# where an end of the axis of symmetry, -y or y after turns by 90 degrees, is before them
_SIDES = {(0, -1): "-y", (0, 1): "y", (1, -1): "-x", (1, 1): "x", (-1, -1): "x", (-1, 1): "-x"}


@dataclass(frozen=True)
class Pose:
    """The transform from the millimetres of a file to the frame of the cameras, and back.

    Attributes:
        centre: (x, y, z) in mm of the point that becomes 0, in the axes of the file.
        turned: whether the jaw is turned by 180 degrees about y, after `axes`.
        scale: mm that become 1.
        axes: the axes of the file that become x, y and z, see `dentalzoo.data.jaw_axes`.
    """

    centre: tuple[float, float, float]
    turned: bool = False
    scale: float = SCALE
    axes: Axes = SAME

    def apply(self, points: npt.ArrayLike) -> np.ndarray:
        """Transform (..., 3) mm of the file to (..., 3) float32 in the frame of the cameras."""
        moved = (np.asarray(points, np.float64) - self.centre) / self.scale
        return (turn(moved, self.axes) * self._signs).astype(np.float32)

    def invert(self, points: npt.ArrayLike) -> np.ndarray:
        """Transform (..., 3) in the frame of the cameras to (..., 3) float32 mm of the file."""
        moved = turn_back(np.asarray(points, np.float64) * self._signs, self.axes)
        return (moved * self.scale + self.centre).astype(np.float32)

    @property
    def _signs(self) -> np.ndarray:
        return np.array((-1, 1, -1) if self.turned else (1, 1, 1))


class WrongAxes(DentalzooError):
    """A jaw that lies on its side, or whose front teeth are not towards -y."""


class WrongUnit(DentalzooError):
    """A jaw in another unit; `factor` times its coordinates are millimetres, if it is known."""

    factor: float | None = None


def find_pose(mesh: Mesh, axes: Axes | None = SAME) -> Pose:
    """Find the pose of an upper jaw.

    Args:
        mesh: in mm, with y to the back and z along the crowns, up or down, after a turn by `axes`.
        axes: of `dentalzoo.data.jaw_axes`; None for those of the file where its shape clearly has
            them, else for those of `find_axes`.

    Raises:
        WrongAxes: it has other axes; the message has the turn that `find_axes` detects.
        WrongUnit: it is in another unit.
        DentalzooError: it has too few vertices, another size, or is a mirror image.
    """
    try:
        return _find_pose(mesh, axes or SAME, clear=axes is None)
    except WrongAxes as error:
        if axes is None:
            return _find_pose(mesh, find_axes(mesh))
        try:
            found = find_axes(mesh)
        except DentalzooError as other:
            raise WrongAxes(f"{error}; {str(other).rpartition('Received: ')[2]}") from None
        if found in (axes, after((-1, 2, -3), axes or SAME)):
            off = -_off_axis(mesh, found)
            raise WrongAxes(f"{error}, turned by about {off:+d} degrees about z") from None
        advice = f"--axes={axes_text(found)} turns it, as far as its shape shows"
        raise WrongAxes(f"{error}; {advice}") from None


def find_axes(mesh: Mesh) -> Axes:
    """Detect the turn that brings an upper jaw into the zoo's axes, with its crowns towards z.

    z is the shortest side of the bounding box. The end of the crowns shows as in `find_pose`, and
    the front teeth where two neighbouring corners of the box are empty. With labels, these decide.
    A mirror image has a turn too: the shape alone does not show it.

    Args:
        mesh: in mm.

    Raises:
        DentalzooError: no turn makes it an upper jaw, or it is a mirror image by its labels.
    """
    used = mesh.vertices[np.unique(mesh.faces)]
    shortest = int(np.ptp(used, axis=0).argmin())
    axes: Axes = ((2, 3, 1), (3, 1, 2), (1, 2, 3))[shortest]
    labels = mesh.labels if mesh.labels is not None and mesh.labels.any() else None
    if _points_down(replace(mesh, vertices=turn(mesh.vertices, axes)), labels):
        axes = after((-1, 2, -3), axes)
    if labels is None:
        off = _off_axis(mesh, axes)
        quarters = round(off / 90)
        if abs(off - 90 * quarters) > _MAX_OFF:
            raise DentalzooError(
                "a jaw must be turned by multiples of 90 degrees. "
                f"Received: turned by about {90 * quarters - off:+d} degrees about z"
            )
    for _ in range(4):
        pose = Pose(_centre(used), axes=axes)
        if labels is not None:
            try:
                _refuse_labels(pose.apply(mesh.vertices), labels)
                return axes
            except WrongAxes:
                pass
        elif _front(pose.apply(used)) == "-y":
            return axes
        axes = after((2, -1, 3), axes)
    raise DentalzooError(
        "the axes of a jaw must show in its shape; give a turn such as -x,-z,-y. "
        "Received: no clear front teeth"
    )


def _off_axis(mesh: Mesh, axes: Axes) -> int:
    """Return the turn about z, in degrees, after which a jaw is symmetric to the side."""
    used = mesh.vertices[np.unique(mesh.faces)]
    return symmetry_turn(thinned(Pose(_centre(used), axes=axes, scale=1.0).apply(used)))


def _centre(points: np.ndarray) -> tuple[float, float, float]:
    low, high = (f(points.astype(np.float64), axis=0) for f in (np.min, np.max))
    x, y, z = ((low + high) / 2).tolist()
    return x, y, z


def _find_pose(mesh: Mesh, axes: Axes, clear: bool = False) -> Pose:
    if len(mesh.vertices) < _MIN_VERTICES:
        raise DentalzooError(
            f"a jaw must have at least {_MIN_VERTICES} vertices. Received: {len(mesh.vertices)}"
        )
    used = mesh.vertices[np.unique(mesh.faces)]
    _refuse_box(np.abs(turn(np.ptp(used.astype(np.float64), axis=0), axes)))
    labels = mesh.labels if mesh.labels is not None and mesh.labels.any() else None
    turned = _points_down(replace(mesh, vertices=turn(mesh.vertices, axes)), labels)
    pose = Pose(_centre(used), bool(turned), axes=axes)
    if labels is None:
        _refuse_turned(pose.apply(used), clear)
    else:
        _refuse_labels(pose.apply(mesh.vertices), labels)
    return pose


def _refuse_box(box: np.ndarray) -> None:
    shown = " x ".join(f"{side:.3g}" for side in box)
    longest = box.max()
    for low, high, unit, factor in _UNITS:
        if low <= longest < high:
            error = WrongUnit(
                f"a jaw must be in millimetres. Received: a box of {shown}, as in {unit}"
            )
            error.factor = factor
            raise error
    if box.argmin() != 2:
        raise WrongAxes(
            f"z must be along the crowns; this jaw lies on its side. Received: {shown} mm"
        )
    if not _fits(box):
        expected = " x ".join(f"{low}-{high}" for low, high in _BOX)
        message = f"an upper jaw must measure {expected} mm. Received: {shown} mm"
        raise WrongAxes(message) if _fits(box[[1, 0, 2]]) else DentalzooError(message)


def _fits(box: np.ndarray) -> bool:
    return all(low <= side <= high for side, (low, high) in zip(box, _BOX, strict=True))


def _points_down(mesh: Mesh, labels: np.ndarray | None) -> bool:
    """Return whether the crowns point to -z.

    By the labels, else by the border of a scan, its longest open one, which is farther from the
    crowns than the surface is on average (of 25 real scans 3 to 6 mm), else by the smoother end:
    the base of a plaster model, or the cut of a crown.
    """
    z = mesh.vertices[:, 2].astype(np.float64)
    if labels is not None and not labels.all():
        return z[labels > 0].mean() < z[labels == 0].mean()
    border, length = _longest_border(mesh)
    if length.sum() > 50:  # ours: mm; a hole is shorter
        areas = normals(mesh.vertices, mesh.faces)[1] + 1e-9  # of faces without an area too
        surface = np.average(z[mesh.faces].mean(axis=1), weights=areas)
        return np.average(z[border].mean(axis=1), weights=length) > surface
    top, base = (_roughness(mesh, sign) for sign in (1, -1))
    return top < base


def _longest_border(mesh: Mesh) -> tuple[np.ndarray, np.ndarray]:
    """Return the connected open edges (E, 2) that are the longest in all, and their lengths (E,).

    Others surround holes, and crowns that were set into the gum.
    """
    ends = open_edges(mesh.faces)
    length = np.linalg.norm(mesh.vertices[ends[:, 0]] - mesh.vertices[ends[:, 1]], axis=1)
    if not len(ends):
        return ends, length
    part = connected_parts(ends, len(mesh.vertices))[ends[:, 0]]
    longest = part == np.bincount(part, length).argmax()
    return ends[longest], length[longest]


def _roughness(mesh: Mesh, sign: int) -> float:
    """Return how rough the level faces of the upper end (1) or the lower end (-1) are, in 1/mm.

    It is the sum over edges of angle (radians) times length, divided by the area of the faces.
    """
    directions, areas = normals(mesh.vertices, mesh.faces)
    height = mesh.vertices[:, 2][mesh.faces].mean(axis=1) * sign
    level = np.abs(directions[:, 2]) > _LEVEL
    level &= height > (height.min() + height.max()) / 2
    if not level.any():
        return 0.0
    ends = np.sort(mesh.faces[level][:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), axis=1)
    order = np.lexsort(ends.T)
    same = np.flatnonzero((np.diff(ends[order], axis=0) == 0).all(axis=1))
    one, other = (directions[level][order[same + k] // 3] for k in (0, 1))
    angle = np.arccos(np.abs((one * other).sum(axis=1)).clip(0, 1))
    a, b = mesh.vertices[ends[order[same]].T]
    return float((angle * np.linalg.norm(a - b, axis=1)).sum() / areas[level].sum())


def _front(points: np.ndarray) -> str | None:
    """Return where the front teeth of a jaw are, "-y" to "x"; None if its shape is not clear.

    They are at the end of its axis of symmetry where the corners of its box along that axis are
    empty. The corners of the box along x and y would not do: of a scan that is a little off, or
    ends earlier on one side, one in front and one behind are the emptiest.

    Args:
        points: (N, 3) in the frame of the cameras.
    """
    off = symmetry_turn(thinned(points * SCALE))
    quarters = round(off / 90)
    if abs(off - 90 * quarters) > _MAX_OFF:
        return None
    turned = turned_about_z(points, off)
    low, high = turned.min(axis=0), turned.max(axis=0)
    x, y, _ = ((2 * turned - low - high) / np.maximum(high - low, 1e-6)).T
    before, behind = (np.mean((np.abs(x) > _CORNER) & (k * y > _CORNER)) for k in (-1, 1))
    if min(before, behind) >= 0.5 * max(before, behind):
        return None
    return _SIDES[quarters, -1 if before < behind else 1]


def _refuse_turned(points: np.ndarray, clear: bool) -> None:
    """Raise WrongAxes if the front teeth are elsewhere than towards -y, or must be `clear`."""
    front = _front(points)
    if front != "-y" and (front or clear):
        received = f"towards {front}" if front else "a shape that does not show it"
        raise WrongAxes(f"the front teeth must be towards -y. Received: {received}")


def _refuse_labels(points: np.ndarray, labels: np.ndarray) -> None:
    """Raise WrongAxes if the labelled teeth are turned about z, DentalzooError if mirrored."""
    quadrant, kind = labels // 10, labels % 10
    right, left = np.isin(quadrant, (1, 5)), np.isin(quadrant, (2, 6))
    front, back = (labels > 0) & (kind <= 3), kind >= 4
    both = [side for side in (right, left) if (side & front).any() and (side & back).any()]
    if both:  # each side by itself, because teeth may be missing on one
        x, y, _ = np.mean(
            [points[side & front].mean(0) - points[side & back].mean(0) for side in both], axis=0
        )
        if y > -abs(x) / 2:
            axis = "y" if y > abs(x) else "x" if x > 0 else "-x"
            raise WrongAxes(f"the front teeth must be towards -y. Received: towards {axis}")
    if right.any() and left.any() and points[right, 0].mean() < points[left, 0].mean():
        raise DentalzooError(
            "teeth 11 to 18 must be on the patient's right. "
            "Received: a mirror image, or swapped labels"
        )
