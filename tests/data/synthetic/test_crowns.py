"""Rows of crowns from a shape model: one mesh, teeth in order, the variances of the model."""

import numpy as np
import pytest
from scipy.spatial import cKDTree

from dentalzoo.cli import main
from dentalzoo.data.io.mesh_files import Mesh, read_mesh
from dentalzoo.data.jaw_pose import find_pose
from dentalzoo.data.meshes import find_meshes
from dentalzoo.data.synthetic import crown_row, read_crown_model, write_jaw_dataset
from dentalzoo.data.synthetic.crowns import CROWNS
from dentalzoo.errors import BadFile, DentalzooError
from dentalzoo.ops.meshes import normals

FDI = (11, 12, 13, 14, 15, 16, 17, 21, 22, 23, 24, 25, 26, 27)
POINTS, TALL = 400, 0.4  # the second component makes crowns taller: mm, one standard deviation


def shape_model(components=3):
    """The arrays of a shape model: barrels with a flat cut and bumps, on an arch.

    Axes as in such files: the biting edges towards -y, the front towards z, 11 to 17 at -x.
    """
    turn = np.arange(POINTS) * np.pi * (3 - np.sqrt(5))
    y = 1 - (2 * np.arange(POINTS) + 1) / POINTS
    wide = np.sqrt(1 - y**2)
    crown = np.stack([4 * wide * np.cos(turn), 5 * y, 4 * wide * np.sin(turn)], axis=1)
    crown[:, 1] -= 0.5 * np.cos(2 * crown[:, 0]) * np.cos(2 * crown[:, 2]) * (y < -0.5)
    crown[:, 1] = np.minimum(crown[:, 1], 3.5 + crown[:, 0] / 8)
    angle = np.array([(fdi % 10 - 0.5) * 0.235 for fdi in FDI])
    side = np.array([-1 if fdi < 20 else 1 for fdi in FDI])
    centre = np.stack([28 * side * np.sin(angle), 0 * angle, 40 * np.cos(angle)], axis=1)
    modes = np.zeros((POINTS, 3, components))
    for axis in range(components):
        modes[:, (1, 0, 2)[axis], axis] = crown[:, (1, 0, 2)[axis]]
    norm = np.linalg.norm(modes, axis=(0, 1))
    deviation = TALL / np.ptp(crown[:, 1]) * norm * (1, 0.5, 0.5)[:components]
    deep = np.zeros((6, 6))
    deep[0, 1] = deep[1, 0] = 0.1
    pose = np.diag([1.0, 0.2, 1.0, 1e-4, 1e-4, 1e-4]) + deep
    return {
        "fdi": np.array(FDI),
        "mean": np.float32(crown + centre[:, None]),
        "modes": np.float32([(modes / norm).reshape(3 * POINTS, components)] * 14),
        "eigenvalues": np.float32([deviation**2] * 14),
        "pose_covariance": np.float32([pose] * 14),
    }


@pytest.fixture(scope="module")
def model_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("shape") / "upper.npz"
    np.savez(path, **shape_model())
    return path


@pytest.fixture(scope="module")
def model(model_file):
    return read_crown_model(model_file)


@pytest.fixture(scope="module")
def rows(model):
    return [crown_row(model, seed) for seed in range(24)]


def crown(row, fdi):
    return row.vertices[row.labels == fdi].astype(float)


def check_mesh(model, max_variation):
    """One closed surface around each crown, normals outward, vertices evenly spaced."""
    assert model.labels.shape == (50_000,) and model.labels.dtype == np.uint8
    assert model.faces.shape == (99_944, 3) and model.faces.dtype == np.int32
    assert np.unique(model.labels).tolist() == sorted(FDI)
    assert (np.ptp(model.labels[model.faces], axis=1) == 0).all()
    sides = model.faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2).astype(np.int64) @ (50_000, 1)
    back = model.faces[:, [1, 0, 2, 1, 0, 2]].reshape(-1, 2).astype(np.int64) @ (50_000, 1)
    assert len(np.unique(sides)) == len(sides) and set(sides.tolist()) == set(back.tolist())
    vertices = model.weights @ model.mean.reshape(-1, 3)
    for fdi in CROWNS:  # the Euler characteristic of a sphere
        used = model.faces[model.labels[model.faces[:, 0]] == fdi]
        assert len(used) == 2 * (model.labels == fdi).sum() - 4
        middle = vertices[model.labels == fdi].mean(0)
        direction, _ = normals(vertices, used)
        assert ((vertices[used].mean(1) - middle) * direction).sum(1).min() > -0.5
    near = cKDTree(vertices).query(vertices, 2)[0][:, 1]
    assert near.std() / near.mean() < max_variation
    assert np.abs(np.asarray(model.weights.sum(1)) - 1).max() < 1e-9
    points = model.mean.reshape(-1, 3)
    assert cKDTree(vertices).query(points)[0].max() < 0.4, "mm: no point of the mean is far off"


