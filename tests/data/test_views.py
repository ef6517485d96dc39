"""Rendered views: the image of each camera, determinism, the cache, and a missing Open3D."""

import importlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dentalzoo.data import views
from dentalzoo.data.io.mesh_files import Mesh
from dentalzoo.data.jaw_pose import Pose, find_pose
from dentalzoo.data.meshes import find_meshes, load_mesh
from dentalzoo.data.pipeline import batches
from dentalzoo.data.pipeline import cache as pipeline
from dentalzoo.data.synthetic import upper_jaw, write_jaw_dataset
from dentalzoo.data.views import cache_views, cameras, load_views, render_views
from dentalzoo.errors import DentalzooError

try:
    import open3d  # noqa: F401
except (ImportError, OSError) as error:
    pytest.skip(f"open3d: {error}", allow_module_level=True)

GOLDEN = Path(__file__).parent.parent / "golden" / "views.png"


@pytest.fixture(scope="module")
def jaw():
    """A synthetic jaw in its pose."""
    synthetic = upper_jaw(7, missing=0)
    vertices = find_pose(synthetic).apply(synthetic.vertices)
    return Mesh(vertices, synthetic.faces, synthetic.labels)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_jaw_dataset(tmp_path_factory.mktemp("views") / "jaws", 4, seed=20)


def test_other_cameras_see_what_those_of_a_turned_jaw_see(jaw):
    """A quarter turn of all cameras about z is one of the jaw the other way around."""
    turn = np.array([[0, -1, 0], [1, 0, 0], [0, 0, 1]])
    turned = Mesh((jaw.vertices @ turn).astype(np.float32), jaw.faces)
    one = render_views(jaw, 24, at=cameras() @ turn.T).astype(int)
    assert np.abs(one - render_views(turned, 24)).mean() < 0.5
    assert np.abs(one - render_views(jaw, 24)).mean() > 5


def test_nine_cameras_around_and_one_above():
    eyes, ups = cameras()[:, 0], cameras()[:, 1]
    assert np.allclose(np.linalg.norm(eyes, axis=1), views.DISTANCE)
    assert len(np.unique(eyes.round(6), axis=0)) == 10 and len(set(eyes[:9, 2].round(9))) == 1
    turns = np.diff(np.unwrap(np.arctan2(eyes[:9, 0], -eyes[:9, 1])))
    assert np.allclose(np.rad2deg(turns), 40)
    assert eyes[0, 1] < 0 and eyes[0, 0] == 0, "view 0 is from the front"
    assert np.allclose(np.cross(eyes, ups)[9, :2] / views.DISTANCE, (1, 0)), "and 9 from the top"


def lump(*position):
    """A small octahedron in an empty scene."""
    ends = 0.06 * np.concatenate([np.eye(3), -np.eye(3)])
    faces = [(i, j, k) for i in (0, 3) for j in (1, 4) for k in (2, 5)]
    return Mesh(np.float32(ends + position), np.int32(faces))


def position_in_views(mesh):
    """(10, 2) of the centre of a mesh in each view: down and to the right, -1 to 1."""
    centres = [np.argwhere(view).mean(0) / 31.5 - 1 for view in render_views(mesh, 64)[..., 0]]
    return np.stack(centres)


def test_each_camera_sees_the_mesh_where_it_is():
    assert np.abs(position_in_views(lump(0, 0, 0))).max() < 0.05
    right, front, up = (position_in_views(lump(*p)) for p in ((1, 0, 0), (0, -1, 0), (0, 0, 0.6)))
    assert right[9, 1] < -0.6 and abs(right[9, 0]) < 0.05, "as in a dentist's chart"
    assert front[9, 0] < -0.6 and abs(front[9, 1]) < 0.05
    assert (up[:9, 0] < -0.2).all() and np.abs(up[:9, 1]).max() < 0.05
    assert right[0, 1] > 0.6 and front[0, 0] > 0.2, "the crowns are up: the right is on the right"
    turned = np.arctan2(right[:9, 1], front[:9, 1])
    assert len(np.unique(turned.round(1))) == 9, "nine directions"


def test_views_are_grey_images_of_the_whole_jaw(jaw):
    shown = render_views(jaw, 64)
    assert shown.shape == (10, 64, 64, 1) and shown.dtype == np.uint8
    for view in shown[..., 0]:
        edge = np.concatenate([view[[0, -1]].ravel(), view[:, [0, -1]].ravel()])
        assert not edge.any(), "cut off"
        covered = view[view > 0]
        assert 0.1 < covered.size / view.size < 0.6 and covered.std() > 20
    three = render_views(jaw, 64, channels=3)
    assert three.shape[-1] == 3 and (three == shown).all()


