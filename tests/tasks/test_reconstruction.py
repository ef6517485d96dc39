"""Scores of reconstructions against brute force and closed forms; jaws by a real small bundle."""

import base64
import csv
import html
import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import dentalzoo as dz
from dentalzoo import api as tasks
from dentalzoo.cli import main
from dentalzoo.data import jaw_axes, morphable
from dentalzoo.data.io.images import read_image
from dentalzoo.data.io.mesh_files import Mesh, read_mesh, write_obj
from dentalzoo.data.jaw_pose import SCALE, find_pose
from dentalzoo.data.meshes import find_meshes, load_mesh
from dentalzoo.data.synthetic import upper_jaw
from dentalzoo.data.views import render_views
from dentalzoo.errors import BadFile, DentalzooError
from dentalzoo.ops import meshes
from dentalzoo.tasks import reconstruction
from dentalzoo.tasks.base import output_names
from dentalzoo.tasks.options import ReconstructionPredictOptions
from dentalzoo.tasks.reconstruction import drawing, evaluation, scores, viewer, write_views
from dentalzoo.tasks.reconstruction.inference import (
    Shape,
    as_seen,
    mean_shapes,
    poor_agreement,
    reconstruct,
)
from dentalzoo.tasks.reconstruction.sources import find_jaws, load_jaw
from tests.tasks.test_predictor import apart, content


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
    prediction, ground_truth = clouds()
    table = np.linalg.norm(prediction[:, None] - ground_truth[None], axis=-1)
    there, back = table.min(1), table.min(0)
    report = scores.scores(prediction, ground_truth, (0.05, 0.1))
    assert report["chamfer"] == pytest.approx((there.mean() + back.mean()) / 2)
    assert report["chamfer_squared"] == pytest.approx(((there**2).mean() + (back**2).mean()) / 2)
    for key, values in (("pred_to_gt", there), ("gt_to_pred", back)):
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

    prediction, ground_truth = clouds()
    measured = scores.errors(prediction, ground_truth)
    for squared in (True, False):
        assert measured.chamfer(squared) == pytest.approx(
            chamfer(prediction[None], ground_truth[None], squared)
        )


def test_equal_clouds_are_without_error():
    points = clouds()[0]
    report = scores.scores(points, points[::-1], (0, 0.25))
    assert report["chamfer"] == report["pred_to_gt"]["p95"] == 0
    for row in report["at"]:
        assert row["precision"] == row["recall"] == row["f_score"] == 1


def test_scores_are_symmetric_and_grow_with_the_threshold():
    prediction, ground_truth = clouds()
    one, other = scores.errors(prediction, ground_truth), scores.errors(ground_truth, prediction)
    assert one.chamfer() == other.chamfer()
    rows = [one.at(threshold) for threshold in np.linspace(0, 0.4, 30)]
    for key in ("precision", "recall", "f_score"):
        assert (np.diff([row[key] for row in rows]) >= 0).all()
    assert [row["precision"] for row in rows] == [
        other.at(row["threshold"])["recall"] for row in rows
    ]
    assert rows[0]["f_score"] == 0 and rows[-1]["f_score"] == 1


def test_points_that_crowd_are_precise_and_recall_little():
    ground_truth = meshes.sample_surface(*sphere(), 4000)[0]
    prediction = ground_truth[ground_truth[:, 2] > 0.9]
    row = scores.errors(prediction, ground_truth).at(0.1)
    assert row["precision"] == 1 and row["recall"] < 0.15 and row["f_score"] < 0.25


def test_thresholds_are_named_with_their_unit():
    names = [scores.at_threshold(mm) for mm in evaluation.THRESHOLDS]
    assert names == ["at_1_4mm", "at_0_7mm", "at_0_25mm", "at_0_5mm", "at_1mm"]


def test_spacing_of_a_grid_and_of_points_at_random():
    side = np.arange(100.0) * 0.3
    grid = np.stack([*np.meshgrid(side, side), np.zeros((100, 100))], -1).reshape(-1, 3)
    assert scores.spacing(grid) == pytest.approx({"mean": 0.3, "variation": 0}, abs=1e-6)
    plane = np.random.default_rng(0).uniform(size=(20_000, 3)) * [1, 1, 0]
    spacing = scores.spacing(plane)
    assert spacing["mean"] == pytest.approx(0.5 / np.sqrt(20_000), rel=0.02)  # Clark, Evans 1954
    assert spacing["variation"] == pytest.approx(np.sqrt(4 / np.pi - 1), rel=0.02)
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
    consistency = scores.normal_consistency((turned, faces), (corners, faces), 500)
    assert consistency == pytest.approx(0.5)


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
    """A synthetic jaw, every fourth column and row of its grid: vertices (3200, 3) mm, faces."""
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
            weight.assign(0.1 * random.normal(size=weight.shape))
        if weight.path.endswith("code/bias"):
            weight.assign(np.where(np.arange(weight.shape[0]) == 1, 99, 0))
    return model