def check_row(row):
    pose = find_pose(Mesh(row.vertices, row.faces, row.labels))
    assert not pose.turned and not find_pose(Mesh(row.vertices, row.faces)).turned
    middle = {fdi: crown(row, fdi).mean(0) for fdi in FDI}
    assert all((centre[0] > 0) == (fdi < 20) for fdi, centre in middle.items())
    for quadrant in (10, 20):
        assert (np.diff([middle[quadrant + kind][1] for kind in range(2, 8)]) > 0).all()
    for one, other in zip(CROWNS, CROWNS[1:], strict=False):
        distance, nearest = cKDTree(crown(row, one)).query(crown(row, other))
        assert 0 < distance.min() < 0.6, "neighbours nearly touch"
        way = middle[other] - middle[one]
        first = distance.argsort()[:20]
        ahead = (crown(row, other)[first] - crown(row, one)[nearest[first]]) @ way
        assert (ahead > 0).all(), "and do not overlap"


# ---- the row -------------------------------------------------------------------------------------


def test_one_even_closed_mesh_of_fifty_thousand_vertices(model, rows):
    check_mesh(model, max_variation=0.25)
    for row in rows:
        assert row.vertices.shape == (50_000, 3) and row.vertices.dtype == np.float32
        assert row.faces is model.faces and row.labels is model.labels
        assert np.isfinite(row.vertices).all() and row.teeth == CROWNS


def test_a_seed_gives_the_same_row_from_the_same_file(model_file, rows):
    again = read_crown_model(model_file)
    for seed in (0, 7):
        assert (crown_row(again, seed).vertices == rows[seed].vertices).all()
    assert len({row.vertices.tobytes() for row in rows}) == len(rows)


def test_crowns_stand_along_the_arch_and_do_not_overlap(rows):
    for row in rows[:8]:
        check_row(row)


def test_shapes_and_arches_have_the_variances_of_the_model(model, rows):
    rows = [*rows, *(crown_row(model, seed) for seed in range(24, 80))]
    tall = np.array([[np.ptp(crown(row, fdi)[:, 2]) for fdi in CROWNS] for row in rows])
    assert abs(tall.std() / TALL - 1) < 0.1
    height = np.array([[crown(row, fdi)[:, 2].mean() for fdi in CROWNS] for row in rows])
    assert abs(height.std() / np.sqrt(0.2) - 1) < 0.2
    right, left = height[:, :7].mean(1), height[:, 7:].mean(1)
    assert np.corrcoef(right, left)[0, 1] > 0.8, "most of it is of the arch"
    assert (height - height.mean(1, keepdims=True)).std() > 0.1, "the rest of each crown"
    assert np.std([np.ptp(row.vertices[:, 0]) for row in rows]) > 0.5


@pytest.mark.parametrize("seed", [-1, 0.5])
def test_invalid_seeds_are_refused(model, seed):
    with pytest.raises(DentalzooError, match="Received: "):
        crown_row(model, seed)


def test_the_real_shape_model(shared_data):
    path = shared_data / "jaw_shape_model" / "upper.npz"
    if not path.is_file():
        pytest.skip("DENTALZOO_DATA has no jaw_shape_model")
    model = read_crown_model(path)
    check_mesh(model, max_variation=0.25)
    for seed in range(8):
        check_row(crown_row(model, seed))
    real = read_mesh(path.with_name("subject_0_upper.obj"))
    turned = Mesh(-real.vertices[:, [0, 2, 1]], real.faces)
    assert not find_pose(turned).turned


# ---- the file ------------------------------------------------------------------------------------


def changed(name, change):
    content = shape_model()
    content[name] = change(content[name])
    return content


