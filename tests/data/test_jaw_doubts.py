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


# ---- surfaces ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def coarse():
    """A jaw of 12,600 vertices in 200 rows of 63."""
    vertices = upper_jaw(3, missing=0).vertices.reshape(400, 125, 3)[::2, ::2]
    at = np.arange(vertices[..., 0].size).reshape(vertices.shape[:2])
    a, b, c, d = at[:-1, :-1], at[1:, :-1], at[:-1, 1:], at[1:, 1:]
    faces = np.concatenate([np.stack(half, -1).reshape(-1, 3) for half in ((a, c, b), (c, d, b))])
    return Mesh(vertices.reshape(-1, 3), faces.astype(np.int32))


def with_base(mesh, depth):
    """Close a jaw by walls down to a level base."""
    at = np.arange(len(mesh.vertices)).reshape(200, 63)
    border = np.concatenate([at[:-1, 0], at[-1, :-1], at[:0:-1, -1], at[0, :0:-1]])
    below = mesh.vertices[border].copy()
    below[:, 2] = mesh.vertices[:, 2].min() - depth
    new = len(mesh.vertices) + np.arange(len(border))
    after, new_after, middle = np.roll(border, -1), np.roll(new, -1), np.full_like(new, new[-1] + 1)
    walls = [(border, new, after), (after, new, new_after), (new, middle, new_after)]
    faces = np.concatenate([mesh.faces, *(np.stack(wall, axis=1) for wall in walls)])
    vertices = np.concatenate([mesh.vertices, below, below.mean(axis=0, keepdims=True)])
    return Mesh(vertices, faces.astype(np.int32))


def beside(mesh, vertices, faces):
    faces = np.concatenate([mesh.faces, np.asarray(faces) + len(mesh.vertices)])
    return Mesh(np.float32(np.concatenate([mesh.vertices, vertices])), faces.astype(np.int32))


def turned_over(faces, each=1):
    changed = faces.copy()
    changed[::each] = changed[::each, ::-1]
    return changed


SURFACES = {
    "right": (lambda m: m, None),
    "the mirror image, as it should be": (
        lambda m: Mesh(m.vertices * np.float32((-1, 1, 1)), turned_over(m.faces)), None,
    ),
    "the mirror image of the vertices alone": (
        lambda m: Mesh(m.vertices * np.float32((-1, 1, 1)), m.faces), "inside out",
    ),
    "crowns down": (lambda m: Mesh(m.vertices * np.float32((-1, 1, -1)), m.faces), None),
    "crowns down, inside out": (
        lambda m: Mesh(m.vertices * np.float32((1, 1, -1)), m.faces), "inside out",
    ),
    "closed": (lambda m: with_base(m, 6), "a flat base fills 73% of the box"),
    "closed, inside out": (
        lambda m: Mesh(with_base(m, 6).vertices, turned_over(with_base(m, 6).faces)), "inside out",
    ),
    "every third face turned over": (
        lambda m: Mesh(m.vertices, turned_over(m.faces, 3)), "between faces of opposite winding",
    ),
    "a tenth of the faces lost": (
        lambda m: Mesh(m.vertices, m.faces[np.random.default_rng(0).random(len(m.faces)) > 0.1]),
        "of the edges belong to one face only",
    ),
    "vertices not joined": (
        lambda m: Mesh(m.vertices[m.faces].reshape(-1, 3), np.arange(m.faces.size).reshape(-1, 3)),
        "100% of the edges belong to one face only",
    ),
    "debris above": (
        lambda m: beside(m, m.vertices[:3] * 0.01 + (0, 0, 40), [[0, 1, 2]]), "mm beyond the jaw",
    ),
    "debris within": (lambda m: beside(m, m.vertices[:3] + (1, 3, 3), [[0, 1, 2]]), None),
    "two dates": (
        lambda m: beside(m, m.vertices + (1, 0, 0.5), m.faces), "in one place: two scans in one",
    ),
    "far away": (lambda m: Mesh(m.vertices + np.float32(2e6), m.faces), "rounded to 0.12 mm"),
}  # fmt: skip


@pytest.mark.parametrize("name", SURFACES)
def test_damaged_surfaces_are_doubted(coarse, name):
    change, reason = SURFACES[name]
    text = doubts(change(coarse))
    assert reason in text if reason else text == ""


def test_lower_jaws_beside_upper_ones_without_a_name(tmp_path, coarse):
    jaw = coarse
    lowered = jaw.vertices - np.float32((0, 0, jaw.vertices[:, 2].max() + 1))
    write_stl(tmp_path / "a.stl", lowered, jaw.faces)  # its crowns point up to those of b
    other = upper_jaw(4).vertices.reshape(400, 125, 3)[::2, ::2].reshape(-1, 3)
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