@pytest.fixture(scope="module")
def average():
    """The mean of three jaws in mm as the cameras see them, (3200, 3), and its faces."""
    jaws = [coarse_jaw(seed, missing=0) for seed in (0, 1, 2)]
    centred = [points - (points.min(0) + points.max(0)) / 2 for points, _ in jaws]
    return np.float32(np.mean(centred, axis=0)), jaws[0][1]


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


@pytest.fixture
def quick_figures(monkeypatch):
    """Draw figures with a quarter of the rays, where a test is not about them."""
    monkeypatch.setattr(drawing, "_RAYS", 1)


def random_views(count=10, side=16):
    return np.random.default_rng(0).integers(1, 256, (count, side, side, 1), np.uint8)


def gt_shape(path_or_folder, index=0):
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


def test_a_mesh_without_an_area_is_points(meshed):
    class Unfitted(dz.Bundle):
        def serve(self, views):
            return {"points": np.float32(views[:, 0, 0, [0, 0, 0]]), "faces": np.zeros((8, 3), int)}

    bundle = Unfitted(meshed.path, meshed.metadata, None)
    assert reconstruct(bundle, random_views()).faces is None


def without(bundle, signature):
    """The bundle as one that lacks a signature."""
    signatures = {k: v for k, v in bundle.metadata["signatures"].items() if k != signature}
    metadata = bundle.metadata | {"signatures": signatures}
    return dz.Bundle(bundle.path, metadata, bundle._functions)


def test_a_bundle_that_needs_all_views_says_so(meshed):
    views = random_views(4)
    with pytest.raises(DentalzooError, match="needs all 10 views. Received: 4"):
        reconstruct(without(meshed, "serve_some"), views, np.arange(4))


@pytest.mark.usefixtures("quick_figures")
def test_evaluation_is_the_scores_of_each_jaw(meshed, jaws, tmp_path):
    report = dz.evaluate(meshed, jaws, split="val", out=tmp_path / "out", num_points=4000)
    assert (
        report["jaws"] == 2
        and report["baseline_is"].endswith("of 2 mean shapes")
        and report["skipped"] == []
    )
    assert [row["threshold"] for row in report["mean"]["at"]] == [1.4, 0.7, 0.25, 0.5, 1.0]
    ground_truth = gt_shape(jaws, 1)
    gt_points, _ = meshes.sample_surface(ground_truth.points, ground_truth.faces, 4000, 0)
    row = report["per_jaw"][0]
    assert row["name"] == "b"
    means = [scores.scores(m.points, gt_points, evaluation.THRESHOLDS) for m in mean_shapes(meshed)]
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
    assert (
        float(rows[0]["precision_at_1_4mm"]) == report["per_jaw"][0]["scores"]["at"][0]["precision"]
    )
    assert float(rows[1]["baseline_pred_to_gt_p95"]) > 0
    assert read_image(tmp_path / "out" / "evaluation.png").std() > 30
    few = tasks.summary_metrics(meshed, report)
    for key, row in report["intervals"].items():
        assert row["value"] == pytest.approx(few[key], abs=2e-6) and row["low"] < row["high"]
    assert few["precision_at_1_4mm"] == report["mean"]["at"][0]["precision"]
    assert few["baseline_gt_to_pred_mm"] == report["baseline"]["gt_to_pred"]["mean"]
    assert set(few) >= {"recall_at_1_4mm", "f_score_at_1_4mm", "pred_to_gt_mm", "spacing_variation"}


def test_evaluation_of_some_views_is_of_these_alone(meshed, jaws):
    every = dz.evaluate(meshed, jaws, split="val", num_points=2000)
    some = dz.evaluate(meshed, jaws, split="val", num_points=2000, views=[9, 0, 3])
    assert every["views"] == list(range(10)) and some["views"] == [0, 3, 9]
    assert some["mean"]["chamfer"] != every["mean"]["chamfer"]
    assert some["baseline"] == every["baseline"]
    for views in ([], [0, 0], [10], [-1, 2]):
        with pytest.raises(dz.DentalzooError, match=r"views must be .* 0 to 9.* Received: \["):
            dz.evaluate(meshed, jaws, views=views)


