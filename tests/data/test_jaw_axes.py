"""Jaws in other axes: every turn is detected and undone, mirror images are refused."""

import json
from dataclasses import replace

import numpy as np
import pytest

from dentalzoo.cli import main, parse
from dentalzoo.data.io.mesh_files import Mesh, read_mesh, write_obj, write_ply, write_stl
from dentalzoo.data.jaw_axes import (
    SAME,
    TURNS,
    after,
    axes_text,
    determinant,
    inverse,
    parse_axes,
    turn,
    turn_back,
)
from dentalzoo.data.jaw_doubts import doubts_of
from dentalzoo.data.jaw_pose import WrongAxes, find_axes, find_pose
from dentalzoo.data.meshes import check_meshes, find_meshes, load_mesh
from dentalzoo.data.synthetic import upper_jaw, upper_scan
from dentalzoo.errors import BadFile, DentalzooError


def coarse_jaw(seed, missing=0.0):
    """Return a labelled jaw of 6,300 vertices."""
    synthetic = upper_jaw(seed, missing=missing)
    rows, columns = np.r_[0:125:2], np.r_[0:400:4]
    kept = (columns[:, None] * 125 + rows).ravel()
    wide, tall = len(columns), len(rows)
    a = (np.arange(wide - 1)[:, None] * tall + np.arange(tall - 1)).ravel()
    faces = np.concatenate([[a, a + 1, a + tall], [a + 1, a + tall + 1, a + tall]], axis=1).T
    return Mesh(synthetic.vertices[kept], faces.astype(np.int32), synthetic.labels[kept])


@pytest.fixture(scope="module")
def jaw():
    return coarse_jaw(3)


def turned(mesh, axes, labels=False):
    kept = mesh.labels if labels else None
    return Mesh(np.ascontiguousarray(turn(mesh.vertices, axes)), mesh.faces, kept)


# ---- turns ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    ["-x,-z,-y", "(-x, -z, -y)", "x=-x,y=-z,z=-y", "z=-y; x=-x; y=-z", " -X,-Z,-Y "],
)
def test_a_turn_is_written_in_several_ways(text):
    axes = parse_axes(text)
    assert axes == (-1, -3, -2) and axes_text(axes) == "-x,-z,-y"
    assert turn(np.array([1.0, 2, 3]), axes).tolist() == [-1, -3, -2]


def test_no_turn_and_the_detected_one():
    assert parse_axes(None) == SAME and parse_axes("x,y,z") == SAME
    assert parse_axes("auto") is None and parse_axes(" AUTO ") is None


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "such as -x,-z,-y"),
        ("x,y", "such as -x,-z,-y"),
        ("x,y,w", "such as -x,-z,-y"),
        ("x=y,y=z", "such as -x,-z,-y"),
        ("--x,y,z", "such as -x,-z,-y"),
        ("x,y,y", "each of x, y and z once"),
        ("x,-x,y", "each of x, y and z once"),
        ("-x,y,z", "determinant -1"),
        ("x,z,y", "determinant -1"),
        ("-x,-y,-z", "determinant -1"),
    ],
)
def test_what_is_no_turn_is_refused(text, reason):
    with pytest.raises(DentalzooError, match="must .*Received: ") as refused:
        parse_axes(text)
    assert reason in str(refused.value)


def test_turns_are_the_24_rotations():
    points = np.random.default_rng(0).normal(size=(5, 3))
    assert len(set(TURNS)) == 24
    for axes in TURNS:
        assert determinant(axes) == 1 and parse_axes(axes_text(axes)) == axes
        assert np.array_equal(turn_back(turn(points, axes), axes), points)
        assert after(inverse(axes), axes) == after(axes, inverse(axes)) == SAME
        for other in TURNS[::5]:
            both = turn(turn(points, axes), other)
            assert np.array_equal(both, turn(points, after(other, axes)))


@pytest.mark.parametrize("labels", [False, True])
def test_every_turn_of_a_jaw_is_detected(jaw, labels):
    upright = find_pose(jaw)
    expected = upright.apply(jaw.vertices)
    for axes in TURNS:
        mesh = turned(jaw, axes, labels)
        assert find_axes(mesh) == inverse(axes)
        pose = find_pose(mesh, None)
        assert np.abs(pose.apply(mesh.vertices) - expected).max() < 1e-5
        assert np.abs(pose.invert(pose.apply(mesh.vertices)) - mesh.vertices).max() < 1e-4
        assert find_pose(mesh, inverse(axes)).turned is False


