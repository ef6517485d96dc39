import dataclasses

import numpy as np
import pytest

import dentalzoo as dz
from dentalzoo.cli import main
from dentalzoo.data.io.mesh_files import Mesh
from dentalzoo.data.jaw_pose import find_pose
from dentalzoo.data.meshes import find_meshes, load_mesh
from dentalzoo.data.synthetic import read_crown_model, upper_jaw, upper_scan
from tests.data.synthetic.test_crowns import model_file as model_file


@pytest.fixture(scope="module")
def model(model_file):
    return read_crown_model(model_file)


@pytest.fixture(scope="module")
def scans(model):
    return [upper_scan(seed, model) for seed in range(12)]


def test_the_same_seed_gives_the_same_scan(scans, model):
    one, other, third = scans[3], upper_scan(3, model), scans[4]
    assert all(
        (a == b).all()
        for a, b in zip(dataclasses.astuple(one), dataclasses.astuple(other), strict=True)
    )
    assert one.vertices.shape != third.vertices.shape


@pytest.mark.parametrize("seed", [-1, 0.5])
def test_other_seeds_are_refused(seed):
    with pytest.raises(dz.DentalzooError, match="seed must be a non-negative integer"):
        upper_scan(seed)


def test_scans_are_meshes_of_upper_jaws(scans):
    for scan in scans:
        pose = find_pose(Mesh(scan.vertices, scan.faces, scan.labels))
        assert not pose.turned
        assert sorted(np.unique(scan.faces)) == list(range(len(scan.vertices)))
        width, depth, height = np.ptp(scan.vertices, axis=0)
        assert 50 < width < 95 and 40 < depth < 85 and 9 < height < 40
        assert len(scan.teeth) >= 7


def test_scans_have_an_open_border_and_less_than_whole_jaws(scans):
    whole = np.ptp(upper_jaw(0).vertices, axis=0).prod()
    volumes = [np.ptp(scan.vertices, axis=0).prod() for scan in scans]
    assert min(volumes) < 0.75 * whole
    for scan in scans[:4]:
        edges = np.sort(scan.faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), axis=1)
        _, uses = np.unique(edges, axis=0, return_counts=True)
        assert (uses == 1).sum() > 100


def test_some_scans_lack_the_palate_and_some_have_it(scans):
    def middle(scan):
        x, y = (scan.vertices - scan.vertices.mean(axis=0))[:, :2].T
        return ((np.abs(x) < 6) & (np.abs(y) < 8)).sum()

    counts = [middle(scan) for scan in scans]
    assert 1 < sum(count > 50 for count in counts) < 11


def test_crowns_are_those_of_the_model_for_two_thirds(scans):
    """A crown of the model is a mesh of its own, which shares no vertex with the gum."""
    apart = []
    for scan in scans:
        labels = scan.labels[scan.faces]
        apart.append((labels == labels[:, :1]).all())
    assert 4 < sum(apart) < 12


def test_no_face_of_the_gum_is_deep_inside_a_crown(scans):
    scan = next(s for s in scans if (s.labels[s.faces] == s.labels[s.faces][:, :1]).all())
    gum = scan.vertices[np.unique(scan.faces[(scan.labels[scan.faces] == 0).all(axis=1)])]
    for fdi in scan.teeth:
        crown = scan.vertices[scan.labels == fdi]
        low, high = np.percentile(crown, (35, 65), axis=0)
        inside = ((gum[:, :2] > low[:2]) & (gum[:, :2] < high[:2])).all(axis=1)
        assert inside.sum() == 0, fdi


def test_scans_are_written_as_a_data_set(scans, model_file, tmp_path, capsys):
    out = tmp_path / "scans"
    command = ["synthetic", "--kind", "scans", "--count", "2", "--out", str(out)]
    assert main([*command, "--shape-model", str(model_file)]) == 0
    samples = find_meshes(out).samples
    assert [sample.name for sample in samples] == [f"scan_000{i}_upper" for i in range(2)]
    mesh, _ = load_mesh(samples[0])
    expected = scans[0]
    np.testing.assert_allclose(mesh.vertices, expected.vertices, atol=1e-3)
    assert (mesh.labels == expected.labels).all()


def test_scans_need_no_model(tmp_path):
    scan = upper_scan(0)
    labels = scan.labels[scan.faces]
    assert not (labels == labels[:, :1]).all()  # crowns and gum are one sheet


def test_a_shape_model_goes_with_crowns_and_scans_only(tmp_path, model_file, capsys):
    command = ["synthetic", "--kind", "jaws", "--out", str(tmp_path / "out")]
    assert main([*command, "--shape-model", str(model_file)]) == 2
    assert "may be with --kind scans" in capsys.readouterr().err