def test_a_bundle_without_mean_shapes_is_measured_without_a_baseline(pointed, jaws):
    report = dz.evaluate(pointed, jaws, num_points=2000)
    assert report["jaws"] == 3 and report["baseline"] is report["baseline_is"] is None
    assert "normal_consistency" not in report["mean"]
    assert not any(key.startswith("baseline") for key in tasks.summary_metrics(pointed, report))


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
    _, jaw = as_seen(*load_mesh_of(coarse_jaw(50)))
    dense = Shape(meshes.sample_surface(jaw.points, jaw.faces, 60_000)[0])
    for number in range(10):
        (mesh,), (points,) = (drawing.draw(shape, [number], 64) for shape in (jaw, dense))
        both = (mesh[..., 0] > 0) & (points[..., 0] > 0)
        either = (mesh[..., 0] > 0) | (points[..., 0] > 0)
        assert both.sum() / either.sum() > 0.85
        alike = np.abs(np.int16(mesh) - points)[both]
        assert np.median(alike) < 15


def load_mesh_of(jaw):
    mesh = Mesh(np.float32(jaw[0]), np.int32(jaw[1]))
    return mesh, find_pose(mesh)


def test_distances_are_blue_yellow_and_red():
    shown = drawing.colours(np.array([0, drawing.LIMIT / 2, drawing.LIMIT, 99]))
    assert shown.tolist() == [list(colour) for colour in (*drawing.RAMP, drawing.RAMP[-1])]


# ---- prediction ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def view_folders(tmp_path_factory, jaws):
    """The views of b and c, as `dentalzoo views` writes them."""
    out = tmp_path_factory.mktemp("views")
    report = write_views(jaws / "val", out, 40)
    assert (report.written, report.failed) == (2, [])
    return out


@pytest.fixture
def folder(view_folders, tmp_path):
    """A copy of them that a test may spoil."""
    return Path(shutil.copytree(view_folders, tmp_path / "views"))


def test_views_are_what_the_cameras_see(view_folders, jaws):
    seen, _ = as_seen(*load_mesh(find_meshes(jaws).samples[1]))
    rendered = render_views(seen, 40)
    files = sorted((view_folders / "b").iterdir())
    assert [file.name for file in files] == [f"view_{i}.png" for i in range(10)]
    for file, view in zip(files, rendered, strict=True):
        assert (read_image(file) == view).all()


@pytest.mark.slow
@pytest.mark.usefixtures("quick_figures")
def test_parts_that_run_apart_write_what_predict_writes(meshed, jaws, tmp_path):
    dz.predict(meshed, jaws / "val", tmp_path / "1", mesh=["stl", "obj"])
    options = ReconstructionPredictOptions(mesh=("stl", "obj"))
    written = apart(reconstruction, meshed, options, jaws / "val", tmp_path / "2")
    assert written == [tmp_path / "2" / "confidence.json"]
    assert content(tmp_path / "2") == content(tmp_path / "1")


