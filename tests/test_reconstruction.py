"""Scores of reconstructions against brute force and closed forms."""

import json

import numpy as np
import pytest

from dentalzoo.errors import DentalzooError
from dentalzoo.ops import meshes
from dentalzoo.reconstruction import scores


def clouds(sizes=(400, 300)):
    random = np.random.default_rng(0)
    return [random.uniform(size=(size, 3)) for size in sizes]


def sphere(rows=60, radius=1.0):
    """Rings of vertices and the triangles between them; those at the poles have no area."""
    height, turn = np.meshgrid(
        np.linspace(0, np.pi, rows), np.arange(2 * rows) * np.pi / rows, indexing="ij"
    )
    vertices = np.stack(
        [np.sin(height) * np.cos(turn), np.sin(height) * np.sin(turn), np.cos(height)], -1
    )
    at = np.arange(height.size).reshape(height.shape)
    right = np.roll(at, -1, 1)
    halves = (at[:-1], at[1:], right[:-1]), (right[:-1], at[1:], right[1:])
    faces = np.concatenate([np.stack(half, -1).reshape(-1, 3) for half in halves])
    return radius * vertices.reshape(-1, 3), faces


def test_errors_and_scores_are_brute_force():
    found, true = clouds()
    table = np.linalg.norm(found[:, None] - true[None], axis=-1)
    there, back = table.min(1), table.min(0)
    report = scores.scores(found, true, (0.05, 0.1))
    assert report["chamfer"] == pytest.approx((there.mean() + back.mean()) / 2)
    assert report["chamfer_squared"] == pytest.approx(((there**2).mean() + (back**2).mean()) / 2)
    for key, values in (("found_to_true", there), ("true_to_found", back)):
        assert report[key] == pytest.approx(
            {"mean": values.mean(), "median": np.median(values), "p95": np.quantile(values, 0.95)}
        )
    for row, threshold in zip(report["at"], (0.05, 0.1), strict=True):
        precision, recall = (there <= threshold).mean(), (back <= threshold).mean()
        assert row == pytest.approx(
            {
                "threshold": threshold,
                "precision": precision,
                "recall": recall,
                "f_score": 2 / (1 / precision + 1 / recall),
            }
        )
    assert json.loads(json.dumps(report)) == report


def test_the_chamfer_distance_is_that_of_training():
    from dentalzoo.ops.points import chamfer

    found, true = clouds()
    measured = scores.errors(found, true)
    for squared in (True, False):
        assert measured.chamfer(squared) == pytest.approx(chamfer(found[None], true[None], squared))


def test_equal_clouds_are_without_error():
    found = clouds()[0]
    report = scores.scores(found, found[::-1], (0, 0.25))
    assert report["chamfer"] == report["found_to_true"]["p95"] == 0
    for row in report["at"]:
        assert row["precision"] == row["recall"] == row["f_score"] == 1


def test_scores_are_symmetric_and_grow_with_the_threshold():
    found, true = clouds()
    one, other = scores.errors(found, true), scores.errors(true, found)
    assert one.chamfer() == other.chamfer()
    rows = [one.at(threshold) for threshold in np.linspace(0, 0.4, 30)]
    for key in ("precision", "recall", "f_score"):
        assert (np.diff([row[key] for row in rows]) >= 0).all()
    assert [row["precision"] for row in rows] == [
        other.at(row["threshold"])["recall"] for row in rows
    ]
    assert rows[0]["f_score"] == 0 and rows[-1]["f_score"] == 1


def test_points_that_crowd_are_precise_and_recall_little():
    true = meshes.sample_surface(*sphere(), 4000)[0]
    found = true[true[:, 2] > 0.9]
    row = scores.errors(found, true).at(0.1)
    assert row["precision"] == 1 and row["recall"] < 0.15 and row["f_score"] < 0.25


def test_spacing_of_a_grid_and_of_points_at_random():
    side = np.arange(100.0) * 0.3
    grid = np.stack([*np.meshgrid(side, side), np.zeros((100, 100))], -1).reshape(-1, 3)
    assert scores.spacing(grid) == pytest.approx({"mean": 0.3, "variation": 0}, abs=1e-6)
    plane = np.random.default_rng(0).uniform(size=(20_000, 3)) * [1, 1, 0]
    found = scores.spacing(plane)
    assert found["mean"] == pytest.approx(0.5 / np.sqrt(20_000), rel=0.02)  # Clark, Evans 1954
    assert found["variation"] == pytest.approx(np.sqrt(4 / np.pi - 1), rel=0.02)
    assert scores.spacing(np.repeat(grid, 2, 0)) == {"mean": 0, "variation": None}


def test_spacing_stands_beside_that_of_the_surface():
    surface = sphere()
    report = scores.scores(surface[0], surface[0], surface=surface)
    assert report["spacing_by_area"]["variation"] == pytest.approx(0.45, abs=0.06)
    assert report["spacing"]["variation"] > 0.5  # a sphere's grid crowds at its poles
    assert "normal_consistency" not in report


def test_normals_of_a_larger_sphere_and_of_one_inside_out():
    small, large = sphere(), sphere(radius=1.2)
    faces = large[1][:, ::-1]
    report = scores.scores(large[0], small[0], faces=faces, surface=small)
    assert report["normal_consistency"] > 0.99


def test_normals_of_planes_at_an_angle():
    corners, faces = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0]], float), np.array([[0, 1, 2]])
    turned = corners @ [[0.5, 0, np.sqrt(0.75)], [0, 1, 0], [0, 0, 1]]
    found = scores.normal_consistency((turned, faces), (corners, faces), 500)
    assert found == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("call", "received"),
    [
        (lambda cloud: scores.scores(cloud, cloud * np.nan), "400 of 400 points"),
        (lambda cloud: scores.scores(cloud[:0], cloud), r"\(0, 3\)"),
        (lambda cloud: scores.spacing(cloud[:1]), "1"),
        (lambda cloud: scores.scores(cloud, cloud, surface=(cloud, [[0, 1, 400]])), "0 to 400"),
    ],
)
def test_errors_say_what_came(call, received):
    with pytest.raises(DentalzooError, match=f"Received: {received}"):
        call(clouds()[0])
