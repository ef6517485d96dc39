"""What makes a mesh doubtful that otherwise passes as an upper jaw: tilt, two jaws, no palate, a
damaged surface, and what it is beside another one.

None of it is certain, so it is said and not refused.
"""

import itertools
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dentalzoo.data import jaw_surface
from dentalzoo.data.io.mesh_files import Mesh
from dentalzoo.data.jaw_axes import SAME
from dentalzoo.data.jaw_pose import Pose
from dentalzoo.data.jaw_shape import biting_slopes, has_palate, symmetry_turn, thinned
from dentalzoo.ops.meshes import connected_parts

# ours: degrees. The biting edges of 100 synthetic jaws and 9 rows of crowns, one of them real,
# sloped by -9.9 to -0.4 to the back and -1.3 to 1.7 to the side, and their symmetry axis was -3 to
# 3 off; a tilt adds to that.
_PITCH, _MAX_PITCH = -5.2, 7.5
_MAX_ROLL, _MAX_YAW = 5.0, 7.0
# ours; in brackets the measures of 30 synthetic jaws, 30 rows of crowns and a real row
_INSIDE_OUT = -0.1  # `outwards` (0.24 to 0.84)
_MAX_CROSSED = 0.02  # part of the edges (0); the grey values of neighbouring faces cancel
_MAX_OPEN = 0.15  # part of the edges (0 to 0.007); a tenth of all faces lost makes 0.18
_MAX_BASE = 0.3  # of the box seen from above (0 to 0.05); a plinth has 0.73
_MAX_DEBRIS = 2.0  # mm (0)
_MAX_ROUNDING = 0.1  # mm


def doubts_of(mesh: Mesh, pose: Pose) -> list[str]:
    """Describe what is doubtful about an upper jaw.

    Args:
        mesh: in the mm of its file.
        pose: of `dentalzoo.data.jaw_pose.find_pose`.

    Returns:
        A line each; none for a jaw that looks as it should.
    """
    used = np.unique(mesh.faces)
    points = pose.apply(mesh.vertices[used]) * pose.scale
    parts, sizes = _parts(mesh, used)
    two = _two_jaws(points, parts, sizes)
    doubts = _surface(mesh, points, parts, sizes)
    doubts += [two] if two else []
    if not two:
        doubts += _tilt(thinned(points))
        if (sizes > 0.02 * sizes.sum()).sum() < 6 and not has_palate(points):  # else crowns alone
            doubts.append("no palate between the teeth: a lower jaw looks like this")
    return doubts


@dataclass(frozen=True)
class Neighbour:
    """A jaw beside others: its name, folder and pose, and its measures as `check_meshes` has them.

    Attributes:
        shape: number of vertices; then in mm their box (3), mean (3) and deviation (3).
    """

    name: str
    folder: Path
    pose: Pose
    shape: tuple[float, ...]


def doubts_of_pairs(jaws: Sequence[Neighbour]) -> list[tuple[str, str]]:
    """Describe jaws that are lower ones beside others: mirror images, and jaws face to face.

    Returns:
        (name, doubt) for each.
    """
    doubts = []
    seen: dict[tuple[float, ...], Neighbour] = {}
    by_folder: dict[Path, list[Neighbour]] = defaultdict(list)
    for jaw in jaws:
        count, *measures = jaw.shape
        mirrored = [-value if place == 3 else value for place, value in enumerate(measures)]
        other = seen.get((count, *(round(value, 1) for value in mirrored)))
        if other and abs(measures[3]) > 0.1:
            doubts.append((jaw.name, f"the mirror image of {other.name}: a lower jaw?"))
        seen.setdefault((count, *(round(value, 1) for value in measures)), jaw)
        if jaw.pose.axes == SAME:
            by_folder[jaw.folder].append(jaw)
    for near in by_folder.values():
        for up, down in itertools.permutations(near if len(near) < 5 else [], 2):
            x, y, z = np.subtract(down.pose.centre, up.pose.centre)
            facing = down.pose.turned and not up.pose.turned and 3 < z < 60  # ours: mm
            if facing and max(abs(x), abs(y)) < 15:
                doubts.append((down.name, f"faces {up.name}: one of them is a lower jaw"))
    return doubts