@pytest.mark.usefixtures("quick_figures")
def test_a_mesh_comes_back_in_its_own_millimetres(meshed, jaws, tmp_path):
    report = dz.predict(meshed, jaws / "val", tmp_path / "out", mesh=["stl", "obj"])
    assert (report.written, report.failed) == (2, [])
    suffixes = ("html", "obj", "ply", "png", "stl")
    names = [*(f"{jaw}.{suffix}" for jaw in "bc" for suffix in suffixes), "confidence.json"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == names
    mesh, pose = load_mesh(find_meshes(jaws).samples[1])
    seen, _ = as_seen(mesh, pose)
    shape = reconstruct(meshed, render_views(seen, 32))
    written = read_mesh(tmp_path / "out" / "b.ply")
    assert pose.turned and np.allclose(
        written.vertices, pose.invert(shape.points / SCALE), atol=1e-3
    )
    assert (written.faces == shape.faces).all()
    assert np.abs(written.vertices.mean(0) - mesh.vertices.mean(0)).max() < 5
    for suffix in ("stl", "obj"):
        other = read_mesh(tmp_path / "out" / f"b.{suffix}")
        apart = meshes.nearest(other.vertices, written.vertices)[0]
        assert len(other.faces) == len(written.faces) and apart.max() < 1e-3
    assert read_image(tmp_path / "out" / "b.png").shape[2] == 3


@pytest.mark.usefixtures("quick_figures")
def test_views_of_a_jaw_and_the_jaw_give_the_same(meshed, view_folders, jaws, tmp_path):
    dz.predict(meshed, [view_folders / "b"], tmp_path / "one", ground_truth=jaws / "val" / "b.obj")
    dz.predict(meshed, view_folders, tmp_path / "all", mesh=["ply"])
    one, other = (read_mesh(tmp_path / f"{name}/b.ply").vertices for name in ("one", "all"))
    assert (one == other).all()
    views = np.stack([read_image(view_folders / "b" / f"view_{i}.png") for i in range(10)])
    assert np.allclose(one, reconstruct(meshed, views).points, atol=1e-3)
    assert (tmp_path / "one" / "b.stl").is_file() and not (tmp_path / "all" / "b.stl").exists()
    tall, wide = (read_image(tmp_path / f"{name}/b.png").shape for name in ("one", "all"))
    assert tall[0] > wide[0], "the ground truth is on it"


def test_fewer_views_are_assigned_to_their_cameras(meshed, folder, tmp_path):
    left = [9, 2, 5]
    for number in set(range(10)) - {*left}:
        (folder / "b" / f"view_{number}.png").unlink()
    for number in left:
        (folder / "b" / f"view_{number}.png").rename(folder / "b" / f"jaw12-0{number}.png")
    colour = read_image(folder / "b" / "jaw12-09.png", 3)
    Image.fromarray(colour).save(folder / "b" / "jaw12-09.png")
    dz.predict(meshed, folder / "b", tmp_path / "out")
    views = np.stack([read_image(folder / "b" / f"jaw12-0{i}.png", 1) for i in sorted(left)])
    shape = reconstruct(meshed, views, np.array(sorted(left)))
    written = read_mesh(tmp_path / "out" / "b.ply").vertices
    assert np.allclose(written, shape.points, atol=1e-3)


def image(path, height=40, width=40, low=0, high=255):
    Image.fromarray(
        np.linspace(low, high, height * width).reshape(height, width).astype("u1")
    ).save(path)


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (
            lambda b: image(b / "3.png"),
            "one view per camera. Received: '3.png' and 'view_3.png'",
        ),
        (
            lambda b: image(b / "cover.png"),
            "its camera index, 0 to 9. Received: 'cover.png'",
        ),
        (lambda b: image(b / "view_10.png"), "0 to 9. Received: 'view_10.png'"),
        (
            lambda b: image(b / "view_4.png", 30, 30),
            "Received: 40 x 40 and 30 x 30 in 'view_0.png'",
        ),
        (lambda b: image(b / "view_4.png", 40, 60), "Received: 'view_4.png' of 60 x 40"),
        (
            lambda b: image(b / "view_4.png", high=9),
            "Received: 'view_4.png', which is almost uniform",
        ),
        (lambda b: (b / "view_4.png").write_bytes(b"GIF89a"), "view_4.png: "),
        (
            lambda b: [p.unlink() for p in b.iterdir()],
            "meshes of upper jaws. Received: neither",
        ),
    ],
)
def test_views_that_cannot_be_used_are_reported_in_one_line(folder, spoil, reason):
    spoil(folder / "b")
    sources, bad = find_jaws(folder / "b", folder / "out")
    with pytest.raises(BadFile) as raised:
        raise bad[0] if bad else load_jaw(*sources, 40)
    assert raised.value.path == folder / "b" and reason in raised.value.reason
    assert "Received: " in raised.value.reason and "\n" not in raised.value.reason


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda view: view[:, ::-1], "mirrored left to right"),
        (lambda view: view[::-1], "upside down"),
        (lambda view: 255 - view, "the background of a view must be black"),
        (lambda view: np.where(view > 20, view, 255), "the background of a view must be black"),
    ],
)
def test_views_that_contradict_the_cameras_are_failed_inputs(
    pointed, folder, tmp_path, change, reason
):
    for path in (folder / "b").iterdir():
        Image.fromarray(change(read_image(path)[..., 0]).astype(np.uint8)).save(path)
    report = dz.predict(pointed, folder, tmp_path / "out")
    assert report.written == 1 and [path for path, _ in report.failed] == [str(folder / "b")]
    assert reason in report.failed[0][1]


