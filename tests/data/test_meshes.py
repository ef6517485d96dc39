"""Meshes of jaws: order of vertices, formats, layouts, splits, and errors."""

import json
import shutil
import struct
from dataclasses import replace

import numpy as np
import pytest

from dentalzoo.cli import main
from dentalzoo.data.io.mesh_files import (
    Mesh,
    read_labels,
    read_mesh,
    write_obj,
    write_ply,
    write_stl,
)
from dentalzoo.data.jaw_pose import Pose, find_pose
from dentalzoo.data.meshes import check_meshes, find_meshes, load_mesh, sample_points
from dentalzoo.data.synthetic import upper_jaw, upper_scan, write_jaw_dataset
from dentalzoo.errors import BadFile, DentalzooError, MissingSplit
from dentalzoo.ops.meshes import open_edges

trimesh = pytest.importorskip("trimesh")

SQUARE = "v 0 0 0\nv 9 9 9\nv 1 0 0\nv 0 1 0\nv 1 1 0\n"  # the second is in no face
CORNERS = [[3, 0, 2], [2, 4, 3]]


@pytest.fixture(scope="module")
def jaw():
    synthetic = upper_jaw(3, missing=0)
    return Mesh(synthetic.vertices, synthetic.faces, synthetic.labels)


@pytest.fixture(scope="module")
def coarse(jaw):
    """A jaw of 6,300 vertices, quick to write."""
    rows, columns = np.r_[0:125:2], np.r_[0:400:4]
    kept = (columns[:, None] * 125 + rows).ravel()
    wide, tall = len(columns), len(rows)
    a = (np.arange(wide - 1)[:, None] * tall + np.arange(tall - 1)).ravel()
    faces = np.concatenate([[a, a + 1, a + tall], [a + 1, a + tall + 1, a + tall]], axis=1).T
    return Mesh(jaw.vertices[kept], faces.astype(np.int32), jaw.labels[kept])


def write_mesh(path, mesh, labels=False):
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".obj":
        write_obj(path, mesh.vertices, mesh.faces)
    else:
        trimesh.Trimesh(mesh.vertices, mesh.faces, process=False).export(path)
    if labels:
        content = {"jaw": "upper", "labels": mesh.labels.tolist()}
        path.with_suffix(".json").write_text(json.dumps(content))
    return path


# ---- files ---------------------------------------------------------------------------------------


def test_written_files_are_read_by_us_and_by_trimesh(coarse, tmp_path):
    for write, suffix in ((write_ply, "ply"), (write_stl, "stl"), (write_obj, "obj")):
        path = tmp_path / f"jaw.{suffix}"
        write(path, coarse.vertices, coarse.faces)
        mesh, other = read_mesh(path), trimesh.load_mesh(path, process=False)
        assert len(mesh.faces) == len(other.faces) == len(coarse.faces)
        corners = coarse.vertices[coarse.faces]
        for vertices, faces in ((mesh.vertices, mesh.faces), (other.vertices, other.faces)):
            assert np.abs(vertices[faces] - corners).max() < (1e-4 if suffix == "obj" else 1e-6)
    other = trimesh.load_mesh(tmp_path / "jaw.stl", process=False)
    stored = np.frombuffer((tmp_path / "jaw.stl").read_bytes()[84:], [("n", "<3f4"), ("", "V38")])
    assert np.allclose(stored["n"], other.face_normals, atol=1e-3)


def test_a_point_cloud_is_a_ply_file(coarse, tmp_path):
    write_ply(tmp_path / "points.ply", coarse.vertices)
    cloud = trimesh.load(tmp_path / "points.ply")
    assert isinstance(cloud, trimesh.PointCloud)
    assert (np.asarray(cloud.vertices, np.float32) == coarse.vertices).all()
    with pytest.raises(BadFile, match="points.ply: must"):
        read_mesh(tmp_path / "points.ply")


