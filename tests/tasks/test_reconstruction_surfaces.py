"""Surfaces through points of known shapes, and what `predict` writes of points."""

from pathlib import Path

import numpy as np
import pytest

import dentalzoo as dz
from dentalzoo.data.io.mesh_files import read_mesh
from dentalzoo.errors import DentalzooError
from dentalzoo.ops.meshes import nearest, unit
from dentalzoo.tasks import reconstruction
from dentalzoo.tasks.options import ReconstructionPredictOptions
from dentalzoo.tasks.predictor import Item
from dentalzoo.tasks.reconstruction import inference, prediction
from dentalzoo.tasks.reconstruction.inference import Shape
from dentalzoo.tasks.reconstruction.sources import Loaded
from dentalzoo.tasks.reconstruction.surfaces import facing_normals, surface_of

RADIUS = 12  # mm


def dome(count):
    """Points on the upper half of a sphere, without a band 4 mm wide across it."""
    points = unit(np.random.default_rng(0).normal(size=(3 * count, 3)))
    points = RADIUS * points[points[:, 2] > 0.1]
    return points[np.abs(points[:, 0]) > 2][:count]


def test_normals_face_the_cameras():
    points = dome(3000)
    cosines = (facing_normals(points) * points).sum(axis=1) / RADIUS
    assert (cosines > 0.9).mean() > 0.98


def test_a_surface_runs_through_its_points_and_leaves_gaps_open():
    pytest.importorskip("open3d")
    points = dome(10_000)
    surface = surface_of(points)
    vertices, faces = surface.surface
    assert np.abs(np.linalg.norm(vertices, axis=1) - RADIUS).mean() < 0.1
    assert nearest(points, vertices)[0].max() < 0.8
    assert np.abs(vertices[:, 0]).min() > 1.1
    a, b, c = (vertices[faces[:, corner]] for corner in range(3))
    outward = (np.cross(b - a, c - a) * a).sum(axis=1) > 0
    assert outward.mean() > 0.98


@pytest.fixture
def pointed():
    """A bundle that makes as many points as a surface needs."""
    points = {"shape": [None, inference.MIN_POINTS, 3], "dtype": "float32"}
    signatures = {"serve": {"inputs": {}, "outputs": {"points": points}}}
    metadata = {"name": "pointed", "signatures": signatures, "config": {"image_size": 32}}
    return dz.Bundle(Path("pointed"), metadata, None)


def files_of(pointed, monkeypatch, mesh=None):
    """What `predict` writes of a dome, with a quick surface in place of Poisson's."""
    flat = Shape(np.float32([[0, 0, 0], [9, 0, 0], [0, 9, 0]]), np.int32([[0, 1, 2]]))
    monkeypatch.setattr(prediction, "surface_of", lambda points: flat)
    monkeypatch.setattr(prediction.drawing, "jaw_figure", lambda *a: np.zeros((4, 4, 3), np.uint8))
    predictor = reconstruction.Predictor(pointed, ReconstructionPredictOptions(mesh=mesh))
    views = np.zeros((10, 32, 32, 1), np.uint8)
    jaw = Loaded(views, np.arange(10, dtype=np.int32))
    points = dome(inference.MIN_POINTS).astype(np.float32)
    return predictor.results(Item(1, "jaw", "jaw", "jaw"), jaw, Shape(points)).files


def test_points_are_written_with_a_surface_through_them(pointed, monkeypatch, tmp_path):
    files = files_of(pointed, monkeypatch)
    assert {"jaw.ply", "jaw.stl", "jaw.html"} <= set(files)
    for name in ("jaw.ply", "jaw.stl"):
        (tmp_path / name).write_bytes(files[name])
    assert files["jaw.ply"].startswith(b"ply") and b"element face" not in files["jaw.ply"][:400]
    assert len(read_mesh(tmp_path / "jaw.stl").faces) == 1
    assert "1 faces" in files["jaw.html"].decode()
    assert "jaw.obj" in files_of(pointed, monkeypatch, ("obj",))
    assert "jaw.stl" not in files_of(pointed, monkeypatch, ("ply",))


def test_without_open3d_points_alone_are_written_and_said(pointed, monkeypatch, caplog):
    def missing():
        raise DentalzooError("open3d must be installed")

    monkeypatch.setattr(prediction, "import_open3d", missing)
    assert "jaw.stl" not in files_of(pointed, monkeypatch)
    assert "points are written, and no surface through them: open3d must be" in caplog.text
    with pytest.raises(DentalzooError, match="open3d must be installed"):
        files_of(pointed, monkeypatch, ("obj",))
