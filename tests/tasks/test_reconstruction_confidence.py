"""Residuals between views and renders: of the same jaw, of other ones, and their bounds."""

import json

import numpy as np
import pytest

import dentalzoo as dz
from dentalzoo.data.io.mesh_files import Mesh
from dentalzoo.data.jaw_pose import find_pose
from dentalzoo.data.synthetic import upper_jaw, upper_scan
from dentalzoo.data.tones import match_tones
from dentalzoo.data.views import render_views
from dentalzoo.ops.meshes import nearest, sample_surface
from dentalzoo.tasks.reconstruction.confidence import METRIC, bound_for, bound_of, confidence
from dentalzoo.tasks.reconstruction.inference import Shape, as_seen, reconstruct

pytest.importorskip("open3d")


def seen(jaw, side=96):
    """The views (10, side, side, 1) of a jaw, and its shape in mm."""
    mesh = Mesh(jaw.vertices, jaw.faces)
    mesh, shape = as_seen(mesh, find_pose(mesh))
    return render_views(mesh, side), shape


@pytest.fixture(scope="module")
def jaw():
    return seen(upper_jaw(3))


def test_a_jaw_explains_its_own_views(jaw):
    views, shape = jaw
    trust = confidence(shape, views, range(10), 3.0)
    assert trust.residual < 2 and trust.warning is None and min(trust.ious) > 0.97
    points = Shape(sample_surface(*shape.surface, 50_000)[0].astype(np.float32))
    assert confidence(points, views, range(10)).residual < 12


def test_residuals_are_of_each_view_and_named_by_its_camera(jaw):
    views, shape = jaw
    few = views[[2, 7]].copy()
    few[1] = few[1, :, ::-1]
    trust = confidence(shape, few, (2, 7), 10.0)
    assert trust.residuals[1] > 20 > 2 > trust.residuals[0]
    assert trust.residual == pytest.approx(np.mean(trust.residuals))
    assert "grey values" in trust.warning and "most in view 7" in trust.warning
    record = trust.record()
    assert json.loads(json.dumps(record)) == record and record["warning"] == trust.warning
    assert [row["view"] for row in record["views"]] == [2, 7]
    assert record["views"][1]["silhouette_iou"] < 0.9 < record["views"][0]["silhouette_iou"]


def test_another_jaw_within_nearly_the_same_silhouette_is_said(jaw):
    views, shape = jaw
    smaller = Shape(shape.points * np.float32([0.93, 0.93, 0.8]), shape.faces)
    assert "do not trust" in confidence(smaller, views, range(10)).warning


def test_views_and_renders_without_a_jaw_are_as_different_as_can_be(jaw):
    far = Shape(np.float32(jaw[1].points + [900, 0, 0]), jaw[1].faces)
    trust = confidence(far, np.zeros((1, 96, 96, 1), np.uint8), (9,))
    assert trust.residuals == (255.0,) and trust.ious == (0.0,)


def test_few_points_have_a_residual_and_no_verdict(jaw):
    views, shape = jaw
    trust = confidence(Shape(shape.points[::100]), views, range(10))
    assert trust.residual > 0 and trust.warning is None


def test_bounds_are_measured_by_evaluate_and_never_lax():
    assert bound_of({"metrics": {METRIC: 9.5}}) == 9.5
    assert bound_of({"metrics": {METRIC: 90.0}}) == 25
    assert 12 < bound_of({"metrics": {}}) < 14
    assert [bound_for(10, count) for count in (10, 5, 1)] == [10, 15, 19]


@pytest.mark.slow
def test_the_released_bundle_reads_darker_views_and_warns_of_inverted_ones():
    bundle = dz.load("jaw_reconstruction.drawn_scans_v3")
    bound, tones = bound_of(bundle.metadata), bundle.config.tones
    assert 15 < bound < 25
    warned, moved = [], []
    for seed in range(900_000, 900_004):
        views, _ = seen(upper_scan(seed), 128)
        inverted = np.where(views > 20, np.maximum(255 - views, 25), views)
        dark = np.where(views > 24, np.maximum(views // 2, 25), views)
        shapes = [reconstruct(bundle, shown) for shown in (views, dark, inverted)]
        for shape, shown in zip(shapes, (views, dark, inverted), strict=True):
            trust = confidence(shape, match_tones(shown, tones), range(10), bound)
            warned.append(trust.warning is not None)
        moved.append(nearest(shapes[1].points, shapes[0].points)[0].mean())
    assert sum(warned[::3]) <= 1 and sum(warned[1::3]) <= 1 and all(warned[2::3]), warned
    assert max(moved) < 0.2, moved