@pytest.mark.parametrize(
    "text",
    [
        SQUARE + "f 4 1 3\nf 3 5 4\n",
        SQUARE.replace("\n", " 0.5 0.5 0.5\n") + "f 4 1 3\nf 3 5 4\n",
        SQUARE + "vn 0 0 1\nvt 0 0\ng a\nusemtl x\nf 4/1/1 1/1/1 3/1/1\ng b\nf 3//1 5//1 4//1",
        SQUARE.replace("\n", "\r\n") + "# f 1 2\r\nf -2 -5 -3\r\nf -3 -1 -2\r\n",
    ],
)
def test_obj_keeps_every_vertex_in_order(tmp_path, text):
    (tmp_path / "a.obj").write_text(text, newline="")
    mesh = read_mesh(tmp_path / "a.obj")
    assert mesh.vertices.tolist() == [[0, 0, 0], [9, 9, 9], [1, 0, 0], [0, 1, 0], [1, 1, 0]]
    assert mesh.faces.tolist() == CORNERS
    assert (mesh.vertices.dtype, mesh.faces.dtype) == (np.float32, np.int32)


def test_polygons_become_triangles(tmp_path):
    (tmp_path / "a.obj").write_text(SQUARE + "f 1 3 5 4\nf 1 2 3\n")
    assert read_mesh(tmp_path / "a.obj").faces.tolist() == [[0, 2, 4], [0, 4, 3], [0, 1, 2]]


@pytest.mark.parametrize("encoding", ["ascii", "binary"])
def test_ply_keeps_the_order_and_stl_the_surface(tmp_path, coarse, encoding):
    solid = trimesh.Trimesh(coarse.vertices, coarse.faces, process=False)
    solid.export(tmp_path / "a.ply", encoding=encoding)
    ply = read_mesh(tmp_path / "a.ply")
    assert np.abs(ply.vertices - coarse.vertices).max() < 1e-4
    assert (ply.faces == coarse.faces).all()
    name = "stl_ascii" if encoding == "ascii" else "stl"
    solid.export(tmp_path / "a.stl", file_type=name)
    stl = read_mesh(tmp_path / "a.stl")
    assert len(stl.vertices) <= len(coarse.vertices), "corners at one position are merged"
    corners = coarse.vertices[coarse.faces]
    assert np.abs(stl.vertices[stl.faces] - corners).max() < 1e-4


def in_parts(mesh):
    """Return a mesh whose teeth and gum have vertices of their own, as programs save parts."""
    part = mesh.labels[mesh.faces].max(axis=1)
    vertices, labels, faces = [], [], []
    for label in np.unique(part):
        used, index = np.unique(mesh.faces[part == label], return_inverse=True)
        faces.append(index.reshape(-1, 3) + sum(map(len, vertices)))
        vertices.append(mesh.vertices[used])
        labels.append(mesh.labels[used])
    return Mesh(*map(np.concatenate, (vertices, faces, labels)))


@pytest.mark.parametrize("suffix", [".ply", ".obj"])
def test_a_scan_in_parts_stands_as_the_whole_one(tmp_path, suffix):
    """Seams are open edges around the crowns: the border of the scan must be told from them."""
    scan = upper_scan(5)
    whole = Mesh(scan.vertices, scan.faces, scan.labels)
    parts = in_parts(whole)
    assert len(parts.vertices) > len(whole.vertices) + 300
    read = read_mesh(write_mesh(tmp_path / f"a{suffix}", parts))
    assert read.vertices.shape == parts.vertices.shape, "labels count the vertices of the file"
    assert np.allclose(read.vertices[read.faces], parts.vertices[parts.faces], atol=1e-4)
    assert len(np.unique(read.faces)) <= len(whole.vertices)
    down = replace(read, vertices=read.vertices * np.float32((-1, 1, -1)))
    assert (find_pose(read).turned, find_pose(down).turned) == (False, True)
    assert check_meshes(tmp_path)["repaired"] == [], "the other side of a seam is no stray vertex"


