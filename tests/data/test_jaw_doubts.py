"""What is doubtful about a jaw is said: tilt, two jaws in one file, no palate."""

from dataclasses import replace

import numpy as np
import pytest

from dentalzoo.data.io.mesh_files import Mesh, write_stl
from dentalzoo.data.jaw_doubts import doubts_of
from dentalzoo.data.jaw_pose import WrongAxes, find_pose
from dentalzoo.data.meshes import check_meshes
from dentalzoo.data.synthetic import upper_jaw


@pytest.fixture(scope="module")
def jaw():
    synthetic = upper_jaw(3, missing=0)
    return Mesh(synthetic.vertices, synthetic.faces)


def tilted(mesh, axis, degrees):
    angle, (i, j) = np.radians(degrees), [(1, 2), (2, 0), (0, 1)][axis]
    matrix = np.eye(3)
    matrix[[i, j], [i, j]] = np.cos(angle)
    matrix[i, j], matrix[j, i] = -np.sin(angle), np.sin(angle)
    return replace(mesh, vertices=(mesh.vertices @ matrix.T).astype(np.float32))


def doubts(mesh):
    return " ".join(doubts_of(mesh, find_pose(mesh)))


def test_upright_jaws_are_not_doubtful():
    for seed in (1, 1038, 9005, 9026):  # some lack many teeth
        synthetic = upper_jaw(seed)
        assert doubts(Mesh(synthetic.vertices, synthetic.faces)) == ""


@pytest.mark.parametrize(
    ("axis", "degrees"), [(0, 14), (0, -12), (1, 10), (1, -10), (2, 9), (2, -9)]
)
def test_the_tilt_is_measured(jaw, axis, degrees):
    try:
        text = doubts(tilted(jaw, axis, degrees))
    except WrongAxes as error:  # the emptiest corners of its box are no longer in front
        text = str(error)
    assert "by about " in text and f"degrees about {'xyz'[axis]}" in text
    value = float(text.split(f" degrees about {'xyz'[axis]}")[0].rpartition(" ")[2])
    assert abs(value - degrees) < 5


def test_both_jaws_in_one_file(jaw):
    below = jaw.vertices * np.float32((1, 1, -1))
    below[:, 2] += 2 * jaw.vertices[:, 2].max() + 1
    both = np.concatenate([jaw.vertices, below])
    faces = np.concatenate([jaw.faces, jaw.faces[:, ::-1] + len(below)]).astype(np.int32)
    assert "both jaws in one file?" in doubts(Mesh(both, faces))


def test_a_jaw_without_a_palate(jaw):
    points = find_pose(jaw).apply(jaw.vertices) * 40
    kept = np.hypot(points[:, 0], (points[:, 1] - 15) / 1.3) > 20
    horseshoe = Mesh(jaw.vertices, jaw.faces[kept[jaw.faces].all(axis=1)])
    assert "a lower jaw looks like this" in doubts(horseshoe)


def test_lower_jaws_beside_upper_ones_without_a_name(tmp_path, jaw):
    lowered = jaw.vertices - np.float32((0, 0, jaw.vertices[:, 2].max() + 1))
    write_stl(tmp_path / "a.stl", lowered, jaw.faces)  # its crowns point up to those of b
    other = upper_jaw(4).vertices
    raised = (other - (0, 0, other[:, 2].max() + 1)) * np.float32((1, 1, -1))
    write_stl(tmp_path / "b.stl", raised.astype(np.float32), jaw.faces[:, ::-1])
    report = check_meshes(tmp_path)
    assert report["suspicious"] == [["b", "faces a: one of them is a lower jaw"]]
    write_stl(tmp_path / "b.stl", lowered * np.float32((1, 1, -1)), jaw.faces[:, ::-1])
    reasons = [reason for _, reason in check_meshes(tmp_path)["suspicious"]]
    assert reasons == [
        "the mirror image of a: a lower jaw?",
        "faces a: one of them is a lower jaw",
    ]
