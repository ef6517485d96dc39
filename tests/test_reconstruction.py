"""Scores of reconstructions against brute force and closed forms; jaws by a real small bundle."""

import csv
import json

import numpy as np
import pytest

import dentalzoo as dz
from dentalzoo import tasks
from dentalzoo.data import morphable
from dentalzoo.data.images import read_image
from dentalzoo.data.jaw_pose import find_pose
from dentalzoo.data.mesh_files import write_obj
from dentalzoo.data.meshes import find_meshes, load_mesh
from dentalzoo.data.phantoms import upper_jaw
from dentalzoo.errors import DentalzooError
from dentalzoo.ops import meshes
from dentalzoo.reconstruction import drawing, evaluation, scores
from dentalzoo.reconstruction.inference import Shape, as_seen, mean_shapes, reconstruct


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


# ---- bundles -------------------------------------------------------------------------------------


def coarse_jaw(seed, **options):
    """A drawn jaw with every fourth column and row of its grid: vertices (3200, 3) mm, faces."""
    vertices = upper_jaw(seed, **options).vertices.reshape(400, 125, 3)[::4, ::4]
    at = np.arange(vertices[..., 0].size).reshape(vertices.shape[:2])
    a, b, c, d = at[:-1, :-1], at[1:, :-1], at[:-1, 1:], at[1:, 1:]
    faces = np.concatenate([np.stack(half, -1).reshape(-1, 3) for half in ((a, b, c), (c, b, d))])
    return vertices.reshape(-1, 3), faces


