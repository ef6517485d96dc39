"""Measures of a jaw's surface that show how a file was made: winding, holes, base and debris."""

from dataclasses import dataclass

import numpy as np

_DEBRIS = 0.01  # ours: of the vertices; smaller parts are debris, a crown of a row has 0.05


@dataclass(frozen=True)
class Edges:
    """How the faces of a mesh meet.

    Attributes:
        open: the part of the edges that belong to one face alone, the border of a scan and holes.
        crossed: the part of the edges that two faces run through in the same direction: one of
            them is inside out.
    """

    open: float
    crossed: float


def edges(faces: np.ndarray) -> Edges:
    """Measure how the faces (F, 3) of a mesh meet."""
    start, end = faces.ravel().astype(np.int64), np.roll(faces, -1, axis=1).ravel().astype(np.int64)
    count = int(faces.max()) + 1
    undirected = np.minimum(start, end) * count + np.maximum(start, end)
    order = np.argsort(undirected, kind="stable")
    first = np.flatnonzero(np.diff(undirected[order], prepend=-1))
    uses = np.diff(first, append=len(order))
    pairs = first[uses == 2]
    same = start[order[pairs]] == start[order[pairs + 1]]
    return Edges(float((uses == 1).mean()), float(same.sum() / max(len(pairs), 1)))


def outwards(points: np.ndarray, faces: np.ndarray) -> float:
    """Return how far faces look away from the gum side: 1 all of them, -1 all inside out.

    It is the signed volume between the faces and the middle of the lowest end, by the unsigned one.

    Args:
        points: (V, 3) with the crowns towards z.
        faces: (F, 3).
    """
    low, high = points.min(axis=0), points.max(axis=0)
    middle = (low + high) / 2
    middle[2] = low[2]
    a, b, c = (points[faces[:, k]].astype(np.float64) - middle for k in range(3))
    volumes = np.einsum("ij,ij->i", a, np.cross(b, c))
    return float(volumes.sum() / max(np.abs(volumes).sum(), 1e-12))


def base(points: np.ndarray, faces: np.ndarray) -> float:
    """Return the area of the level faces at the lowest end, by that of the box seen from above.

    Args:
        points: (V, 3) mm with the crowns towards z.
        faces: (F, 3).
    """
    corners = points[faces].astype(np.float64)
    level = np.abs(np.ptp(corners[..., 2], axis=1)) < 0.2  # ours: mm
    level &= corners[..., 2].max(axis=1) < points[:, 2].min() + 0.5
    a, b, c = corners[level].transpose(1, 0, 2)
    area = np.abs(np.cross(b - a, c - a)[:, 2]).sum() / 2
    return float(area / max(np.ptp(points[:, :2], axis=0).prod(), 1e-6))


def debris(points: np.ndarray, parts: np.ndarray, sizes: np.ndarray) -> float:
    """Return by how many mm small separate parts enlarge the box of a jaw, on its worst side.

    Args:
        points: (V, 3) mm.
        parts: (V,) the connected part of each point.
        sizes: the number of points of each part.
    """
    large = (sizes > _DEBRIS * sizes.sum())[parts]
    if large.all() or not large.any():
        return 0.0
    kept = points[large]
    return float(max((kept.min(0) - points.min(0)).max(), (points.max(0) - kept.max(0)).max(), 0.0))