def test_small_views_and_a_wrong_surface_within_the_silhouettes_are_said(view_folders, caplog):
    (source, *_), _ = find_jaws(view_folders, Path("results"))
    jaw = load_jaw(source, 64)
    assert "views must be as large as the bundle's, 64 x 64 pixels" not in caplog.text
    load_jaw(source, 128)
    assert "128 x 128 pixels, to show as much. Received: 40 x 40" in caplog.text
    vertices, faces = coarse_jaw(31)
    shape = Shape(vertices - (vertices.min(0) + vertices.max(0)) / 2, faces)
    assert poor_agreement(shape, jaw.views, jaw.cameras) is None
    inverted = np.where(jaw.views > 20, 285 - np.int16(jaw.views), 0).clip(0, 255).astype(np.uint8)
    assert "their grey values differ by 1" in poor_agreement(shape, inverted, jaw.cameras)


def test_views_that_are_counted_from_1_are_named_so(folder):
    for number in range(9, -1, -1):
        (folder / "b" / f"view_{number}.png").rename(folder / "b" / f"view_{number + 1}.png")
    with pytest.raises(BadFile, match=r"counted from 1; .* 0 to 9. Received: 'view_10.png'"):
        load_jaw(find_jaws(folder / "b", folder / "out")[0][0], 40)
    (folder / "b" / "view_10.png").unlink()
    with pytest.raises(BadFile, match="seem to be counted from 1, or"):
        load_jaw(find_jaws(folder / "b", folder / "out")[0][0], 40)


def test_lower_jaws_are_not_reconstructed(pointed, jaws, tmp_path, caplog):
    scans = tmp_path / "scans"
    scans.mkdir()
    shutil.copy(jaws / "val" / "b.obj", scans / "UpperJawScan.obj")
    shutil.copy(jaws / "val" / "b.obj", scans / "LowerJawScan.obj")
    with caplog.at_level("INFO", "dentalzoo"):
        report = dz.predict(pointed, scans, tmp_path / "out")
    assert (report.written, report.failed) == (1, [])
    assert "lower jaws, by their names, not used: LowerJawScan.obj" in caplog.text
    assert "UpperJawScan.obj: the crowns point to -z: turned about y" in caplog.text
    both = [scans / "LowerJawScan.obj", scans / "UpperJawScan.obj"]
    report = dz.predict(pointed, both, tmp_path / "out")
    assert report.written == 1 and "Received: a lower jaw, by its name" in report.failed[0][1]


@pytest.mark.usefixtures("quick_figures")
def test_a_jaw_of_other_axes_comes_back_in_its_own(meshed, jaws, tmp_path, caplog):
    original = read_mesh(jaws / "val" / "b.obj")
    (tmp_path / "in").mkdir()
    for name, axes in (("same", (1, 2, 3)), ("side", (-1, -3, -2))):
        write_obj(
            tmp_path / "in" / f"{name}.obj", jaw_axes.turn(original.vertices, axes), original.faces
        )
    report = dz.predict(meshed, tmp_path / "in", tmp_path / "no")
    assert report.written == 1 and "turns it" in report.failed[0][1]
    with caplog.at_level("INFO", "dentalzoo"):
        report = dz.predict(meshed, tmp_path / "in", tmp_path / "out", axes="auto")
    assert report.failed == [] and "side.obj: turned by --axes=" in caplog.text
    same, side = (read_mesh(tmp_path / "out" / f"{name}.ply").vertices for name in ("same", "side"))
    assert (
        np.abs(jaw_axes.turn(same, (-1, -3, -2)) - side).max() < 0.01
    )  # mm; 4 decimals of the files
    with pytest.raises(DentalzooError, match="determinant -1"):
        dz.predict(meshed, tmp_path / "in", tmp_path / "out", axes="x,y,-z")
    views = write_views(tmp_path / "in" / "side.obj", tmp_path / "views", 16, axes="-x,-z,-y")
    assert (views.written, views.failed) == (1, [])
    report = dz.evaluate(meshed, tmp_path / "in", axes="auto", num_points=500)
    assert report["jaws"] == 2 and report["skipped"] == []