def first(value):
    """Return a function that sets the first element of an array to `value`."""

    def change(array):
        array = array.copy()
        array.flat[0] = value
        return array

    return change


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ({"mean": np.zeros((14, 9, 3))}, ".npz of fdi, mean, modes, eigenvalues, pose_covariance"),
        (changed("fdi", first(18)), "fdi must be 11 to 17 and 21 to 27. Received: [18, 12"),
        (changed("fdi", first(12)), "fdi must be"),
        (changed("fdi", lambda a: a[:9]), "fdi must be"),
        (changed("fdi", lambda a: a[:, None]), "fdi must have the shape (14,). Received: (14, 1)"),
        (changed("mean", lambda a: a[:13]), "must have the shape (14, 400, 3). Received: (13, 4"),
        (changed("mean", lambda a: a[0]), "mean must have the shape"),
        (changed("mean", lambda a: a[:, :0]), "mean must have the shape (14, 4, 3)"),
        (changed("mean", lambda a: a[:, :9]), "modes must have the shape (14, 27, 3)"),
        (changed("modes", lambda a: a[0, 0, 0]), "must have the shape (14, 1200, 40). Received: ("),
        (changed("eigenvalues", lambda a: a[:, :2]), "eigenvalues must have the shape (14, 3)"),
        (changed("pose_covariance", lambda a: a[:, :3]), "must have the shape (14, 6, 6"),
        (changed("mean", first(np.nan)), "mean must be finite. Received: NaN"),
        (changed("modes", lambda a: a.astype("U9")), "modes must hold numbers. Received: <U9"),
        (changed("eigenvalues", first(-1)), "must be variances, in square mm. Received: -1"),
        (changed("eigenvalues", lambda a: a * 1e6), "must be at most 3.0 mm. Received: "),
        (changed("pose_covariance", first(0)), "pose_covariance must be positive definite"),
        (changed("pose_covariance", lambda a: np.triu(a)), "pose_covariance must be symmetric"),
        (changed("mean", lambda a: a / 1000), "as in metres: multiply by 1000"),
        (changed("mean", lambda a: a * np.float32((-1, 1, 1))), "a mirror image"),
        (changed("mean", lambda a: a * np.float32((1, -1, -1))), "Received: towards y"),
        (changed("mean", lambda a: a * np.float32((-1, -1, 1))), "biting edges must be towards -y"),
        (changed("mean", lambda a: a[:, [0] * POINTS]), "Received: points in the same direction"),
    ],
)  # fmt: skip
def test_invalid_shape_models_are_refused_in_one_line(tmp_path, content, reason):
    np.savez(tmp_path / "upper.npz", **content)
    with pytest.raises(BadFile) as refused:
        read_crown_model(tmp_path / "upper.npz")
    assert reason in str(refused.value) and "\n" not in str(refused.value)
    assert str(refused.value).startswith(str(tmp_path / "upper.npz"))
    assert "Received: " in refused.value.reason


def test_teeth_may_stand_in_any_order(tmp_path, rows):
    content = {name: array[::-1] for name, array in shape_model().items()}
    np.savez(tmp_path / "upper.npz", **content)
    row = crown_row(read_crown_model(tmp_path / "upper.npz"), 3)
    assert (row.vertices == rows[3].vertices).all()


def test_too_many_points_and_damaged_files_are_refused(tmp_path, model_file, monkeypatch):
    path = tmp_path / "upper.npz"
    with pytest.raises(BadFile, match="cannot be read. Received: No such file"):
        read_crown_model(path)
    whole = model_file.read_bytes()
    for content in (b"", b"junk", whole[:1000], whole[:300] + b"\xff" * 9 + whole[309:]):
        path.write_bytes(content)
        with pytest.raises(BadFile, match="Received: "):
            read_crown_model(path)
    np.save(tmp_path / "one.npy", np.zeros(3))
    with pytest.raises(BadFile, match="must be a shape model, .npz of fdi"):
        read_crown_model(tmp_path / "one.npy")
    monkeypatch.setattr("dentalzoo.data.synthetic.crowns.ROWS", 13)
    with pytest.raises(BadFile, match=r"a crown must have at most 3\d\d points. Received: 400"):
        read_crown_model(model_file)


# ---- the data set --------------------------------------------------------------------------------


def test_one_folder_holds_both_rows_and_jaws(tmp_path, capsys, model_file, rows):
    out = tmp_path / "jaws" / "crowns"
    command = ["synthetic", "--kind", "crowns", "--shape-model", str(model_file), "--out", str(out)]
    assert main([*command, "--count", "3", "--seed", "5"]) == 0
    assert capsys.readouterr().out.strip() == str(out)
    write_jaw_dataset(tmp_path / "jaws" / "synthetic", 2, val_fraction=0.5)
    dataset = find_meshes(tmp_path / "jaws")
    assert {sample.name: sample.split for sample in dataset.samples} == {
        "row_0000_upper": "train", "row_0001_upper": "train", "row_0002_upper": "val",
        "0000_upper": "train", "0001_upper": "val",
    }  # fmt: skip
    assert not dataset.skipped
    sample = next(sample for sample in dataset.samples if sample.name == "row_0001_upper")
    mesh = read_mesh(sample.mesh, sample.labels)
    assert np.abs(mesh.vertices - rows[6].vertices).max() < 1e-4
    assert (mesh.faces == rows[6].faces).all() and (mesh.labels == rows[6].labels).all()
    assert main(["check", str(tmp_path / "jaws"), "--meshes"]) == 0
    assert "usable: 5" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--kind", "crowns"], "and only there. Received: --kind crowns, --shape-model None"),
        (["--kind", "jaws", "--shape-model", "x.npz"], "Received: --kind jaws"),
        (["--kind", "crowns", "--shape-model", "x.npz"], "x.npz: cannot be read. Received: No"),
        (
            ["--kind", "crowns", "--shape-model", "x.npz", "--size", "9"],
            "--size does not apply to crowns (meshes)",
        ),
    ],
)
def test_the_command_needs_a_shape_model(tmp_path, capsys, arguments, reason):
    assert main(["synthetic", "--out", str(tmp_path / "out"), *arguments]) == 2
    error = capsys.readouterr().err
    assert reason in error and error.count("\n") == 1
    assert not (tmp_path / "out").exists()
