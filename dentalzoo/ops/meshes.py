"""Point clouds and triangle meshes in NumPy.

Points and vertices are (N, 3), finite, in any one unit of length; faces (F, 3) are the indices of
three vertices each, from 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from dentalzoo.errors import DentalzooError

if TYPE_CHECKING:
    from scipy.spatial import cKDTree


def kd_tree(points: np.ndarray) -> cKDTree:
    """Build SciPy's `cKDTree` of (N, 3) points, with settings that suit queries from far away.

    50,000 queries from a small blob far away, as an untrained network predicts, took one core 0.5 s
    in this tree and 2.8 s in SciPy's default one; from close to the points 0.05 s in either. The
    worst case is 50,000 equal points, which no tree divides: 4 s.
    """
    from scipy.spatial import cKDTree

    return cKDTree(points, leafsize=32, balanced_tree=False, compact_nodes=False)


def nearest(points: npt.ArrayLike, others: npt.ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Find the nearest of M other points for each of N points.

    Args:
        points: (N, 3).
        others: (M, 3).

    Returns:
        The distance to it, (N,) float64, and its index, (N,) int64.

    Raises:
        DentalzooError: an array without points, or a coordinate that is not finite.
    """
    return kd_tree(check_points(others)).query(check_points(points))


def check_points(points: npt.ArrayLike) -> np.ndarray:
    """Return points (N, 3) as an array.

    Raises:
        DentalzooError: not of shape (N, 3) with N > 0, or a coordinate that is not finite.
    """
    array = np.asarray(points)
    if array.ndim != 2 or array.shape[1] != 3 or not len(array):
        raise DentalzooError(f"points must be (N, 3) with N >= 1. Received: {array.shape}")
    bad = ~np.isfinite(array).all(-1)
    if bad.any():
        first = int(np.argmax(bad))
        raise DentalzooError(
            "the coordinates of points must be finite. "
            f"Received: {bad.sum()} of {len(array)} points that are not, the first is {first}"
        )
    return array


def unit(vectors: npt.ArrayLike) -> np.ndarray:
    """Scale vectors (..., 3) to length 1; zero vectors stay zero."""
    vectors = np.asarray(vectors)
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return vectors / np.where(length > 0, length, 1)


