import dataclasses
import json

import cv2
import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy.spatial import KDTree

import dentalzoo as dz
from dentalzoo.contracts import DataOptions
from dentalzoo.data.io.mesh_files import Mesh
from dentalzoo.data.meshes import sample_points
from dentalzoo.data.synthetic import upper_scan, write_jaw_scans
from dentalzoo.data.views import DISTANCE, render_depth, render_views
from dentalzoo.errors import DentalzooError
from dentalzoo.models import jaw_reconstruction
from dentalzoo.models.jaw_reconstruction import depth, fusion, losses, refinement
from dentalzoo.models.jaw_reconstruction.tones import matched, without_background
from dentalzoo.tasks.reconstruction.inference import NOT_REFINED, check_refines, reconstruct

SMALL = dataclasses.replace(
    jaw_reconstruction.VARIANTS["depth"],
    filters=(4, 8, 8),
    image_size=32,
    embedding=8,
    heads=2,
    num_points=300,
    batch_size=2,
    epochs=1,
)


@pytest.fixture(scope="module")
def scan():
    """A scan in the frame of the cameras, its views (1, 10, 96, 96, 1) in [0, 1], and its depth."""
    jaw = upper_scan(2)
    middle = (jaw.vertices.min(axis=0) + jaw.vertices.max(axis=0)) / 2
    mesh = Mesh((jaw.vertices - middle) / np.float32(40), jaw.faces)
    views = render_views(mesh, 96)[None] / np.float32(255)
    return mesh, views, render_depth(mesh, 96)[None].astype(np.float32)


def maps_of(truth, error=0.0):
    """Return what a network with an error of its depth would return, and the same certainty."""
    found = np.where(truth > 0, truth + error, DISTANCE)
    return np.concatenate([found, 0 * found - 4, found, found], axis=-1).astype(np.float32)


def distances(mesh, points):
    """Return the mean distance in mm of points from a surface, and back."""
    truth = sample_points(mesh, 20_000) * 40
    points = np.asarray(points) * 40
    return KDTree(truth).query(points)[0].mean(), KDTree(points).query(truth)[0].mean()


def fused(truth, views, error=0.0, count=20_000):
    return fusion.fuse(tf.constant(maps_of(truth, error)), tf.constant(views), count).numpy()[0]


# ---- the network ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def network():
    """Of fixed weights: with others, rounding may decide which of two points of a cell is taken."""
    keras.utils.set_random_seed(0)
    return jaw_reconstruction.build_model(SMALL)


def test_it_returns_four_maps_of_each_view_near_the_middle_of_the_jaw(network):
    views = np.random.default_rng(0).random((2, 10, 32, 32, 1), np.float32)
    maps = network(views).numpy()
    assert maps.shape == (2, 10, 32, 32, 4)
    assert np.abs(maps[..., 0] - DISTANCE).max() < 1.31


def test_a_missing_view_changes_nothing_but_what_the_others_lack(network):
    """The features of a black view are left out: whatever its image would hold."""
    views = np.random.default_rng(0).random((1, 10, 32, 32, 1), np.float32)
    views[:, 3] = 0
    features = tf.random.stateless_normal((10, 16, 16, 8), (1, 2))
    seen = tf.constant([[n != 3 for n in range(10)]])
    images = tf.reshape(views, (10, 32, 32, 1))
    other = tf.tensor_scatter_nd_update(features, [[3]], 9 + features[3:4])
    one, two = (depth.Volume()([f, images, seen]).numpy() for f in (features, other))
    np.testing.assert_allclose(one, two, atol=1e-5)


def test_voxels_are_seen_where_the_cameras_project_them():
    """The jaw's own points, as voxels, are seen in its silhouette; a point beside it is not."""
    jaw = upper_scan(2)
    middle = (jaw.vertices.min(axis=0) + jaw.vertices.max(axis=0)) / 2
    points = (jaw.vertices - middle) / 40
    views = render_views(Mesh(points.astype(np.float32), jaw.faces), 64)
    pixels = depth._voxel_pixels(64).numpy()
    cells = np.floor((points + depth.BOX) / depth.VOXEL).astype(int)
    flat = np.ravel_multi_index(tuple(cells.T), depth.GRID)
    for view, places in zip(views, pixels, strict=True):
        shown = np.zeros(64 * 64, bool)
        shown[places[np.unique(flat)]] = True
        silhouette = view[..., 0] > 0
        assert (shown.reshape(64, 64) & silhouette).sum() > 0.7 * silhouette.sum()
        assert (shown.reshape(64, 64) & ~silhouette).sum() < 0.35 * silhouette.sum()