def test_what_reads_already_is_not_turned(jaw):
    for signs in ((1, 1, 1), (-1, 1, -1)):
        mesh = replace(jaw, vertices=jaw.vertices * np.float32(signs), labels=None)
        pose = find_pose(mesh, None)
        assert pose.axes == SAME and pose.turned == (signs[0] < 0)


def test_the_turn_is_proposed_where_a_jaw_is_refused(jaw):
    for axes in TURNS:
        mesh = turned(jaw, axes)
        back = inverse(axes)
        if back in (SAME, (-1, 2, -3)):
            continue
        with pytest.raises(WrongAxes) as refused:
            find_pose(mesh)
        assert f"--axes={axes_text(back)} turns it" in str(refused.value)


def test_mirror_images_are_refused_where_labels_show_them(jaw):
    for axes in TURNS:
        mesh = turned(jaw, axes, labels=True)
        mirrored = replace(mesh, vertices=mesh.vertices * np.float32((-1, 1, 1)))
        with pytest.raises(DentalzooError, match="a mirror image, or swapped labels"):
            find_pose(mirrored, None)


def test_a_jaw_between_two_turns_is_not_turned_by_90_degrees(jaw):
    angle = np.radians(27)
    matrix = [[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]]
    mesh = Mesh((jaw.vertices @ np.array(matrix).T).astype(np.float32), jaw.faces)
    with pytest.raises(DentalzooError, match=r"multiples of 90 .*about \+27 degrees about z"):
        find_axes(mesh)


@pytest.mark.parametrize("seed", [500_054, 500_084, 500_108])
def test_a_scan_that_ends_earlier_on_one_side_is_no_jaw_turned_by_90_degrees(seed):
    """Its emptiest corners are one in front and one behind, or on one side."""
    scan = upper_scan(seed)
    mesh = Mesh(scan.vertices, scan.faces)
    assert find_pose(mesh).axes == SAME
    for axes, side in (((2, -1, 3), "-x"), ((-1, -2, 3), "y"), ((-2, 1, 3), "x")):
        with pytest.raises(DentalzooError, match=f"must be towards -y. Received: towards {side}"):
            find_pose(turned(mesh, axes))
        assert find_pose(turned(mesh, axes), None).axes == inverse(axes)


# ---- commands ------------------------------------------------------------------------------------


def test_a_turn_that_begins_with_a_sign_is_a_value():
    assert parse(["views", "a.obj", "--out", "o", "--axes", "-x,-z,-y"]).axes == "-x,-z,-y"
    given = parse(["predict", "b", "a.obj", "--out", "o", "--axes", "-x,-z,-y"]).given
    assert given == {"axes": "-x,-z,-y"}
    given = parse(["evaluate", "b", "--data", "d", "--axes=auto"]).given
    assert given == {"axes": "auto"}


@pytest.fixture
def mixed(tmp_path, jaw):
    """Return a data set of a good jaw, turned and scaled ones, and two that cannot be corrected."""
    root = tmp_path / "data"
    for folder in ("train", "val"):
        (root / folder).mkdir(parents=True)
    write_obj(root / "train" / "good.obj", jaw.vertices, jaw.faces)
    write_ply(root / "train" / "side.ply", turn(jaw.vertices, (-1, -3, -2)), jaw.faces)
    write_stl(root / "val" / "metres.stl", coarse_jaw(5).vertices / 1000, jaw.faces)
    other = coarse_jaw(6).vertices
    write_obj(root / "val" / "both.obj", turn(other, (2, 3, 1)) / 25.4, jaw.faces)
    write_ply(root / "train" / "normalised.ply", other / np.abs(other).max(), jaw.faces)
    (root / "train" / "empty.obj").write_text("")
    content = {"jaw": "upper", "labels": jaw.labels.tolist()}
    (root / "train" / "side.json").write_text(json.dumps(content))
    (root / "split.csv").write_text(
        "name,split\ngood,train\nside,train\nmetres,val\nboth,val\nnormalised,train\nempty,train\n"
    )
    return root