def test_a_jaw_that_cannot_be_used_is_named_and_the_others_go_on(pointed, folder, tmp_path, caplog):
    image(folder / "b" / "view_4.png", 40, 60)
    report = dz.predict(pointed, folder, tmp_path / "out")
    assert report.written == 1 and (tmp_path / "out" / "c.ply").is_file()
    assert [path for path, _ in report.failed] == [str(folder / "b")]
    assert f"{folder / 'b'}: views must be square" in caplog.text
    assert not (tmp_path / "out" / "b.ply").exists()


def test_inputs_that_are_no_jaws_are_named(pointed, jaws, folder, tmp_path):
    wrong = [folder / "b" / "view_0.png", tmp_path / "nowhere"]
    with pytest.raises(DentalzooError, match="view_0.png: expected a folder of views, or a mesh"):
        dz.predict(pointed, wrong, tmp_path / "out")
    (folder / "c" / "lower.obj").write_text("v 0 0")
    report = dz.predict(pointed, [*wrong, folder / "c"], tmp_path / "out")
    assert report.written == 1 and [path for path, _ in report.failed] == [*map(str, wrong)]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "c.html",
        "c.ply",
        "c.png",
        "confidence.json",
    ]
    report = write_views([folder / "b", jaws / "train"], tmp_path / "views 2", 16)
    assert report.written == 1 and "Received: a folder of images" in report.failed[0][1]


def test_results_within_the_inputs_are_no_inputs(pointed, folder, tmp_path):
    shutil.rmtree(folder / "c")
    for _ in range(2):
        assert dz.predict(pointed, folder, folder / "out").written == 1
    with pytest.raises(DentalzooError, match="which holds inputs"):
        dz.predict(pointed, folder / "b", folder / "b")


def test_jaws_of_one_name_get_different_names(folder, jaws):
    shutil.copytree(folder / "b", folder / "left" / "b")
    shutil.copy(jaws / "val" / "b.obj", folder / "left")
    sources, bad = find_jaws([folder, jaws / "val" / "b.obj", jaws], folder / "out")
    assert not bad and len(sources) == 7
    names = output_names([source.title for source in sources])
    assert names[:2] == ["views_b.views", "c.views"] and len(set(names)) == 7
    assert {"left_b.views", "left_b.obj", "a"} <= {*names}


@pytest.mark.usefixtures("quick_figures")
def test_the_ground_truth_is_found_by_name(pointed, folder, jaws, tmp_path, caplog):
    shutil.copy(jaws / "val" / "b.obj", folder / "b")
    shutil.copy(jaws / "val" / "c.obj", folder / "c" / "view.obj")
    (folder / "c" / "other.obj").write_text("v 0 0")
    with caplog.at_level("INFO", "dentalzoo"):
        assert dz.predict(pointed, folder, tmp_path / "own").failed == []
    assert "other.obj: ignored" in caplog.text
    for name in "bc":
        assert "Distance to the ground truth" in (tmp_path / "own" / f"{name}.html").read_text()
    shutil.rmtree(folder / "c")
    (folder / "b" / "b.obj").write_text("v 0 0\n")
    report = dz.predict(pointed, folder, tmp_path / "spoilt")
    assert report.written == 1 and report.failed[0][0].endswith("b.obj")
    assert "Ground truth" not in (tmp_path / "spoilt" / "b.html").read_text()
    for path, reason in (
        (jaws / "train", "such as b.obj. Received: 1 other meshes"),
        (tmp_path / "nowhere", "for 1 folders"),
    ):
        with pytest.raises(DentalzooError, match=reason):
            dz.predict(pointed, folder, tmp_path / "out", ground_truth=path)
    with pytest.raises(DentalzooError, match="a mesh is its own ground truth. Received"):
        dz.predict(pointed, jaws, tmp_path / "out", ground_truth=jaws)