HEADER = b"""ply
format ascii 1.0
element vertex 4
property float x
property float y
property float z
element face 1
property list uchar int vertex_indices
end_header
0 0 0
1 0 0
"""


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.obj", b"", "Received: 0"),
        ("a.obj", SQUARE.encode(), "5 vertices, 0 faces"),
        ("a.obj", SQUARE.encode() + b"f 4 1 3\nf 3 5", "line 7: must have at least 3 numbers"),
        ("a.obj", b"v 1 2\nf 1 2 3\n", "line 1: must have at least 3 numbers. Received: 'v 1 2'"),
        ("a.obj", SQUARE.encode() + b"f 1 2 99\n", "indices of vertices 0..4. Received: 98"),
        ("a.obj", SQUARE.encode() + b"f 0 1 2\n", "Received: -1"),
        ("a.obj", SQUARE.encode() + b"f a b c\n", "must hold numbers"),
        ("a.obj", SQUARE.replace("9 9 9", "nan 9 9").encode() + b"f 1 3 4", "NaN or infinite ones"),
        ("a.obj", SQUARE.replace("9 9 9", "9,5 9 9").encode() + b"f 1 3 4", "must hold numbers"),
        ("a.obj", bytes(range(256)) * 4, "0 vertices, 0 faces"),
        ("a.ply", b"junk", "must be a whole PLY file"),
        ("a.ply", HEADER, "Received: "),
        ("a.stl", b"\0" * 80 + struct.pack("<I", 9) + b"\0" * 100, "is it truncated?"),
        ("a.stl", b"solid x\nfacet normal", "Received: "),
        ("a.off", b"OFF", "a mesh must be .obj, .ply or .stl. Received: .off"),
    ],
)
def test_damaged_files_are_refused_in_one_line(tmp_path, name, content, reason):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(BadFile) as refused:
        read_mesh(tmp_path / name)
    assert reason in str(refused.value) and "\n" not in str(refused.value)
    assert (
        str(refused.value).startswith(str(tmp_path / name)) and "Received: " in refused.value.reason
    )


def test_missing_files_are_refused(tmp_path):
    with pytest.raises(BadFile, match="cannot be read. Received: No such file"):
        read_mesh(tmp_path / "a.obj")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ({"labels": [0, 11]}, "must hold 3 labels, one per vertex. Received: (2,)"),
        (
            {"labels": [0, 11, 31]},
            "labels must be 0 or the FDI number of an upper tooth. Received: 31",
        ),
        ({"labels": [0, 0.5, 11]}, "FDI number"),
        ({"labels": [0, 0, 11], "jaw": "lower"}, "must be of an upper jaw. Received: 'lower'"),
        ({"instances": []}, 'must be JSON with "labels"'),
        ([1], 'must be JSON with "labels"'),
        ("{", 'must be JSON with "labels"'),
    ],
)
def test_labels_that_do_not_fit_are_refused(tmp_path, content, reason):
    path = tmp_path / "a.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    with pytest.raises(BadFile) as refused:
        read_labels(path, 3)
    assert reason in str(refused.value)


# ---- the pose ------------------------------------------------------------------------------------


@pytest.mark.parametrize("turned", [False, True])
def test_invert_undoes_apply(jaw, turned):
    shifted = jaw.vertices * ((-1, 1, -1) if turned else (1, 1, 1)) + np.float32((2, 0, -90))
    pose = find_pose(replace(jaw, vertices=shifted.astype(np.float32), labels=None))
    assert pose.turned is turned and pose.scale == 40
    points = pose.apply(shifted)
    assert np.abs(pose.invert(points) - shifted).max() < 1e-4  # mm
    assert np.abs(points - find_pose(jaw).apply(jaw.vertices)).max() < 1e-5
    assert np.abs(points.max(0) + points.min(0)).max() < 1e-5
    assert np.isclose(np.ptp(points[:, 0]) * 40, np.ptp(jaw.vertices[:, 0]))
    assert Pose((0, 0, 0)).apply([[40, 0, -20]]).tolist() == [[1, 0, -0.5]]