def test_a_corrected_copy_is_a_whole_data_set(mixed, tmp_path, jaw, capsys):
    out = tmp_path / "fixed"
    assert main(["check", str(mixed), "--meshes", "--json"]) == 1
    before = json.loads(capsys.readouterr().out)
    assert before["usable"] == 1 and len(before["skipped"]) == 5
    changes = {
        "side": "turned by -x,-z,-y",
        "metres": "multiplied by 1000",
        "both": "multiplied by 25.4, turned by z,x,y",
    }
    assert dict(before["fixed"]) == changes and not out.exists()
    assert main(["check", str(mixed), "--meshes", "--json", "--fix", str(out)]) == 1
    report = json.loads(capsys.readouterr().out)
    assert report["usable"] == 4 and dict(report["fixed"]) == changes
    assert sorted(name for name, _ in report["skipped"]) == ["empty", "normalised"]
    files = sorted(path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file())
    assert files == ["split.csv", "train/good.obj", "train/side.json", "train/side.ply",
                     "val/both.obj", "val/metres.stl"]  # fmt: skip
    assert (out / "train/good.obj").read_bytes() == (mixed / "train/good.obj").read_bytes()
    assert read_mesh(out / "train/side.ply").vertices.tolist() == jaw.vertices.tolist()
    assert main(["check", str(out), "--meshes", "--json"]) == 1  # good and side are one jaw
    after_it = json.loads(capsys.readouterr().out)
    assert after_it["usable"] == 4 and after_it["fixed"] == after_it["repaired"] == []
    assert sorted(name for name, _ in after_it["skipped"]) == ["empty", "normalised"]
    sample = next(s for s in find_meshes(out).samples if s.name == "side")
    assert load_mesh(sample)[0].labels.tolist() == jaw.labels.tolist()


def test_a_turn_may_be_given(mixed, tmp_path):
    report = check_meshes(mixed, axes="-x,-z,-y", fix=tmp_path / "out")
    assert ["side", "turned by --axes=-x,-z,-y"] in report["repaired"] or report["fixed"]
    assert (tmp_path / "out" / "train" / "side.ply").is_file()
    assert not (tmp_path / "out" / "train" / "good.obj").exists(), "the same turn for all"
    detected = check_meshes(mixed, axes="auto")
    assert detected["usable"] == 2


def test_copies_within_the_data_and_of_images_are_refused(mixed, tmp_path, capsys):
    with pytest.raises(DentalzooError, match="outside the data"):
        check_meshes(mixed, fix=mixed / "fixed")
    with pytest.raises(DentalzooError, match="determinant -1"):
        check_meshes(mixed, axes="x,y,-z")
    assert main(["check", str(mixed), "--axes", "auto"]) == 2
    assert "--axes and --fix must be given with --meshes" in capsys.readouterr().err


def test_where_nothing_is_usable_the_correction_is_named(tmp_path, jaw):
    for name in "ab":
        write_ply(tmp_path / "data" / f"{name}.ply", turn(jaw.vertices, (-1, -3, -2)), jaw.faces)
    with pytest.raises(DentalzooError, match=r"--fix DIR corrects .*--axes=-x,-z,-y turns it"):
        check_meshes(tmp_path / "data")
    report = check_meshes(tmp_path / "data", fix=tmp_path / "out")
    assert report["usable"] == 2 and report["skipped"] == []
    with pytest.raises(BadFile, match="--axes=-x,-z,-y turns it"):
        load_mesh(find_meshes(tmp_path / "data").samples[0])


@pytest.mark.slow
def test_meshes_that_are_no_jaws_are_judged_or_refused(jaw):
    """Random, flat, torn and spiked meshes, some as large as a jaw."""
    random, count = np.random.default_rng(0), len(jaw.vertices)
    box = np.float32((35, 30, 12))
    spiked, rounded = jaw.vertices.copy(), np.round(jaw.vertices / 5) * 5
    spiked[7] *= 1e30
    for _ in range(20):
        cloud = (random.uniform(-1, 1, (count, 3)) * box).astype(np.float32)
        points = [cloud, cloud * np.float32((1, 1, 0)), jaw.vertices, spiked, rounded]
        torn = jaw.faces[random.permutation(len(jaw.faces))[: random.integers(1, 900)]]
        faces = [
            random.integers(0, count, (3000, 3)),
            torn,
            np.repeat(torn[:, :1], 3, 1),
            jaw.faces,
        ]
        for vertices in points:
            for triangles in faces:
                mesh = Mesh(np.float32(vertices), triangles.astype(np.int32))
                for axes in (SAME, None):
                    try:
                        doubts_of(mesh, find_pose(mesh, axes))
                    except DentalzooError as error:
                        assert "must" in str(error) and "\n" not in str(error)