def test_formats_that_cannot_be_are_refused(pointed, meshed, jaws, tmp_path):
    with pytest.raises(
        DentalzooError, match="makes 300 points; a surface needs 10,000. Received: obj"
    ):
        dz.predict(pointed, jaws, tmp_path / "out", mesh=["obj"])
    with pytest.raises(DentalzooError, match="Received: \\('step',\\)"):
        dz.predict(meshed, jaws, tmp_path / "out", mesh=("step",))
    with pytest.raises(DentalzooError, match="Received: 0"):
        write_views(jaws, tmp_path / "out", 0)
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("quick_figures")
def test_the_commands(meshed, jaws, tmp_path, capsys):
    views, out = str(tmp_path / "views"), str(tmp_path / "out")
    assert main(["views", str(jaws / "val"), "--out", views, "--size", "32"]) == 0
    arguments = ["predict", str(meshed.path), views, "--out", out]
    assert main([*arguments, "--mesh", "obj", "--ground-truth", str(jaws)]) == 0
    assert capsys.readouterr().out.splitlines()[1] == f"2 written to {out}, 0 failed"
    assert (tmp_path / "out" / "c.obj").is_file()
    with pytest.raises(SystemExit, match="2"):
        main([*arguments, "--overlay"])
    assert "--overlay" in capsys.readouterr().err
    bundle = shutil.copytree(meshed.path, tmp_path / "bundle")
    assert (
        main(["evaluate", str(bundle), "--data", str(jaws), "--split", "val", "--save-metrics"])
        == 0
    )
    assert capsys.readouterr().out.startswith("precision_at_1_4mm ")
    metrics = dz.load(bundle).metadata["metrics"]
    assert metrics["jaws"] == 2 and metrics["split"] == "val" and metrics["recall_at_1_4mm"] > 0


# ---- the page ------------------------------------------------------------------------------------


def content_of(page):
    """Return each part of a page: positions in mm, surface and faces."""
    content = json.loads(re.search(r'id="data">(.*?)</script>', page, re.DOTALL)[1])
    parts = []
    for part in content["parts"]:
        positions = np.frombuffer(base64.b64decode(part["positions"]), "<i2").reshape(-1, 3)
        surface = np.frombuffer(base64.b64decode(part["surface"]), "u1").reshape(-1, 4)
        faces = part["faces"] and np.frombuffer(base64.b64decode(part["faces"]), "<u2")
        parts.append((positions * content["step"], surface, faces))
    return parts


def test_the_page_holds_the_jaw_to_a_hundredth_of_a_millimetre(average):
    points, faces = average
    ground_truth = Shape(points + np.float32([0, 0, 0.5]), faces)
    page = viewer.page("a </script> & {{data}}", Shape(points), ground_truth, None)
    assert "<h1>a &lt;/script&gt; &amp; {{data}}</h1>" in page
    (shown, surface, none), (gt_shown, _, corners) = content_of(page)
    centre = (shown - points).mean(0)
    assert np.abs(shown - points - centre).max() < 0.01 and none is None
    assert np.abs(gt_shown - ground_truth.points - centre).max() < 0.01
    assert (corners.reshape(-1, 3) == faces).all()
    assert np.allclose(np.linalg.norm(surface[:, :3].view(np.int8), axis=1), 127, atol=2)
    apart = meshes.nearest(points, meshes.sample_surface(ground_truth.points, faces, 50_000)[0])[0]
    assert (
        np.abs(surface[:, 3] / 255 * drawing.LIMIT - np.minimum(apart, drawing.LIMIT)).max() < 0.02
    )


def test_the_page_needs_nothing_from_elsewhere_and_is_small():
    jaw = upper_jaw(0)
    page = viewer.page("jaw", Shape(jaw.vertices, jaw.faces))
    assert len(page) < 2.5e6 and "http:" not in page and "https:" not in page
    assert "default-src 'none'" in page and "src=" not in page and "Not for diagnosis" in page


def test_meshes_that_the_page_cannot_number_are_thinned(monkeypatch, average):
    monkeypatch.setattr(viewer, "_MAX_VERTICES", 1000)
    ((positions, _, corners),) = content_of(viewer.page("jaw", Shape(*average)))
    assert 400 < len(positions) <= 1000 and corners.max() < len(positions)