def test_views_are_the_same_each_time_and_for_either_winding(jaw):
    shown = render_views(jaw, 64)
    assert (render_views(jaw, 64) == shown).all()
    inside_out = Mesh(jaw.vertices, jaw.faces[:, ::-1])
    assert np.abs(render_views(inside_out, 64).astype(int) - shown).max() <= 1


def test_the_golden_views(jaw, update_golden):
    shown = render_views(jaw, 48)[..., 0]
    figure = np.concatenate([np.concatenate(shown[:5], axis=1), np.concatenate(shown[5:], axis=1)])
    if update_golden:
        Image.fromarray(figure).save(GOLDEN, optimize=True)
    golden = np.asarray(Image.open(GOLDEN)).astype(int)
    assert np.abs(golden - figure).mean() < 0.5 and (np.abs(golden - figure) > 20).mean() < 0.01


@pytest.mark.parametrize("options", [{"size": 0}, {"size": 2.5}, {"channels": 4}])
def test_invalid_sizes_are_refused(jaw, options):
    with pytest.raises(DentalzooError, match="Received: size="):
        render_views(jaw, **options)


# ---- samples -------------------------------------------------------------------------------------


def test_points_lie_on_the_jaw_that_is_seen(data):
    from scipy.spatial import cKDTree

    sample = find_meshes(data).samples[0]
    loaded = load_views(sample, 48, 3, 2000)
    assert {key: (value.shape, str(value.dtype)) for key, value in loaded.items()} == {
        "views": ((10, 48, 48, 3), "uint8"),
        "points": ((2000, 3), "float32"),
        "centre": ((3,), "float32"),
        "turned": ((), "bool"),
    }
    mesh, _ = load_mesh(sample)
    pose = Pose(tuple(loaded["centre"].tolist()), bool(loaded["turned"]))
    distance = cKDTree(mesh.vertices).query(pose.invert(loaded["points"]))[0]
    assert distance.max() < 1.5 and distance.mean() < 0.3  # mm


def test_the_cache_feeds_batches(data):
    cache = cache_views(find_meshes(data).samples, None, 32, 1, 500)
    batch = next(iter(batches(cache, 2)))
    assert batch["views"].shape == (2, 10, 32, 32, 1) and batch["points"].shape == (2, 500, 3)
    assert batch["views"].dtype == "uint8" and batch["points"].dtype == "float32"


def test_an_interrupted_cache_resumes(data, tmp_path, monkeypatch):
    samples, settings = find_meshes(data).samples, (tmp_path, 32, 1, 500)
    monkeypatch.setattr(pipeline, "_SAVE_SECONDS", 0)
    loaded = []

    def load_three(sample, *args):
        loaded.append(sample.name)
        if len(loaded) == 4:
            raise KeyboardInterrupt
        return load_views(sample, *args)

    monkeypatch.setattr(views, "load_views", load_three)
    with pytest.raises(KeyboardInterrupt):
        cache_views(samples, *settings)
    first, loaded[:] = list(loaded), []
    again = cache_views(samples, *settings)
    assert loaded == [sample.name for sample in samples][-len(loaded) :] and len(loaded) < 3
    assert again.names == [sample.name for sample in samples] and first
    monkeypatch.setattr(views, "load_views", load_views)
    whole = cache_views(samples, None, *settings[1:])
    for key, array in whole.arrays.items():
        assert (array == again.arrays[key]).all(), key
    loaded.clear()
    monkeypatch.setattr(views, "load_views", load_three)
    assert len(cache_views(samples, *settings)) == 4 and not loaded
    with pytest.raises(DentalzooError, match="method must be one of"):
        cache_views(samples, method="surface")


# ---- without Open3D ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "advice"),
    [
        (ModuleNotFoundError("No module named 'open3d'"), "pip install 'dentalzoo[jaw-rec"),
        (ImportError("libusb-1.0.so.0: cannot open shared object file"), "apt-get install libegl1"),
        (OSError("libGL.so.1: cannot open shared object file"), "apt-get install libegl1"),
    ],
)
def test_a_missing_open3d_is_reported_in_one_line(jaw, monkeypatch, error, advice):
    def fails(name):
        raise error

    monkeypatch.setattr(importlib, "import_module", fails)
    with pytest.raises(DentalzooError) as raised:
        render_views(jaw, 8)
    assert advice in str(raised.value) and "\n" not in str(raised.value)
    assert "Received: " in str(raised.value)


def test_meshes_are_read_without_open3d_and_without_a_display():
    code = (
        "import sys; sys.modules['open3d'] = None\n"
        "import dentalzoo.data.views, dentalzoo.data.meshes, dentalzoo.data.synthetic\n"
        "print([name for name in ('tensorflow', 'trimesh', 'scipy') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=GOLDEN.parents[2]
    )
    assert done.stdout == "[]\n", done.stderr