def rotated(mesh, axis, quarter, labels=True):
    angle, i = quarter * np.pi / 2, [k for k in range(3) if k != axis]
    turn = np.eye(3)
    turn[np.ix_(i, i)] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    vertices = (mesh.vertices @ turn.T).astype(np.float32)
    return Mesh(vertices, mesh.faces, mesh.labels if labels else None)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda m: replace(m, vertices=m.vertices / 1000), "as in metres: multiply by 1000"),
        (lambda m: replace(m, vertices=m.vertices / 10), "as in centimetres"),
        (lambda m: replace(m, vertices=m.vertices / 25.4), "as in inches, or a normalised"),
        (lambda m: replace(m, vertices=m.vertices * 1000), "as in micrometres"),
        (lambda m: replace(m, vertices=m.vertices * 2), "upper jaw must measure 40-100 x 30-90"),
        (lambda m: replace(m, vertices=m.vertices * np.float32((0.4, 1, 1))), "must measure"),
        (lambda m: rotated(m, 0, 1), "this jaw lies on its side"),
        (lambda m: rotated(m, 1, 1), "this jaw lies on its side"),
        (lambda m: rotated(m, 2, 1, False), "teeth must be towards -y. Received: towards x"),
        (lambda m: rotated(m, 2, 2, False), "teeth must be towards -y. Received: towards y"),
        (lambda m: rotated(m, 2, 3, False), "teeth must be towards -y. Received: towards -x"),
        (lambda m: rotated(m, 2, 1), "teeth must be towards -y. Received: towards x"),
        (lambda m: rotated(m, 2, 2), "teeth must be towards -y. Received: towards y"),
        (lambda m: rotated(m, 2, 3), "teeth must be towards -y. Received: towards -x"),
        (lambda m: replace(m, vertices=m.vertices * np.float32((-1, 1, 1))), "a mirror image"),
        (lambda m: Mesh(m.vertices[:9], m.faces[:2] % 9), "must have at least 1000 vertices"),
    ],
)  # fmt: skip
def test_other_meshes_than_upper_jaws_in_millimetres_are_refused(jaw, change, reason):
    with pytest.raises(DentalzooError) as refused:
        find_pose(change(jaw))
    assert reason in str(refused.value) and "Received: " in str(refused.value)


def test_a_jaw_that_lacks_teeth_on_one_side_is_not_turned():
    """Back teeth only on the left: their mean is as far to the left as it is behind."""
    synthetic = upper_jaw(1038)
    assert synthetic.teeth == (13, 12, 11, 21, 23, 24, 25)
    assert not find_pose(Mesh(synthetic.vertices, synthetic.faces, synthetic.labels)).turned


@pytest.mark.parametrize("seed", [500_000, 500_003, 500_006])
def test_the_rim_of_a_scan_shows_the_direction_and_not_the_borders_of_its_crowns(seed):
    """Caps without a base around the tips of the teeth have more open edges than the rim."""
    scan = upper_scan(seed)
    vertices, faces = scan.vertices, scan.faces
    tips = (scan.labels[faces] > 0).all(axis=1)
    tips &= vertices[faces][..., 2].mean(axis=1) > np.quantile(vertices[scan.labels > 0, 2], 0.6)
    used, index = np.unique(faces[tips], return_inverse=True)
    caps = vertices[used] + np.float32((0, 0, 0.2))
    both = Mesh(
        np.concatenate([vertices, caps]).astype(np.float32),
        np.concatenate([faces, index.reshape(-1, 3) + len(vertices)]).astype(np.int32),
    )
    height = both.vertices[:, 2]
    assert height[open_edges(both.faces)].mean() > (height.min() + height.max()) / 2
    assert find_pose(both).turned is False


def test_closed_crowns_without_gum_stand_on_their_cuts():
    """There is no open border to find the direction from, and level cusps are as large as cuts."""
    ball = trimesh.creation.icosphere(4, 4.0)
    faces, crown = ball.faces, ball.vertices * (1, 1, 1.4)
    crown[:, 2] += 0.3 * np.cos(3 * crown[:, 0]) * (crown[:, 2] > 1)
    crown[:, 2] = np.maximum(crown[:, 2], crown[:, 0] / 4 - 3.5)
    crown[:, 2] = np.minimum(crown[:, 2], 4.6)  # worn
    angle = np.linspace(-1.6, 1.6, 14)
    centres = np.stack([-28 * np.sin(angle), -40 * np.cos(angle), 0 * angle], axis=1)
    row = (crown + centres[:, None]).reshape(-1, 3)
    faces = (faces + len(crown) * np.arange(14)[:, None, None]).reshape(-1, 3).astype(np.int32)
    labels = np.repeat([17, 16, 15, 14, 13, 12, 11, 21, 22, 23, 24, 25, 26, 27], len(crown))
    for sign in (1, -1):
        vertices = (row * (sign, 1, sign)).astype(np.float32)
        assert find_pose(Mesh(vertices, faces)).turned == (sign < 0)
        assert find_pose(Mesh(vertices, faces[:, ::-1], labels)).turned == (sign < 0)


