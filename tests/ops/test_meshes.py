"""Meshes and nearest points against closed forms and brute force."""

import numpy as np
import pytest

from dentalzoo.errors import DentalzooError
from dentalzoo.ops import meshes

# A unit square of two triangles of area 1/2, another triangle of area 2, and two without an area
VERTICES = np.array(
    [[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0], [0, 0, 5], [2, 0, 5], [0, 2, 5], [4, 0, 5]], float
)
FACES = np.array([[0, 1, 2], [4, 5, 7], [0, 2, 3], [4, 5, 6], [4, 5, 7]])


def test_nearest_is_brute_force():
    random = np.random.default_rng(0)
    points, others = random.normal(size=(2, 300, 3))
    table = np.linalg.norm(points[:, None] - others[None], axis=-1)
    distance, index = meshes.nearest(points, others)
    np.testing.assert_array_equal(index, table.argmin(1))
    np.testing.assert_allclose(distance, table.min(1), rtol=1e-12)


def test_normals_and_areas():
    directions, areas = meshes.normals(VERTICES, FACES)
    np.testing.assert_allclose(areas, [0.5, 0, 0.5, 2, 0])
    np.testing.assert_allclose(directions, [[0, 0, float(area > 0)] for area in areas])


def test_samples_lie_on_their_faces_by_area():
    points, faces = meshes.sample_surface(VERTICES, FACES, 3000, seed=1)
    assert points.shape == (3000, 3) and points.dtype == np.float64
    counts = np.bincount(faces, minlength=len(FACES))
    np.testing.assert_allclose(counts, [500, 0, 500, 2000, 0], atol=1)
    x, y, z = points.T
    inside = {
        0: (z == 0) & (y <= x) & (x <= 1) & (y >= 0),
        2: (z == 0) & (x <= y) & (y <= 1) & (x >= 0),
        3: np.isclose(z, 5) & (x >= 0) & (y >= 0) & (x + y <= 2 + 1e-12),
    }
    for face, where in inside.items():
        assert where[faces == face].all()
    # Uniform: the centroid of each triangle, and the share of its quarter next to a corner
    big = points[faces == 3]
    np.testing.assert_allclose(big.mean(0), [2 / 3, 2 / 3, 5], atol=0.05)
    assert (big[:, :2].sum(1) < 1).mean() == pytest.approx(0.25, abs=0.04)


def test_the_seed_determines_the_samples():
    once, again, other = (meshes.sample_surface(VERTICES, FACES, 50, seed)[0] for seed in (3, 3, 4))
    np.testing.assert_array_equal(once, again)
    assert (once != other).any()


def test_the_last_share_of_many_faces_is_sampled():
    """The sum of the areas rounds; no sample may lie past the last face or on one without area."""
    faces = np.tile(FACES, (40_000, 1))
    sampled = meshes.sample_surface(VERTICES * 1e-3, faces, 100_000)[1]
    assert sampled.max() < len(faces)
    assert not np.isin(sampled % 5, (1, 4)).any()


def test_edges_are_listed_once():
    assert meshes.edges(FACES[[0, 2]]).tolist() == [[0, 1], [0, 2], [0, 3], [1, 2], [2, 3]]


def sphere(rows=40):
    """Points of a unit sphere in rings, and the triangles between them."""
    height, turn = np.meshgrid(
        np.linspace(0.01, np.pi - 0.01, rows), np.arange(2 * rows) * np.pi / rows, indexing="ij"
    )
    flat = np.sin(height) * np.cos(turn), np.sin(height) * np.sin(turn), np.cos(height)
    at = np.arange(height.size).reshape(height.shape)
    right = np.roll(at, -1, 1)
    halves = (at[:-1], at[1:], right[:-1]), (right[:-1], at[1:], right[1:])
    faces = np.concatenate([np.stack(half, -1).reshape(-1, 3) for half in halves])
    return np.stack(flat, -1).reshape(-1, 3), faces