def write_jaw(path, seed, faces=slice(None), turn=1, place=(0, 0, 0)):
    vertices, all_faces = coarse_jaw(seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_obj(path, vertices * (turn, 1, turn) + place, all_faces[faces])
    return path


def known_weights(model):
    """Makes the code of a network differ with the views, and the second family the likeliest."""
    random = np.random.default_rng(0)
    for weight in model.weights:
        if weight.path.endswith("code/kernel"):
            weight.assign(random.normal(size=weight.shape))
        if weight.path.endswith("code/bias"):
            weight.assign(np.where(np.arange(weight.shape[0]) == 1, 99, 0))
    return model


@pytest.fixture(scope="module")
def meshed(tmp_path_factory):
    """A bundle that makes meshes, of two families: the second has seven faces less."""
    folder = tmp_path_factory.mktemp("meshed")
    for seed in range(4):
        write_jaw(folder / "train" / f"{seed}.obj", seed, slice(None, -7 if seed > 1 else None))
    report = morphable.fit(folder, folder / "shapes.npz", components=1)
    settings = report["settings"] | {"morphable_model": str(folder / "shapes.npz")}
    model = known_weights(dz.build("jaw_reconstruction", "tiny", **settings))
    return dz.export(model, folder / "bundle", "jaw_reconstruction")


@pytest.fixture(scope="module")
def pointed(tmp_path_factory):
    """A bundle that makes points, and keeps no mean shape."""
    model = dz.build("jaw_reconstruction", "tiny", decoder="mlp", hidden=(8,), faces=())
    return dz.export(model, tmp_path_factory.mktemp("pointed") / "bundle", "jaw_reconstruction")


@pytest.fixture(scope="module")
def jaws(tmp_path_factory):
    """Jaws as files beside 0; the crowns of b point down."""
    folder = tmp_path_factory.mktemp("jaws")
    for number, (name, turn) in enumerate((("train/a", 1), ("val/b", -1), ("val/c", 1))):
        write_jaw(folder / f"{name}.obj", 30 + number, turn=turn, place=(5, -3, -90))
    return folder


def random_views(count=10, side=16):
    return np.random.default_rng(0).integers(1, 256, (count, side, side, 1), np.uint8)


def true_shape(path_or_folder, index=0):
    return as_seen(*load_mesh(find_meshes(path_or_folder).samples[index]))[1]


def test_a_bundle_answers_without_the_batch_axis_and_the_channel(meshed):
    views = random_views()
    one, many = meshed.serve(views), meshed.serve(np.stack([views, views]))
    assert one["points"].shape == (3200, 3) and many["points"].shape == (2, 3200, 3)
    for alike in (views[..., 0], views[None], np.repeat(views, 3, -1)):
        assert np.allclose(meshed.serve(alike)["points"], one["points"], atol=1e-3)
    assert not np.allclose(meshed.serve(views // 2)["points"], one["points"], atol=1e-2)
    assert meshed.mean_shapes()["points"].shape == (2, 3200, 3)
    with pytest.raises(DentalzooError, match=r"Received: shape \(10, 16\)"):
        meshed.serve(views[:, :, 0, 0])


def test_a_reconstruction_is_without_the_rows_that_fill_its_faces_up(meshed, pointed):
    views = random_views()
    answer, mesh = meshed.serve(views), reconstruct(meshed, views)
    assert (answer["faces"] < 0).all(1).sum() == 7 == len(answer["faces"]) - len(mesh.faces)
    assert mesh.faces.min() == 0 and (mesh.points == answer["points"]).all()
    assert reconstruct(pointed, views).faces is None
    few = reconstruct(meshed, views[[7, 0]], np.array([7, 0]))
    black = views * np.isin(np.arange(10), (0, 7))[:, None, None, None].astype(np.uint8)
    assert np.allclose(few.points, reconstruct(meshed, black).points, atol=1e-3)
    assert [mean.points.shape for mean in mean_shapes(meshed)] == [(3200, 3)] * 2
    assert mean_shapes(pointed) == []


def test_a_mesh_without_an_area_is_points(tmp_path):
    model = dz.build("jaw_reconstruction", "tiny")  # without shapes that were fitted
    bundle = dz.export(model, tmp_path / "bundle", "jaw_reconstruction")
    assert reconstruct(bundle, random_views()).faces is None


def without(bundle, signature):
    """The bundle as one that lacks a signature."""
    signatures = {k: v for k, v in bundle.metadata["signatures"].items() if k != signature}
    metadata = bundle.metadata | {"signatures": signatures}
    return dz.Bundle(bundle.path, metadata, bundle._loaded)


def test_a_bundle_that_needs_all_views_says_so(meshed):
    views = random_views(4)
    with pytest.raises(DentalzooError, match="needs all 10 views. Received: 4"):
        reconstruct(without(meshed, "serve_some"), views, np.arange(4))


def test_evaluation_is_the_scores_of_each_jaw(meshed, jaws, tmp_path):
    report = dz.evaluate(meshed, jaws, split="val", out=tmp_path / "out", num_points=4000)
    assert report["jaws"] == 2 and report["families"] == 2 and report["skipped"] == []
    assert [row["threshold"] for row in report["mean"]["at"]] == [1.4, 0.7, 0.25, 0.5, 1.0]
    truth = true_shape(jaws, 1)
    true, _ = meshes.sample_surface(truth.points, truth.faces, 4000, 0)
    row = report["per_jaw"][0]
    assert row["name"] == "b"
    means = [scores.scores(m.points, true, evaluation.THRESHOLDS) for m in mean_shapes(meshed)]
    assert row["family"] == np.argmin([mean["chamfer"] for mean in means])
    nearest = means[row["family"]]
    assert row["baseline"]["chamfer"] == pytest.approx(nearest["chamfer"], abs=1e-5)
    assert row["baseline"]["at"][0]["recall"] == pytest.approx(nearest["at"][0]["recall"])
    assert 0.7 < row["scores"]["normal_consistency"] < 1
    assert row["scores"]["chamfer"] != row["baseline"]["chamfer"]
    chamfers = [row["scores"]["chamfer"] for row in report["per_jaw"]]
    assert report["mean"]["chamfer"] == pytest.approx(np.mean(chamfers), abs=2e-6)
    assert json.loads((tmp_path / "out" / "evaluation.json").read_text()) == report
    with open(tmp_path / "out" / "evaluation.csv") as file:
        rows = list(csv.DictReader(file))
    assert [row["name"] for row in rows] == ["b", "c"]
    assert float(rows[0]["precision_1.4"]) == report["per_jaw"][0]["scores"]["at"][0]["precision"]
    assert float(rows[1]["baseline_found_to_true_p95"]) > 0
    assert read_image(tmp_path / "out" / "evaluation.png").std() > 30
    few = tasks.headline(meshed, report)
    assert few["precision_0035"] == report["mean"]["at"][0]["precision"]
    assert few["baseline_true_to_found_mm"] == report["baseline"]["true_to_found"]["mean"]
    assert set(few) >= {"recall_0035", "f_0035", "found_to_true_mm", "spacing_variation"}


def test_a_bundle_without_mean_shapes_is_measured_without_a_baseline(pointed, jaws):
    report = dz.evaluate(pointed, jaws, num_points=2000)
    assert report["jaws"] == 3 and report["baseline"] is None and report["families"] == 0
    assert "normal_consistency" not in report["mean"]
    assert not any(key.startswith("baseline") for key in tasks.headline(pointed, report))


def test_bad_jaws_are_named_and_skipped_until_none_is_left(pointed, jaws, tmp_path):
    (tmp_path / "broken.obj").write_text("v 1 2\n")
    vertices, faces = coarse_jaw(40)
    write_obj(tmp_path / "small.obj", vertices / 10, faces)
    with pytest.raises(DentalzooError, match="none of 2 jaws can be used. Received: broken: line"):
        dz.evaluate(pointed, tmp_path)
    write_obj(tmp_path / "whole.obj", vertices, faces)
    report = dz.evaluate(pointed, tmp_path, num_points=2000)
    assert report["jaws"] == 1
    assert [name for name, _ in report["skipped"]] == ["broken", "small"]
    assert "centimetres: multiply" in report["skipped"][1][1]
    with pytest.raises(DentalzooError, match="Received: 1"):
        dz.evaluate(pointed, tmp_path, num_points=1)


# ---- drawing -------------------------------------------------------------------------------------


def test_points_are_drawn_where_the_mesh_is_seen():
    seen, truth = as_seen(*load_mesh_of(coarse_jaw(50)))
    dense = Shape(meshes.sample_surface(truth.points, truth.faces, 60_000)[0])
    for number in range(10):
        (mesh,), (points,) = (drawing.draw(shape, [number], 64) for shape in (truth, dense))
        both = (mesh[..., 0] > 0) & (points[..., 0] > 0)
        either = (mesh[..., 0] > 0) | (points[..., 0] > 0)
        assert both.sum() / either.sum() > 0.85
        alike = np.abs(np.int16(mesh) - points)[both]
        assert np.median(alike) < 15


def load_mesh_of(jaw):
    from dentalzoo.data.mesh_files import Mesh

    mesh = Mesh(np.float32(jaw[0]), np.int32(jaw[1]))
    return mesh, find_pose(mesh)


def test_distances_are_blue_yellow_and_red():
    shown = drawing.colours(np.array([0, drawing.LIMIT / 2, drawing.LIMIT, 99]))
    assert shown.tolist() == [list(colour) for colour in (*drawing.RAMP, drawing.RAMP[-1])]