def test_a_closed_plaster_model_stands_on_its_base():
    """There is no open border to find the direction from."""
    block = trimesh.creation.box((60, 55, 20)).subdivide_to_size(2.0)
    vertices = block.vertices.copy()
    top = vertices[:, 2] > 9.9
    vertices[top, 2] += 3 * np.sin(vertices[top, 0]) * np.sin(vertices[top, 1])
    for sign in (1, -1):
        mesh = Mesh((vertices * (1, 1, sign)).astype(np.float32), block.faces.astype(np.int32))
        assert find_pose(mesh).turned == (sign < 0)


# ---- folders -------------------------------------------------------------------------------------


def splits_of(dataset):
    return {sample.name: sample.split for sample in dataset.samples}


def test_both_layouts_of_teeth3ds_and_its_lists(tmp_path, coarse, caplog):
    for name in ("A", "B", "C"):
        write_mesh(
            tmp_path / "data_part_1" / "upper" / name / f"{name}_upper.obj", coarse, labels=True
        )
        write_mesh(tmp_path / "data_part_1" / "lower" / name / f"{name}_lower.obj", coarse)
    write_mesh(tmp_path / "D" / "D_upper.obj", coarse)
    write_mesh(tmp_path / "D" / "D_lower.obj", coarse)
    lists = tmp_path / "Teeth3DS_train_test_split"
    lists.mkdir()
    (lists / "training_upper.txt").write_text("A_upper\nB_upper\nZ_upper\n")
    (lists / "testing_upper.txt").write_text("C_upper\n\n")
    (lists / "training_lower.txt").write_text("A_lower\n")
    (tmp_path / "few").mkdir()
    (tmp_path / "few" / "training.txt").write_text("C_upper")
    (tmp_path / "license.txt").write_text("A_upper")
    dataset = find_meshes(tmp_path)
    assert splits_of(dataset) == {"A_upper": "train", "B_upper": "train", "C_upper": "test"}
    assert sorted(dataset.skipped) == [
        ("D/D_upper.obj", "mesh in no split of Teeth3DS_train_test_split"),
        ("Z_upper", "row of Teeth3DS_train_test_split without mesh"),
    ]
    assert all(sample.labels for sample in dataset.samples)
    assert set(splits_of(find_meshes(tmp_path, "testing"))) == {"C_upper"}
    with pytest.raises(MissingSplit, match="must hold meshes of the split 'val'"):
        find_meshes(tmp_path, "val")
    (lists / "testing_upper.txt").write_text("A_upper")
    with pytest.raises(BadFile, match="a name must be in one list. Received: 'A_upper'"):
        find_meshes(tmp_path)


def test_lists_of_splits_as_programs_write_them(tmp_path, coarse, caplog):
    for name in ("A", "B", "C"):
        write_mesh(tmp_path / "upper" / name / f"{name}_upper.obj", coarse)
        write_mesh(tmp_path / "lower" / name / f"{name}_lower.obj", coarse)
    lists = tmp_path / "lists"
    lists.mkdir()
    (lists / "public-training-set-1.txt").write_bytes(b"\xef\xbb\xbfA\r\n")
    (lists / "training.TXT").write_text("upper\\B\\B_upper.obj\n", encoding="utf-16")
    (lists / "private-testing-set.txt").write_text('"C_upper"\nC_lower\n')
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "train.txt").write_text("X\nY\n")
    dataset = find_meshes(tmp_path)
    assert splits_of(dataset) == {"A_upper": "train", "B_upper": "train", "C_upper": "test"}
    assert dataset.skipped == [] and dataset.lower == 3
    assert "other: lists of splits that name none of the meshes, not used" in caplog.text