def test_rays_end_where_the_volume_is_dense():
    """A wall across z = 0 is 3.6 away from the camera above, at every pixel that sees it."""
    density = np.full((1, *depth.GRID), -20, np.float32)
    density[:, :, :, depth.GRID[2] // 2 - 1] = 20  # the layer that ends at z = 0
    rendered = depth.Rendered(16)(density).numpy()[9]
    middle = rendered[6:10, 6:10]
    np.testing.assert_allclose(middle[..., 0], DISTANCE, atol=depth.VOXEL + 0.01)
    assert (middle[..., 1] > 5).all() and (rendered[0, :, 1] < -5).all()


def test_the_loss_is_least_at_the_truth(scan):
    _, _, truth = scan
    at_truth, off = (losses.depth_loss(truth, maps_of(truth, e)).numpy()[0] for e in (0, 0.02))
    assert at_truth < off
    assert losses.depth_error()(truth, maps_of(truth, 0.02)).numpy() == pytest.approx(0.8, rel=0.01)


@pytest.mark.parametrize(
    "wrong", [{"channels": 3}, {"image_size": 34}, {"filters": (4, 8)}], ids=str
)
def test_contradicting_settings_are_refused(wrong):
    with pytest.raises(dz.DentalzooError, match="decoder=depth must have"):
        dataclasses.replace(SMALL, **wrong)


@pytest.mark.parametrize(
    "wrong",
    [{"tones": (1, 2, 3)}, {"tones": (9, 8, 7, 6, 5, 4)}, {"decoder": "mlp", "filters": (4, 8)}],
    ids=str,
)
def test_grey_values_that_are_no_curve_are_refused(wrong):
    with pytest.raises(dz.DentalzooError, match="tones must be empty, or 6 rising grey values"):
        dataclasses.replace(SMALL, **wrong)


def test_darker_views_give_the_same_points(bundle):
    jaw = upper_scan(2)
    middle = (jaw.vertices.min(axis=0) + jaw.vertices.max(axis=0)) / 2
    views = render_views(Mesh((jaw.vertices - middle) / np.float32(40), jaw.faces), 32)
    dark = np.where(views > 24, np.maximum(np.rint(0.6 * views), 25), views).astype(np.uint8)
    points = [bundle.serve(seen)["points"] for seen in (views, dark)]
    apart = np.linalg.norm(points[0][:, None] - points[1][None], axis=2)
    assert (apart.min(0) < 0.5).mean() > 0.9 and (apart.min(1) < 0.5).mean() > 0.9


# ---- fusion --------------------------------------------------------------------------------------


def test_the_true_depth_gives_the_surface(scan):
    mesh, views, truth = scan
    there, back = distances(mesh, fused(truth, views))
    assert there < 0.4 and back < 0.5


def test_errors_of_single_views_are_corrected_by_the_others(scan):
    """Each view is 0.8 mm off, on average, in a direction of its own."""
    mesh, views, truth = scan
    error = np.random.default_rng(1).normal(0, 0.02, (1, 10, 1, 1, 1))
    there, back = distances(mesh, fused(truth, views, error))
    assert there < 0.5 and back < 0.5


def test_points_beside_a_silhouette_or_looked_through_are_dropped(scan):
    """One view in error by 8 mm leaves no cloud of its own in front of the jaw."""
    mesh, views, truth = scan
    error = np.zeros((1, 10, 1, 1, 1))
    error[:, 4] = -0.2
    found = KDTree(sample_points(mesh, 20_000) * 40).query(fused(truth, views, error) * 40)[0]
    assert (found > 4).mean() < 0.01


def test_missing_views_are_no_silhouettes(scan):
    mesh, views, truth = scan
    views = views.copy()
    views[:, [1, 5]] = 0
    there, back = distances(mesh, fused(truth, views))
    assert there < 0.4 and back < 0.7


def test_points_are_evenly_spread(scan):
    """Random points have a variation of the spacing of 0.43 or more."""
    _, views, truth = scan
    points = fused(truth, views)
    spacing = KDTree(points).query(points, 2)[0][:, 1]
    assert spacing.std() / spacing.mean() < 0.43


def test_a_jaw_of_few_pixels_repeats_its_points(scan):
    _, views, truth = scan
    few, kept = np.zeros_like(views), np.zeros_like(truth)
    row, column = np.argwhere(truth[0, 9, ..., 0] > 0)[0]
    few[0, 9, row, column] = views[0, 9, row, column]
    kept[0, 9, row, column] = truth[0, 9, row, column]
    points = fused(kept, few, count=50)
    assert len(np.unique(points.round(5), axis=0)) == 9 and np.isfinite(points).all()


def test_black_views_give_the_origin():
    views = np.zeros((1, 10, 32, 32, 1), np.float32)
    points = fused(views, views, count=40)
    assert points.shape == (40, 3) and np.isfinite(points).all()


# ---- refinement ----------------------------------------------------------------------------------


def refine(maps, views):
    done = tf.function(refinement.refine)(tf.constant(maps), tf.constant(views))
    return [x.numpy() for x in done]


def test_the_shading_of_the_true_depth_is_what_the_views_show(scan):
    _, views, truth = scan
    true = tf.constant(truth[..., 0])
    smooth = refinement._smooth_places(true, refinement._inside(true > 0)).numpy() > 0
    assert smooth.sum() > 0.4 * (truth > 0).sum()
    difference = np.abs(refinement._shading(true).numpy() - views[..., 0])[smooth]
    assert np.median(difference) < 0.02  # 5 grey values
    lit = refinement._shading(true).numpy()[smooth]
    assert np.corrcoef(lit, views[..., 0][smooth])[0, 1] > 0.9


def test_refined_depth_is_nearer_to_the_truth(scan):
    """The depth of each view is smoothed and off, as that of a network is."""
    mesh, views, truth = scan
    there = truth[0, ..., 0] > 0
    parts = [cv2.GaussianBlur(x, (0, 0), 1) for x in (*truth[0, ..., 0], *np.float32(there))]
    blurred = np.stack(parts[:10]) / np.maximum(parts[10:], 1e-6)
    bias = np.random.default_rng(1).normal(0, 0.01, (10, 1, 1))
    maps = maps_of(np.where(there, blurred + bias, 0)[None, ..., None])
    refined, moved = refine(maps, views)
    assert moved.tolist() == [True]
    assert (refined[..., 1:] == maps[..., 1:]).all()
    assert (refined[views[..., 0] == 0] == maps[views[..., 0] == 0]).all()
    before, after = (np.abs(m[..., 0] - truth[..., 0])[0, there] for m in (maps, refined))
    assert np.median(after) < 0.85 * np.median(before), (np.median(after), np.median(before))
    pair = [fusion.fuse(*map(tf.constant, (m, views)), 20_000)[0] for m in (maps, refined)]
    rough, fine = (distances(mesh, points) for points in pair)
    assert sum(fine) < 0.95 * sum(rough), (fine, rough)


def test_views_under_other_light_leave_depth_as_it_is(scan, monkeypatch):
    """Each jaw by itself: the first has its views, the second those lit from below."""
    mesh, views, truth = scan
    monkeypatch.setattr("dentalzoo.data.views._LIGHT", (0.3, -2.0, 0.5))
    below = render_views(mesh, 96)[None] / np.float32(255)
    monkeypatch.undo()
    maps = np.repeat(maps_of(truth), 2, axis=0)
    both = np.concatenate([views, below])
    refined, moved = refine(maps, both)
    assert moved.tolist() == [True, False]
    assert np.abs(refined[0] - maps[0]).max() > 1e-3
    assert (refined[1] == maps[1]).all()


def test_nothing_is_refined_where_no_view_shows_a_jaw():
    views = np.zeros((1, 10, 32, 32, 1), np.float32)
    assert (refine(maps_of(views), views)[0] == maps_of(views)).all()


# ---- training ------------------------------------------------------------------------------------


def test_batches_have_the_depth_of_each_view(tmp_path):
    scans = write_jaw_scans(tmp_path / "scans", 2, val_fraction=0)
    stream = jaw_reconstruction.make_dataset(scans, SMALL, DataOptions("train"))
    batch = next(iter(stream.dataset))
    assert batch["views"].shape == batch["depth"].shape == (2, 10, 32, 32, 1)
    there = batch["depth"].numpy() > 0
    assert 0.9 < (there == (batch["views"].numpy() > 0)).mean() < 1
    assert np.abs(batch["depth"].numpy()[there] - DISTANCE).max() < 1.3


def test_cells_are_few_enough_for_float32():
    """ONNX sorts integers as float32, which has every integer up to 2^24 and not those above."""
    assert np.prod(fusion._CELLS) < 1 << 24
    assert (np.float32(fusion._CELLS) / 2 * fusion._CELL > np.float32(depth.BOX)).all()


# ---- the bundle ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def bundle(network, tmp_path_factory):
    return dz.export(
        network, tmp_path_factory.mktemp("depth") / "bundle", "jaw_reconstruction", SMALL
    )


def test_the_bundle_returns_what_the_network_and_the_fusion_do(bundle, network):
    views = np.uint8(255 * np.random.default_rng(0).random((1, 10, 32, 32, 1)))
    points = bundle.serve(views)["points"]
    images = matched(without_background(tf.constant(views / np.float32(255))), SMALL.tones)
    expected = fusion.fuse(network(images), images, SMALL.num_points).numpy() * 40
    # Rounding may decide which of two points of a cell is taken, and those after it move up.
    apart = np.linalg.norm(np.reshape(points, (300, 1, 3)) - expected[0], axis=2)
    assert (apart.min(0) < 1e-2).mean() > 0.95 and (apart.min(1) < 1e-2).mean() > 0.95


def test_noise_beside_a_jaw_is_no_jaw(bundle):
    views = np.uint8(np.random.default_rng(0).integers(40, 246, (1, 10, 32, 32, 1)))
    views[:, :, :, :12] = 0
    noise = np.uint8(np.random.default_rng(1).integers(0, 25, views.shape))
    noisy = np.where(views > 0, views, noise)
    assert (bundle.serve(noisy)["points"] == bundle.serve(views)["points"]).all()


def test_some_views_are_refined_and_a_bundle_without_refinement_says_so(bundle):
    views = np.uint8(np.random.default_rng(0).integers(100, 246, (10, 32, 32, 1)))
    views[:, :, :10] = 0
    points = reconstruct(bundle, views, refine=True).points
    assert points.shape == (300, 3) and np.isfinite(points).all()
    few = reconstruct(bundle, views[[7, 0]], np.array([7, 0]), refine=True).points
    black = views * np.isin(np.arange(10), (0, 7))[:, None, None, None].astype(np.uint8)
    assert np.allclose(few, reconstruct(bundle, black, refine=True).points, atol=1e-3)
    assert reconstruct(bundle, views).refined is None
    check_refines(bundle, True)
    plain = dz.Bundle(bundle.path, {**bundle.metadata, "signatures": {"serve": {}}}, None)
    check_refines(plain, False)
    with pytest.raises(DentalzooError, match="refine must be False for bundles without"):
        check_refines(plain, True)


def test_jaws_that_are_not_refined_are_named(bundle, tmp_path, caplog):
    """The shading of what a network with random weights returns is that of no view."""
    scans = write_jaw_scans(tmp_path / "scans", 2, val_fraction=0)
    dz.predict(bundle, scans, tmp_path / "out", refine=True)
    jaws = json.loads((tmp_path / "out/confidence.json").read_text())["jaws"]
    assert [jaw["refined"] for jaw in jaws] == [False, False]
    assert caplog.text.count(f".obj: {NOT_REFINED}") == 2
    report = dz.evaluate(bundle, scans, refine=True)
    assert [row["refined"] for row in report["per_jaw"]] == [False, False]
    assert f"2 of 2 jaws, as {report['per_jaw'][0]['name']}: {NOT_REFINED}" in caplog.text
    assert "refined" not in dz.evaluate(bundle, scans)["per_jaw"][0]
