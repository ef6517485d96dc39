"""One mesh for all crowns of a shape model: evenly spaced vertices, weighted sums of its points."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from dentalzoo.errors import DentalzooError
from dentalzoo.ops.meshes import edges, normals

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

_SMOOTHING = (0.5, -0.526) * 2  # Taubin 1995, pass band 0.1; ours: twice, moves real crowns 0.1 mm
_FLIPS = 50  # ours: rounds; real crowns need 10, but on other meshes flips may cycle


def crown_faces(points: np.ndarray) -> np.ndarray:
    """Triangulate the closed surface through points that are star-shaped about their mean.

    The triangulation starts from the convex hull of the points' directions from their mean, then
    edges are flipped until the two angles opposite to each sum to 180 degrees or less: a Delaunay
    triangulation on the surface.

    Args:
        points: (P, 3).

    Returns:
        (2P - 4, 3) int64, counter-clockwise from outside.

    Raises:
        DentalzooError: two points lie in the same direction.
    """
    from scipy.spatial import ConvexHull, QhullError

    rays = points - points.mean(axis=0)
    rays /= np.maximum(np.linalg.norm(rays, axis=1, keepdims=True), 1e-9)
    try:
        hull = ConvexHull(rays)
    except (QhullError, ValueError):
        hull = None
    if hull is None or len(hull.vertices) < len(points):
        raise DentalzooError(
            "mean crowns must be star-shaped about their mean. "
            "Received: points in the same direction"
        )
    faces = hull.simplices.astype(np.int64)
    outward, _ = normals(rays, faces)
    inside_out = (outward * hull.equations[:, :3]).sum(axis=1) < 0
    return _flip_edges(points, np.where(inside_out[:, None], faces[:, ::-1], faces))


def even_mesh(points: np.ndarray, faces: np.ndarray, count: int) -> tuple[csr_matrix, np.ndarray]:
    """Refine a closed mesh to evenly spaced vertices.

    The longest edges are halved, then all vertices are moved towards the mean of their neighbours
    and back (Taubin smoothing), which spaces them evenly and rounds the facets.

    Args:
        points: (P, 3).
        faces: (2P - 4, 3), a closed surface.
        count: number of vertices, P or more.

    Returns:
        SciPy's sparse (count, P), the weights of the points in each vertex; and the faces,
        (2 count - 4, 3) int64.
    """
    from scipy.sparse import csr_matrix, eye, vstack

    weights, vertices = eye(len(points), format="csr"), points
    while len(vertices) < count:
        ends, faces = _halve_edges(vertices, faces, count - len(vertices))
        row = np.repeat(np.arange(len(ends)), 2)
        shape = len(ends), len(vertices)
        half = csr_matrix((np.full(ends.size, 0.5), (row, ends.ravel())), shape)
        weights = vstack([weights, half @ weights], "csr")
        vertices = weights @ points
        faces = _flip_edges(vertices, faces)
    a, b = edges(faces).T
    near = csr_matrix((np.ones(2 * len(a)), (np.r_[a, b], np.r_[b, a])), (count, count))
    middle = near.multiply(1 / near.sum(axis=1)).tocsr()
    for step in _SMOOTHING:
        weights = (1 - step) * weights + step * (middle @ weights)
    return weights, _flip_edges(weights @ points, faces)


def _flip_edges(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Flip edges whose two opposite angles sum to more than 180 degrees."""
    faces = faces.copy()
    for _ in range(_FLIPS):
        start, end, across = (np.roll(faces, -k, axis=1).ravel() for k in range(3))
        one, other, key = _sides(start, end, len(vertices))
        to_start, to_end = vertices[start] - vertices[across], vertices[end] - vertices[across]
        size = np.linalg.norm(to_start, axis=1) * np.linalg.norm(to_end, axis=1)
        angle = np.arccos(((to_start * to_end).sum(axis=1) / np.maximum(size, 1e-12)).clip(-1, 1))
        excess = angle[one] + angle[other] - np.pi
        new = np.sort([across[one], across[other]], axis=0).T @ (len(vertices), 1)
        bad = (excess > 1e-3) & ~np.isin(new, key)
        one, other, new = one[bad], other[bad], new[bad]
        best = _independent(excess[bad], one, other, len(faces))
        best = best[np.unique(new[best], return_index=True)[1]]
        if not len(best):
            break
        one, other = one[best], other[best]
        faces[one // 3] = np.stack([start[one], across[other], across[one]], axis=1)
        faces[other // 3] = np.stack([across[other], end[one], across[one]], axis=1)
    return faces


def _halve_edges(
    vertices: np.ndarray, faces: np.ndarray, max_edges: int
) -> tuple[np.ndarray, np.ndarray]:
    """Halve the longer half of those edges that are the longest of both their faces.

    Returns:
        The ends (E, 2) of the halved edges, at most `max_edges`; and the faces with a new vertex on
        each, numbered after the others.
    """
    start, end, across = (np.roll(faces, -k, axis=1).ravel() for k in range(3))
    one, other, _ = _sides(start, end, len(vertices))
    length = np.linalg.norm(vertices[start[one]] - vertices[end[one]], axis=1)
    longest = _independent(length, one, other, len(faces))
    longest = longest[: min((len(longest) + 1) // 2, max_edges)]
    middle = np.tile(len(vertices) + np.arange(len(longest)), 2)
    side = np.concatenate([one[longest], other[longest]])
    faces = faces.copy()
    faces[side // 3] = np.stack([start[side], middle, across[side]], axis=1)
    more = np.stack([middle, end[side], across[side]], axis=1)
    first = one[longest]
    return np.stack([start[first], end[first]], axis=1), np.concatenate([faces, more])


def _sides(start: np.ndarray, end: np.ndarray, count: int) -> tuple[np.ndarray, ...]:
    """Pair the (3F,) sides of faces at each edge of a closed surface.

    Returns:
        The indices of the two sides of each edge, each (E,), and a key (E,) made of its ends.
    """
    key = np.minimum(start, end) * count + np.maximum(start, end)
    order = key.argsort(kind="stable")
    return order[::2], order[1::2], key[order[::2]]


def _independent(
    score: np.ndarray, one: np.ndarray, other: np.ndarray, num_faces: int
) -> np.ndarray:
    """Return edges that have the largest score in both their faces, the largest score first.

    No two of them share a face.
    """
    order = score.argsort(kind="stable")
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))  # ranks are unique: there is always such an edge
    best = np.full(num_faces, -1)
    for side in (one, other):
        np.maximum.at(best, side // 3, rank)
    chosen = np.flatnonzero((best[one // 3] == rank) & (best[other // 3] == rank))
    return chosen[rank[chosen].argsort()[::-1]]