def test_data_sets_side_by_side_keep_their_own_lists(tmp_path, coarse, monkeypatch):
    for data, stems in (("jaws", "ABCD"), ("crowns", "AE"), ("plain/train", "F"), ("none", "G")):
        for stem in stems:
            write_mesh(tmp_path / data / "upper" / stem / f"{stem}_upper.obj", coarse)
        (tmp_path / data / "split").mkdir()
    lists = {
        "jaws/split/training_upper": "A_upper B_upper",
        "jaws/split/validation_upper": "C_upper D_upper",
        "crowns/split/training_upper": "E_upper",
        "crowns/split/validation_upper": "A_upper Z_upper",
        "crowns/deep/er/testing": "A_upper",
    }
    for name, rows in lists.items():
        path = tmp_path / f"{name}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(rows.replace(" ", "\n"))
    expected = {
        "jaws/upper/A/A_upper": "train", "B_upper": "train", "C_upper": "val", "D_upper": "val",
        "crowns/upper/A/A_upper": "val", "E_upper": "train", "F_upper": "train",
    }  # fmt: skip
    dataset = find_meshes(tmp_path)
    assert splits_of(dataset) == expected
    assert sorted(dataset.skipped) == [
        ("Z_upper", "row of crowns/split without mesh"),
        ("none/upper/G/G_upper.obj", "mesh in no split of crowns/split or jaws/split"),
    ]
    monkeypatch.chdir(tmp_path)
    assert splits_of(find_meshes(".")) == expected
    monkeypatch.chdir(tmp_path / "jaws" / "split")
    (tmp_path / "jaws" / "upper").rename("upper")
    assert splits_of(find_meshes(".")) == {
        "A_upper": "train", "B_upper": "train", "C_upper": "val", "D_upper": "val",
    }  # fmt: skip


def test_plain_folders_tables_and_a_validation_fraction(tmp_path, coarse):
    write_mesh(tmp_path / "train" / "a.obj", coarse)
    write_mesh(tmp_path / "valid" / "b.ply", coarse)
    write_mesh(tmp_path / "test" / "c.stl", coarse)
    assert splits_of(find_meshes(tmp_path)) == {"a": "train", "b": "val", "c": "test"}
    (tmp_path / "split.csv").write_text("id,split\na,test\nb,train\nc.stl,train\nd,train\n")
    dataset = find_meshes(tmp_path)
    assert splits_of(dataset) == {"a": "test", "b": "train", "c": "train"}
    assert dataset.skipped == [("d", "row of split.csv without files")]
    plain = tmp_path / "plain"
    for index in range(10):
        plain.mkdir(exist_ok=True)
        shutil.copy(tmp_path / "train" / "a.obj", plain / f"{index}.obj")
    splits = splits_of(find_meshes(plain, val_fraction=0.2))
    assert sorted(splits.values()) == ["train"] * 8 + ["val"] * 2
    assert splits == splits_of(find_meshes(plain, val_fraction=0.2))


@pytest.mark.parametrize(
    ("files", "options", "reason"),
    [
        ((), {}, "no upper jaw; the folder must hold upper jaws as *.obj, *.ply or *.stl"),
        (("lower/x/x_lower.obj",), {}, "1 of them meshes of lower jaws"),
        ((), {"split": "some"}, "split must be one of"),
        ((), {"val_fraction": 1}, "val_fraction must be in [0, 1)"),
    ],
)
def test_folders_without_jaws_are_refused(tmp_path, coarse, files, options, reason):
    for name in files:
        write_mesh(tmp_path / name, coarse)
    with pytest.raises(DentalzooError) as refused:
        find_meshes(tmp_path, **options)
    assert reason in str(refused.value) and "Received: " in str(refused.value)


