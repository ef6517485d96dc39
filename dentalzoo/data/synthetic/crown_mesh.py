"""One mesh for all crowns of a shape model: even vertices that are weighted sums of its points."""

import numpy as np

from dentalzoo.errors import DentalzooError
from dentalzoo.ops.meshes import edges, normals

_SMOOTHING = (0.5, -0.526) * 2  # Taubin 1995, pass band 0.1; ours: twice, moves real crowns 0.1 mm
_FLIPS = 50  # ours: rounds; real crowns need 10, but in space the flips of some mesh may go round


def crown_faces(points: np.ndarray) -> np.ndarray:
    """The closed surface through points all around it.

    Neighbours are first those of the points' directions from their middle, then edges flip until
    the angles across each are 180 degrees or less: a Delaunay triangulation, on the surface.

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
            "expected mean crowns that are seen whole from their middle. "
            "Received: points in the same direction"
        )
    faces = hull.simplices.astype(np.int64)
    outward, _ = normals(rays, faces)
    inside_out = (outward * hull.equations[:, :3]).sum(axis=1) < 0
    return _flipped(points, np.where(inside_out[:, None], faces[:, ::-1], faces))


def even_mesh(points: np.ndarray, faces: np.ndarray, count: int) -> tuple[object, np.ndarray]:
    """A finer mesh of the surface, of evenly spread vertices.

    The longest edges are halved, and then all vertices drawn towards their neighbours' middle and
    back: it spreads them, and rounds the facets.

    Args:
        points, faces: (P, 3) and (2P - 4, 3), a closed surface.
        count: vertices, P or more.

    Returns:
        SciPy's sparse (count, P), the weights of the points in each vertex; and the faces,
        (2 count - 4, 3) int64.
    """
    from scipy.sparse import csr_matrix, eye, vstack

    weights, vertices = eye(len(points), format="csr"), points
    while len(vertices) < count:
        ends, faces = _halved(vertices, faces, count - len(vertices))
        row = np.repeat(np.arange(len(ends)), 2)
        shape = len(ends), len(vertices)
        half = csr_matrix((np.full(ends.size, 0.5), (row, ends.ravel())), shape)
        weights = vstack([weights, half @ weights], "csr")
        vertices = weights @ points
        faces = _flipped(vertices, faces)
    a, b = edges(faces).T
    near = csr_matrix((np.ones(2 * len(a)), (np.r_[a, b], np.r_[b, a])), (count, count))
    middle = near.multiply(1 / near.sum(axis=1)).tocsr()
    for step in _SMOOTHING:
        weights = (1 - step) * weights + step * (middle @ weights)
    return weights, _flipped(weights @ points, faces)


def _flipped(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Faces whose edges were flipped where the two angles across exceed 180 degrees in sum."""
    faces = faces.copy()
    for _ in range(_FLIPS):
        start, end, across = (np.roll(faces, -k, axis=1).ravel() for k in range(3))
        one, other, place = _sides(start, end, len(vertices))
        to_start, to_end = vertices[start] - vertices[across], vertices[end] - vertices[across]
        size = np.linalg.norm(to_start, axis=1) * np.linalg.norm(to_end, axis=1)
        angle = np.arccos(((to_start * to_end).sum(axis=1) / np.maximum(size, 1e-12)).clip(-1, 1))
        excess = angle[one] + angle[other] - np.pi
        new = np.sort([across[one], across[other]], axis=0).T @ (len(vertices), 1)
        bad = (excess > 1e-3) & ~np.isin(new, place)
        one, other, new = one[bad], other[bad], new[bad]
        best = _independent(excess[bad], one, other, len(faces))
        best = best[np.unique(new[best], return_index=True)[1]]
        if not len(best):
            break
        one, other = one[best], other[best]
        faces[one // 3] = np.stack([start[one], across[other], across[one]], axis=1)
        faces[other // 3] = np.stack([across[other], end[one], across[one]], axis=1)
    return faces


def _halved(vertices: np.ndarray, faces: np.ndarray, most: int) -> tuple[np.ndarray, np.ndarray]:
    """Of the edges that are the longest of both their faces the longer half, at most `most`: their
    ends (E, 2); and the faces with a new vertex on each, numbered after the others."""
    start, end, across = (np.roll(faces, -k, axis=1).ravel() for k in range(3))
    one, other, _ = _sides(start, end, len(vertices))
    length = np.linalg.norm(vertices[start[one]] - vertices[end[one]], axis=1)
    longest = _independent(length, one, other, len(faces))
    longest = longest[: min((len(longest) + 1) // 2, most)]
    middle = np.tile(len(vertices) + np.arange(len(longest)), 2)
    side = np.concatenate([one[longest], other[longest]])
    faces = faces.copy()
    faces[side // 3] = np.stack([start[side], middle, across[side]], axis=1)
    more = np.stack([middle, end[side], across[side]], axis=1)
    first = one[longest]
    return np.stack([start[first], end[first]], axis=1), np.concatenate([faces, more])


def _sides(start: np.ndarray, end: np.ndarray, count: int) -> tuple[np.ndarray, ...]:
    """The two sides of each edge of a closed surface, each (E,), of the (3F,) sides of its faces;
    and the edge's name (E,), from its ends."""
    place = np.minimum(start, end) * count + np.maximum(start, end)
    order = place.argsort(kind="stable")
    return order[::2], order[1::2], place[order[::2]]


def _independent(
    score: np.ndarray, one: np.ndarray, other: np.ndarray, num_faces: int
) -> np.ndarray:
    """The edges of the largest score of both their faces, the largest first: no two share one."""
    order = score.argsort(kind="stable")
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))  # no two are alike: there is always such an edge
    best = np.full(num_faces, -1)
    for side in (one, other):
        np.maximum.at(best, side // 3, rank)
    found = np.flatnonzero((best[one // 3] == rank) & (best[other // 3] == rank))
    return found[rank[found].argsort()[::-1]]