def normals(vertices: np.ndarray, faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the normal vectors and the areas of faces.

    Args:
        vertices: (V, 3).
        faces: (F, 3), counter-clockwise seen from where the normals point to.

    Returns:
        (F, 3) float64 of length 1, or 0 for a face without area; and (F,) float64, in the square of
        the unit of length.

    Raises:
        DentalzooError: not a mesh.
    """
    vertices, faces = np.asarray(check_points(vertices), np.float64), np.asarray(faces)
    if faces.ndim != 2 or faces.shape[1] != 3 or not np.issubdtype(faces.dtype, np.integer):
        raise DentalzooError(
            f"faces must be integers of shape (F, 3). Received: {faces.dtype} {faces.shape}"
        )
    if len(faces) and not (faces.min() >= 0 and faces.max() < len(vertices)):
        raise DentalzooError(
            f"faces must be indices of vertices, 0 to {len(vertices) - 1}. "
            f"Received: {faces.min()} to {faces.max()}"
        )
    a, b, c = (vertices[faces[:, corner]] for corner in range(3))
    cross = np.cross(b - a, c - a)
    return unit(cross), np.linalg.norm(cross, axis=-1) / 2


def vertex_normals(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Return the normals at vertices: means of the normals of the faces around, weighted by area.

    Args:
        vertices: (V, 3).
        faces: (F, 3).

    Returns:
        (V, 3) float64 of length 1, or 0 for a vertex without an area around it.

    Raises:
        DentalzooError: not a mesh.
    """
    directions, areas = normals(vertices, faces)
    cross, corners = directions * areas[:, None], np.asarray(faces).ravel()
    sums = [np.bincount(corners, np.repeat(part, 3), len(vertices)) for part in cross.T]
    return unit(np.stack(sums, axis=1))


def point_normals(points: np.ndarray, neighbours: int = 16) -> np.ndarray:
    """Estimate the normals of the surface under points from the planes of their neighbours.

    The sign, which of the two sides is outside, is arbitrary (Hoppe et al. 1992, section 3.2).

    Args:
        points: (N, 3).
        neighbours: number of points per plane, the point itself included; all if there are fewer.

    Returns:
        (N, 3) float64 of length 1.

    Raises:
        DentalzooError: no points, or a coordinate that is not finite.
    """
    points = np.asarray(check_points(points), np.float64)
    count = min(neighbours, len(points))
    near = points[kd_tree(points).query(points, k=np.arange(1, count + 1))[1]]
    near -= near.mean(1, keepdims=True)
    return np.linalg.eigh(np.einsum("nki,nkj->nij", near, near))[1][:, :, 0]


def sample_surface(
    vertices: np.ndarray, faces: np.ndarray, count: int, seed: int | Sequence[int] = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Sample points uniformly by area, stratified: one from each of `count` equal shares of area.

    Args:
        vertices: (V, 3).
        faces: (F, 3).
        count: number of points.
        seed: random seed.

    Returns:
        (count, 3) float64, sorted by face, and the index of the face of each, (count,) int64.

    Raises:
        DentalzooError: not a mesh, no area, or count < 1.
    """
    areas = normals(vertices, faces)[1]
    ends = np.cumsum(areas)  # float64: in float32 the sum of 100,000 faces loses the last ones
    if count < 1 or not len(ends) or not ends[-1] > 0:
        raise DentalzooError(
            "the mesh must have an area, and count must be at least 1. "
            f"Received: {count} points on {len(ends)} faces of area {areas.sum():g}"
        )
    random = np.random.default_rng(seed)
    offsets = (np.arange(count) + random.random(count)) * (ends[-1] / count)
    face = np.searchsorted(ends, offsets, side="right")  # skips faces without an area
    face = np.minimum(face, np.flatnonzero(areas)[-1])
    # The root makes the points uniform over the triangle: Osada et al. 2002, section 4.2
    root, along = np.sqrt(random.random((count, 1))), random.random((count, 1))
    corners = np.asarray(vertices, np.float64)[np.asarray(faces)[face]]
    a, b, c = (corners[:, corner] for corner in range(3))
    return (1 - root) * a + root * (1 - along) * b + root * along * c, face


def fan_triangles(indices: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Split polygons into fans of triangles.

    Args:
        indices: the vertices of one polygon after the other.
        counts: (P,) number of vertices of each; polygons of fewer than 3 have no area and are left
            out.

    Returns:
        (F, 3) indices.
    """
    if (counts == 3).all():
        return indices.reshape(-1, 3)
    triangles = np.maximum(counts - 2, 0)
    start = np.repeat(np.cumsum(counts) - counts, triangles)
    step = 1 + np.arange(len(start)) - np.repeat(np.cumsum(triangles) - triangles, triangles)
    return np.stack([indices[start], indices[start + step], indices[start + step + 1]], axis=1)


def edges(faces: np.ndarray) -> np.ndarray:
    """Return the edges of faces, each once: (E, 2) int32, the lower vertex first, sorted."""
    return np.unique(_ends(faces), axis=0).astype(np.int32)


def open_edges(faces: np.ndarray) -> np.ndarray:
    """Return the edges of one face alone, as `edges` does: borders, of holes too, and seams."""
    ends = _ends(faces).astype(np.int64)
    size = int(ends.max(initial=0)) + 1
    found, count = np.unique(ends[:, 0] * size + ends[:, 1], return_counts=True)
    return np.stack(np.divmod(found[count == 1], size), axis=1).astype(np.int32)


def _ends(faces: np.ndarray) -> np.ndarray:
    """Return the edges of each face in turn, (3 F, 2), the lower vertex first."""
    return np.sort(np.asarray(faces)[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), axis=1)


def connected_parts(links: np.ndarray, count: int) -> np.ndarray:
    """Return the number of the connected part, from 0, of each of `count` vertices, (count,).

    Args:
        links: (L, 2) vertices that are connected.
        count: the number of vertices.
    """
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    matrix = coo_matrix((np.ones(len(links), np.int8), links.T), (count, count))
    return connected_components(matrix, directed=False)[1]


def join_seams(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Return faces that share vertices along seams: where open edges have the same two positions.

    Programs leave seams along the borders of textures, and of parts that were labelled or edited on
    their own. Surfaces that touch in single vertices stay apart.

    Args:
        vertices: (V, 3).
        faces: (F, 3).

    Returns:
        (F, 3) of the type of `faces`, indices of the first of the vertices at a position.
    """
    ends = open_edges(faces)
    border, places = np.unique(ends), np.arange(len(vertices))
    _, first, index = np.unique(vertices[border], axis=0, return_index=True, return_inverse=True)
    places[border] = border[first[index.reshape(-1)]]  # the first border vertex at each position
    _, pair, count = np.unique(
        np.sort(places[ends], axis=1), axis=0, return_inverse=True, return_counts=True
    )
    seam = np.unique(ends[count[pair.reshape(-1)] > 1])
    joined = np.arange(len(vertices))
    joined[seam] = places[seam]
    return joined[faces].astype(faces.dtype)


def decimate(
    vertices: np.ndarray, faces: np.ndarray, max_vertices: int
) -> tuple[np.ndarray, np.ndarray]:
    """Coarsen a mesh by merging the vertices in each cell of a grid (Rossignac, Borrel 1993).

    Args:
        vertices: (V, 3).
        faces: (F, 3).
        max_vertices: a mesh that has no more is returned unchanged.

    Returns:
        Vertices (at most max_vertices, 3) and faces (G, 3), of the given dtypes.

    Raises:
        DentalzooError: not a mesh.
    """
    vertices, faces = np.asarray(check_points(vertices)), np.asarray(faces)
    side = np.sqrt(normals(vertices, faces)[1].sum() / max_vertices)
    while len(vertices) > max_vertices:
        cells = np.floor((vertices - vertices.min(0)) / side).astype(np.int64)
        _, index, count = np.unique(cells, axis=0, return_inverse=True, return_counts=True)
        if len(count) <= max_vertices:
            index = index.ravel()
            sums = [np.bincount(index, part) for part in vertices.T.astype(np.float64)]
            faces = index[faces].astype(faces.dtype)
            distinct = (faces != np.roll(faces, 1, axis=1)).all(axis=1)
            merged = np.stack(sums, axis=1) / count[:, None]
            return merged.astype(vertices.dtype), faces[distinct]
        side *= 1.2
    return vertices, faces