def test_check_names_every_fault(tmp_path, coarse, capsys):
    write_mesh(tmp_path / "train" / "good.obj", coarse, labels=True)
    write_mesh(tmp_path / "val" / "same.ply", coarse)
    half = Mesh(coarse.vertices * np.float32((-1, 1, -1)), coarse.faces)
    write_mesh(tmp_path / "train" / "down.obj", half)
    write_mesh(tmp_path / "train" / "metres.ply", Mesh(coarse.vertices / 1000, coarse.faces))
    write_mesh(tmp_path / "train" / "labels.obj", coarse, labels=True)
    (tmp_path / "train" / "labels.json").write_text('{"labels": [0]}')
    (tmp_path / "train" / "empty.obj").write_bytes(b"")
    report = check_meshes(tmp_path)
    assert (report["usable"], report["train"], report["val"], report["labelled"]) == (3, 2, 1, 1)
    assert {name: reason[:25] for name, reason in report["skipped"]} == {
        "metres": "a jaw must be in millimet",
        "labels": f"labels.json: must hold {len(coarse.vertices)} "[:25],
        "empty": "must have 1 to 1,000,000,",
    }
    assert report["repaired"] == [["down", "the crowns point to -z: turned about y"]]
    assert ["good", "same", "the same mesh, in train and val"] in report["duplicates"]
    assert main(["check", str(tmp_path), "--meshes", "--json"]) == 1
    assert json.loads(capsys.readouterr().out) == json.loads(json.dumps(report))
    assert main(["check", str(tmp_path), "--meshes", "--boxes"]) == 2
    assert main(["check", str(tmp_path / "train" / "good.obj"), "--meshes"]) == 2


def test_a_good_data_set_passes(tmp_path, capsys):
    write_jaw_dataset(tmp_path / "jaws", 2)
    assert main(["check", str(tmp_path / "jaws"), "--meshes"]) == 0
    assert "usable: 2" in capsys.readouterr().out
    mesh, pose = load_mesh(find_meshes(tmp_path / "jaws").samples[0])
    assert len(mesh.vertices) == 50_000 and not pose.turned


# ---- points --------------------------------------------------------------------------------------


def test_points_cover_the_surface_by_area(coarse):
    points = sample_points(coarse, 20_000)
    assert points.shape == (20_000, 3) and points.dtype == np.float32
    assert (sample_points(coarse, 20_000) == points).all()
    assert (sample_points(coarse, 20_000, seed=1) != points).any()
    corners = coarse.vertices[coarse.faces].astype(float)
    area = np.linalg.norm(np.cross(*np.diff(corners, axis=1).transpose(1, 0, 2)), axis=1)
    mean = (corners.mean(1) * area[:, None]).sum(0) / area.sum()
    assert np.abs(points.mean(0) - mean).max() < 0.1  # mm
    left = corners.mean(1)[:, 0] < 0
    assert abs((points[:, 0] < 0).mean() - area[left].sum() / area.sum()) < 0.005
    flat = Mesh(
        np.float32([(0, 0, 0), (1, 0, 0), (1, 1, 0), (0, 1, 0)]), np.int32([(0, 1, 2), (0, 2, 3)])
    )
    square = sample_points(flat, 40_000)
    counts = np.histogram2d(*square[:, :2].T, bins=8, range=[[0, 1]] * 2)[0]
    assert np.abs(counts / 625 - 1).max() < 0.15 and not square[:, 2].any()


def test_points_can_be_vertices(jaw):
    assert (sample_points(jaw, 50_000, "vertices") == jaw.vertices).all(), "in order"
    few = sample_points(jaw, 100, "vertices")
    assert len(np.unique(few, axis=0)) == 100
    many = sample_points(jaw, 120_000, "vertices")
    assert many.shape == (120_000, 3) and (many[50_000:100_000] == jaw.vertices).all()


@pytest.mark.parametrize("options", [{"count": 0}, {"count": 1.5}, {"method": "faces"}])
def test_invalid_options_of_points_are_refused(jaw, options):
    with pytest.raises(DentalzooError, match="Received: "):
        sample_points(jaw, **options)


def test_a_mesh_without_area_has_no_points():
    with pytest.raises(DentalzooError, match="the mesh must have an area"):
        sample_points(Mesh(np.zeros((3, 3), np.float32), np.int32([(0, 1, 2)])), 5)