def _parts(mesh: Mesh, used: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the connected part of each used vertex, and the number of vertices of each part."""
    faces = np.searchsorted(used, mesh.faces)
    ends = np.concatenate([faces[:, :2], faces[:, 1:]])
    parts = connected_parts(ends, len(used))
    return parts, np.bincount(parts)


def _surface(mesh: Mesh, points: np.ndarray, parts: np.ndarray, sizes: np.ndarray) -> list[str]:
    """Describe faces inside out, holes, a base, debris, and coordinates that are rounded."""
    faces = np.searchsorted(np.unique(mesh.faces), mesh.faces)
    edges, doubts = jaw_surface.edges(faces), []
    if edges.crossed > _MAX_CROSSED:
        doubts.append(
            f"{edges.crossed:.0%} of the edges are between faces of opposite winding, which are "
            "rendered too dark: make the normals consistent"
        )
    elif jaw_surface.outwards(points, faces) < _INSIDE_OUT:
        doubts.append(
            "the faces are inside out: is it a mirror image, with left and right exchanged?"
        )
    if edges.open > _MAX_OPEN:
        doubts.append(
            f"{edges.open:.0%} of the edges belong to one face only: full of holes, or faces do "
            "not meet"
        )
    base = jaw_surface.base(points, faces)
    if base > _MAX_BASE:
        doubts.append(
            f"a flat base fills {base:.0%} of the box below the jaw: views of a plaster model "
            "with its base mislead the network; cut it off"
        )
    beyond = jaw_surface.debris(points, parts, sizes)
    if beyond > _MAX_DEBRIS:
        doubts.append(
            f"small separate parts lie {beyond:.0f} mm beyond the jaw and shift its middle: "
            "remove them"
        )
    rounding = float(np.spacing(np.abs(mesh.vertices).max()))
    if rounding > _MAX_ROUNDING:
        doubts.append(
            f"coordinates up to {np.abs(mesh.vertices).max():.0f} mm are rounded to {rounding:.2g} "
            "mm: move it to 0"
        )
    return doubts


def _two_jaws(points: np.ndarray, parts: np.ndarray, sizes: np.ndarray) -> str | None:
    """Describe two parts, or groups one above the other, that each extend as a jaw does."""
    order = np.argsort(parts, kind="stable")
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    height = np.add.reduceat(points[order, 2], starts) / sizes
    large = np.flatnonzero(sizes > 0.01 * sizes.sum())
    large = large[np.argsort(height[large])]
    if len(large) < 2:
        return None
    box = np.ptp(points[:, :2], axis=0)
    if len(large) < 6:  # else a row of crowns
        wide = [(np.ptp(points[parts == part, :2], axis=0) >= 0.6 * box).all() for part in large]
        if sum(wide) > 1 and np.ptp(height[large[wide]]) < 8:  # mm
            return "two parts as wide as a jaw in one place: two scans in one file?"
    split = large[: np.diff(height[large]).argmax() + 1]
    low = np.isin(parts, split)
    high = np.isin(parts, large) & ~low
    for group in (low, high):
        if group.mean() < 0.25 or (np.ptp(points[group, :2], axis=0) < 0.6 * box).any():
            return None
    apart = np.median(points[high, 2]) - np.median(points[low, 2])
    if apart < 8:  # mm
        return None
    return f"two parts as wide as a jaw, {apart:.0f} mm above each other: both jaws in one file?"


def _tilt(points: np.ndarray) -> list[str]:
    x, y = biting_slopes(points)
    turns = []
    if abs(y - _PITCH) > _MAX_PITCH:
        turns.append(f"{y - _PITCH:+.0f} degrees about x")
    if abs(x) > _MAX_ROLL:
        turns.append(f"{-x:+.0f} degrees about y")
    yaw = symmetry_turn(points)
    if abs(yaw) > _MAX_YAW:
        turns.append(f"{-yaw:+.0f} degrees about z")
    return [f"tilted by about {', '.join(turns)}: views of it mislead the network"] if turns else []
