"""Synthetic jaws: determined by the seed, one topology, labels on crowns, sizes of real jaws."""

import inspect
import json
import subprocess
import sys
import time
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest

from dentalzoo.cli import main
from dentalzoo.data.io.mesh_files import read_mesh
from dentalzoo.data.meshes import find_meshes
from dentalzoo.data.synthetic import upper_jaw, write_jaw_dataset
from dentalzoo.data.synthetic.jaw import TEETH
from dentalzoo.errors import DentalzooError


@pytest.fixture(scope="module")
def jaws():
    return [upper_jaw(seed) for seed in range(24)]


def digest(jaw):
    return sha256(jaw.vertices.round(3).tobytes() + jaw.labels.tobytes()).hexdigest()


def test_a_seed_gives_the_same_jaw_in_another_process(jaws):
    code = (
        "from hashlib import sha256\nfrom dentalzoo.data.synthetic import upper_jaw\n"
        + inspect.getsource(digest)
        + "print(*[digest(upper_jaw(seed)) for seed in range(3)])"
    )
    root = Path(__file__).parents[3]
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root
    )
    assert done.stdout.split() == [digest(jaw) for jaw in jaws[:3]]
    assert len({digest(jaw) for jaw in jaws}) == len(jaws)


def test_one_topology_of_fifty_thousand_vertices(jaws):
    for jaw in jaws:
        assert jaw.vertices.shape == (50_000, 3) and jaw.vertices.dtype == np.float32
        assert jaw.faces.shape == (98_952, 3) and jaw.faces.dtype == np.int32
        assert jaw.labels.shape == (50_000,) and jaw.labels.dtype == np.uint8
        assert (jaw.faces == jaws[0].faces).all() and np.isfinite(jaw.vertices).all()
    assert len(np.unique(jaws[0].faces)) == 50_000


def test_jaws_have_the_size_of_jaws_and_differ(jaws):
    boxes = np.stack([np.ptp(jaw.vertices, axis=0) for jaw in jaws])
    assert (boxes > (58, 50, 17)).all() and (boxes < (92, 80, 33)).all()
    assert (boxes.std(0) > (1.5, 1.5, 1)).all()


def test_teeth_stand_along_the_arch_on_the_right_sides(jaws):
    for jaw in jaws:
        middle = {fdi: jaw.vertices[jaw.labels == fdi].mean(0) for fdi in jaw.teeth}
        for fdi, (x, _, _) in middle.items():
            assert (x > 0) == (fdi < 20), fdi
        for side in (TEETH[:8], TEETH[8:][::-1]):
            depth = [middle[fdi][1] for fdi in side if fdi in middle and fdi % 10 > 2]
            assert (np.diff(depth) < 0).all()
        gum = jaw.vertices[jaw.labels == 0, 2]
        assert jaw.vertices[jaw.labels > 0, 2].mean() > gum.mean() + 5
        assert 0.2 < (jaw.labels > 0).mean() < 0.5
        up = np.cross(*(np.diff(jaw.vertices[jaw.faces], axis=1).transpose(1, 0, 2)))[:, 2]
        assert (up > 0).mean() > 0.9, "counter-clockwise from outside"


def test_missing_and_crowding():
    whole = [upper_jaw(seed, missing=0) for seed in range(12)]
    assert all(14 <= len(jaw.teeth) <= 16 for jaw in whole)
    assert {len(jaw.teeth) for jaw in whole} > {14}
    assert sum(len(upper_jaw(seed, missing=1).teeth) for seed in range(12)) < 12 * 14
    wide = [
        np.ptp(np.linalg.norm(upper_jaw(4, 0, c).vertices[:, :2], axis=1)) for c in (-1, 0.0, 1)
    ]
    assert wide[0] > wide[1] > wide[2], "crowded teeth need less space"


@pytest.mark.parametrize("options", [{"seed": -1}, {"seed": 0.5}, {"seed": 0, "missing": 2},
                                     {"seed": 0, "crowding": -1.5}])  # fmt: skip
def test_invalid_options_are_refused(options):
    with pytest.raises(DentalzooError, match="Received: "):
        upper_jaw(**options)


def test_quick_enough():
    start = time.process_time()
    upper_jaw(0)
    assert time.process_time() - start < 1


# ---- the data set --------------------------------------------------------------------------------


def test_the_data_set_is_laid_out_as_teeth3ds(tmp_path, capsys):
    out = tmp_path / "jaws"
    command = ["synthetic", "--kind", "jaws", "--out", str(out), "--count", "3", "--seed", "5"]
    assert main(command) == 0
    assert capsys.readouterr().out.strip() == str(out)
    dataset = find_meshes(out)
    assert [(s.name, s.split) for s in dataset.samples] == [
        ("0000_upper", "train"), ("0001_upper", "train"), ("0002_upper", "val"),
    ]  # fmt: skip
    assert not dataset.skipped
    jaw, sample = upper_jaw(6), dataset.samples[1]
    mesh = read_mesh(sample.mesh, sample.labels)
    assert np.abs(mesh.vertices - jaw.vertices).max() < 1e-4
    assert (mesh.faces == jaw.faces).all() and (mesh.labels == jaw.labels).all()
    about = json.loads(sample.labels.read_text())
    assert set(about) == {"id_patient", "jaw", "labels", "instances"} and about["jaw"] == "upper"
    assert len(set(zip(about["labels"], about["instances"], strict=True))) == len(jaw.teeth) + 1
    assert main([*command[:-3], "1"]) == 0, "an older one is replaced"
    assert len(find_meshes(out)) == 1


@pytest.mark.parametrize("options", [{"count": 0}, {"count": 1, "val_fraction": 1}])
def test_invalid_data_set_options_are_refused(tmp_path, options):
    with pytest.raises(DentalzooError, match="Received: "):
        write_jaw_dataset(tmp_path / "jaws", **options)
    assert not (tmp_path / "jaws").exists()


def test_jaws_have_no_size(tmp_path, capsys):
    arguments = ["synthetic", "--kind", "jaws", "--out", str(tmp_path / "x"), "--size", "64"]
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert error == "dentalzoo: --size does not apply to jaws (meshes)\n"
    assert not (tmp_path / "x").exists()
