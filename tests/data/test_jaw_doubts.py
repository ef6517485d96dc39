"""What is doubtful about a jaw is said: tilt, two jaws in one file, no palate."""

from dataclasses import replace

import numpy as np
import pytest

from dentalzoo.data.io.mesh_files import Mesh
from dentalzoo.data.jaw_doubts import doubts_of
from dentalzoo.data.jaw_pose import WrongAxes, find_pose
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