@pytest.fixture(scope="module")
def browser():
    program = shutil.which("chromium") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("no chromium on this machine")
    flags = ["--no-sandbox", "--disable-quic", "--no-first-run", "--disable-sync"]
    flags += ["--disable-background-networking", "--disable-component-update", "--hide-scrollbars"]
    flags += ["--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
    flags += ["--window-size=700,600"]

    def run(page, script, *options):
        """Return the result of a script in a page; each change is drawn at once."""
        at_once = "<script>window.requestAnimationFrame = act => act();</script>"
        page.write_text(
            f"{page.read_text().replace('<body>', '<body>' + at_once)}<script>{PROBE}"
            f"document.title = JSON.stringify((() => {{{script}}})())</script>"
        )
        command = [program, "--headless", *flags, f"--user-data-dir={page.parent / 'profile'}"]
        shown = subprocess.run(
            [*command, *options, "--dump-dom", page.as_uri()],
            capture_output=True,
            text=True,
            timeout=600,
        )
        title = re.search("<title>(.*?)</title>", shown.stdout)
        assert title, shown.stderr
        return json.loads(html.unescape(title[1]))

    return run


PROBE = """
const send = (kind, type, more) => canvas.dispatchEvent(
    new kind(type, {bubbles: true, cancelable: true, ...more}));
const key = (key, more) => send(KeyboardEvent, 'keydown', {key, ...more});
const finger = (pointerId, type, clientX, clientY, more) =>
    send(PointerEvent, 'pointer' + type, {pointerId, clientX, clientY, ...more});
const frame = () => {
  const size = [gl.drawingBufferWidth, gl.drawingBufferHeight];
  const read = new Uint8Array(size[0] * size[1] * 4);
  gl.readPixels(0, 0, ...size, gl.RGBA, gl.UNSIGNED_BYTE, read);
  let jaw = 0, colours = 0, sum = 0;
  for (let i = 0; i < read.length; i += 4) {
    const [r, g, b] = [read[i], read[i + 1], read[i + 2]];
    if (r === read[0] && g === read[1] && b === read[2]) continue;
    jaw++;
    sum = (sum * 31 + r + i) % 1000003;
    if (Math.max(r, g, b) - Math.min(r, g, b) > 60) colours++;
  }
  return {jaw, colours, sum, room: [...read.slice(0, 3)]};
};
"""


def page_of(average, folder, faces=True):
    points, corners = average
    ground_truth = Shape(points * np.float32([1.03, 1, 1]), corners)
    measured = scores.errors(points, ground_truth.points)
    page = folder / "jaw.html"
    shape = Shape(points, corners if faces else None)
    page.write_text(viewer.page("jaw", shape, ground_truth, measured))
    return page


@pytest.mark.parametrize("faces", [True, False], ids=["mesh", "points"])
def test_a_browser_draws_turns_and_colours_the_jaw(browser, average, tmp_path, faces):
    script = """
    const shown = {};
    const after = (name, act) => { act(); shown[name] = frame(); };
    after('first', () => key('0'));
    after('turned', () => key('ArrowLeft'));
    after('again', () => key('0'));
    after('nearer', () => send(WheelEvent, 'wheel', {deltaY: -200}));
    after('moved', () => { key('0'); key('ArrowUp', {shiftKey: true}); });
    after('dragged', () => {
      key('0'); finger(1, 'down', 300, 300); finger(1, 'move', 340, 320); finger(1, 'up', 340, 320);
    });
    after('pinched', () => {
      key('0'); finger(8, 'down', 300, 300); finger(9, 'down', 340, 300);
      finger(9, 'move', 400, 300); finger(8, 'up', 300, 300); finger(9, 'up', 400, 300);
    });
    after('coloured', () => { key('0'); $('coloured').click(); });
    after('ground_truth', () => { $('coloured').click(); $('parts').children[1].click(); });
    after('both', () => $('parts').children[2].click());
    after('above', () => $('sides').children[3].click());
    shown.requests = performance.getEntriesByType('resource').length;
    shown.words = document.body.innerText;
    shown.error = gl.getError();
    return shown;
    """
    page = page_of(average, tmp_path, faces)
    shown = browser(page, script, "--blink-settings=preferredColorScheme=0")
    first = shown["first"]
    assert first["jaw"] > 10_000 and first["room"] == [11, 12, 14], "in the dark scheme"
    assert first["colours"] < 0.02 * first["jaw"] and shown["again"] == first
    changed = (
        "turned",
        "nearer",
        "moved",
        "dragged",
        "pinched",
        "coloured",
        "ground_truth",
        "both",
    )
    assert all(shown[name]["sum"] != first["sum"] for name in changed)
    assert shown["nearer"]["jaw"] > 1.2 * first["jaw"] < shown["pinched"]["jaw"]
    assert abs(shown["moved"]["jaw"] / first["jaw"] - 1) < 0.1
    assert shown["coloured"]["colours"] > 0.3 * shown["coloured"]["jaw"]
    assert shown["requests"] == 0 and shown["error"] == 0
    assert "Reconstruction" in shown["words"] and "WebGL" not in shown["words"]


def test_without_webgl_the_page_says_so(browser, average, tmp_path):
    shown = browser(
        page_of(average, tmp_path), "return document.body.innerText", "--disable-3d-apis"
    )
    assert "has no WebGL" in shown and "Colour by distance" not in shown and "mean" in shown