def test_normals_of_a_sphere_are_radial():
    points, faces = sphere()
    outward = meshes.vertex_normals(points, faces)
    assert (outward * points).sum(1).min() > 0.99
    assert np.abs((meshes.point_normals(points) * points).sum(1)).min() > 0.98
    np.testing.assert_array_equal(meshes.vertex_normals(points[:5], faces[:0]), np.zeros((5, 3)))
    for few in (points[:1], points[:2], np.repeat(points[:1], 30, 0)):
        np.testing.assert_allclose(np.linalg.norm(meshes.point_normals(few), axis=1), 1)


def test_a_decimated_mesh_is_the_same_surface():
    points, faces = sphere()
    same = meshes.decimate(points, faces, len(points))
    np.testing.assert_array_equal(same[0], points)
    coarse, corners = meshes.decimate(np.float32(points), np.int32(faces), 500)
    assert 250 < len(coarse) <= 500 and (coarse.dtype, corners.dtype) == ("float32", "int32")
    assert (corners != np.roll(corners, 1, 1)).all() and corners.max() < len(coarse)
    assert np.abs(np.linalg.norm(coarse, axis=1) - 1).max() < 0.02
    areas = [meshes.normals(*mesh)[1].sum() for mesh in ((points, faces), (coarse, corners))]
    assert areas[1] == pytest.approx(areas[0], rel=0.05)


@pytest.mark.parametrize(
    ("call", "received"),
    [
        (lambda: meshes.nearest(np.zeros((0, 3)), VERTICES), r"\(0, 3\)"),
        (lambda: meshes.nearest(VERTICES, np.zeros((4, 2))), r"\(4, 2\)"),
        (lambda: meshes.nearest(VERTICES, [[0, 0, 0], [0, np.nan, 0]]), "1 of 2 .* first is 1"),
        (lambda: meshes.nearest([[0, np.inf, 0]], VERTICES), "1 of 1 points"),
        (lambda: meshes.normals(VERTICES, FACES + 1), "1 to 8"),
        (lambda: meshes.normals(VERTICES, FACES * 1.0), "float64"),
        (lambda: meshes.point_normals(VERTICES[:0]), r"\(0, 3\)"),
        (lambda: meshes.decimate(VERTICES, FACES + 1, 2), "1 to 8"),
        (lambda: meshes.sample_surface(VERTICES, FACES, 0), "0 points on 5 faces"),
        (lambda: meshes.sample_surface(VERTICES, FACES[[1]], 9), "1 faces of area 0"),
        (lambda: meshes.sample_surface(VERTICES, FACES[:0], 9), "0 faces"),
    ],
)
def test_errors_name_the_received_value(call, received):
    with pytest.raises(DentalzooError, match=f"Received: .*{received}") as caught:
        call()
    assert "\n" not in str(caught.value)


def test_seams_are_joined_and_what_touches_in_a_point_is_not():
    """Two squares along a seam, and a triangle that touches one of their corners."""
    vertices = np.float32(
        [[0, 0, 0], [1, 0, 0], [0, 1, 0], [1, 1, 0], [1, 0, 0], [2, 0, 0], [1, 1, 0], [2, 1, 0]]
        + [[0, 0, 0], [-1, 0, 0], [-1, -1, 0]]
    )
    faces = np.int32([[0, 1, 2], [1, 3, 2], [4, 5, 6], [5, 7, 6], [8, 9, 10]])
    assert len(meshes.open_edges(faces)) == 4 + 4 + 3
    joined = meshes.join_seams(vertices, faces)
    assert joined.tolist() == [[0, 1, 2], [1, 3, 2], [1, 5, 3], [5, 7, 3], [8, 9, 10]]
    assert joined.dtype == faces.dtype and len(meshes.open_edges(joined)) == 6 + 3
    assert np.array_equal(meshes.join_seams(vertices, faces[:1]), faces[:1])
    assert meshes.open_edges(faces[:0]).shape == (0, 2)
